"""Averages of the weights over the steps: the policy that is saved is steadier than the last step's."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor


class Averages:
    """Exponential moving averages of `parameters`; after step t the decay is min(decay, (1 + t) / (10 + t))."""

    def __init__(self, parameters: Sequence[Tensor], decay: float) -> None:
        """`decay` in [0, 1); 0: the last step's weights."""
        self.parameters, self.decay = parameters, decay
        self.means = [p.detach().clone() for p in parameters]
        self.n_steps = 0

    @torch.no_grad()
    def update(self) -> None:
        """Takes in the weights after one more step."""
        self.n_steps += 1
        decay = min(self.decay, (1 + self.n_steps) / (10 + self.n_steps))
        for mean, parameter in zip(self.means, self.parameters, strict=True):
            mean.lerp_(parameter, 1 - decay)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Within, the parameters hold the averages."""
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
