from __future__ import annotations

import itertools
import re

import numpy as np
import pytest

from t2s import params
from t2s.data import suites

SUITES = sorted(params.SUITES)


@pytest.mark.parametrize("suite", SUITES)
def test_a_suite_has_the_number_of_tasks_that_params_states(suite):
    assert [task.index for task in suites.tasks(suite)] == list(range(params.SUITES[suite]))


@pytest.mark.parametrize("suite", SUITES)
def test_a_name_is_its_instruction(suite):
    for task in suites.tasks(suite):
        assert task.name == task.instruction.replace(" ", "_")


def test_no_two_tasks_have_the_same_instruction():
    instructions = [task.instruction for suite in SUITES for task in suites.tasks(suite)]
    assert len(set(instructions)) == len(instructions) == 30


def test_every_bddl_file_is_a_task():
    files = {path for suite in SUITES for path in (suites.BLOCKS_DIR / "bddl" / suite).iterdir()}
    assert files == {task.bddl_path for suite in SUITES for task in suites.tasks(suite)}


@pytest.mark.parametrize("suite", SUITES)
def test_every_task_has_fifty_different_initial_states(suite):
    for task in suites.tasks(suite):
        states = np.load(task.init_states_path, allow_pickle=False)
        assert states.dtype == np.float64
        assert states.shape[0] == 50
        assert np.isfinite(states).all()
        assert len(np.unique(states, axis=0)) == 50


def test_consecutive_tasks_of_blocks_object_have_their_target_elsewhere():
    places = [_target_region(task.bddl_path.read_text()) for task in suites.tasks("blocks_object")]
    assert all(first != second for first, second in itertools.pairwise(places))
    assert len(set(places)) == 4


def test_all_tasks_of_blocks_goal_share_one_scene():
    scenes = {_scene(task.bddl_path.read_text()) for task in suites.tasks("blocks_goal")}
    assert len(scenes) == 1


def test_an_unknown_suite_names_those_that_exist():
    with pytest.raises(ValueError, match=r"unknown suite 'libero_x'; have \['blocks_goal'"):
        suites.tasks("libero_x")


@pytest.mark.parametrize("index", [-1, 10])
def test_an_unknown_task_is_an_error(index):
    with pytest.raises(ValueError, match=f"unknown task {index} of blocks_goal; have 0 to 9"):
        suites.task("blocks_goal", index)


def test_a_file_without_an_instruction_is_an_error(tmp_path):
    path = tmp_path / "x.bddl"
    path.write_text("(define (problem x))")
    with pytest.raises(ValueError, match=r"expected \(:language"):
        suites.language(path)


def _target_region(bddl: str) -> str:
    found = re.search(r"\(target_object_region.*?\(:ranges \(\s*\(([^)]*)\)", bddl, re.DOTALL)
    assert found is not None
    return found.group(1)


def _scene(bddl: str) -> str:
    """All but the instruction, the objects of interest and the goal."""
    for section in (r"\(:language[^)]*\)", r"\(:obj_of_interest[^)]*\)", r"\(:goal.*"):
        bddl = re.sub(section, "", bddl, flags=re.DOTALL)
    return bddl
