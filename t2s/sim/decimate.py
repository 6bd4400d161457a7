"""Fewer faces of what is drawn: on a CPU they are most of what a frame of LIBERO's scenes costs.

Done to the compiled model, in the arrays of those meshes that nothing can touch: masses, inertias, geoms and all that
collides stay what they were, bit for bit. (Rays would read these meshes, too; nothing here casts any.)
"""

from __future__ import annotations

import hashlib
import os
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import fast_simplification
import mujoco
import numpy as np
from jaxtyping import Float, Int
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import KDTree

FACES_PER_METRE = 8000  # of a mesh, by the longest side of its box
FACES_MIN, FACES_MAX = 200, 2500
THIN = 0.05  # [sizes of the mesh] how much further away a place on the texture counts that faces sideways
FLAT = 0.5  # [sizes of the mesh] a corner's normal may come from so far away if it fits the face better


class Mesh(NamedTuple):
    """Points, and of the corners of the faces the indices of a point, of a normal, of a place on the texture."""

    points: Float[np.ndarray, "v 3"]
    vertices: Int[np.ndarray, "f 3"]
    normals: Int[np.ndarray, "f 3"]
    texcoords: Int[np.ndarray, "f 3"]


def decimate(model: Any, cache: Path) -> list[int]:
    """Thin out the meshes that `model` only draws; gives those that changed, for a context to upload again.

    What was once thinned out is read from `cache`, which any number of processes may share.
    """
    solid = (model.geom_contype | model.geom_conaffinity) != 0
    is_mesh = model.geom_type == mujoco.mjtGeom.mjGEOM_MESH
    meshes = np.setdiff1d(model.geom_dataid[is_mesh], model.geom_dataid[is_mesh & solid]).tolist()
    return [mesh for mesh in meshes if _decimate(model, mesh, cache)]


def _decimate(model: Any, mesh: int, cache: Path) -> bool:
    """Whether there was something to thin out."""
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
    digest = hashlib.sha256(Path(__file__).read_bytes() + version("fast-simplification").encode())
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
    """About `n_faces` faces in the shape of `whole`, with normals and places on the texture that it has.

    Source: Garland and Heckbert 1997 for the shape.
    """
    # Many files repeat a point in every face at it: one each, or nothing is connected.
    points, number = np.unique(whole.points, axis=0, return_inverse=True)
    corners = number[whole.vertices]
    is_face = (corners != np.roll(corners, 1, axis=1)).all(axis=1)
    corners, facing, textured = corners[is_face], whole.normals[is_face], whole.texcoords[is_face]
    size = float(np.ptp(points, axis=0).max())
    # The library's thresholds are absolute: in metres it would take any edge of a small mesh.
    fewer, faces = fast_simplification.simplify(points / size, corners, target_count=n_faces)
    fewer *= size
    old, new = points[corners].astype(float), fewer[faces]
    flat, new_flat = _perpendicular(old), _perpendicular(new)
    # A texture is a set of charts: a face lies in the chart of the old face that is closest to it.
    place = np.zeros(3 * len(new), dtype=int)
    if len(texture):
        origin = _nearest(np.c_[old.mean(1), size / 4 * flat], np.c_[new.mean(1), size / 4 * new_flat])
        shown, chart = texture[textured], 10 * size * np.c_[_charts(corners, texture[textured])]
        # Normals keep the two sides of a thin wall apart, places on the texture the two sides of a seam.
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
    """Which of `places` is the nearest to each that is wanted."""
    return np.asarray(KDTree(places).query(wanted)[1])


def _corners(corners: Float[np.ndarray, "f 3 3"], *of_faces: Float[np.ndarray, "f d"]) -> Float[np.ndarray, "n d"]:
    """One row a corner: where it is, and what its face has."""
    return np.c_[corners.reshape(-1, 3), np.repeat(np.concatenate(of_faces, axis=1), 3, axis=0)]


def _perpendicular(corners: Float[np.ndarray, "f 3 3"]) -> Float[np.ndarray, "f 3"]:
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    return np.asarray(normal / np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-12))


def _charts(corners: Int[np.ndarray, "f 3"], texture: Float[np.ndarray, "f 3 2"]) -> Int[np.ndarray, " f"]:
    """The number of the connected piece of the texture that each face shows."""
    keys = np.concatenate([corners[..., None], texture], axis=2).reshape(-1, 3)
    ids = np.unique(keys, axis=0, return_inverse=True)[1].reshape(-1, 3)
    edges = np.concatenate([ids[:, :2], ids[:, 1:]]).T
    graph = coo_array((np.ones(edges.shape[1]), edges), shape=(ids.max() + 1,) * 2)
    return np.asarray(connected_components(graph, directed=False)[1][ids[:, 0]])
