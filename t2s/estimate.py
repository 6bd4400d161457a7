"""What a study takes on CPUs, roughly: said before one of many hours starts on a machine without a GPU."""

from __future__ import annotations

from pathlib import Path

from t2s.params import Params

LONG = 8.0
"""Hours above which a study has work for a GPU."""

STEP = 0.1
"""[s] of one learning step on one core: 32 windows, two images of 64 px (studies/quick: results/benchmarks)."""

SIMULATED = {"blocks": 0.007, "libero": 0.11}
"""[s] of one environment step with both images of an OSMesa frame on one core, by kind of suite."""

DEMO_STEPS = {"blocks": 72, "libero": 150}
"""Environment steps of a demonstration."""

PIXEL_BYTES = 0.5
"""On disk of a pixel of a demonstration, compressed."""


def core_hours(params: Params) -> float:
    """Hours on one CPU core for learning and rollouts, as if every episode took half its steps."""
    learn, rules = params.learn, params.evaluate.rules
    scale = learn.batch_size / 32 * (params.env.image_size / 64) ** 2
    seconds = 0.0
    for suite in params.study.suites:
        kind, k = suite.split("_")[0], params.study.n_tasks
        steps = learn.n_epochs * params.demos.n_demos * DEMO_STEPS[kind] / learn.batch_size
        policies = k * len(learn.eval_epochs) + k * (k + 1) / 2
        episodes = policies * rules.n_rollouts
        seconds += k * steps * STEP * scale + episodes * rules.max_steps / 2 * SIMULATED[kind]
    return seconds * len(params.study.methods) * len(params.study.seeds) / 3600


def gigabytes(params: Params) -> float:
    """Disk for the demonstrations, which is nearly all that is kept."""
    pixels = 2 * params.env.image_size**2 * 3
    steps = sum(DEMO_STEPS[suite.split("_")[0]] for suite in params.study.suites)
    return params.study.n_tasks * params.demos.n_demos * steps * pixels * PIXEL_BYTES / 1e9


def has_gpu() -> bool:
    """Whether this machine has an NVIDIA GPU; found without importing torch."""
    return any(Path("/dev").glob("nvidia[0-9]*"))


def notice(params: Params, n_cores: int) -> str | None:
    """One line for a study of many hours; None for a short one."""
    hours = core_hours(params) / n_cores
    if hours < LONG:
        return None
    return (
        f"no GPU on this machine: this study would take about {hours:.0f} h on {n_cores} CPU cores"
        f" and {gigabytes(params):.1f} GB of disk; on a machine with GPUs, or on a cluster, far less"
    )
