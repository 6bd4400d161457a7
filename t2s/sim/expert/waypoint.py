"""Where the gripper shall go next, and the action that takes it there."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64
from scipy.spatial.transform import Rotation

from t2s.sim.env import Env

DOWN = Rotation.from_matrix([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, -1.0]])
"""Attitude of the grip site with vertical fingers that open along y."""
X, Y, UP = np.eye(3)
OPEN, CLOSE = -1.0, 1.0
GAIN = 2.5  # of the position error, in units of OSC_POSE's largest delta
TURN_GAIN = 0.5
MAX_DELTA, MAX_TURN = 0.05, 0.5  # [m], [rad] of an action of 1
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
    attitude: Rotation = DOWN
    turn_tolerance: float = np.inf  # [rad]
    patience: int = 60  # [steps] after which the waypoint is given up: contact may keep it out of reach


def turned(yaw: float) -> Rotation:
    """Vertical fingers, turned by `yaw` [rad] about the vertical."""
    return Rotation.from_euler("z", yaw) * DOWN


def is_far(env: Env, waypoint: Waypoint) -> bool:
    """Whether the grip site is outside the waypoint's tolerances."""
    position, matrix = env.grip_pose()
    away = float(np.linalg.norm(waypoint.position - position))
    return away > waypoint.tolerance or bool(_turn(matrix, waypoint).magnitude() > waypoint.turn_tolerance)


def towards(env: Env, waypoint: Waypoint) -> Float64[np.ndarray, "7"]:
    """P control of position and attitude."""
    position, matrix = env.grip_pose()
    move = GAIN * (waypoint.position - position) / MAX_DELTA
    turn = TURN_GAIN * _turn(matrix, waypoint).as_rotvec() / MAX_TURN
    if waypoint.straight:
        move /= max(1.0, np.abs(move).max() / waypoint.speed)
    move = np.clip(move, -waypoint.speed, waypoint.speed)
    return np.concatenate([move, np.clip(turn, -1.0, 1.0), [waypoint.gripper]])


def jitter(generator: np.random.Generator) -> Float64[np.ndarray, "3"]:
    """An offset [m] that makes one demonstration differ from the next."""
    return generator.uniform(-JITTER, JITTER, 3)


def _turn(matrix: Float64[np.ndarray, "3 3"], waypoint: Waypoint) -> Rotation:
    return waypoint.attitude * Rotation.from_matrix(matrix).inv()
