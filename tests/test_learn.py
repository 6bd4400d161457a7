import csv
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import synthetic
import torch
from params_file import params_file

from t2s import cli, params
from t2s.data import demonstrations, embeddings
from t2s.data.files import sha256
from t2s.lifelong import checkpoint
from t2s.model.scene import picture
from t2s.stages import learn

ROOT = Path(__file__).parent.parent
SECTIONS = params.resolve(params.read(str(ROOT / "params.yaml")))
INSTRUCTION = "push the red cube"


def demos(lengths=(5, 3), instruction=INSTRUCTION, size=32):
    rng = np.random.default_rng(0)
    n = sum(lengths)
    return demonstrations.Demonstrations(
        agentview_rgb=rng.integers(0, 256, (n, size, size, 3), dtype=np.uint8),
        eye_in_hand_rgb=rng.integers(0, 256, (n, size, size, 3), dtype=np.uint8),
        joint_states=rng.normal(size=(n, 7)).astype(np.float32),
        gripper_states=rng.normal(size=(n, 2)).astype(np.float32),
        actions=rng.uniform(-1, 1, (n, 7)).astype(np.float32),
        starts=np.cumsum([0, *lengths]),
        instruction=instruction,
        source="scripted",
    )


def settings(**learn_values):
    return params.Learn(**(SECTIONS["learn"] | {"device": "cpu"} | learn_values))


def dataset(*of_tasks):
    task_embs = [np.full(8, task, np.float32) for task in range(len(of_tasks))]
    return learn.Dataset(of_tasks, task_embs, 2, torch.device("cpu"))


def test_tasks_follow_one_another_each_with_its_instruction():
    one, two = demos((5, 3)), demos((4,))
    joined = dataset(one, two)
    assert joined.n_windows == [8, 4]
    windows = joined.windows(torch.tensor([7, 8, 11]))
    assert windows.valid.tolist() == [[True, False], [True, True], [True, False]]
    assert torch.equal(windows.actions[:, 0], torch.from_numpy(np.stack([one.actions[7], *two.actions[[0, 3]]])))
    assert windows.task_emb[:, 0].tolist() == [0.0, 1.0, 1.0]


def test_a_window_never_crosses_into_the_next_demonstration():
    data = demos()
    windows = learn.Dataset([data], [np.ones(8, np.float32)], 4, torch.device("cpu")).windows(torch.tensor([0, 3, 5]))
    assert windows.valid.tolist() == [[True] * 4, [True, True, False, False], [True, True, True, False]]
    assert torch.equal(windows.actions[1], torch.from_numpy(data.actions[[3, 4, 4, 4]]))
    assert torch.equal(windows.observations["agentview_rgb"], torch.from_numpy(data.agentview_rgb[[0, 3, 5]]))


def test_a_window_of_frames_repeats_the_last_one_as_liberos_loader_does():
    """robomimic's SequenceDataset with `pad_seq_length`: tests/test_libero_loader.py compares whole files."""
    data = demos()
    joined = learn.Dataset([data], [np.ones(8, np.float32)], 4, torch.device("cpu"), 4)
    windows = joined.windows(torch.tensor([0, 3, 5]))
    steps = [[0, 1, 2, 3], [3, 4, 4, 4], [5, 6, 7, 7]]
    for name, values in windows.observations.items():
        assert torch.equal(values, torch.from_numpy(getattr(data, name)[steps]))
    assert torch.equal(windows.actions, torch.from_numpy(data.actions[steps]))


def test_an_epoch_draws_every_window_once():
    drawn = torch.cat(list(learn.batches(23, 5, torch.Generator().manual_seed(0))))
    assert sorted(drawn.tolist()) == list(range(23))


def test_no_augmentation_leaves_images_as_they_are():
    windows = dataset(demos()).windows(torch.arange(4))
    same = learn.augment(windows, settings(shift_px=0, brightness=0.0), torch.Generator())
    assert torch.equal(same.observations["agentview_rgb"], windows.observations["agentview_rgb"])


def test_augmentation_moves_whole_images_within_the_limit():
    windows = dataset(demos()).windows(torch.arange(8))
    before = windows.observations["agentview_rgb"]
    moved = learn.augment(windows, settings(shift_px=2, brightness=0.0), torch.Generator().manual_seed(1))
    after = moved.observations["agentview_rgb"]
    inner = slice(4, 28)
    for old, new in zip(before, after, strict=True):
        fits = [
            torch.equal(new[inner, inner], old[4 + dy : 28 + dy, 4 + dx : 28 + dx])
            for dy in range(-2, 3)
            for dx in range(-2, 3)
        ]
        assert sum(fits) == 1
    assert torch.equal(moved.observations["joint_states"], windows.observations["joint_states"])


def test_the_frames_of_both_cameras_change_alike():
    joined = learn.Dataset([demos()], [np.ones(8, np.float32)], 4, torch.device("cpu"), 4)
    windows = joined.windows(torch.arange(3))
    seen = windows.observations
    alike = seen | {"eye_in_hand_rgb": seen["agentview_rgb"]}
    jittered = settings(shift_px=4, brightness=0.3, contrast=0.3, saturation=0.3, hue=0.3)
    changed = learn.augment(windows._replace(observations=alike), jittered, torch.Generator().manual_seed(1))
    images = changed.observations["agentview_rgb"]
    assert images.shape == seen["agentview_rgb"].shape
    assert torch.equal(images, changed.observations["eye_in_hand_rgb"])
    assert not torch.allclose(images, seen["agentview_rgb"].float(), atol=1.0)
    assert torch.equal(changed.observations["joint_states"], seen["joint_states"])


