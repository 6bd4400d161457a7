"""Rollouts: the same records for any number of workers, and no crash that counts as a failure."""

from __future__ import annotations

import io
import multiprocessing
from dataclasses import replace

import fakes
import numpy as np
import pytest
from tqdm import tqdm

from t2s.data import suites
from t2s.sim import rollout
from t2s.sim.rollout import Episode, Outcome, RolloutError, Setting

SETTING = Setting(
    make_env=fakes.WalkEnv,
    make_policy=fakes.MakePolicy(),
    init_states=np.linspace(-1.0, 1.0, 5)[:, None],
    max_steps=20,
    settle_steps=0,
)
SEED = 1872743382  # of the identity below, by hand: the first 4 bytes of a sha256


def episodes(n: int, policy: str = "a") -> list[Episode]:
    return [Episode(policy, i % 5, rollout.episode_seed("s", 0, i, 0, policy)) for i in range(n)]


def outcomes(due: list[Episode], n_workers: int, setting: Setting = SETTING) -> list[Outcome]:
    return list(rollout.roll_out(due, setting, n_workers))


def test_outcomes_do_not_depend_on_the_number_of_workers() -> None:
    due = episodes(12) + episodes(6, "b")
    alone = outcomes(due, 1)
    assert outcomes(due, 3) == alone
    assert len({outcome.fingerprint for outcome in alone}) == len(due)
    assert {outcome.success for outcome in alone} == {True, False}


def test_an_outcome_does_not_depend_on_the_episodes_before_it() -> None:
    due = episodes(6)
    assert outcomes(due[::-1], 1) == outcomes(due, 1)[::-1]


def test_an_exception_in_a_worker_is_an_error_that_names_the_episode() -> None:
    due = [*episodes(2), Episode("raise", 4, 7)]
    error = r"initial state 4 of policy 'raise' \(seed 7\): ZeroDivisionError: the gripper is on"
    with pytest.raises(RolloutError, match=error):
        outcomes(due, 2)


def test_a_killed_worker_is_an_error_that_names_the_episode_and_the_signal() -> None:
    with pytest.raises(RolloutError, match=r"policy 'die' \(seed 0\): its worker died \(SIGKILL"):
        outcomes([*episodes(2), Episode("die", 0, 0)], 2)


def test_an_environment_that_cannot_be_made_is_an_error() -> None:
    with pytest.raises(RolloutError, match="FileNotFoundError: no such scene"):
        outcomes(episodes(1), 1, replace(SETTING, make_env=fakes.fail_to_make))


def test_no_worker_outlives_an_interrupted_job() -> None:
    running = rollout.roll_out(episodes(50), SETTING, 2)
    next(running)
    assert multiprocessing.active_children()
    with pytest.raises(KeyboardInterrupt):
        running.throw(KeyboardInterrupt)
    assert not multiprocessing.active_children()


def test_fewer_episodes_than_workers_start_fewer_workers() -> None:
    running = rollout.roll_out(episodes(1), SETTING, 8)
    next(running)
    assert len(multiprocessing.active_children()) == 1
    running.close()


def test_no_worker_is_refused() -> None:
    with pytest.raises(ValueError, match="expected at least 1 worker, got 0"):
        outcomes(episodes(1), 0)


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


def test_progress_in_a_log_is_made_of_lines() -> None:
    file = io.StringIO()
    for _ in tqdm(range(3), **rollout._progress(3, file)):
        pass
    assert "\r" not in file.getvalue()
    assert "3/3" in file.getvalue().splitlines()[-1]


@pytest.mark.sim
def test_the_simulator_gives_the_same_observations_with_1_and_with_4_workers() -> None:
    task = suites.task("blocks_object", 1)
    setting = Setting(
        fakes.MakeRealEnv(task.bddl_path, 64),
        fakes.MakePolicy(),
        np.load(task.init_states_path),
        max_steps=12,
        settle_steps=2,
    )
    due = episodes(8)
    alone = outcomes(due, 1, setting)
    assert outcomes(due, 4, setting) == alone
    assert len({outcome.fingerprint for outcome in alone}) == len(due)
