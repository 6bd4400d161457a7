"""One episode: whose it is, how it is played, how it ended. t2s/sim/engine.py simulates many."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Float32, Float64

from t2s.sim import gl

Observation = dict[str, np.ndarray]


@runtime_checkable
class Env(Protocol):
    """What a rollout asks of an environment."""

    def reset(self, init_state: Float64[np.ndarray, "s"], seed: int, settle_steps: int) -> None: ...

    def advance(self, action: Float[np.ndarray, "7"]) -> bool: ...

    def observe(self) -> Observation: ...


@runtime_checkable
class Policy(Protocol):
    """What a rollout asks of a policy; `fingerprint` covers the tensors that act on the task."""

    @property
    def fingerprint(self) -> str: ...

    @property
    def device(self) -> object: ...

    def reset(self, seed: int) -> None: ...

    def act(self, observe: Callable[[], Observation]) -> Float32[np.ndarray, "7"]: ...


@dataclass(frozen=True)
class Episode:
    """One rollout: of which policy (a key), from which initial state, with which seed."""

    policy: str
    init_index: int
    seed: int

    def __str__(self) -> str:
        return f"initial state {self.init_index} of policy '{self.policy}' (seed {self.seed})"


@dataclass(frozen=True)
class Outcome:
    """How an episode ended, and under which policy where."""

    success: bool
    n_steps: int
    fingerprint: str
    device: str


def episode_seed(suite: str, task: int, number: int, seed: int, policy: str) -> int:
    """The seed in [0, 2**32) of an episode: the same on every machine, for every method."""
    identity = json.dumps([suite, task, number, seed, policy])
    return int.from_bytes(hashlib.sha256(identity.encode()).digest()[:4], "big")


def versions(device: str) -> dict[str, str]:
    """What an outcome depends on beside policy and seed; found without importing any of it."""
    names = {"mujoco": "mujoco", "robosuite": "robosuite", "libero": "hf-libero", "torch": "torch"}
    found = {key: version(name) for key, name in names.items()}
    return found | {"gl": gl.choose(), "device": device}


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
    """Success, and the steps taken; `on_step` is called at the start and after every step."""
    env.reset(init_state, seed=seed, settle_steps=settle_steps)
    policy.reset(seed)
    on_step()
    for step in range(1, max_steps + 1):
        success = env.advance(policy.act(env.observe))
        on_step()
        if success:
            return True, step
    return False, max_steps
