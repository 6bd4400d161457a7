"""How much faster `render.quality: fast` draws a task of LIBERO's than `libero`, and how far its images are off.

Reads: the task's BDDL file and first initial state, LIBERO's scene assets; params `assets`.
Prints: observations (both cameras, 128 px) a second of processor time, which other work on the machine disturbs least,
and the mean absolute difference of each camera's pixels, of 255.
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
N_TURNS, N_A_TURN = 5, 6  # the two take turns: other work on the machine slows both


def arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("--suite", required=True)
    parser.add_argument("--task", type=int, required=True)
    parser.add_argument("--params", default="params.yaml", help="YAML or JSON file")
    parser.add_argument("--png", type=Path, help="write the images, those of `libero` above those of `fast`")


def main(args: argparse.Namespace) -> None:
    """Print the comparison, and write the images with --png."""
    assets_dir = assets.folder(args.suite, args.params)
    if assets_dir is None:
        raise ValueError(f"expected a suite libero_*, got '{args.suite}', which is drawn in one way only")
    (libero, fast), (slow, quick) = compare(suites.task(args.suite, args.task), assets_dir)
    print(f"libero {1 / slow:.1f}/s, fast {1 / quick:.1f}/s: {slow / quick:.1f} times as many")
    for camera in CAMERAS:
        print(f"{camera}: mean difference {np.abs(libero[camera].astype(int) - fast[camera]).mean():.2f} of 255")
    if args.png:
        _picture([libero, fast]).save(args.png)


def compare(task: suites.Task, assets_dir: Path) -> tuple[list[Observation], list[float]]:
    """What is seen at the start of an episode, and the time [s] that seeing it takes, of `libero` and of `fast`."""
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
    """Both cameras beside one another, upright."""
    shown = np.concatenate([np.concatenate([row[key][::-1] for key in CAMERAS], axis=1) for row in rows])
    return Image.fromarray(shown).resize((6 * SIZE, 6 * SIZE), Image.Resampling.NEAREST)
