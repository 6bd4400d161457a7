"""What one evaluation job writes, and when it may copy instead of simulating."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import chain
import numpy as np
import pytest
from params_file import params_file

from t2s import cli
from t2s.data import embeddings, records, suites
from t2s.lifelong import load_policy
from t2s.sim import rollout
from t2s.sim.worker import Worker
from t2s.stages import evaluate


@pytest.fixture(scope="module")
def t2s(tmp_path_factory: pytest.TempPathFactory) -> chain.Chain:
    return chain.make(tmp_path_factory.mktemp("t2s"), "t2s")


@pytest.fixture(scope="module")
def sequential(tmp_path_factory: pytest.TempPathFactory) -> chain.Chain:
    return chain.make(tmp_path_factory.mktemp("sequential"), "sequential")


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def stage0(made: chain.Chain, path: Path, **changes: Any) -> list[str]:
    """Write records of task 0 at stage 0 as its job would; arguments that hand them to stage 1."""
    task = suites.task(chain.SUITE, 0)
    task_emb = embeddings.read(made.language)[task.instruction]
    source = params_file(chain.sections(made.method))
    policy = load_policy(source, made.method, made.kept(1), task_emb, chain.ACTIONS)
    records.write(
        path,
        [
            {
                "suite": chain.SUITE,
                "method": made.method,
                "seed": 0,
                "stage": 0,
                "task": 0,
                "epoch": 20,
                "kind": "kept",
                "init_index": number,
                "episode_seed": rollout.episode_seed(chain.SUITE, 0, number, 0, "kept"),
                "success": number == 3,
                "n_steps": number,
                "fingerprint": policy.fingerprint,
                "protocol": "blocks",
                "versions": rollout.versions("cpu") | {"actions": chain.ACTIONS},
            }
            | changes
            for number in (3, 4)
        ],
    )
    return ["--previous", str(path)]


def refuse(*_: Any) -> None:
    raise AssertionError("simulated")


def test_records_of_an_unchanged_task_are_copied_without_mujoco(t2s: chain.Chain, tmp_path: Path) -> None:
    previous = stage0(t2s, tmp_path / "stage0.jsonl")
    out = tmp_path / "stage1.jsonl"
    arguments = [*t2s.arguments("kept", 1, 0), *previous, "--out", str(out)]
    program = (
        "import sys\nfrom t2s import cli\ncli.run(['evaluate', *sys.argv[1:]])\n"
        "assert not {'mujoco', 'robosuite', 'libero'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program, *arguments], check=True)
    assert lines(out) == [r | {"stage": 1} for r in lines(tmp_path / "stage0.jsonl")]


@pytest.mark.parametrize(
    "changes",
    [
        {"fingerprint": "00ff"},
        {"protocol": "libero"},
        {"versions": {"mujoco": "3.3.3"}},
        {"versions": rollout.versions("cpu")},  # of a study from before records said how a policy acts
        {"episode_seed": 7},
        {"seed": 1},
        {"epoch": 0},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_records_that_differ_in_anything_that_matters_are_made_anew(
    t2s: chain.Chain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any]
) -> None:
    monkeypatch.setattr(evaluate, "_simulated", refuse)
    previous = stage0(t2s, tmp_path / "stage0.jsonl", **changes)
    arguments = [*t2s.arguments("kept", 1, 0), *previous, "--out", str(tmp_path / "out")]
    with pytest.raises(AssertionError, match="simulated"):
        cli.run(["evaluate", *arguments])


@pytest.mark.sim
def test_what_was_rolled_out_before_is_copied_unless_the_params_forbid_it(
    t2s: chain.Chain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep = ["--cache", str(tmp_path / "cache")]
    cli.run(["evaluate", *t2s.arguments("kept", 0, 0), *keep, "--out", str(tmp_path / "first")])
    with monkeypatch.context() as patch:
        patch.setattr(evaluate, "_simulated", refuse)
        cli.run(["evaluate", *t2s.arguments("kept", 0, 0), *keep, "--out", str(tmp_path / "second")])
        assert (tmp_path / "second").read_bytes() == (tmp_path / "first").read_bytes()
        anew = chain.sections("t2s")["evaluate"] | {"reuse_records": False}
        for arguments in (
            t2s.arguments("kept", 0, 0, {"evaluate": anew}),
            t2s.arguments("kept", 0, 0, {"env": {"image_size": 40}}),
            t2s.arguments("kept", 1, 0),
            [*t2s.arguments("kept", 0, 0), "--suite-task", "1"],
        ):
            with pytest.raises(AssertionError, match="simulated"):
                cli.run(["evaluate", *arguments, *keep, "--out", str(tmp_path / "third")])


@pytest.mark.sim
def test_a_task_is_rolled_out_in_its_own_scene_whatever_its_place_in_the_order(
    t2s: chain.Chain, tmp_path: Path
) -> None:
    paths = tmp_path / "suite", tmp_path / "reordered"
    for path, task, options in zip(paths, (1, 0), ([], ["--suite-task", "1"]), strict=True):
        cli.run(["evaluate", *t2s.arguments("kept", 1, task), *options, "--out", str(path)])
    expected, found = map(lines, paths)
    assert [record | {"task": 1} for record in found] == expected


def test_a_task_whose_tensors_changed_is_rolled_out_again(
    sequential: chain.Chain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluate, "_simulated", refuse)
    previous = stage0(sequential, tmp_path / "stage0.jsonl")
    arguments = [*sequential.arguments("kept", 1, 0), *previous, "--out", str(tmp_path / "out")]
    with pytest.raises(AssertionError, match="simulated"):
        cli.run(["evaluate", *arguments])


def test_reuse_can_be_switched_off(t2s: chain.Chain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluate, "_simulated", refuse)
    off = chain.sections("t2s")["evaluate"] | {"reuse_records": False}
    previous = stage0(t2s, tmp_path / "stage0.jsonl")
    arguments = [*t2s.arguments("kept", 1, 0, {"evaluate": off}), *previous]
    with pytest.raises(AssertionError, match="simulated"):
        cli.run(["evaluate", *arguments, "--out", str(tmp_path / "out")])


def test_an_unknown_instruction_is_refused(t2s: chain.Chain, tmp_path: Path) -> None:
    language = tmp_path / "language.safetensors"
    embeddings.write(language, {"juggle": np.ones(8, "float32")}, "none")
    arguments = [*t2s.arguments("kept", 0, 0), "--language", str(language), "--out", "-"]
    with pytest.raises(ValueError, match=r"no embedding of 'pick up .*'; have \['juggle'\]"):
        cli.run(["evaluate", *arguments])


@pytest.mark.parametrize(
    ("kind", "names", "error"),
    [
        ("curve", ["policy"], r"expected epoch\*.safetensors"),
        ("kept", ["policy", "epoch0"], "expected kept policies"),
        ("curve", ["epoch_last"], r"expected epoch\{number\}.safetensors"),
    ],
)
def test_checkpoints_of_the_wrong_kind_are_refused(kind: str, names: list[str], error: str) -> None:
    with pytest.raises(ValueError, match=error):
        evaluate.policies(kind, [Path(f"{name}.safetensors") for name in names])


def test_a_task_not_learned_yet_is_refused(t2s: chain.Chain, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="expected the kept policies of tasks 0 to 1, got 1"):
        cli.run(["evaluate", *t2s.arguments("kept", 0, 1), "--out", str(tmp_path / "out")])


def test_epochs_of_a_curve_are_in_the_order_of_numbers() -> None:
    paths = [Path(f"epoch{epoch}.safetensors") for epoch in (100, 20, 0)]
    assert list(evaluate.policies("curve", paths)) == ["epoch0", "epoch20", "epoch100"]


@pytest.mark.sim
def test_a_curve_is_the_same_file_for_any_number_of_workers(t2s: chain.Chain, tmp_path: Path) -> None:
    for workers in ("1", "3"):
        out = tmp_path / f"{workers}.jsonl"
        cli.run(["evaluate", *t2s.arguments("curve", 1, 1), "--workers", workers, "--out", str(out)])
    assert (tmp_path / "1.jsonl").read_bytes() == (tmp_path / "3.jsonl").read_bytes()
    found = lines(tmp_path / "1.jsonl")
    assert [(r["epoch"], r["init_index"]) for r in found] == [(0, 0), (0, 1), (20, 0), (20, 1)]
    assert len({r["fingerprint"] for r in found}) == 2
    assert {r["versions"]["actions"] for r in found} == {chain.ACTIONS} == {"sample"}


@pytest.mark.slow
@pytest.mark.sim
def test_a_worker_killed_in_the_middle_of_a_job_loses_no_episode_and_changes_no_record(
    t2s: chain.Chain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    rules = chain.sections("t2s")["evaluate"]["protocols"]["blocks"] | {"n_rollouts": 6}
    changed = {"evaluate": chain.sections("t2s")["evaluate"] | {"protocols": {"blocks": rules}}}
    engine = params_file({"engine": {"retries": 1, "hang_s": 300, "recycle_after": 4}})
    arguments = [*t2s.arguments("curve", 1, 1, changed), "--engine", engine]
    cli.run(["evaluate", *arguments, "--workers", "1", "--out", str(tmp_path / "calm.jsonl")])
    killed: list[int] = []
    take = Worker.take

    def take_and_kill_another(worker: Worker) -> rollout.Outcome | None:
        nonlocal killed
        outcome = take(worker)
        others = [p.pid for p in multiprocessing.active_children() if p is not worker.process and p.pid]
        if outcome is not None and not killed:
            killed += others[:1]
            os.kill(killed[0], signal.SIGKILL)  # it has an episode, as always while some are due
        return outcome

    monkeypatch.setattr(Worker, "take", take_and_kill_another)
    cli.run(["evaluate", *arguments, "--workers", "2", "--out", str(tmp_path / "killed.jsonl")])
    assert capfd.readouterr().err.count("its worker died (SIGKILL); retry 1 of 1") == len(killed) == 1
    assert len(lines(tmp_path / "killed.jsonl")) == 12
    assert (tmp_path / "killed.jsonl").read_bytes() == (tmp_path / "calm.jsonl").read_bytes()


@pytest.mark.sim
def test_reused_records_equal_simulated_ones(t2s: chain.Chain, tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("stage0.jsonl", "copied.jsonl", "simulated.jsonl")]
    off = chain.sections("t2s")["evaluate"] | {"reuse_records": False}
    previous = ["--previous", str(paths[0])]
    cli.run(["evaluate", *t2s.arguments("kept", 0, 0), "--out", str(paths[0])])
    cli.run(["evaluate", *t2s.arguments("kept", 1, 0), *previous, "--out", str(paths[1])])
    arguments = t2s.arguments("kept", 1, 0, {"evaluate": off})
    cli.run(["evaluate", *arguments, *previous, "--out", str(paths[2])])
    assert paths[1].read_bytes() == paths[2].read_bytes()
    assert [r["init_index"] for r in lines(paths[1])] == [3, 4]
    assert [r["stage"] for r in lines(paths[1])] == [1, 1]
