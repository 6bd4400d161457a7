"""Checkpoints on disk: safetensors files with a JSON header that describes the tensors."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from t2s.data.files import MEND, atomic
from t2s.model.scene import Picture

TASK_EMB = "task_emb"
"""Name of the task embedding among the tensors of a checkpoint."""
PICTURE = "picture"
"""Name of the picture of the task's scene, uint8 (8, 8, 3), among the tensors of a checkpoint (t2s/model/scene.py)."""
CUES = (TASK_EMB, PICTURE)
"""What finds the task at test time. These tensors are no parameters."""


@dataclass(frozen=True)
class Checkpoint:
    """The result of learning one task: tensors, and a header with `task` and the entries that the learner adds."""

    tensors: dict[str, Tensor]
    header: dict[str, Any]

    def part(self, name: str) -> dict[str, Tensor]:
        """The tensors called `{name}/...`, keyed by the rest of their names."""
        return {n.removeprefix(f"{name}/"): t for n, t in self.tensors.items() if n.startswith(f"{name}/")}

    def write(self, path: Path) -> None:
        """Writes the checkpoint atomically: `path` appears only when it is complete.

        Equal checkpoints give equal bytes.
        """
        tensors = {name: self.tensors[name].detach().cpu().contiguous() for name in sorted(self.tensors)}
        header = self.header | {"fingerprint": fingerprint(tensors, self.header)}
        with atomic(path) as temporary:
            temporary.write_bytes(save(tensors, {"t2s": json.dumps(header, sort_keys=True)}))


def read(path: Path) -> Checkpoint:
    """Reads the checkpoint at `path`.

    Raises: ValueError when the file is missing, damaged or not a checkpoint.
    """
    try:
        with safe_open(path, framework="pt") as file:
            header = json.loads(file.metadata()["t2s"])
            expected = header.pop("fingerprint")
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError, KeyError, TypeError, json.JSONDecodeError) as error:
        raise ValueError(f"{path}: expected a checkpoint, got {error}; {MEND}") from None
    if (got := fingerprint(tensors, header)) != expected:
        raise ValueError(f"{path}: expected fingerprint {expected}, got {got}; {MEND}")
    return Checkpoint(tensors, header)


def known_embeddings(checkpoints: Sequence[Checkpoint]) -> Float[np.ndarray, "k d"]:
    """The task embeddings stored in these checkpoints."""
    return np.stack([c.tensors[TASK_EMB].numpy() for c in checkpoints])


def known_picture(checkpoint: Checkpoint) -> Picture:
    """The picture of the scene that is stored in this checkpoint.

    Raises: ValueError when it has none.
    """
    if PICTURE not in checkpoint.tensors:
        task = checkpoint.header["task"]
        raise ValueError(
            f"checkpoint of task {task}: expected '{PICTURE}', because tasks share its instruction, got none"
        )
    found: Picture = checkpoint.tensors[PICTURE].numpy()
    return found


def n_parameters(checkpoints: Sequence[Checkpoint]) -> int:
    """The number of scalars in these checkpoints, without task embeddings and pictures."""
    return sum(t.numel() for c in checkpoints for name, t in c.tensors.items() if name not in CUES)


def fingerprint(tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> str:
    """A hash of names, tensors and facts, 16 hexadecimal digits. It changes when any bit of them changes."""
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        digest.update(tensor.flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]
