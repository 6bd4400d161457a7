from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import synthetic

from t2s import cli, params
from t2s.data import records
from t2s.sim import gl
from t2s.support import estimate

ROOT = Path(__file__).parents[1]
SHIPPED = str(ROOT / "params.yaml")


@pytest.fixture(autouse=True)
def round_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    """A step costs 1 s, one of a rollout 0.1 s, starting a job 10 s."""
    monkeypatch.setattr(estimate, "LEARNED", 1.0)
    monkeypatch.setattr(estimate, "SIMULATED", {"blocks": 0.1, "libero": 1.0})
    monkeypatch.setattr(estimate, "STARTED", {"blocks": 10.0, "libero": 20.0})
    monkeypatch.setattr(estimate, "DEMO_STEPS", {"blocks": 64, "libero": 128, "download": 256})
    monkeypatch.setattr(estimate, "KEPT_BYTES", {"blocks": 0.25, "libero": 0.5, "download": 1.0})
    monkeypatch.setattr(estimate, "POLICY_BYTES", 1e6)
    monkeypatch.setattr(estimate, "DELTA", 0.5)


def given(*methods: str, **sections: Any) -> params.Params:
    """Three tasks of blocks, 10 demonstrations, 4 epochs, 2 evaluated: 80 steps a task, 3 points on the curve."""
    values = params.read(SHIPPED)
    for name, changed in {
        "study": {"suites": ["blocks_object"], "n_tasks": 3, "methods": list(methods), "seeds": [0]},
        "env": {"image_size": 64},
        "demos": {"n_demos": 10},
        "learn": {"n_epochs": 4, "eval_every": 2, "batch_size": 32, "device": "auto"},
        "evaluate": {"protocols": {"blocks": values["evaluate"]["protocols"]["blocks"] | RULES}},
    }.items():
        values[name] |= changed
    for name, changed in sections.items():
        values[name] |= changed
    return params.check(values)


RULES = {"n_rollouts": 5, "max_steps": 40}  # half of 40 steps at 0.1 s: 2 s an episode, 10 s a policy


@pytest.mark.parametrize(
    ("method", "n_steps"),
    [
        ("t2s", 3 * 80),
        ("sequential", 3 * 80),
        ("er", 80 + 2 * 80 * 2),  # as many windows again from the second task on
        ("multitask", (1 + 2 + 3) * 80),
        ("no_growth", 80),
    ],
)
def test_learning_costs_its_steps(method: str, n_steps: int) -> None:
    assert estimate.learning(given(method), "blocks_object", method) == n_steps


def test_a_step_costs_as_much_as_its_images() -> None:
    big = given("t2s", env={"image_size": 128}, learn={"n_epochs": 4, "eval_every": 2, "batch_size": 64})
    assert (
        estimate.learning(big, "blocks_object", "t2s") == 3 * 40 * 8
    )  # half the steps, of twice four times the pixels


