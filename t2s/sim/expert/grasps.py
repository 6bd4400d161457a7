"""Grasps of objects, computed from the shape of their solid geoms."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import product

import numpy as np
from jaxtyping import Float64
from scipy.spatial.transform import Rotation

from t2s.sim.env import Env
from t2s.sim.expert.waypoint import UP, turned

DEPTH = 0.035  # [m] from the top of the object down to the grip site
LOWEST = 0.012  # [m] smallest height of the grip site above the ground: the fingertips reach 1.1 cm further down
WIDEST = 0.07  # [m] widest object that fits between the open fingers, which are 8 cm apart
YAWS = np.radians([0, 15, -15, 30, -30, 45, -45, 60, -60, 75, -75, 90])
SKEWS = (0, 20, -20, 40, -40)  # [deg] between the hand and a rim's radius; nonzero only if 0 leaves no room
RIM_DEPTH = 0.02  # [m] from a rim down to the grip site
RIMS = {
    "akita_black_bowl": 0.049,
    "plate": 0.062,
    "porcelain_mug": 0.042,
    "red_coffee_mug": 0.042,
    "white_yellow_mug": 0.046,
}
"""Rim radius [m] of objects that are too wide for the hand and are grasped by the rim."""
HANDLES = {"porcelain_mug", "white_yellow_mug", "red_coffee_mug"}
"""The objects of RIMS that have a handle, which lies along the x axis of their body."""
# The hand as boxes: half width, half length along the fingers' opening, height of the bottom above the grip site [m].
BOXES = ((0.035, 0.11, 0.04), (0.015, 0.055, -0.012))


@dataclass(frozen=True)
class Grasp:
    """Position [m] and attitude of the grip site while the fingers close."""

    position: Float64[np.ndarray, "3"]
    attitude: Rotation


def find(env: Env, name: str) -> Grasp:
    """The grasp from above that best avoids other objects and turns the hand least."""
    kind = re.sub(r"_\d+$", "", name)
    corners = env.corners(name)
    candidates = _rim(env, name, kind, corners) if kind in RIMS else _across(corners)
    others = np.concatenate([env.corners(other).reshape(-1, 8, 3) for other in env.solids if other != name])
    position, yaw, _ = min(candidates, key=lambda pose: _cost(pose[0], pose[1], others) + pose[2])
    return Grasp(position, turned(yaw))


def _across(corners: np.ndarray) -> list[tuple[np.ndarray, float, float]]:
    """Grasps of an object's middle (position, yaw, extra cost), one per yaw at which it fits between the fingers."""
    low, high = corners.min(axis=0), corners.max(axis=0)
    middle = np.array([*(low + high)[:2] / 2, max(low[2] + LOWEST, high[2] - DEPTH)])
    widths = [float(np.ptp(_in_hand(corners, middle, yaw)[:, 1])) for yaw in YAWS]
    widest = max(WIDEST, min(widths))
    return [(middle, float(yaw), 0.0) for yaw, width in zip(YAWS, widths, strict=True) if width <= widest]


def _rim(env: Env, name: str, kind: str, corners: np.ndarray) -> list[tuple[np.ndarray, float, float]]:
    """Grasps of a rim, which may be tilted (position, yaw, extra cost): one finger inside, far from a handle."""
    position, matrix = env.position(name), env.attitude(name)
    angles = np.arange(-180, 180, 15)
    if kind in HANDLES:
        angles = np.degrees(np.arctan2(matrix[1, 0], matrix[0, 0])) + np.array([90, -90])
    top = ((corners - position) @ matrix)[:, 2].max()
    poses = []
    for angle, skew in product(np.radians(angles), np.radians(SKEWS)):
        yaw = (angle + skew) % np.pi - np.pi / 2  # the fingers open along the radius, up to the skew
        out = RIMS[kind] * np.array([np.cos(angle), np.sin(angle), 0.0])
        # This puts `out` in the plane of the rim; seen from above, its angle stays the same.
        out[2] = -(matrix[:2, 2] @ out[:2]) / matrix[2, 2]
        place = position + top * matrix[:, 2] + out - RIM_DEPTH * UP
        place[2] = max(place[2], corners[:, 2].min() + LOWEST)
        poses.append((place, float(yaw), 0.2 * abs(skew)))
    return poses


def _cost(position: np.ndarray, yaw: float, others: Float64[np.ndarray, "n 8 3"]) -> float:
    """Cost of a grasp at `position` with the hand turned by `yaw`. Collisions cost most."""
    seen = _in_hand(others.reshape(-1, 3), position, yaw).reshape(others.shape)
    low, high = seen.min(axis=1), seen.max(axis=1)
    bump = 0.0
    for width, length, above in BOXES:
        across = np.minimum(width, high[:, 0]) - np.maximum(-width, low[:, 0])
        along = np.minimum(length, high[:, 1]) - np.maximum(-length, low[:, 1])
        bump += np.max(np.minimum.reduce([across, along, high[:, 2] - above]), initial=0.0)
    return 10 * bump + 0.01 * abs(yaw)


def _in_hand(points: np.ndarray, position: np.ndarray, yaw: float) -> np.ndarray:
    """Points in the frame of the hand: across the fingers' opening, along it, up."""
    return np.asarray(Rotation.from_euler("z", -yaw).apply(points - position))
