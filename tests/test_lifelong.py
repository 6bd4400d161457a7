from pathlib import Path

import numpy as np
import pytest
import torch
from params_file import params_file

from t2s import lifelong, params
from t2s.lifelong import checkpoint
from t2s.lifelong.checkpoint import CUES
from t2s.lifelong.learner import Windows
from t2s.lifelong.t2s import rebuild

ROOT = Path(__file__).parent.parent
SECTIONS = params.resolve(params.read(str(ROOT / "params.yaml")))
RESNET_T = {"embed_dim": 16, "n_layers": 1, "n_heads": 2, "head_dim": 8, "n_frames": 4, "n_keypoints": 4}
SMALL = {
    "policy": SECTIONS["policy"]
    | {"embed_dim": 16, "n_heads": 2, "stem_channels": [4, 6], "chunk_len": 4, "replan_every": 2}
    | {"resnet_t": SECTIONS["policy"]["resnet_t"] | RESNET_T | {"hidden_dim": 16}},
    "learn": SECTIONS["learn"] | {"batch_size": 4, "warmup_steps": 1, "device": "cpu"},
    "methods": SECTIONS["methods"]
    | {"t2s": SECTIONS["methods"]["t2s"] | {"n_tokens": 12, "new_tokens_max": 3, "new_tokens_min": 1}},
}
EMBEDDINGS = np.random.default_rng(0).normal(size=(4, 8)).astype(np.float32)
PICTURES = np.random.default_rng(1).integers(0, 256, size=(4, 8, 8, 3), dtype=np.uint8)


def source(network="compact", **methods):
    changed = {name: SMALL["methods"][name] | values for name, values in methods.items()}
    policy = SMALL["policy"] | {"network": network}
    return params_file(SMALL | {"policy": policy, "methods": SMALL["methods"] | changed})


def observations(b=4):
    generator = torch.Generator().manual_seed(1)
    image = torch.randint(0, 256, (b, 32, 32, 3), dtype=torch.uint8, generator=generator)
    joints = torch.randn(b, 7, generator=generator)
    fingers = torch.rand(b, 2, generator=generator) * 0.04
    return {
        "agentview_rgb": image,
        "eye_in_hand_rgb": image.flip(2),
        "joint_states": joints,
        "gripper_states": fingers,
    }


def windows(task, actions, n_frames=1):
    task_emb = torch.from_numpy(EMBEDDINGS[task]).expand(4, -1)
    seen = observations(4 * n_frames)
    if n_frames > 1:
        seen = {name: values.unflatten(0, (4, n_frames)) for name, values in seen.items()}
    return Windows(seen, task_emb, actions, torch.ones(4, 4, dtype=torch.bool))


def learn(method, task, earlier, folder, n_steps=3, source=source()):  # noqa: B008
    """Learns a few steps of random actions; the path of the kept checkpoint."""
    learner_class, settings = lifelong.pick(source, method)
    learner = learner_class(settings, seed=0, device=torch.device("cpu"))
    learner.start_task(task, EMBEDDINGS[task], PICTURES[task], [checkpoint.read(p) for p in earlier])
    learner.optimise(learner.trainable, n_steps)
    generator = torch.Generator().manual_seed(task)
    torch.manual_seed(task)
    for _ in range(n_steps):
        actions = torch.rand(4, 4, 7, generator=generator) * 2 - 1
        learner.observe(windows(task, actions, settings.policy.n_frames))
    path = folder / f"{method}{task}.safetensors"
    learner.checkpoint().write(path)
    return path


def chain(method, n, folder, **kwargs):
    paths: list[Path] = []
    for task in range(n):
        paths.append(learn(method, task, paths, folder, **kwargs))
    return paths


def act(method, paths, task, source=source(), actions="likely"):  # noqa: B008
    policy = lifelong.load_policy(source, method, paths, EMBEDDINGS[task], actions)
    policy.reset(7)
    first = {name: values[0].numpy() for name, values in observations().items()}
    return policy, np.stack([policy.act(lambda: first) for _ in range(5)])


