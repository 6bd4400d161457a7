"""Objects of the embedded suites: primitive shapes from mjcf/, each in one colour."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from libero.libero.envs.base_object import OBJECTS_DICT
from robosuite.models.objects import MujocoXMLObject

from t2s.sim.blocks import BLOCKS_DIR

COLORS = {
    "red": (0.85, 0.05, 0.05),
    "orange": (1.0, 0.48, 0.0),
    "yellow": (1.0, 0.9, 0.05),
    "green": (0.05, 0.6, 0.1),
    "cyan": (0.1, 0.85, 0.9),
    "blue": (0.05, 0.15, 0.85),
    "purple": (0.5, 0.1, 0.65),
    "pink": (1.0, 0.5, 0.75),
    "white": (1.0, 1.0, 1.0),
    "black": (0.05, 0.05, 0.05),
    "brown": (0.45, 0.25, 0.1),
    "gray": (0.3, 0.32, 0.4),
}
YAW = 0.2  # [rad] largest yaw of a movable object in either direction


class Block(MujocoXMLObject):  # type: ignore[misc]
    """A movable or fixed object with the attributes that LIBERO's problems and predicates expect."""

    def __init__(self, shape: str, color: str, name: str, joints: Any = "default") -> None:
        path = str(BLOCKS_DIR / "mjcf" / f"{shape}.xml")
        free = [{"type": "free", "damping": "0.0005"}]
        super().__init__(path, name, free if joints == "default" else joints, "all", False)
        for geom in self.get_obj().iter("geom"):
            if geom.get("rgba") is None:
                geom.set("rgba", " ".join(map(str, (*COLORS[color], 1.0))))
        self.category_name = f"{color}_{shape}"
        # LIBERO's sampler turns an angle a about "x" into the quaternion (sin a/2, 0, 0, cos a/2): a yaw of pi - a.
        self.rotation = (np.pi - YAW, np.pi + YAW)
        self.rotation_axis = "x"
        self.object_properties: dict[str, Any] = {"vis_site_names": {}}


class Cabinet(Block):
    """A fixed cabinet made of boxes, with one drawer that slides towards the camera."""

    OPEN, CLOSED = (0.06, 0.09), (0.0, 0.005)  # [m] ranges of the slide joint

    def __init__(self, color: str, name: str, joints: Any = None) -> None:
        super().__init__("cabinet", color, name, joints)
        self.object_properties["articulation"] = {
            "default_open_ranges": list(self.OPEN),
            "default_close_ranges": list(self.CLOSED),
        }

    def is_open(self, qpos: float) -> bool:
        """Whether the drawer is pulled out."""
        return bool(qpos > self.OPEN[0])

    def is_close(self, qpos: float) -> bool:
        """Whether the drawer is shut."""
        return bool(qpos < self.CLOSED[1])


def register() -> None:
    """Register every shape in every colour with LIBERO's BDDL parser, e.g. as `red_cube`."""
    shapes = ("cube", "cylinder", "ball", "brick", "bin", "plate", "pad", "box", "tower")
    for color in COLORS:
        for shape in shapes:
            OBJECTS_DICT[f"{color}_{shape}"] = partial(Block, shape, color)
    OBJECTS_DICT["gray_cabinet"] = partial(Cabinet, "gray")
