"""Learn one task, starting from the kept policies of the tasks before it.

Reads: the demonstrations of this task and, if the method needs them, of earlier tasks; the suite's language
embeddings; the kept policies of the earlier tasks.
Writes: epoch{e}.safetensors for every evaluation epoch, losses.csv, learn.json. They are first written to the cache,
in a folder named by a digest of everything they depend on, and copied to --out when they are complete. An interrupted
task resumes from its last epoch; a task that is complete in the cache is only copied.
"""

from __future__ import annotations

import argparse
import csv
import math
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Int, UInt8
from torch import Tensor, nn
from tqdm import tqdm

from t2s import lifelong, params
from t2s.data import cache, demonstrations, embeddings
from t2s.data.files import atomic, read_text, write_json, write_text
from t2s.lifelong.averages import Averages
from t2s.lifelong.checkpoint import read
from t2s.lifelong.learner import Learner, Windows
from t2s.lifelong.progress import Progress, Rows, Run
from t2s.model.augment import jitter, translate
from t2s.model.scene import picture

LOSS_COLUMNS = ["epoch", "step", "loss", "lr", "grad_norm"]


class Dataset:
    """Demonstrations of tasks, one after another, as contiguous tensors on the device. A window starts at every step.

    `n_windows` holds the number of windows of each task. A window has `n_targets` actions and `n_frames` observations,
    the first `n_frames` of these steps.
    """

    def __init__(
        self,
        demos: Sequence[demonstrations.Demonstrations],
        task_embs: Sequence[np.ndarray],
        n_targets: int,
        device: torch.device,
        n_frames: int = 1,
    ) -> None:
        def joined(arrays: Sequence[np.ndarray]) -> Tensor:
            return torch.from_numpy(np.concatenate(arrays)).to(device)

        names = ("agentview_rgb", "eye_in_hand_rgb", "joint_states", "gripper_states")
        self.observations = {name: joined([getattr(d, name) for d in demos]) for name in names}
        self.actions = joined([d.actions for d in demos])
        self.n_windows = [len(d.actions) for d in demos]
        lengths = np.concatenate([np.diff(d.starts) for d in demos])
        self.ends = joined([np.repeat(lengths.cumsum(), lengths)])  # (T,) end of the demonstration that holds each step
        self.task_embs = joined([emb[None] for emb in task_embs])
        self.tasks = joined([np.repeat(np.arange(len(demos)), self.n_windows)])
        self.ahead = torch.arange(n_targets, device=device)
        self.n_frames = n_frames

    def windows(self, index: Int[Tensor, "b"]) -> Windows:
        """The windows that start at these steps.

        Past the end of a demonstration, its last observation and action repeat, as in LIBERO. The action is marked as
        not valid.
        """
        index = index.to(self.ends.device)
        steps = index[:, None] + self.ahead
        ends = self.ends[index][:, None]
        inside = steps.minimum(ends - 1)
        seen = index if self.n_frames == 1 else inside[:, : self.n_frames]
        observations = {name: values[seen] for name, values in self.observations.items()}
        task_emb = self.task_embs[self.tasks[index]]
        return Windows(observations, task_emb, self.actions[inside], steps < ends)


def augment(windows: Windows, learn: params.Learn, generator: torch.Generator) -> Windows:
    """Change the images of each window at random.

    A single frame is shifted and brightened, each camera on its own. Windows of several frames change as LIBERO's.
    """
    images = {name: values for name, values in windows.observations.items() if name.endswith("_rgb")}
    if images["agentview_rgb"].ndim == 4:
        changed = {name: _jitter(values, learn, generator) for name, values in images.items()}
    else:
        frames = torch.cat([values.float() for values in images.values()], dim=1)
        frames = translate(jitter(frames, learn, generator), learn.shift_px, generator)
        changed = dict(zip(images, frames.chunk(2, dim=1), strict=True))
    return windows._replace(observations=windows.observations | changed)


