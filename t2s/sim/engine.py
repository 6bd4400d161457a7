"""Rollouts in parallel workers. A worker takes episode after episode; it is replaced when it fails or ages."""

from __future__ import annotations

import sys
from collections import defaultdict, deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from multiprocessing.connection import wait
from typing import Any, TextIO

from tqdm import tqdm

from t2s import params
from t2s.errors import SimulationError
from t2s.sim import quiet
from t2s.sim.rollout import Episode, Outcome
from t2s.sim.worker import Setting, Worker, WorkerLost


class RolloutError(SimulationError):
    """An episode could not be simulated to its end. This never counts as a failure of the policy."""


def roll_out(
    episodes: Sequence[Episode], setting: Setting, n_workers: int, limits: params.Engine
) -> Generator[Outcome, None, None]:
    """One outcome per episode, in the order of `episodes`. Neither the number nor the failure of workers changes them.

    Raises: RolloutError with the episode and its first error, if the episode fails 1 + `limits.retries` times.
    """
    if n_workers < 1:
        raise ValueError(f"expected at least 1 worker, got {n_workers}")
    quiet.prepare()  # here, so that an error comes once and not from every worker
    workers: list[Worker] = []
    try:
        for _ in range(min(n_workers, len(episodes))):
            workers.append(Worker(setting))
        finished = _Job(episodes, workers, limits).finished()
        yield from _in_order(tqdm(finished, **_progress(len(episodes), sys.stderr)))
    finally:
        for worker in workers:
            worker.stop()


class _Job:
    """The episodes still to run, and the errors of each so far."""

    def __init__(self, episodes: Sequence[Episode], workers: Sequence[Worker], limits: params.Engine) -> None:
        self.due = deque(enumerate(episodes))
        self.workers, self.limits = workers, limits
        self.errors: dict[int, list[str]] = defaultdict(list)

    def finished(self) -> Iterator[tuple[int, Outcome]]:
        """Index and outcome of every episode, in the order in which they end."""
        for worker in self.workers:
            self._give(worker)
        while busy := [worker for worker in self.workers if worker.episode]:
            for worker in self._heard(busy):
                number = worker.number
                try:
                    outcome = worker.take()
                except WorkerLost as lost:
                    self._try_again(worker, lost)
                else:
                    if outcome is not None:
                        self._give(worker)
                        yield number, outcome

    def _heard(self, busy: Sequence[Worker]) -> list[Worker]:
        """The workers that sent something, or have been silent for too long."""
        patience = min(self.limits.hang_s - worker.silence() for worker in busy)
        ready = wait([worker.connection for worker in busy], max(0.0, patience))
        return [w for w in busy if w.connection in ready or w.silence() >= self.limits.hang_s]

    def _give(self, worker: Worker) -> None:
        """Give the worker the next episode; renew the worker first if it has simulated `recycle_after` episodes."""
        if self.due:
            if worker.n_given >= self.limits.recycle_after:
                worker.renew()
            worker.give(*self.due.popleft())

    def _try_again(self, worker: Worker, lost: WorkerLost) -> None:
        number, episode = worker.number, worker.episode
        assert episode is not None
        errors, error = self.errors[number], str(lost)
        errors.append(error)
        if lost.is_final or len(errors) > self.limits.retries:
            raise RolloutError(f"{episode}: {errors[0]} (tries: {len(errors)})")
        tqdm.write(f"{episode}: {error}; retry {len(errors)} of {self.limits.retries}", file=sys.stderr)
        worker.renew()
        worker.give(number, episode)


def _in_order(numbered: Iterable[tuple[int, Outcome]]) -> Iterator[Outcome]:
    early: dict[int, Outcome] = {}
    n_given = 0
    for number, outcome in numbered:
        early[number] = outcome
        while n_given in early:
            yield early.pop(n_given)
            n_given += 1


class _Lines:
    """Writes every progress update to a log file as one line."""

    def __init__(self, file: TextIO) -> None:
        self.file = file

    def write(self, text: str) -> int:
        shown = text.strip("\r\n")
        return self.file.write(f"{shown}\n") if shown else 0

    def flush(self) -> None:
        self.file.flush()


def _progress(total: int, file: TextIO) -> dict[str, Any]:
    """Arguments of tqdm: a bar on a terminal, else one line every 10 s."""
    shown = {"total": total, "unit": "episode", "smoothing": 0.1}
    if file.isatty():
        return {**shown, "file": file}
    return {**shown, "file": _Lines(file), "mininterval": 10.0, "ncols": 80, "ascii": True}