def test_resnet_t_costs_more_than_compact(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(estimate, "RESNET_T", {"step": 3.0, "predict_s": 0.05, "bytes": 2.0})
    small, large = (given("sequential", policy={"network": n}) for n in ("compact", "resnet_t"))
    suite = "blocks_object"
    assert estimate.learning(large, suite, "sequential") == 3 * estimate.learning(small, suite, "sequential")
    assert estimate.simulating(large, suite) == pytest.approx(2 * estimate.simulating(small, suite) + 0.05)
    assert estimate.gigabytes(large) > estimate.gigabytes(small)


@pytest.mark.parametrize("method", ["t2s", "tail", "packnet", "single_task"])
def test_a_kept_policy_that_stays_as_it_is_is_rolled_out_once(method: str) -> None:
    assert estimate.rolling_out(given(method), "blocks_object", method) == (3 + 3) * 10 + (9 + 3) * 10


@pytest.mark.parametrize("method", ["sequential", "er", "ewc", "multitask"])
def test_a_policy_that_changes_is_rolled_out_on_all_tasks_so_far(method: str) -> None:
    assert estimate.rolling_out(given(method), "blocks_object", method) == (3 + 6) * 10 + (9 + 6) * 10


def test_without_reused_records_everything_is_rolled_out() -> None:
    values = given("t2s", evaluate={"reuse_records": False})
    assert estimate.rolling_out(values, "blocks_object", "t2s") == (3 + 6) * 10 + (9 + 6) * 10


def test_every_suite_method_and_seed_counts_and_demonstrations_once() -> None:
    study = {
        "suites": ["blocks_object", "blocks_goal"],
        "n_tasks": 3,
        "methods": ["t2s", "sequential"],
        "seeds": [0, 1],
    }
    chains = 2 * ((240 + 180) + (240 + 240))
    demonstrations = 3 * 10 * 64 * 2 * 0.1  # drawn at every step, not at every second
    assert estimate.core_hours(given(study=study, policy={"replan_every": 2})) * 3600 == pytest.approx(
        2 * (chains + demonstrations)
    )


def test_downloaded_demonstrations_cost_disk_and_no_time() -> None:
    study = {"suites": ["libero_object"], "n_tasks": 3, "methods": ["sequential"], "seeds": [0]}
    values = given(study=study, env={"image_size": 128}, demos={"source": "download", "n_demos": 10})
    assert estimate.demonstrating(values, "libero_object") == 0
    demonstrations = 3 * 10 * 256 * 2 * 128 * 128 * 3
    assert estimate.gigabytes(values) * 1e9 == pytest.approx(demonstrations + 3 * 7 * 1e6)


def test_policies_take_disk_and_deltas_take_less() -> None:
    demonstrations = 3 * 10 * 64 * 2 * 64 * 64 * 3 * 0.25
    assert estimate.gigabytes(given("sequential")) * 1e9 == pytest.approx(demonstrations + 3 * 7 * 1e6)
    assert estimate.gigabytes(given("t2s")) * 1e9 == pytest.approx(demonstrations + 2 * 7 * 1e6)


def test_a_short_study_is_not_remarked_on(monkeypatch: pytest.MonkeyPatch) -> None:
    values = given("t2s")
    assert estimate.notice(values, 2, gpu=False) is None
    monkeypatch.setattr(estimate, "LONG", estimate.core_hours(values) / 2)
    line = estimate.notice(values, 2, gpu=False)
    assert line is not None
    assert line.startswith("note: no GPU on this machine: the whole study takes about ")
    assert "on 2 cores, and 0.0 GB of disk" in line
    assert "\n" not in line
    assert estimate.notice(values, 2, gpu=True) is None
    assert estimate.notice(values, 4, gpu=False) is None


def test_a_study_for_a_gpu_is_remarked_on_however_short() -> None:
    values = given("t2s", learn={"n_epochs": 4, "eval_every": 2, "batch_size": 32, "device": "cuda"})
    line = estimate.notice(values, None, gpu=False)
    assert line is not None
    assert line.startswith("note: learn.device is cuda but this machine has no GPU")
    assert "at best" not in line
    assert estimate.notice(values, None, gpu=True) is None


def test_a_later_file_replaces_what_it_holds_and_no_more(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(
        "learn: {lr: 0.5}\nstudy: {suites: [blocks_goal]}\nevaluate: {protocols: {blocks: {n_rollouts: 3}}}\n"
    )
    expected = params.read(SHIPPED)
    expected["learn"]["lr"] = 0.5
    expected["study"]["suites"] = ["blocks_goal"]
    expected["evaluate"]["protocols"]["blocks"]["n_rollouts"] = 3
    assert params.read(SHIPPED, str(path)) == expected


def write_seconds(path: Path, seconds: float) -> None:
    path.write_text(f"s\th:m:s\tmax_rss\n{seconds}\t-\t500.0\n", encoding="utf-8")


def test_what_a_run_cost_gives_the_constants(tmp_path: Path) -> None:
    study = {"suites": ["blocks_object"], "n_tasks": 2, "methods": ["t2s"], "seeds": [0]}
    synthetic.write(tmp_path, study)
    chain = Path("blocks_object") / "t2s" / "seed0"
    for task, n_steps, seconds in [(0, 100, 30.0), (1, 300, 50.0)]:
        path = tmp_path / "runs" / chain / f"task{task}" / "learn.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"n_steps": n_steps}))
        write_seconds(tmp_path / "benchmarks/learn" / chain / f"task{task}.tsv", seconds)
    rolled_out: dict[str, tuple[dict[str, Any], list[int], float]] = {
        "task0_curve": ({"kind": "curve"}, [50, 50], 25.0),
        "task1_curve": ({"kind": "curve", "stage": 1, "task": 1}, [50, 50], 25.0),
        "stage0_task0": ({}, [20, 20], 13.0),
        "stage1_task1": ({"stage": 1, "task": 1}, [20, 20], 13.0),
        "stage1_task0": ({"stage": 1}, [20, 20], 1.0),  # copies of the stage before
    }
    for name, (fields, lengths, seconds) in rolled_out.items():
        rows = [synthetic.record(init_index=i, n_steps=n, **fields) for i, n in enumerate(lengths)]
        records.write(tmp_path / "episodes" / chain / f"{name}.jsonl", rows)
        write_seconds(tmp_path / "benchmarks/evaluate" / chain / f"{name}.tsv", seconds)
    (tmp_path / "demos/blocks_object").mkdir(parents=True)
    (tmp_path / "demos/blocks_object/task0_demo.hdf5").write_bytes(b"x" * 24576)
    manifest = {"file": "task0_demo.hdf5", "n_demos": 2, "n_samples": 10}
    (tmp_path / "demos/blocks_object/task0.json").write_text(json.dumps(manifest))

    found = estimate.measure(tmp_path, given("t2s", study={"n_tasks": 2}), n_cores=2)
    assert found == pytest.approx(
        {
            "LEARNED": 0.2,
            "SIMULATED": 0.4,  # 12 s more of 2 cores for 60 steps more
            "STARTED": 10.0,
            "DEMO_STEPS": 5.0,
            "KEPT_BYTES": 0.1,
        }
    )


def test_a_run_without_benchmarks_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no '.*task0.tsv'; run `snakemake --cores all` to make it"):
        estimate.measure(tmp_path, given("t2s"), n_cores=1)


def test_the_command_prints_the_estimate(capsys: pytest.CaptureFixture[str]) -> None:
    cli.run(["estimate", "--params", SHIPPED, "--cores", "2"])
    assert capsys.readouterr().out.startswith("about ")
    paper = str(ROOT / "studies/paper/params.yaml")
    cli.run(["estimate", "--params", SHIPPED, paper, "--notice", "--cluster", "--cores", "0"])
    assert "core hours" in capsys.readouterr().err or gl.has_nvidia()


@pytest.mark.skipif(gl.has_nvidia(), reason="a machine without a GPU")
def test_a_study_that_needs_a_gpu_is_refused_where_its_jobs_would_find_none(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert cli.main(["estimate", "--params", str(ROOT / "studies/paper/params.yaml"), "--notice"]) == 1
    assert capsys.readouterr().err.startswith("error: learn.device: expected a GPU that torch can use")


def test_a_file_of_a_study_alone_is_enough(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    paper = "studies/paper/params.yaml"
    cli.run(["estimate", "--params", paper])
    alone = capsys.readouterr().out
    cli.run(["estimate", "--params", SHIPPED, paper])
    assert capsys.readouterr().out == alone
    assert cli.main(["doctor", "--only", "demos", "--params", paper]) == 0
    assert "demonstrations: download" in capsys.readouterr().out
