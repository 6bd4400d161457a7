"""Measure how fast everything is on this machine, and write a page of tables.

Reads: params.yaml; LIBERO's scene assets if there are any (params `assets`).
Writes: --out, the whole page anew, so that all its tables are of one run.

Times are of the processor, not of the clock, on one core. Candidates take turns, so that other work on the machine
slows all of them; a time is the median over the turns, a ratio the median of the ratios within each turn.
"""

from __future__ import annotations

import argparse
import datetime
import functools
import itertools
import json
import os
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Callable, Iterator, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import nn

from t2s import lifelong, params
from t2s.data import assets, demonstrations, init_states, origin, suites
from t2s.data.files import write_text
from t2s.lifelong.checkpoint import Checkpoint
from t2s.lifelong.learner import Learner, Settings, Windows
from t2s.model.augment import jitter, translate
from t2s.model.pattention import Pattention
from t2s.sim.engine import roll_out
from t2s.sim.env import ACTION_DIM, CAMERAS, Env
from t2s.sim.rollout import Episode, Observation
from t2s.sim.theirs import Theirs
from t2s.sim.worker import Setting

ROOT: Final = Path(__file__).parents[2]
METHODS: Final = ["sequential", "er", "ewc", "packnet", "tail", "t2s"]
LIBEROS: Final = {"shift_px": 4, "brightness": 0.3, "contrast": 0.3, "saturation": 0.3, "hue": 0.3}
"""LIBERO's values of what changes the images in learning."""
STEP: Final = ROOT / "tests/libero_loader/step.py"
PYTHON: Final = Path(".venv/bin/python")
LATER: Final = 2
"""The later task that is learned: it reuses task 1, whose instruction is similar."""
EMB_DIM: Final = 384
N_STEPS: Final = 10_000
"""Steps of a schedule that no measurement reaches the end of."""
SCENES: Final = [("libero_object", 0), ("libero_goal", 0)]
MAPS: Final = [(96, 96), (96, 384), (384, 96), (512, 512)]
"""Inputs and outputs of linear maps; Pattention has as many tokens as give the same number of multiplications."""
N_ROWS: Final = 1024
N_EPISODES: Final = 12
STUDIES: Final = [
    {"methods": ["sequential"], "n_tasks": 1, "seeds": [0]},
    {"methods": ["t2s", "sequential", "er", "packnet"], "n_tasks": 10, "seeds": [0]},
    {"methods": [*METHODS, "single_task", "multitask"], "n_tasks": 10, "seeds": [0, 1, 2, 3, 4, 5]},
]
"""Studies of about 10, 400 and 4,000 jobs."""
USED: Final = """
import resource, subprocess, sys
status = subprocess.run(sys.argv[1:], stdin=subprocess.DEVNULL).returncode
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(used.ru_utime + used.ru_stime, used.ru_maxrss, flush=True)
sys.exit(status)
"""
CHAIN: Final = 85
"""Jobs of a chain of ten tasks in a study: learning one after another, and rollouts."""
NOTHING: Final = """
    rule all:
        input: expand("{{i}}.txt", i=range({n}))
    rule nothing:
        input: lambda wildcards: [f"{{int(wildcards.i) - {width}}}.txt"] if int(wildcards.i) >= {width} else []
        output: "{{i}}.txt"
        benchmark: "{{i}}.tsv"
        shell: ": >{{output}}"
"""
PAGE: Final = """
    # How fast it is

    `make bench` wrote this page: {date}, commit {commit}, {machine}, {versions}.

    One core, and its own time, not the clock's. Candidates took turns, so that other work on the machine slowed all of
    them; a time is the median over the turns, a ratio the median of the ratios within each turn.
"""

CHECKOUT: Final = (
    "`t2s bench --libero FOLDER` measures it: FOLDER is a checkout of github.com/Lifelong-Robot-Learning/LIBERO, and"
    " FOLDER/.venv has torch, and what tests/libero_loader/requirements.txt lists, by `pip install --no-deps`."
)
BESIDE: Final = (
    "LIBERO's ResNet-T and its loader, without worker processes, and `sequential` with policy.network: resnet_t; both"
    " jitter and shift the images with LIBERO's values. Not in turns, but one after the other."
)
WORKERS: Final = (
    f"{N_EPISODES} episodes of task 0 of blocks_object, with pictures at every step, by the clock and with the start of"
    " the workers: other work on the machine shows here."
)
PLANNING: Final = (
    "`snakemake --dry-run` of whole studies without results: Snakemake's own time before the first job starts, and its"
    " memory."
)
RUNNING: Final = (
    f"`snakemake --cores 1` of jobs that only create an empty file, in chains of {CHAIN} as those of a study: what a"
    " job takes beside its own work."
)


