"""The LIBERO problem of the embedded suites: a Panda and primitive shapes on a floor."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from typing import Any

import libero.libero.envs  # noqa: F401 - registers the problems; import it before its submodules
import numpy as np
from libero.libero.envs.bddl_base_domain import TASK_MAPPING, BDDLBaseDomain, register_problem
from libero.libero.envs.regions import REGION_SAMPLERS
from libero.libero.envs.regions.workspace_region_sampler import Libero100TableRegionSampler

from t2s.sim.blocks import BLOCKS_DIR, objects

objects.register()

# Joint positions [rad] that hold the gripper low over the work area, which keeps demonstrations short.
INIT_QPOS = np.array([0.0, 0.223, 0.0, -2.216, 0.0, 2.44, np.pi / 4])
GRAY = {"robot0": "0.82 0.82 0.84 1", "gripper0": "0.35 0.35 0.38 1"}


class FloorSampler(Libero100TableRegionSampler):  # type: ignore[misc]
    """Places an object with its centre, not its outline, in a region: the 5 cm regions are meant that way.

    If a region has several ranges, the object gets one that is still empty, each with the same chance. LIBERO's own
    sampler could put two small objects into one range.
    """

    def __init__(self, *args: Any, x_ranges: Any, y_ranges: Any, **kwargs: Any) -> None:
        super().__init__(*args, x_ranges=x_ranges, y_ranges=y_ranges, z_offset=0.001, **kwargs)
        self._ranges = list(zip(x_ranges, y_ranges, strict=True))

    def sample(self, fixtures: dict[str, Any] | None = None, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """The placements in `fixtures`, by name (position, quaternion, object), and the new one."""
        if len(self._ranges) > 1:
            centres = [position for position, _, _ in (fixtures or {}).values()]
            empty = [pair for pair in self._ranges if not any(_contains(*pair, centre) for centre in centres)]
            if not empty:
                raise ValueError(f"no empty range for {self.mujoco_objects[0].name}: expected one range per object")
            self.x_ranges, self.y_ranges = zip(*empty, strict=True)
            self.num_ranges = len(empty)
        placements: dict[str, Any] = super().sample(fixtures, *args, **kwargs)
        return placements


def _contains(x_range: Any, y_range: Any, centre: Any) -> bool:
    return bool(x_range[0] <= centre[0] <= x_range[1] and y_range[0] <= centre[1] <= y_range[1])


REGION_SAMPLERS["blocks_floor_manipulation"] = {"floor": FloorSampler}

# LIBERO's `register_problem` returns None, so the class is only in TASK_MAPPING.
Libero_Floor_Manipulation: Any = TASK_MAPPING["libero_floor_manipulation"]


class Blocks_Floor_Manipulation(Libero_Floor_Manipulation):  # type: ignore[misc]
    """LIBERO's floor problem (sites, predicates, goal) in our arena. The parent's `__init__` is skipped."""

    # With OSMesa and both cameras at 64 px, rendering at twice the size costs 0.7 ms; multisampling costs 3 ms.
    SUPERSAMPLE = 2

    def __init__(self, bddl_file_name: str, *args: Any, **kwargs: Any) -> None:
        self.workspace_name = "floor"
        self.visualization_sites_list: list[str] = []
        self.z_offset = 0.0
        styles = {"floor_style": "light-gray", "wall_style": "light-gray-plaster"}
        kwargs |= {
            "robots": [f"OnTheGround{name}" for name in kwargs["robots"]],
            "workspace_offset": (0.0, 0.0, 0.0),
            "arena_type": "floor",
            "scene_xml": str(BLOCKS_DIR / "mjcf" / "floor.xml"),
            "scene_properties": styles,
            "render_collision_mesh": True,
            "render_visual_mesh": True,
        }
        BDDLBaseDomain.__init__(self, bddl_file_name, *args, **kwargs)

    def _load_model(self) -> None:
        super()._load_model()
        self.robots[0].init_qpos = INIT_QPOS
        robot = self.robots[0].robot_model
        for part in [robot, *robot.models]:
            part._visual_geoms = []
        _drop_visual_meshes(self.model.root)

    def _initialize_sim(self, xml_string: str | None = None) -> None:
        super()._initialize_sim(xml_string)
        self.sim.model._model.vis.quality.offsamples = 0  # no multisampling, see SUPERSAMPLE

    def _load_sites_in_arena(self, mujoco_arena: Any) -> None:
        """Load sites as LIBERO does, but give point regions (places of fixtures) a size that MuJoCo accepts."""
        super()._load_sites_in_arena(mujoco_arena)
        for site in mujoco_arena.floor_body.iter("site"):
            size = [max(float(number), 1e-6) for number in site.get("size").split()]
            site.set("size", " ".join(map(str, size)))

    def _setup_camera(self, mujoco_arena: Any) -> None:
        """Do nothing: mjcf/floor.xml defines the camera, and the work area fills its image of 64 px."""


register_problem(Blocks_Floor_Manipulation)


def _drop_visual_meshes(root: ET.Element) -> None:
    """Draw the Panda's collision geoms instead of its visual meshes, which take 30-60 ms per frame."""
    for body in root.iter("body"):
        for geom in body.findall("geom"):
            prefix = (geom.get("name") or "").split("_")[0]
            if prefix not in GRAY:
                continue
            if geom.get("group") == "1":
                body.remove(geom)
            else:
                geom.set("rgba", GRAY[prefix])
                geom.attrib.pop("material", None)
            if geom.get("name") == "robot0_link1_collision":
                geom.set("rgba", "0 0 0 0")  # hides 12,516 faces that no camera sees
    used = {geom.get("mesh") for geom in root.iter("geom")}
    asset = root.find("asset")
    assert asset is not None
    for mesh in asset.findall("mesh"):
        if mesh.get("name") not in used:
            asset.remove(mesh)
