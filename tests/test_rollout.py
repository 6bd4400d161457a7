"""One episode: its seed, and when it ends."""

from __future__ import annotations

import fakes
import numpy as np

from t2s.sim import rollout

SEED = 1872743382  # of the identity below, by hand: the first 4 bytes of a sha256


def test_seeds_are_the_same_everywhere_and_differ_between_episodes() -> None:
    assert rollout.episode_seed("blocks_object", 3, 20, 0, "kept") == SEED
    one_changed = [
        ("blocks_goal", 3, 20, 0, "kept"),
        ("blocks_object", 4, 20, 0, "kept"),
        ("blocks_object", 3, 21, 0, "kept"),
        ("blocks_object", 3, 20, 1, "kept"),
        ("blocks_object", 3, 20, 0, "epoch0"),
    ]
    assert len({rollout.episode_seed(*identity) for identity in one_changed} | {SEED}) == 6


def test_an_episode_ends_at_its_first_success() -> None:
    steps: list[float] = []
    env = fakes.WalkEnv()
    success, n_steps = rollout.play(
        env,
        fakes.HashPolicy(),
        np.array([2.9]),
        seed=3,
        max_steps=500,
        settle_steps=0,
        on_step=lambda: steps.append(env.x),
    )
    assert success
    assert steps[-1] > 3.0 >= max(steps[:-1])
    assert len(steps) == n_steps + 1


def test_an_episode_without_success_takes_all_its_steps() -> None:
    env, policy = fakes.WalkEnv(), fakes.HashPolicy()
    far = np.array([-1000.0])
    assert rollout.play(env, policy, far, 0, max_steps=7, settle_steps=0) == (False, 7)
