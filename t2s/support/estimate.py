"""What a study takes on CPUs, roughly; the workflow asks before it starts on a machine without a GPU.

Reads: params; with --measure what a finished run left: benchmarks, episodes, learn.json, manifests of demonstrations.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import pandas as pd

from t2s import params
from t2s.data import results
from t2s.params import Params
from t2s.sim.gl import has_nvidia

LONG = 8.0
"""[h] above which a study has work for a GPU."""

LEARNED = 0.032
"""[core s] of one learning step with 32 windows of 64 px, by a policy of the shipped shape.

`t2s estimate --params studies/quick/params.yaml --measure studies/quick --cores 1` gives this and, for
blocks, the next two; `--measure results` after a run of one's own also those of demonstrations. Measure where nothing
else runs; beside that study other jobs ran. Those of `libero` are rough, from single jobs beside other work, as
studies/libero-offline-two was.
"""

SIMULATED = {"blocks": 0.0049, "libero": 0.08}
"""[core s] of one step of a rollout, its share of cameras and predictions included, by kind of suite.

Of `policy.replan_every` and `render.quality` as shipped.
"""

STARTED = {"blocks": 3.8, "libero": 10.6}
"""[core s] of one job of rollouts before its first step: Python, libraries, the scene."""

DEMO_STEPS = {"blocks": 65, "libero": 110, "download": 150}
"""Steps of a demonstration: scripted ones by kind of suite, and, as a guess, those of people."""

KEPT_BYTES = {"blocks": 0.185, "libero": 0.37, "download": 1.0}
"""On disk of a byte of image; the downloaded ones are not compressed."""

POLICY_BYTES = 2.0e6
"""On disk of a saved policy: `base_bytes` in studies/quick/runs/*/*/*/*/learn.json."""

DELTA = 0.1
"""Size of a later task's policy beside a whole one, where only what was added is saved."""

UNTOUCHED = {"t2s", "tail", "packnet", "single_task"}
"""Learners that leave what acts on an earlier task as it is, so that its records stand (`evaluate.reuse_records`)."""


def core_hours(given: Params) -> float:
    """On CPU cores, for demonstrations, learning and rollouts, as if every episode took half its steps."""
    seconds = 0.0
    for suite in given.study.suites:
        chains = [learning(given, suite, method) + rolling_out(given, suite, method) for method in given.study.methods]
        seconds += demonstrating(given, suite) + sum(chains) * len(given.study.seeds)
    return seconds / 3600


def demonstrating(given: Params, suite: str) -> float:
    """[core s] of all demonstrations of a suite, which are drawn at every step; downloaded ones cost none."""
    if given.demos.source == "download":
        return 0.0
    drawn = given.policy.replan_every * SIMULATED[kind(suite)]
    return given.study.n_tasks * demo_steps(given, suite) * drawn


def learning(given: Params, suite: str, method: str) -> float:
    """[core s] of learning all tasks of a suite, once."""
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
    """[core s] of the rollouts of a chain: the policies of every learning curve, the kept ones on all tasks so far."""
    k, rules = given.study.n_tasks, given.evaluate.rules
    stands = given.evaluate.reuse_records and given.methods.root[method].learner in UNTOUCHED
    kept = k if stands else k * (k + 1) // 2
    episodes = (k * len(given.learn.eval_epochs) + kept) * rules.n_rollouts
    return (k + kept) * STARTED[kind(suite)] + episodes * rules.max_steps / 2 * SIMULATED[kind(suite)]


def gigabytes(given: Params) -> float:
    """On disk, for demonstrations and policies, which are nearly all that is kept."""
    k, pixels = given.study.n_tasks, 2 * given.env.image_size**2 * 3
    demos = sum(k * demo_steps(given, s) * pixels * KEPT_BYTES[recorded(given, s)] for s in given.study.suites)
    deltas = {"t2s", "tail"}
    tasks = [1 + (k - 1) * (DELTA if given.methods.root[m].learner in deltas else 1) for m in given.study.methods]
    chains = sum(tasks) * len(given.study.suites) * len(given.study.seeds)
    n_kept = 2 * len(given.learn.eval_epochs) + 1  # in results/runs and in results/cache; of one a copy is chosen
    return (demos + chains * n_kept * POLICY_BYTES) / 1e9


def kind(suite: str) -> str:
    """`blocks` or `libero`."""
    return suite.split("_")[0]


def recorded(given: Params, suite: str) -> str:
    """Whose demonstrations: `download`, or for scripted ones the kind of suite."""
    return "download" if given.demos.source == "download" else kind(suite)


def demo_steps(given: Params, suite: str) -> float:
    """Steps of all demonstrations of a task."""
    return given.demos.n_demos * DEMO_STEPS[recorded(given, suite)]


def size(given: Params) -> float:
    """Of a batch's images, in those of 32 windows of 64 px."""
    return given.learn.batch_size / 32 * (given.env.image_size / 64) ** 2


def describe(given: Params, n_cores: int | None) -> str:
    """Hours and disk in words."""
    hours = core_hours(given)
    at_best = f", at best {_rounded(hours / n_cores)} h on {n_cores} cores" if n_cores else ""
    return f"about {_rounded(hours)} core hours on CPUs{at_best}, and {gigabytes(given):.1f} GB of disk"


def _rounded(hours: float) -> str:
    return f"{hours:,.0f}" if hours >= 1 else f"{hours:.1g}"


def notice(given: Params, n_cores: int | None, gpu: bool) -> str | None:
    """One line for a study that should have a GPU where there is none; None for any other."""
    if gpu:
        return None
    if given.learn.device == "cuda":
        return (
            "note: learn.device is cuda and this machine has no GPU: jobs fail unless they run on a cluster's nodes"
            f" that have one; with learn.device cpu the whole study takes {describe(given, n_cores)}"
        )
    if core_hours(given) / (n_cores or 1) < LONG:
        return None
    return (
        f"note: no GPU on this machine: the whole study takes {describe(given, n_cores)}"
        "; README says how to use a GPU or a cluster"
    )


def measure(folder: Path, given: Params, n_cores: int) -> dict[str, float]:
    """The constants above, from a run of these params on `n_cores` of a machine that did nothing else.

    All of its suites must be of one kind.

    Raises: ValueError when a file of the results is missing.
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
    made = {path: json.loads(path.read_text(encoding="utf-8")) for path in (folder / "demos").glob("*/task*.json")}
    if made:
        samples = sum(manifest["n_samples"] for manifest in made.values())
        stored = sum((path.parent / manifest["file"]).stat().st_size for path, manifest in made.items())
        found["DEMO_STEPS"] = samples / sum(manifest["n_demos"] for manifest in made.values())
        found["KEPT_BYTES"] = stored / (samples * 2 * given.env.image_size**2 * 3)
    return found


