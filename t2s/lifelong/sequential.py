"""sequential: one ordinary network, fine-tuned on one task after another without any protection against forgetting.

Source: LIBERO (arXiv 2306.03310), `Sequential` (lifelong/algos/base.py), the lower bound. Each task starts with a fresh
optimiser. This method is also the ablation "plain" of T2S, which only replaces tokens by ordinary maps.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from t2s.lifelong.checkpoint import CUES, Checkpoint, check_fits
from t2s.lifelong.learner import Learner, Settings
from t2s.model.build import build
from t2s.model.maps import Plain
from t2s.model.network import Network
from t2s.model.scene import Picture


class Sequential(Learner):
    """Trains all parameters on every task. A checkpoint holds the whole network."""

    def start_task(self, task: int, task_emb: np.ndarray, picture: Picture, earlier: Sequence[Checkpoint]) -> None:
        self.task = task
        self.task_emb, self.picture = torch.from_numpy(task_emb), torch.from_numpy(picture)
        self.network = build(self.settings.policy, len(task_emb), Plain(), self.seed)
        if earlier:
            load(self.network, earlier[-1])
        self.network.to(self.device)
        self.trainable = list(self.network.parameters())

    def checkpoint(self) -> Checkpoint:
        return Checkpoint(dict(self.network.state_dict()), {"task": self.task})

    def counts(self) -> dict[str, Any]:
        n = sum(p.numel() for p in self.network.parameters())
        return {
            "n_tokens_new": None,
            "n_tokens_bank": None,
            "n_parameters_new": n,
            "n_parameters_total": n,
            "active": list(range(self.task)),
            "similarity": None,
        }

    @classmethod
    def candidates(cls, checkpoints: Sequence[Checkpoint], task_emb: np.ndarray) -> list[int]:
        """The last task: its network acts on all tasks, so nothing has to be chosen."""
        return [len(checkpoints) - 1]

    @classmethod
    def merged(cls, checkpoints: Sequence[Checkpoint], task: int) -> Checkpoint:
        """The weights that act on `task`, after the tasks of `checkpoints` were learned."""
        return checkpoints[task]

    @classmethod
    def acting(cls, settings: Settings, checkpoints: Sequence[Checkpoint], task: int, task_emb_dim: int) -> Network:
        network = build(settings.policy, task_emb_dim, Plain())
        load(network, cls.merged(checkpoints, task))
        return network


def weights(checkpoint: Checkpoint) -> dict[str, Tensor]:
    """The tensors of a checkpoint that belong to the network. The names of other parts contain a `/`."""
    return {name: t for name, t in checkpoint.tensors.items() if "/" not in name and name not in CUES}


def load(network: Network, checkpoint: Checkpoint) -> None:
    """Loads the weights of a checkpoint into `network`.

    Raises: ValueError that names the first tensor that is missing, unknown or of the wrong shape.
    """
    found = weights(checkpoint)
    check_fits(network.state_dict(), found, checkpoint.header["task"])
    network.load_state_dict(found)
