from __future__ import annotations

import numpy as np
import pytest

from t2s.data import suites
from t2s.sim.env import Env
from t2s.sim.expert import blocks, follow, waypoint

pytestmark = pytest.mark.sim
ALL_TASKS = [task for suite in sorted(suites.BLOCKS) for task in suites.tasks(suite)]
SKILLS = {
    "put in": ("blocks_object", 0),
    "put on": ("blocks_spatial", 4),
    "open": ("blocks_goal", 1),
    "push": ("blocks_goal", 3),
    "stack": ("blocks_goal", 4),
}


@pytest.fixture
def make_env():
    envs = []

    def make(suite, index):
        envs.append(Env(suites.task(suite, index).bddl_path, 64))
        return envs[-1]

    yield make
    for env in envs:
        env.close()


@pytest.mark.parametrize("skill", SKILLS)
def test_a_skill_succeeds(make_env, skill):
    env = make_env(*SKILLS[skill])
    demo = follow.demonstrate(env, seed=1)
    assert demo is not None
    assert len(demo.states) == len(demo.actions) <= blocks.MAX_STEPS
    assert demo.states.shape[1] == env.n_states
    assert demo.actions.dtype == np.float32
    assert np.abs(demo.actions).max() <= 1


def test_a_seed_gives_one_demonstration_whatever_came_before(make_env):
    env = make_env("blocks_object", 0)
    first, other, again = (follow.demonstrate(env, seed) for seed in (1, 2, 1))
    assert first is not None
    assert other is not None
    assert again is not None
    np.testing.assert_array_equal(first.states, again.states)
    np.testing.assert_array_equal(first.actions, again.actions)
    assert not np.array_equal(first.states[0], other.states[0])


def test_a_demonstration_ends_with_an_open_gripper(make_env):
    demo = follow.demonstrate(make_env("blocks_object", 0), seed=1)
    assert demo is not None
    assert (demo.actions[-follow.STEPS_AFTER :, 6] == waypoint.OPEN).all()


def test_the_largest_action_keeps_its_direction(make_env):
    env = make_env("blocks_object", 0)
    env.sample(0)
    position, offset = env.grip_pose()[0], np.array([0.4, 0.2, 0.0])
    action = waypoint.towards(env, waypoint.Waypoint(position + offset, waypoint.OPEN))
    np.testing.assert_allclose(action[:3], [1.0, 0.5, 0.0], atol=1e-9)


def test_an_unknown_verb_is_an_error(make_env):
    env = make_env("blocks_object", 0)
    env.instruction = "juggle the red cube"
    with pytest.raises(ValueError, match=r"no skill for 'juggle the red cube'; have \['open'"):
        blocks.plan(env, np.random.default_rng(0))


@pytest.mark.slow
@pytest.mark.parametrize("task", ALL_TASKS, ids=lambda task: task.name)
def test_the_expert_succeeds_on_every_task(make_env, task):
    env = make_env(task.suite, task.index)
    outcomes = [follow.demonstrate(env, seed) is not None for seed in range(40)]
    assert sum(outcomes) >= 38
