"""Skills of LIBERO's suites, one a predicate, planned as they go: what a skill reads of the scene is what it finds."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from jaxtyping import Float64
from scipy.spatial.transform import Rotation

from t2s.sim.env import Env
from t2s.sim.expert import grasps
from t2s.sim.expert.grasps import Grasp
from t2s.sim.expert.waypoint import CLOSE, OPEN, UP, Waypoint, jitter, turned

MAX_STEPS = 600  # LIBERO's
TRIES = 2  # of a skill whose goal does not hold when it ends
GRASP_STEPS = 14  # in which the fingers close wholly
RELEASE_STEPS = 8  # in which the fingers open far enough to let go
FALL_STEPS = 10  # to wait at most for what was let go
ABOVE = 0.08  # [m] over a grasp before going down
CLEAR = 0.06  # [m] between what is carried and what it passes over
LIFT = 0.09  # [m] of a plate, which hangs from its rim
RELEASE = 0.01  # [m] an object falls when it is put on something
OPENED = 0.10  # [m] of a drawer that something fits into
PULL = 0.16  # [m] the handle moves; the drawer counts as open at 0.14
TILT = np.radians(75)  # of the hand that pulls a drawer, from the vertical
LAY = np.radians(45)  # of a bottle that is laid down, from the vertical
LAID = 0.03  # [m] of its bottom up the slope
TURN = np.radians(60)  # of a knob, which counts as turned at 0.5 rad

CARRIED = ("in", "on")
Skill = Callable[..., Iterator[Waypoint]]


def plan(env: Env, generator: np.random.Generator) -> Iterator[Waypoint]:
    """Waypoints for the goals of the task, each tried again where it failed: low objects first, what closes last.

    Raises: ValueError for a goal no skill is known for.
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
    """What a goal is sorted by: the hand must reach over what stands already."""
    return predicate == "close", float(np.ptp(env.corners(name)[:, 2])) if predicate in CARRIED else 0.0


def _wait(env: Env, predicate: str, *names: str) -> Iterator[Waypoint]:
    """Stay until the goal holds: what was let go may still be falling."""
    for _ in range(FALL_STEPS):
        if env.holds(predicate, *names):
            return
        yield Waypoint(env.grip_pose()[0], OPEN, 1.0)


def _cross(env: Env, name: str) -> Iterator[Waypoint]:
    """Over to the object, higher than everything that stands about."""
    grasp, here = grasps.find(env, name), env.grip_pose()[0]
    top = max(env.corners(solid)[:, 2].max() for solid in env.solids) + 0.05
    high = max(here[2], min(top, here[2] + 0.15))
    yield Waypoint(np.array([*here[:2], high]), OPEN, 0.03)
    yield Waypoint(np.array([*grasp.position[:2], high]), OPEN, 0.015, attitude=grasp.attitude, turn_tolerance=0.15)


def _put_in(env: Env, name: str, region: str, generator: np.random.Generator) -> Iterator[Waypoint]:
    """Drop the object into a container from above; a closed drawer is opened first."""
    out = np.zeros(3)
    if env.is_drawer(region):
        if env.joint(region).opened < OPENED:
            yield from _open(env, region, generator)
            yield from _cross(env, name)
        out = 0.025 * env.joint(region).axis  # it never opens wholly
    grasp = grasps.find(env, name)
    yield from _pick(env, grasp, generator)
    is_under = env.corners(name)[:, 2].max() < env.corners(region)[:, 2].min()
    if is_under and env.is_drawer(region):  # away from it first
        free = env.grip_pose()[0] + 0.03 * UP
        yield Waypoint(free, CLOSE, 0.015, attitude=grasp.attitude)
        yield Waypoint(free + 4 * out, CLOSE, 0.02, attitude=grasp.attitude)
    yield from _lift(env, name, grasp, env.corners(region)[:, 2].max() + CLEAR, generator)
    above = _over(env, name, env.position(region) + out)
    yield Waypoint(above, CLOSE, 0.02, attitude=grasp.attitude)
    if env.is_drawer(region):  # it leaves a centimetre
        above = _over(env, name, env.position(region) + out)
        yield Waypoint(above, CLOSE, 0.006, attitude=grasp.attitude, patience=20)
    yield from _let_go(above, grasp)


def _put_on(env: Env, name: str, place: str, generator: np.random.Generator) -> Iterator[Waypoint]:
    """Put the object down in the middle of a place; a plate is slid there."""
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
    """Tilt a bottle and lay it down on a slope, its bottom downhill."""
    slope, foot = env.uphill(place), env.position(place)
    across = np.cross(UP, slope) / np.linalg.norm(np.cross(UP, slope))
    normal = np.cross(slope, across)
    grasp = grasps.find(env, name)
    yield from _pick(env, grasp, generator)
    yield from _lift(env, name, grasp, foot[2] + CLEAR, generator)
    tilt = Rotation.from_rotvec(LAY * across)
    attitude = tilt * grasp.attitude
    hold = tilt.apply(env.grip_pose()[0] - env.position(name))  # from the bottom to the hand
    above = foot + LAID * slope + 0.09 * normal + hold
    high = np.array([*above[:2], max(above[2], env.grip_pose()[0][2])])
    yield Waypoint(high + jitter(generator), CLOSE, 0.03, attitude=grasp.attitude)
    yield Waypoint(above, CLOSE, 0.02, attitude=attitude, turn_tolerance=0.2)
    down = foot + LAID * slope + hold
    yield Waypoint(down, CLOSE, 0.012, speed=0.5, attitude=attitude, patience=30)
    yield Waypoint(down, OPEN, 1.0, 6, attitude=attitude)
    yield Waypoint(down + ABOVE * tilt.apply(UP), OPEN, 0.03, attitude=attitude)


