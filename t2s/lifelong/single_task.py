"""single_task: a separate network for every task, without transfer and without forgetting.

Source: LIBERO (arXiv 2306.03310), `SingleTask` (lifelong/algos/single_task.py). Every task starts from the same initial
weights.
Deviation: LIBERO keeps only the last network. Here every network is kept, and the nearest known instruction selects
one, or the scene if tasks share it, as in t2s.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from t2s.lifelong.checkpoint import Checkpoint, known_embeddings, n_parameters
from t2s.lifelong.sequential import Sequential
from t2s.model.scaling import alike
from t2s.model.scene import Picture


class SingleTask(Sequential):
    """Learns each task independently of the others. A checkpoint holds the network of one task."""

    def start_task(self, task: int, task_emb: np.ndarray, picture: Picture, earlier: Sequence[Checkpoint]) -> None:
        super().start_task(task, task_emb, picture, [])
        self.n_before = n_parameters(earlier)

    def checkpoint(self) -> Checkpoint:
        kept = super().checkpoint()
        return Checkpoint(kept.tensors | self.cues(), kept.header)

    def counts(self) -> dict[str, Any]:
        counts = super().counts()
        return counts | {"n_parameters_total": self.n_before + counts["n_parameters_new"], "active": []}

    @classmethod
    def candidates(cls, checkpoints: Sequence[Checkpoint], task_emb: np.ndarray) -> list[int]:
        return alike(task_emb, known_embeddings(checkpoints))
