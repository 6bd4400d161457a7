"""Estimate roughly how long a study takes on CPUs, and how much disk space it needs.

The workflow runs this before it learns, to warn of a long study on a machine without a GPU.
Reads: params; with --measure, the results of a finished run: benchmarks, episodes, learn.json, manifests of
demonstrations.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import pandas as pd

from t2s import params
from t2s.data import results
from t2s.data.files import Fields, read_json
from t2s.params import Params
from t2s.sim.gl import has_nvidia

MADE: Fields = {"file": str, "n_demos": int, "n_samples": int}
"""What the manifest of scripted demonstrations has."""
LONG = 8.0
"""Duration [h] from which a study should use a GPU."""

LEARNED = 0.032
"""Time [core s] of one learning step with 32 windows of 64 px and a compact network of the default shape.

`t2s estimate --params studies/quick/params.yaml --measure studies/quick --cores 1` prints this constant and, for
blocks, the next two. After a run of your own, `--measure results` also prints those of demonstrations. Measure on a
machine that does nothing else; other jobs ran beside studies/quick. The values of `libero` are rough: they come from
single jobs that ran beside other work, as studies/libero-offline-two did.
"""

SIMULATED = {"blocks": 0.0049, "libero": 0.08}
"""Time [core s] of one step of a rollout by kind of suite, including its share of rendering and prediction.

Measured with the default `policy.replan_every` and `render.quality`.
"""

STARTED = {"blocks": 3.8, "libero": 10.6}
"""Time [core s] of a rollout job before its first step: Python, libraries, the scene."""

DEMO_STEPS = {"blocks": 65, "libero": 110, "download": 150}
"""Number of steps of a demonstration: scripted ones by kind of suite, and human ones as a guess."""

KEPT_BYTES = {"blocks": 0.185, "libero": 0.37, "download": 1.0}
"""Bytes on disk per byte of image. Downloaded images are not compressed."""

POLICY_BYTES = 2.0e6
"""Bytes on disk of a saved policy: `base_bytes` in studies/quick/learned.jsonl.xz."""

RESNET_T = {"step": 180.0, "predict_s": 0.045, "bytes": 11.0}
"""A learning step and a policy of resnet_t relative to those of compact, and the time [core s] of a prediction.

Roughly, from single runs beside other work: 6 s for 32 windows of ten frames at 64 px, 25 s at 128 px.
"""

DELTA = 0.1
"""Size of a later task's policy as a share of a whole policy, if only what was added is saved."""

UNTOUCHED = {"t2s", "tail", "packnet", "single_task"}
"""Learners that never change what acts on an earlier task, so its records are reused (`evaluate.reuse_records`)."""


def core_hours(given: Params) -> float:
    """Core hours on CPUs for demonstrations, learning and rollouts, if every episode takes half of its steps."""
    seconds = 0.0
    for suite in given.study.suites:
        chains = [learning(given, suite, method) + rolling_out(given, suite, method) for method in given.study.methods]
        seconds += demonstrating(given, suite) + sum(chains) * len(given.study.seeds)
    return seconds / 3600


def demonstrating(given: Params, suite: str) -> float:
    """Time [core s] of all demonstrations of a suite, which are rendered at every step; 0 if they are downloaded."""
    if given.demos.source == "download":
        return 0.0
    drawn = given.policy.replan_every * SIMULATED[kind(suite)]
    return given.study.n_tasks * demo_steps(given, suite) * drawn


def learning(given: Params, suite: str, method: str) -> float:
    """Time [core s] of learning all tasks of a suite once."""
    values, k = given.methods.root[method], given.study.n_tasks
    steps = given.learn.n_epochs * demo_steps(given, suite) / given.learn.batch_size
    tasks = float(k)
    if isinstance(values, params.Multitask):
        tasks = k * (k + 1) / 2
    elif isinstance(values, params.ER):
        tasks += (k - 1) * values.n_replayed / given.learn.batch_size
    elif isinstance(values, params.T2S) and values.new_tokens_max == 0:
        tasks = 1.0
    return tasks * steps * LEARNED * size(given)


