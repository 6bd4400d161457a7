"""What the Snakefile computes: values and files of a study, the code of a command, the shell of a job."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from test_assets import make_folder
from test_workflow import change, copy_repository, run

from t2s import params
from t2s.data.assets import FOLDERS
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
    assert plan.typed(given, "learn") == {
        "lr": 1e-3,
        "seeds": [0, 1],
        "device": "cuda",
        "deep": {"n": 7},
        "already": 2.5,
    }


def test_a_rule_sees_its_sections_its_method_and_its_protocol_alone() -> None:
    seen = planned().sections("learn", "evaluate", method="er")
    assert set(seen) == {"learn", "evaluate", "methods"}
    assert list(seen["methods"]) == ["er"]
    assert list(seen["evaluate"]["protocols"]) == [SHIPPED["evaluate"]["protocol"]]


def test_a_rule_sees_the_values_of_resnet_t_only_if_it_is_in_use() -> None:
    assert "resnet_t" not in planned().sections("policy")["policy"]
    assert planned(policy={"network": "resnet_t"}).sections("policy")["policy"]["resnet_t"]["n_frames"] == 10


def test_resnet_t_needs_memory_for_the_frames_of_its_windows() -> None:
    large = {"policy": {"network": "resnet_t"}, "env": {"image_size": 128}}
    assert planned().activations_mb("er") == 0
    assert planned(**large).activations_mb("sequential") == 32 * 20 * 128**2 * 500 // 10**6  # it took 4.3 GB
    assert planned(**large).activations_mb("er") == 64 * 20 * 128**2 * 500 // 10**6
    assert planned(**large, learn={"device": "cuda"}).activations_mb("sequential") == 0


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
    assert json.loads(Path(first).read_text(encoding="utf-8")) == {"learn": SHIPPED["learn"]}
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


def test_downloads_need_a_folder() -> None:
    Path("downloads").write_text("a file", encoding="utf-8")
    planned()  # nothing is downloaded
    download = {"source": "download"}
    with pytest.raises(ValueError, match=r"^params: download.folder: expected a folder, got a file 'downloads'$"):
        planned(demos=download, study={"suites": ["libero_object"]}, env={"image_size": 128})


def test_a_value_that_is_no_yaml_is_named() -> None:
    with pytest.raises(ValueError, match=r"^--config learn.lr: expected a value as in params.yaml, got '\{'$"):
        plan.typed({"lr": "{"}, "learn")


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


ODD = (
    "plain", "a blank", "$HOME $(touch hole)", "it's", 'a "quoted" one', "back`ticks`", "ü", "实验", "a\nnew line",
    "tab\t", "-n", "a;b & c | d > e", "*?[x]", "#~!", "'",
)  # fmt: skip


@pytest.mark.parametrize("name", ODD)
def test_the_prefix_runs_nothing_that_a_path_says(tmp_path: Path, name: str) -> None:
    """As Snakemake formats and runs it."""
    root = tmp_path / name
    root.mkdir()
    prefix = shell.prefix(root, root / "{assets}", root / "bin/python").format()
    show = 'printf "%s\\0" "$T2S_LIBERO_ASSETS" "$PYTHONPATH" "${PATH%%:*}"'
    environment = {"PATH": "/usr/bin:/bin"}
    done = subprocess.run(
        ["bash", "-c", prefix.replace("exec 8<.snakemake/t2s.lock; ", "") + show],
        env=environment, cwd=tmp_path, capture_output=True, check=True,
    )  # fmt: skip
    shown = os.fsdecode(done.stdout).split("\0")
    assert shown == [f"{root}/{{assets}}", str(root), f"{root}/bin", ""]
    assert not (tmp_path / "hole").exists()


@pytest.mark.parametrize("name", ["a:b", "{braces}", "back\\slash", "\udcff"])
def test_a_path_that_cannot_work_is_refused_in_one_line(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match=r": expected (the|a) path .*; (move|rename) it$") as error:
        shell.prefix(tmp_path / name, tmp_path, None)
    assert "\n" not in str(error.value)


def test_a_python_that_path_cannot_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="expected a Python whose path has no ':'"):
        shell.prefix(tmp_path, tmp_path, tmp_path / "a:b" / "python")


@pytest.mark.parametrize("name", ["a:b", "{braces} {0}"])
def test_a_checkout_whose_path_cannot_work_is_refused_in_one_line(tmp_path: Path, name: str) -> None:
    folder = copy_repository(tmp_path / name)
    done = run(folder, "snakemake", "--cores", "1")
    assert done.returncode == 1
    (line,) = [line for line in done.stdout.splitlines() if not line.startswith("Using workflow specific profile")]
    assert line.startswith(f"error: {folder}: expected the path of a checkout without any of ':{{}}', got [")


@pytest.mark.parametrize("name", ['it\'s a $(touch hole) "ü" `x`', "实验\n\t;&|>*?[x]#~"])
def test_a_checkout_of_any_name_embeds_its_instructions(tmp_path: Path, name: str) -> None:
    """The real Snakemake and a real job; an asset path that is a command is only a name."""
    folder = copy_repository(tmp_path / name)
    change(folder / "params.yaml", {"assets": {"path": "$(touch hole)"}})
    done = run(folder, "snakemake", "--cores", "1", "results/language/blocks_object.safetensors")
    assert (folder / "results/language/blocks_object.safetensors").is_file(), done.stdout
    assert [path for path in tmp_path.rglob("hole*") if path.is_file()] == []


def test_assets_behind_links_are_inputs_and_those_with_braces_are_refused(tmp_path: Path) -> None:
    make_folder(tmp_path / "set")
    (tmp_path / "links").mkdir()
    for path in (tmp_path / "set").iterdir():
        (tmp_path / "links" / path.name).symlink_to(path)

    def files(folder: str) -> list[str]:
        libero = {"study": {"suites": ["libero_object"]}, "demos": {"n_demos": 10}}
        return planned(**libero, assets={"path": str(tmp_path / folder)}).asset_files()

    assert [Path(path).name for path in files("links")] == ["mesh.obj"] * len(FOLDERS)
    (tmp_path / "set" / "scenes" / "{style}.xml").touch()
    with pytest.raises(ValueError, match=r"\{style\}.xml: expected a path without any of '\{\}' for LIBERO's scene"):
        files("links")


def test_results_may_be_on_another_disk(tmp_path: Path) -> None:
    folder = copy_repository(tmp_path / "checkout")
    (tmp_path / "disk").mkdir()
    shutil.rmtree(folder / "results")
    (folder / "results").symlink_to(tmp_path / "disk")
    wanted = "results/language/blocks_object.safetensors"
    done = run(folder, "snakemake", "--cores", "1", wanted)
    assert (tmp_path / "disk/language/blocks_object.safetensors").is_file(), done.stdout


def test_results_that_cannot_be_written_are_one_line_before_anything_runs(tmp_path: Path) -> None:
    folder = copy_repository(tmp_path / "checkout")
    shutil.rmtree(folder / "results")
    (folder / "results").symlink_to(tmp_path / "no disk")
    done = run(folder, "snakemake", "--cores", "1", "results/language/blocks_object.safetensors")
    assert done.returncode == 1
    (line,) = [line for line in done.stdout.splitlines() if "rror" in line]
    assert line == (
        f"error: results: expected a folder, got a link to '{tmp_path}/no disk', which is none; run"
        f" `mkdir -p '{tmp_path}/no disk'`"
    )


def test_results_are_refused_that_dvc_would_refuse_when_all_has_run(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("clone").mkdir()
    Path("disk").mkdir()
    Path("clone/results").symlink_to(Path("disk").resolve())
    monkeypatch.chdir("clone")
    shell.check_results(Path("results"))
    monkeypatch.setenv("DVC_STAGE", "demos")
    with pytest.raises(ValueError, match=r"results: expected a folder in the repository, as DVC takes no other, got"):
        shell.check_results(Path("results"))
    Path("inside").mkdir()
    shell.check_results(Path("inside"))


@pytest.mark.skipif(os.getuid() == 0, reason="root writes anywhere")
@pytest.mark.parametrize("mode", [0o500, 0o000])
def test_a_closed_folder_behind_a_link_is_named(tmp_path: Path, mode: int) -> None:
    (tmp_path / "results").mkdir()
    (tmp_path / "closed").mkdir(mode=mode)
    (tmp_path / "results" / "runs").symlink_to(tmp_path / "closed")
    with pytest.raises(ValueError, match="results/runs: expected a folder that can be written, got one that cannot"):
        shell.check_results(tmp_path / "results")


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


def test_a_user_without_a_name_gets_one_that_snakemake_can_print() -> None:
    program = "import getpass\nfrom t2s.workflow import shell\nshell.name_user()\nprint(getpass.getuser())"
    nameless = ["unshare", "--user", "--map-user=12345", sys.executable, "-c", program]
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}
    done = subprocess.run(nameless, env=environment, capture_output=True, text=True, check=False)
    if done.stderr.startswith("unshare"):
        pytest.skip(done.stderr)
    assert (done.stdout, done.stderr) == ("12345\n", "")


def test_a_user_with_a_name_keeps_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("USER", "t2s")
    shell.name_user()
    assert os.environ["USER"] == "t2s"
