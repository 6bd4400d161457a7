"""Reduces the faces of meshes that are only drawn: on a CPU, they dominate the rendering time of LIBERO's scenes.

It edits the compiled model, but only the arrays of meshes that nothing can collide with. Masses, inertias, geoms
and all colliding meshes stay the same, bit for bit. (Ray casts would see the reduced meshes; this project casts none.)
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any, NamedTuple

import fast_simplification
import mujoco
import numpy as np
from jaxtyping import Float, Int
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import KDTree

from t2s import packages

FACES_PER_METRE = 8000  # per metre of the longest side of a mesh's bounding box
FACES_MIN, FACES_MAX = 200, 2500
THIN = 0.05  # [mesh sizes] weight of normals and texture coordinates in the search for a corner's texture coordinate
FLAT = 0.5  # [mesh sizes] weight of normals in the search for a corner's normal


class Mesh(NamedTuple):
    """Points, and for every corner of every face the index of its point, normal and texture coordinate."""

    points: Float[np.ndarray, "v 3"]
    vertices: Int[np.ndarray, "f 3"]
    normals: Int[np.ndarray, "f 3"]
    texcoords: Int[np.ndarray, "f 3"]


def decimate(model: Any, cache: Path) -> list[int]:
    """Reduce the meshes that `model` only draws; return the ids of those that a GL context must upload again.

    Reduced meshes are kept in the folder `cache`, which any number of processes may share.
    """
    solid = (model.geom_contype | model.geom_conaffinity) != 0
    is_mesh = model.geom_type == mujoco.mjtGeom.mjGEOM_MESH
    meshes = np.setdiff1d(model.geom_dataid[is_mesh], model.geom_dataid[is_mesh & solid]).tolist()
    return [mesh for mesh in meshes if _decimate(model, mesh, cache)]


def _decimate(model: Any, mesh: int, cache: Path) -> bool:
    """Reduce one mesh; return whether it had too many faces."""
    points = _part(model.mesh_vert, model.mesh_vertadr, model.mesh_vertnum, mesh)
    normals = _part(model.mesh_normal, model.mesh_normaladr, model.mesh_normalnum, mesh)
    texture = _part(model.mesh_texcoord, model.mesh_texcoordadr, model.mesh_texcoordnum, mesh)
    arrays = model.mesh_face, model.mesh_facenormal, model.mesh_facetexcoord
    faces = [_part(array, model.mesh_faceadr, model.mesh_facenum, mesh) for array in arrays]
    n_wanted = int(np.clip(FACES_PER_METRE * np.ptp(points, axis=0).max(), FACES_MIN, FACES_MAX))
    if len(faces[0]) <= n_wanted:
        return False
    thin = _cached(cache, Mesh(points, *faces), normals, texture, n_wanted)
    for array, fewer in zip([points, *faces], thin, strict=True):
        array[: len(fewer)] = fewer
    model.mesh_vertnum[mesh], model.mesh_facenum[mesh] = len(thin.points), len(thin.vertices)
    return True


def _part(array: np.ndarray, starts: np.ndarray, lengths: np.ndarray, mesh: int) -> np.ndarray:
    return array[starts[mesh] : starts[mesh] + lengths[mesh]]


def _cached(cache: Path, whole: Mesh, *given: Any) -> Mesh:
    digest = hashlib.sha256(Path(__file__).read_bytes() + packages.version("fast_simplification").encode())
    for array in (*whole, *given):
        digest.update(np.ascontiguousarray(array).tobytes() + b";")
    path = cache / f"{digest.hexdigest()}.npz"
    if not path.exists():
        cache.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(f".{os.getpid()}.npz")
        np.savez(temporary, **thin_out(whole, *given)._asdict())
        temporary.replace(path)
    with np.load(path, allow_pickle=False) as stored:
        return Mesh(**stored)


def thin_out(whole: Mesh, normals: Float[np.ndarray, "n 3"], texture: Float[np.ndarray, "t 2"], n_faces: int) -> Mesh:
    """A mesh of about `n_faces` faces in the shape of `whole`, with normals and texture coordinates taken from it.

    Source: Garland and Heckbert 1997 for the shape.
    """
    # Many files repeat a point for every face that uses it. Merge the copies to connect the faces.
    points, number = np.unique(whole.points, axis=0, return_inverse=True)
    corners = number[whole.vertices]
    is_face = (corners != np.roll(corners, 1, axis=1)).all(axis=1)
    corners, facing, textured = corners[is_face], whole.normals[is_face], whole.texcoords[is_face]
    size = float(np.ptp(points, axis=0).max())
    # fast_simplification has absolute thresholds: in metres, it would collapse any edge of a small mesh.
    fewer, faces = fast_simplification.simplify(points / size, corners, target_count=n_faces)
    fewer *= size
    old, new = points[corners].astype(float), fewer[faces]
    flat, new_flat = _perpendicular(old), _perpendicular(new)
    # A texture consists of charts. A new face gets the chart of the closest old face.
    place = np.zeros(3 * len(new), dtype=int)
    if len(texture):
        origin = _nearest(np.c_[old.mean(1), size / 4 * flat], np.c_[new.mean(1), size / 4 * new_flat])
        shown, chart = texture[textured], 10 * size * np.c_[_charts(corners, texture[textured])]
        # Normals separate the two sides of a thin wall; texture coordinates separate the two sides of a seam.
        among = np.c_[_corners(old, THIN * size * flat, chart), THIN * size * shown.reshape(-1, 2)]
        middle = THIN * size * shown.mean(1)[origin]
        place = _nearest(among, _corners(new, THIN * size * new_flat, chart[origin], middle))
    bent = np.c_[old.reshape(-1, 3), FLAT * size * normals[facing].reshape(-1, 3)]
    normal = _nearest(bent, _corners(new, FLAT * size * new_flat))
    return Mesh(
        fewer.astype(np.float32),
        faces.astype(np.int32),
        facing.reshape(-1)[normal].reshape(-1, 3),
        textured.reshape(-1)[place].reshape(-1, 3),
    )


def _nearest(places: Float[np.ndarray, "n d"], wanted: Float[np.ndarray, "m d"]) -> Int[np.ndarray, " m"]:
    """The index of the nearest of `places`, for each row of `wanted`."""
    return np.asarray(KDTree(places).query(wanted)[1])


def _corners(corners: Float[np.ndarray, "f 3 3"], *of_faces: Float[np.ndarray, "f d"]) -> Float[np.ndarray, "n d"]:
    """One row per corner: its position, then the values of its face."""
    return np.c_[corners.reshape(-1, 3), np.repeat(np.concatenate(of_faces, axis=1), 3, axis=0)]


def _perpendicular(corners: Float[np.ndarray, "f 3 3"]) -> Float[np.ndarray, "f 3"]:
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    return np.asarray(normal / np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-12))


def _charts(corners: Int[np.ndarray, "f 3"], texture: Float[np.ndarray, "f 3 2"]) -> Int[np.ndarray, " f"]:
    """For each face, the number of its chart: the connected piece of the texture that it shows."""
    keys = np.concatenate([corners[..., None], texture], axis=2).reshape(-1, 3)
    ids = np.unique(keys, axis=0, return_inverse=True)[1].reshape(-1, 3)
    edges = np.concatenate([ids[:, :2], ids[:, 1:]]).T
    graph = coo_array((np.ones(edges.shape[1]), edges), shape=(ids.max() + 1,) * 2)
    return np.asarray(connected_components(graph, directed=False)[1][ids[:, 0]])
