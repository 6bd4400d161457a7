"""A task whose learning is cut off goes on from its last epoch, and ends with the same bytes; one learned is kept."""

import re
import resource
import shutil
import subprocess
import sys

import numpy as np
import pytest
import synthetic
import torch
from params_file import params_file
from test_learn import ROOT, SECTIONS
from test_lifelong import SMALL

from t2s import cli
from t2s.data import embeddings
from t2s.learners import LEARNERS
from t2s.lifelong import checkpoint
from t2s.lifelong.averages import Averages
from t2s.lifelong.checkpoint import Checkpoint
from t2s.lifelong.progress import Progress
from t2s.lifelong.sequential import Sequential
from t2s.stages import choose, learn

INSTRUCTIONS = ["push the red cube", "lift the red cube"]
N_EPOCHS = 4
OUTPUTS = {"epoch0.safetensors", "epoch2.safetensors", "epoch4.safetensors", "losses.csv", "learn.json"}


class Killed(Exception):
    """As SIGKILL would: nobody catches it."""


@pytest.fixture
def arguments(tmp_path):
    """The command line but --method, --out and --cache for two tasks, the first of which may be learned already."""
    for task, instruction in enumerate(INSTRUCTIONS):
        synthetic.write_demos(tmp_path / f"task{task}_demo.hdf5", [5, 3 + task], 32, instruction)
    vectors = dict(zip(INSTRUCTIONS, np.eye(2, 8, dtype=np.float32) + 0.5, strict=True))
    embeddings.write(tmp_path / "language.safetensors", vectors, "none")

    def of(method, task=0, previous=(), network="compact", **values):
        small = {"n_epochs": N_EPOCHS, "eval_every": 2, "batch_size": 4, "warmup_steps": 3, "device": "cpu"}
        sections = {
            "env": {"image_size": 32},
            "policy": SMALL["policy"] | {"network": network},
            "learn": SECTIONS["learn"] | small | values,
            "methods": SECTIONS["methods"],
        }
        demos = [str(tmp_path / f"task{j}_demo.hdf5") for j in range(task + 1)]
        return [
            *["--suite", "blocks_object", "--method", method, "--seed", "0", "--task", str(task)],
            *["--params", params_file(sections), "--language", str(tmp_path / "language.safetensors")],
            *["--demos", *demos, "--previous", *map(str, previous)],
        ]

    return of


def run(arguments, out):
    """Learns into `out`; the cache is beside it."""
    cli.run(["learn", *arguments, "--out", str(out), "--cache", str(cache(out))])


def cache(out):
    return out.with_name(f"{out.name}_cache")


def entry(out):
    """The folder of the only task there is in the cache."""
    (folder,) = cache(out).iterdir()
    return folder


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def killed_after(monkeypatch, epoch, arguments, out):
    """Learns until the state after `epoch` is kept."""
    write = Progress.write

    def write_and_die(self, state, rows, eval_epochs):
        write(self, state, rows, eval_epochs)
        if len(rows) == epoch:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(Progress, "write", write_and_die)
        with pytest.raises(Killed):
            run(arguments, out)
    assert not out.exists()


def test_dropout_and_the_statistics_of_batch_norms_go_on_as_well(arguments, tmp_path, monkeypatch, capsys):
    first = arguments("sequential", network="resnet_t")
    run(first, tmp_path / "undisturbed")
    killed_after(monkeypatch, 3, first, tmp_path / "killed")
    torch.manual_seed(1)  # as in a new process, torch's own generator is elsewhere
    run(first, tmp_path / "killed")
    assert "continuing after epoch 3 of 4" in capsys.readouterr().err
    assert contents(tmp_path / "killed") == contents(tmp_path / "undisturbed")


@pytest.mark.parametrize("method", LEARNERS)
def test_killed_after_every_epoch_it_ends_with_the_same_bytes(arguments, tmp_path, monkeypatch, capsys, method):
    run(arguments(method), tmp_path / "first")
    later = arguments(method, 1, [tmp_path / "first/epoch4.safetensors"])
    run(later, tmp_path / "undisturbed")
    for epoch in range(N_EPOCHS + 1):
        killed_after(monkeypatch, epoch, later, tmp_path / "killed")
        assert f"continuing after epoch {epoch - 1} of 4" in capsys.readouterr().err or epoch == 0
    run(later, tmp_path / "killed")
    assert set(contents(tmp_path / "killed")) == OUTPUTS
    assert contents(tmp_path / "killed") == contents(tmp_path / "undisturbed")


