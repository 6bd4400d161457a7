"""What learners and policies do with a network, whichever `policy.network` says."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from t2s import params

Batch = dict[str, Tensor]
"""A batch of observations in the format of t2s.data: uint8 images (b, h, w, 3) and float32 states (b, d)."""


class Network(nn.Module, ABC):
    """Maps observations and a task embedding to actions."""

    @abstractmethod
    def tokens(self, batch: Batch, task_emb: Float[Tensor, "b e"]) -> Float[Tensor, "b n d"]:
        """The tokens of one frame, which is an observation with its instruction, before they see one another."""

    @abstractmethod
    def decide(
        self, frames: Float[Tensor, "b t n d"], how: params.Actions, generator: torch.Generator | None
    ) -> Float[Tensor, "b h 7"]:
        """The next actions in [-1, 1] from the tokens of the last frames, the newest last.

        `how` is explained in t2s/model/head.py; `generator` is used to draw.
        """

    @abstractmethod
    def loss(
        self, batch: Batch, task_emb: Float[Tensor, "b e"], target: Float[Tensor, "b h 7"], valid: Bool[Tensor, "b h"]
    ) -> Float[Tensor, ""]:
        """The loss on demonstrated actions. `valid` marks those inside the demonstration."""

    def actions(
        self, batch: Batch, task_emb: Float[Tensor, "b e"], how: params.Actions, generator: torch.Generator | None
    ) -> Float[Tensor, "b h 7"]:
        """What `decide` gives for observations without earlier ones."""
        return self.decide(self.tokens(batch, task_emb)[:, None], how, generator)


def hold_statistics(network: nn.Module) -> None:
    """Batch norms of `network` use their running statistics from now on, and no longer update them."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()
