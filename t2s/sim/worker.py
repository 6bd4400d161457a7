"""Worker processes: each has one environment and simulates the episodes it is given, one after another."""

from __future__ import annotations

import contextlib
import multiprocessing
import signal
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64

from t2s.errors import SimulationError
from t2s.sim.rollout import Env, Episode, Outcome, Policy, play

SIGN_EVERY_S = 1.0
"""Interval [s] at which a worker sends a sign of life (None) during an episode. It also sends one after it made the
environment and after it made a policy, because either can take minutes on a busy machine."""


@dataclass(frozen=True)
class Setting:
    """What all episodes of a job share. It is sent to the workers, so every field must be picklable."""

    make_env: Callable[[], Env]
    make_policy: Callable[[str], Policy]
    init_states: Float64[np.ndarray, "n s"]
    max_steps: int
    settle_steps: int


class Crash(NamedTuple):
    """The error that ended a worker, sent in place of an outcome."""

    error: str
    is_final: bool
    """Whether another try would end the same way: the input is wrong, not the machine."""


class WorkerLost(Exception):
    """The worker process is no longer usable; the message says why. `is_final`: another try would end the same way."""

    def __init__(self, reason: str, is_final: bool = False) -> None:
        super().__init__(reason)
        self.is_final = is_final


class Worker:
    """The parent's view of a worker: its process, which `renew` replaces, and the episode it was given."""

    def __init__(self, setting: Setting) -> None:
        self.setting = setting
        self.episode: Episode | None = None
        self._start()

    def give(self, number: int, episode: Episode) -> None:
        """Send the worker `episode`, which has index `number` in the job."""
        self.number, self.episode = number, episode
        self.n_given += 1
        self.heard = time.monotonic()
        with contextlib.suppress(OSError):  # the worker is dead; `take` will report it
            self.connection.send(episode)

    def take(self) -> Outcome | None:
        """The worker's message: an outcome, or None as a sign of life.

        Raises: WorkerLost if the worker sent nothing, died or crashed.
        """
        if not self.connection.poll():
            raise WorkerLost(f"its worker hung: no sign of life for {self.silence():.0f} s")
        try:
            message: Outcome | Crash | None = self.connection.recv()
        except (EOFError, OSError):
            raise WorkerLost(f"its worker died ({self._end()})") from None
        if isinstance(message, Crash):
            raise WorkerLost(message.error, message.is_final)
        self.heard = time.monotonic()
        if message is not None:
            self.episode = None
        return message

    def silence(self) -> float:
        """Time [s] since the worker last sent something."""
        return time.monotonic() - self.heard

    def renew(self) -> None:
        """Replace the process with a new one, which makes a new environment."""
        self.stop()
        self._start()

    def stop(self) -> None:
        """Kill the process. SIGTERM would not end a stopped process until it continues."""
        self.process.kill()
        self.process.join()
        self.connection.close()

    def _start(self) -> None:
        # Not forked: a forked process would share the parent's OpenGL and CUDA contexts.
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(target=_work, args=(theirs, self.setting), daemon=True)
        process.start()
        theirs.close()  # so that the pipe closes when the worker dies
        self.connection, self.process = ours, process
        self.number, self.n_given, self.episode = -1, 0, None
        self.heard = time.monotonic()

    def _end(self) -> str:
        self.process.join()
        code = self.process.exitcode or 0
        return signal.Signals(-code).name if code < 0 else f"exit status {code}"


def _work(connection: Connection, setting: Setting) -> None:
    """Run in the worker process until the parent is gone or an exception is raised."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # on Ctrl-C the parent stops its workers
    try:
        for outcome in _outcomes(connection, setting):
            _send(connection, outcome)
    except Exception as error:
        if not isinstance(error, (ValueError, OSError, SimulationError)):  # their messages say enough
            traceback.print_exc()
        reason = traceback.format_exception_only(error)[-1].strip()
        _send(connection, Crash(reason, isinstance(error, ValueError)))


def _outcomes(connection: Connection, setting: Setting) -> Iterator[Outcome]:
    env = setting.make_env()
    _send(connection, None)
    key, policy = None, None
    for episode in _received(connection):
        if policy is None or episode.policy != key:  # keeps only one policy in memory
            key, policy = episode.policy, setting.make_policy(episode.policy)
            _send(connection, None)
        success, n_steps = play(
            env,
            policy,
            setting.init_states[episode.init_index],
            episode.seed,
            max_steps=setting.max_steps,
            settle_steps=setting.settle_steps,
            on_step=_signs(connection),
        )
        yield Outcome(success, n_steps, policy.fingerprint, str(policy.device))


def _received(connection: Connection) -> Iterator[Episode]:
    while True:
        try:
            yield connection.recv()
        except (EOFError, OSError):  # the parent is gone
            return


def _signs(connection: Connection) -> Callable[[], None]:
    """A callback for every step; it sends a sign of life every `SIGN_EVERY_S` seconds."""
    due = time.monotonic()

    def sign() -> None:
        nonlocal due
        if time.monotonic() >= due:
            _send(connection, None)
            due = time.monotonic() + SIGN_EVERY_S

    return sign


def _send(connection: Connection, message: Outcome | Crash | None) -> None:
    with contextlib.suppress(OSError):  # the parent is gone
        connection.send(message)
