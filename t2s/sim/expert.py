"""Scripted demonstrations: waypoints from the simulation's privileged state, with noise."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Float64
from scipy.spatial.transform import Rotation

from t2s.sim.env import Env

DOWN = Rotation.from_matrix([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, -1.0]])
X, UP = np.array([1.0, 0.0, 0.0]), np.array([0.0, 0.0, 1.0])
OPEN, CLOSE = -1.0, 1.0
SETTLE_STEPS = 5
MAX_STEPS = 140
STEPS_AFTER = 4  # after success, so that letting go is demonstrated too
GRASP_STEPS = 6  # fingers close from 8 cm to 4 cm and press
ABOVE = 0.07  # [m] over an object before going down
CARRY = 0.05  # [m] over the higher of where an object is taken and released
RELEASE = 0.012  # [m] an object falls when it is put on something
PUSH = 0.04  # [m] from the centre of a pushed brick to the grip site behind it
PULL = 0.085  # [m] the handle moves; the drawer counts as open at 0.06
GAIN = 2.5  # of the position error, in units of OSC_POSE's largest delta
TURN_GAIN = 0.5
MAX_DELTA, MAX_TURN = 0.05, 0.5  # [m], [rad] of an action of 1
NOISE = np.array([0.2, 0.2, 0.15, 0.02, 0.02, 0.02, 0.0])  # of the executed action, not of the recorded one
NOISE_MEMORY = 0.7  # correlation of the noise from step to step: it leads centimetres astray
JITTER = 0.01  # [m] of the points between


@dataclass(frozen=True)
class Waypoint:
    """Move the grip site to within `tolerance` [m] of `position` [m], for at least `n_steps`."""

    position: Float64[np.ndarray, "3"]
    gripper: float
    tolerance: float = 0.015
    n_steps: int = 1
    speed: float = 1.0  # largest action of an axis
    straight: bool = True  # else every axis corrects at full gain, to hold its line under contact


@dataclass(frozen=True)
class Demo:
    """A successful attempt: the states before each action, and the action meant there."""

    states: Float64[np.ndarray, "t s"]
    actions: Float32[np.ndarray, "t 7"]


def demonstrate(env: Env, seed: int) -> Demo | None:
    """One attempt from a state drawn by `seed` from the task's regions; None where it fails."""
    env.sample(seed)
    env.settle(SETTLE_STEPS)
    states, actions, n_after = [], [], 0
    for action, executed, is_last in _act(env, np.random.default_rng(seed)):
        states.append(env.state())
        actions.append(action)
        success = env.advance(executed)
        n_after = n_after + 1 if success and is_last else 0
        if n_after > STEPS_AFTER:
            return Demo(np.stack(states), np.stack(actions).astype(np.float32))
        if len(states) >= MAX_STEPS:
            break
    return None


def _act(env: Env, generator: np.random.Generator) -> Iterator[tuple[np.ndarray, np.ndarray, bool]]:
    """The action meant, the noisy one to execute, whether the last waypoint is on (for ever)."""
    noise = np.zeros(7)
    waypoints = plan(env, generator)
    for number, waypoint in enumerate(waypoints, start=1):
        is_last, n_steps = number == len(waypoints), 0
        while is_last or n_steps < waypoint.n_steps or _far(env, waypoint):
            action = _towards(env, waypoint)
            fresh = np.sqrt(1 - NOISE_MEMORY**2) * NOISE * generator.standard_normal(7)
            noise = NOISE_MEMORY * noise + fresh
            yield action, np.clip(action + noise, -1.0, 1.0), is_last
            n_steps += 1


def _far(env: Env, waypoint: Waypoint) -> bool:
    return bool(np.linalg.norm(waypoint.position - env.grip_pose()[0]) > waypoint.tolerance)


def _towards(env: Env, waypoint: Waypoint) -> Float64[np.ndarray, "7"]:
    """P control of position and of the gripper's vertical attitude."""
    position, matrix = env.grip_pose()
    move = GAIN * (waypoint.position - position) / MAX_DELTA
    turn = TURN_GAIN * (DOWN * Rotation.from_matrix(matrix).inv()).as_rotvec() / MAX_TURN
    if waypoint.straight:
        move /= max(1.0, np.abs(move).max() / waypoint.speed)
    move = np.clip(move, -waypoint.speed, waypoint.speed)
    return np.concatenate([move, np.clip(turn, -1.0, 1.0), [waypoint.gripper]])


def plan(env: Env, generator: np.random.Generator) -> list[Waypoint]:
    """Waypoints for the goal of the task, by the first word of its instruction.

    Raises: ValueError for a goal no skill is known for.
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
    """Grasp from above, carry and let go: high over a container, close above anything else."""
    start, end = env.position(name), env.position(place)
    released = end + (env.extent(place)[1] - env.extent(name)[0] + RELEASE) * UP
    carry = max(start[2], released[2]) + CARRY
    above_end = np.array([*end[:2], carry]) + _jitter(generator)
    waypoints = [
        Waypoint(start + ABOVE * UP + _jitter(generator), OPEN, 0.02),
        Waypoint(start, OPEN, 0.01),
        Waypoint(start, CLOSE, 1.0, GRASP_STEPS),
        Waypoint(np.array([*start[:2], carry]) + _jitter(generator), CLOSE, 0.03),
        Waypoint(above_end, CLOSE, 0.02),
    ]
    if predicate == "in":
        return [*waypoints, Waypoint(above_end, OPEN)]
    return [*waypoints, Waypoint(released, CLOSE, 0.012), Waypoint(released, OPEN)]


def _push(env: Env, predicate: str, name: str, place: str, generator: np.random.Generator) -> list[Waypoint]:
    """Go down behind the object with closed fingers, push it in -y to the middle of the place."""
    start, end = env.position(name), env.position(place)
    low = start[2] - 0.006  # fingers that push above the middle climb over the object
    behind = np.array([start[0], start[1] + PUSH + 0.03, low])
    pushed = np.array([start[0], end[1] + PUSH, low])
    return [
        Waypoint(behind + ABOVE * UP + _jitter(generator), CLOSE, 0.02),
        Waypoint(behind, CLOSE, 0.012),
        Waypoint(pushed, CLOSE, 0.015, speed=0.7, straight=False),
        Waypoint(pushed + ABOVE * UP, CLOSE),
    ]


def _pull(env: Env, predicate: str, place: str, generator: np.random.Generator) -> list[Waypoint]:
    """Grasp the handle and pull it in +x."""
    handle = env.position(place)
    return [
        Waypoint(handle + ABOVE * UP + _jitter(generator), OPEN, 0.02),
        Waypoint(handle, OPEN, 0.01),
        Waypoint(handle, CLOSE, 1.0, GRASP_STEPS + 2),
        Waypoint(handle + PULL * X, CLOSE, 0.015),
        Waypoint(handle + PULL * X, OPEN),
    ]


def _jitter(generator: np.random.Generator) -> Float64[np.ndarray, "3"]:
    return generator.uniform(-JITTER, JITTER, 3)
