"""Skills for LIBERO's suites, one per predicate. A skill plans while it runs, so it reads the scene as it then is."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from jaxtyping import Float64
from scipy.spatial.transform import Rotation

from t2s.sim.env import Env
from t2s.sim.expert import grasps
from t2s.sim.expert.grasps import Grasp
from t2s.sim.expert.waypoint import CLOSE, OPEN, UP, Waypoint, jitter, turned

MAX_STEPS = 600  # as in LIBERO
TRIES = 2  # attempts per goal, if it does not hold when the skill ends
GRASP_STEPS = 14  # steps to close the fingers completely
RELEASE_STEPS = 8  # steps to open the fingers far enough for a release
FALL_STEPS = 10  # most steps to wait for a released object
ABOVE = 0.08  # [m] above a grasp, before going down
CLEAR = 0.06  # [m] between a carried object and what it passes over
LIFT = 0.09  # [m] to lift a plate, which hangs from its rim
RELEASE = 0.01  # [m] drop height of an object that is put on something
OPENED = 0.10  # [m] opening of a drawer that an object fits into
PULL = 0.16  # [m] travel of the handle; the drawer counts as open at 0.14
TILT = np.radians(75)  # tilt from the vertical of the hand that pulls or pushes a drawer
LAY = np.radians(45)  # tilt from the vertical of a bottle that is laid down
LAID = 0.03  # [m] up the slope from the place's position to the bottle's bottom
TURN = np.radians(60)  # rotation of a knob, which counts as turned on at 0.5 rad

CARRIED = ("in", "on")
Skill = Callable[..., Iterator[Waypoint]]


def plan(env: Env, generator: np.random.Generator) -> Iterator[Waypoint]:
    """Waypoints for the goals of the task: low objects first, closing last. Each goal that fails is tried again.

    Raises: ValueError if no skill exists for a goal.
    """
    skills: dict[str, Skill] = {"in": _put_in, "on": _put_on, "open": _open, "close": _close_drawer, "turnon": _turn_on}
    goals = sorted(env.goal, key=lambda goal: _order(env, *goal))
    for number, (predicate, *names) in enumerate(goals):
        if predicate not in skills:
            raise ValueError(f"no skill for '{predicate}'; have {sorted(skills)}")
        for attempt in range(TRIES):
            if number + attempt > 0 and predicate in CARRIED:
                yield from _cross(env, names[0])
            yield from skills[predicate](env, *names, generator)
            yield from _wait(env, predicate, *names)
            if env.holds(predicate, *names):
                break


def _order(env: Env, predicate: str, name: str, *_: str) -> tuple[bool, float]:
    """Sort key of a goal. Low objects come first, because the hand must reach over those that already stand."""
    return predicate == "close", float(np.ptp(env.corners(name)[:, 2])) if predicate in CARRIED else 0.0


def _wait(env: Env, predicate: str, *names: str) -> Iterator[Waypoint]:
    """Stay until the goal holds, because a released object may still be falling."""
    for _ in range(FALL_STEPS):
        if env.holds(predicate, *names):
            return
        yield Waypoint(env.grip_pose()[0], OPEN, 1.0)


def _cross(env: Env, name: str) -> Iterator[Waypoint]:
    """Rise above everything solid, by at most 15 cm, and move over to the object."""
    grasp, here = grasps.find(env, name), env.grip_pose()[0]
    top = max(env.corners(solid)[:, 2].max() for solid in env.solids) + 0.05
    high = max(here[2], min(top, here[2] + 0.15))
    yield Waypoint(np.array([*here[:2], high]), OPEN, 0.03)
    yield Waypoint(np.array([*grasp.position[:2], high]), OPEN, 0.015, attitude=grasp.attitude, turn_tolerance=0.15)


def _put_in(env: Env, name: str, region: str, generator: np.random.Generator) -> Iterator[Waypoint]:
    """Drop the object into a container from above; first open the container if it is a closed drawer."""
    out = np.zeros(3)
    if env.is_drawer(region):
        if env.joint(region).opened < OPENED:
            yield from _open(env, region, generator)
            yield from _cross(env, name)
        out = 0.025 * env.joint(region).axis  # aim further out, as a drawer never opens completely
    grasp = grasps.find(env, name)
    yield from _pick(env, grasp, generator)
    is_under = env.corners(name)[:, 2].max() < env.corners(region)[:, 2].min()
    if is_under and env.is_drawer(region):  # first move away from the drawer
        free = env.grip_pose()[0] + 0.03 * UP
        yield Waypoint(free, CLOSE, 0.015, attitude=grasp.attitude)
        yield Waypoint(free + 4 * out, CLOSE, 0.02, attitude=grasp.attitude)
    yield from _lift(env, name, grasp, env.corners(region)[:, 2].max() + CLEAR, generator)
    above = _over(env, name, env.position(region) + out)
    yield Waypoint(above, CLOSE, 0.02, attitude=grasp.attitude)
    if env.is_drawer(region):  # be precise, as a drawer leaves only a centimetre of room
        above = _over(env, name, env.position(region) + out)
        yield Waypoint(above, CLOSE, 0.006, attitude=grasp.attitude, patience=20)
    yield from _let_go(above, grasp)


def _put_on(env: Env, name: str, place: str, generator: np.random.Generator) -> Iterator[Waypoint]:
    """Put the object down in the middle of a place; slide a plate there, and lay a bottle on a slope."""
    if name.startswith("plate"):
        yield from _slide(env, name, place, generator)
        return
    if env.uphill(place)[2] < np.cos(np.radians(10)):
        yield from _lay(env, name, place, generator)
        return
    grasp = grasps.find(env, name)
    yield from _pick(env, grasp, generator)
    top = _top(env, place)
    yield from _lift(env, name, grasp, top + CLEAR, generator)
    above = _over(env, name, env.position(place))
    yield Waypoint(above + jitter(generator) * [1, 1, 0], CLOSE, 0.02, attitude=grasp.attitude)
    above = _over(env, name, env.position(place))
    down = above + (top + RELEASE - env.corners(name)[:, 2].min()) * UP
    yield Waypoint(down, CLOSE, 0.01, attitude=grasp.attitude, patience=30)
    yield from _let_go(down, grasp)


def _lay(env: Env, name: str, place: str, generator: np.random.Generator) -> Iterator[Waypoint]:
    """Tilt a bottle and lay it down on a slope with its bottom downhill."""
    slope, foot = env.uphill(place), env.position(place)
    across = np.cross(UP, slope) / np.linalg.norm(np.cross(UP, slope))
    normal = np.cross(slope, across)
    grasp = grasps.find(env, name)
    yield from _pick(env, grasp, generator)
    yield from _lift(env, name, grasp, foot[2] + CLEAR, generator)
    tilt = Rotation.from_rotvec(LAY * across)
    attitude = tilt * grasp.attitude
    hold = tilt.apply(env.grip_pose()[0] - env.position(name))  # from the bottle's bottom to the hand
    above = foot + LAID * slope + 0.09 * normal + hold
    high = np.array([*above[:2], max(above[2], env.grip_pose()[0][2])])
    yield Waypoint(high + jitter(generator), CLOSE, 0.03, attitude=grasp.attitude)
    yield Waypoint(above, CLOSE, 0.02, attitude=attitude, turn_tolerance=0.2)
    down = foot + LAID * slope + hold
    yield Waypoint(down, CLOSE, 0.012, speed=0.5, attitude=attitude, patience=30)
    yield Waypoint(down, OPEN, 1.0, 6, attitude=attitude)
    yield Waypoint(down + ABOVE * tilt.apply(UP), OPEN, 0.03, attitude=attitude)


def _open(env: Env, region: str, generator: np.random.Generator) -> Iterator[Waypoint]:
    """Tilt the hand, grasp the handle and pull the drawer open."""
    out = env.joint(region).axis
    handle = _handle(env, region, out)
    yaw = (np.arctan2(out[1], out[0])) % np.pi - np.pi / 2
    attitude = Rotation.from_rotvec(TILT * np.cross(UP, out)) * turned(yaw)
    before = handle + 0.10 * out
    yield Waypoint(before + 0.08 * UP + jitter(generator), OPEN, 0.03, attitude=attitude, turn_tolerance=0.3)
    yield Waypoint(before, OPEN, 0.015, attitude=attitude, turn_tolerance=0.15)
    handle -= 0.008 * out  # the fingertips reach behind the handle
    yield Waypoint(handle, OPEN, 0.008, attitude=attitude, patience=30)
    yield from _close(env, handle, attitude)
    yield Waypoint(handle + PULL * out, CLOSE, 0.015, speed=0.4, attitude=attitude)
    yield Waypoint(handle + PULL * out, OPEN, 1.0, 4, attitude=attitude)
    yield Waypoint(handle + (PULL + 0.06) * out, OPEN, 0.03, attitude=attitude)
    yield Waypoint(handle + (PULL + 0.06) * out + 0.1 * UP, OPEN, 0.04)


def _close_drawer(env: Env, region: str, generator: np.random.Generator) -> Iterator[Waypoint]:
    """Push the drawer's handle with closed fingers, towards a point beyond where it stops."""
    if not env.is_region(region):
        raise ValueError(f"expected a drawer to close, got '{region}'")
    joint = env.joint(region)
    handle = _handle(env, region, joint.axis)
    upright = turned(np.arctan2(joint.axis[1], joint.axis[0]) % np.pi)
    across = Rotation.from_rotvec(TILT * np.cross(UP, joint.axis)) * upright  # to fit under the handles above
    before, after = handle + 0.06 * joint.axis, handle - (joint.opened - 0.005) * joint.axis
    yield Waypoint(before + 0.15 * UP + jitter(generator), CLOSE, 0.04, attitude=across, turn_tolerance=0.3)
    yield Waypoint(before, CLOSE, 0.015, attitude=across, patience=40)
    yield Waypoint(after, CLOSE, 0.01, straight=False, attitude=across, patience=60)
    yield Waypoint(after + 0.06 * joint.axis, CLOSE, 0.03, attitude=across)


