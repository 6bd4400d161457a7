"""Action heads that predict a chunk of H actions: a Gaussian mixture (as LIBERO) or a point estimate with L1 loss.

    GMM:  p(a) = sum_m softmax(w)_m N(a; tanh(mu_m), sigma_m),   sigma_m = MIN_STD + (MAX_STD - MIN_STD) sigmoid(s_m),
          a: (H, 7) as one vector
    L1:   |a - tanh(mu)|

Each mode describes a whole chunk. How a chunk gives actions is `evaluate.protocols.*.actions` in params.yaml:

    likely    the mean of the most likely mode
    mode      the mean of a mode that is drawn once a chunk
    sample    at every step, a mode and then an action of this step: N(tanh(mu_m), sigma_m), clipped to [-1, 1]

LIBERO acts by `sample` (`low_eval_noise: false`). It predicts from a new observation at every step. Here all steps of a
chunk have the mixture of the observation that the chunk was predicted from, so only the drawing is new at every step.
The clipping changes nothing: robosuite's controller clips its input to [-1, 1], and the gripper uses only the sign.
An L1 head gives one chunk, so all three are the same.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from t2s import params
from t2s.model.maps import Maps

ACTION_DIM = 7
MIN_STD, MAX_STD = 0.05, 0.5
"""Smallest and largest standard deviation of a mode [action units]. LIBERO: at least 1e-4, no upper bound.

With a smaller minimum, a few samples dominate the likelihood. With a larger maximum, a mode with a wrong mean widens
instead of moving: the gradient of the mean shrinks as the variance grows (Seitzer et al., arXiv 2203.09168).
"""


class L1Head(nn.Module):
    """Predicts one chunk directly."""

    def __init__(self, policy: params.Policy, maps: Maps) -> None:
        super().__init__()
        self.chunk_len = policy.chunk_len
        self.out = maps.head(policy.embed_dim, policy.chunk_len * ACTION_DIM)

    def actions(
        self, x: Float[Tensor, "b d"], how: params.Actions, generator: torch.Generator | None
    ) -> Float[Tensor, "b h 7"]:
        """The predicted chunk. The head is deterministic and ignores `how` and `generator`."""
        return torch.tanh(self.out(x)).unflatten(-1, (self.chunk_len, ACTION_DIM))

    def loss(
        self, x: Float[Tensor, "b d"], target: Float[Tensor, "b h 7"], valid: Bool[Tensor, "b h"]
    ) -> Float[Tensor, ""]:
        """Mean absolute error over the actions that `valid` marks, those inside the demonstration."""
        error = (self.actions(x, "likely", None) - target).abs().mean(-1)
        return (error * valid).sum() / valid.sum()


class GMMHead(nn.Module):
    """Predicts a Gaussian mixture over chunks (LIBERO: `policy_head: GMMHead` with 5 modes)."""

    def __init__(self, policy: params.Policy, maps: Maps) -> None:
        super().__init__()
        self.shape = (policy.n_modes, policy.chunk_len, ACTION_DIM)
        n = policy.n_modes * policy.chunk_len * ACTION_DIM
        self.mean = maps.head(policy.embed_dim, n)
        self.scale = maps.head(policy.embed_dim, n)
        self.logits = maps.head(policy.embed_dim, policy.n_modes)

    def means(self, x: Float[Tensor, "b d"]) -> Float[Tensor, "b m h 7"]:
        return torch.tanh(self.mean(x)).unflatten(-1, self.shape)

    def stds(self, x: Float[Tensor, "b d"]) -> Float[Tensor, "b m h 7"]:
        return MIN_STD + (MAX_STD - MIN_STD) * torch.sigmoid(self.scale(x)).unflatten(-1, self.shape)

    def actions(
        self, x: Float[Tensor, "b d"], how: params.Actions, generator: torch.Generator | None
    ) -> Float[Tensor, "b h 7"]:
        """A chunk of actions. `mode` and `sample` draw with `generator`; None is torch's own."""
        return draw(self.logits(x), self.means(x), self.stds(x), how, generator)

    def loss(
        self, x: Float[Tensor, "b d"], target: Float[Tensor, "b h 7"], valid: Bool[Tensor, "b h"]
    ) -> Float[Tensor, ""]:
        """Negative log-likelihood of the valid actions, per action dimension and without the constant [nat]."""
        std = self.stds(x)
        z = (target[:, None] - self.means(x)) / std
        log_prob = -(0.5 * z.square() + std.log()).sum(-1)  # (b, m, h)
        log_prob = (log_prob * valid[:, None]).sum(-1)
        mixture = torch.logsumexp(log_prob + self.logits(x).log_softmax(-1), dim=-1)
        return -(mixture / (valid.sum(-1) * ACTION_DIM)).mean()


def draw(
    logits: Float[Tensor, "b m"],
    means: Float[Tensor, "b m h 7"],
    stds: Float[Tensor, "b m h 7"],
    how: params.Actions,
    generator: torch.Generator | None,
) -> Float[Tensor, "b h 7"]:
    """A chunk of actions from a mixture, by the mean of a mode or drawn as `how` says."""
    rows = torch.arange(len(means), device=means.device)[:, None]
    steps = torch.arange(means.shape[2], device=means.device)
    if how == "likely":
        modes = logits.argmax(-1, keepdim=True)
    else:
        n_draws = 1 if how == "mode" else len(steps)
        modes = torch.multinomial(logits.softmax(-1), n_draws, replacement=True, generator=generator)
    chunk: Tensor = means[rows, modes, steps]  # (b, h, 7)
    if how != "sample":
        return chunk
    noise = torch.randn(chunk.shape, generator=generator, device=means.device)
    return (chunk + stds[rows, modes, steps] * noise).clamp(-1, 1)


HEADS: dict[str, type[L1Head] | type[GMMHead]] = {"gmm": GMMHead, "l1": L1Head}
