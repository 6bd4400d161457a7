"""Linear maps as cross-attention between the input and parameter tokens, in groups that leave one another alone.

TokenFormer (arXiv 2410.23168, eq. 4-6) replaces `y = x W` by

    Pattention(x, K, V) = Theta(x K^T) V,    Theta(A) = GeLU(A / ||A||_2 * sqrt(n)),

with K: (n, d_in) the key and V: (n, d_out) the value parameter tokens. Its norm runs over all tokens, so that adding
tokens changes what the old ones compute. Here the tokens come in groups, and the norm runs over the scores of the base
alone, which no later task changes:

    y = sum over active groups g of  GeLU(x K_g^T / ||x K_0^T||_2 * sqrt(n_0)) V_g.

An added group so matters where its keys match the input well beside the base's; with a norm of its own it would matter
everywhere alike. A group whose values are zero adds nothing; a group that is not active takes no part, so that what was
learned with the others stays the same, bit for bit. Of a convolution the norm runs over the pixels of an image as well:
per pixel it would leave only which keys a patch matches, not how well.
"""

from __future__ import annotations

import functools
import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from t2s import params

EPS = 1e-6
"""Added to the mean square of a row of scores: a row of zeros stays zero."""

GELU_POWER = 0.425
"""E[GeLU(z)^2] for z ~ N(0, 1): what one normalised score contributes to the power of the output."""


def inverse_rms(scores: Float[Tensor, "... n"], n_axes: int = 1) -> Float[Tensor, "... #n"]:
    """sqrt(n) / ||A||_2 along the token axis; with `n_axes` > 1 along so many of the last axes."""
    axes = tuple(range(-n_axes, 0))
    return (scores.square().mean(axes, keepdim=True) + EPS).rsqrt()


def theta(scores: Float[Tensor, "... n"], scale: Float[Tensor, "... #n"]) -> Float[Tensor, "... n"]:
    """GeLU(A / ||A||_2 * sqrt(n)): TokenFormer's `l2_norm_gelu` (arXiv 2410.23168, eq. 6); `scale` is `inverse_rms`."""
    return F.gelu(scores * scale)


class Pattention(nn.Module):
    """A map from d_in to d_out features whose parameters are tokens, in groups named after the task that added them.

    `active` names the groups that take part, in the order they are summed: the base first.
    """

    def __init__(
        self,
        d_in: int,
        d_out: int,
        added_norm: params.AddedNorm,
        *,
        factor: int = 1,
        new_factor: int = 1,
        n_norm_axes: int = 1,
    ) -> None:
        """`added_norm`: whose scores the norm of an added group runs over, along `n_norm_axes` of the last axes.

        `factor` multiplies the number of tokens of every group of this map (the FFN has more, as usual), `new_factor`
        that of added groups once more.
        """
        super().__init__()
        self.d_in, self.d_out, self.factor, self.new_factor = d_in, d_out, factor, new_factor
        self.added_norm, self.n_norm_axes = added_norm, n_norm_axes
        self.key_param_tokens = nn.ParameterDict()
        self.value_param_tokens = nn.ParameterDict()
        self.active: list[str] = []

    def add_group(self, name: str, n_tokens: int, generator: torch.Generator, zero: bool) -> None:
        """Adds a group of `n_tokens * factor` tokens, `new_factor` times as many if it is not the first.

        Keys are random; values zero or giving unit variance.

        Raises: ValueError if there is a group of that name.
        """
        if name in self.key_param_tokens:
            raise ValueError(f"expected a new group, got '{name}'; have {list(self.key_param_tokens)}")
        n = n_tokens * self.factor * (self.new_factor if self.key_param_tokens else 1)
        keys = torch.randn(n, self.d_in, generator=generator) / math.sqrt(self.d_in)
        values = torch.randn(n, self.d_out, generator=generator) / math.sqrt(GELU_POWER * n)
        self.key_param_tokens[name] = nn.Parameter(keys)
        self.value_param_tokens[name] = nn.Parameter(torch.zeros_like(values) if zero else values)

    def forward(self, x: Float[Tensor, "... d_in"]) -> Float[Tensor, "... d_out"]:
        scale, parts = None, []
        for group in self.active:
            scores = self.scores(x, self.key_param_tokens[group])
            if scale is None or self.added_norm == "own":
                scale = inverse_rms(scores, self.n_norm_axes)
            parts.append(theta(scores, scale) @ self.value_param_tokens[group])
        return functools.reduce(torch.add, parts)

    def scores(self, x: Float[Tensor, "... d_in"], keys: Float[Tensor, "n d_in"]) -> Float[Tensor, "... n"]:
        """Inner products of the input with the keys of one group."""
        return F.linear(x, keys)


class PattentionConv(Pattention):
    """A convolution as Pattention over patches: keys as filters, Theta, values as a 1x1 convolution."""

    def __init__(
        self,
        c_in: int,
        c_out: int,
        kernel: int,
        stride: int,
        padding: int,
        conv_norm: params.ConvNorm,
        added_norm: params.AddedNorm,
    ) -> None:
        super().__init__(c_in * kernel**2, c_out, added_norm, n_norm_axes={"pixel": 1, "image": 3}[conv_norm])
        self.kernel, self.stride, self.padding = kernel, stride, padding

    def forward(self, x: Float[Tensor, "b c_in h w"]) -> Float[Tensor, "b c_out h2 w2"]:
        return super().forward(x).movedim(-1, 1)

    def scores(self, x: Float[Tensor, "b c_in h w"], keys: Float[Tensor, "n d_in"]) -> Float[Tensor, "b h2 w2 n"]:
        """Inner products of every patch with the keys of one group."""
        filters = keys.unflatten(1, (-1, self.kernel, self.kernel))
        return F.conv2d(x, filters, stride=self.stride, padding=self.padding).movedim(1, -1)
