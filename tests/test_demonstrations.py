from __future__ import annotations

import json
from typing import Any

import h5py
import numpy as np
import pytest

from t2s.data import demonstrations

SIZE = 16
LENGTHS = (5, 3, 4)
ATTRIBUTES = {
    "problem_info": json.dumps({"language_instruction": "pick up the red cube"}),
    "source": "scripted",
}


def make_demo(n_steps: int, seed: int) -> dict[str, Any]:
    generator = np.random.default_rng(seed)
    image = (n_steps, SIZE, SIZE, 3)
    return {
        "obs/agentview_rgb": generator.integers(0, 256, image, dtype=np.uint8),
        "obs/eye_in_hand_rgb": generator.integers(0, 256, image, dtype=np.uint8),
        "obs/joint_states": generator.normal(size=(n_steps, 7)),
        "obs/gripper_states": generator.normal(size=(n_steps, 2)),
        "actions": generator.uniform(-1, 1, (n_steps, 7)),
        "states": generator.normal(size=(n_steps, 20)),
        "init_state": np.zeros(20),
        "model_file": "<mujoco/>",
    }


@pytest.fixture
def demos():
    return [make_demo(n_steps, seed) for seed, n_steps in enumerate(LENGTHS)]


@pytest.fixture
def path(tmp_path, demos):
    path = tmp_path / "task0_demo.hdf5"
    demonstrations.write(path, demos, ATTRIBUTES)
    return path


def test_what_was_written_is_read(path, demos):
    read = demonstrations.read(path, SIZE)
    for key in ("agentview_rgb", "eye_in_hand_rgb"):
        np.testing.assert_array_equal(getattr(read, key), np.concatenate([demo[f"obs/{key}"] for demo in demos]))
    actions = np.concatenate([demo["actions"] for demo in demos]).astype(np.float32)
    np.testing.assert_array_equal(read.actions, actions)
    assert read.joint_states.dtype == read.gripper_states.dtype == np.float32
    assert read.instruction == "pick up the red cube"
    assert read.source == "scripted"


def test_starts_bound_every_demonstration(path):
    np.testing.assert_array_equal(demonstrations.read(path, SIZE).starts, [0, 5, 8, 12])


def test_demonstrations_are_in_the_order_of_their_numbers(tmp_path):
    path = tmp_path / "many.hdf5"
    demonstrations.write(path, [make_demo(n, n) for n in range(1, 13)], ATTRIBUTES)
    assert np.diff(demonstrations.read(path, SIZE).starts).tolist() == list(range(1, 13))


def test_the_same_demonstrations_give_the_same_bytes(tmp_path, path, demos):
    again = tmp_path / "again.hdf5"
    demonstrations.write(again, demos, ATTRIBUTES)
    assert again.read_bytes() == path.read_bytes()


def test_the_layout_is_liberos(path):
    with h5py.File(path) as file:
        data = file["data"]
        assert (data.attrs["num_demos"], data.attrs["total"]) == (3, 12)
        assert sorted(data) == ["demo_0", "demo_1", "demo_2"]
        assert data["demo_1"].attrs["num_samples"] == 3
        assert data["demo_1"].attrs["model_file"] == "<mujoco/>"
        assert data["demo_1"].attrs["init_state"].shape == (20,)


def test_a_file_without_a_source_is_of_people(path):
    with h5py.File(path, "a") as file:
        del file["data"].attrs["source"]
    assert demonstrations.read(path, SIZE).source == "human"


def test_a_source_that_does_not_exist_is_named(path):
    with h5py.File(path, "a") as file:
        file["data"].attrs["source"] = "dreamt"
    with pytest.raises(ValueError, match=r"task0_demo\.hdf5: unknown source 'dreamt'; have \['human', 'scripted'\]"):
        demonstrations.source(path)


@pytest.mark.parametrize(("source", "made"), [("scripted", "before"), ("human", "after")])
def test_scripted_observations_come_before_their_action_and_liberos_after(path, source, made):
    with h5py.File(path, "a") as file:
        file["data"].attrs["source"] = source
    assert demonstrations.observations(path) == made


def test_a_manifest_says_when_its_observations_were_made(tmp_path):
    manifest = {"file": "x", "sha256": "x", "n_demos": 1, "instruction": "x", "source": "human"}
    path = tmp_path / "task0.json"
    path.write_text(json.dumps(manifest | {"observations": "before"}))
    assert demonstrations.observations(path) == "before"
    path.write_text(json.dumps(manifest | {"observations": "during"}))
    with pytest.raises(ValueError, match=r"task0\.json: expected observations 'before' or 'after', got 'during'"):
        demonstrations.observations(path)
    path.write_text(json.dumps(manifest))
    with pytest.raises(
        ValueError, match=r"task0\.json: expected observations .*, got None; run `snakemake --forcerun "
    ):
        demonstrations.observations(path)


