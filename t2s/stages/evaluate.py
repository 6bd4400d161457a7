"""Roll out what is due on one task at one stage: the policies of all epochs, or the kept one.

Reads: checkpoints, the instruction's embedding, the task's BDDL file and initial states, and for a
kept policy the records of the stage before: where what acts on the task is unchanged, they stand.
Writes: one JSONL record an episode, by epoch and initial state. With a cache, also there, named by what they depend
on: what was rolled out before is only copied.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32, Float64

from t2s import params
from t2s.data import assets, cache, embeddings, init_states, records, suites
from t2s.sim import engine, rollout, worker

KEPT = "kept"
"""Key of the one policy there is when the kept policy is rolled out."""
RECORDS = "records.jsonl"


@dataclass(frozen=True)
class MakeEnv:
    """The environment of a task, made in the worker."""

    bddl_path: Path
    image_size: int
    assets_dir: Path | None
    quality: params.Quality = "libero"

    def __call__(self) -> rollout.Env:
        from t2s.sim.env import Env  # imports MuJoCo, which the parent never needs

        return Env(self.bddl_path, self.image_size, self.assets_dir, self.quality)


@dataclass(frozen=True)
class MakePolicy:
    """The policy of an epoch, made in the worker: it is told the instruction, never the task."""

    source: str
    method: str
    checkpoints: dict[str, list[Path]]
    task_emb: Float32[np.ndarray, "d"]
    sample: bool

    def __call__(self, key: str) -> rollout.Policy:
        from t2s.lifelong import load_policy  # imports torch: seconds, which the parent saves

        checkpoints = self.checkpoints[key]
        return load_policy(self.source, self.method, checkpoints, self.task_emb, self.sample)


@dataclass(frozen=True)
class Job:
    """What is due: the command line, the protocol, and who the episodes belong to."""

    args: argparse.Namespace
    task: suites.Task
    evaluate: params.Evaluate
    engine: params.Engine
    make_policy: MakePolicy
    epochs: dict[str, int]  # of every policy, by its key
    episodes: list[rollout.Episode]
    look: dict[str, str]  # of the scenes

    def identity(self, device: str) -> dict[str, Any]:
        """What the records of this job have in common."""
        names = ("suite", "method", "seed", "stage", "task", "kind")
        shared = {name: getattr(self.args, name) for name in names}
        versions = rollout.versions(_device_name(device)) | self.look
        return shared | {"protocol": self.evaluate.protocol, "versions": versions}

    def index(self, episode: rollout.Episode) -> dict[str, int]:
        """What tells a record of this job from the others."""
        return {
            "epoch": self.epochs[episode.policy],
            "init_index": episode.init_index,
            "episode_seed": episode.seed,
        }


def arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("--suite", required=True)
    parser.add_argument("--method", required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--stage", type=int, required=True, help="tasks 0..stage were learned")
    parser.add_argument("--task", type=int, required=True, help="in the order of learning, from 0")
    parser.add_argument("--suite-task", type=int, help="the same task in the order of the suite, if another")
    parser.add_argument("--kind", choices=records.KINDS, required=True)
    parser.add_argument("--params", required=True, help="YAML or JSON file")
    parser.add_argument(
        "--checkpoints",
        type=Path,
        nargs="+",
        required=True,
        help="kept policies in the order of the tasks; for a curve those before it, and its epoch*",
    )
    parser.add_argument("--language", type=Path, required=True, help="instruction embeddings")
    parser.add_argument("--previous", type=Path, nargs="*", help="records of the stage before, if any")
    parser.add_argument("--cache", type=Path, help="folder of what was rolled out before")
    parser.add_argument("--code", default="", help="digest of code and scenes, which the cache depends on, too")
    parser.add_argument("--workers", type=int, default=1, help="processes; they change no record")
    parser.add_argument("--engine", required=True, help="YAML or JSON file; it changes no record")
    parser.add_argument("--out", type=Path, required=True)


def main(args: argparse.Namespace) -> None:
    """Copy the records of an earlier run or of the stage before where they still hold, else simulate."""
    evaluate = params.Evaluate.read(args.params)
    task = suites.task(args.suite, args.task if args.suite_task is None else args.suite_task)
    states = init_states.read(task)
    checkpoints = policies(args.kind, args.checkpoints)
    (task_emb,) = embeddings.find(args.language, [task.instruction])
    sample = evaluate.rules.sample_actions
    assets_dir, quality = assets.folder(args.suite, args.params), assets.quality(args.suite, args.params)
    job = Job(
        args,
        task,
        evaluate,
        params.Engine.read(args.engine),
        MakePolicy(args.params, args.method, checkpoints, task_emb, sample),
        _epochs(checkpoints, args.task),
        _due(args, task, evaluate.rules, list(checkpoints), len(states)),
        assets.look(assets_dir, quality),
    )
    make_env = MakeEnv(task.bddl_path, params.Env.read(args.params).image_size, assets_dir, quality)
    kept = args.cache / _cache_key(job) if args.cache and evaluate.reuse_records else None
    if kept and cache.give(kept, {RECORDS: args.out}):
        print(f"rolled out before, so copied from {kept} to {args.out}", file=sys.stderr)
        return
    records.write(kept / RECORDS if kept else args.out, _standing(job) or _simulated(job, make_env, states))
    if kept:
        cache.keep(kept, {RECORDS: args.out})


def _cache_key(job: Job) -> str:
    args = job.args
    which = [args.suite, args.method, args.seed, args.stage, args.task, job.task.index, args.kind]
    values = [which, job.epochs, params.read(args.params), job.identity("cpu")["versions"], job.task.name, args.code]
    return cache.key(values, [*args.checkpoints, args.language])


def policies(kind: str, checkpoints: list[Path]) -> dict[str, list[Path]]:
    """Every policy's checkpoints, in the order of the tasks, by its key in the order of epochs."""
    kept = [path for path in checkpoints if not path.name.startswith("epoch")]
    last = sorted((path for path in checkpoints if path not in kept), key=_epoch)
    if kind == "kept" and not last:
        return {KEPT: kept}
    if kind == "curve" and last:
        return {path.stem: [*kept, path] for path in last}
    wanted = "epoch*.safetensors" if kind == "curve" else "kept policies"
    raise ValueError(f"expected {wanted}, got {[str(path) for path in checkpoints]}")


