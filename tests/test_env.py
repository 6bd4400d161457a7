from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from robosuite.utils.errors import RandomizationError

from t2s.data import suites
from t2s.sim.blocks import sample_init_states
from t2s.sim.env import Env, _until_placed

SIZE = 64
SETTLE_STEPS = 5
pytestmark = pytest.mark.sim
ALL_TASKS = [task for suite in sorted(suites.BLOCKS) for task in suites.tasks(suite)]


@pytest.fixture(scope="module")
def task():
    return suites.task("blocks_goal", 1)  # the one whose drawer moves


@pytest.fixture(scope="module")
def init_states(task):
    return np.load(task.init_states_path, allow_pickle=False)


@pytest.fixture(scope="module")
def env(task):
    env = Env(task.bddl_path, SIZE)
    yield env
    env.close()


def actions(n_steps: int, seed: int) -> np.ndarray:
    return np.clip(np.random.default_rng(seed).normal(0, 0.6, (n_steps, 7)), -1, 1)


def roll_out(env, init_state, seed=3, n_steps=30):
    """All observations and states of an episode of random actions."""
    env.reset(init_state, seed, SETTLE_STEPS)
    observations, states = [env.observe()], [env.state()]
    for action in actions(n_steps, seed=9):
        env.advance(action)
        observations.append(env.observe())
        states.append(env.state())
    return observations, np.stack(states)


def assert_same(first, second):
    np.testing.assert_array_equal(first[1], second[1])
    for one, other in zip(first[0], second[0], strict=True):
        for key in one:
            np.testing.assert_array_equal(one[key], other[key])


def test_an_observation_has_the_documented_arrays(env, init_states):
    env.reset(init_states[0], 0, SETTLE_STEPS)
    observation = env.observe()
    found = {key: (array.dtype, array.shape) for key, array in observation.items()}
    assert found == {
        "agentview_rgb": (np.uint8, (SIZE, SIZE, 3)),
        "eye_in_hand_rgb": (np.uint8, (SIZE, SIZE, 3)),
        "joint_states": (np.float32, (7,)),
        "gripper_states": (np.float32, (2,)),
    }


def test_the_instruction_is_the_tasks(env, task):
    assert env.instruction == task.instruction


def test_an_episode_does_not_depend_on_earlier_ones(env, init_states):
    first = roll_out(env, init_states[0])
    for index in (5, 6):
        roll_out(env, init_states[index], seed=index)
    env.frame(96)
    assert_same(first, roll_out(env, init_states[0]))


def test_another_environment_gives_the_same_episode(env, task, init_states):
    first = roll_out(env, init_states[1])
    other = Env(task.bddl_path, SIZE)
    try:
        assert_same(first, roll_out(other, init_states[1]))
        assert_same(first, roll_out(env, init_states[1]))
    finally:
        other.close()
    assert_same(first, roll_out(env, init_states[1]))


def test_a_state_alone_gives_the_observation(env, init_states):
    observations, states = roll_out(env, init_states[2])
    env.sample(77)
    for observation, state in zip(observations, states, strict=True):
        env.set_state(state)
        for key, array in env.observe().items():
            np.testing.assert_array_equal(array, observation[key])


def test_a_step_moves_the_arm_as_robosuites_own_step(env, init_states):
    env.reset(init_states[3], 0, 0)
    ours = [env.advance(action) or env.state() for action in actions(20, seed=1)]
    env.reset(init_states[3], 0, 0)
    theirs = [env._env.step(action) and env.state() for action in actions(20, seed=1)]
    # robosuite warms its solver up by two more passes: rounding differs.
    np.testing.assert_allclose(np.stack(ours), np.stack(theirs), atol=1e-4)


def test_the_gripper_goes_where_the_action_points(env, init_states):
    env.reset(init_states[0], 0, SETTLE_STEPS)
    start, _ = env.grip_pose()
    for _ in range(10):
        env.advance(np.array([0.0, 1.0, 0.0, 0.0, 0.0, 0.0, -1.0]))
    moved = env.grip_pose()[0] - start
    assert moved[1] > 0.08
    assert np.abs(moved[[0, 2]]).max() < 0.02