def test_what_was_begun_with_other_values_or_from_other_files_is_left_for_later(
    arguments, tmp_path, monkeypatch, capsys
):
    run(arguments("t2s"), tmp_path / "undisturbed")
    killed_after(monkeypatch, 2, arguments("t2s"), tmp_path / "killed")
    run(arguments("t2s", lr=1.0e-3), tmp_path / "killed")
    synthetic.write_demos(tmp_path / "others_demo.hdf5", [4, 4], 32, INSTRUCTIONS[0])
    others = [a.replace("task0_demo", "others_demo") for a in arguments("t2s")]
    run(others, tmp_path / "killed")
    assert "continuing" not in capsys.readouterr().err
    run(arguments("t2s"), tmp_path / "killed")
    assert "continuing after epoch 2 of 4" in capsys.readouterr().err
    assert contents(tmp_path / "killed") == contents(tmp_path / "undisturbed")


def test_what_was_learned_before_is_copied_without_learning(arguments, tmp_path, monkeypatch, capsys):
    run(arguments("t2s"), tmp_path / "out")
    first = contents(tmp_path / "out")
    run(arguments("t2s", lr=1.0e-3), tmp_path / "out")
    assert contents(tmp_path / "out") != first
    monkeypatch.setattr(learn, "learn_task", None)
    run(arguments("t2s"), tmp_path / "out")
    assert contents(tmp_path / "out") == first
    assert "already learned: copied from " in capsys.readouterr().err
    assert not list(cache(tmp_path / "out").glob("*/state.safetensors"))


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("sealed.json", "truncated"),
        ("learn.json", "altered"),
        ("epoch2.safetensors", "truncated"),
        ("epoch2.safetensors", "removed"),
    ],
)
def test_what_is_damaged_in_the_cache_is_learned_again(arguments, tmp_path, capsys, name, damage):
    out = tmp_path / "out"
    run(arguments("sequential"), out)
    whole, path = contents(out), entry(out) / name
    damaged(path, damage)
    run(arguments("sequential"), out)
    err = capsys.readouterr().err
    assert "already learned" not in err
    assert f"cache: {path} is damaged; making it again\n" in err
    assert contents(out) == whole
    run(arguments("sequential"), out)
    assert "already learned" in capsys.readouterr().err


def damaged(path, damage):
    whole = path.read_bytes()
    if damage == "removed":
        path.unlink()
    else:
        path.write_bytes(whole[: len(whole) // 2] if damage == "truncated" else whole[:-1] + bytes([whole[-1] ^ 1]))


@pytest.mark.parametrize("name", ["state.safetensors", "epoch0.safetensors", "epoch2.safetensors"])
@pytest.mark.parametrize("damage", ["truncated", "altered", "removed"])
def test_what_is_damaged_is_not_taken(arguments, tmp_path, monkeypatch, capsys, name, damage):
    run(arguments("sequential"), tmp_path / "undisturbed")
    killed_after(monkeypatch, 3, arguments("sequential"), tmp_path / "killed")
    path = entry(tmp_path / "killed") / name
    damaged(path, damage)
    run(arguments("sequential"), tmp_path / "killed")
    if (name, damage) != ("state.safetensors", "removed"):  # then there is nothing to tell
        assert f"resume: starting over: {path}: expected " in capsys.readouterr().err
    assert contents(tmp_path / "killed") == contents(tmp_path / "undisturbed")


def test_a_full_disk_is_one_line_and_loses_no_epoch(arguments, tmp_path, monkeypatch, capsys):
    given, out = arguments("sequential"), tmp_path / "full"
    run(given, tmp_path / "undisturbed")
    killed_after(monkeypatch, 1, given, out)
    before = contents(entry(out))

    def fill_disk():
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))

    command = [sys.executable, "-m", "t2s", "learn", *given, "--out", str(out), "--cache", str(cache(out))]
    done = subprocess.run(command, cwd=ROOT, preexec_fn=fill_disk, text=True, capture_output=True)
    assert done.returncode == 1
    assert (
        done.stderr.splitlines()[-1]
        == f"error: {entry(out) / 'epoch2.safetensors'}: could not be written: File too large"
    )
    assert "Traceback" not in done.stderr
    assert contents(entry(out)) == before
    capsys.readouterr()
    run(given, out)
    assert "continuing after epoch 1 of 4" in capsys.readouterr().err
    assert contents(out) == contents(tmp_path / "undisturbed")


