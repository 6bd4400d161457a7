"""Pattention: a linear map as cross-attention between the input and groups of parameter tokens.

TokenFormer (arXiv 2410.23168, eq. 4-6) replaces `y = x W` by

    Pattention(x, K, V) = Theta(x K^T) V,    Theta(A) = GeLU(A / ||A||_2 * sqrt(n)),

with key parameter tokens K: (n, d_in) and value parameter tokens V: (n, d_out). TokenFormer normalises over all tokens,
so adding tokens changes what the old ones compute. This module puts the tokens of each task in a group of their own and
normalises by the scores of the base group 0, which no later task changes:

    y = sum over active groups g of  GeLU(x K_g^T / ||x K_0^T||_2 * sqrt(n_0)) V_g.

With this norm (`added_norm: base`), an added group has most effect where its keys match the input well compared with
the base keys. With a norm of its own (`added_norm: own`), its effect would not depend on how well its keys match.

Growth adds a group with random keys and zero values. This is the reverse of TokenFormer, which adds zero keys and
random values. A group with zero values changes no output. Inactive groups are not computed, so the policies of earlier
tasks stay bit-identical.

In a convolution, the norm runs over the tokens and all pixels of an image (`conv_norm: image`). A norm per pixel would
keep which keys a patch matches, but lose how well it matches them.
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
"""Added to the mean square of the scores, so that all-zero scores stay zero instead of NaN."""

GELU_POWER = 0.425
"""E[GeLU(z)^2] for z ~ N(0, 1): the mean square of one normalised score after GeLU."""


def inverse_rms(scores: Float[Tensor, "... n"], n_axes: int = 1) -> Float[Tensor, "... #n"]:
    """sqrt(n) / ||A||_2 over the last `n_axes` axes: 1 for the token axis alone, 3 for height, width and tokens."""
    axes = tuple(range(-n_axes, 0))
    return (scores.square().mean(axes, keepdim=True) + EPS).rsqrt()


def theta(scores: Float[Tensor, "... n"], scale: Float[Tensor, "... #n"]) -> Float[Tensor, "... n"]:
    """GeLU(A / ||A||_2 * sqrt(n)), TokenFormer's `l2_norm_gelu` (arXiv 2410.23168, eq. 6).

    `scale`: sqrt(n) / ||A||_2, from `inverse_rms`.
    """
    return F.gelu(scores * scale)


class Pattention(nn.Module):
    """A map from d_in to d_out features whose parameters are key and value tokens.

    Each group of tokens is named after the task that added it. `active` names the groups that the output sums, in this
    order. The base group comes first.
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
        """Creates the map without tokens.

        `added_norm`: an added group is normalised by the scores of the `base` group or by its `own`.
        `factor`: multiplies the number of tokens of every group; the FFN uses it to be wider than other maps.
        `new_factor`: multiplies the number of tokens of added groups again.
        `n_norm_axes`: how many of the last axes of the scores the norm runs over.
        """
        super().__init__()
        self.d_in, self.d_out, self.factor, self.new_factor = d_in, d_out, factor, new_factor
        self.added_norm, self.n_norm_axes = added_norm, n_norm_axes
        self.key_param_tokens = nn.ParameterDict()
        self.value_param_tokens = nn.ParameterDict()
        self.active: list[str] = []

    def add_group(self, name: str, n_tokens: int, generator: torch.Generator, zero: bool) -> None:
        """Adds a group of `n_tokens * factor` tokens, or `new_factor` times as many if it is not the first group.

        Keys are random. Values are zero with `zero`; otherwise they are random and give outputs of unit variance.

        Raises: ValueError when a group of this name exists.
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
        """Inner products of the input and the keys of one group."""
        return F.linear(x, keys)


class PattentionConv(Pattention):
    """A convolution as Pattention over patches: keys as filters, then Theta, then values as a 1x1 convolution."""

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
        """Inner products of every patch and the keys of one group."""
        filters = keys.unflatten(1, (-1, self.kernel, self.kernel))
        return F.conv2d(x, filters, stride=self.stride, padding=self.padding).movedim(1, -1)
