"""Properties of the tables."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import synthetic
from params_file import params_file

from t2s import params
from t2s.report import tables
from t2s.statistics import captions

METHODS = ("t2s", "sequential")


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of results with its metrics and tables."""
    folder = tmp_path_factory.mktemp("results")
    sections = synthetic.params()
    synthetic.write(folder, sections["study"])
    for command in ("metrics", "tables"):
        arguments = ["--params", params_file(sections), "--results", str(folder)]
        subprocess.run([sys.executable, "-m", "t2s", command, *arguments], check=True)
    return folder


def read(results: Path, name: str) -> str:
    return (results / "tables" / name).read_text()


def test_every_table_comes_in_three_forms(results: Path) -> None:
    names = {path.name for path in (results / "tables").iterdir()}
    stems = ("headline", "differences", "metrics", "success", "tasks", "cost", "published")
    assert names == {f"{stem}.{end}" for stem in stems for end in ("md", "tex", "csv")}


def test_the_headline_shows_the_metrics_in_percent(results: Path) -> None:
    summary = json.loads((results / "metrics.json").read_text())["blocks_object"]["t2s"]
    row = next(line for line in read(results, "headline.md").splitlines() if "| t2s " in line)
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells[2].startswith(f"{100 * summary['fwt']['mean']:.1f} (")
    assert cells[4].startswith(f"{100 * summary['nbt']['mean']:.1f} (")


def test_differences_are_those_of_the_first_method_and_the_others(results: Path) -> None:
    of_first, of_second = (json.loads((results / "metrics.json").read_text())["blocks_object"][m] for m in METHODS)
    row = pd.read_csv(results / "tables" / "differences.csv").set_index("Method").loc["sequential"]
    for name in ("fwt", "fwt_trained", "fwt_final", "nbt", "auc", "auc_final"):
        difference = row[f"{name}_mean"]
        assert difference == pytest.approx(of_first[name]["mean"] - of_second[name]["mean"], abs=2e-6)
        assert row[f"{name}_low"] <= difference <= row[f"{name}_high"]
    shown = next(line for line in read(results, "differences.md").splitlines() if "| sequential " in line)
    assert f"| {100 * row.auc_mean:+.1f} (" in shown
    assert f"| {100 * row.nbt_mean:+.1f} (" in shown


def test_the_headline_says_of_a_method_what_its_reader_must_know(results: Path) -> None:
    assert not any(note in read(results, "headline.md") for note in captions.METHODS.values())
    sections = synthetic.params()
    sections["study"]["methods"] = ["t2s", "packnet", "multitask"]
    folder = results.parent / "notes"
    synthetic.write(folder, sections["study"])
    for command in ("metrics", "tables"):
        arguments = ["--params", params_file(sections), "--results", str(folder)]
        subprocess.run([sys.executable, "-m", "t2s", command, *arguments], check=True)
    shown = [method for method, note in captions.METHODS.items() if note in read(folder, "headline.md")]
    assert shown == ["packnet", "multitask"]


def test_the_headline_names_the_assets_of_libero(results: Path) -> None:
    assert "assets" not in read(results, "headline.md")
    sections = synthetic.params(n_tasks=1)
    folder = results.parent / "assets"
    synthetic.write(folder, sections["study"])
    for path in (folder / "episodes").rglob("*.jsonl"):
        look = '"versions": {"assets": "stand-in-12", "render": "fast", '
        path.write_text(path.read_text().replace('"versions": {', look))
    for command in ("metrics", "tables"):
        arguments = ["--params", params_file(sections), "--results", str(folder)]
        subprocess.run([sys.executable, "-m", "t2s", command, *arguments], check=True)
    assert "LIBERO's scene assets: stand-in-12, render fast." in read(folder, "headline.md")


def test_a_method_without_tokens_has_a_dash(results: Path) -> None:
    text = read(results, "headline.md").splitlines()
    row = next(line for line in text if "sequential" in line)
    assert row.split("|")[8].strip() == "–"


def test_the_csv_holds_the_plain_numbers(results: Path) -> None:
    table = pd.read_csv(results / "tables" / "headline.csv")
    summary = json.loads((results / "metrics.json").read_text())["blocks_object"]
    assert table.fwt_mean.tolist() == pytest.approx(
        [summary[method]["fwt"]["mean"] for method in table.Method], abs=1e-6
    )