KINDS = [("compact", "all"), ("compact", "transformer"), ("resnet_t", "all"), ("resnet_t", "transformer")]
"""Networks, and which of their maps T2S makes of tokens."""


@pytest.mark.parametrize(
    ("network", "tokenise", "reuse"),
    [(*KINDS[0], "language"), *[(*kind, "all") for kind in KINDS], (*KINDS[0], "none"), (*KINDS[0], "random")],
)
def test_t2s_computes_bit_identical_actions_for_old_tasks_after_later_ones(tmp_path, network, tokenise, reuse):
    values = source(network, t2s={"tokenise": tokenise, "reuse": reuse, "reuse_threshold": -1.0})
    paths = chain("t2s", 4, tmp_path, source=values)
    for task in range(3):
        then, actions_then = act("t2s", paths[: task + 1], task, values)
        now, actions_now = act("t2s", paths, task, values)
        assert np.array_equal(actions_then, actions_now)
        assert then.fingerprint == now.fingerprint


@pytest.mark.parametrize("network", ["compact", "resnet_t"])
@pytest.mark.parametrize("method", ["packnet", "tail", "single_task"])
def test_what_acts_on_an_old_task_is_bit_identical_after_later_ones(tmp_path, method, network):
    values = source(network)
    paths = chain(method, 4, tmp_path, source=values)
    for task in range(3):
        then, actions_then = act(method, paths[: task + 1], task, values)
        now, actions_now = act(method, paths, task, values)
        assert np.array_equal(actions_then, actions_now)
        assert then.fingerprint == now.fingerprint
    assert len({act(method, paths, task, values)[0].fingerprint for task in range(4)}) == 4


def statistics(path):
    """The running statistics of batch norms in a checkpoint."""
    kept = checkpoint.read(path)
    return {name: values for name, values in kept.tensors.items() if name.endswith(("running_mean", "running_var"))}


@pytest.mark.parametrize("method", params.LEARNERS)
def test_batch_norms_keep_learning_only_where_old_tasks_may_change(tmp_path, method):
    fresh = statistics(learn(method, 0, [], tmp_path, n_steps=0, source=source("resnet_t")))
    first, second = map(statistics, chain(method, 2, tmp_path, source=source("resnet_t")))
    assert len(fresh) == len(first) == 2 * 2 * 10  # mean and variance of ten norms of two encoders
    assert any(not torch.equal(first[name], fresh[name]) for name in fresh) == (method != "packnet")
    if method in {"t2s", "tail"}:
        assert not second  # a delta
    else:
        assert any(not torch.equal(first[name], second[name]) for name in fresh) == (method != "packnet")


@pytest.mark.parametrize(("network", "tokenise"), KINDS)
def test_tokens_replace_maps_and_the_rest_learns_with_the_first_task_alone(tmp_path, network, tokenise):
    values = source(network, t2s={"tokenise": tokenise, "reuse_threshold": -1.0})
    first, second = (checkpoint.read(path) for path in chain("t2s", 2, tmp_path, source=values))
    others = {name for name in first.tensors if "_param_tokens" not in name and name not in CUES}
    maps = {"conv1", "conv2", "shortcut.0", "convs.0.0", "convs.1.0", "stem.0", "films.0", "keypoints"}
    encoders = {name for name in others if any(f"{part}.weight" in name for part in maps)}
    norms = {name for name in others if "norm" in name or "running" in name}
    assert bool(encoders) == (tokenise == "transformer")
    assert bool(norms) == (network == "resnet_t")
    assert not any(part in name for name in others for part in ("head", "query", "ffn", "language", ".out"))
    assert all("_param_tokens.1" in name for name in second.tensors if name not in CUES)
    settings = lifelong.pick(values, "t2s")[1]
    grown, _ = rebuild(settings, [first, second], 8)
    assert all(torch.equal(first.tensors[name], grown.state_dict()[name]) for name in others)