def test_a_missing_file_is_one_line(tmp_path):
    with pytest.raises(ValueError, match=r"no\.hdf5: not a readable file") as error:
        demonstrations.read(tmp_path / "no.hdf5", SIZE)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
def test_a_truncated_file_is_one_line_that_names_it(path, share):
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(ValueError, match=r"task0_demo\.hdf5: not a readable file") as error:
        demonstrations.read(path, SIZE)
    assert "\n" not in str(error.value)


def test_another_image_size_is_an_error(path):
    with pytest.raises(ValueError, match=r"demo_0 agentview_rgb: expected shape \(5, 32, 32, 3\)"):
        demonstrations.read(path, 32)


BROKEN = {
    "obs/joint_states": (np.zeros((5, 6)), r"expected shape \(5, 7\), got \(5, 6\)"),
    "obs/gripper_states": (np.full((5, 2), np.nan), "expected finite numbers"),
    "obs/agentview_rgb": (np.zeros((5, SIZE, SIZE, 3)), "expected uint8, got float64"),
    "obs/eye_in_hand_rgb": (np.zeros((4, SIZE, SIZE, 3), np.uint8), r"expected shape \(5,"),
    "actions": (np.full((5, 7), 1.5), r"expected actions in \[-1, 1\], got 1.5"),
}


@pytest.mark.parametrize("key", BROKEN)
def test_a_wrong_array_is_an_error_that_says_so(path, key):
    array, message = BROKEN[key]
    with h5py.File(path, "a") as file:
        del file[f"data/demo_0/{key}"]
        file[f"data/demo_0/{key}"] = array
    with pytest.raises(ValueError, match=rf"task0_demo\.hdf5: demo_0.*{message}"):
        demonstrations.read(path, SIZE)


def test_integer_actions_are_an_error(path):
    with h5py.File(path, "a") as file:
        del file["data/demo_0/actions"]
        file["data/demo_0/actions"] = np.zeros((5, 7), dtype=np.int64)
    with pytest.raises(ValueError, match="demo_0 actions: expected floats, got int64"):
        demonstrations.read(path, SIZE)


def test_a_demonstration_without_steps_is_an_error(path):
    with h5py.File(path, "a") as file:
        del file["data/demo_0/actions"]
        file["data/demo_0/actions"] = np.zeros((0, 7))
    with pytest.raises(ValueError, match="demo_0: expected at least one step"):
        demonstrations.read(path, SIZE)


def test_a_missing_dataset_names_those_that_exist(path):
    with h5py.File(path, "a") as file:
        del file["data/demo_1/obs/joint_states"]
    with pytest.raises(ValueError, match=r"expected 'obs/joint_states' in demo_1; have \['actions'"):
        demonstrations.read(path, SIZE)


def test_a_missing_demonstration_is_an_error(path):
    with h5py.File(path, "a") as file:
        del file["data/demo_2"]
    with pytest.raises(ValueError, match="expected 3 demonstrations, got 2"):
        demonstrations.read(path, SIZE)


def test_a_file_without_demonstrations_is_an_error(tmp_path):
    path = tmp_path / "empty.hdf5"
    demonstrations.write(path, [], ATTRIBUTES)
    with pytest.raises(ValueError, match="expected demonstrations, got none"):
        demonstrations.read(path, SIZE)


def test_another_hdf5_file_is_an_error(tmp_path):
    path = tmp_path / "other.hdf5"
    with h5py.File(path, "w") as file:
        file["x"] = 1
    with pytest.raises(ValueError, match=r"expected a group 'data'; have \['x'\]"):
        demonstrations.read(path, SIZE)


def test_a_file_without_an_instruction_is_an_error(path):
    with h5py.File(path, "a") as file:
        del file["data"].attrs["problem_info"]
    with pytest.raises(ValueError, match="not a readable file of demonstrations"):
        demonstrations.read(path, SIZE)


def test_a_failed_write_leaves_nothing(tmp_path, demos):
    with pytest.raises(TypeError):
        demonstrations.write(tmp_path / "x.hdf5", demos, {**ATTRIBUTES, "bad": object()})
    assert list(tmp_path.iterdir()) == []
