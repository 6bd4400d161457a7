"""What demonstrations and rollouts of libero_90 see first, for the 28 tasks that share an instruction with another.

Writes: libero_pictures.npz beside this file, pictures as t2s/model/scene.py makes them, for test_scene.py:

    tasks     (28,) numbers of the tasks in libero_90
    learned   (28, 8, 8, 3) the picture of a checkpoint: the mean of the first frames of 20 demonstrations
    seen      (28, 20, 8, 8, 3) the first frame of every rollout

Demonstrations start from the last 20 of the 50 stored states and rollouts from the first 20, with render quality
`fast`. It takes five minutes on one core and LIBERO's scene assets. The stored file was made with stand-ins for some of
them:

    PYTHONPATH=. T2S_LIBERO_ASSETS=shared/libero-assets python tests/libero_pictures.py
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from t2s import params
from t2s.data import assets, init_states, suites
from t2s.model.scene import picture
from t2s.sim import rollout

PATH = Path(__file__).with_name("libero_pictures.npz")
SUITE, SIZE, SETTLE_STEPS = "libero_90", 128, 5
N_DEMOS, N_ROLLOUTS = 20, 20


def sharing() -> list[suites.Task]:
    """The tasks of libero_90 that share their instruction with another task."""
    tasks = suites.tasks(SUITE)
    count = Counter(task.instruction for task in tasks)
    return [task for task in tasks if count[task.instruction] > 1]


def first_frames(
    env: rollout.Env, task: suites.Task, n_demos: int, n_rollouts: int
) -> list[UInt8[np.ndarray, "n 128 128 3"]]:
    """The first agentview frames of demonstrations, then those of rollouts."""
    states = init_states.read(task)
    demos = zip(states[::-1], np.random.SeedSequence(0).generate_state(n_demos), strict=False)
    seeds = [rollout.episode_seed(task.suite, task.index, number, 0, "kept") for number in range(n_rollouts)]
    return [
        np.stack([first_frame(env, state, int(seed)) for state, seed in pairs])
        for pairs in (demos, zip(states, seeds, strict=False))
    ]


def first_frame(env: rollout.Env, state: np.ndarray, seed: int) -> UInt8[np.ndarray, "128 128 3"]:
    env.reset(state, seed, SETTLE_STEPS)
    return env.observe()["agentview_rgb"]


def main() -> None:
    """Render everything and write the file."""
    from t2s.sim.env import Env  # imports MuJoCo, which test_scene.py needs only for its slow test

    folder = assets.check(params.Assets(path=None).folder)
    learned, seen = [], []
    for task in sharing():
        env = Env(task.bddl_path, SIZE, folder, "fast")
        demos, rollouts = first_frames(env, task, N_DEMOS, N_ROLLOUTS)
        env.close()
        learned.append(picture(demos))
        seen.append([picture(frame[None]) for frame in rollouts])
        print(task.name, flush=True)
    numbers = [task.index for task in sharing()]
    np.savez_compressed(PATH, tasks=numbers, learned=np.stack(learned), seen=np.array(seen))


if __name__ == "__main__":
    main()
