from __future__ import annotations

import io
import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch

from t2s.data import files, init_states, suites


@pytest.fixture
def task(tmp_path, monkeypatch):
    monkeypatch.setattr(init_states, "CACHE_DIR", tmp_path)
    return suites.task("libero_object", 0)


class Evil:
    """Unpickling it leaves a trace."""

    def __reduce__(self):
        return (print, ("unpickled",))


def npy(array):
    file = io.BytesIO()
    np.save(file, array, allow_pickle=True)
    return file.getvalue()


def test_liberos_states_are_read_and_kept_as_npy(task, tmp_path):
    states = init_states.read(task)
    assert states.dtype == np.float64
    assert states.shape == (50, 110)
    assert len(np.unique(states, axis=0)) == 50
    np.testing.assert_array_equal(np.load(tmp_path / "libero_object" / f"{task.name}.npy"), states)
    without_pickle = replace(task, init_states_path=tmp_path / "gone")
    np.testing.assert_array_equal(init_states.read(without_pickle), states)


def test_a_pickle_that_is_not_liberos_stays_unread(task, tmp_path, capsys):
    path = tmp_path / "x.pruned_init"
    path.write_bytes(pickle.dumps(Evil(), protocol=2))
    with pytest.raises(ValueError, match=r"x\.pruned_init: expected hf-libero 0\.1\.4's file of sha256 \w+, got"):
        init_states.read(replace(task, init_states_path=path))
    assert capsys.readouterr().out == ""


def test_even_a_known_pickle_runs_no_code(task, tmp_path, capsys):
    path = tmp_path / "x.pruned_init"
    torch.save(Evil(), path)
    with pytest.raises(ValueError, match=r"x\.pruned_init: expected initial states, got a pickle with .*not loaded"):
        init_states.read(replace(task, init_states_path=path, init_states_sha256=files.sha256(path)))
    assert capsys.readouterr().out == ""


def test_blocks_states_are_npy_already():
    task = suites.task("blocks_object", 0)
    np.testing.assert_array_equal(init_states.read(task), np.load(task.init_states_path))


STATES = np.zeros((3, 5))
DAMAGED = {
    "empty": (b"", "expected initial states as .npy"),
    "cut": (npy(STATES)[:-8], "expected initial states as .npy"),
    "cut header": (npy(STATES)[:20], "expected initial states as .npy"),
    "pickled": (npy(np.array([Evil()], dtype=object)), "expected initial states as .npy, got Object arrays"),
    "other": (b"version https://git-lfs.github.com/spec/v1", "expected initial states as .npy"),
    "vector": (npy(STATES[0]), r"of shape \(n, state\), got float64 \(5,\)"),
    "none": (npy(STATES[:0]), r"of shape \(n, state\), got float64 \(0, 5\)"),
    "other type": (npy(STATES.astype(np.float32)), r"in float64 of shape \(n, state\), got float32 \(3, 5\)"),
    "nan": (npy(STATES * np.nan), "expected finite initial states"),
}


@pytest.mark.parametrize("damage", DAMAGED)
def test_damaged_states_are_one_line_that_names_the_file_and_run_no_code(tmp_path, capsys, damage):
    content, message = DAMAGED[damage]
    (tmp_path / "x.npy").write_bytes(content)
    task = replace(suites.task("blocks_object", 0), init_states_path=tmp_path / "x.npy")
    with pytest.raises(ValueError, match=rf"x\.npy: .*{message}.*; restore it with `git checkout") as error:
        init_states.read(task)
    assert "\n" not in str(error.value)
    assert capsys.readouterr().out == ""


def test_kept_states_that_are_damaged_are_named(task, tmp_path):
    kept = tmp_path / "libero_object" / f"{task.name}.npy"
    kept.parent.mkdir()
    kept.write_bytes(b"")
    with pytest.raises(ValueError, match=rf"{kept}: expected initial states as .npy, got .*; remove it with `rm"):
        init_states.read(task)