class Scale(NamedTuple):
    """How much is measured: `sizes` of images are in px, `n_windows` are those of a batch of each network."""

    n_turns: int
    sizes: list[int]
    n_windows: dict[str, int]
    methods: list[str]
    studies: list[dict[str, Any]]
    workers: list[int]
    n_noops: list[int]


WHOLE: Final = Scale(5, [64, 128], {"compact": 32, "resnet_t": 2}, METHODS, STUDIES, [1, 2, 4], [10, 400, 4000])
QUICK: Final = Scale(1, [32], {"compact": 2, "resnet_t": 2}, ["sequential", "t2s"], STUDIES[:1], [1], [2])


class Part(NamedTuple):
    """A part of the page. Without `table`, its notes say why."""

    title: str
    table: pd.DataFrame | None
    note: str


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options to `parser`."""
    parser.add_argument("--params", default="params.yaml", help="params file, YAML or JSON")
    parser.add_argument("--out", type=Path, default=Path("docs/performance.md"), help="page to write")
    parser.add_argument(
        "--libero",
        type=Path,
        help="also time LIBERO's own learning: a checkout of it, with .venv (see docs/performance.md)",
    )
    parser.add_argument("--quick", action="store_true", help="measure hardly anything, to see that all of it works")


def main(args: argparse.Namespace) -> None:
    """Measure everything and write the page.

    Raises: ValueError if there is no LIBERO in --libero.
    """
    given = params.study([args.params])
    libero = args.libero.resolve() if args.libero else None
    if libero and not (libero / PYTHON).is_file():
        raise ValueError(f"--libero: expected a file '{libero / PYTHON}', got none. {CHECKOUT}")
    torch.set_num_threads(1)
    title, parts = heading(), []
    for part in measured(given, args.params, libero, QUICK if args.quick else WHOLE):
        print(f"\n{shown(part)}", file=sys.stderr)
        parts.append(part)
    write_text(args.out, "\n".join([title, *map(shown, parts)]))


def measured(given: params.Params, source: str, libero: Path | None, scale: Scale) -> Iterator[Part]:
    """Every part of the page, as soon as it is measured."""
    yield Part(
        "A step of learning",
        learning(given, scale),
        "Loss, gradients and optimiser on random windows, with the values of params.yaml; ratios to the first task"
        f" of sequential. Task {LATER} reuses one earlier task; er learns from replayed windows as well.",
    )
    if libero is None:
        yield Part("LIBERO's own learning", None, f"Not measured: no --libero. {CHECKOUT}")
    else:
        yield Part("LIBERO's own learning", beside_libero(given, libero, scale), f"{BESIDE} {CHECKOUT}")
    yield Part(
        "Pattention beside a linear map",
        maps(scale.n_turns),
        f"Forward and backward on {N_ROWS:,} rows, with as many tokens as give the same number of multiplications. The"
        " rest is Theta: a norm and a GeLU of every score.",
    )
    try:
        folder = assets.folder(SCENES[0][0], source)
    except ValueError as error:
        yield Part("A step of LIBERO's scenes", None, f"Not measured: {error}.")
    else:
        assert folder is not None
        yield Part(
            "A step of LIBERO's scenes",
            scenes(folder, scale.n_turns),
            "One control period of 25 substeps and the pictures of two cameras of 128 px; LIBERO's own is its"
            f" `OffScreenRenderEnv`. Assets: {assets.label(folder)}. Difference: mean over the pixels of both cameras,"
            " of 255, to `libero`.",
        )
    yield Part("Rollouts in workers", workers(given, scale), WORKERS)
    yield Part("What Snakemake costs", planning(scale.studies), PLANNING)
    yield Part("What a job costs", running(scale.n_noops), RUNNING)


def heading() -> str:
    """The title of the page, with the origin of its numbers."""
    try:
        commit, changed = origin.work_tree(ROOT)
    except (OSError, RuntimeError) as error:
        commit, changed = f"unknown ({error})", []
    edited = f" with {len(changed)} changed files" if changed else ""
    return (
        textwrap.dedent(PAGE)
        .lstrip()
        .format(
            date=datetime.datetime.now(datetime.UTC).date(),
            commit=commit + edited,
            machine=f"{origin.cpu()}, {os.cpu_count()} cores",
            versions=", ".join(f"{name} {metadata.version(name)}" for name in ("torch", "mujoco", "snakemake")),
        )
    )


def shown(part: Part) -> str:
    """The part as Markdown."""
    table = [] if part.table is None else [part.table.to_markdown(index=False, disable_numparse=True), ""]
    return "\n".join([f"## {part.title}", "", *table, part.note, ""])


def turns(candidates: Mapping[Any, Callable[[], object]], n: int) -> pd.DataFrame:
    """Processor time [s] of every candidate, in one row per turn. A first turn is not counted."""
    rows = [{name: _seconds(act) for name, act in candidates.items()} for _ in range(n + 1)]
    return pd.DataFrame(rows[1:], columns=pd.Index(list(candidates), tupleize_cols=False))


def _seconds(act: Callable[[], object]) -> float:
    start = time.process_time()
    act()
    return time.process_time() - start


def ratio(times: pd.DataFrame, name: Any, to: Any) -> str:
    """The median over the turns of how many times as long `name` takes as `to`."""
    return f"{(times[name] / times[to]).median():.2f}"


def learning(given: params.Params, scale: Scale) -> pd.DataFrame:
    """One row per network, image size and method: a step of the first task and of a later one."""
    rows = []
    for network, n in scale.n_windows.items():
        policy = given.policy.model_copy(update={"network": network}).values
        for size in scale.sizes:
            learners, batches = {}, {}
            for method, task in itertools.product(scale.methods, (0, LATER)):
                values = given.methods.root[method]
                settings = Settings(policy, given.learn, values)
                learners[method, task] = learner(values.learner, settings, task, size, n)
                batches[method, task] = windows(policy, n + replayed(settings, n) * (task > 0), size)
            acts = {key: functools.partial(made.observe, batches[key]) for key, made in learners.items()}
            times = turns(acts, scale.n_turns)
            for method in scale.methods:
                row = {"Network": network, "Pixels": size, "Windows": n, "Method": method}
                for task, words in ((0, "First task"), (LATER, f"Task {LATER}")):
                    row[f"{words}, ms"] = f"{1e3 * times[method, task].median():.0f}"
                    row[f"{words}, ratio"] = ratio(times, (method, task), ("sequential", 0))
                trained = sum(p.numel() for p in learners[method, LATER].trainable)
                rows.append(row | {f"Trained by task {LATER}": f"{trained:,}"})
    return pd.DataFrame(rows)


def learner(name: str, settings: Settings, task: int, size: int, n: int) -> Learner:
    """The learner `name` that has begun `task`, after two steps on each task before it."""
    rng = np.random.default_rng(0)
    first, second, third = rng.normal(size=(3, EMB_DIM)).astype(np.float32)
    embs, picture = [first, second, second + third / 2], np.zeros((8, 8, 3), np.uint8)
    batch = windows(settings.policy, n, size)
    earlier: list[Checkpoint] = []
    for k in range(task + 1):
        made = lifelong.learner_class(name)(settings, 0, torch.device("cpu"))
        made.start_task(k, embs[k], picture, earlier)
        made.optimise(made.trainable, N_STEPS if k == task else 2)  # packnet prunes after the first of two
        made.look_back([batch] * k)
        for _ in range(2 if k < task else 0):
            made.observe(batch)
        earlier.append(made.checkpoint())
    return made


def replayed(settings: Settings, n: int) -> int:
    """Number of windows of earlier tasks that the method adds to `n` windows, if it adds any."""
    values = settings.method
    return n * values.n_replayed // settings.learn.batch_size if isinstance(values, params.ER) else 0


def windows(policy: params.AnyPolicy, n: int, size: int) -> Windows:
    """`n` random windows for this network."""
    rng = np.random.default_rng(0)
    shape = (n, policy.n_frames) if policy.n_frames > 1 else (n,)
    dims = {"joint_states": 7, "gripper_states": 2}
    arrays = {name: rng.integers(0, 256, (*shape, size, size, 3), dtype=np.uint8) for name in CAMERAS}
    arrays |= {name: rng.normal(size=(*shape, dim)).astype(np.float32) for name, dim in dims.items()}
    actions = rng.uniform(-1, 1, (n, policy.n_targets, ACTION_DIM)).astype(np.float32)
    return Windows(
        {name: torch.from_numpy(array) for name, array in arrays.items()},
        torch.from_numpy(rng.normal(size=(n, EMB_DIM)).astype(np.float32)),
        torch.from_numpy(actions),
        torch.ones(actions.shape[:2], dtype=torch.bool),
    )


def beside_libero(given: params.Params, libero: Path, scale: Scale) -> pd.DataFrame:
    """One row per image size: LIBERO's loader and step, and ours with the same network.

    Raises: OSError with LIBERO's last line if it fails.
    """
    n, policy = scale.n_windows["resnet_t"], given.policy.model_copy(update={"network": "resnet_t"}).values
    learn, generator = given.learn.model_copy(update=LIBEROS), torch.Generator().manual_seed(0)
    rows = []
    for size in scale.sizes:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "demos.hdf5")
            batch = windows(policy, 100, size)
            demo: dict[str, Any] = {f"obs/{name}": values[:, 0].numpy() for name, values in batch.observations.items()}
            demo |= {"actions": batch.actions[:, 0].numpy(), "init_state": np.zeros(1), "model_file": ""}
            demonstrations.write(path, [demo], {"problem_info": "{}"})
            command = [libero / PYTHON, STEP, libero, path, n, scale.n_turns]
            said = output([str(word) for word in command], ROOT)
        loader, theirs = np.median(json.loads(said.splitlines()[-1]), axis=0)
        made = learner("sequential", Settings(policy, learn, given.methods.root["sequential"]), 0, size, n)
        batch = windows(policy, n, size)

        def act(made: Learner = made, batch: Windows = batch) -> None:
            frames = torch.cat([batch.observations[name].float() for name in CAMERAS], dim=1)
            images = translate(jitter(frames, learn, generator), learn.shift_px, generator).chunk(2, dim=1)
            changed = dict(zip(CAMERAS, images, strict=True))
            made.observe(batch._replace(observations=batch.observations | changed))

        ours = turns({"ours": act}, scale.n_turns).ours.median()
        row = {"Pixels": size, "Windows": n, "LIBERO's loader, ms": f"{1e3 * loader:.0f}"}
        row |= {"LIBERO's step, ms": f"{1e3 * theirs:.0f}", "Our step, ms": f"{1e3 * ours:.0f}"}
        rows.append(row | {"Ratio": f"{ours / theirs:.2f}"})
    return pd.DataFrame(rows)


def maps(n_turns: int) -> pd.DataFrame:
    """One row per shape of a map: a linear map, and Pattention with as many multiplications."""
    rows = []
    for d_in, d_out in MAPS:
        tokens = Pattention(d_in, d_out, "base")
        n_tokens = round(d_in * d_out / (d_in + d_out))
        tokens.add_group("0", n_tokens, torch.Generator().manual_seed(0), zero=False)
        tokens.active = ["0"]
        x = torch.randn(N_ROWS, d_in, generator=torch.Generator().manual_seed(0), requires_grad=True)
        both: dict[str, nn.Module] = {"Linear": nn.Linear(d_in, d_out), "Pattention": tokens}
        times = turns({name: functools.partial(_back_and_forth, made, x) for name, made in both.items()}, 20 * n_turns)
        row: dict[str, Any] = {"Inputs": d_in, "Outputs": d_out, "Tokens": n_tokens}
        row |= {f"{name}, ms": f"{1e3 * times[name].median():.2f}" for name in both}
        rows.append(row | {"Ratio": ratio(times, "Pattention", "Linear")})
    return pd.DataFrame(rows)


def _back_and_forth(module: nn.Module, x: torch.Tensor) -> None:
    module(x).sum().backward()


def scenes(assets_dir: Path, n_turns: int) -> pd.DataFrame:
    """One row per scene and environment: steps per second, beside LIBERO's own environment."""
    rows = []
    for suite, index in SCENES:
        task = suites.task(suite, index)
        state, size = init_states.read(task)[0], params.PUBLISHED_SIZE
        theirs = Theirs(task.bddl_path, size, assets_dir, state)
        libero, fast = (Env(task.bddl_path, size, assets_dir, quality) for quality in ("libero", "fast"))
        try:
            for env in (libero, fast):
                env.reset(state, 0, 5)
            seen = [env.observe() for env in (libero, fast)]
            difference = np.mean([np.abs(seen[0][key].astype(int) - seen[1][key]).mean() for key in CAMERAS])
            names = ["LIBERO's own", "ours, `libero`", "ours, `fast`", "ours, no pictures"]
            acts = [theirs.step, _stepped(libero), _stepped(fast), fast.advance]
            times = turns({name: _moved(act) for name, act in zip(names, acts, strict=True)}, n_turns)
            for name in names:
                row = {"Suite": suite, "Environment": name, "Steps/s": f"{N_MOVES / times[name].median():.1f}"}
                row["Times LIBERO's own"] = ratio(times, names[0], name)
                rows.append(row | {"Difference": f"{difference:.2f}" if name == names[2] else ""})
        finally:
            for made in (theirs, libero, fast):
                made.close()
    return pd.DataFrame(rows)


