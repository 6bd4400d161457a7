"""Roll out policies on one task at one stage: those of all evaluation epochs (a curve), or the kept policy.

Reads: checkpoints, the instruction's embedding, the task's BDDL file and initial states. For a kept policy, also the
records of the previous stage, which are reused if nothing that acts on the task has changed.
Writes: one JSONL record per episode, in the order of epochs and initial states. With --cache, the records are also
stored in the cache, under a digest of everything they depend on. If they are there already, they are only copied.
"""

from __future__ import annotations

import argparse
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32, Float64

from t2s import packages, params
from t2s.data import assets, cache, embeddings, init_states, records, suites
from t2s.data.files import read_json
from t2s.sim import engine, rollout, worker

KEPT = "kept"
"""Key of the only policy when the kept policy is rolled out."""
RECORDS = "records.jsonl"


@dataclass(frozen=True)
class MakeEnv:
    """Makes the environment of a task, in the worker process."""

    bddl_path: Path
    image_size: int
    assets_dir: Path | None
    quality: params.Quality = "libero"

    def __call__(self) -> rollout.Env:
        from t2s.sim.env import Env  # imports MuJoCo, which the parent never needs

        return Env(self.bddl_path, self.image_size, self.assets_dir, self.quality)


@dataclass(frozen=True)
class MakePolicy:
    """Makes the policy of an epoch, in the worker process. It is given the instruction, never the task's number."""

    source: str
    method: str
    checkpoints: dict[str, list[Path]]
    task_emb: Float32[np.ndarray, "d"]
    actions: params.Actions

    def __call__(self, key: str) -> rollout.Policy:
        from t2s.lifelong import load_policy  # imports torch, which takes seconds

        checkpoints = self.checkpoints[key]
        return load_policy(self.source, self.method, checkpoints, self.task_emb, self.actions)


@dataclass(frozen=True)
class Job:
    """The episodes to roll out, and the settings and labels that they share."""

    args: argparse.Namespace
    task: suites.Task
    evaluate: params.Evaluate
    engine: params.Engine
    make_policy: MakePolicy
    epochs: dict[str, int]  # epoch of every policy, by key
    episodes: list[rollout.Episode]
    look: dict[str, str]  # label of the scene assets, and render quality

    def identity(self, device: str) -> dict[str, Any]:
        """The fields that all records of this job share."""
        names = ("suite", "method", "seed", "stage", "task", "kind")
        shared = {name: getattr(self.args, name) for name in names}
        versions = rollout.versions(_device_name(device)) | self.look | {"actions": self.evaluate.rules.actions}
        return shared | {"protocol": self.evaluate.protocol, "versions": versions}

    def index(self, episode: rollout.Episode) -> dict[str, int]:
        """The fields that tell apart the records of this job."""
        return {
            "epoch": self.epochs[episode.policy],
            "init_index": episode.init_index,
            "episode_seed": episode.seed,
        }


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options to `parser`."""
    parser.add_argument("--suite", required=True, help="suite of the task")
    parser.add_argument("--method", required=True, help="name of the method in the params")
    parser.add_argument("--seed", type=int, required=True, help="seed of the policies")
    parser.add_argument("--stage", type=int, required=True, help="number of the last task learned")
    parser.add_argument("--task", type=int, required=True, help="task to roll out, in the order of learning, from 0")
    parser.add_argument("--suite-task", type=int, help="number of this task in the suite, if it differs")
    parser.add_argument(
        "--kind", choices=records.KINDS, required=True, help="curve: the policies of all epochs; kept: the kept policy"
    )
    parser.add_argument("--params", required=True, help="params file, YAML or JSON")
    parser.add_argument(
        "--checkpoints",
        type=Path,
        nargs="+",
        required=True,
        help="kept policies of all tasks, in order; for a curve: of the earlier tasks, then epoch*.safetensors",
    )
    parser.add_argument("--language", type=Path, required=True, help="instruction embeddings")
    parser.add_argument("--previous", type=Path, nargs="*", help="records of the previous stage, if any")
    parser.add_argument("--cache", type=Path, help="folder of the cache of records")
    parser.add_argument("--code", default="", help="digest of code and scenes, part of the cache key")
    parser.add_argument("--workers", type=int, default=1, help="number of processes; no record depends on it")
    parser.add_argument("--engine", required=True, help="params file with section `engine`; no record depends on it")
    parser.add_argument("--out", type=Path, required=True, help="JSONL file to write")


def main(args: argparse.Namespace) -> None:
    """Copy the records from the cache or from the previous stage if they still hold; otherwise simulate."""
    evaluate = params.Evaluate.read(args.params)
    task = suites.task(args.suite, args.task if args.suite_task is None else args.suite_task)
    states = init_states.read(task)
    checkpoints = policies(args.kind, args.checkpoints)
    (task_emb,) = embeddings.find(args.language, [task.instruction])
    assets_dir, quality = assets.folder(args.suite, args.params), assets.quality(args.suite, args.params)
    job = Job(
        args,
        task,
        evaluate,
        params.Engine.read(args.engine),
        MakePolicy(args.params, args.method, checkpoints, task_emb, evaluate.rules.actions),
        _epochs(checkpoints, args.task),
        _due(args, task, evaluate.rules, list(checkpoints), len(states)),
        assets.look(assets_dir, quality),
    )
    make_env = MakeEnv(task.bddl_path, params.Env.read(args.params).image_size, assets_dir, quality)
    kept = args.cache / _cache_key(job) if args.cache and evaluate.reuse_records else None
    if kept and cache.give(kept, {RECORDS: args.out}):
        print(f"already rolled out: copied from {kept} to {args.out}", file=sys.stderr)
        return
    records.write(kept / RECORDS if kept else args.out, _standing(job) or _simulated(job, make_env, states))
    if kept:
        cache.keep(kept, {RECORDS: args.out})


def _cache_key(job: Job) -> str:
    args = job.args
    which = [args.suite, args.method, args.seed, args.stage, args.task, job.task.index, args.kind]
    versions = packages.simulator() | job.identity("cpu")["versions"]
    values = [which, job.epochs, params.read(args.params), versions, job.task.name, args.code]
    return cache.key(values, [*args.checkpoints, args.language])


def policies(kind: str, checkpoints: list[Path]) -> dict[str, list[Path]]:
    """The checkpoints of every policy, in the order of the tasks. The policies are in the order of epochs."""
    kept = [path for path in checkpoints if not path.name.startswith("epoch")]
    last = sorted((path for path in checkpoints if path not in kept), key=_epoch)
    if kind == "kept" and not last:
        return {KEPT: kept}
    if kind == "curve" and last:
        return {path.stem: [*kept, path] for path in last}
    wanted = "epoch*.safetensors" if kind == "curve" else "kept policies"
    raise ValueError(f"expected {wanted}, got {[str(path) for path in checkpoints]}")


def _epochs(checkpoints: dict[str, list[Path]], task: int) -> dict[str, int]:
    """The epoch of every policy. For a kept policy, it is the epoch that was chosen for `task`."""
    if KEPT not in checkpoints:
        return {key: _epoch(paths[-1]) for key, paths in checkpoints.items()}
    if task >= len(checkpoints[KEPT]):
        raise ValueError(f"expected the kept policies of tasks 0 to {task}, got {len(checkpoints[KEPT])} policies")
    chosen = checkpoints[KEPT][task].with_name("chosen.json")
    return {KEPT: read_json(chosen, {"epoch": int})["epoch"]}


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
    """The previous stage's records, relabelled for this stage; None if simulating might give different ones."""
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