def rolling_out(given: Params, suite: str, method: str) -> float:
    """Time [core s] of a chain's rollouts: policies of every learning curve, kept policies on all tasks so far."""
    k, rules = given.study.n_tasks, given.evaluate.rules
    stands = given.evaluate.reuse_records and given.methods.root[method].learner in UNTOUCHED
    kept = k if stands else k * (k + 1) // 2
    episodes = (k * len(given.learn.eval_epochs) + kept) * rules.n_rollouts
    return (k + kept) * STARTED[kind(suite)] + episodes * rules.max_steps / 2 * simulating(given, suite)


def simulating(given: Params, suite: str) -> float:
    """Time [core s] of one step of a rollout. Resnet_t needs an image for every step."""
    if given.policy.network == "compact":
        return SIMULATED[kind(suite)]
    return given.policy.replan_every * SIMULATED[kind(suite)] + RESNET_T["predict_s"]


def gigabytes(given: Params) -> float:
    """Disk space [GB] of demonstrations and policies, which are nearly all that is kept."""
    k = given.study.n_tasks
    deltas = {"t2s", "tail"}
    tasks = [1 + (k - 1) * (DELTA if given.methods.root[m].learner in deltas else 1) for m in given.study.methods]
    chains = sum(tasks) * len(given.study.suites) * len(given.study.seeds)
    n_kept = 2 * len(given.learn.eval_epochs) + 1  # in results/runs and results/cache, and a copy of the chosen one
    return demo_gigabytes(given) + chains * n_kept * policy_bytes(given) / 1e9


def policy_bytes(given: Params) -> float:
    """Bytes on disk of a saved policy."""
    return POLICY_BYTES * (1.0 if given.policy.network == "compact" else RESNET_T["bytes"])


def demo_gigabytes(given: Params) -> float:
    """Disk space [GB] of demonstrations."""
    pixels = given.study.n_tasks * 2 * given.env.image_size**2 * 3
    return sum(demo_steps(given, s) * pixels * KEPT_BYTES[recorded(given, s)] for s in given.study.suites) / 1e9


def kind(suite: str) -> str:
    """The kind of a suite: `blocks` or `libero`."""
    return suite.split("_")[0]


def recorded(given: Params, suite: str) -> str:
    """The kind of demonstrations: `download`, or the kind of the suite if they are scripted."""
    return "download" if given.demos.source == "download" else kind(suite)


def demo_steps(given: Params, suite: str) -> float:
    """Number of steps of all demonstrations of a task."""
    return given.demos.n_demos * DEMO_STEPS[recorded(given, suite)]


def size(given: Params) -> float:
    """Work of a learning step, relative to 32 windows of 64 px and a compact network."""
    network = 1.0 if given.policy.network == "compact" else RESNET_T["step"]
    return network * given.learn.batch_size / 32 * (given.env.image_size / 64) ** 2


def describe(given: Params, n_cores: int | None) -> str:
    """The estimate in words: hours and disk space, and how much of it is downloaded."""
    hours = core_hours(given)
    at_best = f", at best {_rounded(hours / n_cores)} h on {n_cores} cores" if n_cores else ""
    downloaded = given.demos.source == "download"
    part = f", {demo_gigabytes(given):.1f} GB of it in '{given.download.folder}'" if downloaded else ""
    return f"about {_rounded(hours)} core hours on CPUs{at_best}, and {gigabytes(given):.1f} GB of disk{part}"


def _rounded(hours: float) -> str:
    return f"{hours:,.0f}" if hours >= 1 else f"{hours:.1g}"


