from __future__ import annotations

import importlib.util
import re
import runpy
from pathlib import Path

import numpy as np
import pytest

from t2s import params
from t2s.data import files, suites

SUITES = sorted(suites.BLOCKS)
LIBERO = [suite for suite in params.SUITES if suite.startswith("libero_")]


@pytest.mark.parametrize("suite", params.SUITES)
def test_a_suite_has_the_number_of_tasks_that_params_states(suite):
    assert [task.index for task in suites.tasks(suite)] == list(range(params.SUITES[suite]))


@pytest.mark.parametrize("suite", SUITES)
def test_a_name_is_its_instruction(suite):
    for task in suites.tasks(suite):
        assert task.name == task.instruction.replace(" ", "_")


def test_no_two_tasks_have_the_same_instruction():
    instructions = [task.instruction for suite in SUITES for task in suites.tasks(suite)]
    assert len(set(instructions)) == len(instructions) == 36


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


def test_all_tasks_of_blocks_goal_share_one_scene():
    scenes = {_scene(task.bddl_path.read_text()) for task in suites.tasks("blocks_goal")}
    assert len(scenes) == 1


def test_an_unknown_suite_names_those_that_exist():
    with pytest.raises(ValueError, match=r"unknown suite 'libero_x'; have \['blocks_goal', .*'libero_spatial'"):
        suites.tasks("libero_x")


@pytest.mark.parametrize("index", [-1, 10])
def test_an_unknown_task_is_an_error(index):
    with pytest.raises(ValueError, match=f"unknown task {index} of blocks_goal; have 0 to 9"):
        suites.task("blocks_goal", index)


@pytest.mark.parametrize("suite", LIBERO)
def test_liberos_tasks_have_its_names_and_order(suite):
    spec = importlib.util.find_spec("libero")
    assert spec is not None
    [package] = [Path(path) for path in spec.submodule_search_locations or []]
    task_map = runpy.run_path(str(package / "libero/benchmark/libero_suite_task_map.py"))["libero_task_map"]
    assert [task.name for task in suites.tasks(suite)] == task_map[suite]


@pytest.mark.parametrize("suite", LIBERO)
def test_liberos_files_are_those_of_the_pinned_wheel(suite):
    for task in suites.tasks(suite):
        assert task.bddl_path.is_file()
        assert files.sha256(task.init_states_path) == task.init_states_sha256


def test_an_instruction_of_libero_is_taken_from_the_name():
    assert suites.task("libero_object", 0).instruction == "pick up the alphabet soup and place it in the basket"
    assert suites.task("libero_10", 2).instruction == "turn on the stove and put the moka pot on it"
    assert suites.task("libero_90", 0).instruction == "close the top drawer of the cabinet"


def test_a_file_without_an_instruction_is_an_error(tmp_path):
    path = tmp_path / "x.bddl"
    path.write_text("(define (problem x))")
    with pytest.raises(ValueError, match=r"expected \(:language"):
        suites.language(path)


def _scene(bddl: str) -> str:
    """All but the instruction, the objects of interest and the goal."""
    for section in (r"\(:language[^)]*\)", r"\(:obj_of_interest[^)]*\)", r"\(:goal.*"):
        bddl = re.sub(section, "", bddl, flags=re.DOTALL)
    return bddl


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "expected text, got an empty file"),
        (b"(define)", r"expected \(:language ...\)"),
        (b"(:language )", r"expected \(:language ...\)"),
        (b"(:language pick (the) cube)", r"expected \(:language ...\), with words and without other parentheses"),
        (b"; (:language pick the cube)", r"expected \(:language ...\)"),
        (b"(:language \xff)", "damaged: "),
    ],
)
def test_a_bddl_file_without_an_instruction_is_one_line_that_names_it(tmp_path, content, message):
    path = tmp_path / "x.bddl"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"x\.bddl: {message}"):
        suites.language(path)


def test_an_instruction_may_have_a_comment_and_several_lines(tmp_path):
    (tmp_path / "x.bddl").write_text("(:language Pick the\n  cube ; (not the ball)\n)")
    assert suites.language(tmp_path / "x.bddl") == "pick the cube"
