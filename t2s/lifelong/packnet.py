"""packnet: every task trains the free weights, keeps the largest quarter of them and frees the rest for later tasks.

Source: LIBERO (arXiv 2306.03310), `PackNet` (lifelong/algos/packnet.py), after Mallya & Lazebnik (arXiv 1711.05769). As
there: pruning by magnitude within each map, freed weights are zero, a task acts with its own and all earlier tasks'
weights, finetuning after pruning starts a fresh optimiser and schedule, policies before pruning count for the learning
curve but are never kept.
Deviations: LIBERO finetunes for 50 further epochs, here the share `post_prune_share` of the same budget as the other
methods', and these policies are on the learning curve too; biases and norms learn with the first task and are frozen
then (as Mallya & Lazebnik do; LIBERO never trains them); other tasks' weights are restored after every step, as AdamW's
weight decay would move them (in LIBERO it does); gradients are masked before they are clipped, not after. PackNet is
told the task at test; here the nearest known instruction names it, as in t2s.
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
from t2s.lifelong.checkpoint import TASK_EMB, Checkpoint, known_embeddings
from t2s.lifelong.learner import Windows
from t2s.lifelong.sequential import Sequential
from t2s.model.scaling import nearest

OWNER = "owner"
"""Part of a checkpoint: the task that owns each weight, counted from 1; 0: free."""


class PackNet(Sequential):
    """Owners part the weights of one network among the tasks; a checkpoint is all weights and their owners."""

    def start_task(self, task: int, task_emb: np.ndarray, earlier: Sequence[Checkpoint]) -> None:
        super().start_task(task, task_emb, earlier)
        weights = {name: p for name, p in self.network.named_parameters() if p.dim() > 1}
        if earlier:
            if not earlier[-1].header["finished"]:
                raise ValueError(f"expected a pruned policy of task {task - 1}, got one that owns all weights")
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
        """Where a map's weights belong to this task."""
        return self.owner[name] == self.task + 1

    def masked(self, name: str, gradient: Tensor) -> Tensor:
        """The gradient of a map's weights, zero where they are not this task's."""
        return gradient * self.mine(name)

    def optimise(self, trainable: Sequence[nn.Parameter], n_steps: int) -> None:
        """An optimiser until pruning, after which there comes another."""
        values = self.settings.method
        assert isinstance(values, params.PackNet)
        self.n_after = round(values.post_prune_share * n_steps)
        self.n_before = n_steps - self.n_after
        super().optimise(trainable, self.n_before)

    def observe(self, windows: Windows) -> dict[str, float]:
        """One step on this task's weights; all others stay as they are, bit for bit."""
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
        """Frees the smallest share `prune_perc` of this task's weights of every map, and sets them to zero."""
        values = self.settings.method
        assert isinstance(values, params.PackNet)
        for name, weight in self.weights.items():
            smallest = smallest_share(weight.detach(), self.mine(name), values.prune_perc)
            self.owner[name][smallest] = 0
            weight.data[smallest] = 0.0
        self.pruned = True

    def checkpoint(self) -> Checkpoint:
        kept = super().checkpoint()
        # An average over steps before pruning would leave what is freed not quite zero.
        packed = {name: torch.where(owner > 0, kept.tensors[name], 0.0) for name, owner in self.owner.items()}
        header = {"task": self.task, "finished": self.pruned}
        return Checkpoint(kept.tensors | packed | self._owners() | {TASK_EMB: self.task_emb}, header)

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
        """New are the parameters that the task owns once pruned; with the first task biases and norms as well."""
        counts = super().counts()
        n = sum(int(self.mine(name).sum()) for name in self.weights)
        if self.task == 0:
            n += counts["n_parameters_total"] - sum(weight.numel() for weight in self.weights.values())
        return counts | {"n_parameters_new": n}

    @classmethod
    def acting(cls, checkpoints: Sequence[Checkpoint], task_emb: np.ndarray) -> Checkpoint:
        task = nearest(task_emb, known_embeddings(checkpoints))
        latest = checkpoints[-1]
        tensors = dict(latest.tensors)
        for name, owner in latest.part(OWNER).items():
            acts = (owner > 0) & (owner <= task + 1)
            tensors[name] = torch.where(acts, tensors[name], 0.0)  # a product would leave zeros of either sign
        return Checkpoint(tensors, latest.header)


def smallest_share(
    weight: Float[Tensor, "*shape"], mine: Bool[Tensor, "*shape"], share: float
) -> Bool[Tensor, "*shape"]:
    """Where the smallest `share` of the weights of one task is, by magnitude."""
    magnitude = torch.where(mine, weight.abs(), torch.inf).flatten()
    found = torch.zeros_like(mine).flatten()
    found[magnitude.argsort(stable=True)[: round(share * int(mine.sum()))]] = True
    return found.view_as(mine)
