"""The network resnet_t, held to the figures of LIBERO's own in tests/libero_policy."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from t2s import params
from t2s.model.build import build
from t2s.model.maps import Plain
from t2s.model.resnet_t import ResNetT

HERE = Path(__file__).parent / "libero_policy"
LIBERO = json.loads((HERE / "policy.json").read_text())
VALUES = params.ResNetT(**params.read("params.yaml")["policy"]["resnet_t"])
B, T = 2, 10


def libero_weights():
    """LIBERO's parameters by its names, in its order."""
    for parameter in LIBERO["parameters"]:
        drawn = np.random.default_rng(parameter["index"]).standard_normal(parameter["shape"])
        weight = torch.from_numpy((parameter["offset"] + parameter["scale"] * drawn).astype(np.float32))
        yield parameter["name"], weight.chunk(3) if "qkv" in parameter["name"] else [weight]


@pytest.fixture(scope="module")
def network():
    """The network with the weights of tests/libero_policy. LIBERO's parameters are in the same order."""
    network = build(VALUES, 768, Plain()).eval()
    parts = [part for _, weights in libero_weights() for part in weights]
    for parameter, weight in zip(network.parameters(), parts, strict=True):
        parameter.data.copy_(weight)
    return network


@pytest.fixture(scope="module")
def window():
    """Observations, task embeddings and actions of tests/libero_policy/README.md."""
    rng = np.random.default_rng(1000)
    batch = {
        "agentview_rgb": rng.integers(0, 256, (B, T, 128, 128, 3), dtype=np.uint8),
        "eye_in_hand_rgb": rng.integers(0, 256, (B, T, 128, 128, 3), dtype=np.uint8),
        "joint_states": rng.standard_normal((B, T, 7)).astype(np.float32),
        "gripper_states": (0.04 * rng.random((B, T, 2))).astype(np.float32),
    }
    task_emb = torch.from_numpy(rng.standard_normal((B, 768)).astype(np.float32))
    actions = torch.from_numpy(rng.uniform(-1, 1, (B, T, 7)).astype(np.float32))
    return {name: torch.from_numpy(values) for name, values in batch.items()}, task_emb, actions


def encoded(network, batch, task_emb):
    """The tokens of all frames of a batch of windows."""
    b, t = batch["joint_states"].shape[:2]
    flat = {name: values.flatten(0, 1) for name, values in batch.items()}
    return network.tokens(flat, task_emb.repeat_interleave(t, 0)).unflatten(0, (b, t))


def test_it_has_as_many_parameters_as_liberos():
    assert sum(p.numel() for p in ResNetT(VALUES, 768, Plain()).parameters()) == LIBERO["n_parameters"] == 5_383_307


@torch.no_grad()
def test_its_outputs_are_liberos(network, window):
    batch, task_emb, _ = window
    tokens = encoded(network, batch, task_emb)
    features = network.features(tokens)
    logits, means, scales = network.head(features)
    ours = {"tokens": tokens, "features": features, "means": means, "scales": scales}
    ours["logits"] = logits.log_softmax(-1)  # as torch's Categorical has them
    with np.load(HERE / "outputs.npz") as theirs:
        assert set(theirs) == set(ours)
        for name, values in ours.items():
            np.testing.assert_allclose(values, theirs[name], atol=1e-4, err_msg=name)


def test_its_loss_and_gradients_are_liberos(network, window):
    batch, task_emb, actions = window
    network.zero_grad()
    loss = network.loss(batch, task_emb, actions, torch.ones(B, T, dtype=torch.bool))
    loss.backward()
    assert float(loss.detach()) == pytest.approx(LIBERO["loss_eval_mode"], abs=1e-4)
    gradients = iter([p.grad for p in network.parameters()])
    for name, weights in libero_weights():
        norm = torch.cat([next(gradients).flatten() for _ in weights]).norm()
        assert float(norm) == pytest.approx(LIBERO["gradient_norms"][name], rel=1e-3, abs=1e-6), name
