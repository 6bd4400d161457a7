"""Builds the network that `policy.network` names."""

from __future__ import annotations

import torch

from t2s import params
from t2s.model.maps import Maps
from t2s.model.network import Network
from t2s.model.policy import PolicyNetwork
from t2s.model.resnet_t import ResNetT


def build(policy: params.AnyPolicy, task_emb_dim: int, maps: Maps, seed: int = 0) -> Network:
    """The network of these values, with ordinary maps drawn by `seed`. Torch's own generator stays as it is."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if isinstance(policy, params.ResNetT):
            return ResNetT(policy, task_emb_dim, maps)
        return PolicyNetwork(policy, task_emb_dim, maps)