N_MOVES: Final = 8
"""Steps of an environment in a turn."""


def _moved(act: Callable[[np.ndarray], object]) -> Callable[[], None]:
    rng = np.random.default_rng(0)

    def move() -> None:
        for action in np.clip(rng.normal(0, 0.3, (N_MOVES, ACTION_DIM)), -1, 1):
            act(action)

    return move


def _stepped(env: Env) -> Callable[[np.ndarray], object]:
    def act(action: np.ndarray) -> None:
        env.advance(action)
        env.observe()

    return act


class Still:
    """A policy that looks and does not move."""

    fingerprint, device = "", "cpu"

    def reset(self, seed: int) -> None:
        """Nothing to do."""

    def act(self, observe: Callable[[], Observation]) -> np.ndarray:
        """No motion."""
        observe()
        return np.zeros(ACTION_DIM, np.float32)


def _still(key: str) -> Still:
    return Still()


def workers(given: params.Params, scale: Scale) -> pd.DataFrame:
    """One row per number of workers: steps per second of the clock."""
    task = suites.task("blocks_object", 0)
    n_steps = 60 * scale.n_turns
    make = functools.partial(Env, task.bddl_path, given.env.image_size)
    setting = Setting(make, _still, np.load(task.init_states_path), n_steps, 5)
    episodes = [Episode("", k, k) for k in range(N_EPISODES)]
    rows, alone = [], 0.0
    for n in scale.workers:
        start = time.monotonic()
        for _ in roll_out(episodes, setting, n, given.engine):
            pass
        lasted = time.monotonic() - start
        alone = alone or lasted
        row = {"Workers": n, "Time, s": f"{lasted:.0f}", "Steps/s": f"{N_EPISODES * n_steps / lasted:.0f}"}
        rows.append(row | {"Times one": f"{alone / lasted:.2f}"})
    return pd.DataFrame(rows)


