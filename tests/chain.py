"""A chain of two tasks learned for no step at all: real checkpoints, made in a second."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from params_file import params_file

from t2s import lifelong, params
from t2s.data import embeddings, suites
from t2s.lifelong import checkpoint

SUITE = "blocks_object"
EPOCHS = (0, 20)
ACTIONS: params.Actions = "sample"


def sections(method: str) -> dict[str, Any]:
    """Those that rolling out needs: a tiny network, episodes of a few steps."""
    whole = params.resolve(params.read("params.yaml"))
    tiny = {"embed_dim": 16, "n_layers": 1, "n_heads": 2, "stem_channels": [4, 4, 4]}
    blocks = {"n_rollouts": 2, "max_steps": 6, "settle_steps": 1, "kept_offset": 3}
    return {
        "env": {"image_size": 32},
        "policy": whole["policy"] | tiny,
        "learn": whole["learn"] | {"device": "cpu"},
        "methods": {method: whole["methods"][method]},
        "evaluate": {
            "protocol": "blocks",
            "reuse_records": True,
            "protocols": {"blocks": blocks | {"actions": ACTIONS}},
        },
        "film": {"size": 64, "fps": 20},
    }


@dataclass(frozen=True)
class Chain:
    """Where the files of the chain are."""

    folder: Path
    method: str

    @property
    def language(self) -> Path:
        return self.folder / "language.safetensors"

    def kept(self, n_tasks: int) -> list[Path]:
        return [self.folder / f"task{k}/policy.safetensors" for k in range(n_tasks)]

    def epochs(self, task: int) -> list[Path]:
        return [self.folder / f"task{task}/epoch{epoch}.safetensors" for epoch in EPOCHS]

    def arguments(self, kind: str, stage: int, task: int, changed: dict[str, Any] | None = None) -> list[str]:
        """The command line of `t2s.evaluate` but --out, --workers and --previous."""
        kept = kind == "kept"
        checkpoints = self.kept(stage + 1) if kept else [*self.kept(stage), *self.epochs(stage)]
        values = params_file(sections(self.method) | (changed or {}))
        return [
            *["--suite", SUITE, "--method", self.method, "--seed", "0"],
            *["--kind", kind, "--stage", str(stage), "--task", str(task)],
            *["--params", values, "--engine", "params.yaml", "--language", str(self.language)],
            *["--checkpoints", *map(str, checkpoints)],
        ]


def make(folder: Path, method: str) -> Chain:
    """Two tasks; epoch 20 differs from epoch 0 by noise and is the one that is kept."""
    chain = Chain(folder, method)
    rng = np.random.default_rng(0)
    task_embs = {task.instruction: rng.normal(size=8).astype(np.float32) for task in suites.tasks(SUITE)}
    embeddings.write(chain.language, task_embs, "random")
    learner_class, settings = lifelong.pick(params_file(sections(method)), method)
    for k, task in enumerate(suites.tasks(SUITE)[:2]):
        learner = learner_class(settings, 0, torch.device("cpu"))
        earlier = [checkpoint.read(path) for path in chain.kept(k)]
        picture = np.full((8, 8, 3), k, np.uint8)
        learner.start_task(k, task_embs[task.instruction], picture, earlier)
        for path in chain.epochs(k):
            learner.checkpoint().write(path)
            generator = torch.Generator().manual_seed(k)
            for tensor in learner.trainable:
                noise = torch.empty(tensor.shape).normal_(generator=generator)
                tensor.data.add_(noise, alpha=0.1)
        shutil.copyfile(chain.epochs(k)[-1], chain.kept(k + 1)[k])
        chosen = {"epoch": EPOCHS[-1], "success": {}}
        chain.kept(k + 1)[k].with_name("chosen.json").write_text(json.dumps(chosen))
    return chain
