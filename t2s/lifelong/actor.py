"""A learned policy for rollouts: takes observations and returns actions, predicting a new chunk every few steps."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Float

from t2s import params
from t2s.model.policy import PolicyNetwork

Observation = dict[str, np.ndarray]
"""One observation, in the format of t2s.data."""


class Actor:
    """A policy for one instruction. It executes `replan_every` actions of a chunk, then predicts the next chunk.

    `fingerprint`: a hash of the tensors that act on this instruction, the task embedding and `sample`.
    """

    def __init__(
        self,
        network: PolicyNetwork,
        task_emb: Float[np.ndarray, "d"],
        policy: params.Policy,
        sample: bool,
        fingerprint: str,
    ) -> None:
        self.network = network.eval()
        self.device = next(network.parameters()).device
        self.task_emb = torch.from_numpy(task_emb).to(self.device)[None]
        self.replan_every = policy.replan_every
        self.generator = torch.Generator(self.device) if sample else None
        self.fingerprint = fingerprint
        self.plan: deque[np.ndarray] = deque()

    def reset(self, seed: int) -> None:
        """Starts an episode. `seed` determines all sampling of actions in it."""
        self.plan.clear()
        if self.generator is not None:
            self.generator.manual_seed(seed)

    @torch.no_grad()
    def act(self, observe: Callable[[], Observation]) -> Float[np.ndarray, "7"]:
        """The next action in [-1, 1].

        Calls `observe` only to predict a new chunk, because rendering takes most of the time of a rollout.
        """
        if not self.plan:
            batch = {k: torch.from_numpy(v).to(self.device)[None] for k, v in observe().items()}
            chunk = self.network.actions(batch, self.task_emb, self.generator)[0]
            self.plan.extend(chunk[: self.replan_every].cpu().numpy())
        return self.plan.popleft()
