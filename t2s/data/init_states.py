"""The stored initial states of a task. LIBERO's pickles are read once and kept as .npy."""

from __future__ import annotations

import _codecs
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64

from t2s.data.files import atomic, one_line, sha256
from t2s.data.suites import Task

CACHE_DIR = Path("results/init_states")
REINSTALL = "run `rm -f .venv/.stamp; make setup`"


def read(task: Task) -> Float64[np.ndarray, "n s"]:
    """The initial states of `task`: time [s], positions, velocities.

    Raises: ValueError in one line for a file that is missing, damaged, or holds no finite states, and for a pickle that
    is not the one in hf-libero 0.1.4. It is not loaded.
    """
    if task.init_states_sha256 is None:
        return _load(task.init_states_path, f"restore it with `git checkout {task.init_states_path}`")
    kept = CACHE_DIR / task.suite / f"{task.name}.npy"
    if not kept.is_file():
        states = _checked(_unpickled(task.init_states_path, task.init_states_sha256), task.init_states_path, REINSTALL)
        with atomic(kept) as temporary:
            np.save(temporary, states, allow_pickle=False)
    return _load(kept, f"remove it with `rm {kept}`, it will be made again")


def _load(path: Path, mend: str) -> Float64[np.ndarray, "n s"]:
    try:
        with path.open("rb") as file:
            states = np.lib.format.read_array(file, allow_pickle=False)
    except Exception as error:  # nothing but calls of NumPy
        raise ValueError(f"{path}: expected initial states as .npy, got {one_line(error)}; {mend}") from None
    return _checked(states, path, mend)


def _checked(states: Any, path: Path, mend: str) -> Float64[np.ndarray, "n s"]:
    if not isinstance(states, np.ndarray) or states.dtype != np.float64 or states.ndim != 2 or not states.size:
        got = f"{states.dtype} {states.shape}" if isinstance(states, np.ndarray) else type(states).__name__
        raise ValueError(f"{path}: expected initial states in float64 of shape (n, state), got {got}; {mend}")
    if not np.isfinite(states).all():
        raise ValueError(f"{path}: expected finite initial states, got nan or inf; {mend}")
    return states


def _unpickled(path: Path, digest: str) -> Any:
    if not path.is_file():
        raise ValueError(f"no '{path}' of hf-libero; {REINSTALL}")
    if (found := sha256(path)) != digest:
        raise ValueError(
            f"{path}: expected hf-libero 0.1.4's file of sha256 {digest}, got {found}; it is not loaded; {REINSTALL}"
        )
    import torch  # takes seconds to import, so only if there is no .npy yet

    reconstruct = np._core.multiarray._reconstruct  # type: ignore[attr-defined]
    array: list[Any] = [
        (reconstruct, "numpy.core.multiarray._reconstruct"),
        np.ndarray,
        np.dtype,
        np.dtypes.Float64DType,
    ]
    with torch.serialization.safe_globals([*array, _codecs.encode]):
        try:
            return torch.load(path, weights_only=True)
        except Exception as error:  # nothing but calls of torch
            kind = type(error).__name__
            raise ValueError(f"{path}: expected initial states, got a pickle with a {kind}; it is not loaded") from None
