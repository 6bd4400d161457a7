from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import synthetic

from t2s.data import demonstrations, hdf5
from t2s.data.files import sha256

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
        ValueError, match=r"task0\.json: expected observations .*, got None; run `snakemake --cores all --forcerun "
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
    with pytest.raises(ValueError, match=r"demo_0/obs/agentview_rgb: expected shape \(5, 32, 32, 3\)"):
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
    with pytest.raises(ValueError, match=rf"task0_demo\.hdf5: data/demo_0.*{message}"):
        demonstrations.read(path, SIZE)


def test_integer_actions_are_an_error(path):
    with h5py.File(path, "a") as file:
        del file["data/demo_0/actions"]
        file["data/demo_0/actions"] = np.zeros((5, 7), dtype=np.int64)
    with pytest.raises(ValueError, match="demo_0/actions: expected floats, got int64"):
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
    with pytest.raises(
        ValueError, match=r"expected a dataset 'data/demo_1/obs/joint_states', got none; have \['agentv"
    ):
        demonstrations.read(path, SIZE)


def test_a_missing_demonstration_is_an_error(path):
    with h5py.File(path, "a") as file:
        del file["data/demo_2"]
    with pytest.raises(ValueError, match="expected 3 demonstrations, as the file says, got 2"):
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
    with pytest.raises(ValueError, match=r"expected a group 'data', got none; have \['x'\]"):
        demonstrations.read(path, SIZE)


def test_a_file_without_an_instruction_is_an_error(path):
    with h5py.File(path, "a") as file:
        del file["data"].attrs["problem_info"]
    with pytest.raises(ValueError, match=r"problem_info of 'data' as JSON with a sentence .*None$"):
        demonstrations.read(path, SIZE)


def test_a_failed_write_leaves_nothing(tmp_path, demos):
    with pytest.raises(TypeError):
        demonstrations.write(tmp_path / "x.hdf5", demos, {**ATTRIBUTES, "bad": object()})
    assert list(tmp_path.iterdir()) == []


def edited(path: Path, change: Callable[[Any], object]) -> Path:
    with h5py.File(path, "a") as file:
        change(file)
    return path


def problem(instruction: object) -> Callable[[Any], None]:
    return lambda file: file["data"].attrs.__setitem__(
        "problem_info", json.dumps({"language_instruction": instruction})
    )


def attribute(name: str, value: object, of: str = "data") -> Callable[[Any], None]:
    return lambda file: file[of].attrs.__setitem__(name, value)


def swap(key: str, *values: object) -> Callable[[Any], None]:
    """Replaces a dataset of the first demonstration, by a group if there are several values."""

    def change(file: Any) -> None:
        del file[f"data/demo_0/{key}"]
        for number, value in enumerate(values):
            file[f"data/demo_0/{key}" + (f"/{number}" if len(values) > 1 else "")] = value

    return change


SENTENCE = "pick up the red cube"
ENV_ARGS = {"controller_configs": {"type": "OSC_POSE"}, "control_freq": 20, "camera_heights": SIZE, "robots": ["Panda"]}
TAKEN: dict[str, Callable[[Any], object]] = {
    "as it is": lambda file: None,
    "newline": problem(f" {SENTENCE}\n"),
    "capital": problem("Pick up the red cube"),
    "letters as in LIBERO": problem(list(f'"{SENTENCE}"')),
    "words": problem(SENTENCE.split()),
    "source in bytes": attribute("source", np.bytes_("scripted")),
    "mask of robomimic": lambda file: file.__setitem__("mask/train", np.array([b"demo_0"])),
    "numbers alone": lambda file: [file["data"].move(f"demo_{i}", f"{i}") for i in range(3)],
    "images of OpenGL": attribute("macros_image_convention", "opengl"),
    "environment": attribute("env_args", json.dumps({"env_kwargs": ENV_ARGS})),
    "environment unknown": attribute("env_args", json.dumps({"env_name": "Lift"})),
    "no counts": lambda file: [file["data"].attrs.pop("num_demos"), file["data/demo_0"].attrs.pop("num_samples")],
}


@pytest.mark.parametrize("variant", TAKEN)
def test_what_others_write_is_read_the_same(path, variant):
    read = demonstrations.read(edited(path, TAKEN[variant]), SIZE)
    assert read.instruction == SENTENCE
    assert read.source == "scripted"
    assert np.diff(read.starts).tolist() == list(LENGTHS)


def environment(**changes: object) -> Callable[[Any], None]:
    return attribute("env_args", json.dumps({"env_kwargs": ENV_ARGS | changes}))


def to_robomimic(file: Any) -> None:
    for demo in file["data"].values():
        demo.move("obs/agentview_rgb", "obs/agentview_image")
        demo.move("obs/joint_states", "obs/robot0_joint_pos")


