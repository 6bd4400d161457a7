"""Fewer faces: what is drawn stays nearly the same, what moves stays exactly the same."""

from __future__ import annotations

import multiprocessing
from pathlib import Path

import mujoco
import numpy as np
import pytest

from t2s.data import init_states, suites
from t2s.sim.decimate import FACES_MIN, decimate
from t2s.sim.env import Env

pytestmark = pytest.mark.sim
OF_DRAWING = {"mesh_vert", "mesh_vertnum", "mesh_face", "mesh_facenormal", "mesh_facetexcoord", "mesh_facenum"}
SCENE = """
<mujoco>
  <asset><mesh name="ball" file="ball.obj"/><mesh name="solid" file="ball.obj"/></asset>
  <worldbody>
    <body><freejoint/>
      <geom type="mesh" mesh="ball" contype="0" conaffinity="0" group="1"/>
      <geom size="0.01"/>
    </body>
    <body pos="0 0 1"><freejoint/><geom type="mesh" mesh="solid" group="1"/></body>
  </worldbody>
</mujoco>
"""


def ball(n: int = 40) -> bytes:
    """A ball of radius 1 cm whose texture is its two angles: their seam is one of the texture's."""
    u, v = np.meshgrid(np.linspace(0, 1, 2 * n + 1), np.linspace(0, 1, n + 1))
    a, b = 2 * np.pi * u, np.pi * v
    points = np.round(np.stack([np.cos(a) * np.sin(b), np.sin(a) * np.sin(b), np.cos(b)], axis=2).reshape(-1, 3), 9)
    lines = [f"v {x / 100} {y / 100} {z / 100}" for x, y, z in points]
    lines += [f"vn {x} {y} {z}" for x, y, z in points]
    lines += [f"vt {s} {t}" for s, t in zip(u.flat, v.flat, strict=True)]
    for i, j in np.ndindex(n, 2 * n):
        p, q = i * (2 * n + 1) + j + 1, (i + 1) * (2 * n + 1) + j + 1
        faces = [(p, q, q + 1)] * (i < n - 1) + [(p, q + 1, p + 1)] * (i > 0)
        lines += ["f " + " ".join(f"{k}/{k}/{k}" for k in face) for face in faces]
    return "\n".join(lines).encode()


def compiled() -> mujoco.MjModel:
    return mujoco.MjModel.from_xml_string(SCENE, {"ball.obj": ball()})


def arrays(model: mujoco.MjModel) -> dict[str, np.ndarray]:
    """A copy of everything in a model."""
    found = {name: getattr(model, name) for name in dir(model) if not name.startswith("_")}
    return {name: value.copy() for name, value in found.items() if isinstance(value, np.ndarray)}


def assert_same_physics(model: mujoco.MjModel, other: mujoco.MjModel) -> None:
    first, second = arrays(model), arrays(other)
    assert {"body_mass", "body_inertia", "geom_contype", "geom_friction", "geom_solref", "mesh_graph"} <= first.keys()
    assert {"geom_pos", "geom_quat", "geom_rbound"} <= first.keys()
    for name in first.keys() - OF_DRAWING:
        np.testing.assert_array_equal(first[name], second[name], err_msg=name)


def thinned(cache: Path) -> dict[str, np.ndarray]:
    model = compiled()
    decimate(model, cache)
    return arrays(model)


@pytest.fixture
def thin(tmp_path: Path) -> mujoco.MjModel:
    model = compiled()
    assert decimate(model, tmp_path) == [model.mesh("ball").id]
    return model


def test_few_faces_are_left_of_what_is_only_drawn(thin: mujoco.MjModel) -> None:
    assert compiled().mesh_facenum[0] > 6000
    assert 0.8 * FACES_MIN < thin.mesh_facenum[0] <= FACES_MIN


def test_what_can_be_touched_is_left_alone(thin: mujoco.MjModel) -> None:
    whole, solid = compiled(), thin.mesh("solid").id
    assert thin.mesh_facenum[solid] == whole.mesh_facenum[solid]
    face, vertex = thin.mesh_faceadr[solid], thin.mesh_vertadr[solid]
    np.testing.assert_array_equal(thin.mesh_face[face:], whole.mesh_face[face:])
    np.testing.assert_array_equal(thin.mesh_vert[vertex:], whole.mesh_vert[vertex:])


def test_masses_inertias_and_geoms_are_the_same_bits(thin: mujoco.MjModel) -> None:
    assert_same_physics(compiled(), thin)


def test_the_shape_its_normals_and_its_texture_stay(thin: mujoco.MjModel) -> None:
    n = thin.mesh_facenum[0]
    corners = thin.mesh_vert[thin.mesh_face[:n]] @ _turned(thin)
    radius = np.linalg.norm(corners, axis=2, keepdims=True)
    assert radius.max() < 0.0103
    assert radius.min() > 0.0099
    outward = corners / radius
    normals = thin.mesh_normal[thin.mesh_facenormal[:n]] @ _turned(thin)
    assert (normals * outward).sum(axis=2).min() > 0.9
    a, b = np.moveaxis(thin.mesh_texcoord[thin.mesh_facetexcoord[:n]] * (2 * np.pi, np.pi), 2, 0)
    b = np.pi - b  # MuJoCo's pictures begin at the other end
    expected = np.stack([np.cos(a) * np.sin(b), np.sin(a) * np.sin(b), np.cos(b)], axis=2)
    np.testing.assert_allclose(expected, outward, atol=0.15)
    across_the_seam = np.ptp(a, axis=1) > np.pi
    assert across_the_seam.mean() < 0.06


def _turned(model: mujoco.MjModel) -> np.ndarray:
    """MuJoCo turns a mesh to its principal axes: the matrix from there."""
    turn = np.zeros(9)
    mujoco.mju_quat2Mat(turn, model.mesh_quat[0])
    return turn.reshape(3, 3).T


def test_processes_that_share_a_cache_get_the_same(tmp_path: Path) -> None:
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        both = pool.map(thinned, [tmp_path] * 2)
    for one in (*both[1:], thinned(tmp_path)):
        for name in OF_DRAWING:
            np.testing.assert_array_equal(one[name], both[0][name])
    assert [path.suffixes for path in tmp_path.iterdir()] == [[".npz"]]


def test_what_is_in_the_cache_is_not_computed_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = thinned(tmp_path)
    monkeypatch.setattr("t2s.sim.decimate.thin_out", None)
    np.testing.assert_array_equal(thinned(tmp_path)["mesh_face"], first["mesh_face"])


@pytest.mark.slow
@pytest.mark.parametrize(("suite", "index"), [("libero_object", 0), ("libero_goal", 3)])
def test_a_task_of_liberos_moves_the_same_and_looks_alike(suite: str, index: int, libero_assets: Path) -> None:
    task = suites.task(suite, index)
    state = init_states.read(task)[0]
    whole, thin = envs = [Env(task.bddl_path, 128, libero_assets, quality) for quality in ("libero", "fast")]
    try:
        assert thin._model.mesh_facenum.sum() < whole._model.mesh_facenum.sum() / 2
        for env in envs:
            env.reset(state, 0, 5)  # places fixtures
        assert_same_physics(whole._model, thin._model)
        seen = [env.observe() for env in envs]
        for camera in ("agentview_rgb", "eye_in_hand_rgb"):
            assert 0 < np.abs(seen[0][camera].astype(int) - seen[1][camera]).mean() < 4
        for action in np.random.default_rng(0).uniform(-1, 1, (50, 7)):
            for env in envs:
                env.advance(action)
            np.testing.assert_array_equal(whole.state(), thin.state())
    finally:
        for env in envs:
            env.close()
