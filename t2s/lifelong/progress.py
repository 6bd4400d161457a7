"""Progress within a task, kept after every epoch: a job that was killed goes on from there, to the same bytes."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from t2s.data.files import digest, sha256
from t2s.lifelong import checkpoint
from t2s.lifelong.averages import Averages
from t2s.lifelong.checkpoint import Checkpoint
from t2s.lifelong.learner import Learner

Rows = list[dict[str, Any]]
"""Losses, one row an epoch."""


def key(values: Sequence[Any], files: Mapping[str, Sequence[Path]], device: torch.device) -> dict[str, str]:
    """What learning a task depends on, as hashes by kind: with the same key it gives the same bytes.

    `values` are JSON; `files` is what is read, by kind; the code is added.
    """
    here = Path(__file__).parents[1]
    code = [
        here / "learn.py",
        *(p for name in ("data", "lifelong", "model") for p in sorted((here / name).glob("*.py"))),
    ]
    hashes = {kind: digest([sha256(path) for path in paths]) for kind, paths in {**files, "code": code}.items()}
    return hashes | {"params": digest(values), "torch or device": f"{torch.__version__} {device.type}"}


@dataclass(frozen=True)
class Run:
    """What changes while a task is learned, beside the rows of losses."""

    learner: Learner
    averages: Averages
    generator: torch.Generator


@dataclass(frozen=True)
class Progress:
    """A folder with the policies of the epochs that have passed, and the state after the last one.

    `key` says what learning depends on, as hashes by kind: a state of another key is not taken.
    """

    folder: Path
    key: Mapping[str, str]

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
        Checkpoint(tensors, learned.header | {"key": dict(self.key), "rows": rows}).write(self.path)

    def restore(self, run: Run, eval_epochs: Sequence[int]) -> Rows | None:
        """Takes up the state that was kept; None, and one line on stderr, where there is none of this key, whole."""
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
        found = state.header["key"]
        changed = [kind for kind in sorted(self.key | found) if self.key.get(kind) != found.get(kind)]
        if changed:
            raise ValueError(f"{self.path}: of other {', '.join(changed)}")
        for epoch in range(len(state.header["rows"]) + 1):
            if epoch in eval_epochs:
                checkpoint.read(self.policy(epoch))
        tensors = {name: tensor.clone() for name, tensor in state.tensors.items()}  # the file is mapped, not read
        return Checkpoint(tensors, state.header)
