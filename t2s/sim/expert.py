"""Scripted demonstrations: waypoints from the simulation's privileged state, followed with noise."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float32, Float64
from scipy.spatial.transform import Rotation

from t2s.sim.env import Env

DOWN = Rotation.from_matrix([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, -1.0]])
OPEN, CLOSE = -1.0, 1.0
SETTLE_STEPS = 5
MAX_STEPS = 140  # longest successful demonstration has 90 steps
STEPS_AFTER = 4  # after success, so that letting go is demonstrated too
GRASP_STEPS = 6  # fingers close from 8 cm to 4 cm and press
ABOVE = 0.07  # [m] over an object before going down
CARRY = 0.10  # [m] of the gripper while carrying, above what is beneath
GAIN = 2.5  # of the position error, in units of OSC_POSE's largest delta
TURN_GAIN = 0.5
MAX_DELTA, MAX_TURN = 0.05, 0.5  # [m], [rad] of an action of 1
NOISE = np.array([0.2, 0.2, 0.15, 0.02, 0.02, 0.02, 0.0])  # of the executed action, not of the recorded one
NOISE_MEMORY = 0.7  # correlation of the noise from step to step: it leads centimetres astray
JITTER = 0.01  # [m] of the points between


@dataclass(frozen=True)
class Waypoint:
    """Move the grip site towards `position` [m] until within `tolerance` [m], for at least `n_steps`."""

    position: Float64[np.ndarray, "3"]
    gripper: float
    tolerance: float = 0.015
    n_steps: int = 1


@dataclass(frozen=True)
class Demo:
    """A successful attempt: the states before each action, and the action meant there."""

    states: Float64[np.ndarray, "t s"]
    actions: Float32[np.ndarray, "t 7"]


def demonstrate(env: Env, seed: int) -> Demo | None:
    """One attempt from a state drawn by `seed` from the task's regions; None where it fails."""
    env.sample(seed)
    env.settle(SETTLE_STEPS)
    generator = np.random.default_rng(seed)
    states, actions, n_after = [], [], 0
    for action, executed in _act(env, generator):
        states.append(env.state())
        actions.append(action)
        success = env.advance(executed)
        n_after = n_after + 1 if success else 0
        if n_after > STEPS_AFTER:
            return Demo(np.stack(states), np.stack(actions).astype(np.float32))
        if len(states) >= MAX_STEPS:
            break
    return None


def _act(env: Env, generator: np.random.Generator) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Pairs of the action meant and the noisy one to execute; the last waypoint is held for ever."""
    noise = np.zeros(7)
    waypoints = plan(env, generator)
    for number, waypoint in enumerate(waypoints):
        n_steps = 0
        while n_steps < waypoint.n_steps or number == len(waypoints) - 1 or _far(env, waypoint):
            action = _towards(env, waypoint)
            noise = NOISE_MEMORY * noise
            noise += np.sqrt(1 - NOISE_MEMORY**2) * NOISE * generator.standard_normal(7)
            yield action, np.clip(action + noise, -1.0, 1.0)
            n_steps += 1


def _far(env: Env, waypoint: Waypoint) -> bool:
    return bool(np.linalg.norm(waypoint.position - env.grip_pose()[0]) > waypoint.tolerance)


def _towards(env: Env, waypoint: Waypoint) -> Float64[np.ndarray, "7"]:
    """P control of position and of the gripper's vertical attitude."""
    position, matrix = env.grip_pose()
    move = GAIN * (waypoint.position - position) / MAX_DELTA
    turn = TURN_GAIN * (DOWN * Rotation.from_matrix(matrix).inv()).as_rotvec() / MAX_TURN
    move /= max(1.0, np.abs(move).max())  # straight lines
    return np.concatenate([move, np.clip(turn, -1.0, 1.0), [waypoint.gripper]])


def plan(env: Env, generator: np.random.Generator) -> list[Waypoint]:
    """Waypoints for the goal of the task, by the first word of its instruction.

    Raises: ValueError for a goal no skill is known for.
    """
    verb = env.instruction.split()[0]
    skills: dict[str, Any] = {"pick": _pick_and_place, "put": _pick_and_place}
    if verb not in skills:
        raise ValueError(f"no skill for '{env.instruction}'; have {sorted(skills)}")
    waypoints: list[Waypoint] = skills[verb](env, *env.goal[0][1:], generator)
    return waypoints


def _pick_and_place(
    env: Env, name: str, place: str, generator: np.random.Generator
) -> list[Waypoint]:
    start, end = env.position(name), env.position(place)
    lifted = np.array([*start[:2], CARRY]) + _jitter(generator)
    above = np.array([*end[:2], CARRY]) + _jitter(generator)
    return [
        Waypoint(start + [0, 0, ABOVE] + _jitter(generator), OPEN, 0.02),
        Waypoint(start, OPEN, 0.01),
        Waypoint(start, CLOSE, 1.0, GRASP_STEPS),
        Waypoint(lifted, CLOSE, 0.03),
        Waypoint(above, CLOSE, 0.02),
        Waypoint(above, OPEN),
    ]


def _jitter(generator: np.random.Generator) -> Float64[np.ndarray, "3"]:
    return generator.uniform(-JITTER, JITTER, 3)
