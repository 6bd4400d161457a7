"""One environment class for every LIBERO problem, including those of the embedded suites."""

from __future__ import annotations

import contextlib
import xml.etree.ElementTree as ET
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Float64, UInt8

from t2s import params
from t2s.errors import SimulationError
from t2s.sim import egl, gl, quiet

quiet.prepare()

with gl.explained():
    import mujoco
with egl.undirected():
    import robosuite

import libero.libero  # noqa: E402

from t2s.sim import cull, decimate  # noqa: E402
from t2s.sim.arm import Arm  # noqa: E402
from t2s.sim.blocks import BLOCKS_DIR  # noqa: E402

libero.libero._assets_path_cache = str(BLOCKS_DIR)  # otherwise hf-libero downloads its assets

from libero.libero.envs.bddl_base_domain import TASK_MAPPING  # noqa: E402
from libero.libero.envs.bddl_utils import get_problem_info  # noqa: E402
from robosuite.utils.binding_utils import GLContext  # noqa: E402
from robosuite.utils.errors import RandomizationError  # noqa: E402
from robosuite.utils.transform_utils import convert_quat, quat2axisangle  # noqa: E402

import t2s.sim.blocks.problem  # noqa: E402, F401 - registers the problem

CAMERAS = {"agentview_rgb": "agentview", "eye_in_hand_rgb": "robot0_eye_in_hand"}
CONTROL_FREQ = 20  # [Hz]
ACTION_DIM = 7
N_PLACEMENTS = 100

Observation = dict[str, np.ndarray]


@dataclass(frozen=True)
class Joint:
    """A slide or hinge joint: its axis, a point on the axis [m], and how far it is open [m] or [rad]."""

    axis: Float64[np.ndarray, "3"]
    anchor: Float64[np.ndarray, "3"]
    opened: float


