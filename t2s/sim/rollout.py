"""Rollouts: spawned workers, one environment each, that take the next episode when theirs ends."""

from __future__ import annotations

import contextlib
import hashlib
import json
import multiprocessing
import signal
import sys
import traceback
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from multiprocessing.connection import Connection, wait
from typing import Any, NamedTuple, Protocol, TextIO, runtime_checkable

import numpy as np
from jaxtyping import Float, Float32, Float64
from tqdm import tqdm

from t2s.sim import gl

Observation = dict[str, np.ndarray]


@runtime_checkable
class Env(Protocol):
    """What a rollout asks of an environment."""

    def reset(self, init_state: Float64[np.ndarray, "s"], seed: int, settle_steps: int) -> Observation: ...

    def step(self, action: Float[np.ndarray, "7"]) -> tuple[Observation, bool]: ...


@runtime_checkable
class Policy(Protocol):
    """What a rollout asks of a policy; `fingerprint` covers the tensors that act on the task."""

    @property
    def fingerprint(self) -> str: ...

    @property
    def device(self) -> object: ...

    def reset(self, seed: int) -> None: ...

    def act(self, observation: Observation) -> Float32[np.ndarray, "7"]: ...


class RolloutError(RuntimeError):
    """An episode could not be simulated to its end: that is never a failed episode."""


@dataclass(frozen=True)
class Episode:
    """One rollout: of which policy (a key), from which initial state, with which seed."""

    policy: str
    init_index: int
    seed: int

    def __str__(self) -> str:
        return f"initial state {self.init_index} of policy '{self.policy}' (seed {self.seed})"


@dataclass(frozen=True)
class Setting:
    """What the episodes of a job share; it travels to the workers, so everything in it pickles."""

    make_env: Callable[[], Env]
    make_policy: Callable[[str], Policy]
    init_states: Float64[np.ndarray, "n s"]
    max_steps: int
    settle_steps: int


@dataclass(frozen=True)
class Outcome:
    """How an episode ended, and under which policy where."""

    success: bool
    n_steps: int
    fingerprint: str
    device: str


class Crash(NamedTuple):
    """What a worker sends instead of an outcome."""

    error: str


def episode_seed(suite: str, task: int, number: int, seed: int, policy: str) -> int:
    """The seed in [0, 2**32) of an episode: the same on every machine, for every method."""
    identity = json.dumps([suite, task, number, seed, policy])
    return int.from_bytes(hashlib.sha256(identity.encode()).digest()[:4], "big")


def versions(device: str) -> dict[str, str]:
    """What an outcome depends on beside policy and seed; found without importing any of it."""
    names = {"mujoco": "mujoco", "robosuite": "robosuite", "libero": "hf-libero", "torch": "torch"}
    found = {key: version(name) for key, name in names.items()}
    return found | {"gl": gl.choose(), "device": device}


def roll_out(episodes: Sequence[Episode], setting: Setting, n_workers: int) -> Generator[Outcome, None, None]:
    """One outcome an episode, in the order of `episodes`, however many workers simulate them.

    Raises: RolloutError when a worker crashes or dies; it names the episode.
    """
    if n_workers < 1:
        raise ValueError(f"expected at least 1 worker, got {n_workers}")
    workers = [Worker(setting) for _ in range(min(n_workers, len(episodes)))]
    try:
        finished = _simulate(workers, episodes)
        yield from _in_order(tqdm(finished, **_progress(len(episodes), sys.stderr)))
    finally:
        for worker in workers:
            worker.stop()


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
    observation = env.reset(init_state, seed=seed, settle_steps=settle_steps)
    policy.reset(seed)
    on_step()
    for step in range(1, max_steps + 1):
        observation, success = env.step(policy.act(observation))
        on_step()
        if success:
            return True, step
    return False, max_steps


