"""LIBERO's ResNet-T: maps frames of two camera images, proprioception and a task embedding to one action each.

    image -> ResNet-18 without its last four layers, FiLM after every block -> 1x1 convolution
          -> spatial softmax -> linear -> token, per camera
    a frame: {language, joints, gripper, agentview, eye_in_hand} tokens, plus the sinusoidal encoding of its time
    all frames -> n_layers of pre-norm attention (to this frame and earlier ones) and FFN
    language token of a frame -> two hidden layers -> Gaussian mixture over the action of the frame

FiLM scales and shifts channels by linear maps of the task embedding: (1 + gamma) x + beta (arXiv 1709.07871).

Source: LIBERO (arXiv 2306.03310), `BCTransformerPolicy` with its default configuration, commit 8f1084e. With ordinary
maps, outputs and gradients equal LIBERO's (tests/test_resnet_t.py). Queries, keys and values are three maps here and
one in LIBERO, which is the same.
With tokenised maps, norms stay ordinary, and so do the encoders if `tokenise` is `transformer`.
"""

from __future__ import annotations

import itertools

import torch
import torch.distributions as D
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from t2s import params
from t2s.model.head import ACTION_DIM, draw
from t2s.model.maps import Maps
from t2s.model.network import Batch, Network
from t2s.model.policy import SpatialSoftmax

CHANNELS = (64, 64, 64, 128, 128)
"""Of the first convolution and of the four residual blocks. A block that doubles the channels halves the image."""

MIN_STD = 1e-4
"""Smallest standard deviation of a mode [action units]."""

INITIAL_VARIANCE = 0.9
"""Running variance of every batch norm before learning: LIBERO's constructor encodes a black image in training mode."""

