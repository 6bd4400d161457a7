"""A learned policy for rollouts: takes observations and returns actions, predicting new ones every few steps."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from t2s import params
from t2s.lifelong.checkpoint import PICTURE, fingerprint
from t2s.model.network import Network
from t2s.model.scene import Picture, nearest_picture, picture

Observation = dict[str, np.ndarray]
"""One observation, in the format of t2s.data."""


class Actor:
    """A policy for one instruction. It executes `replan_every` predicted actions, then predicts new ones.

    The network predicts from the tokens of the last `n_frames` observations of the episode, or of fewer at its start.
    If several tasks share the instruction, it has a network and a picture for each. At the first observation of an
    episode, the nearest picture decides which network acts.

    `fingerprint`: a hash of the tensors that may act on this instruction, the pictures, the task embedding and
    `actions`.
    """

    def __init__(
        self,
        networks: Sequence[Network],
        pictures: Sequence[Picture],
        task_emb: Float[np.ndarray, "d"],
        policy: params.AnyPolicy,
        actions: params.Actions,
    ) -> None:
        """`pictures`: one for each network; none if there is only one network."""
        self.networks, self.pictures = [network.eval() for network in networks], pictures
        self.network, self.is_chosen = self.networks[0], len(networks) == 1
        self.fingerprint = _fingerprint(networks, pictures, {"task_emb": task_emb.tolist(), "actions": actions})
        self.device = next(self.network.parameters()).device
        self.task_emb = torch.from_numpy(task_emb).to(self.device)[None]
        self.replan_every = policy.replan_every
        self.actions = actions
        self.generator = torch.Generator(self.device)
        self.frames: deque[Tensor] = deque(maxlen=policy.n_frames)
        self.plan: deque[np.ndarray] = deque()

    def reset(self, seed: int) -> None:
        """Starts an episode. `seed` determines all actions that are drawn in it."""
        self.frames.clear()
        self.plan.clear()
        self.is_chosen = len(self.networks) == 1
        self.generator.manual_seed(seed)

    @torch.no_grad()
    def act(self, observe: Callable[[], Observation]) -> Float[np.ndarray, "7"]:
        """The next action in [-1, 1].

        Calls `observe` only to predict new actions, because rendering takes most of the time of a rollout.
        """
        if not self.plan:
            observation = observe()
            if not self.is_chosen:
                seen = picture(observation["agentview_rgb"][None])
                self.network, self.is_chosen = self.networks[nearest_picture(seen, self.pictures)], True
            batch = {k: torch.from_numpy(v).to(self.device)[None] for k, v in observation.items()}
            self.frames.append(self.network.tokens(batch, self.task_emb))
            frames = torch.stack(tuple(self.frames), dim=1)
            predicted = self.network.decide(frames, self.actions, self.generator)[0]
            self.plan.extend(predicted[: self.replan_every].cpu().numpy())
        return self.plan.popleft()


def _fingerprint(networks: Sequence[Network], pictures: Sequence[Picture], facts: dict[str, Any]) -> str:
    tensors = {f"{PICTURE}/{i}": torch.from_numpy(known) for i, known in enumerate(pictures)}
    for i, network in enumerate(networks):
        tensors |= {f"network/{i}/{name}": tensor for name, tensor in network.state_dict().items()}
    return fingerprint(tensors, facts)
