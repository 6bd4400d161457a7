"""LIBERO's own loader, in an environment of its own, on a file of ours."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from params_file import params_file

from t2s import cli
from t2s.data import demonstrations

pytestmark = [pytest.mark.slow, pytest.mark.sim]
HERE = Path(__file__).parent
SIZE, SEQ_LEN = 64, 10


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python with LIBERO's loader."""
    folder = tmp_path_factory.mktemp("libero_loader")
    python = folder / "bin" / "python"
    requirements, constraints = HERE / "libero_loader" / "requirements.txt", HERE.parent / "constraints.txt"
    install = [str(python), "-m", "pip", "install", "--quiet", "--no-input", "--disable-pip-version-check"]
    for command in (
        [sys.executable, "-m", "venv", str(folder)],
        [*install, "--constraint", str(constraints), "torch", "setuptools"],
        [*install, "--no-deps", "--no-build-isolation", "--requirement", str(requirements)],
    ):
        subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
    return python


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three scripted demonstrations."""
    folder = tmp_path_factory.mktemp("demos")
    params = {"demos": {"source": "scripted", "n_demos": 3, "seed": 0}, "env": {"image_size": SIZE}}
    out = folder / "task0_demo.hdf5"
    arguments = ["--suite", "blocks_object", "--task", "0", "--params", params_file(params), "--out", str(out)]
    cli.run(["demos", *arguments, "--manifest", str(folder / "task0.json")])
    return out


@pytest.fixture(scope="module")
def loaded(python: Path, path: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, np.ndarray]:
    """What LIBERO's loader and robomimic's read."""
    out = tmp_path_factory.mktemp("loaded") / "loaded.npz"
    command = [str(python), str(HERE / "libero_loader" / "read.py"), str(path), str(out)]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
    with np.load(out) as file:
        return dict(file)


def planes(images: np.ndarray) -> np.ndarray:
    """Images (t, h, w, 3) of bytes as robomimic gives them to a network: (t, 3, h, w) in [0, 1]."""
    return np.moveaxis(images, -1, 1).astype(np.float32) / 255


def test_every_sequence_of_libero_is_ours(loaded: dict[str, np.ndarray], path: Path) -> None:
    ours = demonstrations.read(path, SIZE)
    index = np.concatenate(
        [
            np.minimum(np.arange(start, end)[:, None] + np.arange(SEQ_LEN), end - 1)
            for start, end in zip(ours.starts, ours.starts[1:], strict=False)
        ]
    )
    assert loaded["n_demos"] == 3
    for key in ("actions", "joint_states", "gripper_states"):
        np.testing.assert_array_equal(loaded[key], getattr(ours, key)[index], err_msg=key)
    for key in demonstrations.IMAGES:
        np.testing.assert_array_equal(loaded[key], planes(getattr(ours, key))[index], err_msg=key)
    np.testing.assert_array_equal(loaded["task_emb"], np.tile(np.arange(4.0, dtype=np.float32), (len(index), 1)))


def test_every_trajectory_of_robomimic_is_ours(loaded: dict[str, np.ndarray], path: Path) -> None:
    import h5py

    with h5py.File(path) as file:
        for name, demo in file["data"].items():
            for key in ("actions", "rewards", "dones", "states", "robot_states"):
                np.testing.assert_array_equal(loaded[f"{name}/{key}"], demo[key][()].astype(np.float32), err_msg=key)
            for key in ("joint_states", "gripper_states"):
                stored = demo[f"obs/{key}"][()].astype(np.float32)
                np.testing.assert_array_equal(loaded[f"{name}/{key}"], stored, err_msg=key)
            for key in demonstrations.IMAGES:
                np.testing.assert_array_equal(loaded[f"{name}/{key}"], planes(demo[f"obs/{key}"][()]), err_msg=key)