class Env:
    """A Panda in the scene of one BDDL file, seen by two square cameras."""

    def __init__(
        self,
        bddl_path: Path,
        image_size: int,
        assets_dir: Path | None = None,
        quality: params.Quality = "libero",
    ) -> None:
        """`assets_dir`: the folder of LIBERO's scene assets; None for the embedded suites.

        Raises: ValueError that names the BDDL file if it is damaged, or if LIBERO has no such problem or object.
        """
        self._assets_dir = assets_dir or BLOCKS_DIR
        libero.libero._assets_path_cache = str(self._assets_dir)
        self.instruction, self.problem_name = _problem(bddl_path)
        self._image_size, self._bddl_path = image_size, bddl_path
        self._env = _build(TASK_MAPPING[self.problem_name], bddl_path)
        self._model, self._data = self._env.sim.model._model, self._env.sim.data._data
        self._context = self._env.sim._render_context_offscreen
        if quality == "fast":
            self._draw_less()
        self._supersample: int = getattr(self._env, "SUPERSAMPLE", 1)
        self._cameras = {key: self._model.camera(name).id for key, name in CAMERAS.items()}
        self._mirrors = cull.mirrors(self._model)
        robot = self._env.robots[0]
        self._joints = np.array(robot._ref_joint_pos_indexes)
        self._fingers = np.array(robot._ref_gripper_joint_pos_indexes)
        self.n_states = 1 + self._model.nq + self._model.nv

    def reset(self, init_state: Float64[np.ndarray, "s"], seed: int, settle_steps: int) -> None:
        """Set `init_state` and apply `settle_steps` zero actions. Earlier episodes do not affect the result."""
        if init_state.shape != (self.n_states,):
            raise ValueError(
                f"expected init_state of shape ({self.n_states},) for {self._bddl_path}, got {init_state.shape}"
            )
        if not np.isfinite(init_state).all():
            raise ValueError(f"expected a finite init_state for {self._bddl_path}, got nan or inf")
        self.sample(seed)
        self.set_state(init_state)
        self.settle(settle_steps)

    def sample(self, seed: int) -> Float64[np.ndarray, "s"]:
        """Reset to a state that `seed` draws from the regions in the BDDL file, and return it."""
        np.random.seed(seed)
        gripper = self._env.robots[0].gripper
        gripper.current_action = np.zeros_like(gripper.current_action, dtype=float)
        _until_placed(lambda: _reset(self._env), self._bddl_path)
        self._arm = Arm(self._env)
        return self.state()

    def settle(self, n_steps: int) -> None:
        """Apply `n_steps` zero actions, so that objects come to rest."""
        for _ in range(n_steps):
            self._arm.step(np.zeros(ACTION_DIM))

    def advance(self, action: Float[np.ndarray, "7"]) -> bool:
        """Run one control period without rendering; return whether the goal holds at its end."""
        if np.shape(action) != (ACTION_DIM,) or not np.isfinite(action).all():
            raise ValueError(f"expected an action of {ACTION_DIM} finite numbers, got {action!r}")
        self._arm.step(np.asarray(action, dtype=np.float64))
        return bool(self._env._check_success())

    def observe(self) -> Observation:
        """The observation of the present state; t2s/data/__init__.py lists its arrays."""
        self._env._post_process()  # shows whether fixtures are turned on
        images = {key: self._render(camera, self._image_size) for key, camera in self._cameras.items()}
        return images | {
            "joint_states": self._data.qpos[self._joints].astype(np.float32),
            "gripper_states": self._data.qpos[self._fingers].astype(np.float32),
        }

    def state(self) -> Float64[np.ndarray, "s"]:
        """Time [s], positions and velocities as one flat array."""
        return np.concatenate([[self._data.time], self._data.qpos, self._data.qvel])

    def set_state(self, state: Float64[np.ndarray, "s"]) -> None:
        """Set the simulation to `state`. The controller keeps its goal until the next action."""
        n = self._model.nq
        self._data.time = state[0]
        self._data.qpos[:], self._data.qvel[:] = state[1 : 1 + n], state[1 + n :]
        mujoco.mj_forward(self._model, self._data)

    def grip_pose(self) -> tuple[Float64[np.ndarray, "3"], Float64[np.ndarray, "3 3"]]:
        """Position [m] and rotation matrix of the point between the fingertips."""
        site = self._env.robots[0].eef_site_id
        return self._data.site_xpos[site].copy(), self._data.site_xmat[site].reshape(3, 3).copy()

    def end_effector(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Position (3,) [m] of the grip site; quaternion (4,) x y z w and axis-angle (3,) [rad] of the hand.

        Source: LIBERO's scripts/create_dataset.py, which takes them from robosuite's observables.
        """
        hand = self._env.robots[0].robot_model.eef_name
        quaternion = convert_quat(self._data.body(hand).xquat, to="xyzw")
        return self.grip_pose()[0], quaternion, quat2axisangle(quaternion)

    @property
    def is_blocks(self) -> bool:
        """Whether the scene belongs to an embedded suite."""
        return self.problem_name.startswith("blocks_")

    @property
    def goal(self) -> list[list[str]]:
        """The predicates that must hold, e.g. [["in", "red_cube_1", "bin_1_contain_region"]]."""
        goal: list[list[str]] = self._env.parsed_problem["goal_state"]
        return goal

    def holds(self, predicate: str, *names: str) -> bool:
        """Whether one predicate of the goal holds now."""
        return bool(self._env._eval_predicate([predicate, *names]))

    def position(self, name: str) -> Float64[np.ndarray, "3"]:
        """Position [m] of an object, fixture or region, by its name in the BDDL file."""
        state = self._env.object_states_dict[name].get_geom_state()
        return np.array(state["pos"])

    def corners(self, name: str) -> Float64[np.ndarray, "n 3"]:
        """Corners [m] of the bounding boxes of a thing's solid geoms, eight consecutive rows per box.

        The thing is an object or a fixture. For a region, it is the body that carries the region.
        """
        thing = self._env.get_object(name)
        is_region = self.is_region(name)
        root = self._model.site(name).bodyid.item() if is_region else self._model.body(thing.root_body).id
        solid = np.flatnonzero(self._model.geom_contype | self._model.geom_conaffinity)
        geoms = [geom for geom in solid if self._descends(self._model.geom_bodyid[geom], root)]
        return np.concatenate([self._box(int(geom)) for geom in geoms])

    def _descends(self, body: int, root: int) -> bool:
        while body not in (0, root):
            body = self._model.body_parentid[body]
        return bool(body == root)

    def _box(self, geom: int) -> Float64[np.ndarray, "8 3"]:
        centre, half = np.split(self._model.geom_aabb[geom], 2)
        corners = centre + half * (2 * np.array(list(np.ndindex(2, 2, 2))) - 1)
        return self._data.geom_xpos[geom] + corners @ self._data.geom_xmat[geom].reshape(3, 3).T

    @property
    def solids(self) -> list[str]:
        """Names of the objects and fixtures that the arm can collide with."""
        names = [*self._env.objects_dict, *self._env.fixtures_dict]
        return [name for name in names if name in self._env.object_states_dict]

    def opening(self) -> float:
        """Distance [m] between the fingers."""
        left, right = self._data.qpos[self._fingers]
        return float(left - right)

    def joint(self, name: str) -> Joint:
        """The joint that opens a region or fixture, or turns it on."""
        thing = self._env.get_object(name)
        owner = self._env.get_object(self.parent(name)) if self.is_region(name) else thing
        articulation = owner.object_properties["articulation"]
        sign = np.sign(np.mean(articulation.get("default_turnon_ranges") or articulation["default_open_ranges"]))
        joint = self._model.joint(thing.joints[0])
        value = self._data.qpos[joint.qposadr.item()]
        return Joint(sign * self._data.xaxis[joint.id], self._data.xanchor[joint.id].copy(), float(sign * value))

    def uphill(self, region: str) -> Float64[np.ndarray, "3"]:
        """The direction that LIBERO's predicate takes as up for a region. For a tilted region, it follows the slope."""
        if not self.is_region(region):
            return np.array([0.0, 0.0, 1.0])
        return np.array(self._data.site(region).xmat.reshape(3, 3)[2])

    def is_region(self, name: str) -> bool:
        """Whether `name` is a region, not an object or fixture."""
        return name in self._env.object_sites_dict

    def is_drawer(self, name: str) -> bool:
        """Whether a region has a joint, so that it can be opened."""
        return bool(self._env.get_object(name).joints)

    def attitude(self, name: str) -> Float64[np.ndarray, "3 3"]:
        """Rotation matrix of an object."""
        return np.array(self._data.body(self._env.get_object(name).root_body).xmat.reshape(3, 3))

    def parent(self, region: str) -> str:
        """The object or fixture that a region belongs to."""
        return str(self._env.object_states_dict[region].parent_name)

    def extent(self, name: str) -> tuple[float, float]:
        """Lowest and highest point [m] of an object, relative to its position. Both are 0 for a region."""
        thing = self._env.get_object(name)
        if not hasattr(thing, "bottom_offset"):
            return 0.0, 0.0
        return float(thing.bottom_offset[2]), float(thing.top_offset[2])

    def frame(self, size: int) -> UInt8[np.ndarray, "{size} {size} 3"]:
        """The agentview camera's image, upright for human viewers, as a uint8 array of shape (size, size, 3)."""
        return self._render(self._cameras["agentview_rgb"], size)[::-1].copy()

    def model_xml(self) -> str:
        """The scene's MJCF with fixtures at their present places and paths that do not depend on this machine."""
        root = ET.fromstring(self._env.model.get_xml())
        bodies = {body.get("name"): body for body in root.iter("body")}
        for fixture in self._env.fixtures:
            placed, body = self._model.body(fixture.root_body), bodies[fixture.root_body]
            body.set("pos", " ".join(map(str, placed.pos)))
            body.set("quat", " ".join(map(str, placed.quat)))
        xml = ET.tostring(root, encoding="unicode")
        for package in (robosuite.__path__[0], str(BLOCKS_DIR.parents[1])):
            xml = xml.replace(f"{Path(package).parent}/", "")
        return xml.replace(f"{self._assets_dir}/", "libero/assets/")

    def close(self) -> None:
        """Free the simulation and its GL context."""
        self._context.gl_ctx.make_current()  # OpenGL frees resources of the current context
        del self._context
        self._env.close()

    def _draw_less(self) -> None:
        """Draw fewer faces and one sample per pixel. The dynamics do not change."""
        decimate.decimate(self._model, quiet.private_folder() / "meshes")
        self._model.vis.quality.offsamples = 0
        self._context.gl_ctx.make_current()
        # Reflections clear the whole buffer, so make it no larger than needed. This also uploads the meshes again.
        self._context.update_offscreen_size(self._image_size, self._image_size)

    def _render(self, camera: int, size: int) -> np.ndarray:
        self._context.gl_ctx.make_current()  # another Env in this process may have made its context current
        n = size * self._supersample
        with cull.culled(self._model, self._data, camera, self._mirrors):
            self._context.render(n, n, camera)
        image: np.ndarray = self._context.read_pixels(n, n)
        return image if self._supersample == 1 else _halve(image)


def _halve(image: np.ndarray) -> np.ndarray:
    """The image at half its size, as means of 2 x 2 pixels."""
    wide = image.astype(np.uint16)
    total = wide[0::2, 0::2] + wide[1::2, 0::2] + wide[0::2, 1::2] + wide[1::2, 1::2]
    return ((total + 2) >> 2).astype(np.uint8)


def controller_config() -> dict[str, Any]:
    """robosuite's default config of OSC_POSE, which LIBERO uses."""
    config: dict[str, Any] = robosuite.load_controller_config(default_controller="OSC_POSE")
    return config


def _problem(bddl_path: Path) -> tuple[str, str]:
    """The instruction and the name of the problem of a BDDL file."""
    try:
        info = get_problem_info(str(bddl_path))
        instruction, name = str(info["language_instruction"]), info["problem_name"]
    except Exception as error:  # nothing but the parsers of bddl and LIBERO, which raise almost anything
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"{bddl_path}: not a readable BDDL file: {reason}") from None
    if name not in TASK_MAPPING:
        raise ValueError(f"{bddl_path}: unknown problem {name!r}; have {sorted(TASK_MAPPING)}")
    return instruction, name