def _open(env: Env, region: str, generator: np.random.Generator) -> Iterator[Waypoint]:
    """Take the handle with the hand tilted and pull the drawer."""
    out = env.joint(region).axis
    handle = _handle(env, region, out)
    yaw = (np.arctan2(out[1], out[0])) % np.pi - np.pi / 2
    attitude = Rotation.from_rotvec(TILT * np.cross(UP, out)) * turned(yaw)
    before = handle + 0.10 * out
    yield Waypoint(before + 0.08 * UP + jitter(generator), OPEN, 0.03, attitude=attitude, turn_tolerance=0.3)
    yield Waypoint(before, OPEN, 0.015, attitude=attitude, turn_tolerance=0.15)
    handle -= 0.008 * out  # the fingertips reach behind it
    yield Waypoint(handle, OPEN, 0.008, attitude=attitude, patience=30)
    yield from _close(env, handle, attitude)
    yield Waypoint(handle + PULL * out, CLOSE, 0.015, speed=0.4, attitude=attitude)
    yield Waypoint(handle + PULL * out, OPEN, 1.0, 4, attitude=attitude)
    yield Waypoint(handle + (PULL + 0.06) * out, OPEN, 0.03, attitude=attitude)
    yield Waypoint(handle + (PULL + 0.06) * out + 0.1 * UP, OPEN, 0.04)


def _close_drawer(env: Env, region: str, generator: np.random.Generator) -> Iterator[Waypoint]:
    """Push the drawer's handle with closed fingers, beyond where it ends."""
    if not env.is_region(region):
        raise ValueError(f"no skill to close '{region}', which is no drawer")
    joint = env.joint(region)
    handle = _handle(env, region, joint.axis)
    upright = turned(np.arctan2(joint.axis[1], joint.axis[0]) % np.pi)
    across = Rotation.from_rotvec(TILT * np.cross(UP, joint.axis)) * upright  # under the handles above
    before, after = handle + 0.06 * joint.axis, handle - (joint.opened - 0.005) * joint.axis
    yield Waypoint(before + 0.15 * UP + jitter(generator), CLOSE, 0.04, attitude=across, turn_tolerance=0.3)
    yield Waypoint(before, CLOSE, 0.015, attitude=across, patience=40)
    yield Waypoint(after, CLOSE, 0.01, straight=False, attitude=across, patience=60)
    yield Waypoint(after + 0.06 * joint.axis, CLOSE, 0.03, attitude=across)


def _handle(env: Env, region: str, out: np.ndarray) -> Float64[np.ndarray, "3"]:
    """Centre [m] of the box that is furthest out of a drawer."""
    boxes = env.corners(region).reshape(-1, 8, 3)
    middle: Float64[np.ndarray, "3"] = boxes[np.argmax((boxes @ out).max(axis=1))].mean(axis=0)
    return middle


def _turn_on(env: Env, name: str, generator: np.random.Generator) -> Iterator[Waypoint]:
    """Take the knob and turn the hand."""
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
    """Take the object by its rim and bring it to its place, over what lies between."""
    grasp = grasps.find(env, name)
    yield from _pick(env, grasp, generator)
    yield Waypoint(env.grip_pose()[0] + LIFT * UP, CLOSE, 0.01, attitude=grasp.attitude)
    for _ in range(3):  # it turns in the grasp: aim anew
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
    """Close the fingers until they no longer move."""
    width = np.inf
    for _ in range(GRASP_STEPS // 2):
        yield Waypoint(position, CLOSE, 1.0, 2, attitude=attitude)
        if width - env.opening() < 0.001:
            break
        width = env.opening()
    yield Waypoint(position, CLOSE, 1.0, 2, attitude=attitude)


def _lift(env: Env, name: str, grasp: Grasp, bottom: float, generator: np.random.Generator) -> Iterator[Waypoint]:
    """Straight up until the object's lowest point is at height `bottom` [m]."""
    rise = max(0.08, bottom - env.corners(name)[:, 2].min())
    goal = env.grip_pose()[0] + rise * UP
    yield Waypoint(goal + jitter(generator), CLOSE, 0.02, attitude=grasp.attitude)


def _let_go(position: Float64[np.ndarray, "3"], grasp: Grasp) -> Iterator[Waypoint]:
    yield Waypoint(position, OPEN, 1.0, RELEASE_STEPS, attitude=grasp.attitude)
    yield Waypoint(position + ABOVE * UP, OPEN, 0.03, attitude=grasp.attitude)


def _over(env: Env, name: str, place: Float64[np.ndarray, "3"]) -> Float64[np.ndarray, "3"]:
    """Where the grip site is when the object it holds is over `place`, at the present height."""
    grip, held = env.grip_pose()[0], env.position(name)
    return np.array([*(place - held + grip)[:2], grip[2]])


def _top(env: Env, place: str) -> float:
    """Height [m] of what is solid at the middle of a place."""
    middle = env.position(place)
    boxes = env.corners(place).reshape(-1, 8, 3)
    low, high = boxes.min(axis=1), boxes.max(axis=1)
    under = ((low < middle + 0.02) & (high > middle - 0.02))[:, :2].all(axis=1)
    return float(high[under, 2].max(initial=middle[2]))