def _jitter(
    images: UInt8[Tensor, "b h w 3"], learn: params.Learn, generator: torch.Generator
) -> UInt8[Tensor, "b h w 3"]:
    b, h, w, _ = images.shape
    device = images.device
    shift = torch.randint(-learn.shift_px, learn.shift_px + 1, (2, b, 1), generator=generator).to(device)
    rows = (torch.arange(h, device=device) + shift[0]).clamp(0, h - 1)
    columns = (torch.arange(w, device=device) + shift[1]).clamp(0, w - 1)
    shifted = images[torch.arange(b, device=device)[:, None], rows]
    shifted = shifted.gather(2, columns[:, None, :, None].expand(images.shape))
    gain = 1 + learn.brightness * (2 * torch.rand((b, 1, 1, 1), generator=generator) - 1).to(device)
    return shifted.float().mul_(gain).clamp_(0, 255).to(torch.uint8)


def batches(n: int, batch_size: int, generator: torch.Generator) -> Iterator[Int[Tensor, "b"]]:
    """The batches of one epoch: every window once, in random order. The last batch may be smaller."""
    yield from torch.randperm(n, generator=generator).split(batch_size)


def learn_task(learner: Learner, dataset: Dataset, learn: params.Learn, seed: int, progress: Progress) -> Rows:
    """Learn for `n_epochs`, resuming from `progress`, which also stores the policy of every evaluation epoch.

    Returns one row of losses per epoch. If nothing is trainable, there are no rows and all policies are the same.
    """
    if not learner.trainable:
        for epoch in learn.eval_epochs:
            learner.checkpoint().write(progress.policy(epoch))
        return []

    generator = torch.Generator().manual_seed(seed)

    def windows(index: Int[Tensor, "b"]) -> Windows:
        return augment(dataset.windows(index), learn, generator)

    n_windows = dataset.n_windows
    pool = learner.pool(n_windows)
    steps_per_epoch = -(-len(pool) // learn.batch_size)
    learner.optimise(learner.trainable, learn.n_epochs * steps_per_epoch)
    run = Run(learner, Averages(learner.trainable, learn.ema_decay), generator)
    rows = progress.restore(run, learn.eval_epochs)
    if rows is None:
        rows = []
        torch.manual_seed(1000 * seed)
        learner.look_back(map(windows, batches(sum(n_windows[:-1]), learn.batch_size, generator)))
        progress.write(run, rows, learn.eval_epochs)
    epochs = range(len(rows) + 1, learn.n_epochs + 1)
    bar = tqdm(epochs, f"learn {progress.title}", learn.n_epochs, initial=len(rows), unit="epoch", mininterval=10)
    for epoch in bar:
        torch.manual_seed(1000 * seed + epoch)  # of dropout; the same where an interrupted task resumes
        epoch_rows = []
        for index in batches(len(pool), learn.batch_size, generator):
            chosen = torch.cat([pool[index], learner.replay(n_windows, generator)])
            epoch_rows.append(learner.observe(windows(chosen)))
            check_finite(epoch_rows[-1], progress, epoch)
            run.averages.update()
        means = {k: float(np.mean([row[k] for row in epoch_rows])) for k in epoch_rows[0]}
        rows.append({"epoch": epoch, "step": epoch * steps_per_epoch} | means)
        bar.set_postfix(loss=f"{means['loss']:.3f}", refresh=False)
        check_finite({"weights": float(nn.utils.get_total_norm(learner.trainable))}, progress, epoch)
        progress.write(run, rows, learn.eval_epochs)
    return rows


def check_finite(values: dict[str, float], progress: Progress, epoch: int) -> None:
    """Check the loss, learning rate and gradient of a step, or the norm of the weights.

    Raises: ValueError in one line if one is not finite. The progress is deleted first, so that no run resumes from it.
    """
    diverged = [f"{name} is {value}" for name, value in values.items() if not math.isfinite(value)]
    if diverged:
        progress.forget()
        write_text(
            progress.diverged,
            f"{progress.title}: diverged in epoch {epoch}: {', '.join(diverged)}; lower the learning rates, or run"
            f" `rm -r {progress.folder}` to try again",
        )
        check_diverged(progress)


def check_diverged(progress: Progress) -> None:
    """Check that the same learning has not diverged before: it would again.

    Raises: ValueError in one line that says when it did.
    """
    if progress.diverged.is_file():
        raise ValueError(read_text(progress.diverged))


def write_losses(path: Path, rows: Rows) -> None:
    """Write the losses as CSV: one row per epoch, with means over its steps."""
    with atomic(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, LOSS_COLUMNS, lineterminator="\n")
        writer.writeheader()
        for row in rows:
            writer.writerow({k: f"{v:.6g}" if isinstance(v, float) else v for k, v in row.items()})


def summary(learner: Learner, delta: Path, previous: Sequence[Path], n_steps: int) -> dict[str, Any]:
    """What this task added, in tokens, parameters and bytes; t2s.statistics.shares makes shares of it."""
    delta_bytes = delta.stat().st_size
    base_bytes = previous[0].stat().st_size if previous else delta_bytes
    return learner.counts() | {"n_steps": n_steps, "delta_bytes": delta_bytes, "base_bytes": base_bytes}


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options to `parser`."""
    parser.add_argument("--suite", required=True, help="suite of the task")
    parser.add_argument("--method", required=True, help="name of the method in the params")
    parser.add_argument("--seed", type=int, required=True, help="seed of the run")
    parser.add_argument("--task", type=int, required=True, help="task to learn, in the order of learning")
    parser.add_argument("--params", default="params.yaml", help="params file, YAML or JSON")
    parser.add_argument("--demos", type=Path, nargs="+", required=True, help="manifests of tasks 0..task, in order")
    parser.add_argument("--language", type=Path, required=True, help="instruction embeddings")
    parser.add_argument("--previous", type=Path, nargs="*", default=[], help="kept policies of tasks 0..task-1")
    parser.add_argument("--out", type=Path, required=True, help="folder to write to")
    parser.add_argument(
        "--cache", type=Path, required=True, help="folder of the cache, with complete and interrupted tasks"
    )
    parser.add_argument("--code", default="", help="digest of the code, part of the cache key")


def main(args: argparse.Namespace) -> None:
    """Learn one task, or copy its results from the cache."""
    learner_class, settings = lifelong.pick(args.params, args.method)
    learn, image_size = settings.learn, params.Env.read(args.params).image_size
    torch.set_num_threads(learn.n_threads)
    device = lifelong.pick_device(learn.device)
    sources = sorted({demonstrations.source(path) for path in args.demos})
    if len(sources) > 1:
        raise ValueError(f"expected demonstrations of one source, got {sources}; a study never mixes them")
    made = sorted({demonstrations.observations(path) for path in args.demos})
    if len(made) > 1:
        raise ValueError(f"expected observations before or after their actions in all demonstrations, got {made}")
    manifests = [args.demos[task] for task in learner_class.reads(args.task)]
    values = [args.suite, args.method, args.seed, args.task, image_size, *[part.model_dump() for part in settings]]
    files = [*manifests, args.language, *args.previous]
    folder = args.cache / cache.key([*values, torch.__version__, device.type, args.code], files)
    progress = Progress(folder, f"{args.suite}, {args.method}, seed {args.seed}, task {args.task}")
    names = [*(progress.policy(epoch).name for epoch in learn.eval_epochs), "losses.csv", "learn.json"]
    wanted = {name: args.out / name for name in names}
    if cache.give(folder, wanted):
        print(f"already learned: copied from {folder} to {args.out}", file=sys.stderr)
        return
    check_diverged(progress)

    demos = [demonstrations.read(path, image_size) for path in manifests]
    instructions = [d.instruction for d in demos]
    task_embs = embeddings.find(args.language, instructions)

    started = time.monotonic()
    learner = learner_class(settings, args.seed, device)
    frames = demos[-1].agentview_rgb[demos[-1].starts[:-1]]  # the first of every demonstration
    learner.start_task(args.task, task_embs[-1], picture(frames), [read(path) for path in args.previous])
    dataset = Dataset(demos, task_embs, settings.policy.n_targets, device, settings.policy.n_frames)
    rows = learn_task(learner, dataset, learn, args.seed, progress)
    write_losses(folder / "losses.csv", rows)
    whose = {"suite": args.suite, "method": args.method, "seed": args.seed, "task": args.task}
    facts = {"instruction": instructions[-1], "source": sources[0], "n_epochs": learn.n_epochs}
    facts |= {"versions": {"torch": torch.__version__, "device": device.type}}
    n_steps = rows[-1]["step"] if rows else 0
    write_json(folder / "learn.json", whose | facts | summary(learner, progress.policy(0), args.previous, n_steps))
    cache.keep(folder, wanted)
    progress.path.unlink(missing_ok=True)
    print(f"learned {args.out} in {time.monotonic() - started:.0f} s", file=sys.stderr)
