"""An environment and policies of a few lines, for what surrounds the real ones; all pickle."""

from __future__ import annotations

import hashlib
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from t2s.sim import rollout

Observation = dict[str, np.ndarray]


class WalkEnv:
    """A random walk: each episode succeeds, if at all, at a step that its seed decides."""

    def __init__(self) -> None:
        self.rng = np.random.default_rng(0)
        self.x = 0.0

    def reset(self, init_state: np.ndarray, seed: int, settle_steps: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.x = float(init_state[0])
        time.sleep(0.02 * self.rng.random())  # so that workers end in no particular order

    def advance(self, action: np.ndarray) -> bool:
        self.x += float(action[0]) + self.rng.normal()
        return self.x > 3.0

    def frame(self, size: int) -> np.ndarray:
        return np.full((size, size, 3), int(self.x) % 256, np.uint8)

    def close(self) -> None:
        pass

    def observe(self) -> Observation:
        return {"x": np.array([self.x])}


@dataclass
class HashPolicy:
    """Moves at random; its fingerprint is a hash of all that it has seen in the episode."""

    device: str = "cpu"
    fingerprint: str = ""
    rng: np.random.Generator = field(default_factory=np.random.default_rng)

    def reset(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.fingerprint = ""

    def act(self, observe: Callable[[], Observation]) -> np.ndarray:
        observation = observe()
        seen = b"".join(observation[key].tobytes() for key in sorted(observation))
        self.fingerprint = hashlib.sha256(self.fingerprint.encode() + seen).hexdigest()
        return self.rng.uniform(-1, 1, 7).astype(np.float32)


@dataclass(frozen=True)
class MakePolicy:
    """Policies by key: 'raise', 'refuse', 'die', 'hang' do so at their first action, 'dawdle' takes 0.25 s for each."""

    def __call__(self, key: str) -> HashPolicy:
        known = {"raise": Raises, "refuse": Refuses, "die": Dies, "hang": Hangs, "dawdle": Dawdles}
        return known.get(key, HashPolicy)()


@dataclass(frozen=True)
class InTurn:
    """Policy 'bad' is what `keys` says, one try after another; the files of the folder count the tries."""

    folder: Path
    keys: tuple[str, ...]

    def __call__(self, key: str) -> HashPolicy:
        if key != "bad":
            return HashPolicy()
        n_tries = len(list(self.folder.iterdir()))
        (self.folder / str(n_tries)).touch()
        return MakePolicy()(self.keys[n_tries])


class Refuses(HashPolicy):
    def act(self, observe: Callable[[], Observation]) -> np.ndarray:
        raise ValueError("expected 7 numbers, got 6")


class Raises(HashPolicy):
    def act(self, observe: Callable[[], Observation]) -> np.ndarray:
        raise ZeroDivisionError("the gripper is on fire")


class Dies(HashPolicy):
    def act(self, observe: Callable[[], Observation]) -> np.ndarray:
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError("unreachable")


class Hangs(HashPolicy):
    def act(self, observe: Callable[[], Observation]) -> np.ndarray:
        os.kill(os.getpid(), signal.SIGSTOP)
        raise AssertionError("unreachable")


class Dawdles(HashPolicy):
    def act(self, observe: Callable[[], Observation]) -> np.ndarray:
        time.sleep(0.25)
        return super().act(observe)


@dataclass(frozen=True)
class MakeCountedEnv:
    """A random walk that leaves a file for every one that is made."""

    folder: Path

    def __call__(self) -> WalkEnv:
        (self.folder / str(os.getpid())).touch(exist_ok=False)
        return WalkEnv()


def fail_to_make() -> WalkEnv:
    raise FileNotFoundError("no such scene")


@dataclass(frozen=True)
class MakeRealEnv:
    """The environment of a BDDL file."""

    bddl_path: Path
    image_size: int

    def __call__(self) -> rollout.Env:
        from t2s.sim.env import Env

        return Env(self.bddl_path, self.image_size)
