"""t2s: Tokenized Skill Scaling (arXiv 2508.01167), as reconstructed in docs/method.md.

Every map is a Pattention (`tokenise: all`), or every one outside the image encoders (`transformer`). The first task
learns the base group, and with it what is no token: norms and their statistics, image encoders. For each later task,
its instruction decides which earlier tasks to reuse and how many tokens to add; only the added tokens are trained. At
test time, the nearest known instruction selects the groups that act, and the scene decides between tasks that share it
(t2s/model/scene.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from t2s import params
from t2s.lifelong.checkpoint import CUES, Checkpoint, check_fits, known_embeddings
from t2s.lifelong.learner import Learner, Settings
from t2s.model.bank import Bank, is_token
from t2s.model.build import build
from t2s.model.maps import Tokenised
from t2s.model.network import Network, hold_statistics
from t2s.model.scaling import active_groups, alike, n_new_tokens, reused_tasks, similarities
from t2s.model.scene import Picture


class T2S(Learner):
    """Learns one group of tokens per task.

    A checkpoint is a delta: that group, the active groups, the embedding and the picture of the scene. That of the
    first task also holds what is no token.
    """

    def start_task(self, task: int, task_emb: np.ndarray, picture: Picture, earlier: Sequence[Checkpoint]) -> None:
        values = self.settings.method
        assert isinstance(values, params.T2S)
        self.task, self.known = task, earlier
        self.task_emb, self.picture = torch.from_numpy(task_emb), torch.from_numpy(picture)
        self.similarity = similarities(task_emb, known_embeddings(earlier)) if earlier else np.zeros(0)
        self.network, self.bank = rebuild(self.settings, earlier, len(task_emb), self.seed)
        generator = torch.Generator().manual_seed(1000 * self.seed + task)
        if task == 0:
            self.active, self.reused = [0], []
            self.lr = values.base_lr
            self.bank.grow(0, values.n_tokens, generator, zero=False)
        else:
            rng = np.random.default_rng([self.seed, task])
            self.reused = reused_tasks(values, self.similarity, rng)
            self.active = active_groups(task, self.reused, [c.header["active"] for c in earlier])
            n_new = n_new_tokens(values, self.similarity)
            if n_new:
                self.bank.grow(task, n_new, generator, zero=True)
            else:  # without new tokens, the reused groups act alone
                self.active.remove(task)
            self.lr = values.new_lr
        self.bank.activate(self.active)
        self.network.to(self.device)
        self.trainable = self.bank.train_only(task)
        if task > 0:
            hold_statistics(self.network)

    def checkpoint(self) -> Checkpoint:
        shared = self.bank.others() if self.task == 0 else {}
        tensors = self.bank.group(self.task) | shared | self.cues()
        return Checkpoint(tensors, {"task": self.task, "active": self.active})

    def counts(self) -> dict[str, Any]:
        return {
            "n_tokens_new": self.bank.n_tokens([self.task]),
            "n_tokens_bank": self.bank.n_tokens(range(self.task + 1)),
            "n_parameters_new": sum(p.numel() for p in self.trainable),
            "n_parameters_total": sum(p.numel() for p in self.network.parameters()),
            "active": [j for j in self.active if j != self.task],
            "similarity": {str(j): round(float(s), 6) for j, s in enumerate(self.similarity)},
        }

    @classmethod
    def candidates(cls, checkpoints: Sequence[Checkpoint], task_emb: np.ndarray) -> list[int]:
        return alike(task_emb, known_embeddings(checkpoints))

    @classmethod
    def acting(cls, settings: Settings, checkpoints: Sequence[Checkpoint], task: int, task_emb_dim: int) -> Network:
        """The network with the active groups of `task` and no others."""
        active = checkpoints[task].header["active"]
        network, bank = rebuild(settings, [checkpoints[j] for j in active], task_emb_dim)
        bank.activate(active)
        return network


def rebuild(
    settings: Settings, checkpoints: Sequence[Checkpoint], task_emb_dim: int, seed: int = 0
) -> tuple[Network, Bank]:
    """A network and its bank with the groups of these checkpoints, the first task's first, none of them active.

    Without checkpoints, what is no token is drawn by `seed`.

    Raises: ValueError when a checkpoint does not fit the network.
    """
    values = settings.method
    assert isinstance(values, params.T2S)
    network = build(settings.policy, task_emb_dim, Tokenised(values), seed)
    bank = Bank(network)
    if checkpoints:
        shared = {name: t for name, t in checkpoints[0].tensors.items() if name not in CUES and not is_token(name)}
        check_fits(bank.others(), shared, checkpoints[0].header["task"])
        network.load_state_dict(shared, strict=False)
    for checkpoint in checkpoints:
        if checkpoint.header["task"] in checkpoint.header["active"]:  # otherwise it added no tokens
            bank.load_group(checkpoint.header["task"], checkpoint.tensors)
    return network, bank
