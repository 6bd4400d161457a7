"""er: experience replay, windows of earlier tasks learned beside those of the new one.

Source: LIBERO (arXiv 2306.03310), `ER` (lifelong/algos/er.py), after Chaudhry et al. (arXiv 1902.10486). As there, the
memory is the first `n_memories` windows of each earlier task, and every batch is joined by as many replayed ones, under
one loss. Deviations: replayed windows are drawn with replacement, LIBERO goes round the memory; a task of blocks has
fewer windows than one of LIBERO, so that the same memory is a larger share of it.
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
    """Fine-tunes on the new task and on a memory of the earlier ones."""

    @classmethod
    def reads(cls, task: int) -> list[int]:
        return list(range(task + 1))

    def replay(self, n_windows: Sequence[int], generator: torch.Generator) -> Int[Tensor, "m"]:
        """Windows drawn from the memory; with the first task there is none."""
        values = self.settings.method
        assert isinstance(values, params.ER)
        starts = np.cumsum([0, *n_windows])
        kept = [torch.arange(s, s + min(n, values.n_memories)) for s, n in zip(starts, n_windows[:-1], strict=False)]
        if not kept:
            return torch.arange(0)
        memory = torch.cat(kept)
        return memory[torch.randint(len(memory), (values.n_replayed,), generator=generator)]
