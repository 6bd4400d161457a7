"""Skills for the embedded suites."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from t2s.sim.env import Env
from t2s.sim.expert.waypoint import CLOSE, OPEN, UP, Waypoint, X, jitter

MAX_STEPS = 140
GRASP_STEPS = 6  # steps in which the fingers close from 8 cm to 4 cm and press
ABOVE = 0.07  # [m] above an object, before going down
CARRY = 0.05  # [m] above the place of grasp or release, whichever is higher
RELEASE = 0.012  # [m] drop height of an object that is put on something
PUSH = 0.04  # [m] from the centre of a pushed brick to the grip site behind it
PULL = 0.085  # [m] travel of the handle; the drawer counts as open at 0.06


def plan(env: Env, generator: np.random.Generator) -> list[Waypoint]:
    """Waypoints for the task's goal. The first word of the instruction selects the skill.

    Raises: ValueError if no skill exists for that word.
    """
    skills: dict[str, Callable[..., list[Waypoint]]] = {
        "pick": _pick_and_place,
        "put": _pick_and_place,
        "stack": _pick_and_place,
        "push": _push,
        "open": _pull,
    }
    verb = env.instruction.split()[0]
    if verb not in skills:
        raise ValueError(f"no skill for '{env.instruction}'; have {sorted(skills)}")
    return skills[verb](env, *env.goal[0], generator)


def _pick_and_place(env: Env, predicate: str, name: str, place: str, generator: np.random.Generator) -> list[Waypoint]:
    """Grasp from above, carry and release: high above a container, just above anything else."""
    start, end = env.position(name), env.position(place)
    released = end + (env.extent(place)[1] - env.extent(name)[0] + RELEASE) * UP
    carry = max(start[2], released[2]) + CARRY
    above_end = np.array([*end[:2], carry]) + jitter(generator)
    waypoints = [
        Waypoint(start + ABOVE * UP + jitter(generator), OPEN, 0.02),
        Waypoint(start, OPEN, 0.01),
        Waypoint(start, CLOSE, 1.0, GRASP_STEPS),
        Waypoint(np.array([*start[:2], carry]) + jitter(generator), CLOSE, 0.03),
        Waypoint(above_end, CLOSE, 0.02),
    ]
    if predicate == "in":
        return [*waypoints, Waypoint(above_end, OPEN)]
    return [*waypoints, Waypoint(released, CLOSE, 0.012), Waypoint(released, OPEN)]


def _push(env: Env, predicate: str, name: str, place: str, generator: np.random.Generator) -> list[Waypoint]:
    """Go down behind the object with closed fingers and push it in -y to the middle of the place."""
    start, end = env.position(name), env.position(place)
    low = start[2] - 0.006  # fingers that push above the object's middle climb over it
    behind = np.array([start[0], start[1] + PUSH + 0.03, low])
    pushed = np.array([start[0], end[1] + PUSH, low])
    return [
        Waypoint(behind + ABOVE * UP + jitter(generator), CLOSE, 0.02),
        Waypoint(behind, CLOSE, 0.012),
        Waypoint(pushed, CLOSE, 0.015, speed=0.7, straight=False),
        Waypoint(pushed + ABOVE * UP, CLOSE),
    ]


def _pull(env: Env, predicate: str, place: str, generator: np.random.Generator) -> list[Waypoint]:
    """Grasp the handle and pull it in +x."""
    handle = env.position(place)
    return [
        Waypoint(handle + ABOVE * UP + jitter(generator), OPEN, 0.02),
        Waypoint(handle, OPEN, 0.01),
        Waypoint(handle, CLOSE, 1.0, GRASP_STEPS + 2),
        Waypoint(handle + PULL * X, CLOSE, 0.015),
        Waypoint(handle + PULL * X, OPEN),
    ]
