"""Film the last policy on every task learned. Each film shows the first of the episodes that evaluate it.

Reads: the kept policies, the instruction embeddings, the suite's BDDL files and initial states.
Writes: task{j}.gif for every task, upright and under 1 MB each, and films.json with the outcomes.
"""

from __future__ import annotations

import argparse
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from t2s import params
from t2s.data import assets, embeddings, init_states, suites
from t2s.data.files import atomic, write_json
from t2s.lifelong import load_policy
from t2s.sim import rollout
from t2s.sim.env import Env

MAX_BYTES = 1_000_000
N_COLORS = 64

Frame = UInt8[np.ndarray, "h w 3"]


def film(task: suites.Task, policy: rollout.Policy, source: str, seed: int) -> tuple[bytes, Any]:
    """A GIF of the first kept episode of `task`, with its success and number of steps."""
    rules, look = params.Evaluate.read(source).rules, params.Film.read(source)
    states = init_states.read(task)
    scenes = assets.folder(task.suite, source), assets.quality(task.suite, source)
    env = Env(task.bddl_path, params.Env.read(source).image_size, *scenes)
    frames: list[Frame] = []
    success, n_steps = rollout.play(
        env,
        policy,
        states[rules.kept_offset % len(states)],
        rollout.episode_seed(task.suite, task.index, rules.kept_offset, seed, "kept"),
        max_steps=rules.max_steps,
        settle_steps=rules.settle_steps,
        on_step=lambda: frames.append(env.frame(look.size)),
    )
    env.close()
    facts = {"instruction": task.instruction, "success": success, "n_steps": n_steps}
    return encode(frames, look.fps), facts


def encode(frames: Sequence[Frame], fps: int, max_bytes: int = MAX_BYTES) -> bytes:
    """An endless GIF of every 2nd frame, or of fewer frames if it would exceed `max_bytes`."""
    stride = 2
    while len(gif := _gif(frames, stride, fps)) > max_bytes and stride < len(frames):
        stride *= 2
    return gif


def _gif(frames: Sequence[Frame], stride: int, fps: int) -> bytes:
    shown = [Image.fromarray(frame) for frame in [*frames[:-1:stride], frames[-1]]]
    # With one palette for all frames, colours do not flicker and only what moves is stored.
    palette = shown[0].quantize(N_COLORS, dither=Image.Dither.NONE)
    first, *rest = [image.quantize(palette=palette, dither=Image.Dither.NONE) for image in shown]
    file = io.BytesIO()
    duration = round(1000 * stride / fps)  # [ms]
    first.save(file, "GIF", save_all=True, append_images=rest, duration=duration, loop=0)
    return file.getvalue()


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options to `parser`."""
    parser.add_argument("--suite", required=True, help="suite of the tasks")
    parser.add_argument("--method", required=True, help="name of the method in the params")
    parser.add_argument("--seed", type=int, required=True, help="seed of the policies")
    parser.add_argument("--params", required=True, help="params file, YAML or JSON")
    parser.add_argument(
        "--checkpoints", type=Path, nargs="+", required=True, help="kept policies of the tasks, in order"
    )
    parser.add_argument(
        "--suite-tasks", type=int, nargs="+", help="numbers of these tasks in the suite, if they differ"
    )
    parser.add_argument("--language", type=Path, required=True, help="instruction embeddings")
    parser.add_argument("--out", type=Path, required=True, help="folder to write to")


def main(args: argparse.Namespace) -> None:
    """Film every task learned."""
    actions = params.Evaluate.read(args.params).rules.actions
    films = {}
    order = range(len(args.checkpoints)) if args.suite_tasks is None else args.suite_tasks
    tasks = [suites.task(args.suite, index) for index in order]
    task_embs = embeddings.find(args.language, [task.instruction for task in tasks])
    for k, (task, task_emb) in enumerate(zip(tasks, task_embs, strict=True)):
        policy = load_policy(args.params, args.method, args.checkpoints, task_emb, actions)
        gif, films[f"task{k}"] = film(task, policy, args.params, args.seed)
        with atomic(args.out / f"task{k}.gif") as temporary:
            temporary.write_bytes(gif)
    write_json(args.out / "films.json", films)