def _job_of(row: dict[Hashable, Any]) -> tuple[str, str, int, str]:
    return row["suite"], row["method"], row["seed"], row["job"]


def _rolled_out(episodes: pd.DataFrame) -> pd.Series[int]:
    """Steps simulated by each job, where it did so itself: kept records of earlier tasks may be copies."""
    own = episodes[(episodes.kind == "curve") | (episodes.stage == episodes.task)]
    task = own.task.astype(str)
    job = ("task" + task + "_curve").where(own.kind == "curve", "stage" + task + "_task" + task)
    return own.assign(job="evaluate/" + job).groupby([*results.CHAIN, "job"]).n_steps.sum()


def arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("--params", nargs="+", default=["params.yaml"], help="files; later ones win")
    parser.add_argument("--cores", type=int, help="that a study has, or had")
    parser.add_argument("--notice", action="store_true", help="on stderr, only where a GPU is missing")
    parser.add_argument("--measure", type=Path, metavar="RESULTS", help="print the constants that a run gives")


def main(args: argparse.Namespace) -> None:
    """Print the estimate, or the constants that it is made of."""
    given = params.check(params.read(*args.params))
    if args.measure:
        for name, value in measure(args.measure, given, args.cores or 1).items():
            print(f"{name} {value:.3g}")
    elif not args.notice:
        print(describe(given, args.cores))
    elif line := notice(given, args.cores or None, has_nvidia()):
        print(line, file=sys.stderr)
