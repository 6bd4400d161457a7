"""Hides from a camera what its picture cannot show, so that less is drawn. The pictures stay the same, bit for bit.

OpenGL computes the place and colour of every corner of every face, and only then drops the faces outside the picture.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import mujoco
import numpy as np
from jaxtyping import Bool, Float

MARGIN = 1.1  # meshes with fewer faces (t2s/sim/decimate.py) may stand out a little
UNDRAWN = mujoco.mjNGROUP - 1  # a group of geoms and sites that is not drawn, unless somebody asks MuJoCo to


def mirrors(model: Any) -> list[int]:
    """The planes and boxes in which MuJoCo draws reflections. Finding them takes longer than all else here."""
    flat = np.isin(model.geom_type, (mujoco.mjtGeom.mjGEOM_PLANE, mujoco.mjtGeom.mjGEOM_BOX))
    shiny = np.append(model.mat_reflectance, 0)[model.geom_matid] > 0  # -1: no material
    return np.flatnonzero(flat & shiny & (model.geom_group != 0)).tolist()


@contextlib.contextmanager
def culled(model: Any, data: Any, camera: int, mirrors: list[int]) -> Iterator[None]:
    """Within this block, MuJoCo draws no geom that `camera` cannot see, and no site that is fully transparent.

    The camera's picture is square, `mirrors` are those of the model. The model is as before afterwards.
    """
    geoms, sites = model.geom_group.copy(), model.site_group.copy()
    model.geom_group[~seen(model, data, camera, mirrors)] = UNDRAWN
    model.site_group[model.site_rgba[:, 3] == 0] = UNDRAWN
    try:
        yield
    finally:
        model.geom_group[:], model.site_group[:] = geoms, sites


def seen(model: Any, data: Any, camera: int, mirrors: list[int]) -> Bool[np.ndarray, "n"]:
    """Whether each geom can be seen by the camera, directly or in a mirror; all can where a light casts shadows."""
    if model.light_castshadow.any():  # a shadow is seen even where its caster is not
        return np.ones(model.ngeom, dtype=bool)
    places = [data.geom_xpos, *(_mirrored(model, data, mirror) for mirror in mirrors)]
    return np.any([_in_view(model, data, camera, centres) for centres in places], axis=0)


def _in_view(model: Any, data: Any, camera: int, centres: Float[np.ndarray, "n 3"]) -> Bool[np.ndarray, "n"]:
    """Whether spheres around the geoms, moved to `centres`, reach into the pyramid that the camera sees."""
    x, y, z = ((centres - data.cam_xpos[camera]) @ data.cam_xmat[camera].reshape(3, 3)).T
    half = np.deg2rad(model.cam_fovy[camera]) / 2
    outside = np.maximum(np.abs(x), np.abs(y)) * np.cos(half) + z * np.sin(half)  # the camera looks along -z
    radius = MARGIN * model.geom_rbound
    return (model.geom_rbound == 0) | ((outside < radius) & (z < radius))  # 0: a plane without end


def _mirrored(model: Any, data: Any, mirror: int) -> Float[np.ndarray, "n 3"]:
    """The centres of all geoms as a mirror shows them: the plane itself, or the top of the box."""
    normal = data.geom_xmat[mirror].reshape(3, 3)[:, 2]
    is_box = model.geom_type[mirror] == mujoco.mjtGeom.mjGEOM_BOX
    height = (data.geom_xpos - data.geom_xpos[mirror]) @ normal - is_box * model.geom_size[mirror, 2]
    return data.geom_xpos - 2 * height[:, None] * normal