def _epochs(checkpoints: dict[str, list[Path]], task: int) -> dict[str, int]:
    """The epoch of every policy; of a kept one the epoch that was chosen on `task`."""
    if KEPT not in checkpoints:
        return {key: _epoch(paths[-1]) for key, paths in checkpoints.items()}
    if task >= len(checkpoints[KEPT]):
        raise ValueError(f"expected the kept policy of task {task}, got {len(checkpoints[KEPT])}")
    chosen = checkpoints[KEPT][task].with_name("chosen.json")
    return {KEPT: json.loads(chosen.read_text())["epoch"]}


def _epoch(path: Path) -> int:
    match = re.fullmatch(r"epoch(\d+)", path.stem)
    if not match:
        raise ValueError(f"expected epoch{{number}}.safetensors, got {path}")
    return int(match[1])


def _due(
    args: argparse.Namespace, task: suites.Task, rules: params.Protocol, keys: list[str], n_states: int
) -> list[rollout.Episode]:
    first = rules.kept_offset if args.kind == "kept" else 0
    return [
        rollout.Episode(
            policy=key,
            init_index=number % n_states,
            seed=rollout.episode_seed(task.suite, task.index, number, args.seed, key),
        )
        for key in keys
        for number in range(first, first + rules.n_rollouts)
    ]


def _standing(job: Job) -> list[dict[str, Any]] | None:
    """The records of the stage before, as this stage's, if simulating again would give the same."""
    if not job.args.previous or not job.evaluate.reuse_records:
        return None
    found = [
        {str(field): value for field, value in record.items()}
        for record in records.read(job.args.previous).to_dict("records")
    ]
    policy = job.make_policy(KEPT)
    same = job.identity(str(policy.device)) | {
        "stage": job.args.stage - 1,
        "fingerprint": policy.fingerprint,
    }
    due = [same | job.index(episode) for episode in job.episodes]
    if [{field: record[field] for field in same | due[0]} for record in found] != due:
        return None
    return [{**record, "stage": job.args.stage} for record in found]


def _simulated(job: Job, make_env: MakeEnv, states: Float64[np.ndarray, "n s"]) -> list[dict[str, Any]]:
    rules = job.evaluate.rules
    setting = worker.Setting(make_env, job.make_policy, states, rules.max_steps, rules.settle_steps)
    outcomes = engine.roll_out(job.episodes, setting, job.args.workers, job.engine)
    return [
        job.identity(outcome.device)
        | job.index(episode)
        | {
            "success": outcome.success,
            "n_steps": outcome.n_steps,
            "fingerprint": outcome.fingerprint,
        }
        for episode, outcome in zip(job.episodes, outcomes, strict=True)
    ]


def _device_name(device: str) -> str:
    """`cpu`, or the name of the GPU."""
    if device == "cpu":
        return device
    import torch

    return torch.cuda.get_device_name(device)
