"""tail: a network learned on the first task and then frozen, with separate low-rank adapters for every later task.

    W_k = W + U_k D_k    for every linear map and convolution

with D_k: (rank, d_in) initially random and U_k: (d_out, rank) initially zero.

Source: TAIL (arXiv 2310.05905), its LoRA variant (arXiv 2106.09685). Only the abstract of TAIL and summaries by others
were available. They describe rank 8, factor alpha / rank = 1, adapters on the queries and values of attention, and a
fusion module and head that are trained as well.
Deviations:
- The base is the network of the first task, as in t2s. TAIL's base is far larger and pretrained on other data.
- Every map has an adapter, and nothing else is trained.
- The nearest known instruction selects the adapters, and the scene if tasks share it. TAIL is told which to use.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils import parametrize

from t2s import params
from t2s.lifelong.checkpoint import Checkpoint, known_embeddings, n_parameters
from t2s.lifelong.sequential import Sequential, weights
from t2s.model.network import hold_statistics
from t2s.model.scaling import alike
from t2s.model.scene import Picture

DOWN, UP = "down", "up"
"""Parts of the checkpoint of a later task: D_k and U_k, keyed by the names of the maps."""


def adapted(
    weight: Float[Tensor, "d_out *d_in"], down: Float[Tensor, "r n"], up: Float[Tensor, "d_out r"]
) -> Float[Tensor, "d_out *d_in"]:
    """W + U D. The filters of a convolution are flattened to rows of c_in * kernel**2 weights."""
    return weight + (up @ down).view_as(weight)


class Adapter(nn.Module):
    """A low-rank change of one weight, for torch.nn.utils.parametrize. Initially zero."""

    def __init__(self, weight: Tensor, rank: int, generator: torch.Generator) -> None:
        super().__init__()
        d_out, d_in = weight.flatten(1).shape
        rank = min(rank, d_out, d_in)
        self.down = nn.Parameter(torch.randn(rank, d_in, generator=generator) / math.sqrt(d_in))
        self.up = nn.Parameter(torch.zeros(d_out, rank))

    def forward(self, weight: Tensor) -> Tensor:
        return adapted(weight, self.down, self.up)


class TAIL(Sequential):
    """Trains all weights on the first task, and only adapters on later tasks. A checkpoint holds what was trained."""

    def start_task(self, task: int, task_emb: np.ndarray, picture: Picture, earlier: Sequence[Checkpoint]) -> None:
        values = self.settings.method
        assert isinstance(values, params.TAIL)
        super().start_task(task, task_emb, picture, earlier[:1])
        self.n_before = n_parameters(earlier)
        self.adapters: dict[str, Adapter] = {}
        if task == 0:
            return
        self.lr = values.new_lr
        self.network.requires_grad_(False)
        hold_statistics(self.network)
        generator = torch.Generator().manual_seed(1000 * self.seed + task)
        for name, module in list(self.network.named_modules()):
            if isinstance(module, nn.Linear | nn.Conv2d):
                self.adapters[name] = Adapter(module.weight, values.rank, generator).to(self.device)
                parametrize.register_parametrization(module, "weight", self.adapters[name])
        self.trainable = [p for adapter in self.adapters.values() for p in adapter.parameters()]

    def checkpoint(self) -> Checkpoint:
        if self.task == 0:
            tensors = super().checkpoint().tensors
        else:
            tensors = {f"{DOWN}/{name}": a.down for name, a in self.adapters.items()}
            tensors |= {f"{UP}/{name}": a.up for name, a in self.adapters.items()}
        return Checkpoint(tensors | self.cues(), {"task": self.task})

    def counts(self) -> dict[str, Any]:
        n = sum(p.numel() for p in self.trainable)
        parameters = {"n_parameters_new": n, "n_parameters_total": self.n_before + n}
        return super().counts() | parameters | {"active": [0] if self.task else []}

    @classmethod
    def candidates(cls, checkpoints: Sequence[Checkpoint], task_emb: np.ndarray) -> list[int]:
        return alike(task_emb, known_embeddings(checkpoints))

    @classmethod
    def merged(cls, checkpoints: Sequence[Checkpoint], task: int) -> Checkpoint:
        tensors = weights(checkpoints[0])
        down, up = checkpoints[task].part(DOWN), checkpoints[task].part(UP)
        for name in down:
            tensors[f"{name}.weight"] = adapted(tensors[f"{name}.weight"], down[name], up[name])
        return Checkpoint(tensors, checkpoints[task].header)
