"""What the Snakefile computes: values and files of a study, the code of a command, the shell of a job."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from test_workflow import change, copy_repository, run

from t2s import params
from t2s.learners import LEARNERS
from t2s.lifelong import learner_class
from t2s.lifelong.learner import Learner
from t2s.workflow import plan, shell, sources
from t2s.workflow.plan import Plan

ROOT = Path(__file__).parents[1]
SHIPPED = params.read(str(ROOT / "params.yaml"))


def planned(**changes: Any) -> Plan:
    return Plan(params.merge(SHIPPED, changes))


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Params files are written below the working folder."""
    monkeypatch.chdir(tmp_path)


def test_braces_of_the_command_line_become_values() -> None:
    given = {"lr": "1.0e-3", "seeds": ["0", "1"], "device": "cuda", "deep": {"n": "7"}, "already": 2.5}
    assert plan.typed(given) == {"lr": 1e-3, "seeds": [0, 1], "device": "cuda", "deep": {"n": 7}, "already": 2.5}


def test_a_rule_sees_its_sections_its_method_and_its_protocol_alone() -> None:
    seen = planned().sections("learn", "evaluate", method="er")
    assert set(seen) == {"learn", "evaluate", "methods"}
    assert list(seen["methods"]) == ["er"]
    assert list(seen["evaluate"]["protocols"]) == [SHIPPED["evaluate"]["protocol"]]


def test_a_rule_sees_the_whole_values_of_an_ablation() -> None:
    changed = planned(methods={"t2s": {"new_lr": 0.005}})
    seen = changed.sections("learn", method="no_reuse")["methods"]["no_reuse"]
    assert seen == SHIPPED["methods"]["t2s"] | {"new_lr": 0.005, "reuse": "none"}
    assert changed.given("learn", method="no_reuse") != planned().given("learn", method="no_reuse")
    assert changed.given("learn", method="er") == planned().given("learn", method="er")
    assert changed.learner("no_reuse") == "t2s"


def test_only_libero_s_scripted_demonstrations_start_from_stored_states() -> None:
    libero = planned(study={"suites": ["libero_object"]}, demos={"n_demos": 10})
    assert libero.starts("libero_object") == [*range(49, 39, -1)]
    assert planned().starts("blocks_object") == []


def test_params_files_are_named_by_their_content() -> None:
    first, again = planned().given("learn"), planned().given("learn")
    other = planned(learn={"lr": 0.5}).given("learn")
    assert first == again != other
    assert json.loads(Path(first).read_text()) == {"learn": SHIPPED["learn"]}
    assert params.Learn.read(other).lr == 0.5
    small = planned(learn={"lr": 1e-05}).given("learn")  # YAML would read JSON's 1e-05 as text
    assert params.Learn.read(small).lr == 1e-05


def test_what_only_draws_reaches_no_number() -> None:
    producing = planned().producing()
    assert not {"figures", "film", "engine"} & set(producing)
    assert list(producing["methods"]) == SHIPPED["study"]["methods"]


@pytest.mark.parametrize(("n_tasks", "n_kept"), [(1, 1), (2, 3), (10, 55)])
def test_a_chain_has_a_curve_a_task_and_every_stage_on_every_task_so_far(n_tasks: int, n_kept: int) -> None:
    of_study = planned(study={"n_tasks": n_tasks, "seeds": [0, 1], "methods": ["t2s", "er", "tail"]})
    assert len(of_study.episodes()) == 6 * (n_tasks + n_kept)
    assert len(of_study.learned()) == len(of_study.losses()) == 6 * n_tasks
    assert len(of_study.benchmarks()) == 6 * (n_tasks + n_tasks + n_kept)
    assert len(set(of_study.benchmarks())) == len(of_study.benchmarks())
    assert len(of_study.films()) == 3


def test_a_kept_study_has_one_file_for_all_records_of_a_kind() -> None:
    kept = Plan(SHIPPED, "studies/quick", kept=True)
    assert kept.episodes() == ["studies/quick/episodes.jsonl.xz"]
    assert kept.tables()[0] == "studies/quick/tables/headline.md"


def test_figures_and_tables_are_those_that_have_something_to_show() -> None:
    alone = planned(study={"methods": ["sequential"], "n_tasks": 1})
    assert alone.drawn() == ["success_matrix", "learning_curves", "scores", "losses"]
    assert not any("mean" in path or "differences" in path for path in alone.tables())
    several = planned(study={"suites": ["blocks_object", "blocks_goal"]})
    assert several.figures("pdf")[-1] == "results/pdf/mean/scores.pdf"
    assert {"results/tables/mean.md", "results/tables/differences.tex"} <= set(several.tables())


def test_records_of_the_stage_before_are_those_of_an_earlier_task() -> None:
    assert planned().before("s", "m", 0, 2, 1) == ["results/episodes/s/m/seed0/stage1_task1.jsonl"]
    assert planned().before("s", "m", 0, 2, 2) == []


def test_a_mistake_in_the_params_is_one_line() -> None:
    with pytest.raises(ValueError, match=r"unknown method 't3s'; have \['er'"):
        planned(study={"methods": ["t3s"]})