@pytest.mark.parametrize("epoch", [1, 3])
@pytest.mark.parametrize("name", ["loss", "grad_norm"])
def test_a_loss_that_is_not_finite_ends_the_job_at_once_and_nothing_of_it_is_kept(
    arguments, tmp_path, monkeypatch, name, epoch
):
    given, out, steps = arguments("sequential"), tmp_path / "out", []
    run(given, tmp_path / "undisturbed")

    def diverge(self, windows):
        steps.append(observe(self, windows))
        return steps[-1] | ({name: float("nan")} if len(steps) == 2 * epoch - 1 else {})

    observe = Sequential.observe
    with monkeypatch.context() as patch:
        patch.setattr(Sequential, "observe", diverge)
        with pytest.raises(ValueError, match="diverged") as error:
            run(given, out)
        assert str(error.value) == (
            f"blocks_object, sequential, seed 0, task 0: diverged in epoch {epoch}: {name} is nan; lower the learning"
            f" rates, or run `rm -r {entry(out)}` to try again"
        )
        with pytest.raises(ValueError, match=re.escape(str(error.value))):  # as Snakemake's own retries do
            run(given, out)
    assert len(steps) == 2 * epoch - 1  # an epoch has two steps
    assert not out.exists()
    assert [path.name for path in entry(out).iterdir()] == ["diverged.txt"]
    shutil.rmtree(entry(out))
    run(given, out)
    assert contents(out) == contents(tmp_path / "undisturbed")


def test_real_divergence_is_one_line_without_a_policy(arguments, tmp_path):
    given, out = arguments("sequential", lr=1.0, weight_decay=1.0e30, warmup_steps=1), tmp_path / "out"
    command = [sys.executable, "-m", "t2s", "learn", *given, "--out", str(out), "--cache", str(cache(out))]
    done = subprocess.run(command, cwd=ROOT, text=True, capture_output=True)
    assert done.returncode == 1
    line = done.stderr.splitlines()[-1]
    assert line.startswith("error: blocks_object, sequential, seed 0, task 0: diverged in epoch 1: ")
    assert "Traceback" not in done.stderr
    assert [path.name for path in tmp_path.rglob("*.safetensors")] == ["language.safetensors"]


def test_weights_that_the_last_step_made_infinite_are_not_kept(arguments, tmp_path, monkeypatch):
    write = Averages.update
    given, out, n_updates = arguments("sequential"), tmp_path / "out", []

    def spoil(self):
        write(self)
        n_updates.append(1)
        if len(n_updates) == 2 * N_EPOCHS:
            with torch.no_grad():
                next(iter(self.parameters)).fill_(float("inf"))

    monkeypatch.setattr(Averages, "update", spoil)
    with pytest.raises(ValueError, match="diverged in epoch 4: weights is inf"):
        run(given, out)
    assert [path.name for path in entry(out).iterdir()] == ["diverged.txt"]


def test_a_checkpoint_that_is_not_finite_is_neither_written_nor_read(tmp_path, monkeypatch):
    path, spoilt = tmp_path / "epoch1.safetensors", Checkpoint({"a/b": torch.tensor([1.0, torch.nan])}, {"task": 0})
    with pytest.raises(ValueError, match=r"epoch1\.safetensors: expected finite numbers, got nan or inf in 'a/b'"):
        spoilt.write(path)
    assert list(tmp_path.iterdir()) == []
    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "check_finite", lambda tensors, path: None)
        spoilt.write(path)
    with pytest.raises(ValueError, match=r"epoch1\.safetensors: expected finite numbers, got nan or inf in 'a/b'"):
        checkpoint.read(path)


@pytest.mark.parametrize("content", [b"", b"{}", b"\x08\0\0\0\0\0\0\0{}      ", bytes(100)])
def test_what_is_no_checkpoint_is_one_line_that_names_it(tmp_path, content):
    path = tmp_path / "epoch1.safetensors"
    path.write_bytes(content)
    for use in (checkpoint.read, choose.finished):
        with pytest.raises(ValueError, match=r"epoch1\.safetensors: expected a checkpoint, got .*; remove it and run"):
            use(path)