class Worker:
    """A spawned process with one environment, and the episode it was given."""

    def __init__(self, setting: Setting) -> None:
        # Spawned: a forked process would share the parent's OpenGL and CUDA contexts.
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=_work, args=(theirs, setting), daemon=True)
        self.process.start()
        theirs.close()  # so that the worker's death is the end of the pipe
        self.number = -1
        self.episode: Episode | None = None

    def give(self, number: int, episode: Episode) -> None:
        """Let the worker simulate `episode`, the `number`-th of the job."""
        self.number, self.episode = number, episode
        try:
            self.connection.send(episode)
        except BrokenPipeError:
            raise self._died() from None

    def take(self) -> tuple[int, Outcome]:
        """Number and outcome of the episode that has ended."""
        try:
            outcome: Outcome | Crash = self.connection.recv()
        except (EOFError, ConnectionResetError):
            raise self._died() from None
        if isinstance(outcome, Crash):
            raise RolloutError(f"{self.episode}: {outcome.error}")
        self.episode = None
        return self.number, outcome

    def stop(self) -> None:
        """End the process, whatever it is doing."""
        self.process.terminate()
        self.process.join()
        self.connection.close()

    def _died(self) -> RolloutError:
        self.process.join()
        code = self.process.exitcode or 0
        how = signal.Signals(-code).name if code < 0 else f"exit status {code}"
        return RolloutError(f"{self.episode}: its worker died ({how})")


def _simulate(workers: Sequence[Worker], episodes: Sequence[Episode]) -> Iterator[tuple[int, Outcome]]:
    """Number and outcome of every episode, as they end."""
    due = deque(enumerate(episodes))
    for worker in workers:
        worker.give(*due.popleft())
    while busy := {worker.connection: worker for worker in workers if worker.episode}:
        for connection in wait(list(busy)):
            worker = busy[connection]  # type: ignore[index]  # wait() gives back what it got
            yield worker.take()
            if due:
                worker.give(*due.popleft())


def _in_order(numbered: Iterable[tuple[int, Outcome]]) -> Iterator[Outcome]:
    early: dict[int, Outcome] = {}
    n_given = 0
    for number, outcome in numbered:
        early[number] = outcome
        while n_given in early:
            yield early.pop(n_given)
            n_given += 1


def _work(connection: Connection, setting: Setting) -> None:
    """The life of a worker: until the parent is gone, or something raises."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends its workers
    try:
        for outcome in _outcomes(connection, setting):
            _send(connection, outcome)
    except Exception as error:
        traceback.print_exc()
        _send(connection, Crash(traceback.format_exception_only(error)[-1].strip()))


def _outcomes(connection: Connection, setting: Setting) -> Iterator[Outcome]:
    gl.choose()
    env = setting.make_env()
    key, policy = None, None
    for episode in _received(connection):
        if policy is None or episode.policy != key:  # only the latest is kept: memory
            key, policy = episode.policy, setting.make_policy(episode.policy)
        yield _outcome(env, policy, episode, setting)


def _received(connection: Connection) -> Iterator[Episode]:
    while True:
        try:
            yield connection.recv()
        except EOFError:  # the parent is gone
            return


def _send(connection: Connection, message: Outcome | Crash) -> None:
    with contextlib.suppress(BrokenPipeError):  # the parent is gone
        connection.send(message)


def _outcome(env: Env, policy: Policy, episode: Episode, setting: Setting) -> Outcome:
    success, n_steps = play(
        env,
        policy,
        setting.init_states[episode.init_index],
        episode.seed,
        max_steps=setting.max_steps,
        settle_steps=setting.settle_steps,
    )
    return Outcome(success, n_steps, policy.fingerprint, str(policy.device))


class _Lines:
    """A log file, in which each update is a line."""

    def __init__(self, file: TextIO) -> None:
        self.file = file

    def write(self, text: str) -> int:
        shown = text.strip("\r\n")
        return self.file.write(f"{shown}\n") if shown else 0

    def flush(self) -> None:
        self.file.flush()


def _progress(total: int, file: TextIO) -> dict[str, Any]:
    """How tqdm shows the episodes: a bar on a terminal, else a line every 10 s."""
    shown = {"total": total, "unit": "episode", "smoothing": 0.1}
    if file.isatty():
        return {**shown, "file": file}
    return {**shown, "file": _Lines(file), "mininterval": 10.0, "ncols": 80, "ascii": True}