PERIOD_BASE = 10.0
"""The frequencies of the encoding of time go from 1 down to nearly 1 / PERIOD_BASE [1/frame]."""


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions, each with batch norm, around a shortcut (He et al., arXiv 1512.03385)."""

    def __init__(self, c_in: int, c_out: int, maps: Maps) -> None:
        super().__init__()
        stride = c_out // c_in
        self.conv1, self.norm1 = maps.filters(c_in, c_out, 3, stride, bias=False), nn.BatchNorm2d(c_out)
        self.conv2, self.norm2 = maps.filters(c_out, c_out, 3, 1, bias=False), nn.BatchNorm2d(c_out)
        self.shortcut = nn.Sequential()
        if stride > 1:
            self.shortcut.append(maps.filters(c_in, c_out, 1, stride, bias=False)).append(nn.BatchNorm2d(c_out))

    def forward(self, x: Float[Tensor, "b c_in h w"]) -> Float[Tensor, "b c_out h2 w2"]:
        h = F.relu(self.norm1(self.conv1(x)))
        return F.relu(self.norm2(self.conv2(h)) + self.shortcut(x))


class ImageEncoder(nn.Module):
    """Encodes one camera image as one token, conditioned on the instruction."""

    def __init__(self, policy: params.ResNetT, task_emb_dim: int, maps: Maps) -> None:
        super().__init__()
        encoder = maps.encoder()
        stem = encoder.filters(3, CHANNELS[0], 7, 2, bias=False)
        self.stem = nn.Sequential(stem, nn.BatchNorm2d(CHANNELS[0]), nn.ReLU(), nn.MaxPool2d(3, 2, padding=1))
        self.blocks = nn.ModuleList(ResidualBlock(*pair, encoder) for pair in itertools.pairwise(CHANNELS))
        for module in self.modules():
            if isinstance(module, nn.Conv2d):  # as in torchvision's ResNet
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            elif isinstance(module, nn.BatchNorm2d) and module.running_var is not None:
                module.running_var.fill_(INITIAL_VARIANCE)
        self.films = nn.ModuleList(encoder.linear(task_emb_dim, 2 * c) for c in CHANNELS[1:])
        self.keypoints = encoder.filters(CHANNELS[-1], policy.n_keypoints, 1, 1)
        self.pool = SpatialSoftmax(sharpness=1.0)
        self.out = maps.projection(2 * policy.n_keypoints, policy.embed_dim)

    def forward(self, image: Float[Tensor, "b 3 h w"], task_emb: Float[Tensor, "b e"]) -> Float[Tensor, "b d"]:
        x = self.stem(image)
        for block, film in zip(self.blocks, self.films, strict=True):
            beta, gamma = film(task_emb)[..., None, None].chunk(2, dim=1)
            x = (1 + gamma) * block(x) + beta
        return self.out(self.pool(self.keypoints(x)))


class Block(nn.Module):
    """A transformer block: pre-norm attention and feed-forward network.

    In training, values are dropped after attention and in the FFN, and the whole FFN for some windows (`DropPath`).
    """

    def __init__(self, policy: params.ResNetT, maps: Maps) -> None:
        super().__init__()
        d, inner = policy.embed_dim, policy.n_heads * policy.head_dim
        self.n_heads, self.dropout = policy.n_heads, policy.dropout
        self.norm1 = nn.LayerNorm(d)
        self.query, self.key, self.value = (maps.linear(d, inner, bias=False) for _ in range(3))
        self.out = maps.linear(inner, d)
        self.norm2 = nn.LayerNorm(d)
        self.ffn = maps.ffn(d, policy.ffn_factor, policy.dropout)

    def forward(self, x: Float[Tensor, "b n d"], mask: Bool[Tensor, "n n"]) -> Float[Tensor, "b n d"]:
        x = x + self.drop(self.attend(self.norm1(x), mask))
        kept = self.drop(x.new_ones(len(x), 1, 1))
        return x + kept * self.drop(self.ffn(self.norm2(x)))

    def attend(self, x: Float[Tensor, "b n d"], mask: Bool[Tensor, "n n"]) -> Float[Tensor, "b n d"]:
        q, k, v = (
            part(x).unflatten(-1, (self.n_heads, -1)).transpose(1, 2) for part in (self.query, self.key, self.value)
        )
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        return self.out(mixed.transpose(1, 2).flatten(2))

    def drop(self, x: Tensor) -> Tensor:
        return F.dropout(x, self.dropout, self.training)


class Head(nn.Module):
    """Predicts a Gaussian mixture over one action: m modes, their means in [-1, 1] and their standard deviations."""

    def __init__(self, policy: params.ResNetT, maps: Maps) -> None:
        super().__init__()
        d, width, n = policy.embed_dim, policy.hidden_dim, policy.n_modes
        self.shape = (n, ACTION_DIM)
        self.hidden = nn.Sequential(
            *(maps.head(d, width), nn.ReLU(), maps.head(width, width), nn.ReLU(), maps.head(width, width))
        )
        self.mean, self.scale = maps.head(width, n * ACTION_DIM), maps.head(width, n * ACTION_DIM)
        self.logits = maps.head(width, n)

    def forward(
        self, x: Float[Tensor, "*b d"]
    ) -> tuple[Float[Tensor, "*b m"], Float[Tensor, "*b m 7"], Float[Tensor, "*b m 7"]]:
        """Logits, means and standard deviations of the modes."""
        h = self.hidden(x)
        means = torch.tanh(self.mean(h)).unflatten(-1, self.shape)
        return self.logits(h), means, F.softplus(self.scale(h)).unflatten(-1, self.shape) + MIN_STD


class ResNetT(Network):
    """Maps the last frames of observations and a task embedding to an action. `maps` builds all its maps."""

    def __init__(self, policy: params.ResNetT, task_emb_dim: int, maps: Maps) -> None:
        super().__init__()
        d = policy.embed_dim
        self.agentview = ImageEncoder(policy, task_emb_dim, maps)
        self.eye_in_hand = ImageEncoder(policy, task_emb_dim, maps)
        self.language = maps.projection(task_emb_dim, d)
        self.gripper, self.joints = maps.projection(2, d), maps.projection(7, d)
        self.blocks = nn.ModuleList(Block(policy, maps) for _ in range(policy.n_layers))
        self.head = Head(policy, maps)

    def tokens(self, batch: Batch, task_emb: Float[Tensor, "b e"]) -> Float[Tensor, "b n d"]:
        encoded = [
            self.language(task_emb),
            self.joints(batch["joint_states"]),
            self.gripper(batch["gripper_states"]),
            self.agentview(_image(batch["agentview_rgb"]), task_emb),
            self.eye_in_hand(_image(batch["eye_in_hand_rgb"]), task_emb),
        ]
        return torch.stack(encoded, dim=1)

    def features(self, frames: Float[Tensor, "b t n d"]) -> Float[Tensor, "b t d"]:
        """The language token of every frame after the last block."""
        t, n, d = frames.shape[1:]
        time = torch.arange(t, device=frames.device)
        x = (frames + encoded(time, d)[:, None]).flatten(1, 2)
        time = time.repeat_interleave(n)
        for block in self.blocks:
            x = block(x, time[:, None] >= time)
        return x.unflatten(1, (t, n))[:, :, 0]

    def decide(
        self, frames: Float[Tensor, "b t n d"], how: params.Actions, generator: torch.Generator | None
    ) -> Float[Tensor, "b 1 7"]:
        """One action, that of the last frame."""
        logits, means, stds = self.head(self.features(frames)[:, -1])
        return draw(logits, means[:, :, None], stds[:, :, None], how, generator)

    def loss(
        self,
        batch: Batch,
        task_emb: Float[Tensor, "b e"],
        target: Float[Tensor, "b t 7"],
        valid: Bool[Tensor, "b t"],
    ) -> Float[Tensor, ""]:
        """Negative log-likelihood of the action of every frame [nat]. The values of `batch` are (b, t, ...).

        As in LIBERO, the last frame and action of a demonstration, which are repeated after its end, count as well.
        """
        b, t = valid.shape
        flat = {name: values.flatten(0, 1) for name, values in batch.items()}
        frames = self.tokens(flat, task_emb.repeat_interleave(t, dim=0)).unflatten(0, (b, t))
        logits, means, stds = self.head(self.features(frames))
        modes = D.Independent(D.Normal(means, stds, validate_args=False), 1)
        mixture = D.MixtureSameFamily(D.Categorical(logits=logits, validate_args=False), modes, validate_args=False)
        return -mixture.log_prob(target).mean()


def encoded(time: Int[Tensor, "t"], d: int) -> Float[Tensor, "t d"]:
    """The sinusoidal encoding of times [frames]: sines of all frequencies, then cosines."""
    frequencies = PERIOD_BASE ** -(torch.arange(0, d, 2, device=time.device) / d)
    angles = time[:, None] * frequencies
    return torch.cat([angles.sin(), angles.cos()], dim=-1)


def _image(image: Tensor) -> Float[Tensor, "b 3 h w"]:
    """Scales (b, h, w, 3) from [0, 255] to [0, 1] and moves channels first."""
    return (image.float() / 255).movedim(-1, 1)
