from __future__ import annotations

import argparse
import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest
from params_file import params_file

from t2s import cli, params
from t2s.data import demonstrations, files, init_states, suites
from t2s.sim.blocks import sample_init_states
from t2s.sim.env import Env
from t2s.sim.expert import follow
from t2s.sim.expert.follow import Demo
from t2s.stages import demos

pytestmark = pytest.mark.sim
SIZE = 64
PARAMS = params_file({"demos": {"source": "scripted", "n_demos": 2, "seed": 0}, "env": {"image_size": SIZE}})


def run(folder: Path) -> tuple[Path, Path]:
    out, manifest = folder / "task1_demo.hdf5", folder / "task1.json"
    arguments = ["--suite", "blocks_goal", "--task", "1", "--params", PARAMS]
    cli.run(["demos", *arguments, "--out", str(out), "--manifest", str(manifest)])
    return out, manifest


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    return run(tmp_path_factory.mktemp("demos"))


def test_the_manifest_describes_the_file(written):
    out, manifest = written
    read = demonstrations.read(out, SIZE)
    found = json.loads(manifest.read_text())
    assert found.pop("n_attempts") >= 2
    assert found == {
        "file": "task1_demo.hdf5",
        "sha256": files.sha256(out),
        "n_demos": 2,
        "n_samples": len(read.actions),
        "source": "scripted",
        "observations": "before",
        "instruction": "open the drawer",
    }


def test_a_second_run_writes_the_same_bytes(written, tmp_path):
    for first, second in zip(written, run(tmp_path), strict=True):
        assert first.read_bytes() == second.read_bytes()


def test_no_path_of_this_machine_is_in_the_file(written):
    import h5py

    with h5py.File(written[0]) as file:
        data = file["data"]
        texts = [*map(str, data.attrs.values()), data["demo_0"].attrs["model_file"]]
    assert not any(str(Path.cwd()) in text for text in texts)


def test_rendered_observations_are_those_of_a_rollout():
    task = suites.task("blocks_spatial", 1)
    env = Env(task.bddl_path, SIZE)
    try:
        init_state = np.load(task.init_states_path)[0]
        env.reset(init_state, 4, 5)
        observations, states = [env.observe()], [env.state()]
        for action in np.random.default_rng(0).uniform(-1, 1, (12, 7)):
            env.advance(action)
            observations.append(env.observe())
            states.append(env.state())
        demo = Demo(np.stack(states), np.zeros((len(states), 7), dtype=np.float32), 8)
        arrays = demos.render(env, demo)
    finally:
        env.close()
    for key in observations[0]:
        seen = np.stack([observation[key] for observation in observations])
        np.testing.assert_array_equal(arrays[f"obs/{key}"].astype(seen.dtype), seen)


def test_liberos_reader_accepts_the_file(written, capsys):
    from libero.libero.utils.dataset_utils import get_dataset_info

    get_dataset_info(str(written[0]), verbose=False)
    assert "language instruction: open the drawer" in capsys.readouterr().out


def test_datasets_and_attributes_are_liberos(written):
    import h5py

    with h5py.File(written[0]) as file:
        demo = file["data/demo_0"]
        n = int(demo.attrs["num_samples"])
        found = {name: (item.dtype, item.shape[1:]) for name, item in _datasets(demo)}
        assert set(file["data"].attrs) >= {
            "bddl_file_content",
            "bddl_file_name",
            "env_args",
            "env_name",
            "macros_image_convention",
            "num_demos",
            "problem_info",
            "tag",
            "total",
        }
        assert demo["dones"][-1] == demo["rewards"][-1] == 1
        assert all(len(item) == n for _, item in _datasets(demo))
        n_states = len(demo.attrs["init_state"])
    real, byte, image = np.float64, np.uint8, (SIZE, SIZE, 3)
    assert found == {
        "actions": (real, (7,)),
        "dones": (byte, ()),
        "rewards": (byte, ()),
        "robot_states": (real, (9,)),
        "states": (real, (n_states,)),
        "obs/agentview_rgb": (byte, image),
        "obs/eye_in_hand_rgb": (byte, image),
        "obs/ee_ori": (real, (3,)),
        "obs/ee_pos": (real, (3,)),
        "obs/ee_states": (real, (6,)),
        "obs/gripper_states": (real, (2,)),
        "obs/joint_states": (real, (7,)),
    }


