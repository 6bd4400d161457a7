"""Culling: what is not drawn could not be seen, and pictures are the same bits with and without it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import mujoco
import numpy as np
import pytest

from t2s import params
from t2s.data import init_states, suites
from t2s.sim import cull
from t2s.sim.env import CAMERAS, Env

pytestmark = pytest.mark.sim
SCENE = """
<mujoco>
  <asset><material name="mirror" reflectance="0.5"/><material name="dull"/></asset>
  <worldbody>
    <light pos="0 0 3" castshadow="false"/>
    <camera name="eye" pos="0 0 1" xyaxes="0 -1 0 0 0 1" fovy="60"/>
    <geom name="floor" type="plane" size="0 0 1" material="dull" group="1"/>
    <geom name="ahead" size="0.1" pos="2 0 1" group="1"/>
    <geom name="at the edge" size="0.1" pos="2 1.2 1" group="1"/>
    <geom name="beside" size="0.1" pos="2 1.5 1" group="1"/>
    <geom name="above" size="0.1" pos="2 0 2.5" group="1"/>
    <geom name="behind" size="0.1" pos="-2 0 1" group="1"/>
    <geom name="around" size="0.5" pos="-0.1 0 1" group="1"/>
    <site name="ghost" pos="2 0 1" rgba="1 0 0 0"/>
    <site name="mark" pos="2 0 1" rgba="1 0 0 1"/>
  </worldbody>
</mujoco>
"""
MIRROR = '<geom name="wall" type="box" size="3 3 0.1" pos="3.1 0 1" euler="0 -90 0" material="mirror" group="1"/>'


def seen(xml: str) -> set[str]:
    """The names of what the camera of a scene sees."""
    model = mujoco.MjModel.from_xml_string(xml)
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    found = cull.seen(model, data, model.camera("eye").id, cull.mirrors(model))
    return {model.geom(i).name for i in np.flatnonzero(found)}


def test_what_reaches_into_the_view_is_seen() -> None:
    assert seen(SCENE) == {"floor", "ahead", "at the edge", "around"}


def test_what_a_mirror_shows_is_seen() -> None:
    inside = SCENE.replace("<site", MIRROR + "<site", 1)
    assert seen(inside) == {"floor", "ahead", "at the edge", "around", "wall", "beside", "above", "behind"}
    assert seen(inside.replace('material="mirror"', 'material="dull"')) == seen(SCENE) | {"wall"}


def test_all_is_seen_where_a_light_casts_shadows() -> None:
    assert "behind" in seen(SCENE.replace('castshadow="false"', 'castshadow="true"'))


def test_the_model_is_as_before_even_after_an_error() -> None:
    model = mujoco.MjModel.from_xml_string(SCENE)
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    with contextlib.suppress(KeyError), cull.culled(model, data, 0, []):
        assert model.geom("behind").group == model.site("ghost").group == cull.UNDRAWN
        assert model.geom("ahead").group == 1
        assert model.site("mark").group == 0
        raise KeyError
    assert (model.geom_group == 1).all()
    assert (model.site_group == 0).all()


def drawn_whole(env: Env, name: str, size: int) -> np.ndarray:
    """A camera's picture of everything."""
    env._context.gl_ctx.make_current()
    env._context.render(size, size, env._cameras[name])
    return np.array(env._context.read_pixels(size, size))


def states(env: Env, start: np.ndarray) -> Iterator[None]:
    """Moves the arm down and about."""
    env.reset(start, 0, 5)
    for action in np.random.default_rng(0).uniform(-1, 1, (8, 7)) - [0, 0, 0.5, 0, 0, 0, 0]:
        for _ in range(4):
            env.advance(np.clip(action, -1, 1))
        yield


@pytest.mark.slow
@pytest.mark.parametrize("quality", ["libero", "fast"])
@pytest.mark.parametrize(  # the second and third have stoves, which are mirrors
    ("suite", "index"), [("libero_object", 0), ("libero_goal", 7), ("libero_10", 2), ("libero_spatial", 4)]
)
def test_pictures_of_liberos_scenes_are_the_same_bits(
    suite: str, index: int, quality: params.Quality, libero_assets: Path
) -> None:
    task = suites.task(suite, index)
    env = Env(task.bddl_path, 128, libero_assets, quality)
    try:
        for _ in states(env, init_states.read(task)[0]):
            observation = env.observe()
            for name in CAMERAS:
                np.testing.assert_array_equal(observation[name], drawn_whole(env, name, 128))
    finally:
        env.close()


def test_pictures_of_the_embedded_suites_are_the_same_bits() -> None:
    task = suites.task("blocks_goal", 1)
    env = Env(task.bddl_path, 64)
    env._supersample = 1
    try:
        for _ in states(env, np.load(task.init_states_path)[0]):
            observation = env.observe()
            for name in CAMERAS:
                np.testing.assert_array_equal(observation[name], drawn_whole(env, name, 64))
    finally:
        env.close()