def test_resnet_t_acts_on_the_last_frames_of_the_episode_alone(tmp_path):
    values = source("resnet_t")
    paths = chain("sequential", 1, tmp_path, source=values)
    policy = lifelong.load_policy(values, "sequential", paths, EMBEDDINGS[0], "likely")
    seen = observations(7)
    steps = [{name: v[i].numpy() for name, v in seen.items()} for i in range(7)]

    def acted(shown):
        policy.reset(0)
        coming = iter(shown)
        return np.stack([policy.act(lambda: next(coming)) for _ in shown])

    whole = acted(steps)
    assert len({action.tobytes() for action in whole}) == 7
    assert np.array_equal(acted(steps), whole)  # an episode forgets the one before
    assert np.allclose(acted(steps[3:])[-1], whole[-1], atol=1e-6)  # the last four frames decide
    assert not np.allclose(acted(steps[4:])[-1], whole[-1], atol=1e-6)
    settings = lifelong.pick(values, "sequential")[1]
    network = lifelong.learner_class("sequential").acting(settings, [checkpoint.read(paths[0])], 0, 8).eval()
    tokens = network.tokens(seen, torch.from_numpy(EMBEDDINGS[0]).expand(7, -1))
    assert np.allclose(network.decide(tokens[None, 3:], "likely", None)[0, 0].detach(), whole[-1], atol=1e-6)


def test_sequential_forgets(tmp_path):
    paths = chain("sequential", 2, tmp_path)
    then, actions_then = act("sequential", paths[:1], 0)
    now, actions_now = act("sequential", paths, 0)
    assert not np.array_equal(actions_then, actions_now)
    assert then.fingerprint != now.fingerprint


def test_growth_changes_no_output_before_it_learns(tmp_path):
    """With one task reused, an untrained new task acts as the reused one would under its instruction."""
    first = chain("t2s", 1, tmp_path)
    untrained = learn("t2s", 1, first, tmp_path, n_steps=0)
    network, bank = rebuild(
        lifelong.pick(source(), "t2s")[1],
        [checkpoint.read(p) for p in [*first, untrained]],
        8,
    )
    emb = torch.from_numpy(EMBEDDINGS[1]).expand(4, -1)
    bank.activate([0])
    before = network.actions(observations(), emb, "likely", None)
    bank.activate([0, 1])
    assert torch.equal(network.actions(observations(), emb, "likely", None), before)


def test_only_the_new_group_learns_and_is_in_the_optimiser(tmp_path):
    first = chain("t2s", 1, tmp_path)
    learner_class, settings = lifelong.pick(source(), "t2s")
    learner = learner_class(settings, 0, torch.device("cpu"))
    learner.start_task(1, EMBEDDINGS[1], PICTURES[1], [checkpoint.read(first[0])])
    learner.optimise(learner.trainable, 1)
    in_optimiser = {id(p) for group in learner.optimizer.param_groups for p in group["params"]}
    named = dict(learner.network.named_parameters())
    assert in_optimiser == {id(p) for name, p in named.items() if name.endswith(".1")}
    base = {name: p.detach().clone() for name, p in named.items() if name.endswith(".0")}
    learner.observe(windows(1, torch.zeros(4, 4, 7)))
    assert all(torch.equal(named[name], values) for name, values in base.items())


def test_a_checkpoint_of_t2s_is_a_delta(tmp_path):
    paths = chain("t2s", 3, tmp_path)
    kept = checkpoint.read(paths[2])
    assert all(name.endswith(".2") for name in kept.tensors if name not in CUES)
    assert kept.header == {"task": 2, "active": kept.header["active"]}
    assert paths[2].stat().st_size < paths[0].stat().st_size


def test_the_policy_is_found_by_the_instruction_alone(tmp_path):
    paths = chain("t2s", 3, tmp_path)
    fingerprints = [act("t2s", paths, task)[0].fingerprint for task in range(3)]
    assert len(set(fingerprints)) == 3


@pytest.mark.parametrize(
    ("method", "network"), [*((method, "compact") for method in params.LEARNERS), ("t2s", "resnet_t")]
)
def test_learning_twice_gives_the_same_bytes(tmp_path, method, network):
    both = (chain(method, 2, tmp_path / name, source=source(network)) for name in "ab")
    for one, two in zip(*both, strict=True):
        assert one.read_bytes() == two.read_bytes()


