"""Only the instruction tells which object of a scene of blocks_object to take: no place and no neighbour does.

A guess may be right no more often than chance allows: the probability that chance is right at least as often must
exceed P_VALUE. With four places, this allows 23 right guesses in the 50 states of one task and 156 in all 500. The
states are stored, so the result never changes. About 200 guesses are tested: at most one fair draw in five would fail.
"""

from __future__ import annotations

import collections
import itertools
import math
import re
import xml.etree.ElementTree as ET
from types import SimpleNamespace

import numpy as np
import pytest
from scipy import stats

from t2s.data import suites
from t2s.sim.env import Env

TASKS = suites.tasks("blocks_object")
IDS = [task.name for task in TASKS]
P_VALUE = 0.001
N_ROBOT = 1 + 9  # time, joints of arm and gripper
REGIONS = list(itertools.product((-0.09, 0.06), (-0.16, -0.01)))  # [m] centres, x then y
HALF = 0.025  # [m] half the side of a region
BESIDE = {"in x": 0b10, "in y": 0b01, "across": 0b11}  # differences between the numbers of two regions, as bits


def object_of(instruction):
    """The target, e.g. "red_cube"."""
    found = re.fullmatch(r"pick up the (\w+) (\w+) and place it in the bin", instruction)
    assert found is not None
    return "_".join(found.groups())


def objects_of(task):
    """The movable objects in the order of their positions in a state."""
    found = re.search(r"\(:objects(.*?)\)", task.bddl_path.read_text(), re.DOTALL)
    assert found is not None
    return re.findall(r"- (\w+)", found.group(1))


def colour_of(name):
    return name.split("_")[0]


def noun_of(name):
    return name.split("_")[1]


def centres_of(states):
    """Positions (n, object, 2) [m] of the movable objects."""
    poses = states[:, N_ROBOT : N_ROBOT + 7 * 4].reshape(len(states), 4, 7)
    return poses[:, :, :2]


def regions_of(states):
    """Number (n, object) of the region that holds an object's centre; fails if there is none."""
    inside = np.abs(centres_of(states)[:, :, None] - np.array(REGIONS)).max(axis=-1) <= HALF + 1e-9
    assert (inside.sum(axis=-1) == 1).all()
    return inside.argmax(axis=-1)


OBJECTS = {task.index: objects_of(task) for task in TASKS}
TARGETS = {task.index: object_of(task.instruction) for task in TASKS}
DISTRACTORS = {index: [name for name in OBJECTS[index] if name != TARGETS[index]] for index in OBJECTS}
STATES = {task.index: np.load(task.init_states_path, allow_pickle=False) for task in TASKS}
PLACES = {
    index: dict(zip(OBJECTS[index], regions_of(states).T.tolist(), strict=True)) for index, states in STATES.items()
}
"""For every task and object, its region in every state."""


def majority(values):
    return collections.Counter(values).most_common(1)[0][0]


def p_value(hits, n, chance):
    """The probability of at least `hits` right guesses in `n`."""
    return stats.binom.sf(hits - 1, n, chance)


def beside(index, relation):
    """What lies beside the target, in every state of a task."""
    found = []
    for state in range(len(STATES[index])):
        by_region = {places[state]: name for name, places in PLACES[index].items()}
        found.append(by_region[PLACES[index][TARGETS[index]][state] ^ BESIDE[relation]])
    return found


def others(index, noun):
    """Other tasks whose target has this noun."""
    return [other for other in TARGETS if other != index and noun_of(TARGETS[other]) == noun]


def guess_by_noun(index):
    """The region where most targets with the same noun lie in the other tasks."""
    noun = noun_of(TARGETS[index])
    return majority(region for other in others(index, noun) for region in PLACES[other][TARGETS[other]])


def guess_by_colour(index):
    """The region where the object of the same colour lies in most states of the other tasks."""
    colour = colour_of(TARGETS[index])
    return majority(
        region
        for other in PLACES
        for name, places in PLACES[other].items()
        if other != index and colour_of(name) == colour
        for region in places
    )


def guess_by_last_task(index):
    """The region where most targets of the task before lie."""
    before = (index - 1) % len(TASKS)
    return majority(PLACES[before][TARGETS[before]])


GUESSES = {"noun": guess_by_noun, "colour": guess_by_colour, "last task": guess_by_last_task} | {
    f"region {region}": lambda index, region=region: region for region in range(4)
}


@pytest.mark.parametrize("guess", GUESSES)
def test_a_guess_of_the_targets_place_is_right_no_more_often_than_chance(guess):
    right = {index: PLACES[index][TARGETS[index]].count(GUESSES[guess](index)) for index in PLACES}
    assert {index: hits for index, hits in right.items() if p_value(hits, 50, 1 / 4) <= P_VALUE} == {}
    assert p_value(sum(right.values()), 500, 1 / 4) > P_VALUE


def test_the_bound_refuses_a_place_that_follows_from_the_noun():
    assert p_value(23, 50, 1 / 4) > P_VALUE > p_value(24, 50, 1 / 4)
    assert p_value(156, 500, 1 / 4) > P_VALUE > p_value(157, 500, 1 / 4)


def test_all_24_arrangements_of_a_scene_are_equally_frequent():
    arrangements = [tuple(row) for index in PLACES for row in zip(*PLACES[index].values(), strict=True)]
    counts = collections.Counter(arrangements)
    assert stats.chisquare([counts[order] for order in itertools.permutations(range(4))]).pvalue > P_VALUE


