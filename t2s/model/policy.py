"""The compact network: maps two camera images, proprioception and a task embedding to a chunk of actions.

    image -> convolutions (8x8 stride 4, 3x3 stride 2) -> spatial softmax (2 C numbers) -> linear -> token, per camera
    {agentview, eye_in_hand, proprioception, language} tokens -> n_layers of pre-norm attention and FFN
    language token -> action head

Layer norms have no parameters (as in TokenFormer), so nothing outside the maps can drift. Theta keeps only the
direction of its input. Images, keypoints and proprioception therefore carry a constant 1, which preserves magnitudes.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, UInt8
from torch import Tensor, nn

from t2s import params
from t2s.model.head import HEADS
from t2s.model.maps import Maps
from t2s.model.network import Batch, Network

JOINT_HOME = (0.0, -0.161, 0.0, -2.445, 0.0, 2.227, 0.785)
"""LIBERO's initial joint angles of the Panda [rad] (libero/envs/robots/mounted_panda.py, init_qpos)."""

GRIPPER_GAIN = 25.0
"""Scales finger positions from 0 to 0.04 m to about 0 to 1 [1/m]."""

SHARPNESS = 4.0
"""Factor on the logits of the spatial softmax. In a fresh network they differ by about 1, too little to find a peak."""


class SpatialSoftmax(nn.Module):
    """Expected image coordinates under the softmax of each channel (Finn et al., arXiv 1509.06113).

    The output holds the row coordinates of all channels, then the column coordinates, all in [-1, 1].
    """

    def __init__(self, sharpness: float = SHARPNESS) -> None:
        super().__init__()
        self.sharpness = sharpness

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b 2*c"]:
        weight = (self.sharpness * x.flatten(2)).softmax(-1).unflatten(2, x.shape[2:])
        rows = torch.linspace(-1, 1, x.shape[2], device=x.device, dtype=x.dtype)
        columns = torch.linspace(-1, 1, x.shape[3], device=x.device, dtype=x.dtype)
        return torch.cat([weight.sum(3) @ rows, weight.sum(2) @ columns], dim=-1)


class ImageEncoder(nn.Module):
    """Encodes one camera image as one token."""

    def __init__(self, policy: params.Policy, maps: Maps) -> None:
        super().__init__()
        channels = [3 + 1, *policy.stem_channels]
        shapes = [(8, 4), *[(3, 2)] * (len(channels) - 2)]  # (kernel, stride)
        pairs = zip(channels[:-1], channels[1:], shapes, strict=True)
        self.convs = nn.Sequential(*(maps.encoder().conv(c, d, *shape) for c, d, shape in pairs))
        self.pool = SpatialSoftmax()
        self.out = maps.linear(2 * channels[-1] + 1, policy.embed_dim)

    def forward(self, image: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b d"]:
        return self.out(_with_one(self.pool(self.convs(_with_one(image)))))


class Block(nn.Module):
    """A transformer block: pre-norm attention and feed-forward network."""

    def __init__(self, policy: params.Policy, maps: Maps) -> None:
        super().__init__()
        d = policy.embed_dim
        self.n_heads = policy.n_heads
        self.query, self.key, self.value = maps.linear(d, d), maps.linear(d, d), maps.linear(d, d)
        self.out = maps.linear(d, d)
        self.ffn = maps.ffn(d)

    def forward(self, x: Float[Tensor, "b t d"]) -> Float[Tensor, "b t d"]:
        x = x + self.attend(_norm(x))
        return x + self.ffn(_norm(x))

    def attend(self, x: Float[Tensor, "b t d"]) -> Float[Tensor, "b t d"]:
        q, k, v = (
            part(x).unflatten(-1, (self.n_heads, -1)).transpose(1, 2) for part in (self.query, self.key, self.value)
        )
        mixed = F.scaled_dot_product_attention(q, k, v)
        return self.out(mixed.transpose(1, 2).flatten(2))


class PolicyNetwork(Network):
    """Maps observations and a task embedding to actions. `maps` builds all its layers."""

    def __init__(self, policy: params.Policy, task_emb_dim: int, maps: Maps) -> None:
        super().__init__()
        d = policy.embed_dim
        self.agentview = ImageEncoder(policy, maps)
        self.eye_in_hand = ImageEncoder(policy, maps)
        self.proprio = maps.linear(9 + 1, d)
        self.language = maps.linear(task_emb_dim, d)
        self.blocks = nn.ModuleList(Block(policy, maps) for _ in range(policy.n_layers))
        self.head = HEADS[policy.head](policy, maps)

    def tokens(self, batch: Batch, task_emb: Float[Tensor, "b e"]) -> Float[Tensor, "b n d"]:
        agentview = self.agentview(_image(batch["agentview_rgb"]))
        eye_in_hand = self.eye_in_hand(_image(batch["eye_in_hand_rgb"]))
        home = torch.tensor(JOINT_HOME, device=agentview.device)
        state = torch.cat([batch["joint_states"] - home, GRIPPER_GAIN * batch["gripper_states"]], dim=-1)
        language = self.language(F.normalize(task_emb, dim=-1))
        return torch.stack([agentview, eye_in_hand, self.proprio(_with_one(state)), language], dim=1)

    def features(self, tokens: Float[Tensor, "b n d"]) -> Float[Tensor, "b d"]:
        """The language token after the last block."""
        x = tokens
        for block in self.blocks:
            x = block(x)
        return _norm(x[:, -1])

    def decide(
        self, frames: Float[Tensor, "b t n d"], how: params.Actions, generator: torch.Generator | None
    ) -> Float[Tensor, "b h 7"]:
        """A chunk of actions from the last frame."""
        return self.head.actions(self.features(frames[:, -1]), how, generator)

    def loss(
        self,
        batch: Batch,
        task_emb: Float[Tensor, "b e"],
        target: Float[Tensor, "b h 7"],
        valid: Bool[Tensor, "b h"],
    ) -> Float[Tensor, ""]:
        """The loss of the action head on demonstrated chunks; `valid` marks actions inside the demonstration."""
        return self.head.loss(self.features(self.tokens(batch, task_emb)), target, valid)


def _norm(x: Tensor) -> Tensor:
    return F.layer_norm(x, x.shape[-1:])


def _with_one(x: Float[Tensor, "b c ..."]) -> Float[Tensor, "b c+1 ..."]:
    """Appends a channel of ones, as in homogeneous coordinates."""
    return torch.cat([x, torch.ones_like(x[:, :1])], dim=1)


def _image(image: UInt8[Tensor, "b h w 3"]) -> Float[Tensor, "b 3 h w"]:
    """Scales to [-1, 1] and moves channels first. The result is a view, so memory stays channels-last."""
    return (image.float() / 127.5 - 1).movedim(-1, 1)
