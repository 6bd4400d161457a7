"""The stored initial states of a task. LIBERO's pickles are read once and kept as .npy."""

from __future__ import annotations

import _codecs
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64

from t2s.data.files import atomic, sha256
from t2s.data.suites import Task

CACHE_DIR = Path("results/init_states")


def read(task: Task) -> Float64[np.ndarray, "n s"]:
    """The initial states of `task`: time [s], positions, velocities.

    Raises: ValueError for a pickle that is not the one in hf-libero 0.1.4. It is not loaded.
    """
    if task.init_states_sha256 is None:
        return _load(task.init_states_path)
    kept = CACHE_DIR / task.suite / f"{task.name}.npy"
    if not kept.is_file():
        states = _unpickled(task.init_states_path, task.init_states_sha256)
        with atomic(kept) as temporary:
            np.save(temporary, states, allow_pickle=False)
    return _load(kept)


def _load(path: Path) -> Float64[np.ndarray, "n s"]:
    states: Float64[np.ndarray, "n s"] = np.load(path, allow_pickle=False)
    return states


def _unpickled(path: Path, digest: str) -> Float64[np.ndarray, "n s"]:
    if (found := sha256(path)) != digest:
        raise ValueError(f"{path}: expected hf-libero 0.1.4's file of sha256 {digest}, got {found}; it is not loaded")
    import torch  # takes seconds to import, so only if there is no .npy yet

    reconstruct = np._core.multiarray._reconstruct  # type: ignore[attr-defined]
    array: list[Any] = [
        (reconstruct, "numpy.core.multiarray._reconstruct"),
        np.ndarray,
        np.dtype,
        np.dtypes.Float64DType,
    ]
    with torch.serialization.safe_globals([*array, _codecs.encode]):
        states: Float64[np.ndarray, "n s"] = torch.load(path, weights_only=True)
    return states
