"""Scripted demonstrations of one task, simulated first and rendered afterwards.

Reads: the task's BDDL file; params `demos`, `env`.
Writes: an HDF5 file in LIBERO's layout, and a small manifest of it.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from t2s import params
from t2s.data import demonstrations, suites
from t2s.data.files import sha256, write_json
from t2s.sim import expert
from t2s.sim.env import CAMERAS, CONTROL_FREQ, Env, controller_config
from t2s.sim.expert import Demo

ATTEMPTS_A_DEMO = 2  # fail when fewer than half the attempts succeed: the expert is broken then


def main(arguments: list[str] | None = None) -> None:
    """Command line entry."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--suite", required=True)
    parser.add_argument("--task", type=int, required=True)
    parser.add_argument("--params", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--manifest", type=Path, required=True)
    args = parser.parse_args(arguments)
    task = suites.task(args.suite, args.task)
    demos, env = params.Demos.read(args.params), params.Env.read(args.params)
    facts = {"file": os.path.relpath(args.out, args.manifest.parent)}
    write_json(args.manifest, facts | write(task, demos, env.image_size, args.out))


def write(task: suites.Task, demos: params.Demos, image_size: int, path: Path) -> dict[str, Any]:
    """Demonstrate `task`, write the file and return its manifest."""
    env = Env(task.bddl_path, image_size)
    try:
        successes, n_attempts = attempt(env, demos.n_demos, demos.seed, task.name)
        rendered = [render(env, demo) for demo in tqdm(successes, desc="render", unit="demo", mininterval=5)]
        demonstrations.write(path, rendered, attributes(env, task, image_size))
    finally:
        env.close()
    return {
        "sha256": sha256(path),
        "n_demos": len(successes),
        "n_attempts": n_attempts,
        "n_samples": sum(len(demo.actions) for demo in successes),
        "source": "scripted",
        "instruction": task.instruction,
    }


def attempt(env: Env, n_demos: int, seed: int, name: str) -> tuple[list[Demo], int]:
    """`n_demos` successful attempts, and how many attempts that took."""
    seeds = np.random.SeedSequence(seed).generate_state(ATTEMPTS_A_DEMO * n_demos)
    successes: list[Demo] = []
    with tqdm(total=n_demos, desc=name, unit="demo", mininterval=5) as progress:
        for n_attempts, attempt_seed in enumerate(seeds, start=1):
            demo = expert.demonstrate(env, int(attempt_seed))
            if demo is not None:
                successes.append(demo)
                progress.update()
            if len(successes) == n_demos:
                return successes, n_attempts
    raise RuntimeError(f"{name}: {len(successes)} of {len(seeds)} attempts succeeded, expected {n_demos}")


def render(env: Env, demo: Demo) -> dict[str, np.ndarray]:
    """A demonstration's arrays by their paths in LIBERO's files, as a rollout sees its states."""
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
    """LIBERO's attributes of `data`, and what is different here."""
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
        "bddl_file_content": task.bddl_path.read_text(),
        "tag": "t2s-scripted",
        "source": "scripted",
        "action_noise": "the actions were executed with noise; recorded is the action meant",
        "model_file": env.model_xml(),
    }


if __name__ == "__main__":
    main()
