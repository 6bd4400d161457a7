"""The base class of all methods: a network, a fresh optimiser for each task, and one step per batch."""

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
from t2s.lifelong.checkpoint import PICTURE, TASK_EMB, Checkpoint, known_picture
from t2s.model.network import Batch, Network
from t2s.model.scene import Picture


class Windows(NamedTuple):
    """A batch of windows of demonstrations: observations, task embeddings, and the actions to predict.

    Observations are (b, ...) for a network of one frame, and (b, t, ...) with an action each for one of several.
    `valid` marks the actions inside the demonstration.
    """

    observations: Batch
    task_emb: Float[Tensor, "b e"]
    actions: Float[Tensor, "b h 7"]
    valid: Bool[Tensor, "b h"]


class Settings(NamedTuple):
    """The sections of params.yaml that a learner reads: `policy` of its network, `method` of its own method."""

    policy: params.AnyPolicy
    learn: params.Learn
    method: params.Section


class Learner(ABC):
    """A lifelong learning method.

    For each task, call `start_task`, `optimise`, `look_back`, `observe` for every batch, and `checkpoint`.
    """

    network: Network
    task_emb: Tensor
    picture: Tensor
    trainable: list[nn.Parameter]
    lr: float

    def __init__(self, settings: Settings, seed: int, device: torch.device) -> None:
        self.settings, self.seed, self.device = settings, seed, device
        self.lr = settings.learn.lr

    @abstractmethod
    def start_task(self, task: int, task_emb: np.ndarray, picture: Picture, earlier: Sequence[Checkpoint]) -> None:
        """Builds the network for `task` with embedding (d,) from the kept checkpoints of tasks 0..task-1.

        `picture`: what the demonstrations of the task see first.

        Raises: ValueError when a checkpoint does not fit the network.
        """

    @abstractmethod
    def checkpoint(self) -> Checkpoint:
        """The checkpoint of this task with the current weights."""

    @abstractmethod
    def counts(self) -> dict[str, Any]:
        """The tokens and parameters of this task and in total, the reused tasks, and the similarities to earlier tasks.

        An entry is None where the method has no such quantity.
        """

    def cues(self) -> dict[str, Tensor]:
        """What finds this task at test time, for its checkpoint."""
        return {TASK_EMB: self.task_emb, PICTURE: self.picture}

    @classmethod
    @abstractmethod
    def candidates(cls, checkpoints: Sequence[Checkpoint], task_emb: np.ndarray) -> list[int]:
        """The tasks whose networks may act for a task embedding (d,). Several if tasks share the instruction."""

    @classmethod
    @abstractmethod
    def acting(cls, settings: Settings, checkpoints: Sequence[Checkpoint], task: int, task_emb_dim: int) -> Network:
        """The network that acts on `task`, after the tasks of `checkpoints` were learned.

        Raises: ValueError when a checkpoint does not fit the network.
        """

    @classmethod
    def actor(
        cls,
        settings: Settings,
        checkpoints: Sequence[Checkpoint],
        task_emb: np.ndarray,
        actions: params.Actions,
        device: torch.device,
    ) -> Actor:
        """The policy for a task embedding (d,), after the tasks of `checkpoints` were learned. It gets no task id.

        Raises: ValueError when a checkpoint does not fit the network, or when several tasks share the instruction and
            the checkpoint of one has no picture.
        """
        tasks = cls.candidates(checkpoints, task_emb)
        networks = [cls.acting(settings, checkpoints, task, len(task_emb)).to(device) for task in tasks]
        pictures = [known_picture(checkpoints[task]) for task in tasks] if len(tasks) > 1 else []
        return Actor(networks, pictures, task_emb, settings.policy, actions)

    @classmethod
    def reads(cls, task: int) -> list[int]:
        """The tasks whose demonstrations are needed to learn `task`, with `task` last. By default only `task`."""
        return [task]

    def look_back(self, windows: Iterable[Windows]) -> None:  # noqa: B027
        """Processes the windows of the earlier tasks in `reads`, once and in batches, before the first step.

        By default does nothing.
        """

    def pool(self, n_windows: Sequence[int]) -> Int[Tensor, "n"]:
        """Indices of the windows that an epoch visits once. By default those of the task itself.

        `n_windows`: number of windows of each task in `reads`. Indices count through these tasks in order.
        """
        return torch.arange(sum(n_windows[:-1]), sum(n_windows))

    def replay(self, n_windows: Sequence[int], generator: torch.Generator) -> Int[Tensor, "m"]:
        """Indices of the windows to replay with one batch, counted as in `pool`. By default none."""
        return torch.arange(0)

    def penalty(self) -> Float[Tensor, ""] | float:
        """A term added to the loss of every step. By default zero."""
        return 0.0

    def optimise(self, trainable: Sequence[nn.Parameter], n_steps: int) -> None:
        """Creates a fresh AdamW with linear warm-up and cosine decay over `n_steps`.

        It gets only `trainable`, because weight decay also moves parameters whose gradient is zero.
        """
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
        """Everything that `look_back` and the steps have changed, for `load_state`."""
        optimizer = self.optimizer.state_dict()
        tensors: dict[str, Tensor] = {f"trainable/{i}": p for i, p in enumerate(self.trainable)}
        tensors |= {f"buffer/{name}": buffer for name, buffer in self.network.named_buffers()}
        for i, moments in optimizer["state"].items():
            tensors |= {f"optimizer/{i}/{name}": moment for name, moment in moments.items()}
        return Checkpoint(tensors, {"groups": optimizer["param_groups"], "schedule": self.schedule.state_dict()})

    def load_state(self, state: Checkpoint) -> None:
        """Restores a `state` in place of `look_back`.

        Call `start_task` and `optimise` first, with the same arguments as for the learner that made the state.
        """
        for i, parameter in state.part("trainable").items():
            self.trainable[int(i)].data.copy_(parameter)
        self.network.load_state_dict(state.part("buffer"), strict=False)
        moments: dict[int, dict[str, Tensor]] = {}
        for name, moment in state.part("optimizer").items():
            i, _, key = name.partition("/")
            moments.setdefault(int(i), {})[key] = moment
        self.optimizer.load_state_dict({"state": moments, "param_groups": state.header["groups"]})
        self.schedule.load_state_dict(state.header["schedule"])

    def loss(self, windows: Windows) -> Float[Tensor, ""]:
        """The loss of the policy on a batch."""
        return self.network.loss(*windows)

    def observe(self, windows: Windows) -> dict[str, float]:
        """Takes one optimiser step. Returns the loss, the learning rate and the gradient norm before clipping."""
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
