"""Sample the 50 initial states of every task's rollouts from the regions in its BDDL file.

Reads: bddl/{suite}/{task}.bddl beside this file, for every task whose name contains --task.
Writes: {out}/{suite}/{task}.npy, float64 (50, state). The committed files are in init_states/.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from jaxtyping import Float64

from t2s.sim.blocks import BLOCKS_DIR
from t2s.sim.env import Env

N_STATES = 50  # as many as LIBERO stores per task


def main(arguments: list[str] | None = None) -> None:
    """Sample and save the initial states of the selected tasks."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--task", default="")
    parser.add_argument("--out", type=Path, default=BLOCKS_DIR / "init_states")
    args = parser.parse_args(arguments)
    for bddl_path in sorted((BLOCKS_DIR / "bddl").glob("*/*.bddl")):
        if args.task in bddl_path.stem:
            save(sample(bddl_path), args.out / bddl_path.parent.name / f"{bddl_path.stem}.npy")


def sample(bddl_path: Path) -> Float64[np.ndarray, "50 s"]:
    """The initial states of one task."""
    env = Env(bddl_path, image_size=64)
    try:
        return np.stack([env.sample(seed) for seed in seeds(bddl_path.stem)])
    finally:
        env.close()


def seeds(name: str) -> list[int]:
    """The seeds that draw the initial states of the task `name`.

    The name makes them, so they differ from those of demonstrations, and no demonstration starts from these states.
    """
    return [int(word) for word in np.random.SeedSequence(list(name.encode())).generate_state(N_STATES)]


def save(states: Float64[np.ndarray, "50 s"], path: Path) -> None:
    """Write `states` to `path` atomically."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.partial")
    with temporary.open("wb") as file:
        np.save(file, states, allow_pickle=False)
    temporary.replace(path)


if __name__ == "__main__":
    main()
