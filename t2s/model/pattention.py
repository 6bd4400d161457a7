"""Linear maps as cross-attention between the input and parameter tokens, in groups that leave one another alone.

TokenFormer (arXiv 2410.23168, eq. 4-6) replaces `y = x W` by

    Pattention(x, K, V) = Theta(x K^T) V,    Theta(A) = GeLU(A / ||A||_2 * sqrt(n)),

with K: (n, d_in) the key and V: (n, d_out) the value parameter tokens. Its norm runs over all tokens, so that adding
tokens changes what the old ones compute. Here the tokens come in groups, Theta acts inside each group, and

    y = sum over active groups g of  GeLU(x K_g^T / ||x K_g^T||_2 * sqrt(n_g)) V_g.

A group whose values are zero adds nothing; a group that is not active takes no part, so that what was learned with the
others stays the same, bit for bit.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

EPS = 1e-6
"""Added to the mean square of a row of scores: a row of zeros stays zero."""

GELU_POWER = 0.425
"""E[GeLU(z)^2] for z ~ N(0, 1): what one normalised score contributes to the power of the output."""


def theta(scores: Float[Tensor, "... n"]) -> Float[Tensor, "... n"]:
    """GeLU(A / ||A||_2 * sqrt(n)) along the token axis: TokenFormer's `l2_norm_gelu` (arXiv 2410.23168, eq. 6)."""
    result: Tensor = _Theta.apply(scores)  # type: ignore[no-untyped-call]
    return result


class _Theta(torch.autograd.Function):
    """F.gelu(F.rms_norm(scores)), for A / ||A|| sqrt(n) is A over its root mean square; a quarter of its time."""

    @staticmethod
    def forward(ctx: Any, scores: Tensor) -> Tensor:
        inverse_rms = (torch.linalg.vector_norm(scores, dim=-1, keepdim=True) ** 2 / scores.shape[-1] + EPS).rsqrt()
        normal = scores * inverse_rms
        ctx.save_for_backward(normal, inverse_rms)
        return F.gelu(normal)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        normal, inverse_rms = ctx.saved_tensors
        grad = torch.ops.aten.gelu_backward(grads[0], normal)
        radial = (grad * normal).mean(dim=-1, keepdim=True)
        return grad.addcmul_(normal, radial, value=-1).mul_(inverse_rms)


class Pattention(nn.Module):
    """A map from d_in to d_out features whose parameters are tokens, in groups named after the task that added them.

    `active` names the groups that take part, in the order they are summed.
    """

    def __init__(self, d_in: int, d_out: int, factor: int = 1) -> None:
        """`factor` multiplies the number of tokens of every group of this map (the FFN has more, as usual)."""
        super().__init__()
        self.d_in, self.d_out, self.factor = d_in, d_out, factor
        self.key_param_tokens = nn.ParameterDict()
        self.value_param_tokens = nn.ParameterDict()
        self.active: list[str] = []

    def add_group(self, name: str, n_tokens: int, generator: torch.Generator, zero: bool) -> None:
        """Adds a group of `n_tokens * factor` tokens: random keys; values zero or giving unit variance.

        Raises: ValueError if there is a group of that name.
        """
        if name in self.key_param_tokens:
            raise ValueError(f"expected a new group, got '{name}'; have {list(self.key_param_tokens)}")
        n = n_tokens * self.factor
        keys = torch.randn(n, self.d_in, generator=generator) / math.sqrt(self.d_in)
        values = torch.randn(n, self.d_out, generator=generator) / math.sqrt(GELU_POWER * n)
        self.key_param_tokens[name] = nn.Parameter(keys)
        self.value_param_tokens[name] = nn.Parameter(torch.zeros_like(values) if zero else values)

    def forward(self, x: Float[Tensor, "... d_in"]) -> Float[Tensor, "... d_out"]:
        parts = (theta(self.scores(x, self.key_param_tokens[g])) @ self.value_param_tokens[g] for g in self.active)
        return functools.reduce(torch.add, parts)

    def scores(self, x: Float[Tensor, "... d_in"], keys: Float[Tensor, "n d_in"]) -> Float[Tensor, "... n"]:
        """Inner products of the input with the keys of one group."""
        return F.linear(x, keys)


class PattentionConv(Pattention):
    """A convolution as Pattention over patches: keys as filters, Theta per pixel, values as a 1x1 convolution."""

    def __init__(self, c_in: int, c_out: int, kernel: int, stride: int, padding: int) -> None:
        super().__init__(c_in * kernel**2, c_out)
        self.kernel, self.stride, self.padding = kernel, stride, padding

    def forward(self, x: Float[Tensor, "b c_in h w"]) -> Float[Tensor, "b c_out h2 w2"]:
        return super().forward(x).movedim(-1, 1)

    def scores(self, x: Float[Tensor, "b c_in h w"], keys: Float[Tensor, "n d_in"]) -> Float[Tensor, "b h2 w2 n"]:
        """Inner products of every patch with the keys of one group."""
        filters = keys.unflatten(1, (-1, self.kernel, self.kernel))
        return F.conv2d(x, filters, stride=self.stride, padding=self.padding).movedim(1, -1)
