"""Properties of the metrics and their intervals."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import synthetic
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from params_file import params_file

from t2s import params
from t2s.data import files, results
from t2s.params import Metrics, Study
from t2s.report import metrics
from t2s.statistics import captions, cells, definitions, intervals, shares

RULES = Metrics(confidence=0.95, n_bootstrap=200, seed=0)
RATES = st.floats(0, 1)
NOTEBOOK = Path(__file__).with_name("libero_notebook.json")
ONE_TASK = Study(suites=["blocks_object"], n_tasks=1, methods=["t2s"], seeds=[0])


def lower(rows: list[list[float]]) -> np.ndarray:
    """A success matrix from its lower triangle."""
    n = len(rows)
    return np.array([row + [0.0] * (n - len(row)) for row in rows])


def test_a_perfect_learner_has_nbt_0_and_fwt_and_auc_1() -> None:
    curves, success = np.ones((3, 5)), np.tril(np.ones((3, 3)))
    assert definitions.fwt(curves).tolist() == [1, 1, 1]
    assert definitions.nbt(success).tolist() == [0, 0, 0]
    assert definitions.auc(definitions.fwt(curves), success).tolist() == [1, 1, 1]


def test_forgetting_everything_costs_what_was_learned_in_all_but_the_last_task() -> None:
    success = np.eye(4) * 0.8
    assert definitions.nbt(success) == pytest.approx([0.8, 0.8, 0.8, 0])
    assert definitions.nbt(success).mean() == pytest.approx(0.6)  # LIBERO divides by K


def test_a_case_by_hand() -> None:
    curves = np.array([[0.0, 0.6, 0.4], [0.2, 0.5, 1.0]])
    success = lower([[0.5], [0.3, 0.9]])
    assert definitions.fwt(curves) == pytest.approx([(0 + 0.6 + 0.6) / 3, (0.2 + 0.5 + 1.0) / 3])
    assert definitions.nbt(success) == pytest.approx([0.5 - 0.3, 0])
    assert definitions.auc(definitions.fwt(curves), success) == pytest.approx([(0.4 + 0.3) / 2, 1.7 / 3])


def test_three_tasks_by_hand() -> None:
    success = lower([[1.0], [0.5, 0.8], [0.25, 0.6, 0.7]])
    assert definitions.nbt(success) == pytest.approx([(0.5 + 0.75) / 2, 0.2, 0])


def test_a_curve_is_held_at_its_earliest_peak() -> None:
    curve = np.array([0.1, 0.7, 0.3, 0.7, 0.2])
    assert definitions.held(curve).tolist() == [0.1, 0.7, 0.7, 0.7, 0.7]


def test_the_score_of_one_task_has_no_forgetting_and_no_k_minus_1() -> None:
    values = definitions.scores(np.full((1, 1, 2), 0.5), np.full((1, 1, 1), 0.5))
    assert values["nbt"].tolist() == [[0.0]]
    assert not {"nbt_k_minus_1", "nbt_relative"} & set(values)


def test_the_variants_of_nbt_differ_by_their_divisor() -> None:
    success = np.eye(4)[None] * 0.8
    values = definitions.scores(np.zeros((1, 4, 2)), success)
    assert values["nbt"].mean() == pytest.approx(0.6)
    assert values["nbt_k_minus_1"].mean() == pytest.approx(0.8)
    assert values["nbt_relative"].mean() == pytest.approx(1.0)  # all of what was learned


def test_the_variants_of_fwt_and_auc_differ_by_their_first_term() -> None:
    curves, success = np.array([[[0.2, 0.6, 0.4]]]), np.array([[[0.7]]])
    values = {name: found.item() for name, found in definitions.scores(curves, success).items()}
    assert values["fwt"] == pytest.approx((0.2 + 0.6 + 0.6) / 3)
    assert values["fwt_trained"] == pytest.approx(0.6)
    assert values["fwt_last"] == pytest.approx(0.4)
    assert values["auc"] == values["fwt"]
    assert values["auc_final"] == pytest.approx(0.7)


def test_nothing_learned_is_nothing_forgotten() -> None:
    values = definitions.scores(np.zeros((1, 2, 2)), lower([[0.0], [0.5, 0.5]])[None])
    assert values["nbt_relative"].tolist() == [[0.0]]


@given(arrays(float, (1, 3, 4), elements=RATES), arrays(float, (1, 3, 3), elements=RATES), st.booleans())
def test_no_metric_leaves_its_reach(curves: np.ndarray, success: np.ndarray, untrained: bool) -> None:
    curves[..., 0] *= untrained
    reach = definitions.reach(1, 3, 4, untrained)
    for name, values in definitions.scores(curves, np.tril(success)).items():
        assert reach[name][0] - 1e-9 <= values.mean() <= reach[name][1] + 1e-9, name


def test_fwt_final_is_the_second_evaluation_and_fwt_best_the_choice() -> None:
    values = definitions.scores(np.array([[[0.0, 0.9]]]), np.array([[[0.6]]]))
    assert values["fwt_final"].mean() == 0.6
    assert values["fwt_best"].mean() == 0.9


@given(arrays(float, (2, 4, 5), elements=RATES))
def test_fwt_lies_between_the_mean_and_the_best_of_the_curve(curves: np.ndarray) -> None:
    fwt = definitions.fwt(curves)
    assert (fwt >= curves.mean(-1) - 1e-12).all()
    assert (fwt <= curves.max(-1) + 1e-12).all()


@given(arrays(float, (2, 4, 5), elements=RATES), arrays(float, (2, 4, 4), elements=RATES))
def test_scores_stay_in_range_and_ignore_what_lies_above_the_diagonal(curves: np.ndarray, success: np.ndarray) -> None:
    seen = np.tril(success)
    assert (definitions.auc(definitions.fwt(curves), seen) == definitions.auc(definitions.fwt(curves), success)).all()
    assert (definitions.nbt(seen) == definitions.nbt(success)).all()
    assert (np.abs(definitions.nbt(seen)) <= 1).all()
    assert (definitions.auc(definitions.fwt(curves), seen) >= 0).all()
    assert (definitions.auc(definitions.fwt(curves), seen) <= 1 + 1e-12).all()


@given(arrays(float, (4, 4), elements=RATES))
def test_nbt_equals_its_plain_sum(success: np.ndarray) -> None:
    plain = [sum(success[k, k] - success[tau, k] for tau in range(k + 1, 4)) / max(1, 3 - k) for k in range(4)]
    assert definitions.nbt(success) == pytest.approx(plain)


def test_the_wilson_interval_of_10_in_20() -> None:
    low, high = intervals.wilson(np.array([0.5]), np.array([20]), 0.95)
    assert low == pytest.approx([0.2993], abs=1e-4)
    assert high == pytest.approx([0.7007], abs=1e-4)


@given(st.integers(0, 30), st.integers(1, 30))
def test_the_wilson_interval_holds_the_rate(n_success: int, n: int) -> None:
    n_success = min(n_success, n)
    low, high = intervals.wilson(np.array([n_success / n]), np.array([n]), 0.95)
    assert 0 <= low[0] <= n_success / n + 1e-12
    assert n_success / n - 1e-12 <= high[0] <= 1


def study_of(tmp_path: Path, **changes: Any) -> tuple[Study, pd.DataFrame, pd.DataFrame]:
    """A synthetic study, its episodes, and what was learned, with shares."""
    sections = synthetic.params()
    section = sections["study"] | changes
    synthetic.write(tmp_path, section)
    study = Study(**section)
    learned = metrics.read_learned(tmp_path, study)
    learned = metrics.with_reuse(shares.add(learned, {"er": 10**6}), params_file(sections))
    return study, results.episodes(tmp_path, study), learned


def test_shares_are_of_the_first_task_of_what_acts_and_of_the_whole(tmp_path: Path) -> None:
    _, _, learned = study_of(tmp_path)
    rows = learned[(learned.method == "t2s") & (learned.seed == 0)].set_index("task")
    new, active = rows.n_tokens_new, {task: json.loads(rows.active[task]) for task in rows.index}
    for task in (1, 2):
        assert rows.new_token_share[task] == pytest.approx(new[task] / new[0])
        acting = new[task] + sum(new[j] for j in active[task])
        assert rows.new_token_share_active[task] == pytest.approx(new[task] / acting)
        assert rows.new_token_share_bank[task] == pytest.approx(new[task] / rows.n_tokens_bank[task])
        assert rows.new_parameter_share[task] == pytest.approx(40_000 / 600_000)
        assert rows.stored_byte_share[task] == pytest.approx(160_000 / 2_400_000)
    of_sequential = learned[learned.method == "sequential"]
    assert of_sequential.new_token_share.isna().all()
    assert (of_sequential.new_parameter_share == 1.0).all()
    assert set(shares.of_tasks(of_sequential, 2)) == {
        "new_parameter_share", "new_parameter_share_total", "stored_byte_share"
    }  # fmt: skip


def test_a_replay_memory_counts_among_the_bytes_that_a_method_stores(tmp_path: Path) -> None:
    _, _, learned = study_of(tmp_path, methods=["er"])
    assert learned.stored_byte_share.tolist() == pytest.approx([(2_400_000 + 10**6) / 2_400_000] * 6)
    env = params.Env(image_size=64)
    kept = shares.memory_bytes(params.ER(learner="er", n_memories=1000, n_replayed=32), env)
    assert kept == 1000 * (2 * 64 * 64 * 3 + 4 * 16)
    assert shares.memory_bytes(params.Sequential(learner="sequential"), env) == 0


def test_what_is_computed_has_no_interval_and_what_is_measured_has_one(tmp_path: Path) -> None:
    study, episodes, learned = study_of(tmp_path)
    found = metrics.summarise(episodes, learned, study, RULES)["blocks_object"]["t2s"]
    assert set(found["new_token_share"]) == {"mean", "n_seeds"}
    for name in definitions.DEFINITIONS:
        assert found[name]["low"] <= found[name]["mean"] <= found[name]["high"], name


def test_the_tasks_that_language_chose_are_told_from_those_that_act_anyway(tmp_path: Path) -> None:
    _, _, learned = study_of(tmp_path)
    for row in learned[learned.method == "t2s"].to_dict("records"):
        cosine = json.loads(row["similarity"])
        near = [int(j) for j in cosine if cosine[j] >= 0.5]
        best = sorted(near, key=lambda j: (-cosine[str(j)], j))[:1]  # reuse_top: 1
        assert json.loads(row["reused"]) == best
    assert set(learned[learned.method == "sequential"].reused) == {"[]"}


def test_a_difference_is_paired_and_has_no_width_where_no_episode_differs(tmp_path: Path) -> None:
    study, frame, learned = study_of(tmp_path, suites=["blocks_object", "blocks_goal"])
    of_t2s = frame[frame.method == "t2s"]
    same = pd.concat([of_t2s, of_t2s.assign(method="sequential")])
    difference = metrics.summarise(same, learned, study, RULES)["mean"]["sequential"]["difference"]
    assert difference["fwt_final"]["mean"] == 0.0
    assert difference["fwt_final"]["low"] > -0.05  # the drawn half episodes alone differ
    frame["success"] = (frame.method == "t2s") | (frame.kind == "kept")  # never on the curves of the other
    found = metrics.summarise(frame, learned, study, RULES)["mean"]
    assert "difference" not in found["t2s"]
    difference = found["sequential"]["difference"]
    assert difference["fwt"]["mean"] == 1.0
    assert difference["fwt_final"]["mean"] == 0.0
    of_last = (1, 1 / 2, 1 / 3)  # the share of FWT in AUC, from the last task on
    assert difference["auc"]["mean"] == pytest.approx(sum(of_last) / 3)


def test_an_episode_that_is_missing_is_an_error_and_not_a_zero(tmp_path: Path) -> None:
    study, frame, _ = study_of(tmp_path)
    with pytest.raises(ValueError, match="got none of method t2s, seed 1, kind kept, stage 2, task 2"):
        cells.of_suite(frame[(frame.stage != 2) | (frame.task != 2) | (frame.seed != 1)], study, RULES)
    lacking = (frame.kind == "curve") & (frame.epoch == 10) & (frame.task == 1) & (frame.method == "t2s")
    with pytest.raises(ValueError, match="got none of method t2s, seed 0, kind curve, stage 1, task 1, epoch 10"):
        cells.of_suite(frame[~lacking], study, RULES)


def test_copies_of_a_record_are_drawn_together(tmp_path: Path) -> None:
    """A policy that acts as before forgets nothing, however few its episodes; another policy may."""
    study, frame, _ = study_of(tmp_path, methods=["t2s"])
    kept = frame.kind == "kept"
    copied = frame.assign(success=frame.success.where(~kept, frame.init_index % 3 > 0), fingerprint="same")
    drawn = cells.of_suite(copied, study, RULES)["t2s"].drawn
    assert np.ptp(definitions.nbt(drawn.success)) == 0
    other = copied.assign(fingerprint=copied.stage.astype(str))
    drawn = cells.of_suite(other, study, RULES)["t2s"].drawn
    assert np.ptp(definitions.nbt(drawn.success)) > 0.1


BLOCKS = params.Evaluate(
    protocol="blocks", reuse_records=True, protocols={"blocks": params.Protocol(**synthetic.BLOCKS)}
)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (
            lambda f: f.drop(f[f.kind == "kept"].index[:8]),
            r"kind kept, stage 0, task 0, epoch -1: expected 20 episodes",
        ),
        (lambda f: f.drop(f[f.kind == "curve"].index[:1]), r"kind curve, .*, epoch 0: expected 20 episodes .*got 19"),
        (lambda f: f.assign(seed=f.seed.where(f.index != f[f.kind == "kept"].index[0], 1)), r"seed 0, .* got 19"),
        (lambda f: spoiled(f, "fingerprint", "beef"), r"expected episodes of one policy, got 2 policies of 1 epochs"),
        (lambda f: spoiled(f, "epoch", 10), r"expected episodes of one policy, got 1 policies of 2 epochs"),
        (
            lambda f: spoiled(f, "protocol", "libero"),
            r"expected one set of protocol in .*, got blocks; libero",
        ),
        (
            lambda f: spoiled(f, "versions", synthetic.VERSIONS | {"mujoco": "3.3.3"}),
            r"expected one set of versions in blocks_object, got .*3\.3\.2.*3\.3\.3",
        ),
    ],
)
def test_cells_that_are_not_whole_or_not_of_one_kind_are_refused(
    tmp_path: Path, spoil: Callable[[pd.DataFrame], pd.DataFrame], message: str
) -> None:
    _, frame, _ = study_of(tmp_path, seeds=[0])
    assert len(metrics.check(frame, BLOCKS)) == len(frame)
    with pytest.raises(ValueError, match=message) as error:
        metrics.check(spoil(frame), BLOCKS)
    assert "\n" not in str(error.value)


def spoiled(frame: pd.DataFrame, column: str, value: Any) -> pd.DataFrame:
    """`frame` with another value in one row of a kept cell."""
    frame = frame.copy()
    frame.at[frame[frame.kind == "kept"].index[0], column] = value
    return frame


def test_episodes_of_two_machines_are_taken_and_the_machines_named(tmp_path: Path) -> None:
    _, frame, learned = study_of(tmp_path, seeds=[0])
    other = synthetic.VERSIONS | {"device": "NVIDIA H100"}
    ran_with = {"t2s": other, "sequential": synthetic.VERSIONS}
    frame = frame.assign(versions=frame.method.map(lambda method: ran_with[method]))
    tasks = metrics.with_kept(learned, metrics.check(frame, BLOCKS))
    assert set(tasks.machine) == {"device cpu, gl osmesa", "device NVIDIA H100, gl osmesa"}
    assert any("different machines" in note for note in captions.made_with(tasks))


def test_a_missing_or_short_learn_json_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no '.*learn.json'; run `snakemake --cores all`"):
        metrics.read_learned(tmp_path, ONE_TASK)
    files.write_json(tmp_path / "runs/blocks_object/t2s/seed0/task0/learn.json", {"task": 0})
    with pytest.raises(ValueError, match="expected 'suite', got none; have"):
        metrics.read_learned(tmp_path, ONE_TASK)


def test_demonstrations_of_two_sources_in_one_study_are_refused(tmp_path: Path) -> None:
    study = synthetic.params()["study"]
    synthetic.write(tmp_path, study)
    path = tmp_path / "runs/blocks_object/t2s/seed1/task0/learn.json"
    path.write_text(path.read_text().replace('"scripted"', '"human"'))
    with pytest.raises(ValueError, match=r"expected demonstrations of one source, got \['human', 'scripted'\]"):
        metrics.read_learned(tmp_path, Study(**study))


def test_the_numbers_that_liberos_notebook_prints() -> None:
    """LIBERO's quick_guide_algo.ipynb (commit 8f1084e): ten curves and the matrix of libero_object, five rollouts."""
    printed = json.loads(NOTEBOOK.read_text())
    curves, success = np.array(printed["curves"]), np.array(printed["S_conf_mat"])
    values = {name: found.mean() for name, found in definitions.scores(curves, success).items()}
    assert definitions.fwt(curves).tolist() == pytest.approx(printed["S_fwd"], abs=5e-9)
    assert [f"{values[name]:.8f}" for name in ("fwt", "nbt", "auc")] == ["0.60333333", "0.54126984", "0.26577513"]


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
