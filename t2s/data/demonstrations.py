"""Demonstrations of one task as HDF5 in LIBERO's layout, which robomimic can read too."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from jaxtyping import Float32, Int64, UInt8

from t2s.data import foreign, hdf5
from t2s.data.files import Fields, atomic, read_json, sha256, shortened

IMAGES = ("agentview_rgb", "eye_in_hand_rgb")
VECTORS = {"joint_states": 7, "gripper_states": 2}
ACTION_DIM = 7
OTHERS = {"robot_states": 9, "obs/ee_pos": 3, "obs/ee_ori": 3, "obs/ee_states": 6, "states": None}
"""LIBERO has these, t2s ignores them."""
OBSERVATIONS = {"scripted": "before", "human": "after"}
"""When an observation was made, before or after the action that it is paired with, by the source.

Rollouts observe before they act. LIBERO's files pair every action with the observation after it.
"""
MANIFEST: Fields = {"file": str, "sha256": str, "n_demos": int, "instruction": str, "source": str}
CONTROLLER, CONTROL_FREQ, IMAGE_CONVENTION = "OSC_POSE", 20, "opengl"  # as in t2s/sim/env.py
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

    def fill(file: Any) -> None:
        data = file.create_group("data", track_order=False)
        for key in sorted(attributes):
            data.attrs[key] = attributes[key]
        data.attrs["num_demos"] = len(demos)
        data.attrs["total"] = sum(len(demo["actions"]) for demo in demos)
        for number, demo in enumerate(demos):
            _write_demo(data.create_group(f"demo_{number}"), demo)

    content = hdf5.content(path.name, fill)
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
    named = Path(os.path.normpath(path.parent / manifest["file"]))
    if not named.is_file():
        raise ValueError(f"{path}: no '{named}'; run `snakemake --cores all --forcerun {path}`")
    if (found := sha256(named)) != manifest["sha256"]:
        raise ValueError(f"{named}: expected sha256 {manifest['sha256']} as in {path}, got {found}")
    demos = _open(named, lambda file: _read(file, image_size, manifest["n_demos"]), is_known=True)
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
    found = _manifest(path).get("observations")
    if found not in OBSERVATIONS.values():
        raise ValueError(
            f"{path}: expected observations 'before' or 'after', got {found!r};"
            f" run `snakemake --cores all --forcerun {path}`"
        )
    return str(found)


def check(path: Path, image_size: int, n_demos: int, instructions: Sequence[str]) -> int:
    """Check a whole file in LIBERO's layout, and return the number of steps of all demonstrations.

    It must hold `n_demos` demonstrations with all keys, shapes and dtypes, finite values, actions in [-1, 1], and one
    of `instructions`.

    Raises: as `read`.
    """
    return _open(path, lambda file: _check_all(file, image_size, n_demos, instructions))


def _open(path: Path, use: Callable[[hdf5.Group], Result], is_known: bool = False) -> Result:
    """What `use` makes of the file. `is_known`: a digest says that the file was read before."""
    if layout := foreign.layout(path):
        raise ValueError(f"{path}: expected demonstrations in HDF5 or their manifest, got {layout}")
    try:
        if not is_known:
            hdf5.try_out(path, use)
        with hdf5.reading(path) as file:
            return use(file)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def _manifest(path: Path) -> dict[str, Any]:
    if layout := foreign.layout(path):
        raise ValueError(f"{path}: expected demonstrations in HDF5 or their manifest, got {layout}")
    manifest = read_json(path, MANIFEST)
    mend = f"run `snakemake --cores all --forcerun {path}`"
    if manifest["n_demos"] < 1:
        raise ValueError(f"{path}: expected n_demos >= 1, got {manifest['n_demos']}; {mend}")
    if manifest["source"] not in OBSERVATIONS:
        raise ValueError(f"{path}: unknown source '{manifest['source']}'; have {sorted(OBSERVATIONS)}; {mend}")
    return manifest


def _read(file: hdf5.Group, image_size: int, n_demos: int | None) -> Demonstrations:
    parts = [_read_demo(demo, image_size) for demo in _demos(file, image_size)[:n_demos]]
    if n_demos is not None and n_demos > len(parts):
        raise ValueError(f"expected at least {n_demos} demonstrations, got {len(parts)}")
    joined = {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}
    starts = np.cumsum([0, *(len(part["actions"]) for part in parts)], dtype=np.int64)
    return Demonstrations(**joined, starts=starts, instruction=_instruction(file), source=_source(file))


def _demos(file: hdf5.Group, image_size: int) -> list[hdf5.Group]:
    """The demonstrations in the order of their numbers."""
    data = file.group("data")
    kinds = data.kinds()
    if not kinds:
        raise ValueError("expected demonstrations, got none")
    if other := [name for name in kinds if not re.fullmatch(r"(demo_)?\d+", name)]:
        raise ValueError(f"expected only demo_0, demo_1, ... in the group 'data', got {sorted(other)}")
    demos = [data.group(name) for name in sorted(kinds, key=lambda name: int(name.removeprefix("demo_")))]
    if layout := foreign.demo_layout(demos[0]):
        raise ValueError(f"expected demonstrations in LIBERO's layout, got {layout}")
    _check_count("demonstrations", len(demos), data.attribute("num_demos"))
    _check_environment(data, image_size)
    return demos


def _check_count(what: str, found: int, said: object) -> None:
    """Check a number that the file states against what it has."""
    if said is not None and said != found:
        raise ValueError(f"expected {said!r} {what}, as the file says, got {found}")


def _check_environment(data: hdf5.Group, image_size: int) -> None:
    """Check what the file says of how it was made, as far as it does."""
    convention = data.attribute("macros_image_convention")
    if convention not in (None, IMAGE_CONVENTION):
        raise ValueError(
            f"expected images as robosuite renders them, upside down (macros_image_convention '{IMAGE_CONVENTION}'),"
            f" got {convention!r}; turn every image with `[:, ::-1]`, then set the attribute to '{IMAGE_CONVENTION}'"
        )
    said = _json(data, "env_args")
    kwargs = said.get("env_kwargs") if isinstance(said, dict) else None
    if not isinstance(kwargs, dict):
        return
    controller = kwargs.get("controller_configs")
    stated = {
        "controller": (controller.get("type") if isinstance(controller, dict) else None, CONTROLLER),
        "control_freq": (kwargs.get("control_freq"), CONTROL_FREQ),
        "camera_heights": (kwargs.get("camera_heights"), image_size),
        "camera_widths": (kwargs.get("camera_widths"), image_size),
    }
    for name, (found, wanted) in stated.items():
        if found not in (None, wanted, [wanted] * len(IMAGES)):
            raise ValueError(f"expected {name} {wanted!r} in env_args, got {found!r}; rollouts would differ from it")


def _instruction(file: hdf5.Group) -> str:
    """The instruction in lower case, as LIBERO's own parser gives it."""
    problem = _json(file.group("data"), "problem_info")
    said = problem.get("language_instruction") if isinstance(problem, dict) else None
    if isinstance(said, list) and all(isinstance(part, str) for part in said):  # of words or, in LIBERO's, of letters
        said = ("" if all(len(part) == 1 for part in said) else " ").join(said)
    if not isinstance(said, str) or not said.strip(' "\n'):
        raise ValueError(
            'expected attribute problem_info of \'data\' as JSON with a sentence {"language_instruction": "..."},'
            f" got {shortened(problem if said is None else said)}"
        )
    return " ".join(said.strip(' "\n').lower().split())


