"""er: experience replay, which trains on windows of earlier tasks together with those of the new task.

Source: LIBERO (arXiv 2306.03310), `ER` (lifelong/algos/er.py), after Chaudhry et al. (arXiv 1902.10486). As in LIBERO,
the replay memory holds the first `n_memories` windows of each earlier task, every batch is extended by `n_replayed`
windows from it (LIBERO: as many as in the batch), and one loss covers both.
Deviations: replayed windows are drawn with replacement, whereas LIBERO cycles through the memory. A task of the blocks
suites has fewer windows than a LIBERO task, so a memory of the same size covers a larger share of it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from t2s import params
from t2s.lifelong.sequential import Sequential


class ER(Sequential):
    """Fine-tunes on the new task and on a replay memory of the earlier tasks."""

    @classmethod
    def reads(cls, task: int) -> list[int]:
        return list(range(task + 1))

    def replay(self, n_windows: Sequence[int], generator: torch.Generator) -> Int[Tensor, "m"]:
        """Indices of `n_replayed` windows drawn from the replay memory; none for the first task."""
        values = self.settings.method
        assert isinstance(values, params.ER)
        starts = np.cumsum([0, *n_windows])
        kept = [torch.arange(s, s + min(n, values.n_memories)) for s, n in zip(starts, n_windows[:-1], strict=False)]
        if not kept:
            return torch.arange(0)
        memory = torch.cat(kept)
        return memory[torch.randint(len(memory), (values.n_replayed,), generator=generator)]