def test_the_code_of_a_command_is_what_it_imports_and_one_learner() -> None:
    code = sources.code("learn", "er")
    assert {"t2s/stages/learn.py", "t2s/model/policy.py", "t2s/lifelong/er.py", "t2s/lifelong/sequential.py"} <= {*code}
    assert not {"t2s/lifelong/ewc.py", "t2s/learners.py", "t2s/params.py", "t2s/cli.py"} & {*code}
    assert not any(path.startswith("t2s/sim") for path in code)
    assert not any("import torch" in (ROOT / path).read_text() for path in sources.code("metrics"))
    assert {"t2s/stages/download.py"} <= {*sources.producing("download", ["t2s"])}
    with pytest.raises(ValueError, match="unknown command 'lern'"):
        sources.code("lern")


def test_the_code_of_a_learner_is_the_file_of_its_class(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(LEARNERS, "anchor", "t2s.lifelong.ewc:EWC")
    assert "t2s/lifelong/ewc.py" in sources.code("learn", "anchor")
    assert "t2s/lifelong/ewc.py" in sources.code("evaluate", "anchor")


def test_every_learner_has_a_model_of_its_values_and_a_class() -> None:
    assert list(LEARNERS) == list(params.LEARNERS)
    assert all(issubclass(learner_class(name), Learner) for name in LEARNERS)


ODD = ("plain", "a blank", "$HOME $(touch hole)", "it's", 'a "quoted" one', "back`ticks`", "ü")


@pytest.mark.parametrize("name", ODD)
def test_the_prefix_runs_nothing_that_a_path_says(tmp_path: Path, name: str) -> None:
    """As Snakemake formats and runs it."""
    root = tmp_path / name
    root.mkdir()
    prefix = shell.prefix(root, root / "{assets}", root / "bin/python").format()
    show = 'printf "%s\\n" "$T2S_LIBERO_ASSETS" "$PYTHONPATH" "${PATH%%:*}"'
    environment = {"PATH": "/usr/bin:/bin"}
    done = subprocess.run(
        ["bash", "-c", prefix.replace("exec 8<.snakemake/t2s.lock; ", "") + show],
        env=environment, cwd=tmp_path, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.splitlines() == [f"{root}/{{assets}}", str(root), f"{root}/bin"]
    assert not (tmp_path / "hole").exists()


@pytest.mark.parametrize("name", ["a:b", "{braces} {0}"])
def test_a_checkout_whose_path_cannot_work_is_refused_in_one_line(tmp_path: Path, name: str) -> None:
    folder = copy_repository(tmp_path / name)
    done = run(folder, "snakemake", "--cores", "1")
    assert done.returncode == 1
    (line,) = [line for line in done.stdout.splitlines() if not line.startswith("Using workflow specific profile")]
    assert line.startswith(f"error: {folder}: expected the path of a checkout without any of ':{{}}', got [")


@pytest.mark.parametrize("name", ['it\'s a $(touch hole) "ü" `x`', "{braces} {0}"])
def test_a_checkout_of_any_name_embeds_its_instructions(tmp_path: Path, name: str) -> None:
    """The real Snakemake and a real job; an asset path that is a command is only a name."""
    folder = copy_repository(tmp_path / 'it\'s a $(touch hole) "ü" `x`')
    change(folder / "params.yaml", {"assets": {"path": "$(touch hole)"}})
    done = run(folder, "snakemake", "--cores", "1", "results/language/blocks_object.safetensors")
    assert (folder / "results/language/blocks_object.safetensors").is_file(), done.stdout
    assert [path for path in tmp_path.rglob("hole*") if path.is_file()] == []


def test_jobs_import_the_code_beside_their_snakefile(tmp_path: Path) -> None:
    """Whatever PYTHONPATH says, and wherever t2s is installed."""
    folder = copy_repository(tmp_path / "checkout")
    stray = tmp_path / "stray" / "t2s"
    stray.mkdir(parents=True)
    (stray / "__init__.py").write_text("raise SystemExit('the wrong t2s')\n")
    (folder / "t2s/stages/language.py").write_text("raise SystemExit('the right t2s')\n")
    command = [sys.executable, "-m", "snakemake", "--cores", "1", "results/language/blocks_object.safetensors"]
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "PYTHONPATH": str(stray.parent)}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert "the right t2s" in done.stdout + done.stderr
    assert "the wrong t2s" not in done.stdout + done.stderr


def test_the_command_line_of_a_job_is_short(tmp_path: Path) -> None:
    folder = copy_repository(tmp_path / "checkout")
    change(folder / "params.yaml", {"study": {"n_tasks": 3}})
    done = run(folder, "snakemake", "--dry-run", "--printshellcmds", "--cores", "1")
    commands = [shlex.split(line) for line in done.stdout.splitlines() if " t2s " in line]
    assert len(commands) > 20
    for words in commands:
        assert [word for word in words if word.endswith(".py") or word.startswith("{")] == []
    assert yaml.safe_load((folder / "params.yaml").read_text())["study"]["n_tasks"] == 3
