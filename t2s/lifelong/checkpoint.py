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
from safetensors.torch import save
from torch import Tensor

from t2s.data.files import MEND, atomic
from t2s.data.tensors import KEY
from t2s.data.tensors import read as read_tensors
from t2s.model.scene import Picture

TASK_EMB = "task_emb"
"""Name of the task embedding among the tensors of a checkpoint."""
PICTURE = "picture"
"""Name of the picture of the task's scene, uint8 (8, 8, 3), among the tensors of a checkpoint (t2s/model/scene.py)."""
CUES = (TASK_EMB, PICTURE)
"""What finds the task at test time. These tensors are no parameters."""
STATISTICS = ("running_mean", "running_var", "num_batches_tracked")
"""Ends of the names of a batch norm's statistics. These tensors are no parameters either."""


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

        Raises: ValueError when a tensor is not finite.
        """
        tensors = {name: self.tensors[name].detach().cpu().contiguous() for name in sorted(self.tensors)}
        check_finite(tensors, path)
        header = self.header | {"fingerprint": fingerprint(tensors, self.header)}
        with atomic(path) as temporary:
            temporary.write_bytes(save(tensors, {KEY: json.dumps(header, sort_keys=True)}))


def read(path: Path) -> Checkpoint:
    """Reads the checkpoint at `path`.

    Raises: ValueError when the file is missing, damaged or not a checkpoint, or when a tensor is not finite.
    """
    header, tensors = read_tensors(path, "a checkpoint", {"fingerprint": str}, "pt")
    expected = header.pop("fingerprint")
    if (got := fingerprint(tensors, header)) != expected:
        raise ValueError(f"{path}: expected fingerprint {expected}, got {got}; {MEND}")
    check_finite(tensors, path)
    return Checkpoint(tensors, header)


def check_finite(tensors: Mapping[str, Tensor], path: Path) -> None:
    """Checks that no tensor has nan or inf.

    Raises: ValueError that names `path` and the first tensor that has.
    """
    for name, tensor in tensors.items():
        if not bool(torch.isfinite(tensor).all()):
            raise ValueError(f"{path}: expected finite numbers, got nan or inf in '{name}': the learning diverged")


def check_fits(expected: Mapping[str, Tensor], found: Mapping[str, Tensor], task: int) -> None:
    """Checks that the tensors `found` in the checkpoint of `task` have the names and shapes of those of a network.

    Raises: ValueError that names the first tensor that is missing, unknown or of the wrong shape.
    """
    for name in sorted(expected.keys() | found.keys()):
        want = tuple(expected[name].shape) if name in expected else None
        got = tuple(found[name].shape) if name in found else None
        if want != got:
            raise ValueError(f"checkpoint of task {task}: expected '{name}' {want}, got {got}")


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
    """The number of scalars in these checkpoints, without task embeddings, pictures and statistics."""
    tensors = [pair for c in checkpoints for pair in c.tensors.items()]
    return sum(t.numel() for name, t in tensors if name not in CUES and not name.endswith(STATISTICS))


def fingerprint(tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> str:
    """A hash of names, tensors and facts, 16 hexadecimal digits. It changes when any bit of them changes."""
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        digest.update(tensor.flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]
