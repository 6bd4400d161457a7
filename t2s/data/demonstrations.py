"""Demonstrations of one task as HDF5 in LIBERO's layout, which robomimic can read too."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import h5py
import numpy as np
from jaxtyping import Float32, Int64, UInt8

from t2s.data.files import atomic, sha256

IMAGES = ("agentview_rgb", "eye_in_hand_rgb")
VECTORS = {"joint_states": 7, "gripper_states": 2}
ACTION_DIM = 7
OTHERS = {"robot_states": 9, "obs/ee_pos": 3, "obs/ee_ori": 3, "obs/ee_states": 6}  # LIBERO has these, t2s ignores them
OBSERVATIONS = {"scripted": "before", "human": "after"}
"""When an observation was made, before or after the action that it is paired with, by the source.

Rollouts observe before they act. LIBERO's files pair every action with the observation after it.
"""
TOLERANCE = 1e-6  # human actions reach exactly 1, and rounding may exceed it


Result = TypeVar("Result")


@dataclass(frozen=True)
class Demonstrations:
    """All steps of a task's demonstrations, one after another. Demonstration i is starts[i]:starts[i+1]."""

    agentview_rgb: UInt8[np.ndarray, "t h w 3"]
    eye_in_hand_rgb: UInt8[np.ndarray, "t h w 3"]
    joint_states: Float32[np.ndarray, "t 7"]
    gripper_states: Float32[np.ndarray, "t 2"]
    actions: Float32[np.ndarray, "t 7"]
    starts: Int64[np.ndarray, "n_demos_plus_1"]
    instruction: str
    source: str
    """'scripted' or 'human'"""


def write(path: Path, demos: Sequence[Mapping[str, Any]], attributes: Mapping[str, Any]) -> None:
    """Write `demos` as data/demo_0, ... The same arrays give the same bytes.

    The keys of a demo are dataset paths (`obs/agentview_rgb`, `actions`, ...), `init_state`, and `model_file`, which
    is its scene. `attributes` are those of the group `data`.
    """
    # In memory, because HDF5 would end the process on a full disk.
    with h5py.File(path.name, "w", driver="core", backing_store=False) as file:
        data = file.create_group("data", track_order=False)
        for key in sorted(attributes):
            data.attrs[key] = attributes[key]
        data.attrs["num_demos"] = len(demos)
        data.attrs["total"] = sum(len(demo["actions"]) for demo in demos)
        for number, demo in enumerate(demos):
            _write_demo(data.create_group(f"demo_{number}"), demo)
        file.flush()
        content = file.id.get_file_image()
    with atomic(path) as temporary:
        temporary.write_bytes(content)


def _write_demo(group: Any, demo: Mapping[str, Any]) -> None:
    group.attrs["num_samples"] = len(demo["actions"])
    group.attrs["init_state"] = demo["init_state"]
    group.attrs["model_file"] = demo["model_file"]
    for key in sorted(demo.keys() - {"init_state", "model_file"}):
        packing = {"compression": "gzip", "compression_opts": 1} if demo[key].ndim == 4 else {}
        group.create_dataset(key, data=demo[key], track_times=False, **packing)


def read(path: Path, image_size: int) -> Demonstrations:
    """Read and check the demonstrations of an HDF5 file, or of a manifest (.json) and the file it names.

    A manifest says how many of the file's demonstrations to read, and which instruction the task has here.

    Raises: ValueError in one line that names the file and what is wrong with it.
    """
    if path.suffix != ".json":
        return _open(path, lambda file: _read(file, image_size, None))
    manifest = _manifest(path)
    hdf5 = Path(os.path.normpath(path.parent / manifest["file"]))
    if not hdf5.is_file():
        raise ValueError(f"{path}: no '{hdf5}'; run `snakemake --forcerun {path}`")
    if sha256(hdf5) != manifest["sha256"]:
        raise ValueError(f"{hdf5}: expected sha256 {manifest['sha256']} as in {path}, got {sha256(hdf5)}")
    demos = _open(hdf5, lambda file: _read(file, image_size, manifest["n_demos"]))
    return replace(demos, instruction=manifest["instruction"], source=manifest["source"])


def source(path: Path) -> str:
    """The source of the demonstrations in an HDF5 file or a manifest: 'scripted' or 'human'.

    Raises: as `read`.
    """
    return str(_manifest(path)["source"]) if path.suffix == ".json" else _open(path, _source)


def observations(path: Path) -> str:
    """When the observations in an HDF5 file or a manifest were made: 'before' or 'after' the action paired with them.

    Raises: as `read`.
    """
    if path.suffix != ".json":
        return OBSERVATIONS[_open(path, _source)]
    found = _manifest(path)["observations"]
    if found not in OBSERVATIONS.values():
        raise ValueError(
            f"{path}: expected observations 'before' or 'after', got {found!r}; run `snakemake --forcerun {path}`"
        )
    return str(found)


def check(path: Path, image_size: int, n_demos: int, instructions: Sequence[str]) -> int:
    """Check a whole file in LIBERO's layout, and return the number of steps of all demonstrations.

    It must hold `n_demos` demonstrations with all keys, shapes and dtypes, finite values, actions in [-1, 1], and one
    of `instructions`.

    Raises: as `read`.
    """
    return _open(path, lambda file: _check_all(file, image_size, n_demos, instructions))


