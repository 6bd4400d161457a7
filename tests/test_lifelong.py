from pathlib import Path

import numpy as np
import pytest
import torch
from params_file import params_file

from t2s import lifelong, params
from t2s.lifelong import checkpoint
from t2s.lifelong.checkpoint import CUES
from t2s.lifelong.learner import Windows

ROOT = Path(__file__).parent.parent
SECTIONS = params.resolve(params.read(str(ROOT / "params.yaml")))
SMALL = {
    "policy": SECTIONS["policy"]
    | {"embed_dim": 16, "n_heads": 2, "stem_channels": [4, 6], "chunk_len": 4, "replan_every": 2},
    "learn": SECTIONS["learn"] | {"batch_size": 4, "warmup_steps": 1, "device": "cpu"},
    "methods": SECTIONS["methods"]
    | {"t2s": SECTIONS["methods"]["t2s"] | {"n_tokens": 12, "new_tokens_max": 3, "new_tokens_min": 1}},
}
EMBEDDINGS = np.random.default_rng(0).normal(size=(4, 8)).astype(np.float32)
PICTURES = np.random.default_rng(1).integers(0, 256, size=(4, 8, 8, 3), dtype=np.uint8)


def source(**methods):
    changed = {name: SMALL["methods"][name] | values for name, values in methods.items()}
    return params_file(SMALL | {"methods": SMALL["methods"] | changed})


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


def windows(task, actions):
    task_emb = torch.from_numpy(EMBEDDINGS[task]).expand(4, -1)
    return Windows(observations(), task_emb, actions, torch.ones(4, 4, dtype=torch.bool))


def learn(method, task, earlier, folder, n_steps=3, source=source()):  # noqa: B008
    """Learns a few steps of random actions; the path of the kept checkpoint."""
    learner_class, settings = lifelong.pick(source, method)
    learner = learner_class(settings, seed=0, device=torch.device("cpu"))
    learner.start_task(task, EMBEDDINGS[task], PICTURES[task], [checkpoint.read(p) for p in earlier])
    learner.optimise(learner.trainable, n_steps)
    generator = torch.Generator().manual_seed(task)
    for _ in range(n_steps):
        learner.observe(windows(task, torch.rand(4, 4, 7, generator=generator) * 2 - 1))
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


@pytest.mark.parametrize("reuse", ["language", "all", "none", "random"])
def test_t2s_computes_bit_identical_actions_for_old_tasks_after_later_ones(tmp_path, reuse):
    values = source(t2s={"reuse": reuse, "reuse_threshold": -1.0})
    paths = chain("t2s", 4, tmp_path, source=values)
    for task in range(3):
        then, actions_then = act("t2s", paths[: task + 1], task, values)
        now, actions_now = act("t2s", paths, task, values)
        assert np.array_equal(actions_then, actions_now)
        assert then.fingerprint == now.fingerprint


@pytest.mark.parametrize("method", ["packnet", "tail", "single_task"])
def test_what_acts_on_an_old_task_is_bit_identical_after_later_ones(tmp_path, method):
    paths = chain(method, 4, tmp_path)
    for task in range(3):
        then, actions_then = act(method, paths[: task + 1], task)
        now, actions_now = act(method, paths, task)
        assert np.array_equal(actions_then, actions_now)
        assert then.fingerprint == now.fingerprint
    assert len({act(method, paths, task)[0].fingerprint for task in range(4)}) == 4


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
    network, bank = lifelong.t2s.rebuild(
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


@pytest.mark.parametrize("method", params.LEARNERS)
def test_learning_twice_gives_the_same_bytes(tmp_path, method):
    for one, two in zip(chain(method, 2, tmp_path / "a"), chain(method, 2, tmp_path / "b"), strict=True):
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