def _handle(env: Env, region: str, out: np.ndarray) -> Float64[np.ndarray, "3"]:
    """Centre [m] of the outermost box of a drawer, which is its handle."""
    boxes = env.corners(region).reshape(-1, 8, 3)
    middle: Float64[np.ndarray, "3"] = boxes[np.argmax((boxes @ out).max(axis=1))].mean(axis=0)
    return middle


def _turn_on(env: Env, name: str, generator: np.random.Generator) -> Iterator[Waypoint]:
    """Grasp the knob and turn the hand."""
    knob = env.joint(name).anchor + 0.035 * UP
    across = turned(-np.pi / 2)  # the ridge of the knob lies along y
    yield Waypoint(knob + ABOVE * UP + jitter(generator), OPEN, 0.02, attitude=across, turn_tolerance=0.15)
    yield Waypoint(knob, OPEN, 0.01, attitude=across, turn_tolerance=0.1, patience=30)
    yield from _close(env, knob, across)
    for part in (1, 2, 3):
        attitude = turned(part * TURN / 3 - np.pi / 2)
        yield Waypoint(knob, CLOSE, 1.0, 5, attitude=attitude, turn_tolerance=0.1, patience=25)
    yield Waypoint(knob, OPEN, 1.0, 4, attitude=attitude)
    yield Waypoint(knob + ABOVE * UP, OPEN, 0.03, attitude=attitude)


