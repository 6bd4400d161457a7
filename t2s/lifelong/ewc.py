"""ewc: elastic weight consolidation, a pull towards the last task's weights where they mattered.

    loss + e_lambda sum_i F_i (theta_i - theta*_i)^2,    F <- gamma F + mean over batches of (d loss / d theta)^2

Source: LIBERO (arXiv 2306.03310), `EWC` (lifelong/algos/ewc.py), after Kirkpatrick et al. (arXiv 1612.00796) and, for
the running F, Schwarz et al. (arXiv 1805.06370). As there, gradients are those of a batch's mean loss, theta* is the
policy kept of the last task, and the loss on record leaves the penalty out.
Deviations: F is updated when the next task starts, not when the last ends, since the policy is chosen in between; the
loss is per action dimension, LIBERO's is their sum, 7 times as much, so that F is 49 and the pull beside the loss 7
times weaker with the same e_lambda; the penalty's gradient is clipped with the loss's at `clip_norm` (LIBERO: 100).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from t2s import params
from t2s.lifelong.checkpoint import Checkpoint
from t2s.lifelong.learner import Windows
from t2s.lifelong.sequential import Sequential

FISHER = "fisher"
"""Part of a checkpoint: F of the tasks before it, by the names of the network's parameters."""


class EWC(Sequential):
    """Fine-tunes under the penalty."""

    @classmethod
    def reads(cls, task: int) -> list[int]:
        return list(range(max(0, task - 1), task + 1))

    def start_task(self, task: int, task_emb: np.ndarray, earlier: Sequence[Checkpoint]) -> None:
        super().start_task(task, task_emb, earlier)
        self.anchor = {name: p.detach().clone() for name, p in self.network.named_parameters()}
        before = earlier[-1].part(FISHER) if earlier else {}
        self.fisher = {name: f.to(self.device) for name, f in before.items()}

    def look_back(self, windows: Iterable[Windows]) -> None:
        """Adds the last task's Fisher information at its kept policy, which the network still is."""
        if self.task == 0:
            return
        values = self.settings.method
        assert isinstance(values, params.EWC)
        last = self.information(windows)
        self.fisher = {name: values.gamma * self.fisher.get(name, 0.0) + f for name, f in last.items()}

    def information(self, windows: Iterable[Windows]) -> dict[str, Tensor]:
        """Mean over batches of the squared gradient of the loss (the empirical Fisher information, per batch)."""
        named = dict(self.network.named_parameters())
        squares = {name: torch.zeros_like(p) for name, p in named.items()}
        n_batches = 0
        for batch in windows:
            gradients = torch.autograd.grad(self.loss(batch), list(named.values()))
            for name, gradient in zip(named, gradients, strict=True):
                squares[name] += gradient.square()
            n_batches += 1
        return {name: square / n_batches for name, square in squares.items()}

    def penalty(self) -> Float[Tensor, ""] | float:
        values = self.settings.method
        assert isinstance(values, params.EWC)
        named = dict(self.network.named_parameters())
        return values.e_lambda * sum(
            (f * (named[name] - self.anchor[name]).square()).sum() for name, f in self.fisher.items()
        )

    def checkpoint(self) -> Checkpoint:
        return self._with_fisher(super().checkpoint())

    def state(self) -> Checkpoint:
        return self._with_fisher(super().state())

    def load_state(self, state: Checkpoint) -> None:
        self.fisher = {name: f.to(self.device) for name, f in state.part(FISHER).items()}
        super().load_state(state)

    def _with_fisher(self, kept: Checkpoint) -> Checkpoint:
        return Checkpoint(kept.tensors | {f"{FISHER}/{name}": f for name, f in self.fisher.items()}, kept.header)
