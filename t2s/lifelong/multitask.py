"""multitask: one network learns all tasks so far jointly, from their demonstrations together; the upper bound.

Source: LIBERO (arXiv 2306.03310), `Multitask` (lifelong/algos/multitask.py).
Deviations: LIBERO learns all K tasks once; here stage k learns tasks 0..k anew, so that it has a policy after every
task, as the others. An epoch goes through the demonstrations of k + 1 tasks: it has k + 1 times the steps and the data
of the other methods, K (K + 1) / 2 tasks' worth in all. Its learning curve and the epoch that is kept are those of task
k alone. It is not a lifelong method; its FWT is that of joint learning, its NBT what two joint runs differ by.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from t2s.lifelong.checkpoint import Checkpoint
from t2s.lifelong.sequential import Sequential


class Multitask(Sequential):
    """Starts from fresh weights at every stage."""

    @classmethod
    def reads(cls, task: int) -> list[int]:
        return list(range(task + 1))

    def start_task(self, task: int, task_emb: np.ndarray, earlier: Sequence[Checkpoint]) -> None:
        super().start_task(task, task_emb, [])

    def pool(self, n_windows: Sequence[int]) -> Int[Tensor, "n"]:
        """All windows of all tasks so far."""
        return torch.arange(sum(n_windows))
