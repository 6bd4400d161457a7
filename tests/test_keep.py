"""Keeping a run as a study, and what is refused."""

from __future__ import annotations

import json
import lzma
from pathlib import Path

import pandas as pd
import pytest
import synthetic
from params_file import params_file

from t2s import cli, params
from t2s.data import results
from t2s.params import Study
from t2s.support import keep
from t2s.workflow.plan import Plan

SECTIONS = params.merge(params.read(str(Path(__file__).parents[1] / "params.yaml")), synthetic.params(n_tasks=2))
STUDY = Study(**SECTIONS["study"])


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The results of a finished run, in a working folder with studies/."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "studies").mkdir()
    folder = tmp_path / "results"
    synthetic.write(folder, SECTIONS["study"])
    cli.run(["metrics", "--params", params_file(SECTIONS)])
    plan = Plan(SECTIONS)
    for path in [*plan.tables(), *plan.figures()]:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_text(path, encoding="utf-8")
    (folder / "provenance.json").write_text(json.dumps({"params": plan.producing()}))
    return folder


def kept(*options: str) -> list[str]:
    """The files of the study after keeping the run as `mine`."""
    cli.run(["keep", "mine", "--params", params_file(SECTIONS), *options])
    return sorted(path.name for path in Path("studies/mine").iterdir())


def test_a_kept_study_has_few_files_and_no_other_format(run: Path) -> None:
    assert kept() == sorted(
        [
            *("params.yaml", "provenance.json", "metrics.json", "headline.json", "figures", "tables"),
            *(results.EPISODES, results.LEARNED, results.LOSSES, results.COSTS),
        ]
    )
    assert {path.suffix for path in Path("studies/mine/tables").iterdir()} == {".md"}
    assert params.read("studies/mine/params.yaml") == SECTIONS
    assert sorted(path.name for path in Path("studies").iterdir()) == ["mine"]


def test_both_forms_of_the_records_read_the_same(run: Path) -> None:
    kept()
    study = Path("studies/mine")
    for read in (results.episodes, results.losses, results.costs):
        pd.testing.assert_frame_equal(read(study, STUDY), read(run, STUDY))
    assert results.learned(study, STUDY) == results.learned(run, STUDY)
    assert len(results.episodes(study, STUDY)) == 2 * 2 * (2 * 3 + 3) * 20


def test_the_same_run_is_kept_as_the_same_bytes(run: Path, tmp_path: Path) -> None:
    for name in ("first", "second"):
        results.write(tmp_path / name, run, STUDY)
    for path in (tmp_path / "first").iterdir():
        assert path.read_bytes() == (tmp_path / "second" / path.name).read_bytes()


@pytest.mark.parametrize(
    "lost",
    [
        "episodes/blocks_object/t2s/seed1/stage1_task0.jsonl",
        "runs/blocks_object/sequential/seed0/task1/learn.json",
        "benchmarks/learn/blocks_object/t2s/seed0/task0.tsv",
        "tables/cost.md",
        "figures/blocks_object/scores.png",
        "headline.json",
    ],
)
def test_a_run_that_is_not_whole_is_refused_and_nothing_is_written(run: Path, lost: str) -> None:
    (run / lost).unlink()
    with pytest.raises(ValueError, match=rf"1 files are missing, the first is results/{lost}; run `snakemake"):
        kept()
    assert list(Path("studies").iterdir()) == []


def test_metrics_that_the_records_do_not_give_are_refused(run: Path) -> None:
    path = run / "metrics.json"
    path.write_text(path.read_text().replace("0.", "0.1", 1))
    with pytest.raises(ValueError, match=r"metrics.json: expected the values that the records give"):
        kept()
    assert list(Path("studies").iterdir()) == []


def test_other_params_than_the_runs_are_refused_by_name(run: Path) -> None:
    other = params_file({"learn": {"lr": 0.5}})
    with pytest.raises(ValueError, match=r"got others: learn\.lr is 0\.5, the run had 0\.002"):
        kept(other)


def test_a_finished_study_is_not_replaced_and_a_planned_one_is(run: Path) -> None:
    Path("studies/mine").mkdir()
    Path("studies/mine/params.yaml").write_text("learn: {n_epochs: 2}\n", encoding="utf-8")
    kept()
    before = Path("studies/mine/metrics.json").read_bytes()
    with pytest.raises(ValueError, match=r"studies/mine: expected no finished study, got \['costs"):
        kept()
    assert Path("studies/mine/metrics.json").read_bytes() == before


@pytest.mark.parametrize("name", ["../mine", "a b", "", "Mine", "$(touch hole)"])
def test_a_name_is_a_name(run: Path, name: str) -> None:
    with pytest.raises(ValueError, match="expected a name of lower-case letters, digits and hyphens"):
        keep.free(Path("studies") / name)


def test_a_damaged_study_is_named_in_one_line(run: Path) -> None:
    kept()
    path = Path("studies/mine") / results.EPISODES
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(ValueError, match=r"episodes\.jsonl\.xz: damaged: "):
        results.episodes(path.parent, STUDY)
    path.write_bytes(lzma.compress(b'{"suite": 1}\n'))
    with pytest.raises(ValueError, match=r"episodes\.jsonl\.xz:1: expected fields"):
        results.episodes(path.parent, STUDY)