def test_seeds_differ(tmp_path):
    learner_class, settings = lifelong.pick(source(), "sequential")
    tensors = []
    for seed in (0, 1):
        learner = learner_class(settings, seed, torch.device("cpu"))
        learner.start_task(0, EMBEDDINGS[0], PICTURES[0], [])
        tensors.append(learner.checkpoint().tensors["language.weight"])
    assert not torch.equal(*tensors)


@pytest.mark.parametrize("how", ["likely", "mode", "sample"])
def test_actions_follow_the_seed_of_the_episode(tmp_path, how):
    paths = chain("t2s", 1, tmp_path)
    assert np.array_equal(act("t2s", paths, 0, actions=how)[1], act("t2s", paths, 0, actions=how)[1])


def test_sampling_draws_new_noise_at_every_executed_step(tmp_path):
    paths = chain("sequential", 1, tmp_path)
    likely, sampled = (act("sequential", paths, 0, actions=how)[1] for how in ("likely", "sample"))
    assert np.array_equal(likely[0], likely[2])  # the same observation, replanned after two actions
    noise = sampled - likely
    assert len({row.tobytes() for row in noise}) == len(noise)


def test_the_fingerprint_says_how_a_policy_acts(tmp_path):
    paths = chain("t2s", 1, tmp_path)
    assert len({act("t2s", paths, 0, actions=how)[0].fingerprint for how in ("likely", "mode", "sample")}) == 3


def test_chunks_are_replanned_as_they_run(tmp_path):
    _, actions = act("t2s", chain("t2s", 1, tmp_path), 0)
    assert np.array_equal(actions[0], actions[2])  # the same observation, replanned after two actions
    assert not np.array_equal(actions[0], actions[1])


@pytest.mark.parametrize("method", params.LEARNERS)
def test_a_checkpoint_of_another_shape_is_one_clear_error(tmp_path, method):
    paths = chain(method, 1, tmp_path)
    wider = params.read(source())
    wider["policy"]["embed_dim"] = 32
    with pytest.raises(ValueError, match=r"expected .*got") as error:
        act(method, paths, 0, params_file(wider))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("place", [-1, -1000])
def test_a_checkpoint_of_which_one_bit_is_wrong_is_refused(tmp_path, place):
    (path,) = chain("t2s", 1, tmp_path)
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"t2s0.safetensors: expected fingerprint \w+, got \w+; remove it"):
        checkpoint.read(path)


def test_a_damaged_checkpoint_is_named(tmp_path):
    (path,) = chain("t2s", 1, tmp_path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match=r"t2s0.safetensors: expected a checkpoint"):
        checkpoint.read(path)
    with pytest.raises(ValueError, match=r"nope.safetensors: expected a checkpoint"):
        checkpoint.read(tmp_path / "nope.safetensors")


def test_counts_add_up(tmp_path):
    paths = chain("t2s", 2, tmp_path)
    learner_class, settings = lifelong.pick(source(), "t2s")
    learner = learner_class(settings, 0, torch.device("cpu"))
    learner.start_task(2, EMBEDDINGS[2], PICTURES[2], [checkpoint.read(p) for p in paths])
    counts = learner.counts()
    assert counts["n_parameters_total"] == sum(p.numel() for p in learner.network.parameters())
    assert 0 < counts["n_tokens_new"] < 0.25 * counts["n_tokens_bank"]
    assert set(counts["similarity"]) == {"0", "1"}


@pytest.mark.skipif(torch.cuda.is_available(), reason="a machine without a GPU")
def test_a_gpu_that_is_not_there_is_an_error_with_the_remedy(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    assert lifelong.pick_device("auto") == torch.device("cpu")
    with pytest.raises(ValueError, match=r"learn\.device: .* \(CUDA_VISIBLE_DEVICES: '-1'\); .*set learn\.device: cpu"):
        lifelong.pick_device("cuda")
