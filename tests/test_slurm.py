"""The smallest study by workflow/profiles/slurm on a real SLURM: a controller and two nodes of this machine.

One job is killed and one node is lost while it runs.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
import slurm_cluster
from slurm_cluster import Cluster, wait
from test_workflow import copy_repository, planned, run

REPOSITORY = Path(__file__).parents[1]
LACKING = slurm_cluster.missing()
pytestmark = [pytest.mark.slow, pytest.mark.sim, pytest.mark.skipif(LACKING is not None, reason=str(LACKING))]

LR = ["--config", "learn={lr: 0.002}"]  # a value of the command line must reach the nodes
# A cluster without an accounting database, asked more often than one would ask one that others use.
PROFILE = ["--workflow-profile", str(REPOSITORY / "workflow/profiles/slurm"), "--slurm-status-command", "squeue"]
PROFILE += ["--slurm-init-seconds-before-status-checks", "3", "--default-resources", "slurm_partition=main"]


class Study(NamedTuple):
    """A study that ran on the cluster, and what happened to it there."""

    folder: Path
    killed: str
    lost: str
    jobs: list[list[str]]  # id, rule, state, node, cores, memory, time, how often SLURM ran it again


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Two nodes."""
    with slurm_cluster.running(tmp_path_factory.mktemp("slurm"), ["node1", "node2"]) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The study as this machine runs it by itself."""
    folder = copy_repository(tmp_path_factory.mktemp("local"))
    done = run(folder, "snakemake", "--cores", "2", *LR)
    assert done.returncode == 0, done.stdout
    return folder


@pytest.fixture(scope="module")
def study(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Study:
    """The study on the cluster: the first job that learns is killed, the node of a later one is lost and comes back."""
    folder = copy_repository(tmp_path_factory.mktemp("study"))
    command = [sys.executable, "-m", "snakemake", *PROFILE, *LR]
    with (folder / "snakemake.log").open("w") as log:
        workflow = subprocess.Popen(
            command, cwd=folder, env=cluster.environment(), stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
    try:
        pid = wait(lambda: learning(folder), "a job that learns", 300)
        killed = re.search(r"SLURM_JOB_ID=(\d+)", Path(f"/proc/{pid}/environ").read_text())
        assert killed
        os.kill(pid, signal.SIGKILL)
        lost, _, _, node = wait(lambda: rolling_out(cluster), "a job of rollouts", 300)
        cluster.crash(node)
        wait(lambda: cluster.states()[node] == "down", "the controller to miss a node", 120)
        cluster.boot(node)
        returned = workflow.wait(timeout=900)
    finally:
        workflow.kill()
    assert returned == 0, (folder / "snakemake.log").read_text()
    fields = ["JobID", "Comment", "State", "NodeList", "NumCPUs", "MinMemory", "TimeLimit", "RestartCnt"]
    jobs = [[row[0], rule(row[1]), *row[2:]] for row in cluster.jobs(*fields)]
    return Study(folder, killed[1], lost, jobs)


def there(cluster: Cluster, folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Run Snakemake in `folder` on the cluster, stderr within stdout."""
    return subprocess.run(
        [sys.executable, "-m", "snakemake", *PROFILE, *options],
        cwd=folder,
        env=cluster.environment(),
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        check=False,
    )


def learning(folder: Path) -> int | None:
    """A process of `python -m t2s.learn` in this folder."""
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            words = (process / "cmdline").read_bytes().split(b"\0")
            if words[1:3] == [b"-m", b"t2s.learn"] and (process / "cwd").readlink() == folder:
                return int(process.name)
    return None


def rolling_out(cluster: Cluster) -> list[str] | None:
    """A running job of rollouts: id, comment, state, node."""
    jobs = cluster.jobs("JobID", "Comment", "State", "NodeList")
    return next((job for job in jobs if "evaluate" in job[1] and job[2] == "RUNNING"), None)


def rule(comment: str) -> str:
    """The rule of a job, by the comment that Snakemake gives it."""
    return comment.removeprefix("rule_").partition("_wildcards_")[0]


def contents(folder: Path, pattern: str) -> dict[str, bytes]:
    """The files that match, by name."""
    results = folder / "results"
    return {str(path.relative_to(results)): path.read_bytes() for path in sorted(results.glob(pattern))}