def test_objects_rest_after_settling(env, init_states):
    env.reset(init_states[0], 0, SETTLE_STEPS)
    assert np.abs(env.state()[-20:]).max() < 0.05


def test_a_sampled_state_depends_on_its_seed_alone(env):
    first = env.sample(1)
    other = env.sample(2)
    np.testing.assert_array_equal(env.sample(1), first)
    assert not np.array_equal(first, other)


def test_the_frame_for_people_is_the_agents_view_turned_upright(env, init_states):
    env.reset(init_states[0], 0, SETTLE_STEPS)
    observation = env.observe()
    np.testing.assert_array_equal(env.frame(SIZE), observation["agentview_rgb"][::-1])
    assert env.frame(200).shape == (200, 200, 3)


def test_a_wrong_initial_state_is_an_error(env):
    with pytest.raises(ValueError, match=rf"expected init_state of shape \({env.n_states},\)"):
        env.reset(np.zeros(3), 0, 0)


@pytest.mark.parametrize("action", [np.zeros(6), np.full(7, np.nan)])
def test_a_wrong_action_is_an_error(env, action):
    with pytest.raises(ValueError, match="expected an action of 7 finite numbers"):
        env.advance(action)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("red_cube_1 - red_cube", "red_cube_1 - red_herring", "LIBERO has no object, fixture or region 'red_herring'"),
        (
            "Blocks_Floor_Manipulation",
            "Moon_Manipulation",
            r"unknown problem 'moon_manipulation'; have \['blocks_floor",
        ),
        ("(define", "define", "not a readable BDDL file: "),
        ("(:goal", "(:goal (", "not a readable BDDL file: Missing close parenthesis"),
    ],
)
def test_a_bddl_file_that_is_wrong_is_one_line_that_names_it(tmp_path, task, old, new, message):
    text = task.bddl_path.read_text(encoding="utf-8")
    found = re.search(re.escape(old), text, flags=re.IGNORECASE)
    assert found
    (tmp_path / "x.bddl").write_text(text.replace(found[0], new), encoding="utf-8")
    with pytest.raises(ValueError, match=rf"x\.bddl: {message}") as error:
        Env(tmp_path / "x.bddl", SIZE)
    assert "\n" not in str(error.value)


def test_a_scene_without_room_is_an_error(tmp_path):
    def overlap():
        raise RandomizationError("Cannot place all objects ):")

    with pytest.raises(RuntimeError, match=r"x\.bddl: objects overlap in all 100 sampled placements"):
        _until_placed(overlap, tmp_path / "x.bddl")


def test_building_an_environment_asks_and_writes_nothing(tmp_path, task):
    """No question on stdin, no file in $HOME, no robosuite.log, no download."""
    log = Path("/tmp/robosuite.log")
    before = log.stat().st_mtime_ns if log.exists() else None
    program = (
        "import socket, sys; socket.socket.connect = None; from pathlib import Path;"
        "from t2s.sim.env import Env; Env(Path(sys.argv[1]), 64).close()"
    )
    environment = {k: v for k, v in os.environ.items() if k != "LIBERO_CONFIG_PATH"}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program, str(task.bddl_path)],
        env=environment | {"HOME": str(tmp_path)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert list(tmp_path.iterdir()) == []
    assert (log.stat().st_mtime_ns if log.exists() else None) == before


def test_the_command_reproduces_the_stored_initial_states(tmp_path, task):
    sample_init_states.main(["--task", task.name, "--out", str(tmp_path)])
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert [path.name for path in written] == [f"{task.name}.npy"]
    assert written[0].read_bytes() == task.init_states_path.read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("task", ALL_TASKS, ids=lambda task: task.name)
def test_no_task_is_solved_by_doing_nothing(task):
    env = Env(task.bddl_path, SIZE)
    try:
        for state in np.load(task.init_states_path):
            env.sample(0)
            env.set_state(state)
            assert not any(env.advance(np.zeros(7)) for _ in range(SETTLE_STEPS + 3))
    finally:
        env.close()


@pytest.mark.slow
@pytest.mark.parametrize("task", ALL_TASKS, ids=lambda task: task.name)
def test_the_command_reproduces_every_tasks_initial_states(task):
    stored = np.load(task.init_states_path)
    np.testing.assert_array_equal(sample_init_states.sample(task.bddl_path), stored)
