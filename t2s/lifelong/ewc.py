"""ewc: elastic weight consolidation, which pulls weights that mattered for earlier tasks back to their last values.

    loss + e_lambda sum_i F_i (theta_i - theta*_i)^2,    F <- gamma F + mean over batches of (d loss / d theta)^2

Source: LIBERO (arXiv 2306.03310), `EWC` (lifelong/algos/ewc.py), after Kirkpatrick et al. (arXiv 1612.00796) and, for
the running F, Schwarz et al. (arXiv 1805.06370). As in LIBERO, F uses the gradients of the mean loss of each batch,
theta* is the kept policy of the last task, and the recorded loss excludes the penalty.
Deviations:
- F is updated when the next task starts, not when the last one ends, because the policy is chosen in between.
- The loss of the compact network is a mean over the 7 action dimensions, whereas LIBERO's sums them. With the same
  e_lambda, F is therefore 49 times smaller, and the penalty is 7 times weaker relative to the loss.
- The gradient of loss plus penalty is clipped at `clip_norm`; LIBERO clips it at 100.
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
from t2s.model.scene import Picture

FISHER = "fisher"
"""Part of a checkpoint: F of the tasks before it, keyed by the names of the network's parameters."""


class EWC(Sequential):
    """Fine-tunes with the EWC penalty. A checkpoint holds the network and F."""

    @classmethod
    def reads(cls, task: int) -> list[int]:
        return list(range(max(0, task - 1), task + 1))

    def start_task(self, task: int, task_emb: np.ndarray, picture: Picture, earlier: Sequence[Checkpoint]) -> None:
        super().start_task(task, task_emb, picture, earlier)
        self.anchor = {name: p.detach().clone() for name, p in self.network.named_parameters()}
        before = earlier[-1].part(FISHER) if earlier else {}
        self.fisher = {name: f.to(self.device) for name, f in before.items()}

    def look_back(self, windows: Iterable[Windows]) -> None:
        """Updates F with the Fisher information of the last task, computed at its kept policy.

        The network must still hold that policy, so this runs before the first step.
        """
        if self.task == 0:
            return
        values = self.settings.method
        assert isinstance(values, params.EWC)
        last = self.information(windows)
        self.fisher = {name: values.gamma * self.fisher.get(name, 0.0) + f for name, f in last.items()}

    def information(self, windows: Iterable[Windows]) -> dict[str, Tensor]:
        """The empirical Fisher information: the squared gradient of the batch loss, averaged over the batches."""
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
