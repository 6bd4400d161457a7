"""Waypoints of the gripper, and the actions that move it to them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64
from scipy.spatial.transform import Rotation

from t2s.sim.env import Env

DOWN = Rotation.from_matrix([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, -1.0]])
"""Attitude of the grip site when the fingers are vertical and open along y."""
X, Y, UP = np.eye(3)
OPEN, CLOSE = -1.0, 1.0
GAIN = 2.5  # action per position error, with the error in units of OSC_POSE's largest delta
TURN_GAIN = 0.5
MAX_DELTA, MAX_TURN = 0.05, 0.5  # [m], [rad] commanded by an action of 1
JITTER = 0.01  # [m] largest random offset of a waypoint along each axis


@dataclass(frozen=True)
class Waypoint:
    """Move the grip site to within `tolerance` [m] of `position` [m], and take at least `n_steps` steps."""

    position: Float64[np.ndarray, "3"]
    gripper: float
    tolerance: float = 0.015
    n_steps: int = 1
    speed: float = 1.0  # largest action on each axis
    straight: bool = True  # if False, each axis corrects at full gain, which holds the line under contact
    attitude: Rotation = DOWN
    turn_tolerance: float = np.inf  # [rad]
    patience: int = 60  # [steps] before giving up: contact may keep the waypoint out of reach


def turned(yaw: float) -> Rotation:
    """Attitude with vertical fingers, turned by `yaw` [rad] about the vertical."""
    return Rotation.from_euler("z", yaw) * DOWN


def is_far(env: Env, waypoint: Waypoint) -> bool:
    """Whether the grip site is outside the waypoint's tolerances."""
    position, matrix = env.grip_pose()
    away = float(np.linalg.norm(waypoint.position - position))
    return away > waypoint.tolerance or bool(_turn(matrix, waypoint).magnitude() > waypoint.turn_tolerance)


def towards(env: Env, waypoint: Waypoint) -> Float64[np.ndarray, "7"]:
    """The action of a proportional controller for position and attitude."""
    position, matrix = env.grip_pose()
    move = GAIN * (waypoint.position - position) / MAX_DELTA
    turn = TURN_GAIN * _turn(matrix, waypoint).as_rotvec() / MAX_TURN
    if waypoint.straight:
        move /= max(1.0, np.abs(move).max() / waypoint.speed)
    move = np.clip(move, -waypoint.speed, waypoint.speed)
    return np.concatenate([move, np.clip(turn, -1.0, 1.0), [waypoint.gripper]])


def jitter(generator: np.random.Generator) -> Float64[np.ndarray, "3"]:
    """A random offset [m] that makes demonstrations differ."""
    return generator.uniform(-JITTER, JITTER, 3)


def _turn(matrix: Float64[np.ndarray, "3 3"], waypoint: Waypoint) -> Rotation:
    return waypoint.attitude * Rotation.from_matrix(matrix).inv()