def _json(data: hdf5.Group, name: str) -> Any:
    """The content of an attribute in JSON; None if it is missing."""
    said = data.attribute(name)
    try:
        return None if said is None else json.loads(said)
    except (TypeError, ValueError, RecursionError):
        raise ValueError(f"expected attribute {name} of 'data' as JSON, got {shortened(said)}") from None


def _source(file: hdf5.Group) -> str:
    found = file.group("data").attribute("source")
    if found is None:
        return "human"
    if not isinstance(found, str) or found not in OBSERVATIONS:
        raise ValueError(f"unknown source {found!r}; have {sorted(OBSERVATIONS)}")
    return found


def _check_all(file: hdf5.Group, image_size: int, n_demos: int, instructions: Sequence[str]) -> int:
    demos = _demos(file, image_size)
    instruction = _instruction(file)
    if instruction not in instructions:
        raise ValueError(f"expected an instruction of {list(instructions)}, got '{instruction}'")
    lengths = []
    for demo in demos:
        n = len(_read_demo(demo, image_size)["actions"])
        _check_others(demo, n)
        lengths.append(n)
    if len(lengths) != n_demos:
        raise ValueError(f"expected {n_demos} demonstrations, got {len(lengths)}")
    return sum(lengths)


def _check_others(demo: hdf5.Group, n: int) -> None:
    for path, dim in OTHERS.items():
        _floats(demo, path, (n, dim))
    for path in ("dones", "rewards"):
        demo.array(path, (n,), "u1")


def _read_demo(demo: hdf5.Group, image_size: int) -> dict[str, np.ndarray]:
    actions = _floats(demo, "actions", (None, ACTION_DIM))
    n = len(actions)
    if n == 0:
        raise ValueError(f"{demo.name}: expected at least one step, got none")
    _check_count(f"steps in {demo.name}", n, demo.attribute("num_samples"))
    worst = np.abs(actions).max()
    if worst > 1 + TOLERANCE:
        raise ValueError(f"{demo.name}: expected actions in [-1, 1], got {worst:.3g}")
    images = {key: demo.array(f"obs/{key}", (n, image_size, image_size, 3), "u1") for key in IMAGES}
    return images | {key: _floats(demo, f"obs/{key}", (n, dim)) for key, dim in VECTORS.items()} | {"actions": actions}


def _floats(demo: hdf5.Group, path: str, shape: tuple[int | None, ...]) -> Float32[np.ndarray, "..."]:
    with np.errstate(over="ignore"):  # a float64 may be infinite as float32, which is checked
        array = demo.array(path, shape, "f").astype(np.float32)
    if not np.isfinite(array).all():
        raise ValueError(f"{demo.name}/{path}: expected finite numbers, got nan or inf")
    return array
