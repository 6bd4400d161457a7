"""The layers that the policy network is built from.

T2S uses tokenised maps (Pattention). Every other method uses ordinary maps of the same shape.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from torch import nn

from t2s import params
from t2s.model.pattention import Pattention, PattentionConv

FFN_FACTOR = 4
"""Expansion of the feed-forward network: hidden units per feature, or tokens relative to other Pattentions."""


@runtime_checkable  # for beartype, in tests
class Maps(Protocol):
    """Builds the maps of a network."""

    def linear(self, d_in: int, d_out: int) -> nn.Module: ...
    def conv(self, c_in: int, c_out: int, kernel: int, stride: int) -> nn.Module: ...
    def ffn(self, d: int) -> nn.Module: ...
    def head(self, d_in: int, d_out: int) -> nn.Module: ...


class Plain:
    """Ordinary maps: linear layers with bias, and convolutions followed by group norm and GELU."""

    def linear(self, d_in: int, d_out: int) -> nn.Module:
        return nn.Linear(d_in, d_out)

    def conv(self, c_in: int, c_out: int, kernel: int, stride: int) -> nn.Module:
        conv = nn.Conv2d(c_in, c_out, kernel, stride, padding=(kernel - 1) // 2)
        return nn.Sequential(conv, nn.GroupNorm(1, c_out), nn.GELU())

    def ffn(self, d: int) -> nn.Module:
        return nn.Sequential(nn.Linear(d, FFN_FACTOR * d), nn.GELU(), nn.Linear(FFN_FACTOR * d, d))

    def head(self, d_in: int, d_out: int) -> nn.Module:
        return nn.Linear(d_in, d_out)


class Tokenised:
    """Pattention in place of every map. The token bank adds the tokens later.

    A tokenised convolution keeps the GELU of an ordinary one but drops its group norm.
    """

    def __init__(self, values: params.T2S) -> None:
        self.values = values

    def linear(self, d_in: int, d_out: int) -> nn.Module:
        return Pattention(d_in, d_out, self.values.added_norm)

    def conv(self, c_in: int, c_out: int, kernel: int, stride: int) -> nn.Module:
        padding = (kernel - 1) // 2
        conv = PattentionConv(c_in, c_out, kernel, stride, padding, self.values.conv_norm, self.values.added_norm)
        return nn.Sequential(conv, nn.GELU())

    def ffn(self, d: int) -> nn.Module:
        return Pattention(d, d, self.values.added_norm, factor=FFN_FACTOR)

    def head(self, d_in: int, d_out: int) -> nn.Module:
        return Pattention(d_in, d_out, self.values.added_norm, new_factor=self.values.new_head_factor)
