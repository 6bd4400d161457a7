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

LR = ["--config", "learn={lr: 0.003}"]  # a value of the command line must reach the nodes
# A cluster without an accounting database, asked more often than one would ask one that others use.
PROFILE = ["--workflow-profile", str(REPOSITORY / "workflow/profiles/slurm"), "--slurm-status-command", "squeue"]
PROFILE += ["--slurm-init-seconds-before-status-checks", "3", "--default-resources", "slurm_partition=main"]


class Job(NamedTuple):
    """One of the cluster, as its controller tells it."""

    id: str
    comment: str
    state: str
    node: str
    cores: str
    memory: str
    time: str
    restarts: str
    gpus: str

    @property
    def rule(self) -> str:
        return self.comment.removeprefix("rule_").partition("_wildcards_")[0]


FIELDS = ["JobID", "Comment", "State", "NodeList", "NumCPUs", "MinMemory", "TimeLimit", "RestartCnt", "tres-per-job"]


class Study(NamedTuple):
    """A study that ran on the cluster, and the jobs to which something happened there."""

    folder: Path
    jobs: dict[str, Job]
    killed: str
    lost: str


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
        pid = wait(lambda: learning(folder), "a job that learns", 900)
        killed = re.search(r"SLURM_JOB_ID=(\d+)", Path(f"/proc/{pid}/environ").read_text(encoding="utf-8"))
        assert killed
        os.kill(pid, signal.SIGKILL)
        lost = wait(lambda: rolling_out(cluster), "a job of rollouts", 900)
        cluster.crash(lost.node)
        wait(lambda: cluster.states()[lost.node] == "down", "the controller to miss a node", 120)
        cluster.boot(lost.node)
        returned = workflow.wait(timeout=3600)
    finally:
        workflow.kill()
    assert returned == 0, (folder / "snakemake.log").read_text()
    return Study(folder, jobs(cluster), killed[1], lost.id)


def jobs(cluster: Cluster) -> dict[str, Job]:
    """Every job there was, by its id."""
    return {fields[0]: Job(*fields) for fields in cluster.jobs(*FIELDS)}


def there(cluster: Cluster, folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Run Snakemake in `folder` on the cluster, stderr within stdout."""
    return subprocess.run(
        [sys.executable, "-m", "snakemake", *options, *PROFILE],
        cwd=folder,
        env=cluster.environment(),
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        check=False,
    )


def learning(folder: Path) -> int | None:
    """A process of `t2s learn` in this folder."""
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError, IndexError):
            words = (process / "cmdline").read_bytes().split(b"\0")
            if words[1].endswith(b"/t2s") and words[2] == b"learn" and (process / "cwd").readlink() == folder:
                return int(process.name)
    return None


def rolling_out(cluster: Cluster) -> Job | None:
    """A running job of rollouts."""
    running = (job for job in jobs(cluster).values() if job.state == "RUNNING")
    return next((job for job in running if job.rule == "evaluate_curve"), None)


def contents(folder: Path, pattern: str) -> dict[str, bytes]:
    """The files that match, by name."""
    results = folder / "results"
    return {str(path.relative_to(results)): path.read_bytes() for path in sorted(results.glob(pattern))}


def test_both_nodes_ran_jobs(study: Study) -> None:
    assert {job.node for job in study.jobs.values() if job.state == "COMPLETED"} == {"node1", "node2"}


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
    killed = study.jobs[study.killed]
    assert (killed.rule, killed.state, killed.memory, killed.time) == ("learn", "FAILED", "4007M", "12:00:00")
    (again,) = (job for job in study.jobs.values() if job.comment == killed.comment and job != killed)
    assert (again.state, again.memory, again.time) == ("COMPLETED", "8014M", "1-00:00:00")


def test_a_job_whose_node_was_lost_is_run_again_by_slurm(study: Study) -> None:
    lost = study.jobs[study.lost]
    assert (lost.state, lost.restarts) == ("COMPLETED", "1")


def test_no_other_job_failed(study: Study) -> None:
    assert [job.id for job in study.jobs.values() if job.state != "COMPLETED"] == [study.killed]


def test_what_takes_seconds_is_no_job_of_the_cluster(study: Study) -> None:
    ran = {job.rule for job in study.jobs.values()}
    assert ran == {"demos", "language", "learn", "evaluate_curve", "evaluate_kept", "film"}


def test_a_job_asks_for_the_cores_of_its_workers(study: Study) -> None:
    cores = {job.rule: job.cores for job in study.jobs.values()}
    assert (cores["learn"], cores["evaluate_curve"], cores["evaluate_kept"]) == ("1", "4", "4")


def test_learning_on_cuda_asks_for_a_gpu_even_if_this_machine_has_none(study: Study, cluster: Cluster) -> None:
    target = "results/runs/blocks_object/t2s/seed0/task0/learn.json"
    there(cluster, study.folder, target, "--retries", "0", "--config", "learn={lr: 0.003, device: cuda}")
    (job,) = (job for job in jobs(cluster).values() if job.id not in study.jobs)
    assert (job.rule, job.gpus) == ("learn", "gres:gpu:1")


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
