"""Instruction embeddings on disk: one safetensors file per suite, (n, d) float32, with the instructions as metadata."""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from t2s.data.files import atomic


def write(path: Path, embeddings: dict[str, np.ndarray], encoder: str) -> None:
    """Write the embedding (d,) of every instruction. `path` appears only when it is complete."""
    instructions = list(embeddings)
    stacked = np.stack([embeddings[i] for i in instructions]).astype(np.float32)
    header = json.dumps({"encoder": encoder, "instructions": instructions}, sort_keys=True)
    with atomic(path) as temporary:
        temporary.write_bytes(save({"task_emb": stacked}, {"t2s": header}))


def read(path: Path) -> dict[str, np.ndarray]:
    """The embedding (d,) of every instruction, in the order of the tasks.

    Raises: ValueError if `write` did not write the file.
    """
    try:
        with safe_open(path, framework="numpy") as file:
            header = json.loads(file.metadata()["t2s"])
            stacked = file.get_tensor("task_emb")
    except (OSError, SafetensorError, KeyError, TypeError) as error:
        raise ValueError(f"{path}: expected instruction embeddings, got {error}") from None
    return dict(zip(header["instructions"], stacked, strict=True))


def find(path: Path, instructions: Collection[str]) -> list[np.ndarray]:
    """The embeddings (d,) of these instructions.

    Raises: ValueError if `write` did not write the file, or if it lacks one of the instructions.
    """
    known = read(path)
    for instruction in instructions:
        if instruction not in known:
            raise ValueError(f"{path}: no embedding of '{instruction}'; have {sorted(known)}")
    return [known[instruction] for instruction in instructions]
