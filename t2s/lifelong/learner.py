"""What every method shares: a network, an optimiser that starts anew with each task, one step a batch."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from t2s import params
from t2s.lifelong.actor import Actor
from t2s.lifelong.checkpoint import Checkpoint
from t2s.model.policy import Batch, PolicyNetwork


class Windows(NamedTuple):
    """A batch of demonstrated windows: observations, and the chunk of actions that follows each."""

    observations: Batch
    actions: Float[Tensor, "b h 7"]
    valid: Bool[Tensor, "b h"]


class Settings(NamedTuple):
    """The sections of params.yaml that a learner reads; `method` is that of its own name."""

    policy: params.Policy
    learn: params.Learn
    method: params.Section


class Learner(ABC):
    """A method of lifelong learning: `start_task`, `observe` for every batch, then `checkpoint`."""

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

    def loss(self, windows: Windows) -> Float[Tensor, ""]:
        """The loss that one step descends."""
        task_emb = self.task_emb.expand(len(windows.actions), -1)
        return self.network.loss(windows.observations, task_emb, windows.actions, windows.valid)

    def observe(self, windows: Windows) -> dict[str, float]:
        """One optimiser step; the loss, the learning rate and the gradient's norm before clipping."""
        loss = self.loss(windows)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        norm = nn.utils.clip_grad_norm_(self.trainable, self.settings.learn.clip_norm)
        row: dict[str, float] = {
            "loss": float(loss.detach()),
            "lr": float(self.schedule.get_last_lr()[0]),
            "grad_norm": float(norm),
        }
        self.optimizer.step()
        self.schedule.step()
        return row
