"""Moving averages of the weights. The saved policy uses them because the weights of a single step are noisier."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor


class Averages:
    """Exponential moving averages of `parameters`. The decay at step t = 1, 2, ... is min(decay, (1 + t)/(10 + t))."""

    def __init__(self, parameters: Sequence[Tensor], decay: float) -> None:
        """Starts from the current weights. `decay` is in [0, 1); with 0 the averages are the latest weights."""
        self.parameters, self.decay = parameters, decay
        self.means = [p.detach().clone() for p in parameters]
        self.n_steps = 0

    @torch.no_grad()
    def update(self) -> None:
        """Adds the weights after one more step to the averages."""
        self.n_steps += 1
        decay = min(self.decay, (1 + self.n_steps) / (10 + self.n_steps))
        for mean, parameter in zip(self.means, self.parameters, strict=True):
            mean.lerp_(parameter, 1 - decay)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """A context in which the parameters hold the averages; afterwards they hold their own weights again."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    @torch.no_grad()
    def _swap(self) -> None:
        for mean, parameter in zip(self.means, self.parameters, strict=True):
            kept = parameter.clone()
            parameter.copy_(mean)
            mean.copy_(kept)
