"""LIBERO's own loader and step of learning, timed, with its configuration of ResNet-T.

Usage: python step.py LIBERO FILE N_WINDOWS N_TURNS, with what is in requirements.txt. LIBERO is a checkout of it: its
package lacks the networks. FILE has demonstrations. t2s is not imported.
Prints the processor time [s] of every batch and of every step, as JSON.
"""

import json
import sys
import time
import types
from pathlib import Path
from typing import Any

import torch
import yaml
from easydict import EasyDict

if torch.version.cuda is None:
    # PyPI's torchvision is built for CUDA's torch. With another it has no operators of its own, of which it wants two
    # to be declared at import; nothing here calls them.
    for operator in ("nms", "qnms"):
        torch.library.define(f"torchvision::{operator}", "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")


def config(path: Path) -> dict[str, Any]:
    """A file of LIBERO's configuration with the files that its `defaults` name, as Hydra composes them."""
    values = yaml.safe_load(path.read_text(encoding="utf-8"))
    for entry in values.pop("defaults", []):
        ((place, name),) = entry.items()
        folder, _, key = place.partition("@")
        values[key or folder] = config((path.parent / folder / name).with_suffix(".yaml"))
    return values


def main(libero: Path, file: str, n_windows: int, n_turns: int) -> None:
    package = sys.modules["libero"] = types.ModuleType("libero")  # that of the checkout, if another is installed, too
    package.__path__ = [str(libero / "libero")]
    from libero.lifelong.datasets import SequenceVLDataset, get_dataset
    from libero.lifelong.models import get_policy_class
    from torch.utils.data import DataLoader, RandomSampler

    torch.set_num_threads(1)
    configs = libero / "libero" / "configs"
    names = {"policy": "bc_transformer_policy", "train": "default", "data": "default"}
    cfg = EasyDict({key: config(configs / key / f"{name}.yaml") for key, name in names.items()}, device="cpu")
    dataset, shape_meta = get_dataset(file, cfg.data.obs.modality, initialize_obs_utils=True, seq_len=cfg.data.seq_len)
    embedded = SequenceVLDataset(dataset, torch.randn(768))
    cfg.policy.language_encoder.network_kwargs.input_size = 768
    policy = get_policy_class(cfg.policy.policy_type)(cfg, shape_meta).train()
    optimizer = torch.optim.AdamW(policy.parameters(), **cfg.train.optimizer.kwargs)
    batches = iter(DataLoader(embedded, batch_size=n_windows, sampler=RandomSampler(embedded)))
    rows = []
    for _ in range(n_turns + 1):
        start = time.process_time()
        batch = next(batches)
        loaded = time.process_time()
        optimizer.zero_grad()
        policy.compute_loss(batch).backward()
        torch.nn.utils.clip_grad_norm_(policy.parameters(), cfg.train.grad_clip)
        optimizer.step()
        rows.append([loaded - start, time.process_time() - loaded])
    print(json.dumps(rows[1:]))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
