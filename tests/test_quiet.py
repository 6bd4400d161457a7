"""What jobs get instead of the variables and folders that users have."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from t2s import packages
from t2s.sim import quiet

DRAW = """
import os
from t2s.data import suites
from t2s.sim.env import Env
env = Env(suites.task("blocks_object", 0).bddl_path, 32)
assert env.observe()["agentview_rgb"].std() > 0
print(os.environ["MUJOCO_GL"], os.environ.get("MUJOCO_EGL_DEVICE_ID"), type(env._context.gl_ctx).__name__)
"""
TAKEN = "/dev/null/x"  # can never be a folder


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Puts back what `prepare` sets, and keeps its folder out of /tmp."""
    for name in ("LIBERO_CONFIG_PATH", "MPLCONFIGDIR", "NUMBA_CACHE_DIR"):
        monkeypatch.setenv(name, os.environ.get(name, ""))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))


def draw(**environment: str) -> subprocess.CompletedProcess[str]:
    given = {name: value for name, value in os.environ.items() if name != "HOME"} | environment
    return subprocess.run([sys.executable, "-c", DRAW], env=given, capture_output=True, text=True, check=False)


@pytest.mark.sim
@pytest.mark.parametrize(
    "environment",
    [
        {"LIBERO_CONFIG_PATH": TAKEN},
        {
            "MPLCONFIGDIR": TAKEN,
            "MPLBACKEND": "paper",
            "NUMBA_CACHE_DIR": TAKEN,
            "HOME": TAKEN,
            "XDG_CACHE_HOME": TAKEN,
        },
        {"MUJOCO_GL": " OSMesa", "PYOPENGL_PLATFORM": "egl"},
        {"MUJOCO_GL": "osmesa", "CUDA_VISIBLE_DEVICES": "1", "MUJOCO_EGL_DEVICE_ID": "0"},
    ],
    ids=" ".join,
)
def test_variables_that_users_have_do_not_reach_the_simulator(environment: dict[str, str]) -> None:
    done = draw(**{"MUJOCO_GL": "osmesa"} | environment)
    assert done.returncode == 0, done.stderr
    number = environment.get("MUJOCO_EGL_DEVICE_ID")
    assert done.stdout.split() == ["osmesa", str(number), "OSMesaGLContext"]


def test_liberos_config_is_ours_and_that_of_this_installation(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LIBERO_CONFIG_PATH", "/another/installation")
    quiet.prepare()
    place = Path(os.environ["LIBERO_CONFIG_PATH"])
    assert place.parent == tmp_path / f"t2s-{os.getuid()}"
    config = yaml.safe_load((place / "config.yaml").read_text(encoding="utf-8"))
    assert config["bddl_files"] == str(packages.folder("libero") / "libero" / "bddl_files")


def test_numba_compiles_into_the_private_folder_only_if_it_cannot_beside_robosuite(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    quiet.prepare()
    assert "NUMBA_CACHE_DIR" not in os.environ
    monkeypatch.setattr(os, "access", lambda path, mode: "robosuite" not in str(path))
    quiet.prepare()
    assert os.environ["NUMBA_CACHE_DIR"] == str(tmp_path / f"t2s-{os.getuid()}" / "numba")


def test_a_private_folder_that_is_a_link_is_not_used(tmp_path: Path) -> None:
    assert quiet.private_folder().stat().st_mode & 0o777 == 0o700
    quiet.private_folder().rename(tmp_path / "other")
    (tmp_path / f"t2s-{os.getuid()}").symlink_to(tmp_path / "other")
    with pytest.raises(ValueError, match=r"expected a folder of this user, got a link or .*; run `export TMPDIR="):
        quiet.private_folder()


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a folder to somebody else")
def test_a_private_folder_of_somebody_else_is_not_used() -> None:
    os.chown(quiet.private_folder(), 12345, 12345)
    with pytest.raises(ValueError, match="expected a folder of this user"):
        quiet.private_folder()
