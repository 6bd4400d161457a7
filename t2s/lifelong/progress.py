"""Progress within a task, kept after every epoch: a job that was killed goes on from there, to the same bytes."""

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
"""Losses, one row an epoch."""


@dataclass(frozen=True)
class Run:
    """What changes while a task is learned, beside the rows of losses."""

    learner: Learner
    averages: Averages
    generator: torch.Generator


@dataclass(frozen=True)
class Progress:
    """A folder with the policies of the epochs that have passed, and the state after the last one.

    Whoever learns with other values, files or code takes another folder (t2s.data.cache.key). `title` is for people.
    """

    folder: Path
    title: str

    @property
    def path(self) -> Path:
        return self.folder / "state.safetensors"

    def policy(self, epoch: int) -> Path:
        return self.folder / f"epoch{epoch}.safetensors"

    def write(self, run: Run, rows: Rows, eval_epochs: Sequence[int]) -> None:
        """Keeps the state after the last row's epoch, and its policy where one is due; both appear whole."""
        epoch = len(rows)
        if epoch in eval_epochs:
            with run.averages.applied():
                run.learner.checkpoint().write(self.policy(epoch))
        learned = run.learner.state()
        averages = {f"average/{i}": mean for i, mean in enumerate(run.averages.means)}
        tensors = learned.tensors | averages | {"generator": run.generator.get_state()}
        Checkpoint(tensors, learned.header | {"rows": rows}).write(self.path)

    def restore(self, run: Run, eval_epochs: Sequence[int]) -> Rows | None:
        """Takes up the state that was kept; None, and a line on stderr, where there is none that is whole."""
        if not self.path.is_file():
            return None
        try:
            state = self._read(eval_epochs)
        except ValueError as error:
            print(f"resume: learned from the start: {error}", file=sys.stderr)
            for path in [self.path, *self.folder.glob("epoch*.safetensors")]:  # none of it may meet what comes now
                path.unlink()
            return None
        rows: Rows = state.header["rows"]
        run.learner.load_state(state)
        for i, mean in state.part("average").items():
            run.averages.means[int(i)].copy_(mean)
        run.averages.n_steps = rows[-1]["step"] if rows else 0
        run.generator.set_state(state.tensors["generator"])
        print(f"resume: goes on after epoch {len(rows)} of {max(eval_epochs)}: {self.path}", file=sys.stderr)
        return rows

    def _read(self, eval_epochs: Sequence[int]) -> Checkpoint:
        state = checkpoint.read(self.path)
        for epoch in range(len(state.header["rows"]) + 1):
            if epoch in eval_epochs:
                checkpoint.read(self.policy(epoch))
        tensors = {name: tensor.clone() for name, tensor in state.tensors.items()}  # the file is mapped, not read
        return Checkpoint(tensors, state.header)
