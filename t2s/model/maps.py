"""The layers that the policy networks are built from.

T2S uses tokenised maps (Pattention). Every other method uses ordinary maps of the same shape.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from t2s import params
from t2s.model.pattention import Pattention, PattentionConv

FFN_FACTOR = 4
"""Expansion of the feed-forward network: hidden units per feature, or tokens relative to other Pattentions."""


@runtime_checkable  # for beartype, in tests
class Maps(Protocol):
    """Builds the maps of a network. `encoder` builds those of its image encoders.

    `projection` is a linear map of raw values, whose magnitude matters. `filters` is a convolution alone; `conv` adds
    what follows it. `dropout` acts between the two layers of an ordinary FFN.
    """

    def encoder(self) -> Maps: ...
    def linear(self, d_in: int, d_out: int, bias: bool = True) -> nn.Module: ...
    def projection(self, d_in: int, d_out: int) -> nn.Module: ...
    def filters(self, c_in: int, c_out: int, kernel: int, stride: int, bias: bool = True) -> nn.Module: ...
    def conv(self, c_in: int, c_out: int, kernel: int, stride: int) -> nn.Module: ...
    def ffn(self, d: int, factor: int = FFN_FACTOR, dropout: float = 0.0) -> nn.Module: ...
    def head(self, d_in: int, d_out: int) -> nn.Module: ...


class Plain:
    """Ordinary maps: linear layers with bias, and convolutions followed by group norm and GELU."""

    def encoder(self) -> Maps:
        return self

    def linear(self, d_in: int, d_out: int, bias: bool = True) -> nn.Module:
        return nn.Linear(d_in, d_out, bias)

    def projection(self, d_in: int, d_out: int) -> nn.Module:
        return nn.Linear(d_in, d_out)

    def filters(self, c_in: int, c_out: int, kernel: int, stride: int, bias: bool = True) -> nn.Module:
        return nn.Conv2d(c_in, c_out, kernel, stride, padding=(kernel - 1) // 2, bias=bias)

    def conv(self, c_in: int, c_out: int, kernel: int, stride: int) -> nn.Module:
        return nn.Sequential(self.filters(c_in, c_out, kernel, stride), nn.GroupNorm(1, c_out), nn.GELU())

    def ffn(self, d: int, factor: int = FFN_FACTOR, dropout: float = 0.0) -> nn.Module:
        between = nn.Sequential(nn.GELU(), nn.Dropout(dropout))
        return nn.Sequential(nn.Linear(d, factor * d), between, nn.Linear(factor * d, d))

    def head(self, d_in: int, d_out: int) -> nn.Module:
        return nn.Linear(d_in, d_out)


class Tokenised:
    """Pattention in place of every map, or of every map outside the image encoders (`tokenise: transformer`).

    The token bank adds the tokens later. A Pattention has no bias. A tokenised convolution keeps the GELU of an
    ordinary one but drops its group norm. A projection appends a 1 to its input: Theta keeps only the direction.
    """

    def __init__(self, values: params.T2S) -> None:
        self.values = values

    def encoder(self) -> Maps:
        return self if self.values.tokenise == "all" else Plain()

    def linear(self, d_in: int, d_out: int, bias: bool = True) -> nn.Module:
        return Pattention(d_in, d_out, self.values.added_norm)

    def projection(self, d_in: int, d_out: int) -> nn.Module:
        return nn.Sequential(WithOne(), self.linear(d_in + 1, d_out))

    def filters(self, c_in: int, c_out: int, kernel: int, stride: int, bias: bool = True) -> nn.Module:
        padding = (kernel - 1) // 2
        return PattentionConv(c_in, c_out, kernel, stride, padding, self.values.conv_norm, self.values.added_norm)

    def conv(self, c_in: int, c_out: int, kernel: int, stride: int) -> nn.Module:
        return nn.Sequential(self.filters(c_in, c_out, kernel, stride), nn.GELU())

    def ffn(self, d: int, factor: int = FFN_FACTOR, dropout: float = 0.0) -> nn.Module:
        return Pattention(d, d, self.values.added_norm, factor=factor)

    def head(self, d_in: int, d_out: int) -> nn.Module:
        return Pattention(d_in, d_out, self.values.added_norm, new_factor=self.values.new_head_factor)


class WithOne(nn.Module):
    """Appends a 1 to the last axis, as in homogeneous coordinates."""

    def forward(self, x: Float[Tensor, "... d"]) -> Float[Tensor, "... d_plus_1"]:
        return torch.cat([x, torch.ones_like(x[..., :1])], dim=-1)