def planning(studies: list[dict[str, Any]]) -> pd.DataFrame:
    """One row per study: what a dry run costs."""
    rows = []
    for study in studies:
        given = json.dumps({"suites": ["blocks_object"], **study})
        command = ["--dry-run", "--forceall", "--quiet", "rules", "--cores", "1", "--config", f"study={given}"]
        said, seconds, megabytes = snakemake(command, ROOT)
        n_jobs = next(int(line.split()[1]) for line in said.splitlines() if line.startswith("total "))
        row = {"Jobs": f"{n_jobs:,}", "Methods": len(study["methods"]), "Seeds": len(study["seeds"])}
        row |= {"Tasks": study["n_tasks"], "Time, s": f"{seconds:.1f}", "ms a job": f"{1e3 * seconds / n_jobs:.1f}"}
        rows.append(row | {"Memory, MB": f"{megabytes:.0f}"})
    return pd.DataFrame(rows)


def running(numbers: list[int]) -> pd.DataFrame:
    """One row per number of jobs that do nothing: what running them costs."""
    rows = []
    for n in numbers:
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, "Snakefile").write_text(
                textwrap.dedent(NOTHING.format(n=n, width=-(-n // CHAIN))), encoding="utf-8"
            )
            _, seconds, megabytes = snakemake(["--cores", "1", "--quiet", "all"], Path(folder))
        row = {"Jobs": f"{n:,}", "Time, s": f"{seconds:.1f}", "ms a job": f"{1e3 * seconds / n:.0f}"}
        rows.append(row | {"Memory, MB": f"{megabytes:.0f}"})
    return pd.DataFrame(rows)


def snakemake(arguments: list[str], folder: Path) -> tuple[str, float, float]:
    """Run snakemake in `folder`: what it prints, its processor time [s] with that of its jobs, its memory [MB].

    Raises: OSError with its last line if it fails.
    """
    # A process between the two: a child's memory counts from that of its parent, and this one is large.
    said, _, used = output([sys.executable, "-c", USED, "snakemake", *arguments], folder).rstrip().rpartition("\n")
    seconds, kilobytes = map(float, used.split())
    return said, seconds, kilobytes / 1024


def output(command: list[str], folder: Path) -> str:
    """What a command prints.

    Raises: OSError with its last line if it fails.
    """
    done = subprocess.run(command, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode:
        raise OSError(f"{Path(command[0]).name}: {(done.stderr.strip().splitlines() or ['no output'])[-1]}")
    return done.stdout
