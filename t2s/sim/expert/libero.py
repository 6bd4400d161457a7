"""Skills of LIBERO's suites, one a predicate, planned as they go: what a skill reads of the scene is what it finds."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float64

from t2s.sim.env import Env
from t2s.sim.expert import grasps
from t2s.sim.expert.grasps import Grasp
from t2s.sim.expert.waypoint import CLOSE, OPEN, UP, Waypoint, jitter

MAX_STEPS = 400
GRASP_STEPS = 8  # fingers close from 8 cm to 2 cm and press
ABOVE = 0.08  # [m] over a grasp before going down
CLEAR = 0.06  # [m] between what is carried and what it passes over


def plan(env: Env, generator: np.random.Generator) -> Iterator[Waypoint]:
    """Waypoints for the goals of the task, one after another.

    Raises: ValueError for a goal no skill is known for.
    """
    skills = {"in": _put_in}
    for predicate, *names in env.goal:
        if predicate not in skills:
            raise ValueError(f"no skill for '{predicate}'; have {sorted(skills)}")
        yield from skills[predicate](env, *names, generator)


def _put_in(env: Env, name: str, region: str, generator: np.random.Generator) -> Iterator[Waypoint]:
    """Drop the object into an open container."""
    container = env.parent(region)
    grasp = grasps.find(env, name)
    yield from _pick(env, grasp, generator)
    rim = env.corners(container)[:, 2].max()
    yield from _lift(env, name, grasp, rim + CLEAR, generator)
    above = _over(env, name, env.position(region))
    yield Waypoint(above, CLOSE, 0.02, attitude=grasp.attitude)
    yield Waypoint(above, OPEN, 0.02, 3, attitude=grasp.attitude)


def _pick(env: Env, grasp: Grasp, generator: np.random.Generator) -> Iterator[Waypoint]:
    above = grasp.position + ABOVE * UP
    yield Waypoint(above + jitter(generator), OPEN, 0.02, attitude=grasp.attitude, turn_tolerance=0.15)
    yield Waypoint(grasp.position, OPEN, 0.007, attitude=grasp.attitude, turn_tolerance=0.15)
    yield Waypoint(grasp.position, CLOSE, 1.0, GRASP_STEPS, attitude=grasp.attitude)


def _lift(env: Env, name: str, grasp: Grasp, bottom: float, generator: np.random.Generator) -> Iterator[Waypoint]:
    """Straight up until the object's lowest point is at height `bottom` [m]."""
    rise = max(0.05, bottom - env.corners(name)[:, 2].min())
    goal = env.grip_pose()[0] + rise * UP
    yield Waypoint(goal + jitter(generator), CLOSE, 0.02, attitude=grasp.attitude)


def _over(env: Env, name: str, place: Float64[np.ndarray, "3"]) -> Float64[np.ndarray, "3"]:
    """Where the grip site is when the object it holds is over `place`, at the present height."""
    grip, held = env.grip_pose()[0], env.position(name)
    return np.array([*(place - held + grip)[:2], grip[2]])
