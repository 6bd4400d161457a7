"""multitask: one network learns all tasks so far jointly from all their demonstrations. It is the upper bound.

Source: LIBERO (arXiv 2306.03310), `Multitask` (lifelong/algos/multitask.py).
Deviations: LIBERO learns all K tasks once. Here, stage k learns tasks 0..k from scratch, so there is a policy after
every task, as for the other methods. An epoch covers the demonstrations of k + 1 tasks, which is k + 1 times the steps
and data of the other methods. All stages together take K (K + 1) / 2 tasks' worth of steps and data. The learning curve
and the choice of the kept epoch use task k alone.
This is not a lifelong method: its FWT measures joint learning, and its NBT measures how two joint runs differ.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from t2s.lifelong.checkpoint import Checkpoint
from t2s.lifelong.sequential import Sequential
from t2s.model.scene import Picture


class Multitask(Sequential):
    """Learns all tasks so far from fresh weights at every stage."""

    @classmethod
    def reads(cls, task: int) -> list[int]:
        return list(range(task + 1))

    def start_task(self, task: int, task_emb: np.ndarray, picture: Picture, earlier: Sequence[Checkpoint]) -> None:
        super().start_task(task, task_emb, picture, [])

    def pool(self, n_windows: Sequence[int]) -> Int[Tensor, "n"]:
        """Indices of all windows of all tasks so far."""
        return torch.arange(sum(n_windows))