def _open(path: Path, use: Callable[[Any], Result]) -> Result:
    try:
        with h5py.File(path, "r") as file:
            return use(file)
    except (OSError, KeyError, json.JSONDecodeError) as error:
        reason = " ".join(str(error).split()).strip("'\"")
        raise ValueError(f"{path}: not a readable file of demonstrations: {reason}") from None
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def _manifest(path: Path) -> dict[str, Any]:
    try:
        manifest: dict[str, Any] = json.loads(path.read_text())
        keys = ("file", "sha256", "n_demos", "instruction", "source")
        return {key: manifest[key] for key in keys} | {"observations": manifest.get("observations")}
    except (OSError, KeyError, json.JSONDecodeError) as error:
        raise ValueError(f"{path}: not a readable manifest of demonstrations: {error}") from None


def _read(file: Any, image_size: int, n_demos: int | None) -> Demonstrations:
    parts = [_read_demo(demo, name, image_size) for name, demo in _demos(file, n_demos)]
    joined = {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}
    starts = np.cumsum([0, *(len(part["actions"]) for part in parts)], dtype=np.int64)
    return Demonstrations(**joined, starts=starts, instruction=_instruction(file), source=_source(file))


def _demos(file: Any, n_demos: int | None = None) -> Iterator[tuple[str, Any]]:
    """The first `n_demos` demonstrations with their names; all if None."""
    if "data" not in file:
        raise ValueError(f"expected a group 'data'; have {sorted(file)}")
    data = file["data"]
    names = sorted(data, key=lambda name: int(name.removeprefix("demo_")))
    if not names:
        raise ValueError("expected demonstrations, got none")
    if data.attrs.get("num_demos", len(names)) != len(names):
        raise ValueError(f"expected {data.attrs['num_demos']} demonstrations, got {len(names)}")
    if n_demos is not None and n_demos > len(names):
        raise ValueError(f"expected at least {n_demos} demonstrations, got {len(names)}")
    yield from ((name, data[name]) for name in names[:n_demos])


def _instruction(file: Any) -> str:
    instruction = json.loads(file["data"].attrs["problem_info"])["language_instruction"]
    return "".join(instruction).strip('"')


def _source(file: Any) -> str:
    found = str(file["data"].attrs.get("source", "human"))
    if found not in OBSERVATIONS:
        raise ValueError(f"unknown source '{found}'; have {sorted(OBSERVATIONS)}")
    return found


def _check_all(file: Any, image_size: int, n_demos: int, instructions: Sequence[str]) -> int:
    instruction = " ".join(_instruction(file).lower().split())
    if instruction not in instructions:
        raise ValueError(f"expected an instruction of {list(instructions)}, got '{instruction}'")
    lengths = []
    for name, demo in _demos(file):
        n = len(_read_demo(demo, name, image_size)["actions"])
        _check_others(demo, name, n)
        lengths.append(n)
    if len(lengths) != n_demos:
        raise ValueError(f"expected {n_demos} demonstrations, got {len(lengths)}")
    return sum(lengths)


def _check_others(demo: Any, name: str, n: int) -> None:
    missing = [path for path in (*OTHERS, "states", "dones", "rewards") if path not in demo]
    if missing:
        raise ValueError(f"expected '{missing[0]}' in {name}; have {_datasets(demo)}")
    for path, dim in OTHERS.items():
        _check(f"{name} {path}", demo[path][()], (n, dim))
    states = demo["states"][()]
    _check(f"{name} states", states, (n, *states.shape[1:2]))
    for path in ("dones", "rewards"):
        _check(f"{name} {path}", demo[path][()], (n,), np.dtype(np.uint8))


def _read_demo(demo: Any, name: str, image_size: int) -> dict[str, np.ndarray]:
    paths = {key: f"obs/{key}" for key in (*IMAGES, *VECTORS)} | {"actions": "actions"}
    missing = [path for path in paths.values() if path not in demo]
    if missing:
        raise ValueError(f"expected '{missing[0]}' in {name}; have {_datasets(demo)}")
    arrays = {key: demo[path][()] for key, path in paths.items()}
    n = len(arrays["actions"])
    if n == 0:
        raise ValueError(f"{name}: expected at least one step, got none")
    for key in IMAGES:
        _check(f"{name} {key}", arrays[key], (n, image_size, image_size, 3), np.dtype(np.uint8))
    for key, dim in {**VECTORS, "actions": ACTION_DIM}.items():
        _check(f"{name} {key}", arrays[key], (n, dim))
        arrays[key] = arrays[key].astype(np.float32)
    if np.abs(arrays["actions"]).max() > 1 + TOLERANCE:
        worst = np.abs(arrays["actions"]).max()
        raise ValueError(f"{name}: expected actions in [-1, 1], got {worst:.3g}")
    return arrays


def _check(what: str, array: np.ndarray, shape: tuple[int, ...], dtype: np.dtype[Any] | None = None) -> None:
    if array.shape != shape:
        raise ValueError(f"{what}: expected shape {shape}, got {array.shape}")
    if dtype is not None and array.dtype != dtype:
        raise ValueError(f"{what}: expected {dtype}, got {array.dtype}")
    if dtype is None and array.dtype.kind != "f":
        raise ValueError(f"{what}: expected floats, got {array.dtype}")
    if dtype is None and not np.isfinite(array).all():
        raise ValueError(f"{what}: expected finite numbers, got nan or inf")


def _datasets(group: Any) -> list[str]:
    names: list[str] = []
    group.visititems(lambda name, item: names.append(name) if hasattr(item, "shape") else None)
    return sorted(names)
