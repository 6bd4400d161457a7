"""The idea of each method, on real small networks."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from params_file import params_file
from synthetic import record
from test_learn import dataset, demos
from test_lifelong import EMBEDDINGS, PICTURES, SECTIONS, SMALL, act, chain, observations, source

from t2s import cli, lifelong, params
from t2s.data import demonstrations, embeddings, records
from t2s.lifelong import checkpoint
from t2s.lifelong.learner import Windows
from t2s.lifelong.packnet import smallest_share
from t2s.lifelong.progress import Progress
from t2s.stages import learn

METHODS = sorted(SECTIONS["methods"])
SHARED = {"sequential", "er", "ewc", "multitask"}
"""Methods of which one network acts on all tasks: what acts on an old one changes with a new one."""
LENGTHS = ((5, 3), (6,), (4, 4))
"""Of the demonstrations of three tasks: 8, 6 and 8 windows."""


def start(method, task, earlier, values=None):
    learner_class, settings = lifelong.pick(values or source(), method)
    learner = learner_class(settings, 0, torch.device("cpu"))
    learner.start_task(task, EMBEDDINGS[task], PICTURES[task], [checkpoint.read(path) for path in earlier])
    return learner


def batch(seed, task=0):
    """Four windows of random actions."""
    generator = torch.Generator().manual_seed(seed)
    task_emb = torch.from_numpy(EMBEDDINGS[task]).expand(4, -1)
    actions = torch.rand(4, 4, 7, generator=generator) * 2 - 1
    return Windows(observations(), task_emb, actions, torch.ones(4, 4, dtype=torch.bool))


def value(scalar):
    return float(torch.as_tensor(scalar).detach())


def observed(method, folder, monkeypatch):
    """The task of every window of every batch, in two epochs of the third task."""
    paths = chain(method, 2, folder)
    learner = start(method, 2, paths)
    data = dataset(*[demos(LENGTHS[task]) for task in learner.reads(2)])
    seen = []

    def observe(windows):
        seen.append(windows.task_emb[:, 0].int())
        return {"loss": 0.0}

    monkeypatch.setattr(learner, "observe", observe)
    tiny = params.Learn(**(SMALL["learn"] | {"n_epochs": 2, "eval_every": 2}))
    learn.learn_task(learner, data, tiny, 0, Progress(folder / "progress", method))
    return seen


def test_er_learns_as_many_old_windows_beside_every_batch(tmp_path, monkeypatch):
    seen = observed("er", tmp_path, monkeypatch)
    assert len(seen) == 2 * 2  # two epochs of 8 windows in batches of 4
    for tasks in seen:
        assert tasks[:4].tolist() == [2] * 4
        assert len(tasks[4:]) == SECTIONS["methods"]["er"]["n_replayed"]
        assert set(tasks[4:].tolist()) == {0, 1}


def test_er_replays_only_what_is_in_its_memory(tmp_path):
    learner = start("er", 2, [], source(er={"n_memories": 3, "n_replayed": 500}))
    drawn = learner.replay([8, 6, 8], torch.Generator().manual_seed(0))
    assert set(drawn.tolist()) == {0, 1, 2, 8, 9, 10}
    assert len(start("er", 0, []).replay([8], torch.Generator())) == 0


def test_ewc_pulls_by_the_fisher_weighted_distance(tmp_path):
    learner = start("ewc", 1, chain("ewc", 1, tmp_path))
    named = dict(learner.network.named_parameters())
    assert value(learner.penalty()) == 0.0
    learner.look_back([batch(1), batch(2)])
    expected = {name: torch.zeros_like(p) for name, p in named.items()}
    for seed in (1, 2):
        learner.network.zero_grad()
        learner.loss(batch(seed)).backward()
        for name, p in named.items():
            expected[name] += p.grad.square() / 2
    assert value(learner.penalty()) == 0.0  # still where it starts
    distance = torch.Generator().manual_seed(3)
    total = 0.0
    for name, p in named.items():
        d = 0.01 * torch.randn(p.shape, generator=distance)
        p.data += d
        total += float((expected[name] * d.square()).sum())
    assert total > 0
    assert value(learner.penalty()) == pytest.approx(5.0e4 * total, rel=1e-3)


def test_ewc_keeps_a_running_sum_and_shows_the_loss_without_the_penalty(tmp_path):
    learner = start("ewc", 1, chain("ewc", 1, tmp_path))
    learner.look_back([batch(1)])
    learner.optimise(learner.trainable, 2)
    learner.observe(batch(4))
    loss, penalty = value(learner.loss(batch(5))), value(learner.penalty())
    assert penalty > 0
    assert learner.observe(batch(5))["loss"] == pytest.approx(loss)
    first = dict(learner.fisher)
    learner.checkpoint().write(tmp_path / "1.safetensors")
    later = start("ewc", 2, [tmp_path / "ewc0.safetensors", tmp_path / "1.safetensors"])
    later.look_back([batch(1)])
    alone = later.information([batch(1)])
    for name, f in later.fisher.items():
        assert torch.allclose(f, 0.9 * first[name] + alone[name])


def test_ewc_stays_nearer_to_the_last_task_than_fine_tuning(tmp_path):
    moved = {}
    for e_lambda in (0.0, 5.0e4):
        learner = start("ewc", 1, chain("ewc", 1, tmp_path), source(ewc={"e_lambda": e_lambda}))
        learner.look_back([batch(1)])
        learner.optimise(learner.trainable, 20)
        for _ in range(20):
            learner.observe(batch(6))
        named = dict(learner.network.named_parameters())
        moved[e_lambda] = sum(
            value((learner.fisher[n] * (p - learner.anchor[n]).square()).sum()) for n, p in named.items()
        )
    assert moved[5.0e4] < 0.5 * moved[0.0]


def test_pruning_frees_the_smallest_of_the_tasks_own_weights():
    weight = torch.tensor([[5.0, -1.0, 2.0], [-4.0, 3.0, 0.5]])
    mine = torch.tensor([[True, True, True], [True, False, False]])
    assert smallest_share(weight, mine, 0.5).tolist() == [[False, True, True], [False, False, False]]
    assert not smallest_share(weight, torch.zeros_like(mine), 0.5).any()


def test_masks_of_packnet_do_not_overlap_and_never_change(tmp_path):
    kept = [checkpoint.read(path) for path in chain("packnet", 3, tmp_path)]
    for task, c in enumerate(kept):
        for name, owner in c.part("owner").items():
            for earlier in range(task):
                assert torch.equal(owner == earlier + 1, kept[earlier].part("owner")[name] == earlier + 1)
            n_before = sum(int((owner == j + 1).sum()) for j in range(task))
            assert int((owner == task + 1).sum()) == pytest.approx(0.25 * (owner.numel() - n_before), abs=1)
            assert not c.tensors[name][owner == 0].any()


def test_packnet_changes_only_weights_that_were_free(tmp_path):
    old, new = (checkpoint.read(path) for path in chain("packnet", 2, tmp_path))
    owners = old.part("owner")
    changed = 0
    for name, tensor in old.tensors.items():
        if name in owners:
            assert torch.equal(tensor[owners[name] > 0], new.tensors[name][owners[name] > 0])
            changed += int((tensor != new.tensors[name]).sum())
        elif "/" not in name and name not in checkpoint.CUES:
            assert torch.equal(tensor, new.tensors[name])  # biases and norms
    assert changed > 0


def test_packnet_keeps_no_policy_that_is_not_pruned(tmp_path):
    learner = start("packnet", 0, [])
    learner.optimise(learner.trainable, 4)
    for finished in (False, False, True, True):
        learner.observe(batch(0))
        assert learner.checkpoint().header["finished"] == finished
    start("packnet", 0, []).checkpoint().write(tmp_path / "unpruned.safetensors")
    with pytest.raises(ValueError, match="expected a pruned policy of task 0"):
        start("packnet", 1, [tmp_path / "unpruned.safetensors"])


def test_adapters_change_nothing_at_the_start_and_alone_learn(tmp_path):
    paths = chain("tail", 1, tmp_path)
    base, learner = start("tail", 0, []), start("tail", 1, paths)
    base.network.load_state_dict(lifelong.sequential.weights(checkpoint.read(paths[0])))
    task_emb = torch.from_numpy(EMBEDDINGS[1]).expand(4, -1)
    before = base.network.actions(observations(), task_emb, "likely", None)
    assert torch.equal(learner.network.actions(observations(), task_emb, "likely", None), before)
    learner.optimise(learner.trainable, 2)
    frozen = [p for p in learner.network.parameters() if not p.requires_grad]
    values = [p.clone() for p in frozen]
    for _ in range(2):
        learner.observe(batch(0, task=1))
    assert all(torch.equal(p, v) for p, v in zip(frozen, values, strict=True))
    assert sum(p.numel() for p in frozen) == checkpoint.n_parameters([checkpoint.read(paths[0])])
    after = learner.network.actions(observations(), task_emb, "likely", None)
    assert not torch.equal(after, before)
    learner.checkpoint().write(tmp_path / "tail1.safetensors")
    assert {name.partition("/")[0] for name in learner.checkpoint().tensors} == {"down", "up", *checkpoint.CUES}
    _, actions = act("tail", [*paths, tmp_path / "tail1.safetensors"], 1)
    assert np.allclose(actions[:2], after[0, :2].detach(), atol=1e-6)  # merged, it acts as it learned


def test_single_task_takes_nothing_from_the_other_tasks(tmp_path):
    assert start("single_task", 2, []).reads(2) == [2]
    one = start("single_task", 1, chain("single_task", 1, tmp_path / "a"))
    other = start("single_task", 1, chain("single_task", 1, tmp_path / "b", n_steps=5))
    for learner in (one, other):
        learner.optimise(learner.trainable, 1)
        learner.observe(batch(0, task=1))
    tensors = [learner.checkpoint().tensors for learner in (one, other)]
    assert all(torch.equal(tensors[0][name], tensors[1][name]) for name in tensors[0])


def test_multitask_learns_every_window_of_all_tasks_from_fresh_weights(tmp_path, monkeypatch):
    seen = torch.cat(observed("multitask", tmp_path, monkeypatch)).tolist()
    assert [seen.count(task) for task in range(3)] == [2 * 8, 2 * 6, 2 * 8]
    fresh, later = start("multitask", 0, []), start("multitask", 1, chain("multitask", 1, tmp_path / "a"))
    assert torch.equal(fresh.checkpoint().tensors["language.weight"], later.checkpoint().tensors["language.weight"])


def test_without_growth_a_later_task_acts_as_the_one_it_reuses(tmp_path):
    values = source(no_growth={"n_tokens": 12})
    paths = chain("no_growth", 1, tmp_path, source=values)
    learner = start("no_growth", 1, paths, values)
    assert learner.trainable == []
    data = dataset(demos())
    tiny = params.Learn(**(SMALL["learn"] | {"n_epochs": 2, "eval_every": 1}))
    assert learn.learn_task(learner, data, tiny, 0, Progress(tmp_path, "no_growth")) == []
    paths.append(tmp_path / "epoch2.safetensors")
    assert set(checkpoint.read(paths[1]).tensors) == set(checkpoint.CUES)
    assert learner.counts()["n_tokens_new"] == 0
    task_emb = torch.from_numpy(EMBEDDINGS[1])[None]
    policy, actions = act("no_growth", paths, 1, values)
    base, _ = act("no_growth", paths[:1], 0, values)
    first = {name: v[:1] for name, v in observations().items()}
    assert np.array_equal(actions[:2], base.network.actions(first, task_emb, "likely", None)[0, :2].detach())
    assert policy.fingerprint != base.fingerprint  # the instruction differs
    assert start("no_growth", 2, paths, values).counts()["active"] == [0]


@pytest.mark.parametrize(
    ("method", "network"),
    [
        *((method, "compact") for method in METHODS),
        *(pytest.param(method, "resnet_t", marks=pytest.mark.slow) for method in METHODS),
    ],
)
def test_every_method_goes_from_demonstrations_to_a_policy(tmp_path, monkeypatch, method, network):
    """Learns three tasks by the commands, chooses by curves on which the first epoch is best, acts by instruction."""

    def shown(task):
        return demos(LENGTHS[task], f"task {task}")

    known = {shown(task).instruction: EMBEDDINGS[task] for task in range(3)}
    embeddings.write(tmp_path / "language.safetensors", known, "none")
    monkeypatch.setattr(demonstrations, "read", lambda path, image_size: shown(int(path.read_text())))
    monkeypatch.setattr(demonstrations, "source", lambda path: "scripted")
    monkeypatch.setattr(demonstrations, "observations", lambda path: "before")
    manifests = [tmp_path / f"{task}.json" for task in range(3)]
    for task, path in enumerate(manifests):
        path.write_text(str(task))
    small = SMALL | {"env": {"image_size": 32}, "methods": {method: SECTIONS["methods"][method]}}
    small["policy"] = SMALL["policy"] | {"network": network}
    small["learn"] = small["learn"] | {"n_epochs": 2, "eval_every": 1}
    values = params_file(small)
    kept: list[Path] = []
    for task in range(3):
        out = tmp_path / f"task{task}"
        where = ["--suite", "blocks_object", "--method", method, "--seed", "0", "--task", str(task)]
        files = ["--language", str(tmp_path / "language.safetensors"), "--out", str(out)]
        files += ["--cache", str(tmp_path / "cache")]
        earlier = ["--demos", *map(str, manifests[: task + 1]), "--previous", *map(str, kept)]
        cli.run(["learn", *where, "--params", values, *files, *earlier])
        curve = [record(kind="curve", stage=task, task=task, epoch=e, success=e == 1) for e in range(3)]
        records.write(out / "curve.jsonl", curve)
        policies = [str(out / f"epoch{e}.safetensors") for e in range(3)]
        cli.run(["choose", "--curve", str(out / "curve.jsonl"), "--out", str(out), "--checkpoints", *policies])
        kept.append(out / "policy.safetensors")
    then, now = act(method, kept[:1], 0, values)[0], act(method, kept, 0, values)[0]
    assert (then.fingerprint == now.fingerprint) == (method not in SHARED)
    for task in range(3):
        policy, actions = act(method, kept, task, values)
        assert np.isfinite(actions).all()
        assert policy.fingerprint
        learned = json.loads((tmp_path / f"task{task}/learn.json").read_text())
        n_rows = len(list(csv.DictReader((tmp_path / f"task{task}/losses.csv").read_text().splitlines())))
        assert n_rows == (0 if learned["n_steps"] == 0 else 2)
        assert (learned["n_steps"] == 0) == (method == "no_growth" and task > 0)
        assert 0 <= learned["n_parameters_new"] <= learned["n_parameters_total"]
        assert json.loads((tmp_path / f"task{task}/chosen.json").read_text())["epoch"] == 1 + (method == "packnet")