def to_raw(file: Any) -> None:
    for demo in file["data"].values():
        del demo["obs"]
    del file["data"].attrs["problem_info"]


REFUSED: dict[str, tuple[Callable[[Any], object], str]] = {
    "problem null": (attribute("problem_info", "null"), "problem_info of 'data' as JSON with a sentence .*, got None"),
    "problem list": (attribute("problem_info", "[1]"), r"problem_info of 'data' as JSON with a sentence .*, got \[1\]"),
    "problem text": (attribute("problem_info", SENTENCE), f"problem_info of 'data' as JSON, got '{SENTENCE}'"),
    "problem empty": (attribute("problem_info", h5py.Empty("S10")), "problem_info of 'data' as JSON"),
    "problem number": (attribute("problem_info", 3), "problem_info of 'data' as JSON, got 3"),
    "no sentence": (problem(None), "as JSON with a sentence"),
    "sentence a number": (problem(3), "as JSON with a sentence .*, got 3"),
    "sentence empty": (problem(" "), "as JSON with a sentence"),
    "sentence of numbers": (problem([1, 2]), "as JSON with a sentence"),
    "source a number": (attribute("source", 3), "unknown source 3; have"),
    "source not UTF-8": (attribute("source", np.bytes_(b"\xff")), "attribute source of 'data': .*utf-8.* codec"),
    "names": (lambda f: f["data"].move("demo_0", "episode_0"), r"only demo_0, .* in .*, got \['episode_0'\]"),
    "an extra": (lambda f: f.__setitem__("data/stats", np.zeros(3)), r"only demo_0, .* in .*, got \['stats'\]"),
    "count as text": (attribute("num_demos", "3"), "expected '3' demonstrations, as the file says, got 3"),
    "another count": (attribute("num_demos", 50), "expected 50 demonstrations, as the file says, got 3"),
    "another length": (attribute("num_samples", 9, "data/demo_1"), "expected 9 steps in data/demo_1, .* got 3"),
    "data a dataset": (lambda f: [f.pop("data"), f.__setitem__("data", [1])], "expected a group 'data', got a dataset"),
    "demo a dataset": (
        lambda f: [f["data"].pop("demo_0"), f.__setitem__("data/demo_0", [1])],
        "group 'data/demo_0', got",
    ),
    "demo a link to nothing": (lambda f: f["data"].__setitem__("demo_3", h5py.SoftLink("/no")), "demo_3', got none"),
    "images a group": (swap("obs/agentview_rgb", [1], [2]), "dataset 'data/demo_0/obs/agentview_rgb', got a group"),
    "actions a group": (swap("actions", [1], [2]), "expected a dataset 'data/demo_0/actions', got a group"),
    "actions a scalar": (swap("actions", 0.5), r"data/demo_0/actions: expected shape \(n, 7\), got \(\)"),
    "actions empty": (swap("actions", h5py.Empty("f8")), r"data/demo_0/actions: expected shape \(n, 7\), got None"),
    "actions of objects": (swap("actions", np.array([["a"] * 7], "S1")), r"actions: expected floats, got \|S1"),
    "too large for float32": (swap("obs/joint_states", np.full((5, 7), 1e39)), "obs/joint_states: expected finite"),
    "images upright": (
        attribute("macros_image_convention", "opencv"),
        r"upside down .*, got 'opencv'; turn every image",
    ),
    "another controller": (
        environment(controller_configs={"type": "IK_POSE"}),
        "controller 'OSC_POSE' .* got 'IK_POSE'",
    ),
    "another frequency": (environment(control_freq=10), "expected control_freq 20 in env_args, got 10"),
    "another size": (environment(camera_heights=[64, 64]), r"camera_heights 16 in env_args, got \[64, 64\]"),
    "environment no JSON": (attribute("env_args", "{"), "env_args of 'data' as JSON, got '{'"),
    "robomimic": (to_robomimic, "LIBERO's layout, got robomimic's: obs has .*'agentview_image'.*create_dataset.py$"),
    "robosuite": (to_raw, "got robosuite's raw demonstrations: .* without images; make LIBERO's layout .*dataset.py$"),
}


