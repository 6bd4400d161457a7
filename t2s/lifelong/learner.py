"""What every method shares: a network, an optimiser that starts anew with each task, one step a batch."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from t2s import params
from t2s.lifelong.actor import Actor
from t2s.lifelong.checkpoint import Checkpoint
from t2s.model.policy import Batch, PolicyNetwork


class Windows(NamedTuple):
    """A batch of demonstrated windows: observations, instructions, and the chunk of actions that follows each."""

    observations: Batch
    task_emb: Float[Tensor, "b e"]
    actions: Float[Tensor, "b h 7"]
    valid: Bool[Tensor, "b h"]


class Settings(NamedTuple):
    """The sections of params.yaml that a learner reads; `method` is that of its own name."""

    policy: params.Policy
    learn: params.Learn
    method: params.Section


class Learner(ABC):
    """A method of lifelong learning: `start_task`, `look_back`, `observe` for every batch, then `checkpoint`."""

    network: PolicyNetwork
    task_emb: Tensor
    trainable: list[nn.Parameter]
    lr: float

    def __init__(self, settings: Settings, seed: int, device: torch.device) -> None:
        self.settings, self.seed, self.device = settings, seed, device
        self.lr = settings.learn.lr

    @abstractmethod
    def start_task(self, task: int, task_emb: np.ndarray, earlier: Sequence[Checkpoint]) -> None:
        """Builds the network for `task` out of the kept checkpoints of tasks 0..task-1.

        Raises: ValueError when a checkpoint does not fit the network.
        """

    @abstractmethod
    def checkpoint(self) -> Checkpoint:
        """What this task leaves behind, as learned so far."""

    @abstractmethod
    def counts(self) -> dict[str, Any]:
        """Tokens and parameters added by this task and held in all, and what was reused; None: there is none."""

    @classmethod
    @abstractmethod
    def actor(
        cls,
        settings: Settings,
        checkpoints: Sequence[Checkpoint],
        task_emb: np.ndarray,
        sample: bool,
        device: torch.device,
    ) -> Actor:
        """The policy after learning these tasks, for an instruction's embedding (d,): no task id."""

    @classmethod
    def reads(cls, task: int) -> list[int]:
        """Tasks whose demonstrations learning `task` reads, it the last: it alone."""
        return [task]

    def look_back(self, windows: Iterable[Windows]) -> None:  # noqa: B027
        """Takes what it needs of the earlier tasks that it reads, whose windows come once in batches: nothing."""

    def pool(self, n_windows: Sequence[int]) -> Int[Tensor, "n"]:
        """Windows that an epoch goes through once, counted over the tasks that it reads: those of its own task."""
        return torch.arange(sum(n_windows[:-1]), sum(n_windows))

    def replay(self, n_windows: Sequence[int], generator: torch.Generator) -> Int[Tensor, "m"]:
        """Windows to learn beside each batch, counted as in `pool`: none."""
        return torch.arange(0)

    def penalty(self) -> Float[Tensor, ""] | float:
        """What a step descends beside the loss: nothing."""
        return 0.0

    def optimise(self, trainable: Sequence[nn.Parameter], n_steps: int) -> None:
        """A fresh AdamW over `trainable` alone (weight decay moves even what has no gradient), warm-up and cosine."""
        learn = self.settings.learn
        self.trainable = list(trainable)
        self.optimizer = torch.optim.AdamW(self.trainable, lr=self.lr, weight_decay=learn.weight_decay, fused=True)
        floor = learn.lr_min / learn.lr

        def scale(step: int) -> float:
            if step < learn.warmup_steps:
                return (step + 1) / learn.warmup_steps
            done = (step - learn.warmup_steps) / max(1, n_steps - learn.warmup_steps)
            return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * min(1.0, done)))

        self.schedule = torch.optim.lr_scheduler.LambdaLR(self.optimizer, scale)

    def state(self) -> Checkpoint:
        """All that `look_back` and steps have changed; `load_state` takes it up."""
        optimizer = self.optimizer.state_dict()
        tensors: dict[str, Tensor] = {f"trainable/{i}": p for i, p in enumerate(self.trainable)}
        for i, moments in optimizer["state"].items():
            tensors |= {f"optimizer/{i}/{name}": moment for name, moment in moments.items()}
        return Checkpoint(tensors, {"groups": optimizer["param_groups"], "schedule": self.schedule.state_dict()})

    def load_state(self, state: Checkpoint) -> None:
        """Goes on from a `state`, after `start_task` and `optimise` as they were then, in place of `look_back`."""
        for i, parameter in state.part("trainable").items():
            self.trainable[int(i)].data.copy_(parameter)
        moments: dict[int, dict[str, Tensor]] = {}
        for name, moment in state.part("optimizer").items():
            i, _, key = name.partition("/")
            moments.setdefault(int(i), {})[key] = moment
        self.optimizer.load_state_dict({"state": moments, "param_groups": state.header["groups"]})
        self.schedule.load_state_dict(state.header["schedule"])

    def loss(self, windows: Windows) -> Float[Tensor, ""]:
        """The policy's loss on a batch."""
        return self.network.loss(*windows)

    def observe(self, windows: Windows) -> dict[str, float]:
        """One optimiser step; the loss, the learning rate and the gradient's norm before clipping."""
        loss = self.loss(windows)
        self.optimizer.zero_grad(set_to_none=True)
        (loss + self.penalty()).backward()
        norm = nn.utils.clip_grad_norm_(self.trainable, self.settings.learn.clip_norm)
        row: dict[str, float] = {
            "loss": float(loss.detach()),
            "lr": float(self.schedule.get_last_lr()[0]),
            "grad_norm": float(norm),
        }
        self.optimizer.step()
        self.schedule.step()
        return row
