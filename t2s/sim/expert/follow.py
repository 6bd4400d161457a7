"""One attempt at a task: follow the waypoints of its skills, with noise, until its goal holds."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Float64

from t2s.sim.env import Env
from t2s.sim.expert import blocks, libero
from t2s.sim.expert.waypoint import Waypoint, is_far, towards

SETTLE_STEPS = 5
STEPS_AFTER = 4  # steps after success, so that demonstrations include the release
NOISE = np.array([0.2, 0.2, 0.15, 0.02, 0.02, 0.02, 0.0])  # std; added to the executed, not the recorded action
NOISE_MEMORY = 0.7  # correlation between successive steps, so that the gripper drifts by centimetres


Plan = Callable[[Env, np.random.Generator], Iterable[Waypoint]]


@dataclass(frozen=True)
class Demo:
    """A successful attempt: for each step, the state before the action and the action without noise."""

    states: Float64[np.ndarray, "t s"]
    actions: Float32[np.ndarray, "t 7"]
    seed: int
    """Seed of the reset before the attempt. It places LIBERO's fixtures, which are not part of the states."""


def demonstrate(env: Env, seed: int, init_state: Float64[np.ndarray, "s"] | None = None) -> Demo | None:
    """One attempt from `init_state`; None if it fails.

    If `init_state` is None, `seed` draws one from the task's regions.
    """
    env.sample(seed)
    if init_state is not None:
        env.set_state(init_state)
    env.settle(SETTLE_STEPS)
    states, actions, n_after = [], [], 0
    suite = blocks if env.is_blocks else libero
    for action, executed, is_last in _act(env, suite.plan, np.random.default_rng(seed)):
        states.append(env.state())
        actions.append(action)
        success = env.advance(executed)
        n_after = n_after + 1 if success and is_last else 0
        if n_after > STEPS_AFTER:
            return Demo(np.stack(states), np.stack(actions).astype(np.float32), seed)
        if len(states) >= suite.MAX_STEPS:
            break
    return None


def _act(env: Env, plan: Plan, generator: np.random.Generator) -> Iterator[tuple[np.ndarray, np.ndarray, bool]]:
    """Yields the action, the noisy action to execute, and whether this is the last waypoint, which never ends."""
    noise = np.zeros(7)
    for waypoint, is_last in _with_last(plan(env, generator)):
        n_steps = 0
        while is_last or n_steps < waypoint.n_steps or (n_steps < waypoint.patience and is_far(env, waypoint)):
            action = towards(env, waypoint)
            fresh = np.sqrt(1 - NOISE_MEMORY**2) * NOISE * generator.standard_normal(7)
            noise = NOISE_MEMORY * noise + fresh
            yield action, np.clip(action + noise, -1.0, 1.0), is_last
            n_steps += 1


def _with_last(waypoints: Iterable[Waypoint]) -> Iterator[tuple[Waypoint, bool]]:
    """Yields every waypoint with False, then the last one again with True."""
    waypoint = None
    for waypoint in waypoints:
        yield waypoint, False
    if waypoint is not None:
        yield waypoint, True