@pytest.mark.parametrize("variant", REFUSED)
def test_what_cannot_be_learned_is_one_line_that_says_why(path, variant):
    change, message = REFUSED[variant]
    with pytest.raises(ValueError, match=rf"task0_demo\.hdf5: .*{message}") as error:
        demonstrations.read(edited(path, change), SIZE)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "named"),
    [
        ("meta/info.json", "."),
        ("meta/info.json", "meta/info.json"),
        ("meta/info.json", "data/chunk-000/episode_000000.parquet"),
        ("libero-train.tfrecord-00000-of-00032", "."),
        ("any.txt", "."),
    ],
)
def test_other_data_sets_are_named(tmp_path, name, named):
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("{}")
    wanted = {"m": "a data set of LeRobot in '.*'.* demos.source: download", "l": "a data set in RLDS", "a": "a folder"}
    with pytest.raises(ValueError, match=f"expected demonstrations in HDF5 or their manifest, got {wanted[name[0]]}"):
        demonstrations.source(tmp_path / named)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "got an empty file"),
        ("[]", r"expected a JSON object, got \[\]"),
        ("{", "not JSON"),
        ("[" * 10**5, "not JSON"),
        ('{"file": NaN}', "not JSON, .*got NaN"),
        ({"file": None}, "expected 'file', got none; have"),
        ({"n_demos": 0}, "expected n_demos >= 1, got 0"),
        ({"n_demos": -1}, "expected n_demos >= 1, got -1"),
        ({"n_demos": "1"}, "expected 'n_demos' of type int, got '1'"),
        ({"n_demos": True}, "expected 'n_demos' of type int, got True"),
        ({"instruction": 3}, "expected 'instruction' of type str, got 3"),
        ({"source": "dreamt"}, "unknown source 'dreamt'; have"),
    ],
)
def test_a_damaged_manifest_is_one_line_that_names_it(path, content, message):
    manifest = {"file": path.name, "sha256": "0", "n_demos": 3, "instruction": SENTENCE, "source": "human"}
    if isinstance(content, dict):
        content = json.dumps({key: value for key, value in (manifest | content).items() if value is not None})
    file = path.with_name("task0.json")
    file.write_text(content)
    for use in (demonstrations.source, lambda path: demonstrations.read(path, SIZE)):
        with pytest.raises(ValueError, match=rf"task0\.json: .*{message}.*; .*snakemake") as error:
            use(file)
        assert "\n" not in str(error.value)


def damaged(whole: bytes, rng: np.random.Generator) -> bytes:
    """The file cut off, with some bytes or one bit changed, or with a block of zeros."""
    content = np.frombuffer(whole, np.uint8).copy()
    kind, at = rng.integers(4), int(rng.integers(len(content)))
    if kind == 0:
        return content[:at].tobytes()
    if kind == 1:
        some = rng.integers(len(content), size=rng.integers(1, 20))
        content[some] = rng.integers(256, size=len(some))
    elif kind == 2:
        content[at : at + rng.choice([8, 64, 512, 4096])] = 0
    else:
        content[at] ^= 1 << rng.integers(8)
    return content.tobytes()


def try_damaged_copies(path: Path, n: int) -> None:
    """Reads damaged copies of a file; prints what was wrong with a reaction, and how many were read and refused."""
    hdf5.PATIENCE = 1
    whole, manifest = path.read_bytes(), path.with_suffix(".json")
    said = {"file": path.name, "sha256": sha256(path), "n_demos": 2, "instruction": SENTENCE, "source": "scripted"}
    manifest.write_text(json.dumps(said))
    counts = Counter[str]()
    for seed in range(n):
        path.write_bytes(content := damaged(whole, np.random.default_rng(seed)))
        for named in (path, manifest):
            try:
                demonstrations.read(named, 8)
                counts[f"{named.suffix} read"] += named == path or content == whole
            except ValueError as error:
                counts[f"{named.suffix} refused"] += str(error).startswith(f"{path}: ") and "\n" not in str(error)
    print(json.dumps(counts))


def test_600_damaged_copies_are_read_or_one_line_each(tmp_path):
    path = tmp_path / "x.hdf5"
    synthetic.write_demos(path, [3, 2], 8, SENTENCE)
    code = f"import pathlib, test_demonstrations as t; t.try_damaged_copies(pathlib.Path({str(path)!r}), 600)"
    done = subprocess.run(  # on its own, because this process is slow to fork
        [sys.executable, "-c", code], cwd=Path(__file__).parent, capture_output=True, text=True, check=True
    )
    counts = json.loads(done.stdout)
    assert counts[".hdf5 read"] + counts[".hdf5 refused"] == 600
    assert min(counts[".hdf5 read"], counts[".hdf5 refused"]) > 100
    assert counts.get(".json read", 0) + counts[".json refused"] == 600  # a digest sees every damage


def test_a_file_that_hdf5_reads_for_ever_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr(hdf5, "PATIENCE", 1)
    path = tmp_path / "x.hdf5"
    synthetic.write_demos(path, [3, 2], 8, "push the cube")
    content = bytearray(path.read_bytes())
    at = content.index(b'{"language_instruction"')  # in the heap of texts, whose free space is then of no size
    content[at + 40 : at + 200] = bytes(160)
    path.write_bytes(content)
    with pytest.raises(
        ValueError, match=r"x\.hdf5: not a readable file of HDF5: it is damaged so that HDF5 reads for ever"
    ):
        demonstrations.read(path, 8)
