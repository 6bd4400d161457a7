"""How to take hold of an object, from the shape of what is solid of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64
from scipy.spatial.transform import Rotation

from t2s.sim.env import Env
from t2s.sim.expert.waypoint import turned

DEPTH = 0.035  # [m] of the grip site below the top of what is held
LOWEST = 0.012  # [m] of the grip site over the ground: the fingertips reach 1.1 cm further
WIDEST = 0.07  # [m] between the open fingers, which are 8 cm apart
YAWS = np.radians([0, 15, -15, 30, -30, 45, -45, 60, -60, 75, -75, 90])
# The hand as boxes: half a length along the fingers' opening, half a width [m], and what it is above the grip site.
BOXES = ((0.11, 0.035, 0.04), (0.055, 0.015, -0.012))


@dataclass(frozen=True)
class Grasp:
    """Position [m] and attitude of the grip site when the fingers close."""

    position: Float64[np.ndarray, "3"]
    attitude: Rotation


def find(env: Env, name: str) -> Grasp:
    """A grasp from above, across the object where it fits and nothing else is in the way."""
    corners = env.corners(name)
    low, high = corners.min(axis=0), corners.max(axis=0)
    height = max(low[2] + LOWEST, high[2] - DEPTH)
    position = np.array([*(low + high)[:2] / 2, height])
    others = [env.corners(other) for other in env.solids if other != name]
    yaw = min(YAWS, key=lambda yaw: _cost(position, float(yaw), corners, others))
    return Grasp(position, turned(float(yaw)))


def _cost(position: Float64[np.ndarray, "3"], yaw: float, corners: np.ndarray, others: list[np.ndarray]) -> float:
    """How bad it is to close on `corners` with the hand turned by `yaw`: not fitting is worst, bumping next."""
    width = float(np.ptp(_in_hand(corners, position, yaw)[:, 1]))
    bumps = sum(_overlap(_in_hand(other, position, yaw), *box) for other in others for box in BOXES)
    return 100 * max(0.0, width - WIDEST) + 10 * bumps + 0.01 * abs(yaw)


def _in_hand(corners: np.ndarray, position: Float64[np.ndarray, "3"], yaw: float) -> np.ndarray:
    """Corners seen from the hand: across, along the opening, up."""
    return np.asarray(Rotation.from_euler("z", -yaw).apply(corners - position))


def _overlap(corners: np.ndarray, length: float, width: float, above: float) -> float:
    """How deep [m] the box around `corners` reaches into one of the hand's."""
    low, high = corners.min(axis=0), corners.max(axis=0)
    across = min(width, high[0]) - max(-width, low[0])
    along = min(length, high[1]) - max(-length, low[1])
    return max(0.0, min(across, along, high[2] - above))
