"""Properties of the metrics and their intervals."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import synthetic
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from params_file import params_file

from t2s.data import files, results
from t2s.params import Metrics, Study
from t2s.report import metrics

RULES = Metrics(confidence=0.95, n_bootstrap=200, seed=0)
RATES = st.floats(0, 1)
ONE_TASK = Study(suites=["blocks_object"], n_tasks=1, methods=["t2s"], seeds=[0])


def lower(rows: list[list[float]]) -> np.ndarray:
    """A success matrix from its lower triangle."""
    n = len(rows)
    return np.array([row + [0.0] * (n - len(row)) for row in rows])


def test_a_perfect_learner_has_nbt_0_and_fwt_and_auc_1() -> None:
    curves, success = np.ones((3, 5)), np.tril(np.ones((3, 3)))
    assert metrics.fwt(curves).tolist() == [1, 1, 1]
    assert metrics.nbt(success).tolist() == [0, 0, 0]
    assert metrics.auc(curves, success).tolist() == [1, 1, 1]


def test_forgetting_everything_costs_what_was_learned_in_all_but_the_last_task() -> None:
    success = np.eye(4) * 0.8
    assert metrics.nbt(success) == pytest.approx([0.8, 0.8, 0.8, 0])
    assert metrics.nbt(success).mean() == pytest.approx(0.6)  # LIBERO divides by K


def test_a_case_by_hand() -> None:
    curves = np.array([[0.0, 0.6, 0.4], [0.2, 0.5, 1.0]])
    success = lower([[0.5], [0.3, 0.9]])
    assert metrics.fwt(curves) == pytest.approx([(0 + 0.6 + 0.6) / 3, (0.2 + 0.5 + 1.0) / 3])
    assert metrics.nbt(success) == pytest.approx([0.5 - 0.3, 0])
    assert metrics.auc(curves, success) == pytest.approx([(0.4 + 0.3) / 2, 1.7 / 3])


def test_three_tasks_by_hand() -> None:
    success = lower([[1.0], [0.5, 0.8], [0.25, 0.6, 0.7]])
    assert metrics.nbt(success) == pytest.approx([(0.5 + 0.75) / 2, 0.2, 0])


def test_a_curve_is_held_at_its_earliest_peak() -> None:
    curve = np.array([0.1, 0.7, 0.3, 0.7, 0.2])
    assert metrics.held(curve).tolist() == [0.1, 0.7, 0.7, 0.7, 0.7]


def test_the_score_of_one_task_has_no_forgetting_and_no_k_minus_1() -> None:
    values = metrics.scores(np.full((1, 1, 2), 0.5), np.full((1, 1, 1), 0.5))
    assert values["nbt"].tolist() == [[0.0]]
    assert "nbt_k_minus_1" not in values


def test_the_variants_of_nbt_differ_by_their_divisor() -> None:
    success = np.eye(4)[None] * 0.8
    values = metrics.scores(np.zeros((1, 4, 2)), success)
    assert values["nbt"].mean() == pytest.approx(0.6)
    assert values["nbt_k_minus_1"].mean() == pytest.approx(0.8)


def test_fwt_final_is_the_second_evaluation_and_fwt_best_the_choice() -> None:
    values = metrics.scores(np.array([[[0.0, 0.9]]]), np.array([[[0.6]]]))
    assert values["fwt_final"].mean() == 0.6
    assert values["fwt_best"].mean() == 0.9


@given(arrays(float, (2, 4, 5), elements=RATES))
def test_fwt_lies_between_the_mean_and_the_best_of_the_curve(curves: np.ndarray) -> None:
    fwt = metrics.fwt(curves)
    assert (fwt >= curves.mean(-1) - 1e-12).all()
    assert (fwt <= curves.max(-1) + 1e-12).all()


@given(arrays(float, (2, 4, 5), elements=RATES), arrays(float, (2, 4, 4), elements=RATES))
def test_scores_stay_in_range_and_ignore_what_lies_above_the_diagonal(curves: np.ndarray, success: np.ndarray) -> None:
    seen = np.tril(success)
    assert (metrics.auc(curves, seen) == metrics.auc(curves, success)).all()
    assert (metrics.nbt(seen) == metrics.nbt(success)).all()
    assert (np.abs(metrics.nbt(seen)) <= 1).all()
    assert (metrics.auc(curves, seen) >= 0).all()
    assert (metrics.auc(curves, seen) <= 1 + 1e-12).all()


@given(arrays(float, (4, 4), elements=RATES))
def test_nbt_equals_its_plain_sum(success: np.ndarray) -> None:
    plain = [sum(success[k, k] - success[tau, k] for tau in range(k + 1, 4)) / max(1, 3 - k) for k in range(4)]
    assert metrics.nbt(success) == pytest.approx(plain)


def test_the_wilson_interval_of_10_in_20() -> None:
    low, high = metrics.wilson(np.array([10]), np.array([20]), 0.95)
    assert low == pytest.approx([0.2993], abs=1e-4)
    assert high == pytest.approx([0.7007], abs=1e-4)


@given(st.integers(0, 30), st.integers(1, 30))
def test_the_wilson_interval_holds_the_rate(n_success: int, n: int) -> None:
    n_success = min(n_success, n)
    low, high = metrics.wilson(np.array([n_success]), np.array([n]), 0.95)
    assert 0 <= low[0] <= n_success / n + 1e-12
    assert n_success / n - 1e-12 <= high[0] <= 1


def test_the_bootstrap_holds_the_mean_and_repeats() -> None:
    values = np.random.default_rng(0).random((3, 5))
    first, second = metrics.bootstrap(values, RULES), metrics.bootstrap(values, RULES)
    assert first == second
    assert first["low"] <= first["mean"] <= first["high"]
    assert first["n_seeds"] == 3


def test_the_bootstrap_of_equal_values_has_no_width() -> None:
    interval = metrics.bootstrap(np.full((2, 3), 0.25), RULES)
    assert (interval["low"], interval["mean"], interval["high"]) == (0.25, 0.25, 0.25)


def test_shares_are_means_over_lifelong_tasks_after_the_first(tmp_path: Path) -> None:
    section = synthetic.params()["study"]
    synthetic.write(tmp_path, section)
    study = Study(**section)
    learned = metrics.read_learned(tmp_path, study)
    of_t2s = metrics.shares(learned[learned.method == "t2s"], study)
    of_sequential = metrics.shares(learned[learned.method == "sequential"], study)
    assert of_t2s["new_parameter_share"].shape == (2, 2)
    assert of_t2s["new_parameter_share"].mean() == pytest.approx(0.065)
    assert "new_token_share" not in of_sequential
    assert of_sequential["new_parameter_share"].mean() == 1.0


def test_a_difference_is_paired_by_task_and_has_no_width_where_it_is_the_same_on_each(tmp_path: Path) -> None:
    section = synthetic.params()["study"] | {"suites": ["blocks_object", "blocks_goal"]}
    synthetic.write(tmp_path, section)
    study = Study(**section)
    frame = results.episodes(tmp_path, study)
    frame["success"] = (frame.method == "t2s") | (frame.kind == "kept")  # never on the curves of the other
    learned = metrics.read_learned(tmp_path, study)
    found = metrics.summarise(frame, learned, study, RULES)["mean"]
    assert "difference" not in found["t2s"]
    difference = found["sequential"]["difference"]
    assert difference["fwt"] == {"mean": 1.0, "low": 1.0, "high": 1.0, "n_seeds": 2}
    assert difference["fwt_final"] == {"mean": 0.0, "low": 0.0, "high": 0.0, "n_seeds": 2}
    of_last = (1, 1 / 2, 1 / 3)  # of AUC, the share of FWT in it, from the last task on
    assert difference["auc"]["mean"] == pytest.approx(sum(of_last) / 3)


def test_an_episode_that_is_missing_is_an_error_and_not_a_zero(tmp_path: Path) -> None:
    section = synthetic.params()["study"]
    synthetic.write(tmp_path, section)
    study = Study(**section)
    frame = results.episodes(tmp_path, study)
    with pytest.raises(ValueError, match="expected episodes of every seed and task"):
        metrics.success_matrix(frame[(frame.stage != 2) | (frame.task != 2) | (frame.seed != 1)], study)
    with pytest.raises(ValueError, match="expected episodes of every seed, task and epoch"):
        metrics.learning_curves(frame[(frame.epoch != 10) | (frame.task != 1)], study)


def test_two_protocols_in_one_suite_are_refused() -> None:
    rows = [synthetic.record(), synthetic.record(protocol="libero", init_index=1)]
    with pytest.raises(ValueError, match="expected one protocol in blocks_object"):
        metrics.check_protocol(pd.DataFrame(rows))


def test_a_missing_or_short_learn_json_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no '.*learn.json'; run `snakemake`"):
        metrics.read_learned(tmp_path, ONE_TASK)
    files.write_json(tmp_path / "runs/blocks_object/t2s/seed0/task0/learn.json", {"task": 0})
    with pytest.raises(ValueError, match=r"expected fields \['active'"):
        metrics.read_learned(tmp_path, ONE_TASK)


def test_demonstrations_of_two_sources_in_one_study_are_refused(tmp_path: Path) -> None:
    study = synthetic.params()["study"]
    synthetic.write(tmp_path, study)
    path = tmp_path / "runs/blocks_object/t2s/seed1/task0/learn.json"
    path.write_text(path.read_text().replace('"scripted"', '"human"'))
    with pytest.raises(ValueError, match=r"expected demonstrations of one source, got \['human', 'scripted'\]"):
        metrics.read_learned(tmp_path, Study(**study))


def test_the_command_writes_the_same_bytes_twice(tmp_path: Path) -> None:
    sections = synthetic.params()
    synthetic.write(tmp_path, sections["study"])

    def run() -> list[bytes]:
        command = [sys.executable, "-m", "t2s", "metrics", "--params", params_file(sections)]
        subprocess.run([*command, "--results", str(tmp_path)], check=True)
        names = ("metrics.json", "headline.json", "success.csv", "tasks.csv")
        return [(tmp_path / name).read_bytes() for name in names]

    assert run() == run()
    summary = json.loads((tmp_path / "metrics.json").read_text())
    of_t2s, of_sequential = (summary["blocks_object"][m] for m in ("t2s", "sequential"))
    assert of_t2s["nbt"]["mean"] < 0.2 < of_sequential["nbt"]["mean"]
    tasks = pd.read_csv(tmp_path / "tasks.csv")
    assert tasks.chosen_epoch.tolist() == [20] * len(tasks)
