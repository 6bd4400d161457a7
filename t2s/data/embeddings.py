"""Instruction embeddings on disk: one safetensors file per suite, (n, d) float32, with the instructions as metadata."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from pathlib import Path

import numpy as np
from safetensors.numpy import save

from t2s.data.files import atomic, remedy
from t2s.data.tensors import KEY
from t2s.data.tensors import read as read_tensors


def write(path: Path, embeddings: dict[str, np.ndarray], encoder: str) -> None:
    """Write the embedding (d,) of every instruction. `path` appears only when it is complete.

    Raises: ValueError for an embedding that is zero or not finite.
    """
    check(str(path), embeddings)
    instructions = list(embeddings)
    stacked = np.stack([embeddings[i] for i in instructions]).astype(np.float32)
    header = json.dumps({"encoder": encoder, "instructions": instructions}, sort_keys=True)
    with atomic(path) as temporary:
        temporary.write_bytes(save({"task_emb": stacked}, {KEY: header}))


def read(path: Path) -> dict[str, np.ndarray]:
    """The embedding (d,) of every instruction, in the order of the tasks.

    Raises: ValueError if `write` did not write the file, or if an embedding is not finite or zero.
    """
    header, tensors = read_tensors(path, "instruction embeddings", {"instructions": list}, "numpy")
    instructions, stacked = header["instructions"], tensors.get("task_emb")
    if stacked is None or stacked.dtype != np.float32 or stacked.shape[:1] != (len(instructions),) or stacked.ndim != 2:
        found = "none" if stacked is None else f"{stacked.dtype} {stacked.shape}"
        raise ValueError(
            f"{path}: expected 'task_emb' of shape ({len(instructions)}, d) in float32, got {found}; {remedy(path)}"
        )
    check(str(path), dict(zip(instructions, stacked, strict=True)))
    return dict(zip(instructions, stacked, strict=True))


def check(where: str, embeddings: Mapping[str, np.ndarray]) -> None:
    """Check that every embedding has a direction.

    Raises: ValueError that names the first instruction whose embedding is zero or not finite.
    """
    for instruction, embedding in embeddings.items():
        if not 0 < np.linalg.norm(embedding) < np.inf:
            raise ValueError(
                f"{where}: expected an embedding of '{instruction}' with a direction, got zero, nan or inf;"
                f" {remedy(where)}"
            )


def find(path: Path, instructions: Collection[str]) -> list[np.ndarray]:
    """The embeddings (d,) of these instructions.

    Raises: ValueError if `write` did not write the file, or if it lacks one of the instructions.
    """
    known = read(path)
    for instruction in instructions:
        if instruction not in known:
            raise ValueError(f"{path}: no embedding of '{instruction}'; have {sorted(known)}")
    return [known[instruction] for instruction in instructions]
