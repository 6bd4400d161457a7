"""Write scripted demonstrations of one task, or with --check count how many attempts succeed.

The demonstrations are simulated first and rendered afterwards. Those of a LIBERO task start from stored initial states
that no rollout uses, those of an embedded suite from states that are drawn for them.
Reads: the task's BDDL file, LIBERO's initial states; params `demos`, `env`, `render`; `evaluate` for a LIBERO task
without --init-states.
Writes: an HDF5 file in LIBERO's layout, and a small manifest of it.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from t2s import params
from t2s.data import assets, demonstrations, init_states, suites
from t2s.data.files import sha256, write_json
from t2s.errors import SimulationError
from t2s.sim.env import CAMERAS, CONTROL_FREQ, Env, controller_config
from t2s.sim.expert import follow
from t2s.sim.expert.follow import Demo

CHECKED = ("suite", "task", "successes", "attempts", "mean_steps", "assets", "name")
ATTEMPTS_A_DEMO = 2  # if fewer than half of the attempts succeed, the expert is broken: fail


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options to `parser`."""
    parser.add_argument("--suite", required=True, nargs="+", help="suite of the task; with --check, one or more")
    parser.add_argument("--task", type=int, help="number of the task in the suite, from 0; with --check, default: all")
    parser.add_argument("--params", default="params.yaml", help="params file, YAML or JSON")
    parser.add_argument(
        "--init-states",
        type=int,
        nargs="*",
        metavar="INDEX",
        help="stored initial states of a LIBERO task to start from, in order; default: those that no rollout uses",
    )
    parser.add_argument("--out", type=Path, help="HDF5 file to write")
    parser.add_argument("--manifest", type=Path, help="manifest to write, JSON")
    parser.add_argument("--check", type=int, metavar="N", help="only print as CSV how many of N attempts succeed")


def main(args: argparse.Namespace) -> None:
    """Write the demonstrations of one task, or print what --check counts."""
    demos, env = params.Demos.read(args.params), params.Env.read(args.params)
    if args.check:
        writer = csv.DictWriter(sys.stdout, CHECKED, lineterminator="\n")
        writer.writeheader()
        for suite in args.suite:
            assets_dir = assets.folder(suite, args.params)
            for task in suites.tasks(suite) if args.task is None else [suites.task(suite, args.task)]:
                writer.writerow(check(task, demos.seed, args.check, assets_dir))
                sys.stdout.flush()
        return
    if len(args.suite) > 1 or args.task is None or args.out is None or args.manifest is None:
        raise ValueError("expected one --suite, --task, --out and --manifest, or --check")
    task = suites.task(args.suite[0], args.task)
    assets_dir = assets.folder(task.suite, args.params)
    facts = {"file": os.path.relpath(args.out, args.manifest.parent)}
    quality = assets.quality(task.suite, args.params)
    starts = free_states(task, demos.n_demos, args) if assets.needed(task.suite) else ()
    write_json(args.manifest, facts | write(task, demos, env.image_size, args.out, assets_dir, quality, starts))


def free_states(task: suites.Task, n_demos: int, args: argparse.Namespace) -> list[int]:
    """The stored initial states to start from: at least one for each demonstration.

    Raises: ValueError in one line if there are fewer, or if one does not exist.
    """
    n_stored = len(init_states.read(task))
    starts = args.init_states or params.states_of(params.Evaluate.read(args.params), n_stored).demonstrating
    if unknown := [index for index in starts if not 0 <= index < n_stored]:
        raise ValueError(f"expected initial states 0 to {n_stored - 1} of {task.name}, got {unknown}")
    if n_demos > len(starts):
        raise ValueError(
            f"expected demos.n_demos <= {len(starts)}, the number of initial states that no rollout uses, got {n_demos}"
        )
    return list(starts)


def write(
    task: suites.Task,
    demos: params.Demos,
    image_size: int,
    path: Path,
    assets_dir: Path | None = None,
    quality: params.Quality = "libero",
    starts: Sequence[int] = (),
) -> dict[str, Any]:
    """Write demonstrations of `task` to `path`, and return their manifest. `starts`: see `attempts`."""
    env = Env(task.bddl_path, image_size, assets_dir, quality)
    try:
        successes, n_attempts = attempt(env, task, demos, starts)
        rendered = [render(env, demo) for demo in tqdm(successes, desc="render", unit="demo", mininterval=5)]
        look = assets.look(assets_dir, quality)
        demonstrations.write(path, rendered, attributes(env, task, image_size) | look)
    finally:
        env.close()
    return look | {
        "sha256": sha256(path),
        "n_demos": len(successes),
        "n_attempts": n_attempts,
        "n_samples": sum(len(demo.actions) for demo in successes),
        "source": "scripted",
        "observations": demonstrations.OBSERVATIONS["scripted"],
        "instruction": task.instruction,
    }