@pytest.mark.parametrize("relation", BESIDE)
@pytest.mark.parametrize("task", TASKS, ids=IDS)
def test_no_object_lies_beside_the_target_more_often_than_chance(task, relation):
    found = beside(task.index, relation)
    assert set(found) == set(DISTRACTORS[task.index])
    assert p_value(found.count(majority(found)), len(found), 1 / 3) > P_VALUE


@pytest.mark.parametrize("relation", BESIDE)
@pytest.mark.parametrize("task", TASKS, ids=IDS)
def test_what_lies_beside_the_target_does_not_follow_from_its_noun(task, relation):
    same_noun = others(task.index, noun_of(TARGETS[task.index]))
    guess = majority(noun_of(name) for other in same_noun for name in beside(other, relation))
    chance = [noun_of(name) for name in DISTRACTORS[task.index]].count(guess) / 3
    found = [noun_of(name) for name in beside(task.index, relation)]
    assert p_value(found.count(guess), len(found), chance) > P_VALUE


@pytest.mark.parametrize("task", TASKS, ids=IDS)
def test_every_object_lies_in_a_region_of_its_own(task):
    assert (np.sort(regions_of(STATES[task.index]), axis=1) == range(4)).all()


@pytest.mark.parametrize("task", TASKS, ids=IDS)
def test_no_two_objects_touch(task):
    centres = centres_of(STATES[task.index])
    for first, second in itertools.combinations(range(4), 2):
        apart = np.linalg.norm(centres[:, first] - centres[:, second], axis=1)
        assert apart.min() > radius(OBJECTS[task.index][first]) + radius(OBJECTS[task.index][second])


def radius(name):
    """Half the diagonal [m] of the rectangle around an object as seen from above."""
    geom = ET.parse(suites.BLOCKS_DIR / "mjcf" / f"{noun_of(name)}.xml").getroot().find(".//geom")
    assert geom is not None
    size = [float(number) for number in geom.attrib["size"].split()]
    return math.hypot(*size[:2]) if geom.attrib["type"] == "box" else size[0]


@pytest.mark.parametrize("task", TASKS, ids=IDS)
def test_the_goal_is_the_target_of_the_instruction(task):
    text, target = " ".join(task.bddl_path.read_text().split()), TARGETS[task.index]
    assert f"(:goal (And (In {target}_1 bin_1_contain_region)) )" in text
    assert f"(:obj_of_interest {target}_1 bin_1 )" in text
    assert target in OBJECTS[task.index]


def test_every_scene_belongs_to_two_tasks_so_that_only_the_instruction_decides():
    def scene(task):
        text = task.bddl_path.read_text()
        for section in (r"\(:language[^)]*\)", r"\(:obj_of_interest[^)]*\)", r"\(:goal.*"):
            text = re.sub(section, "", text, flags=re.DOTALL)
        return text

    assert list(collections.Counter(map(scene, TASKS)).values()) == [2] * 5


def test_every_object_is_the_target_once_and_a_distractor_three_times():
    assert sorted(TARGETS.values()) == sorted(set().union(*OBJECTS.values()))
    counts = collections.Counter(name for names in DISTRACTORS.values() for name in names)
    assert counts == dict.fromkeys(TARGETS.values(), 3)


@pytest.mark.parametrize("task", TASKS, ids=IDS)
def test_a_distractor_has_the_targets_noun_in_another_colour(task):
    assert len(OBJECTS[task.index]) == len(set(OBJECTS[task.index])) == 4
    assert noun_of(TARGETS[task.index]) in map(noun_of, DISTRACTORS[task.index])
    assert len({colour_of(name) for name in OBJECTS[task.index]}) == 4


def test_in_half_of_the_tasks_a_distractor_of_another_noun_resembles_the_target_in_colour():
    families = [{"red", "orange", "yellow", "pink"}, {"green", "cyan", "blue", "purple"}, {"black", "white"}]
    alike = [
        index
        for index, target in TARGETS.items()
        for family in families
        if colour_of(target) in family
        and any(colour_of(name) in family and noun_of(name) != noun_of(target) for name in DISTRACTORS[index])
    ]
    assert len(alike) >= 5


@pytest.mark.sim
def test_the_states_of_demonstrations_are_drawn_alike():
    env = Env(TASKS[0].bddl_path, 64)
    try:
        drawn = regions_of(np.stack([env.sample(seed) for seed in range(100)]))
    finally:
        env.close()
    assert (np.sort(drawn, axis=1) == range(4)).all()
    assert stats.chisquare(np.bincount(drawn[:, OBJECTS[0].index(TARGETS[0])], minlength=4)).pvalue > P_VALUE


@pytest.mark.sim
def test_an_object_without_an_empty_range_is_an_error():
    from t2s.sim.blocks.problem import FloorSampler

    ball = SimpleNamespace(name="ball_1", horizontal_radius=0.02, bottom_offset=np.array([0.0, 0.0, -0.02]))
    sampler = FloorSampler("ball_1", [ball], x_ranges=[(0.0, 0.1), (0.2, 0.3)], y_ranges=[(0.0, 0.1)] * 2)
    cube = SimpleNamespace(name="cube_1", horizontal_radius=0.02, top_offset=np.array([0.0, 0.0, 0.02]))
    first = {"cube_1": ((0.05, 0.05, 0.02), None, cube)}
    assert sampler.sample(first)["ball_1"][0][0] >= 0.2
    both = first | {"cube_2": ((0.25, 0.05, 0.02), None, cube)}
    with pytest.raises(ValueError, match="no empty range for ball_1: expected one range per object"):
        sampler.sample(both)
    assert sampler.sample({})["ball_1"][0][1] <= 0.1
