"""packnet: each task trains the free weights, keeps the largest quarter of them and frees the rest for later tasks.

Source: LIBERO (arXiv 2306.03310), `PackNet` (lifelong/algos/packnet.py), after Mallya & Lazebnik (arXiv 1711.05769). As
in LIBERO, each map is pruned by magnitude and freed weights are set to zero. A task acts with its own weights and those
of all earlier tasks. Fine-tuning after pruning starts with a fresh optimiser and schedule. Policies from before pruning
count for the learning curve but are never kept.
Deviations:
- Fine-tuning takes the share `post_prune_share` of the budget that all methods have, and its policies are on the
  learning curve too. LIBERO fine-tunes for 50 further epochs.
- Biases and norms learn with the first task and are frozen afterwards, as in Mallya & Lazebnik. LIBERO never trains
  them. The statistics of batch norms keep their initial values, as in LIBERO.
- Weights of other tasks are restored after every step, because the weight decay of AdamW would move them, as it does in
  LIBERO.
- Gradients are masked before clipping, not after.
- The nearest known instruction selects the task at test time, and the scene if tasks share it, as in t2s. PackNet is
  given the task id.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from t2s import params
from t2s.lifelong.checkpoint import Checkpoint, known_embeddings
from t2s.lifelong.learner import Windows
from t2s.lifelong.sequential import Sequential
from t2s.model.network import hold_statistics
from t2s.model.scaling import alike
from t2s.model.scene import Picture

OWNER = "owner"
"""Part of a checkpoint: the task that owns each weight, counted from 1. Free weights have 0."""


class PackNet(Sequential):
    """Shares the weights of one network among the tasks. A checkpoint holds all weights and their owners."""

    def start_task(self, task: int, task_emb: np.ndarray, picture: Picture, earlier: Sequence[Checkpoint]) -> None:
        super().start_task(task, task_emb, picture, earlier)
        hold_statistics(self.network)
        weights = {name: p for name, p in self.network.named_parameters() if p.dim() > 1}
        if earlier:
            if not earlier[-1].header["finished"]:
                raise ValueError(f"expected a pruned policy of task {task - 1}, got an unpruned one")
            self.owner = {name: o.to(self.device) for name, o in earlier[-1].part(OWNER).items()}
            for name, parameter in self.network.named_parameters():
                parameter.requires_grad_(name in weights)
        else:
            self.owner = {name: torch.zeros_like(p, dtype=torch.uint8) for name, p in weights.items()}
        for owner in self.owner.values():
            owner[owner == 0] = task + 1
        self.weights, self.pruned, self.step = weights, False, 0
        self.trainable = [p for p in self.network.parameters() if p.requires_grad]
        for name, weight in weights.items():
            weight.register_hook(functools.partial(self.masked, name))

    def mine(self, name: str) -> Bool[Tensor, "..."]:
        """A mask of the weights of one map that this task owns."""
        return self.owner[name] == self.task + 1

    def masked(self, name: str, gradient: Tensor) -> Tensor:
        """The gradient of one map's weights, set to zero for weights that this task does not own."""
        return gradient * self.mine(name)

    def optimise(self, trainable: Sequence[nn.Parameter], n_steps: int) -> None:
        """Creates the optimiser for the steps before pruning. `observe` creates another one after pruning."""
        values = self.settings.method
        assert isinstance(values, params.PackNet)
        self.n_after = round(values.post_prune_share * n_steps)
        self.n_before = n_steps - self.n_after
        super().optimise(trainable, self.n_before)

    def observe(self, windows: Windows) -> dict[str, float]:
        """Takes one step on the weights of this task; all other weights stay bit-identical. Prunes when it is due."""
        if self.step == self.n_before:
            self.prune()
            super().optimise(self.trainable, self.n_after)
        before = {name: weight.detach().clone() for name, weight in self.weights.items()}
        row = super().observe(windows)
        for name, weight in self.weights.items():
            weight.data.copy_(torch.where(self.mine(name), weight.data, before[name]))
        self.step += 1
        return row

    def prune(self) -> None:
        """Frees the smallest share `prune_perc` of this task's weights in each map and sets them to zero."""
        values = self.settings.method
        assert isinstance(values, params.PackNet)
        for name, weight in self.weights.items():
            smallest = smallest_share(weight.detach(), self.mine(name), values.prune_perc)
            self.owner[name][smallest] = 0
            weight.data[smallest] = 0.0
        self.pruned = True

    def checkpoint(self) -> Checkpoint:
        kept = super().checkpoint()
        # Averages include steps before pruning, so freed weights would not be exactly zero.
        packed = {name: torch.where(owner > 0, kept.tensors[name], 0.0) for name, owner in self.owner.items()}
        header = {"task": self.task, "finished": self.pruned}
        return Checkpoint(kept.tensors | packed | self._owners() | self.cues(), header)

    def state(self) -> Checkpoint:
        kept = super().state()
        return Checkpoint(kept.tensors | self._owners(), kept.header | {"step": self.step, "pruned": self.pruned})

    def load_state(self, state: Checkpoint) -> None:
        self.step, self.pruned = state.header["step"], state.header["pruned"]
        for name, owner in state.part(OWNER).items():
            self.owner[name].copy_(owner)
        if self.pruned:
            super().optimise(self.trainable, self.n_after)
        super().load_state(state)

    def _owners(self) -> dict[str, Tensor]:
        return {f"{OWNER}/{name}": owner for name, owner in self.owner.items()}

    def counts(self) -> dict[str, Any]:
        """As in `Learner`. New parameters are those that the task owns once pruned.

        For the first task, biases and norms are new as well.
        """
        counts = super().counts()
        n = sum(int(self.mine(name).sum()) for name in self.weights)
        if self.task == 0:
            n += counts["n_parameters_total"] - sum(weight.numel() for weight in self.weights.values())
        return counts | {"n_parameters_new": n}

    @classmethod
    def candidates(cls, checkpoints: Sequence[Checkpoint], task_emb: np.ndarray) -> list[int]:
        return alike(task_emb, known_embeddings(checkpoints))

    @classmethod
    def merged(cls, checkpoints: Sequence[Checkpoint], task: int) -> Checkpoint:
        latest = checkpoints[-1]
        tensors = dict(latest.tensors)
        for name, owner in latest.part(OWNER).items():
            acts = (owner > 0) & (owner <= task + 1)
            tensors[name] = torch.where(acts, tensors[name], 0.0)  # a product could give -0.0
        return Checkpoint(tensors, latest.header)


def smallest_share(
    weight: Float[Tensor, "*shape"], mine: Bool[Tensor, "*shape"], share: float
) -> Bool[Tensor, "*shape"]:
    """A mask of the smallest `share` of the weights in `mine`, by magnitude."""
    magnitude = torch.where(mine, weight.abs(), torch.inf).flatten()
    found = torch.zeros_like(mine).flatten()
    found[magnitude.argsort(stable=True)[: round(share * int(mine.sum()))]] = True
    return found.view_as(mine)
