from __future__ import annotations

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
    with pytest.raises(pickle.UnpicklingError):
        init_states.read(replace(task, init_states_path=path, init_states_sha256=files.sha256(path)))
    assert capsys.readouterr().out == ""


def test_blocks_states_are_npy_already():
    task = suites.task("blocks_object", 0)
    np.testing.assert_array_equal(init_states.read(task), np.load(task.init_states_path))