def _slide(env: Env, name: str, place: str, generator: np.random.Generator) -> Iterator[Waypoint]:
    """Grasp the object by its rim and carry it to its place, over what lies between."""
    grasp = grasps.find(env, name)
    yield from _pick(env, grasp, generator)
    yield Waypoint(env.grip_pose()[0] + LIFT * UP, CLOSE, 0.01, attitude=grasp.attitude)
    for _ in range(3):  # the object turns in the grasp, so aim again
        goal = _over(env, name, env.position(place))
        yield Waypoint(goal, CLOSE, 0.015, speed=0.7, attitude=grasp.attitude, patience=40)
    down = goal - LIFT * UP
    yield Waypoint(down, CLOSE, 0.01, attitude=grasp.attitude, patience=15)
    yield from _let_go(down, grasp)


def _pick(env: Env, grasp: Grasp, generator: np.random.Generator) -> Iterator[Waypoint]:
    above = grasp.position + ABOVE * UP
    yield Waypoint(above + jitter(generator), OPEN, 0.02, attitude=grasp.attitude, turn_tolerance=0.15)
    yield Waypoint(grasp.position, OPEN, 0.007, attitude=grasp.attitude, turn_tolerance=0.15)
    yield from _close(env, grasp.position, grasp.attitude)


def _close(env: Env, position: Float64[np.ndarray, "3"], attitude: Rotation) -> Iterator[Waypoint]:
    """Close the fingers until they stop moving."""
    width = np.inf
    for _ in range(GRASP_STEPS // 2):
        yield Waypoint(position, CLOSE, 1.0, 2, attitude=attitude)
        if width - env.opening() < 0.001:
            break
        width = env.opening()
    yield Waypoint(position, CLOSE, 1.0, 2, attitude=attitude)


def _lift(env: Env, name: str, grasp: Grasp, bottom: float, generator: np.random.Generator) -> Iterator[Waypoint]:
    """Lift the object straight up until its lowest point is at least at height `bottom` [m]."""
    rise = max(0.08, bottom - env.corners(name)[:, 2].min())
    goal = env.grip_pose()[0] + rise * UP
    yield Waypoint(goal + jitter(generator), CLOSE, 0.02, attitude=grasp.attitude)


def _let_go(position: Float64[np.ndarray, "3"], grasp: Grasp) -> Iterator[Waypoint]:
    yield Waypoint(position, OPEN, 1.0, RELEASE_STEPS, attitude=grasp.attitude)
    yield Waypoint(position + ABOVE * UP, OPEN, 0.03, attitude=grasp.attitude)


def _over(env: Env, name: str, place: Float64[np.ndarray, "3"]) -> Float64[np.ndarray, "3"]:
    """The position [m] of the grip site, at its present height, that holds the object over `place`."""
    grip, held = env.grip_pose()[0], env.position(name)
    return np.array([*(place - held + grip)[:2], grip[2]])


def _top(env: Env, place: str) -> float:
    """Height [m] of the top of the solid geoms at the middle of a place."""
    middle = env.position(place)
    boxes = env.corners(place).reshape(-1, 8, 3)
    low, high = boxes.min(axis=1), boxes.max(axis=1)
    under = ((low < middle + 0.02) & (high > middle - 0.02))[:, :2].all(axis=1)
    return float(high[under, 2].max(initial=middle[2]))
