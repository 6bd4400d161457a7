"""A small study's demonstrations, episode records and learning reports, drawn at random."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import t2s.params
from t2s.data import demonstrations, files, records

VERSIONS = {"mujoco": "3.3.2", "robosuite": "1.4.0", "gl": "osmesa", "device": "cpu"}
METHODS = t2s.params.read(str(Path(__file__).parents[1] / "params.yaml"))["methods"]
EPOCHS = (0, 10, 20)
LEARN_S, ROLLOUTS_S, MAX_RSS_MB = 100.0, 10.0, 500.0  # of every job
BLOCKS: dict[str, Any] = {
    "n_rollouts": 20,
    "max_steps": 150,
    "settle_steps": 5,
    "actions": "likely",
    "kept_offset": 20,
}


def params(n_tasks: int = 3, seeds: tuple[int, ...] = (0, 1)) -> dict[str, Any]:
    """The sections that metrics, tables and figures need."""
    return {
        "study": {
            "suites": ["blocks_object"],
            "n_tasks": n_tasks,
            "methods": ["t2s", "sequential"],
            "seeds": list(seeds),
        },
        "metrics": {"confidence": 0.95, "n_bootstrap": 200, "seed": 0},
        "evaluate": {"protocol": "blocks", "reuse_records": True, "protocols": {"blocks": BLOCKS}},
        "figures": {"context": "paper", "palette": "colorblind", "dpi": 60},
        "env": {"image_size": 64},
        "methods": METHODS,
    }


def write(folder: Path, study: dict[str, Any], n_rollouts: int = 20) -> None:
    """Write episodes/, runs/ and benchmarks/ of `study` below `folder`."""
    for suite in study["suites"]:
        for method in study["methods"]:
            for seed in study["seeds"]:
                rng = np.random.default_rng([seed, len(method)])
                chain = Path(suite) / method / f"seed{seed}"
                _write_episodes(folder / "episodes" / chain, chain, study["n_tasks"], n_rollouts, rng)
                _write_runs(folder / "runs" / chain, chain, study["n_tasks"], rng)
                _write_benchmarks(folder / "benchmarks", chain, study["n_tasks"])


def record(**changes: Any) -> dict[str, Any]:
    """One episode record."""
    return {
        "suite": "blocks_object",
        "method": "t2s",
        "seed": 0,
        "stage": 0,
        "task": 0,
        "epoch": 20,
        "kind": "kept",
        "init_index": 0,
        "episode_seed": 0,
        "success": True,
        "n_steps": 80,
        "fingerprint": "00ff",
        "protocol": "blocks",
        "versions": VERSIONS,
    } | changes


def episodes(p: float, n: int, rng: np.random.Generator, **fields: Any) -> Iterator[dict[str, Any]]:
    """`n` episodes that succeed with probability `p`."""
    for index in range(n):
        success = bool(rng.random() < p)
        yield record(init_index=index, episode_seed=index, success=success, **fields)


def demo(n_steps: int, size: int, seed: int) -> dict[str, Any]:
    """One demonstration with every array that LIBERO writes; images in one colour, so that files are small."""
    rng = np.random.default_rng(seed)
    image = np.full((n_steps, size, size, 3), rng.integers(0, 256), dtype=np.uint8)
    dims = {"joint_states": 7, "gripper_states": 2, "ee_pos": 3, "ee_ori": 3, "ee_states": 6}
    states = {f"obs/{key}": rng.normal(size=(n_steps, dim)) for key, dim in dims.items()}
    ends = np.zeros(n_steps, dtype=np.uint8)
    ends[-1] = 1
    return states | {
        "obs/agentview_rgb": image,
        "obs/eye_in_hand_rgb": image,
        "actions": rng.uniform(-1, 1, (n_steps, 7)),
        "states": rng.normal(size=(n_steps, 20)),
        "robot_states": rng.normal(size=(n_steps, 9)),
        "dones": ends,
        "rewards": ends,
        "init_state": np.zeros(20),
        "model_file": "<mujoco/>",
    }


def write_demos(
    path: Path, lengths: Sequence[int], size: int, instruction: str, source: str = "scripted", **changes: np.ndarray
) -> None:
    """Write demonstrations of so many steps each; `changes` replace arrays of the first."""
    demos = [demo(n_steps, size, seed) for seed, n_steps in enumerate(lengths)]
    demos[0] |= {key.replace("__", "/"): array for key, array in changes.items()}
    problem = json.dumps({"language_instruction": instruction})
    demonstrations.write(path, demos, {"problem_info": problem, "source": source})


def _write_benchmarks(folder: Path, chain: Path, n_tasks: int) -> None:
    learn = {f"learn/{chain}/task{k}": LEARN_S for k in range(n_tasks)}
    curves = {f"evaluate/{chain}/task{k}_curve": ROLLOUTS_S for k in range(n_tasks)}
    kept = {f"evaluate/{chain}/stage{k}_task{j}": ROLLOUTS_S for k in range(n_tasks) for j in range(k + 1)}
    for name, seconds in (learn | curves | kept).items():
        path = folder / f"{name}.tsv"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"s\th:m:s\tmax_rss\n{seconds}\t-\t{MAX_RSS_MB}\n")


def _write_episodes(folder: Path, chain: Path, n_tasks: int, n: int, rng: np.random.Generator) -> None:
    suite, method, seed = chain.parts[0], chain.parts[1], int(chain.parts[2].removeprefix("seed"))
    who: dict[str, Any] = {"suite": suite, "method": method, "seed": seed}
    forget = 0.0 if method.startswith("t2s") else 0.6
    peak = rng.uniform(0.65, 0.95, n_tasks)
    for k in range(n_tasks):
        curve = [
            row
            for i, epoch in enumerate(EPOCHS)
            for row in episodes(
                peak[k] * i / (len(EPOCHS) - 1),
                n,
                rng,
                **who,
                stage=k,
                task=k,
                epoch=epoch,
                kind="curve",
            )
        ]
        records.write(folder / f"task{k}_curve.jsonl", curve)
        for j in range(k + 1):
            p = peak[j] * (1 - forget) ** (k - j)
            kept = episodes(p, n, rng, **who, stage=k, task=j, epoch=EPOCHS[-1], kind="kept")
            records.write(folder / f"stage{k}_task{j}.jsonl", kept)


def _write_runs(folder: Path, chain: Path, n_tasks: int, rng: np.random.Generator) -> None:
    for k in range(n_tasks):
        files.write_json(folder / f"task{k}" / "learn.json", learn(chain, k, rng))
        steps = np.arange(1, 21)
        losses = 2.0 * np.exp(-steps / 6) + rng.uniform(0.1, 0.2, 20)
        lines = [f"{s},{s * 30},{loss:.4f},0.001,1.0" for s, loss in zip(steps, losses, strict=True)]
        files.write_text(
            folder / f"task{k}" / "losses.csv",
            "\n".join(["epoch,step,loss,lr,grad_norm", *lines]) + "\n",
        )


def learn(chain: Path, k: int, rng: np.random.Generator) -> dict[str, Any]:
    """A learn.json of task `k`: T2S adds few tokens, other methods train all parameters."""
    suite, method, seed = chain.parts
    grows = method.startswith("t2s")
    similarity = {str(j): round(float(rng.uniform(0.4, 0.95)), 4) for j in range(k)}
    best = sorted(similarity, key=lambda j: -similarity[j])[:2]
    new = 64 if k == 0 else int(rng.integers(4, 7))
    bank = 64 + 5 * k
    return {
        "suite": suite,
        "method": method,
        "seed": int(seed.removeprefix("seed")),
        "task": k,
        "instruction": f"pick up the {COLOURS[k]} cube and place it in the bin",
        "source": "scripted",
        "n_epochs": 20,
        "n_steps": 600,
        "n_tokens_new": new if grows else None,
        "n_tokens_bank": bank if grows else None,
        "n_parameters_new": (600_000 if k == 0 else 40_000) if grows else 600_000,
        "n_parameters_total": 600_000 + 40_000 * k * grows,
        "delta_bytes": 160_000 if grows and k else 2_400_000,
        "base_bytes": 2_400_000,
        "active": [int(j) for j in best] if grows else list(range(k)),
        "similarity": similarity if grows else None,
    }


COLOURS = ("red", "yellow", "green", "purple", "orange", "white", "black", "cyan", "pink", "blue")