def test_several_suites_have_a_mean_of_all_their_tasks(tmp_path: Path) -> None:
    sections = synthetic.params()
    sections["study"]["suites"] = ["blocks_object", "blocks_goal"]
    synthetic.write(tmp_path, sections["study"])
    for command in ("metrics", "tables"):
        arguments = ["--params", params_file(sections), "--results", str(tmp_path)]
        subprocess.run([sys.executable, "-m", "t2s", command, *arguments], check=True)
    table = pd.read_csv(tmp_path / "tables" / "headline.csv").set_index(["Suite", "Method"]).fwt_final_mean
    for method in sections["study"]["methods"]:
        both = [table[suite, method] for suite in sections["study"]["suites"]]
        assert table["mean", method] == pytest.approx(sum(both) / 2, abs=1e-5)

    def rows(name: str) -> list[list[str]]:
        return [line.split() for line in read(tmp_path, name).splitlines() if line.startswith("| ")]

    assert rows("mean.md") == [row for row in rows("headline.md") if row[1] in ("Suite", "mean")]
    assert len(rows("mean.md")) == 1 + len(sections["study"]["methods"])


def test_the_cost_of_a_task_is_that_of_all_its_jobs(results: Path) -> None:
    table = pd.read_csv(results / "tables" / "cost.csv")
    first = table[(table.method == "t2s") & (table.seed == 0)].sort_values("task")
    assert first.learn_s.tolist() == [synthetic.LEARN_S] * 3
    n_jobs = [1 + 3, 1 + 2, 1 + 1]  # a curve, and the kept policies of this stage and those after it
    assert first.rollouts_s.tolist() == [n * synthetic.ROLLOUTS_S for n in n_jobs]
    assert "| 0.50 " in read(results, "cost.md")


def test_tokens_at_the_end_are_compared_with_linear_growth(results: Path) -> None:
    tasks = pd.read_csv(results / "tasks.csv")
    first, last = (tasks[(tasks.method == "t2s") & (tasks.task == k)].n_tokens_bank.iloc[0] for k in (0, 2))
    rows = {line.split()[3]: line for line in read(results, "cost.md").splitlines() if line.startswith("| blocks")}
    assert rows["t2s"].split("|")[-2].strip() == f"{last:,.0f} ({last / (3 * first):.0%})"
    assert rows["sequential"].split("|")[-2].strip() == "–"


def test_every_success_cell_has_its_interval(results: Path) -> None:
    table = pd.read_csv(results / "tables" / "success.csv")
    assert len(table) == 2 * 6
    assert ((table.low <= table.success) & (table.success <= table.high)).all()
    assert read(results, "success.md").count(" to ") == len(table)


def test_our_numbers_say_that_they_are_a_reconstruction(results: Path) -> None:
    for name in ("headline.md", "success.md", "tasks.md", "headline.tex"):
        assert "reconstruction" in read(results, name)


def test_where_the_kept_policy_was_rolled_out_is_said_as_the_protocol_has_it(results: Path) -> None:
    assert "chosen on the initial states 0 to 19 and scored on 20 to 39: none of them chose it." in read(
        results, "headline.md"
    )


def test_every_published_number_has_a_source_and_a_definition() -> None:
    rows = tables.read_published()
    assert rows.notna()[["method", "suite", "metric", "value", "definition", "source"]].all().all()
    assert rows.source.str.contains("arXiv").all()
    assert rows.value[rows.metric != "NBT"].between(0, 1).all()


def test_published_numbers_stand_apart(results: Path) -> None:
    text = read(results, "published.md")
    assert "| T2S " in text
    assert "not comparable" in text
    assert "77.7" not in read(results, "headline.md")


def test_percent_shows_an_interval_only_where_there_is_one() -> None:
    assert tables.percent(None) == "–"
    assert tables.percent({"mean": 0.5, "low": 0.5, "high": 0.5}) == tables.percent({"mean": 0.5}) == "50.0"
    assert tables.percent({"mean": 0.5, "low": 0.25, "high": 1.0}) == "50.0 (25.0 to 100.0)"


