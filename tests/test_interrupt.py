"""The real Snakemake, killed and interrupted: it goes on when it is started again, and nothing is lost."""

from __future__ import annotations

import fcntl
import hashlib
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import synthetic
from test_workflow import change, copy_repository, run

from t2s.data import embeddings, files, suites

N_KILLS = 20
SUITE = "blocks_object"
LEARNED = f"results/runs/{SUITE}/t2s/seed0/task0/learn.json"
STATE = "results/cache/learn/*/state.safetensors"
GO_ON = "To continue, run the same command again"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the repository with one method and demonstrations of a few steps, so that it can learn at once."""
    folder = copy_repository(tmp_path / "repository")
    change(folder / "params.yaml", {"study": {"n_tasks": 1, "methods": ["t2s"]}})
    task = suites.task(SUITE, 0)
    hdf5 = folder / f"results/demos/{SUITE}/task0_demo.hdf5"
    synthetic.write_demos(hdf5, [5, 3], 32, task.instruction)
    facts = {"file": hdf5.name, "sha256": files.sha256(hdf5), "n_demos": 2, "observations": "before"}
    files.write_json(hdf5.with_name("task0.json"), facts | {"instruction": task.instruction, "source": "scripted"})
    language = folder / f"results/language/{SUITE}.safetensors"
    embeddings.write(language, {task.instruction: np.ones(8, np.float32)}, "none")
    return folder


def started(folder: Path, log: Path, *options: str) -> subprocess.Popen[str]:
    """Snakemake as on a terminal: the head of a process group."""
    command = [sys.executable, "-m", "snakemake", "--cores", "2", *options]
    with log.open("a", encoding="utf-8") as file:
        return subprocess.Popen(
            command,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            text=True,
            start_new_session=True,
        )


def learning(folder: Path, log: Path, learn: dict[str, Any]) -> subprocess.Popen[str]:
    """Snakemake with these values of `learn`, past the first epoch."""
    change(folder / "params.yaml", {"learn": learn})
    job = started(folder, log, LEARNED)
    while not list(folder.glob(STATE)):
        assert job.poll() is None, log.read_text(encoding="utf-8")
        time.sleep(0.05)
    return job


def results(folder: Path) -> dict[str, str]:
    """Digests of everything learned, recorded and measured."""
    paths = [path for name in ("runs", "episodes") for path in sorted((folder / "results" / name).rglob("[!.]*.*"))]
    paths += [folder / "results" / name for name in ("metrics.json", "success.csv", "tasks.csv")]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


@pytest.mark.slow
@pytest.mark.sim
def test_killed_at_twenty_random_moments_it_ends_with_the_same_results(tmp_path: Path) -> None:
    folders = undisturbed, killed = [copy_repository(tmp_path / name) for name in ("undisturbed", "killed")]
    for folder in folders:
        study = {"study": {"methods": ["t2s"]}, "learn": {"n_epochs": 40, "eval_every": 20}}
        change(folder / "params.yaml", study)
    log, target = tmp_path / "log", "results/metrics.json"
    start = time.monotonic()
    done = run(undisturbed, "snakemake", "--cores", "2", target)
    assert done.returncode == 0, done.stdout
    whole = time.monotonic() - start

    rng = random.Random(0)
    n_killed = 0
    while n_killed < N_KILLS:
        start = time.monotonic()
        job = started(killed, log, target)
        try:
            assert job.wait(rng.uniform(0.0, whole / 3)) == 0, log.read_text()
        except subprocess.TimeoutExpired:
            os.killpg(job.pid, signal.SIGKILL)
            job.wait()
            n_killed += 1
        else:  # all is done already: again from the start, killed sooner
            assert results(killed) == results(undisturbed)
            shutil.rmtree(killed / "results")
            whole = min(whole, time.monotonic() - start)
    done = run(killed, "snakemake", "--cores", "2", target)
    assert done.returncode == 0, done.stdout
    assert results(killed) == results(undisturbed)
    shown = log.read_text() + done.stdout
    assert "continuing after epoch" in shown
    assert "starting over" not in shown
    assert not list(killed.glob(STATE))


@pytest.mark.slow
def test_ctrl_c_ends_with_a_line_on_how_to_go_on(folder: Path, tmp_path: Path) -> None:
    log = tmp_path / "log"
    job = learning(folder, log, {"n_epochs": 4000, "eval_every": 2000})
    os.killpg(job.pid, signal.SIGINT)
    assert job.wait(60) == 1
    shown = log.read_text()
    assert GO_ON in shown.splitlines()[-1]
    assert "Traceback" not in shown
    assert "Error in rule" not in shown
    assert len(list(folder.glob(STATE))) == 1
    job = started(folder, log, LEARNED)
    while "continuing after epoch" not in log.read_text():
        assert job.poll() is None, log.read_text()
        time.sleep(0.1)
    os.killpg(job.pid, signal.SIGKILL)
    job.wait()


@pytest.mark.slow
def test_values_edited_while_it_runs_count_from_the_next_run_on(folder: Path, tmp_path: Path) -> None:
    log = tmp_path / "log"
    job = learning(folder, log, {"n_epochs": 40, "eval_every": 40, "lr": 0.001})
    change(folder / "params.yaml", {"learn": {"lr": 0.002}})
    assert job.wait(300) == 0, log.read_text()
    done = run(folder, "snakemake", "--cores", "1", LEARNED)
    assert "Params have changed since last execution" in done.stdout
    assert "learned results/runs" in done.stdout  # not on from what is there of the other value
    assert "continuing after epoch" not in done.stdout
    assert run(folder, "snakemake", "--cores", "1", LEARNED).stdout.count("Nothing to be done") == 1


@pytest.mark.slow
def test_a_second_snakemake_waits_its_turn_and_a_killed_one_blocks_nobody(folder: Path, tmp_path: Path) -> None:
    log = tmp_path / "log"
    job = learning(folder, log, {"n_epochs": 4000, "eval_every": 2000})
    second = run(folder, "snakemake", "--cores", "1", LEARNED)
    assert second.returncode == 1
    assert "note: another snakemake, or one of its jobs, is running in this folder" in second.stdout
    assert "Directory cannot be locked" in second.stdout
    job.kill()  # and not its job, which goes on
    job.wait()
    assert "Directory cannot be locked" in run(folder, "snakemake", "--cores", "1", LEARNED).stdout
    os.killpg(job.pid, signal.SIGKILL)
    assert (folder / ".snakemake/locks").is_dir()
    change(folder / "params.yaml", {"learn": {"n_epochs": 1, "eval_every": 1}})
    done = run(folder, "snakemake", "--cores", "1", LEARNED)
    assert done.returncode == 0, done.stdout


def test_a_lock_that_a_killed_snakemake_left_is_removed_and_no_other(folder: Path) -> None:
    left = folder / ".snakemake/locks/0.output.lock"
    left.parent.mkdir(parents=True)
    left.write_text("results/metrics.json\n")
    with (folder / ".snakemake/t2s.lock").open("w") as other:
        fcntl.flock(other, fcntl.LOCK_SH)
        shown = run(folder, "snakemake", "--dry-run").stdout
    assert re.search("^note: another snakemake, or one of its jobs, is running in this folder$", shown, re.MULTILINE)
    assert left.is_file()
    assert "cannot be locked" not in run(folder, "snakemake", "--dry-run").stdout
    assert not left.exists()


def test_a_folder_that_cannot_be_written_is_named_before_a_job_starts(folder: Path) -> None:
    kept = folder / "results/language"
    before = {path: path.read_bytes() for path in kept.iterdir()}
    if os.geteuid():
        kept.chmod(0o555)
    else:  # root may write whatever its mode
        bound = subprocess.run(["mount", "--bind", kept, kept], capture_output=True, check=False)
        if bound.returncode:
            pytest.skip("root that may not mount")
        subprocess.run(["mount", "-o", "remount,ro,bind", kept], check=True)
    try:
        done = run(folder, "snakemake", "--cores", "1", LEARNED)
    finally:
        if os.geteuid():
            kept.chmod(0o755)
        else:
            subprocess.run(["umount", kept], check=True)
    assert done.returncode == 1
    line = "error: results/language: expected a folder that can be written, got one that cannot"
    assert done.stdout.splitlines()[-1] == line
    assert "Learn task" not in done.stdout
    assert {path: path.read_bytes() for path in kept.iterdir()} == before
