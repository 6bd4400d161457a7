"""Suites and their tasks, as LIBERO defines them: each task has a BDDL file and stored initial states."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from t2s import packages
from t2s.data.files import read_text

BLOCKS_DIR = Path(__file__).parents[1] / "sim" / "blocks"
LIBERO_LIST = Path(__file__).with_name("libero_init_states.sha256")
"""LIBERO's tasks in its own order (libero.libero.benchmark), with digests of the initial states in hf-libero 0.1.4."""
BLOCKS: dict[str, tuple[str, ...]] = {
    "blocks_object": (
        "pick_up_the_red_cube_and_place_it_in_the_bin",
        "pick_up_the_blue_cylinder_and_place_it_in_the_bin",
        "pick_up_the_yellow_ball_and_place_it_in_the_bin",
        "pick_up_the_green_brick_and_place_it_in_the_bin",
        "pick_up_the_white_cube_and_place_it_in_the_bin",
        "pick_up_the_purple_cylinder_and_place_it_in_the_bin",
        "pick_up_the_orange_ball_and_place_it_in_the_bin",
        "pick_up_the_cyan_brick_and_place_it_in_the_bin",
        "pick_up_the_black_cube_and_place_it_in_the_bin",
        "pick_up_the_pink_cylinder_and_place_it_in_the_bin",
    ),
    "blocks_goal": (
        "put_the_red_cube_in_the_bin",
        "open_the_drawer",
        "put_the_blue_cylinder_on_the_plate",
        "push_the_green_brick_onto_the_pad",
        "stack_the_red_cube_on_the_green_brick",
        "put_the_blue_cylinder_on_top_of_the_cabinet",
        "put_the_red_cube_on_the_plate",
        "put_the_green_brick_in_the_bin",
        "stack_the_blue_cylinder_on_the_red_cube",
        "put_the_red_cube_on_top_of_the_cabinet",
    ),
    "blocks_spatial": (
        "pick_up_the_red_cube_between_the_plate_and_the_tower_and_place_it_on_the_plate",
        "pick_up_the_red_cube_on_the_box_and_place_it_on_the_plate",
        "pick_up_the_red_cube_next_to_the_pad_and_place_it_on_the_plate",
        "pick_up_the_red_cube_in_the_center_of_the_floor_and_place_it_on_the_plate",
        "pick_up_the_red_cube_on_the_tower_and_place_it_on_the_plate",
        "pick_up_the_red_cube_next_to_the_plate_and_place_it_on_the_plate",
        "pick_up_the_red_cube_between_the_box_and_the_pad_and_place_it_on_the_plate",
        "pick_up_the_red_cube_next_to_the_tower_and_place_it_on_the_plate",
        "pick_up_the_red_cube_on_the_pad_and_place_it_on_the_plate",
        "pick_up_the_red_cube_next_to_the_box_and_place_it_on_the_plate",
    ),
    "blocks_tuning": (
        "pick_up_the_orange_cube_and_place_it_in_the_bin",
        "stack_the_pink_cube_on_the_white_brick",
        "pick_up_the_green_cube_next_to_the_tower_and_place_it_on_the_plate",
        "pick_up_the_green_ball_and_place_it_in_the_bin",
        "push_the_white_brick_onto_the_pad",
        "put_the_black_cylinder_on_the_plate",
    ),
}
"""Task names of every embedded suite, in the order in which they are learned."""


@dataclass(frozen=True)
class Task:
    """One task of a suite. `name` is the stem of its BDDL file, `instruction` the input of the policy."""

    suite: str
    index: int
    name: str
    instruction: str
    bddl_path: Path
    init_states_path: Path
    init_states_sha256: str | None = None
    """The digest that a pickle must have to be loaded; None for .npy."""


def tasks(suite: str) -> list[Task]:
    """All tasks of `suite`, in order.

    Raises: ValueError for an unknown suite.
    """
    digests = _libero_digests()
    if suite in BLOCKS:
        return [_blocks_task(suite, index, name) for index, name in enumerate(BLOCKS[suite])]
    if suite not in digests:
        raise ValueError(f"unknown suite '{suite}'; have {sorted([*BLOCKS, *digests])}")
    return [_libero_task(suite, index, *item) for index, item in enumerate(digests[suite].items())]


def task(suite: str, index: int) -> Task:
    """Task `index` of `suite`.

    Raises: ValueError for an unknown suite or index.
    """
    have = tasks(suite)
    if index not in range(len(have)):
        raise ValueError(f"unknown task {index} of {suite}; have 0 to {len(have) - 1}")
    return have[index]


def _blocks_task(suite: str, index: int, name: str) -> Task:
    bddl_path = BLOCKS_DIR / "bddl" / suite / f"{name}.bddl"
    init_states_path = BLOCKS_DIR / "init_states" / suite / f"{name}.npy"
    return Task(suite, index, name, language(bddl_path), bddl_path, init_states_path)


def _libero_task(suite: str, index: int, name: str, digest: str) -> Task:
    root = _libero_dir()
    # As in LIBERO, the instruction is taken from the name: BDDL files of libero_object say 'pick' instead of 'pick up'.
    instruction = re.sub(r"^[A-Z_]+SCENE\d+_", "", name).replace("_", " ")
    bddl_path = root / "bddl_files" / suite / f"{name}.bddl"
    init_states_path = root / "init_files" / suite / f"{name}.pruned_init"
    return Task(suite, index, name, instruction, bddl_path, init_states_path, digest)


@cache
def _libero_digests() -> dict[str, dict[str, str]]:
    """Digests of the initial states, by suite and task name."""
    found: dict[str, dict[str, str]] = {}
    for line in LIBERO_LIST.read_text(encoding="utf-8").splitlines():
        digest, path = line.split()
        suite, file_name = path.split("/")
        found.setdefault(suite, {})[file_name.removesuffix(".pruned_init")] = digest
    return found


@cache
def _libero_dir() -> Path:
    """The folder of hf-libero's data. The package is not imported, because importing it asks questions."""
    return packages.folder("libero") / "libero"


def language(bddl_path: Path) -> str:
    """The (:language ...) of a BDDL file, in lower case as LIBERO's own parser gives it.

    Raises: ValueError that names the file if it is missing or damaged, or has no such words, or others in parentheses.
    """
    mend = f"`git checkout {bddl_path}`" if BLOCKS_DIR in bddl_path.parents else "`rm -f .venv/.stamp; make setup`"
    text = re.sub(r";.*$", "", read_text(bddl_path, f"restore it with {mend}"), flags=re.MULTILINE)
    found = re.search(r"\(:language\s+([^()]*[^()\s])\s*\)", text, flags=re.IGNORECASE)
    if found is None:
        raise ValueError(f"{bddl_path}: expected (:language ...), with words and without other parentheses, got none")
    return " ".join(found.group(1).lower().split())
