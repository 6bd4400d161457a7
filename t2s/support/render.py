"""Compare the render qualities `fast` and `libero` on a LIBERO task: how fast they are, how much the images differ.

Reads: the task's BDDL file and first initial state, LIBERO's scene assets; params `assets`.
Prints: observations (both cameras, 128 px) per second of processor time, a measure that other work on the machine
disturbs least, and the mean absolute difference of each camera's pixels, out of 255.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
from PIL import Image

from t2s import params
from t2s.data import assets, init_states, suites
from t2s.sim.env import CAMERAS, Env, Observation

SIZE = params.PUBLISHED_SIZE
SETTLE_STEPS = 5
N_TURNS, N_A_TURN = 5, 6  # the qualities take turns, so that other work slows both


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options to `parser`."""
    parser.add_argument("--suite", required=True, help="a LIBERO suite")
    parser.add_argument("--task", type=int, required=True, help="number of the task in the suite, from 0")
    parser.add_argument("--params", default="params.yaml", help="params file, YAML or JSON")
    parser.add_argument("--png", type=Path, help="image to write: `libero` above `fast`")


def main(args: argparse.Namespace) -> None:
    """Print the comparison and, with --png, write the images."""
    assets_dir = assets.folder(args.suite, args.params)
    if assets_dir is None:
        raise ValueError(f"expected a suite libero_*, got '{args.suite}', which has only one quality")
    (libero, fast), (slow, quick) = compare(suites.task(args.suite, args.task), assets_dir)
    print(f"libero {1 / slow:.1f}/s, fast {1 / quick:.1f}/s: {slow / quick:.1f} times as fast")
    for camera in CAMERAS:
        print(f"{camera}: mean difference {np.abs(libero[camera].astype(int) - fast[camera]).mean():.2f} of 255")
    if args.png:
        _picture([libero, fast]).save(args.png)


def compare(task: suites.Task, assets_dir: Path) -> tuple[list[Observation], list[float]]:
    """The observation at the start of an episode, and the time [s] to make it, for `libero` and for `fast`."""
    qualities: list[params.Quality] = ["libero", "fast"]
    envs = [Env(task.bddl_path, SIZE, assets_dir, quality) for quality in qualities]
    try:
        state = init_states.read(task)[0]
        for env in envs:
            env.reset(state, 0, SETTLE_STEPS)
        seen = [env.observe() for env in envs]
        times = [[_time(env) for env in envs] for _ in range(N_TURNS)]
    finally:
        for env in envs:
            env.close()
    return seen, np.median(times, axis=0).tolist()


def _time(env: Env) -> float:
    start = time.process_time()
    for _ in range(N_A_TURN):
        env.observe()
    return (time.process_time() - start) / N_A_TURN


def _picture(rows: list[Observation]) -> Image.Image:
    """Both cameras side by side, upright, with one row per quality."""
    shown = np.concatenate([np.concatenate([row[key][::-1] for key in CAMERAS], axis=1) for row in rows])
    return Image.fromarray(shown).resize((6 * SIZE, 6 * SIZE), Image.Resampling.NEAREST)