def test_an_expert_that_fails_is_an_error_and_writes_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(follow, "demonstrate", lambda env, seed, init_state: None)
    with pytest.raises(RuntimeError, match="open_the_drawer: 0 of 4 attempts succeeded, expected 2"):
        run(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_attempts_are_counted(capsys):
    cli.run(["demos", "--suite", "blocks_goal", "--task", "1", "--params", PARAMS, "--check", "2"])
    [row] = csv.DictReader(io.StringIO(capsys.readouterr().out))
    assert (row["suite"], row["task"], row["successes"], row["attempts"]) == ("blocks_goal", "1", "2", "2")


@pytest.mark.parametrize("suite", [suite for suite in params.SUITES if suite.startswith("blocks")])
def test_no_demonstration_of_an_embedded_suite_starts_from_a_stored_state(suite):
    """A seed draws a state, and none draws both."""
    for task in suites.tasks(suite):
        stored = {*sample_init_states.seeds(task.name)}
        assert len(stored) == len(init_states.read(task)) == params.N_STORED
        for seed in range(20):
            assert not stored & {*demos.attempt_seeds(seed, demos.ATTEMPTS_A_DEMO * 50)}


NO_ENV = Env.__new__(Env)  # of the right type; nothing is simulated


class Recorder:
    """In place of `follow.demonstrate`: every second attempt succeeds; keeps the seeds and states given."""

    def __init__(self) -> None:
        self.given: list[tuple[int, int | None]] = []

    def __call__(self, env, seed, init_state):
        self.given.append((seed, None if init_state is None else int(init_state[0])))
        return Demo(np.zeros((1, 3)), np.zeros((1, 7), np.float32), seed) if len(self.given) % 2 else None


@pytest.fixture
def recorder(monkeypatch):
    """States of LIBERO are their numbers."""
    recorder = Recorder()
    monkeypatch.setattr(follow, "demonstrate", recorder)
    monkeypatch.setattr(init_states, "read", lambda task: np.arange(50.0)[:, None])
    return recorder


def test_no_attempt_at_a_libero_task_starts_from_a_state_that_is_evaluated(recorder):
    evaluate = params.Evaluate.read(str(Path(__file__).parents[1] / "params.yaml"))
    states = params.states_of(evaluate)
    task = suites.task("libero_object", 0)
    demos.attempt(NO_ENV, task, params.Demos(source="scripted", n_demos=10, seed=0), states.demonstrating)
    used = [state for _, state in recorder.given]
    assert used == [*range(49, 39, -1), *range(49, 40, -1)]  # failures: the same states with other noise
    assert len({seed for seed, _ in recorder.given}) == len(used)
    assert not {*used} & {*states.choosing, *states.scoring}


def test_an_attempt_without_stored_states_draws_its_own(recorder):
    demos.attempt(NO_ENV, suites.task("blocks_goal", 0), params.Demos(source="scripted", n_demos=3, seed=0))
    assert recorder.given == [(seed, None) for seed in demos.attempt_seeds(0, 5)]


@pytest.mark.parametrize(
    ("n_demos", "starts", "message"),
    [
        (2, [7], "expected demos.n_demos <= 1, the number of initial states that no rollout uses, got 2"),
        (11, None, "expected demos.n_demos <= 10, the number of"),
        (1, [7, 50, -1], r"expected initial states 0 to 49 of .*, got \[50, -1\]"),
    ],
)
def test_too_few_states_to_start_from_are_one_line(recorder, n_demos, starts, message):
    args = argparse.Namespace(init_states=starts, params=str(Path(__file__).parents[1] / "params.yaml"))
    with pytest.raises(ValueError, match=message):
        demos.free_states(suites.task("libero_object", 0), n_demos, args)


@pytest.mark.slow
def test_forty_demonstrations_take_less_than_forty_seconds(tmp_path):
    import time

    start = time.process_time()
    task = suites.task("blocks_object", 0)
    demos.write(task, params.Demos(source="scripted", n_demos=40, seed=0), SIZE, tmp_path / "x.hdf5")
    assert time.process_time() - start < 40


def _datasets(group):
    names = []
    group.visititems(lambda name, item: names.append((name, item)) if hasattr(item, "dtype") else None)
    return names
