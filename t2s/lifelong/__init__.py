"""Lifelong learning methods, one file each. t2s/learners.py lists them."""

from __future__ import annotations

import importlib
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from t2s import learners, params
from t2s.lifelong import checkpoint
from t2s.lifelong.actor import Actor
from t2s.lifelong.learner import Learner, Settings


def pick(source: str, method: str) -> tuple[type[Learner], Settings]:
    """The learner class and the settings of a method. `source` is the path of a params file.

    Raises: ValueError when the parameters are not valid or have no such method.
    """
    values = params.method(source, method)
    settings = Settings(params.Policy.read(source).values, params.Learn.read(source), values)
    return learner_class(values.learner), settings


def learner_class(name: str) -> type[Learner]:
    """The class of the learner `name`."""
    module, _, attribute = learners.LEARNERS[name].partition(":")
    found: type[Learner] = getattr(importlib.import_module(module), attribute)
    return found


def pick_device(name: str) -> torch.device:
    """The device called `cpu` or `cuda`; `auto` is cuda if it is available, else cpu."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and not torch.cuda.is_available():
        visible = os.environ.get("CUDA_VISIBLE_DEVICES", "not set")
        raise ValueError(
            "learn.device: expected a GPU that torch can use, as `cuda` says, got none"
            f" (CUDA_VISIBLE_DEVICES: '{visible}'); run `t2s doctor --only gpu`, or set learn.device: cpu"
        )
    return torch.device(name)


def load_policy(
    source: str, method: str, checkpoints: Sequence[Path], task_emb: np.ndarray, actions: params.Actions
) -> Actor:
    """The policy for one task embedding (d,), after the tasks of `checkpoints` were learned in this order.

    `actions`: how a chunk gives actions (t2s/model/head.py).

    Raises: ValueError when a checkpoint is damaged or does not fit the network.
    """
    learner, settings = pick(source, method)
    torch.set_num_threads(1)
    device = pick_device(settings.learn.device)
    kept = [checkpoint.read(path) for path in checkpoints]
    return learner.actor(settings, kept, task_emb, actions, device)
