"""The real DVC around the real Snakemake: results of another machine, values run before, experiments."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from test_workflow import CHAIN, REPORT, REPOSITORY, change, copy_repository, planned, run

from t2s import params
from t2s.workflow.plan import Plan

pytestmark = [pytest.mark.slow, pytest.mark.sim]
LEARNED = "learned results/runs"  # what a job says that did not find it learned before


def git(folder: Path, *command: str) -> str:
    author = ["-c", "user.name=t", "-c", "user.email=t@localhost"]
    done = subprocess.run(["git", *author, *command], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout


def dvc(folder: Path, *command: str) -> str:
    """What DVC prints; it must end well."""
    done = run(folder, "dvc", *command)
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository whose results are in its remote, and their dvc.lock in its last commit."""
    folder = copy_repository(tmp_path_factory.mktemp("shared"))
    dvc(folder, "remote", "add", "--default", "store", str(tmp_path_factory.mktemp("store")))
    git(folder, "init", "-q")
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", "Copy")
    assert dvc(folder, "repro").count(LEARNED) == CHAIN["learn"]
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", "Results")
    dvc(folder, "push")
    return folder


@pytest.fixture
def clone(shared: Path, tmp_path: Path) -> Path:
    """Another machine: a clone, nothing pulled."""
    git(tmp_path, "clone", "-q", str(shared), "clone")
    return tmp_path / "clone"


def test_dvc_repro_does_nothing_the_second_time_and_git_sees_nothing(shared: Path) -> None:
    assert dvc(shared, "repro").count("didn't change, skipping") == 3
    assert planned(shared) == {}
    assert git(shared, "status", "--short") == ""


def test_results_behind_a_link_are_refused_before_anything_runs(clone: Path, tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    shutil.rmtree(clone / "results", ignore_errors=True)  # has at most a README
    (clone / "results").symlink_to(tmp_path / "disk")
    done = run(clone, "dvc", "repro")
    assert "error: results: expected a folder in the repository, as DVC takes no other, got a link" in done.stdout
    assert list((tmp_path / "disk").iterdir()) == []


def test_on_another_machine_nothing_is_left_to_do_and_a_changed_value_reaches_its_jobs(clone: Path) -> None:
    pulled = run(clone, "t2s", "pull")
    assert pulled.returncode == 0, pulled.stdout
    assert planned(clone) == {}
    assert planned(clone, "--config", "figures={dpi: 80}") == {"figures": 1, "report": 1, "all": 1}
    assert planned(clone, "--config", "learn={lr: 0.001}") == {**CHAIN, **REPORT}
    assert planned(clone, "--config", "study={seeds: [0, 1]}")["learn"] == CHAIN["learn"]
    assert planned(clone, "--config", "methods={t2s: {new_lr: 0.001}}")["learn"] == 2
    with (clone / "t2s/lifelong/sequential.py").open("a") as file:
        file.write("# edited\n")
    assert planned(clone)["learn"] == 2
    assert dvc(clone, "repro", "--dry").count("Running stage") == 1


@pytest.mark.parametrize("change_of", ["code", "params", "lock"])
def test_results_of_another_commit_are_refused_before_they_are_pulled(clone: Path, change_of: str) -> None:
    if change_of == "code":
        with (clone / "t2s/model/bank.py").open("a") as file:
            file.write("# edited\n")
        named = "t2s/model (modified)"
    elif change_of == "params":
        change(clone / "params.yaml", {"learn": {"lr": 0.003}})
        named = "learn (modified)"
    else:
        git(clone, "rm", "-q", "dvc.lock")
        named = "no dvc.lock"
    git(clone, "commit", "-qam", "Another commit")
    refused = run(clone, "t2s", "pull")
    assert refused.returncode == 1
    assert "Traceback" not in refused.stdout
    (line,) = [line for line in refused.stdout.splitlines() if line.startswith("error: ")]
    assert named in line
    assert [path.name for path in (clone / "results").iterdir()] == ["README.md"]
    assert planned(clone)["learn"] == CHAIN["learn"]


def test_pulled_by_hand_results_are_not_taken_silently(clone: Path) -> None:
    dvc(clone, "pull")
    assert "note: results/ has files that Snakemake did not make here" in run(clone, "snakemake", "-n").stdout


def test_an_experiment_is_shown_compared_and_taken_back_without_learning(shared: Path, tmp_path: Path) -> None:
    new = dvc(shared, "exp", "run", "--name", "faster", "--set-param", "learn.lr=0.003")
    assert new.count(LEARNED) == CHAIN["learn"]
    assert "demonstrate" not in new.lower()

    rows = json.loads(dvc(shared, "exp", "show", "--json"))
    (experiment,) = [found for row in rows for found in row["experiments"] or []]
    (revision,) = experiment["revs"]
    assert revision["name"] == "faster"
    assert revision["data"]["params"]["params.yaml"]["data"]["learn"]["lr"] == 0.003
    shown = revision["data"]["metrics"]["results/headline.json"]["data"]
    assert shown == json.loads((shared / "results/headline.json").read_text())

    change_of = json.loads(dvc(shared, "params", "diff", "--json"))["params.yaml"]
    assert change_of == {"learn.lr": {"old": 0.002, "new": 0.003, "diff": pytest.approx(0.001)}}
    assert "blocks_object.t2s.fwt" in dvc(shared, "metrics", "diff", "--all")
    assert "failed" not in dvc(shared, "plots", "diff", "--out", str(tmp_path / "plots"))
    pictures = {path.name for path in (tmp_path / "plots").rglob("*.png")}
    for revision in ("HEAD", "workspace"):
        assert f"{revision}_results_figures_blocks_object_losses.png" in pictures

    back = dvc(shared, "exp", "run", "--set-param", "learn.lr=0.002")
    assert LEARNED not in back
    assert back.count("already learned: copied from results/cache/learn/") == CHAIN["learn"]
    assert dvc(shared, "metrics", "diff") == ""
    again = run(shared, "snakemake", "--cores", "2")
    assert again.returncode == 0, again.stdout
    assert LEARNED not in again.stdout


def test_the_graph_of_stages_is_three_boxes_in_a_line(shared: Path) -> None:
    boxes = [line.strip("| ") for line in dvc(shared, "dag").splitlines() if line.strip("| ").isalpha()]
    assert boxes == ["demos", "learn", "report"]


def test_an_experiment_with_t2s_changes_its_ablations_too(tmp_path: Path) -> None:
    """DVC writes the value into params.yaml and leaves `of`, and the plan then has it for every ablation."""
    folder = copy_repository(tmp_path / "copy")
    shutil.copy(REPOSITORY / "params.yaml", folder)
    git(folder, "init", "-q")
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", "Copy")
    values = ["methods.t2s.new_lr=0.125", "demos.n_demos=1", "study.n_tasks=1", "env.image_size=32"]
    dvc(folder, "exp", "run", *(word for value in values for word in ("--set-param", value)), "demos")
    sections = params.read(str(folder / "params.yaml"))
    ablations = [name for name, entry in sections["methods"].items() if entry.get("of") == "t2s"]
    assert len(ablations) == 5
    assert not [name for name in ablations if "new_lr" in sections["methods"][name]]
    whole = Plan(sections).config["methods"]
    assert {name: whole[name]["new_lr"] for name in ["t2s", *ablations]} == dict.fromkeys(["t2s", *ablations], 0.125)