@pytest.fixture
def files(tmp_path):
    """Real demonstrations as the pipeline writes them, their embedding, and params small enough for seconds."""
    hdf5, language = tmp_path / "task0_demo.hdf5", tmp_path / "language.safetensors"
    synthetic.write_demos(hdf5, [5, 3], 32, INSTRUCTION)
    small = {
        "env": {"image_size": 32},
        "policy": SECTIONS["policy"] | {"embed_dim": 16, "n_heads": 2, "stem_channels": [4, 6]},
        "learn": SECTIONS["learn"] | {"n_epochs": 2, "eval_every": 1, "batch_size": 4, "device": "cpu"},
        "methods": SECTIONS["methods"],
    }
    embeddings.write(language, {INSTRUCTION: np.ones(8, np.float32)}, "none")
    return hdf5, language, params_file(small)


def run(hdf5, language, source, out, method="t2s"):
    where = ["--suite", "blocks_object", "--method", method, "--seed", "0", "--task", "0", "--params", source]
    files = ["--demos", str(hdf5), "--language", str(language)]
    cli.run(["learn", *where, *files, "--out", str(out), "--cache", str(out.with_name(f"{out.name}_cache"))])


@pytest.mark.parametrize("method", ["t2s", "sequential"])
def test_the_command_writes_policies_losses_and_counts_and_the_same_bytes_again(files, tmp_path, method):
    hdf5, language, source = files
    run(hdf5, language, source, tmp_path / "a", method)
    run(hdf5, language, source, tmp_path / "b", method)
    names = {"epoch0.safetensors", "epoch1.safetensors", "epoch2.safetensors", "losses.csv", "learn.json"}
    assert {path.name for path in (tmp_path / "a").iterdir()} == names
    for name in names:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    rows = list(csv.DictReader((tmp_path / "a" / "losses.csv").read_text().splitlines()))
    assert [row["epoch"] for row in rows] == ["1", "2"]
    counts = json.loads((tmp_path / "a" / "learn.json").read_text())
    assert counts["n_steps"] == 4
    assert counts["source"] == "scripted"
    assert counts["n_parameters_new"] == counts["n_parameters_total"]


def test_a_checkpoint_has_the_picture_of_what_its_demonstrations_see_first(files, tmp_path):
    hdf5, language, source = files
    first = synthetic.demo(5, 32, 0)["obs/agentview_rgb"] + np.arange(5, dtype=np.uint8)[:, None, None, None]
    synthetic.write_demos(hdf5, [5, 3], 32, INSTRUCTION, obs__agentview_rgb=first)
    run(hdf5, language, source, tmp_path / "a")
    second = synthetic.demo(3, 32, 1)["obs/agentview_rgb"]
    for epoch in (0, 2):
        kept = checkpoint.read(tmp_path / f"a/epoch{epoch}.safetensors")
        assert np.array_equal(kept.tensors[checkpoint.PICTURE], picture(np.stack([first[0], second[0]])))


def test_an_instruction_without_embedding_is_named(files, tmp_path):
    hdf5, language, source = files
    embeddings.write(language, {"other": np.ones(8, np.float32)}, "none")
    with pytest.raises(ValueError, match=r"no embedding of 'push the red cube'; have \['other'\]"):
        run(hdf5, language, source, tmp_path / "a")


def test_demonstrations_of_two_sources_are_never_mixed(files, tmp_path):
    scripted, language, source = files
    human = tmp_path / "human_demo.hdf5"
    synthetic.write_demos(human, [3], 32, INSTRUCTION, source="human")
    where = ["--suite", "blocks_object", "--method", "t2s", "--seed", "0", "--task", "1", "--params", source]
    where += ["--language", str(language), "--out", str(tmp_path), "--cache", str(tmp_path)]
    with pytest.raises(ValueError, match=r"expected demonstrations of one source, got \['human', 'scripted'\]"):
        cli.run(["learn", *where, "--demos", str(scripted), str(human)])


def test_observations_before_and_after_their_actions_are_never_mixed(files, tmp_path):
    hdf5, language, source = files
    manifests = [tmp_path / "task0.json", tmp_path / "task1.json"]
    for path, made in zip(manifests, ("before", "after"), strict=True):
        manifest = {"file": hdf5.name, "sha256": sha256(hdf5), "n_demos": 2, "instruction": INSTRUCTION}
        path.write_text(json.dumps(manifest | {"source": "human", "observations": made}))
    where = ["--suite", "blocks_object", "--method", "t2s", "--seed", "0", "--task", "1", "--params", source]
    where += ["--language", str(language), "--out", str(tmp_path), "--cache", str(tmp_path)]
    with pytest.raises(ValueError, match=r"expected observations before or after .*, got \['after', 'before'\]"):
        cli.run(["learn", *where, "--demos", *map(str, manifests)])


def test_a_damaged_demonstration_file_is_one_line_and_nothing_is_written(files, tmp_path):
    hdf5, language, source = files
    hdf5.write_bytes(b"not hdf5")
    where = ["--suite", "blocks_object", "--method", "t2s", "--seed", "0", "--task", "0", "--params", source]
    command = [sys.executable, "-m", "t2s", "learn", *where, "--demos", str(hdf5), "--language", str(language)]
    command += ["--out", str(tmp_path / "a"), "--cache", str(tmp_path / "b")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert "task0_demo.hdf5" in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "a").exists()