def _build(problem: Any, bddl_path: Path) -> Any:
    """A robosuite environment that uses soft resets (hard resets leak) and renders only on request."""
    settings = {
        "robots": ["Panda"],
        "controller_configs": controller_config(),
        "initialization_noise": None,
        "use_camera_obs": False,
        "has_offscreen_renderer": True,
        "hard_reset": False,
        "ignore_done": True,
        "control_freq": CONTROL_FREQ,
    }
    with egl.on_cuda_device():
        _check_backend()
        try:
            return _until_placed(lambda: problem(str(bddl_path), **settings), bddl_path)
        except KeyError as error:
            raise ValueError(f"{bddl_path}: LIBERO has no object, fixture or region {error}") from error


def _check_backend() -> None:
    """Make one of robosuite's GL contexts, which tells OpenGL's first error and not what follows from it.

    Raises: SimulationError if there is none, or if it is not of the backend that records name.
    """
    with gl.explained():
        context = GLContext(32, 32, -1)
    draws, chosen = type(context).__module__.rpartition(".")[2], gl.choose()
    if chosen in gl.REMEDIES and draws != f"{chosen}_context":
        raise SimulationError(f"OpenGL: expected robosuite to draw with {chosen}, got its {draws}")


def _reset(env: Any) -> None:
    """Move fixtures to the places in their MJCF, where LIBERO's region samplers expect them, and reset softly."""
    for fixture in env.fixtures:
        body, root = env.sim.model._model.body(fixture.root_body), fixture.get_obj()
        body.pos[:] = [float(number) for number in root.get("pos", "0 0 0").split()]
        body.quat[:] = [float(number) for number in root.get("quat", "1 0 0 0").split()]
    env.reset()


def _until_placed(act: Callable[[], Any], bddl_path: Path) -> Any:
    """The result of the first call of `act` that places all objects without overlap."""
    for _ in range(N_PLACEMENTS):
        with contextlib.suppress(RandomizationError):
            return act()
    raise RuntimeError(f"{bddl_path}: objects overlap in all {N_PLACEMENTS} sampled placements")
