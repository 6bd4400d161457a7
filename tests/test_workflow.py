"""The real Snakemake and DVC on a copy of the repository, on the smallest params."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import synthetic
import yaml
from PIL import Image

from t2s.data import results
from t2s.data.assets import FOLDERS
from t2s.params import Study
from t2s.sim import gl

REPOSITORY = Path(__file__).parents[1]
TINY: dict[str, Any] = {
    "study": {"suites": ["blocks_object"], "n_tasks": 2, "methods": ["t2s", "sequential"]},
    "env": {"image_size": 32},
    "demos": {"n_demos": 2},
    "policy": {"embed_dim": 16, "n_layers": 1, "n_heads": 2},
    "learn": {"n_epochs": 1, "eval_every": 1, "warmup_steps": 1, "device": "cpu"},
    "evaluate": {"protocols": {"blocks": {"n_rollouts": 1, "max_steps": 6}}},
    "metrics": {"n_bootstrap": 20},
    "film": {"size": 64},
    "figures": {"dpi": 50},
}
CHAIN = {"learn": 4, "evaluate_curve": 4, "choose": 4, "evaluate_kept": 6, "film": 2}
REPORT = {"metrics": 1, "provenance": 1, "tables": 1, "figures": 1, "report": 1, "all": 1}


def copy_repository(folder: Path) -> Path:
    """The files of the repository, as they stand now, with the smallest params."""
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listed, cwd=REPOSITORY, check=True, capture_output=True, text=True).stdout
    for name in names.split("\0"):
        if (REPOSITORY / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(REPOSITORY / name, folder / name)
    change(folder / "params.yaml", TINY)
    return folder


def change(path: Path, values: dict[str, Any]) -> None:
    """Set `values` in a params file."""

    def merge(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
        both = {k: merge(old[k], v) for k, v in new.items() if isinstance(v, dict) and k in old}
        return old | new | both

    path.write_text(yaml.safe_dump(merge(yaml.safe_load(path.read_text(encoding="utf-8")), values)), encoding="utf-8")


def run(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """Run a module of this Python in `folder`, stderr within stdout."""
    return subprocess.run(
        [sys.executable, "-m", *command],
        cwd=folder,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        check=False,
    )


def planned(folder: Path, *options: str) -> dict[str, int]:
    """How many jobs of each rule Snakemake would run."""
    done = run(folder, "snakemake", "--dry-run", "--cores", "2", *options)
    assert done.returncode == 0, done.stdout
    table = done.stdout.partition("Job stats:")[2].partition("total")[0]
    return {name: int(n) for name, n in re.findall(r"^(\w+) +(\d+)$", table, re.MULTILINE)}


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy in which nothing has run."""
    return copy_repository(tmp_path_factory.mktemp("fresh"))


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy in which everything has run once."""
    folder = copy_repository(tmp_path_factory.mktemp("finished"))
    done = run(folder, "snakemake", "--cores", "2")
    assert done.returncode == 0, done.stdout
    return folder


@pytest.fixture
def params(fresh: Path) -> Iterator[Path]:
    """The params file of the fresh copy, put back afterwards."""
    path = fresh / "params.yaml"
    before = path.read_text()
    yield path
    path.write_text(before)


@pytest.fixture
def edited(finished: Path) -> Iterator[Callable[..., None]]:
    """Appends to a file of the finished copy, put back afterwards."""
    before: dict[Path, bytes] = {}

    def edit(name: str, text: str) -> None:
        path = finished / name
        before.setdefault(path, path.read_bytes())
        path.write_text(path.read_text() + text)

    yield edit
    for path, content in before.items():
        path.write_bytes(content)


def test_the_study_is_planned_from_its_lists(fresh: Path) -> None:
    assert planned(fresh) == {"demos": 2, "language": 1, **CHAIN, **REPORT}


def test_every_method_seed_and_task_has_its_jobs(params: Path) -> None:
    change(params, {"study": {"methods": ["t2s"], "seeds": [0, 1, 2], "n_tasks": 3}})
    jobs = planned(params.parent)
    assert jobs["demos"] == 3
    assert jobs["learn"] == 9
    assert jobs["evaluate_kept"] == 3 * (1 + 2 + 3)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"study": {"suites": ["blocks_objekt"]}}, "unknown suite 'blocks_objekt'; have ['blocks_"),
        ({"study": {"methods": ["t3s"]}}, "unknown method 't3s'; have ["),
        ({"learn": {"lrr": 1.0}}, "unknown key 'learn.lrr'; have ["),
        ({"learn": {"lr": "fast"}}, "learn.lr: expected a number, got 'fast'"),
        ({"demos": {"n_demos": -3}}, "demos.n_demos: expected at least 1, got -3"),
        ({"figures": {"palette": "colourblind"}}, "figures.palette: expected 'colorblind', 'deep', "),
        ({"study": {"seeds": [0, 0]}}, "study.seeds: expected each only once, got [0, 0]"),
        ({"study": {"n_tasks": 11}}, "expected study.n_tasks <= 10 of blocks_object, got 11"),
        ({"methods": {"no_reuse": {"of": "t3s"}}}, "methods.no_reuse.of: unknown method 't3s'; have ["),
        (
            {"study": {"suites": ["libero_object"]}, "demos": {"n_demos": 49}},
            "expected demos.n_demos <= 48 for scripted",
        ),
    ],
)
def test_a_mistake_in_the_params_is_one_line_and_starts_nothing(
    params: Path, wrong: dict[str, Any], message: str
) -> None:
    change(params, wrong)
    done = run(params.parent, "snakemake", "--cores", "1")
    assert done.returncode == 1
    profile, *lines = done.stdout.strip().splitlines()
    assert profile.startswith("Using workflow specific profile profiles/default")  # Snakemake's own
    assert len(lines) == 1, done.stdout
    assert lines[0].startswith("error: params: ")
    assert message in lines[0]


def test_a_missing_params_file_is_named_without_a_traceback(params: Path) -> None:
    before = params.read_text(encoding="utf-8")
    params.unlink()
    try:
        done = run(params.parent, "snakemake", "--cores", "1")
    finally:
        params.write_text(before, encoding="utf-8")
    assert done.returncode == 1
    assert done.stdout.splitlines()[1].startswith("error: no params file 'params.yaml'; have [")
    assert len(done.stdout.splitlines()) == 2, done.stdout


def test_a_params_file_that_is_no_yaml_is_named_with_the_line(params: Path) -> None:
    params.write_text(params.read_text(encoding="utf-8") + "\tlearn: 1\n", encoding="utf-8")
    done = run(params.parent, "snakemake", "--cores", "1")
    assert done.returncode == 1
    assert re.search(r"\nerror: params.yaml: neither YAML nor JSON: .* line \d+, column 1: .*\n$", done.stdout)
    assert len(done.stdout.splitlines()) == 2, done.stdout


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--cores", "0"], "expected --cores and --jobs of at least 1; run `snakemake --cores all`"),
        (["--cores", "1", "--jobs", "0"], "expected --cores and --jobs of at least 1; run `snakemake --cores all`"),
        (["--cores", "1", "--config", "learn=3"], "params: learn: expected keys with values, got 3"),
        (["--cores", "1", "--config", "typo={}"], "params: unknown key 'typo'; have ['assets', "),
        (["--cores", "1", "--config", "learn={lr"], "--config learn: expected a value as in params.yaml, got '{lr'"),
        (["--cores", "1", "--config", "learn={lr:0.1}"], "; write lr: 0.1"),
    ],
)
def test_a_mistake_on_the_command_line_is_one_line_and_starts_nothing(
    fresh: Path, options: list[str], message: str
) -> None:
    done = run(fresh, "snakemake", *options)
    assert done.returncode == 1
    errors = [line for line in done.stdout.splitlines() if not line.startswith(("Using workflow", "Config file"))]
    assert len(errors) == 1, done.stdout
    assert errors[0].startswith("error: ")
    assert message in errors[0]


def test_an_unknown_study_is_one_line(fresh: Path) -> None:
    done = run(fresh, "snakemake", "--snakefile", "studies/Snakefile", "--cores", "1", "--config", "study_name=nope")
    assert done.returncode == 1
    assert "\nerror: no params file 'studies/nope/params.yaml'; have [" in done.stdout
    assert "WorkflowError" not in done.stdout


def test_an_encoder_that_cannot_be_loaded_leaves_the_embeddings_as_they_are(fresh: Path) -> None:
    target = fresh / "results/language/blocks_object.safetensors"
    options = ["--cores", "1", str(target.relative_to(fresh))]
    assert run(fresh, "snakemake", *options).returncode == 0
    before = target.read_bytes()
    done = run(fresh, "snakemake", *options, "--config", "language={encoder: ./no-such-folder}")
    assert done.returncode == 1
    assert "error: cannot load encoder './no-such-folder'" in done.stdout
    assert "Traceback" not in done.stdout
    assert target.read_bytes() == before


def shown(folder: Path, rule: str, *options: str) -> dict[str, Any]:
    """The params that the command of a rule would be given."""
    done = run(folder, "snakemake", "--dry-run", "--printshellcmds", "--cores", "1", *options)
    assert done.returncode == 0, done.stdout
    return given(folder, next(line for line in done.stdout.splitlines() if f"t2s {rule} " in line))


def given(folder: Path, command: str, option: str = "--params") -> dict[str, Any]:
    """The params in the file that a command line names."""
    words = shlex.split(command)
    sections: dict[str, Any] = json.loads((folder / words[words.index(option) + 1]).read_text())
    return sections


def test_values_of_the_command_line_reach_the_commands(fresh: Path) -> None:
    assert shown(fresh, "learn", "--config", "learn={lr: 0.125}")["learn"]["lr"] == 0.125


def test_values_of_another_file_reach_the_commands(fresh: Path) -> None:
    (fresh / "other.yaml").write_text("demos: {n_demos: 7}\n")
    assert shown(fresh, "demos", "--configfile", "other.yaml")["demos"]["n_demos"] == 7


ABLATIONS = ["no_reuse", "reuse_all", "random_reuse", "fixed_growth", "no_growth"]


@pytest.mark.parametrize("how", ["--config", "--configfile", "params.yaml"])
def test_a_value_of_t2s_reaches_its_ablations(params: Path, how: str) -> None:
    change(params, {"study": {"methods": ABLATIONS, "n_tasks": 1}})
    options = [how, "methods={t2s: {new_lr: 0.125}}"]
    if how == "--configfile":
        (params.parent / "other.yaml").write_text("methods: {t2s: {new_lr: 0.125}}\n")
        options = [how, "other.yaml"]
    if how == "params.yaml":
        change(params, {"methods": {"t2s": {"new_lr": 0.125}}})
        options = []
    done = run(params.parent, "snakemake", "--dry-run", "--printshellcmds", "--cores", "1", *options)
    lines = [line for line in done.stdout.splitlines() if "t2s learn " in line]
    seen = {name: values for line in lines for name, values in given(params.parent, line)["methods"].items()}
    assert {name: values["new_lr"] for name, values in seen.items()} == dict.fromkeys(ABLATIONS, 0.125)
    assert not any("of" in values for values in seen.values())
    assert len({json.dumps(values) for values in seen.values()}) == len(ABLATIONS)


def test_a_rule_sees_only_its_sections(fresh: Path) -> None:
    assert set(shown(fresh, "demos")) == {"demos", "env"}
    seen = shown(fresh, "learn")
    assert set(seen) == {"env", "policy", "learn", "methods"}
    assert len(seen["methods"]) == 1
    assert list(shown(fresh, "evaluate")["evaluate"]["protocols"]) == ["blocks"]


def test_what_changes_no_record_is_on_the_command_line_alone(fresh: Path) -> None:
    done = run(fresh, "snakemake", "--dry-run", "--printshellcmds", "--cores", "1", "--config", "engine={retries: 7}")
    lines = [line for line in done.stdout.splitlines() if "t2s evaluate " in line]
    assert {given(fresh, line, "--engine")["engine"]["retries"] for line in lines} == {7}
    assert len(lines) == CHAIN["evaluate_curve"] + CHAIN["evaluate_kept"]
    assert "engine" not in shown(fresh, "evaluate")


def test_demonstrations_are_downloaded_where_the_source_says_so(params: Path, libero_assets: Path) -> None:
    libero = {"study": {"suites": ["libero_object"]}, "demos": {"source": "download"}, "env": {"image_size": 128}}
    change(params, libero | {"assets": {"path": str(libero_assets)}})
    jobs = planned(params.parent)
    assert jobs["download"] == 2
    assert "demos" not in jobs
    assert set(shown(params.parent, "download")) == {"demos", "download"}
    change(params, {"env": {"image_size": 64}})
    done = run(params.parent, "snakemake", "--cores", "1")
    assert "expected env.image_size 128 with demos.source 'download', got 64" in done.stdout


def test_how_liberos_scenes_are_drawn_reaches_what_draws_them(params: Path, libero_assets: Path) -> None:
    libero = {"study": {"suites": ["libero_object"]}, "env": {"image_size": 128}, "render": {"quality": "fast"}}
    change(params, libero | {"assets": {"path": str(libero_assets)}})
    for rule in ("demos", "evaluate", "film"):
        assert shown(params.parent, rule)["render"] == {"quality": "fast"}
    change(params, {"demos": {"source": "download"}})
    done = run(params.parent, "snakemake", "--cores", "1")
    assert "expected render.quality 'libero' with demos.source 'download', got 'fast'" in done.stdout


@pytest.mark.parametrize("study", sorted(path.parent.name for path in REPOSITORY.glob("studies/*/params.yaml")))
def test_every_study_is_planned(fresh: Path, study: str, tmp_path: Path) -> None:
    for folder in FOLDERS:
        (tmp_path / folder).mkdir()  # a plan needs names of assets alone
        (tmp_path / folder / "scene.xml").touch()
    fewer = ["study={n_tasks: 2, seeds: [0]}", f"assets={{path: {tmp_path}}}"]
    jobs = planned(fresh, "--configfile", f"studies/{study}/params.yaml", "--config", *fewer)
    section = TINY["study"] | yaml.safe_load((REPOSITORY / "studies" / study / "params.yaml").read_text())["study"]
    assert jobs["learn"] == 2 * len(section["suites"]) * len(section["methods"])
    assert ("download" in jobs) == (study == "paper")
    assert ("figure_of_mean" in jobs) == (len(section["suites"]) > 1)


@pytest.mark.skipif(gl.has_nvidia(), reason="a machine without a GPU")
def test_a_study_that_needs_a_gpu_starts_nothing_without_one(fresh: Path) -> None:
    options = ["--config", "learn={device: cuda}", "--cores", "1"]
    assert run(fresh, "snakemake", "--dry-run", *options).returncode == 0
    done = run(fresh, "snakemake", *options)
    assert done.returncode == 1
    assert "\nerror: learn.device: expected a GPU that torch can use, as `cuda` says, got none" in done.stdout
    assert "Traceback" not in done.stdout
    assert "rule demos" not in done.stdout
    assert run(fresh, "snakemake", *options, "results/language/blocks_goal.safetensors").returncode == 0  # needs no GPU


def test_a_job_that_fails_fails_though_its_output_goes_through_tee(fresh: Path) -> None:
    command = fresh / "t2s/stages/language.py"
    before = command.read_text()
    try:
        command.write_text("raise SystemExit('the first job ran')")
        done = run(fresh, "snakemake", "--cores", "1", "results/language/blocks_spatial.safetensors")
    finally:
        command.write_text(before)
    assert "the first job ran" in done.stdout
    assert "command exited with non-zero exit code" in done.stdout


def test_a_finished_study_is_rebuilt_without_learning(fresh: Path) -> None:
    section = synthetic.params()["study"]
    study = fresh / "studies" / "finished"
    study.mkdir(parents=True)
    shutil.copy2(fresh / "params.yaml", study / "params.yaml")
    change(study / "params.yaml", {"study": section})
    synthetic.write(fresh / "run", section, TINY["evaluate"]["protocols"]["blocks"]["n_rollouts"])
    results.write(study, fresh / "run", Study(**section))
    command = ["snakemake", "--snakefile", "studies/Snakefile", "--cores", "1", "--forceall"]
    done = run(fresh, *command, "--config", "study_name=finished")
    assert done.returncode == 0, done.stdout
    assert (study / "tables" / "headline.md").is_file()
    assert (study / "figures" / "blocks_object" / "scores.png").is_file()
    assert not (fresh / "results" / "runs").exists()


@pytest.mark.slow
@pytest.mark.sim
def test_a_second_run_has_nothing_to_do(finished: Path) -> None:
    assert planned(finished) == {}
    assert planned(finished, "--cores", "8") == {}


@pytest.mark.slow
@pytest.mark.sim
def test_the_report_is_whole(finished: Path) -> None:
    page = (finished / "results" / "report.html").read_text()
    assert page.count("data:image/gif") == 4
    assert page.count("data:image/png") == 7


@pytest.mark.slow
@pytest.mark.sim
def test_the_provenance_is_that_of_the_run(finished: Path) -> None:
    found = json.loads((finished / "results/provenance.json").read_text())
    manifest = json.loads((finished / "results/demos/blocks_object/task1.json").read_text())
    assert found["data"]["demos"]["blocks_object/task1"]["sha256"] == manifest["sha256"]
    assert list(found["params"]["methods"]) == ["sequential", "t2s"]
    assert [sum(row["n_episodes"] for row in rows) for rows in found["runs"].values()] == [2 * 2 + 3] * 2
    assert found["code"]["sha256"][:12] in (finished / "results/report.html").read_text()


@pytest.mark.slow
@pytest.mark.sim
def test_editing_the_figures_redraws_and_relearns_nothing(finished: Path, edited: Callable[..., None]) -> None:
    redraw = {"figures": 1, "report": 1, "all": 1}
    assert planned(finished, "--config", "figures={dpi: 80}") == redraw
    edited("t2s/report/figures.py", "# edited\n")
    assert planned(finished) == redraw


@pytest.mark.slow
@pytest.mark.sim
def test_how_often_a_worker_is_renewed_rolls_nothing_out_again(finished: Path) -> None:
    assert planned(finished, "--config", "engine={recycle_after: 3, retries: 5}") == {"report": 1, "all": 1}


@pytest.mark.slow
@pytest.mark.sim
def test_a_file_that_is_only_touched_renews_nothing(finished: Path) -> None:
    (finished / "t2s/report/figures.py").touch()
    (finished / "t2s/stages/learn.py").touch()
    assert planned(finished) == {}


@pytest.mark.slow
@pytest.mark.sim
def test_another_learning_rate_relearns_all_that_follows_and_nothing_else(finished: Path) -> None:
    assert planned(finished, "--config", "learn={lr: 0.001}") == {**CHAIN, **REPORT}


@pytest.mark.slow
@pytest.mark.sim
def test_a_value_of_one_method_relearns_that_method_alone(finished: Path) -> None:
    jobs = planned(finished, "--config", "methods={t2s: {new_lr: 0.001}}")
    assert jobs["learn"] == 2
    assert "demos" not in jobs


@pytest.mark.slow
@pytest.mark.sim
def test_a_value_of_t2s_relearns_an_ablation_that_was_learned(fresh: Path) -> None:
    study, learned = (
        "study={methods: [no_reuse], n_tasks: 1}",
        "results/runs/blocks_object/no_reuse/seed0/task0/learn.json",
    )
    done = run(fresh, "snakemake", "--cores", "2", learned, "--config", study)
    assert done.returncode == 0, done.stdout
    assert planned(fresh, learned, "--config", study) == {}
    assert planned(fresh, learned, "--config", study, "methods={t2s: {new_lr: 0.001}}") == {"learn": 1}
    assert planned(fresh, learned, "--config", study, "methods={er: {n_memories: 7}}") == {}


@pytest.mark.slow
@pytest.mark.sim
def test_editing_the_network_relearns_and_demonstrates_nothing(finished: Path, edited: Callable[..., None]) -> None:
    edited("t2s/model/policy.py", "# edited\n")
    jobs = planned(finished)
    assert jobs["learn"] == 4
    assert "demos" not in jobs
    assert "language" not in jobs


@pytest.mark.slow
@pytest.mark.sim
def test_editing_one_learner_relearns_its_methods_alone(finished: Path, edited: Callable[..., None]) -> None:
    edited("t2s/lifelong/sequential.py", "# edited\n")
    assert planned(finished)["learn"] == 2


@pytest.mark.slow
@pytest.mark.sim
def test_adding_a_method_relearns_no_other(finished: Path, edited: Callable[..., None]) -> None:
    shutil.copy2(finished / "t2s/lifelong/sequential.py", finished / "t2s/lifelong/my_own.py")
    edited("t2s/learners.py", "LEARNERS['mine'] = 't2s.lifelong.my_own:Sequential'\n")
    edited("t2s/params.py", "LEARNERS['mine'] = Sequential\n")
    assert planned(finished) == {}
    jobs = planned(finished, "--config", "study={methods: [t2s, sequential, er]}")
    assert jobs["learn"] == 2  # of er alone
    assert "demos" not in jobs


@pytest.mark.slow
@pytest.mark.sim
def test_the_demonstrations_stand_behind_their_manifests(finished: Path, edited: Callable[..., None]) -> None:
    (finished / "results/demos/blocks_object/task0_demo.hdf5").touch()
    assert planned(finished) == {}
    edited("results/demos/blocks_object/task1.json", "\n")
    jobs = planned(finished)
    assert jobs["learn"] == 2
    assert "demos" not in jobs


@pytest.mark.slow
@pytest.mark.sim
def test_another_seed_adds_only_its_own_chain(finished: Path) -> None:
    jobs = planned(finished, "--config", "study={seeds: [0, 1]}")
    assert jobs["learn"] == 4
    assert "demos" not in jobs
    assert "film" not in jobs


@pytest.mark.slow
@pytest.mark.sim
def test_a_longer_suite_learns_what_was_added_alone(finished: Path) -> None:
    jobs = planned(finished, "--config", "study={n_tasks: 4}")
    assert jobs["demos"] == 2
    assert jobs["learn"] == 2 * 2
    assert jobs["evaluate_kept"] == 2 * (3 + 4)


@pytest.mark.slow
@pytest.mark.sim
@pytest.mark.parametrize(
    ("order", "jobs"),
    [
        ([0, 1], {}),
        ([0, 2], {"demos": 1, "learn": 2, "evaluate_curve": 2, "evaluate_kept": 4}),
        ([1, 0], {"learn": 4, "evaluate_curve": 4, "evaluate_kept": 6}),
    ],
)
def test_another_order_relearns_from_the_first_difference(
    finished: Path, order: list[int], jobs: dict[str, int]
) -> None:
    found = planned(finished, "--config", f"study={{order: {order}}}")
    assert {rule: n for rule, n in found.items() if rule in {"demos", *CHAIN} - {"choose", "film"}} == jobs


@pytest.mark.slow
@pytest.mark.sim
def test_values_that_were_run_before_come_back_without_learning_or_rolling_out(finished: Path) -> None:
    made = [*(finished / "results/runs").rglob("*.*"), *(finished / "results/episodes").rglob("*.*")]
    before = {path: path.read_bytes() for path in made}
    target = "results/metrics.json"
    other = run(finished, "snakemake", "--cores", "2", target, "--config", "learn={lr: 0.003}")
    assert (other.returncode, other.stdout.count("learned results/runs")) == (0, CHAIN["learn"]), other.stdout
    assert {path: path.read_bytes() for path in made} != before
    back = run(finished, "snakemake", "--cores", "2")
    assert back.returncode == 0, back.stdout
    assert back.stdout.count("already learned: copied from results/cache/learn/") == CHAIN["learn"]
    n_rollouts = CHAIN["evaluate_curve"] + CHAIN["evaluate_kept"]
    assert back.stdout.count("already rolled out: copied from results/cache/episodes/") == n_rollouts
    assert "learned results/runs" not in back.stdout
    assert {path: path.read_bytes() for path in made} == before


@pytest.mark.slow
@pytest.mark.sim
def test_a_damaged_policy_that_is_removed_comes_back_without_learning(finished: Path) -> None:
    kept = finished / "results/runs/blocks_object/t2s/seed0/task0/policy.safetensors"
    whole = kept.read_bytes()
    kept.write_bytes(whole[:-1])
    film = ["snakemake", "--cores", "2", "--forcerun", "film"]
    damaged = run(finished, *film)
    assert damaged.returncode == 1
    assert f"error: {kept.relative_to(finished)}: expected a checkpoint, got " in damaged.stdout
    assert "; remove it and run `snakemake --cores all` again" in damaged.stdout
    kept.unlink()
    mended = run(finished, *film)
    assert mended.returncode == 0, mended.stdout
    assert "already learned: copied from" in mended.stdout  # the task after it
    assert "learned results/runs" not in mended.stdout
    assert kept.read_bytes() == whole
    assert planned(finished) == {}


def width(picture: Path) -> int:
    with Image.open(picture) as image:
        return image.width


@pytest.mark.slow
@pytest.mark.sim
def test_a_value_of_the_command_line_is_drawn(finished: Path) -> None:
    picture = finished / "results/figures/blocks_object/scores.png"
    before = width(picture)
    command = ["snakemake", "--cores", "1", "--config", "figures={dpi: 100}"]
    assert run(finished, *command).returncode == 0
    assert width(picture) == 2 * before
    assert run(finished, "snakemake", "--cores", "1").returncode == 0
    assert width(picture) == before
