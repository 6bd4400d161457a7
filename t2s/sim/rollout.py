"""One episode: its policy and initial state, how it is played, and how it ended. t2s/sim/engine.py runs many."""

from __future__ import annotations

import hashlib
import json
import os
import platform
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Float32, Float64

from t2s import packages
from t2s.sim import gl

Observation = dict[str, np.ndarray]


@runtime_checkable
class Env(Protocol):
    """What a rollout needs from an environment."""

    def reset(self, init_state: Float64[np.ndarray, "s"], seed: int, settle_steps: int) -> None: ...

    def advance(self, action: Float[np.ndarray, "7"]) -> bool: ...

    def observe(self) -> Observation: ...


@runtime_checkable
class Policy(Protocol):
    """What a rollout needs from a policy. `fingerprint` covers the tensors that act on the task."""

    @property
    def fingerprint(self) -> str: ...

    @property
    def device(self) -> object: ...

    def reset(self, seed: int) -> None: ...

    def act(self, observe: Callable[[], Observation]) -> Float32[np.ndarray, "7"]: ...


@dataclass(frozen=True)
class Episode:
    """One rollout: the key of its policy, the index of its initial state, and its seed."""

    policy: str
    init_index: int
    seed: int

    def __str__(self) -> str:
        return f"episode from initial state {self.init_index} with policy '{self.policy}' (seed {self.seed})"


@dataclass(frozen=True)
class Outcome:
    """How an episode ended, the fingerprint of its policy, and the device the policy ran on."""

    success: bool
    n_steps: int
    fingerprint: str
    device: str


def episode_seed(suite: str, task: int, number: int, seed: int, policy: str) -> int:
    """The seed of an episode, in [0, 2**32): the same on every machine and for every method."""
    identity = json.dumps([suite, task, number, seed, policy])
    return int.from_bytes(hashlib.sha256(identity.encode()).digest()[:4], "big")


def versions(device: str) -> dict[str, str]:
    """What an outcome depends on besides policy and seed. Imports none of the packages it names.

    `gl` is the OpenGL backend with which every environment draws, or raises an error.
    """
    # The kernels that torch is held to (t2s/__init__.py).
    cpu = os.environ.get("ATEN_CPU_CAPABILITY") or platform.machine()
    found = {name: packages.version(name) for name in ("mujoco", "robosuite", "libero", "torch")}
    return found | {"gl": gl.choose(), "device": device, "cpu": cpu.upper()}


def play(
    env: Env,
    policy: Policy,
    init_state: Float64[np.ndarray, "s"],
    seed: int,
    *,
    max_steps: int,
    settle_steps: int,
    on_step: Callable[[], None] = lambda: None,
) -> tuple[bool, int]:
    """Success, and the number of steps taken. `on_step` is called after the reset and after every step."""
    env.reset(init_state, seed=seed, settle_steps=settle_steps)
    policy.reset(seed)
    on_step()
    for step in range(1, max_steps + 1):
        success = env.advance(policy.act(env.observe))
        on_step()
        if success:
            return True, step
    return False, max_steps
