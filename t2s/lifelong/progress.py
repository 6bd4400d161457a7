"""Progress within a task, saved after every epoch.

A killed job continues from there and ends with the same bytes as an uninterrupted one.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from t2s.lifelong import checkpoint
from t2s.lifelong.averages import Averages
from t2s.lifelong.checkpoint import Checkpoint
from t2s.lifelong.learner import Learner

Rows = list[dict[str, Any]]
"""Losses, one row per epoch."""


@dataclass(frozen=True)
class Run:
    """Everything that changes while a task is learned, except the rows of losses."""

    learner: Learner
    averages: Averages
    generator: torch.Generator


@dataclass(frozen=True)
class Progress:
    """A folder with the policies of the finished epochs and the state after the last of them.

    The name of the folder depends on parameters, input files and code (t2s.data.cache.key), so runs that differ in
    these use different folders. `title` labels the progress bar.
    """

    folder: Path
    title: str

    @property
    def path(self) -> Path:
        return self.folder / "state.safetensors"

    @property
    def diverged(self) -> Path:
        """What says that the learning diverged, so that it is not tried again."""
        return self.folder / "diverged.txt"

    def policy(self, epoch: int) -> Path:
        return self.folder / f"epoch{epoch}.safetensors"

    def write(self, run: Run, rows: Rows, eval_epochs: Sequence[int]) -> None:
        """Saves the state after the epoch of the last row, and its policy if that is an evaluation epoch.

        Both files are written atomically.
        """
        epoch = len(rows)
        if epoch in eval_epochs:
            with run.averages.applied():
                run.learner.checkpoint().write(self.policy(epoch))
        learned = run.learner.state()
        averages = {f"average/{i}": mean for i, mean in enumerate(run.averages.means)}
        tensors = learned.tensors | averages | {"generator": run.generator.get_state()}
        Checkpoint(tensors, learned.header | {"rows": rows}).write(self.path)

    def restore(self, run: Run, eval_epochs: Sequence[int]) -> Rows | None:
        """Restores the saved state into `run` and returns its rows; None if there is no state or it is damaged.

        Prints whether it continues or starts over. Deletes a damaged state and its policies.
        """
        if not self.path.is_file():
            return None
        try:
            state = self._read(eval_epochs)
        except ValueError as error:
            print(f"resume: starting over: {error}", file=sys.stderr)
            self.forget()  # do not mix old files with new ones
            return None
        rows: Rows = state.header["rows"]
        run.learner.load_state(state)
        for i, mean in state.part("average").items():
            run.averages.means[int(i)].copy_(mean)
        run.averages.n_steps = rows[-1]["step"] if rows else 0
        run.generator.set_state(state.tensors["generator"])
        print(f"resume: continuing after epoch {len(rows)} of {max(eval_epochs)}: {self.path}", file=sys.stderr)
        return rows

    def forget(self) -> None:
        """Deletes the state and the policies."""
        for path in [self.path, *self.folder.glob("epoch*.safetensors")]:
            path.unlink(missing_ok=True)

    def _read(self, eval_epochs: Sequence[int]) -> Checkpoint:
        state = checkpoint.read(self.path)
        for epoch in range(len(state.header["rows"]) + 1):
            if epoch in eval_epochs:
                checkpoint.read(self.policy(epoch))
        tensors = {name: tensor.clone() for name, tensor in state.tensors.items()}  # else memory-mapped
        return Checkpoint(tensors, state.header)
