"""The statistics of a comparison, and what it says of runs and kept studies."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import synthetic
import yaml
from hypothesis import example, given
from hypothesis import strategies as st
from params_file import params_file
from scipy import stats

from t2s import cli, params
from t2s.data import records, results
from t2s.params import Study
from t2s.report import compare
from t2s.statistics import comparisons

ROOT = Path(__file__).parents[1]
SECTIONS = params.merge(params.read(str(ROOT / "params.yaml")), synthetic.params())
STUDY = Study(**SECTIONS["study"])
MARGIN, ALPHA = 0.1, 0.05
PAIRS = st.lists(st.tuples(*[st.integers(0, 30)] * 4).filter(any), min_size=1, max_size=4)
TABLES = st.lists(st.tuples(*[st.integers(1, 30)] * 2, *[st.floats(0, 1)] * 2), min_size=1, max_size=4)


def paired(*tables: tuple[int, ...], n_equal: int = 0) -> pd.DataFrame:
    """Cells of pairs, from the numbers that succeeded in both, only in A, only in B, in neither."""
    both, only_a, only_b, neither = np.array(tables).T
    n = both + only_a + only_b + neither
    sides = {"n_a": n, "wins_a": both + only_a, "n_b": n, "wins_b": both + only_b, "n_pairs": n}
    return pd.DataFrame(sides | {"both": both, "only_a": only_a, "only_b": only_b, "n_equal": n_equal})


def unpaired(*tables: tuple[int, ...]) -> pd.DataFrame:
    """Cells without pairs, from successes and episodes in A and B."""
    cells = pd.DataFrame(np.array(tables), columns=["wins_a", "n_a", "wins_b", "n_b"])
    return cells.assign(n_pairs=0, both=0, only_a=0, only_b=0, n_equal=0)


def turned(cells: pd.DataFrame) -> pd.DataFrame:
    """The cells with A and B swapped."""
    other = {"a": "b", "b": "a"}
    return cells.rename(columns=lambda name: name[:-1] + other[name[-1]] if name[-2] == "_" else name)


def said(cells: pd.DataFrame) -> str:
    """The verdict, without the search for what is detectable."""
    whole = compare.of_pairs if cells.n_pairs.any() else compare.of_counts
    found = whole(cells, 1 - 2 * ALPHA)
    return compare.verdict(found | {"difference": found["rate_a"] - found["rate_b"]}, MARGIN, ALPHA)


# Statistics


@pytest.mark.parametrize(("only_a", "only_b", "p"), [(9, 2, 0.0654296875), (1, 8, 0.0390625), (0, 0, 1.0), (3, 3, 1.0)])
def test_mcnemar_is_that_of_statsmodels(only_a: int, only_b: int, p: float) -> None:
    assert comparisons.mcnemar(only_a, only_b) == pytest.approx(p)


@given(st.integers(0, 60), st.integers(0, 60))
def test_mcnemar_is_a_binomial_test(only_a: int, only_b: int) -> None:
    expected = stats.binomtest(only_a, only_a + only_b).pvalue if only_a + only_b else 1.0
    assert comparisons.mcnemar(only_a, only_b) == pytest.approx(expected)


def test_the_stratified_test_of_rabbits_is_that_of_r() -> None:
    """Agresti 1990, page 231: cured, with penicillin at once or later, in five doses; R gives 0.040."""
    rabbits = np.array([[0, 6, 0, 5], [3, 6, 0, 6], [6, 6, 2, 6], [5, 6, 6, 6], [2, 2, 5, 5]])
    assert comparisons.stratified(rabbits) == pytest.approx(0.03994, abs=1e-5)


@given(TABLES)
def test_the_stratified_test_of_one_cell_is_fishers(drawn: list[tuple[int, int, float, float]]) -> None:
    n_a, n_b, share_a, share_b = drawn[0]
    wins_a, wins_b = int(share_a * n_a), int(share_b * n_b)
    expected = stats.fisher_exact([[wins_a, n_a - wins_a], [wins_b, n_b - wins_b]]).pvalue
    assert comparisons.stratified(np.array([[wins_a, n_a, wins_b, n_b]])) == pytest.approx(expected, abs=1e-9)


def test_the_stratified_test_does_not_mix_tasks() -> None:
    """Simpson: 36/40 against 18/20 and 2/20 against 4/40, equal task by task, differ if they are added up."""
    apart = np.array([[36, 40, 18, 20], [2, 20, 4, 40]])
    assert comparisons.stratified(apart) == pytest.approx(1)
    assert comparisons.stratified(apart.sum(0, keepdims=True)) < 0.05
    assert compare.outcome(unpaired(*map(tuple, apart.tolist())), MARGIN, ALPHA)["difference"] == pytest.approx(0)


def test_newcombes_intervals_are_the_published_ones() -> None:
    """Newcombe 1998: 873, example a, as statsmodels; 2635, table 36 12 2 0; Altman 2000, table 6.2."""
    assert comparisons.newcombe(56 / 70, 48 / 80, 70, 80, 0.95) == pytest.approx((0.0524, 0.3339), abs=5e-5)
    for both, only_a, only_b, neither, low, high in ((36, 12, 2, 0, 0.0569, 0.3404), (14, 5, 0, 22, 0.0115, 0.2265)):
        n = both + only_a + only_b + neither
        phi = comparisons.correlation(both, only_a, only_b, n)
        rates = (both + only_a) / n, (both + only_b) / n
        assert comparisons.newcombe(*rates, n, n, 0.95, phi) == pytest.approx((low, high), abs=5e-5)


def test_the_correlation_by_hand() -> None:
    assert comparisons.correlation(5, 0, 0, 10) == pytest.approx((5 * 5 - 5) / 25)
    assert comparisons.correlation(0, 5, 5, 10) == -1.0
    assert comparisons.correlation(3, 2, 2, 10) == 0.0  # 3 * 3 - 2 * 2 = 5, less than the correction
    assert comparisons.correlation(10, 0, 0, 10) == 0.0


# Verdicts


@given(PAIRS)
def test_swapping_a_and_b_of_pairs_turns_the_verdict(tables: list[tuple[int, ...]]) -> None:
    check_turned(paired(*tables))


@given(TABLES)
@example([(19, 6, 0.0, 0.375)])  # p is 0.05
def test_swapping_a_and_b_without_pairs_turns_the_verdict(drawn: list[tuple[int, int, float, float]]) -> None:
    check_turned(unpaired(*((int(x * n_a), n_a, int(y * n_b), n_b) for n_a, n_b, x, y in drawn)))


def check_turned(cells: pd.DataFrame) -> None:
    """Swapping negates the difference and its interval, keeps p, and makes better worse."""
    there, back = (compare.outcome(part, MARGIN, ALPHA) for part in (cells, turned(cells)))
    assert [-there[name] for name in ("difference", "low", "high")] == pytest.approx(
        [back[name] for name in ("difference", "high", "low")], abs=1e-5
    )
    assert there["p"] == pytest.approx(back["p"], abs=1e-6)
    opposite = {"better": "worse", "worse": "better"}
    assert back["verdict"] == opposite.get(there["verdict"], there["verdict"])
    assert -1 <= there["low"] <= there["difference"] <= there["high"] <= 1


@given(st.integers(1, 50), st.integers(0, 50))
def test_pairs_that_are_equal_step_for_step_are_the_same(n: int, wins: int) -> None:
    cells = paired((min(n, wins), 0, 0, n - min(n, wins)), n_equal=n)
    found = compare.outcome(cells, 0.001, ALPHA)
    assert (found["verdict"], found["difference"], found["p"]) == ("same", 0, 1)


def test_few_pairs_of_equal_success_are_too_few_if_the_policies_act_differently() -> None:
    assert compare.outcome(paired((3, 0, 0, 0)), MARGIN, ALPHA)["verdict"] == "too few"
    assert compare.outcome(paired((57, 0, 0, 3)), MARGIN, ALPHA)["verdict"] == "same"


def test_a_difference_within_the_margin_is_the_same_however_sure() -> None:
    cells = paired((2800, 0, 100, 100))
    assert compare.outcome(cells, 0.1, ALPHA)["verdict"] == "same"
    assert compare.outcome(cells, 0.01, ALPHA)["verdict"] == "worse"
    assert compare.outcome(cells, 0.01, ALPHA)["detectable"] is None


@pytest.mark.parametrize("rates", [(0.5, 0.5), (0.95, 0.8), (0.99, 0.2)], ids=str)
def test_equal_policies_are_worse_at_most_as_often_as_alpha(rates: tuple[float, ...]) -> None:
    for draw in (draw_pairs, draw_counts):
        rng = np.random.default_rng(0)
        words = [said(draw(rates, rates, 20, rng)) for _ in range(300)]
        assert words.count("worse") / 300 <= ALPHA
        assert words.count("better") / 300 <= ALPHA


@pytest.mark.parametrize("rate", [0.5, 0.9])
def test_policies_that_differ_by_the_margin_are_rarely_the_same(rate: float) -> None:
    for draw in (draw_pairs, draw_counts):
        rng = np.random.default_rng(1)
        words = [said(draw([rate - MARGIN] * 3, [rate] * 3, 100, rng)) for _ in range(400)]
        assert words.count("same") / 400 <= 0.08  # 0.05 and the error of 400


def draw_pairs(rates_a: Any, rates_b: Any, n: int, rng: np.random.Generator) -> pd.DataFrame:
    """A cell for every rate: initial states are as hard for A as for B in half of the pairs."""
    tables = []
    for rate_a, rate_b in zip(rates_a, rates_b, strict=True):
        hard = rng.random((2, n))
        hard[1] = np.where(rng.random(n) < 0.5, hard[0], hard[1])
        a, b = hard[0] < rate_a, hard[1] < rate_b
        tables.append(tuple(int(part.sum()) for part in (a & b, a & ~b, ~a & b, ~a & ~b)))
    return paired(*tables)


def draw_counts(rates_a: Any, rates_b: Any, n: int, rng: np.random.Generator) -> pd.DataFrame:
    """A cell for every rate."""
    return unpaired(
        *((rng.binomial(n, a), n, rng.binomial(n, b), n) for a, b in zip(rates_a, rates_b, strict=True)),
    )


# Power


@pytest.mark.parametrize(("n", "only_a", "only_b"), [(20, 2, 2), (60, 3, 0), (200, 20, 15)])
def test_the_detectable_difference_of_pairs_is_detected_in_four_of_five_simulations(
    n: int, only_a: int, only_b: int
) -> None:
    found = {"paired": True, "n_a": n, "n_b": n, "only_a": only_a, "only_b": only_b, "rate_b": 0.9}
    difference = compare.detectable(found, ALPHA)
    assert difference is not None
    share = max((only_a + only_b) / n, difference)
    drawn = np.random.default_rng(0).multinomial(
        n, [(share - difference) / 2, (share + difference) / 2, 1 - share], 4000
    )
    detected = [comparisons.mcnemar(a, b) < ALPHA and a < b for a, b in drawn[:, :2].tolist()]
    assert np.mean(detected) == pytest.approx(compare.POWER, abs=0.02)


@pytest.mark.parametrize(("n", "n_cells", "rate"), [(20, 1, 0.5), (20, 3, 0.9), (20, 10, 0.95), (50, 2, 0.1)])
def test_the_detectable_difference_without_pairs_is_detected_in_four_of_five_simulations(
    n: int, n_cells: int, rate: float
) -> None:
    whole = n * n_cells
    difference = compare.detectable({"paired": False, "n_a": whole, "n_b": whole, "rate_b": rate}, ALPHA)
    assert difference is not None
    rate_a, rng = rate + (difference if rate < 0.5 else -difference), np.random.default_rng(0)
    rows = [draw_counts([rate_a] * n_cells, [rate] * n_cells, n, rng) for _ in range(400)]
    detected = [comparisons.stratified(row[["wins_a", "n_a", "wins_b", "n_b"]].to_numpy(int)) < ALPHA for row in rows]
    assert np.mean(detected) == pytest.approx(compare.POWER, abs=0.07)  # the formula is approximate


def test_five_pairs_can_show_nothing_and_six_only_certainty() -> None:
    found: dict[str, Any] = {"paired": True, "only_a": 0, "only_b": 0, "rate_b": 1.0}
    assert compare.detectable(found | {"n_a": 5, "n_b": 5}, ALPHA) is None
    assert compare.detectable(found | {"n_a": 6, "n_b": 6}, ALPHA) == pytest.approx(0.8 ** (1 / 6), abs=0.001)
    assert compare.detectable({"paired": False, "n_a": 2, "n_b": 2, "rate_b": 0.5}, ALPHA) is None


# Runs and studies


def run(folder: Path, sections: dict[str, Any] = SECTIONS, provenance: dict[str, Any] | None = None) -> Path:
    """Write a run of the study in `sections`, with a provenance.json unless it is {}."""
    synthetic.write(folder, sections["study"])
    if provenance != {}:
        (folder / "provenance.json").write_text(json.dumps({"params": sections} | (provenance or {})))
    return folder


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run; no test changes it."""
    return run(tmp_path_factory.mktemp("first") / "results")