def check(task: suites.Task, seed: int, n: int, assets_dir: Path | None) -> dict[str, Any]:
    """A row with the columns `CHECKED`: how many of `n` attempts succeed, and in how many steps on average.

    If the expert has no skill for a goal of the task, the row counts 0 of 0 attempts.
    """
    env = Env(task.bddl_path, 128, assets_dir)  # nothing is rendered
    starts = range(params.N_STORED)[::-1] if assets.needed(task.suite) else ()
    try:
        lengths = [len(demo.actions) for demo in attempts(env, task, seed, n, starts) if demo is not None]
    except ValueError as error:
        print(f"{task.name}: {error}", file=sys.stderr)
        lengths, n = [], 0
    finally:
        env.close()
    counts = [len(lengths), n, round(float(np.mean(lengths))) if lengths else ""]
    made_of = assets.label(assets_dir) if assets_dir else "primitives"
    return dict(zip(CHECKED, [task.suite, task.index, *counts, made_of, task.name], strict=True))


def attempt(env: Env, task: suites.Task, demos: params.Demos, starts: Sequence[int] = ()) -> tuple[list[Demo], int]:
    """`demos.n_demos` successful attempts, and the number of attempts they took.

    Raises: SimulationError if fewer than half of the attempts succeed.
    """
    n_demos, n_attempts = demos.n_demos, ATTEMPTS_A_DEMO * demos.n_demos
    successes: list[Demo] = []
    with tqdm(total=n_demos, desc=task.name, unit="demo", mininterval=5) as progress:
        for number, demo in enumerate(attempts(env, task, demos.seed, n_attempts, starts), start=1):
            if demo is not None:
                successes.append(demo)
                progress.update()
            if len(successes) == n_demos:
                return successes, number
    raise SimulationError(f"{task.name}: {len(successes)} of {n_attempts} attempts succeeded, expected {n_demos}")


def attempts(env: Env, task: suites.Task, seed: int, n: int, starts: Sequence[int] = ()) -> Iterator[Demo | None]:
    """The outcomes of `n` attempts: a demonstration, or None for a failure.

    They start from the stored initial states `starts` in turn, each time with other noise. Without `starts`, every
    attempt draws its own state.
    """
    stored = init_states.read(task)[list(starts)] if starts else [None]
    for number, attempt_seed in enumerate(attempt_seeds(seed, n)):
        yield follow.demonstrate(env, attempt_seed, stored[number % len(stored)])


def attempt_seeds(seed: int, n: int) -> list[int]:
    """The seeds of `n` attempts; on an embedded suite, each draws the state it starts from.

    They differ from those that drew the stored initial states (t2s.sim.blocks.sample_init_states.seeds), which come
    from the names of the tasks.
    """
    return [int(word) for word in np.random.SeedSequence(seed).generate_state(n)]


def render(env: Env, demo: Demo) -> dict[str, np.ndarray]:
    """The arrays of a demonstration, by their paths in LIBERO's files. States are rendered as a rollout sees them."""
    env.sample(demo.seed)  # places LIBERO's fixtures
    rows = [_row(env, state) for state in demo.states]
    arrays = {key: np.stack([row[key] for row in rows]) for key in rows[0]}
    ends = np.zeros(len(demo.actions), dtype=np.uint8)
    ends[-1] = 1
    return arrays | {
        "actions": demo.actions.astype(np.float64),
        "states": demo.states,
        "dones": ends,
        "rewards": ends,
        "init_state": demo.states[0],
        "model_file": env.model_xml(),
    }


def _row(env: Env, state: np.ndarray) -> dict[str, np.ndarray]:
    env.set_state(state)
    observation = {f"obs/{key}": array for key, array in env.observe().items()}
    for key in ("obs/joint_states", "obs/gripper_states"):
        observation[key] = observation[key].astype(np.float64)
    position, quaternion, axis_angle = env.end_effector()
    return observation | {
        "obs/ee_pos": position,
        "obs/ee_ori": axis_angle,
        "obs/ee_states": np.concatenate([position, axis_angle]),
        "robot_states": np.concatenate([observation["obs/gripper_states"], position, quaternion]),
    }


def attributes(env: Env, task: suites.Task, image_size: int) -> dict[str, Any]:
    """The attributes of the group `data`: LIBERO's, and those that mark the file as scripted."""
    bddl_file_name = f"{task.suite}/{task.name}.bddl"
    problem = {
        "problem_name": env.problem_name,
        "domain_name": "robosuite",
        "language_instruction": task.instruction,
    }
    env_kwargs = {
        "robots": ["Panda"],
        "bddl_file_name": bddl_file_name,
        "controller_configs": controller_config(),
        "camera_names": list(CAMERAS.values()),
        "camera_heights": image_size,
        "camera_widths": image_size,
        "control_freq": CONTROL_FREQ,
    }
    env_args = {
        "type": 1,
        "env_name": env.problem_name,
        "problem_name": env.problem_name,
        "bddl_file": bddl_file_name,
        "env_kwargs": env_kwargs,
    }
    return {
        "env_name": env.problem_name,
        "problem_info": json.dumps(problem, sort_keys=True),
        "env_args": json.dumps(env_args, sort_keys=True),
        "macros_image_convention": "opengl",
        "bddl_file_name": bddl_file_name,
        "bddl_file_content": task.bddl_path.read_text(encoding="utf-8"),
        "tag": "t2s-scripted",
        "source": "scripted",
        "action_noise": "the actions were executed with noise; recorded is the action meant",
    }
