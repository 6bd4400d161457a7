"""Checkpoints on disk: safetensors with one JSON header that says what the tensors are."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from t2s.data.files import atomic


@dataclass(frozen=True)
class Checkpoint:
    """What one task leaves behind: its tensors, and facts about them (`task`, and what its learner adds)."""

    tensors: dict[str, Tensor]
    header: dict[str, Any]

    def write(self, path: Path) -> None:
        """Writes to `path`, which appears only when it is complete; equal checkpoints give equal bytes."""
        tensors = {name: self.tensors[name].detach().cpu().contiguous() for name in sorted(self.tensors)}
        with atomic(path) as temporary:
            temporary.write_bytes(save(tensors, {"t2s": json.dumps(self.header, sort_keys=True)}))


def read(path: Path) -> Checkpoint:
    """The checkpoint at `path`.

    Raises: ValueError when the file is missing, truncated or not a checkpoint.
    """
    try:
        with safe_open(path, framework="pt") as file:
            header = json.loads(file.metadata()["t2s"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError, KeyError, TypeError) as error:
        raise ValueError(f"{path}: expected a checkpoint, got {error}") from None
    return Checkpoint(tensors, header)


def fingerprint(tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> str:
    """A hash of the named tensors and facts: equal exactly when they are, bit for bit."""
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        digest.update(tensor.view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]