def test_both_nodes_ran_jobs(study: Study) -> None:
    assert {node for _, _, state, node, *_ in study.jobs if state == "COMPLETED"} == {"node1", "node2"}


@pytest.mark.parametrize("pattern", ["episodes/**/*.jsonl", "runs/**/*.safetensors", "success.csv"])
def test_results_of_two_nodes_are_those_of_one_machine(study: Study, local: Path, pattern: str) -> None:
    expected = contents(local, pattern)
    assert expected
    assert contents(study.folder, pattern) == expected


def test_every_job_that_learned_or_rolled_out_has_its_benchmark(study: Study, local: Path) -> None:
    expected = set(contents(local, "benchmarks/**/*.tsv"))
    assert expected
    assert set(contents(study.folder, "benchmarks/**/*.tsv")) == expected


def test_afterwards_nothing_is_left_to_do_here_or_there(study: Study, cluster: Cluster) -> None:
    assert planned(study.folder, *LR) == {}
    assert "Nothing to be done" in there(cluster, study.folder, "--dry-run", *LR).stdout


def test_a_job_that_was_killed_is_tried_again_with_more_memory_and_time(study: Study) -> None:
    _, rule, state, _, _, memory, time, _ = next(job for job in study.jobs if job[0] == study.killed)
    assert (rule, state, memory, time) == ("learn", "FAILED", "4014M", "12:00:00")
    learned = [job for job in study.jobs if job[1:3] == ["learn", "COMPLETED"]]
    asked = sorted((memory, time) for *_, memory, time, _ in learned)
    assert asked == [("4014M", "12:00:00")] * 3 + [("8028M", "1-00:00:00")]


def test_a_job_whose_node_was_lost_is_run_again_by_slurm(study: Study) -> None:
    _, _, state, *_, restarts = next(job for job in study.jobs if job[0] == study.lost)
    assert (state, restarts) == ("COMPLETED", "1")


def test_what_takes_seconds_is_no_job_of_the_cluster(study: Study) -> None:
    assert {job[1] for job in study.jobs} == {"demos", "language", "learn", "evaluate_curve", "evaluate_kept", "film"}


def test_a_job_asks_for_the_cores_of_its_workers(study: Study) -> None:
    assert {(rule, cores) for _, rule, _, _, cores, *_ in study.jobs if rule in {"learn", "evaluate_kept"}} == {
        ("learn", "1"),
        ("evaluate_kept", "4"),
    }


def test_learning_on_cuda_asks_for_a_gpu_even_if_this_machine_has_none(study: Study, cluster: Cluster) -> None:
    before = {job[0] for job in study.jobs}
    target = "results/runs/blocks_object/t2s/seed0/task0/learn.json"
    there(cluster, study.folder, target, "--retries", "0", "--config", "learn={lr: 0.002, device: cuda}")
    new = [row for row in cluster.jobs("JobID", "Comment", "tres-per-job") if row[0] not in before]
    assert [(rule(comment), gpus) for _, comment, gpus in new] == [("learn", "gres:gpu:1")]


def test_every_job_has_the_gpu_that_slurm_gave_it(cluster: Cluster, tmp_path: Path) -> None:
    n = slurm_cluster.GPUS * len(cluster.nodes)
    wait_for_all = f"touch began{{wildcards.i}}; until [ $(ls began* | wc -l) = {n} ]; do sleep 0.2; done; "
    show = f"{REPOSITORY}/workflow/scripts/gpu_slot.sh bash -c 'echo $CUDA_VISIBLE_DEVICES'"
    (tmp_path / "Snakefile").write_text(f"""
rule all:
    input: expand("gpu{{i}}.txt", i=range({n}))
rule one:
    output: "gpu{{i}}.txt"
    resources: gpu=1, mem_mb=100, runtime=5
    shell: "{wait_for_all} echo $SLURMD_NODENAME $CUDA_VISIBLE_DEVICES $({show}) >{{output}}"
""")
    done = there(cluster, tmp_path)
    assert done.returncode == 0, done.stdout
    given = [tuple(path.read_text().split()) for path in tmp_path.glob("gpu*.txt")]
    assert sorted(given) == [(node, gpu, gpu) for node in cluster.nodes for gpu in ("0", "1")]