def notice(given: Params, n_cores: int | None, gpu: bool) -> str | None:
    """One line of warning if the study should have a GPU and the machine has none; otherwise None."""
    if gpu:
        return None
    if given.learn.device == "cuda":
        return (
            "note: learn.device is cuda but this machine has no GPU: jobs fail unless they run on cluster nodes with"
            f" one; with learn.device: cpu the whole study takes {describe(given, n_cores)}"
        )
    if core_hours(given) / (n_cores or 1) < LONG:
        return None
    return (
        f"note: no GPU on this machine: the whole study takes {describe(given, n_cores)}"
        "; README.md says how to use a GPU or a cluster"
    )


def measure(folder: Path, given: Params, n_cores: int) -> dict[str, float]:
    """Measure the constants above in a run with these params on `n_cores` of a machine that did nothing else.

    All suites of the run must be of one kind.

    Raises: ValueError if a file of the results is missing.
    """
    study = given.study
    seconds = {_job_of(row): row["s"] for row in results.costs(folder, study).to_dict("records")}
    learned = results.learned(folder, study)
    n_steps = sum(row["n_steps"] for row in learned)
    lasted = sum(seconds[row["suite"], row["method"], row["seed"], f"learn/task{row['task']}"] for row in learned)
    rolled = _rolled_out(results.episodes(folder, study))
    step, start = statistics.linear_regression(rolled.tolist(), [seconds[job] for job in rolled.index])
    held = given.study.rollout_cores(n_cores)
    found = {"LEARNED": lasted * given.learn.n_threads / n_steps / size(given)}
    found |= {"SIMULATED": step * held, "STARTED": start * held}
    made = {path: read_json(path, MADE) for path in (folder / "demos").glob("*/task*.json")}
    if made:
        samples = sum(manifest["n_samples"] for manifest in made.values())
        stored = sum((path.parent / manifest["file"]).stat().st_size for path, manifest in made.items())
        found["DEMO_STEPS"] = samples / sum(manifest["n_demos"] for manifest in made.values())
        found["KEPT_BYTES"] = stored / (samples * 2 * given.env.image_size**2 * 3)
    return found


def _job_of(row: dict[Hashable, Any]) -> tuple[str, str, int, str]:
    return row["suite"], row["method"], row["seed"], row["job"]


def _rolled_out(episodes: pd.DataFrame) -> pd.Series[int]:
    """Number of steps that each job simulated. Jobs on earlier tasks are left out: their records may be copies."""
    own = episodes[(episodes.kind == "curve") | (episodes.stage == episodes.task)]
    task = own.task.astype(str)
    job = ("task" + task + "_curve").where(own.kind == "curve", "stage" + task + "_task" + task)
    return own.assign(job="evaluate/" + job).groupby([*results.CHAIN, "job"]).n_steps.sum()


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options to `parser`."""
    parser.add_argument(
        "--params", nargs="+", default=["params.yaml"], help="params files; their values replace those of params.yaml"
    )
    parser.add_argument("--cores", type=int, help="number of cores of the study")
    parser.add_argument("--notice", action="store_true", help="only warn, on stderr, if a GPU is missing")
    parser.add_argument(
        "--cluster", action="store_true", help="with --notice: jobs do not run on this machine, which need have no GPU"
    )
    parser.add_argument(
        "--measure", type=Path, metavar="RESULTS", help="print the constants measured in this folder of results"
    )


def main(args: argparse.Namespace) -> None:
    """Print the estimate, or the constants that it is computed from.

    Raises: ValueError with --notice if the jobs of the study need a GPU that is not there.
    """
    given = params.study(args.params)
    if args.notice and given.learn.device == "cuda" and not args.cluster:
        from t2s.lifelong import pick_device  # imports torch, which takes seconds

        pick_device("cuda")
    if args.measure:
        for name, value in measure(args.measure, given, args.cores or 1).items():
            print(f"{name} {value:.3g}")
    elif not args.notice:
        print(describe(given, args.cores))
    elif line := notice(given, args.cores or None, has_nvidia()):
        print(line, file=sys.stderr)