def change(folder: Path, **where: Any) -> None:
    """Let all kept episodes of these fields fail."""
    for path in folder.rglob("stage*.jsonl"):
        rows = records.read([path]).to_dict("records")
        failed = [row | {"success": row["success"] and any(row[k] != v for k, v in where.items())} for row in rows]
        records.write(path, [{str(key): value for key, value in row.items()} for row in failed])


def compared(
    capsys: pytest.CaptureFixture[str], a: Path | str, b: Path | str, *options: str
) -> tuple[int, list[str], str]:
    """Exit status, lines on stdout, text on stderr."""
    status = cli.main(["compare", str(a), str(b), *options])
    shown = capsys.readouterr()
    return status, shown.out.splitlines(), shown.err


def test_a_run_reproduces_itself_as_a_kept_study(
    first: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results.write(tmp_path / "kept", first, STUDY)
    (tmp_path / "kept/params.yaml").write_text(yaml.safe_dump(SECTIONS))
    status, lines, _ = compared(capsys, first, tmp_path / "kept")
    assert (status, lines[0]) == (0, "reproduced: t2s same, sequential same")
    assert "pairs of episodes: 480, of which 480 are equal step for step" in lines
    assert lines[-2:] == [
        "what differs: nothing that is recorded",
        f"  not known: demonstrations, code, machine, packages; {tmp_path}/kept has no provenance.json",
    ]
    assert max(map(len, lines[2:-1])) <= 100  # but for names of folders


def test_a_method_that_forgets_is_worse_and_the_status_is_1(
    first: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(first, tmp_path / "a")
    change(tmp_path / "a", method="t2s", stage=2, task=0)
    status, lines, _ = compared(capsys, tmp_path / "a", first, "--json", str(tmp_path / "found.json"))
    assert (status, lines[0]) == (1, "not reproduced: t2s worse, sequential same")
    found = json.loads((tmp_path / "found.json").read_text())
    assert [row["verdict"] for row in found["rows"]] == ["same", "worse", "same", "same"]
    end = found["rows"][1]
    assert end["difference"] == pytest.approx(end["rate_a"] - end["rate_b"])
    assert [(task["task"], task["seed"]) for task in end["tasks"] if task["verdict"] == "worse"] == [(0, 0), (0, 1)]
    assert sum(line.startswith("    task 1, seed") for line in lines) == 2
    assert compared(capsys, first, tmp_path / "a")[:2][0] == 0


def test_every_task_is_printed_if_asked(first: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, lines, _ = compared(capsys, first, first, "--tasks")
    assert sum(line.startswith("    task ") for line in lines) == 2 * 2 * 2 * 3


def test_other_initial_states_are_no_pairs(first: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(first, tmp_path / "a")
    for path in (tmp_path / "a").rglob("stage*.jsonl"):
        rows = records.read([path]).assign(init_index=lambda t: t.init_index + 10)
        records.write(path, [{str(key): value for key, value in row.items()} for row in rows.to_dict("records")])
    status, lines, _ = compared(capsys, tmp_path / "a", first, "--json", str(tmp_path / "found.json"))
    rows = json.loads((tmp_path / "found.json").read_text())["rows"]
    assert status == 0
    assert {(row["paired"], row["n_a"], row["n_b"], row["n_pairs"]) for row in rows} == {(False, 120, 120, 60)}
    assert {row["difference"] for row in rows} == {0}
    assert sum("  120, 120  " in line for line in lines) == 4


def test_a_state_that_comes_twice_is_two_pairs(first: Path) -> None:
    rows = results.episodes(first, STUDY).assign(init_index=0)
    kept = compare.kept(rows, 3)
    assert set(compare.count(kept, kept).n_pairs) == {20}


def test_studies_of_different_length_are_compared_after_the_last_common_task(
    first: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    longer = params.merge(SECTIONS, {"study": {"n_tasks": 4, "seeds": [1, 2], "methods": ["t2s", "er"]}})
    run(tmp_path / "b", longer)
    status, lines, _ = compared(capsys, first, tmp_path / "b", "--json", str(tmp_path / "found.json"))
    found = json.loads((tmp_path / "found.json").read_text())
    assert found["compared"] | {"n_pairs": 0, "n_equal": 0} == {
        "suites": ["blocks_object"], "seeds": [1], "n_tasks": 3, "n_pairs": 0, "n_equal": 0
    }  # fmt: skip
    assert "only in B: methods er; seeds 2; tasks 4 to 4" in lines
    assert {row["n_a"] for row in found["rows"]} == {60}
    assert status == int("worse" in lines[0])


def test_tasks_in_another_order_are_compared_up_to_the_first_that_differs() -> None:
    one, two = (STUDY.model_copy(update={"order": order}) for order in ([3, 1, 2], [3, 2, 1]))
    assert compare.common_tasks(one, two) == 1
    assert compare.common_tasks(one, STUDY) == 0
    assert compare.common_tasks(one, one) == 3


def test_what_differs_is_listed(first: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    demos = {f"blocks_object/task{k}": {"sha256": str(k) * 64} for k in (0, 1, 7)}
    origin: dict[str, Any] = {
        "code": {"commit": "a" * 40, "sha256": "b" * 64, "changed": []},
        "machine": {"cpu": "one"},
        "packages": {f"p{n}": "1" for n in range(6)},
        "data": {"demos": demos},
    }
    changed: dict[str, Any] = params.merge(
        origin,
        {
            "code": {"commit": "c" * 40},
            "machine": {"cpu": "two", "openblas": "Haswell"},
            "packages": {f"p{n}": "2" for n in range(6)},
            "data": {"demos": {"blocks_object/task1": {"sha256": "f" * 64}, "blocks_object/task7": {"sha256": ""}}},
        },
    )
    other = params.merge(SECTIONS, {"learn": {"lr": 1.0}, "film": {"fps": 1}, "methods": {"er": {"n_replayed": 1}}})
    a, b = run(tmp_path / "a", SECTIONS, origin), run(tmp_path / "b", other, changed)
    path = b / "episodes/blocks_object/t2s/seed0/stage0_task0.jsonl"
    path.write_text(path.read_text().replace("3.3.2", "3.4.0"))
    _, lines, _ = compared(capsys, a, b)
    assert lines[lines.index("what differs, A and B:") + 1 :] == [
        f"  params         learn.lr: {SECTIONS['learn']['lr']} | 1.0",
        "  versions       mujoco: 3.3.2 | 3.3.2 and 3.4.0",
        f"  demonstrations blocks_object/task1: {'1' * 12} | {'f' * 12}",
        f"  code           commit: {'a' * 12} | {'c' * 12}",
        "  machine        cpu: one | two",
        "  machine        openblas: none | Haswell",
        *(f"  packages       p{n}: 1 | 2" for n in range(4)),
        "  packages       and 2 more",
    ]


def test_a_run_without_provenance_needs_its_params(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = run(tmp_path / "a", provenance={})
    status, _, error = compared(capsys, folder, folder)
    assert status == 1
    assert error == (
        f"error: {folder}: expected params.yaml (a study) or provenance.json (a finished run); or use --params\n"
    )
    assert compared(capsys, folder, folder, "--params", params_file(SECTIONS))[0] == 0


@pytest.mark.parametrize(
    ("other", "options", "line"),
    [
        ({}, ["--alpha", "0.5"], "error: expected --alpha between 0 and 0.5, got 0.5"),
        ({}, ["--margin", "10"], "error: expected --margin between 0 and 1, got 10.0"),
        ({"study": {"seeds": [7]}}, [], "error: expected a suite, method, seed and task in both; "),
        ({"study": {"order": [3, 1, 0]}}, [], "error: expected a suite, method, seed and task in both; "),
        ({"study": {"seeds": "x"}}, [], "error: {b}: expected params with a section study, got "),
    ],
    ids=lambda value: str(value),
)
def test_what_cannot_be_compared_is_one_line(
    other: dict[str, Any],
    options: list[str],
    line: str,
    first: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    sections = params.merge(SECTIONS, other)
    shutil.copytree(first, tmp_path / "b")
    if other.get("study", {}).get("seeds") == [7]:
        shutil.rmtree(tmp_path / "b")
        synthetic.write(tmp_path / "b", sections["study"])
    (tmp_path / "b/provenance.json").write_text(json.dumps({"params": sections}))
    status, _, error = compared(capsys, first, tmp_path / "b", *options)
    assert status == 1
    assert error.startswith(line.format(b=tmp_path / "b"))
    assert error.count("\n") == 1


def test_an_unknown_folder_is_one_line_with_the_studies_there_are(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(ROOT)
    status, _, error = compared(capsys, "quick", "nope")
    assert status == 1
    assert error.startswith("error: no folder 'nope'; have the studies ['blocks', ")
    assert error.count("\n") == 1


def test_t2s_rolled_out_anew_is_the_same(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(ROOT)
    status, lines, _ = compared(capsys, "studies/blocks-anew", "blocks")
    assert (status, lines[0]) == (0, "reproduced: t2s same")
    assert "pairs of episodes: 400, of which 400 are equal step for step" in lines


def test_a_shorter_study_with_other_epochs_is_no_reproduction(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(ROOT)
    status, lines, _ = compared(capsys, "quick", "blocks")
    assert (status, lines[0]) == (1, "not reproduced: t2s worse, sequential too few")
    assert "  params         learn.n_epochs: 24 | 30" in lines