@pytest.mark.parametrize(
    ("n_rollouts", "offset", "said"),
    [
        (20, 20, "on the initial states 0 to 19 and scored on 20 to 39: none of them chose it."),
        (4, 2, "on the initial states 0 to 3 and scored on 2 to 5: 2 of these chose it, so its score is too high"),
        (30, 20, "on the initial states 0 to 29 and scored on 20 to 49: 10 of these chose it, so"),
        (20, 40, "on the initial states 0 to 19 and scored on 0 to 9, 40 to 49: 10 of these chose it, so"),
        (20, 0, "on the initial states 0 to 19 and scored on 0 to 19: all of them chose it, so its score is too high"),
    ],
)
def test_which_states_chose_and_scored_is_derived_and_said(n_rollouts: int, offset: int, said: str) -> None:
    protocol = params.Protocol(**synthetic.BLOCKS | {"n_rollouts": n_rollouts, "kept_offset": offset})
    evaluate = params.Evaluate(protocol="p", reuse_records=True, protocols={"p": protocol})
    assert said in captions.states(evaluate)


@pytest.mark.parametrize(("n_points", "ceiling"), [(3, "66.7 %"), (6, "83.3 %"), (11, "90.9 %")])
def test_the_ceiling_of_fwt_stands_under_every_table_that_has_it(results: Path, n_points: int, ceiling: str) -> None:
    assert ceiling in captions.ceiling(n_points)
    for name in ("headline", "differences", "metrics"):
        assert captions.ceiling(len(synthetic.EPOCHS)) in read(results, f"{name}.md")


def test_tokens_that_were_never_trained_are_counted(results: Path) -> None:
    assert "kept at epoch 0" not in read(results, "headline.md")
    tasks = pd.read_csv(results / "tasks.csv")
    tasks.loc[tasks.task == 2, "chosen_epoch"] = 0
    of_t2s, of_sequential = captions.untrained(tasks)
    assert of_t2s.startswith("t2s: 2 of 4 later tasks were kept at epoch 0: the tokens that they added were never")
    assert of_sequential == "sequential: 2 of 4 later tasks were kept at epoch 0."


@pytest.mark.parametrize(
    ("seeds", "said"),
    [([0], "one seed: they say nothing about another"), ([0, 1], "about a third"), ([0, 1, 2], "from 3; the tasks")],
)
def test_intervals_say_what_is_in_them(seeds: list[int], said: str) -> None:
    study = params.Study(**synthetic.params()["study"] | {"seeds": seeds})
    assert said in captions.intervals(study, 0.95)


def test_the_table_of_metrics_defines_them_and_names_who_uses_them(results: Path) -> None:
    table = pd.read_csv(results / "tables" / "metrics.csv").set_index("Metric")
    assert table.Definition.notna().all()
    assert "CLARE" in table["Used by"]["AUC, final"]
    summary = json.loads((results / "metrics.json").read_text())["blocks_object"]
    assert table.t2s["New tokens"] == f"{100 * summary['t2s']['new_token_share']['mean']:.1f}"
    assert table.sequential["New tokens"] == "–"


def test_published_numbers_are_those_of_the_suites_of_the_study() -> None:
    rows = tables.read_published()
    assert set(tables.published(rows, ["blocks_object"]).Method) == {"T2S"}
    of_goal = tables.published(rows, ["blocks_object", "libero_goal"])
    assert set(of_goal[of_goal.Method != "T2S"].Suite) == {"LIBERO-Goal"}
    order = list(dict.fromkeys(rows[rows.suite == "LIBERO-Goal"].method))
    assert list(dict.fromkeys(of_goal.Method[of_goal.Method != "T2S"])) == order


def test_a_share_that_is_missing_is_a_dash() -> None:
    frame = pd.DataFrame(
        [dict.fromkeys(("task", "seed", "chosen_epoch"), 0) | {
            "suite": "s", "method": "m", "instruction": "i", "n_tokens_new": math.nan,
            "n_tokens_bank": math.nan, "new_token_share": math.nan, "new_parameter_share": 1.0,
            "active": "[0]", "reused": "[]", "similarity": "{}",
        }]
    )  # fmt: skip
    row = tables.per_task(frame).iloc[0]
    assert row[["New tokens", "Bank", "Token share", "Parameter share"]].tolist() == [
        "–",
        "–",
        "–",
        "100.0",
    ]
    assert row["Reused tasks (similarity)"] == "–"


def test_latex_needs_no_escaping_by_hand(results: Path) -> None:
    text = tables.latex("Published", tables.published(tables.read_published(), ["libero_goal"]), [])
    assert r"$\pm$" in text
    assert "±" not in text
    assert r"blocks\_object" in read(results, "headline.tex")
