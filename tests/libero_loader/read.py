"""Every sequence of a file of demonstrations as LIBERO's loader and robomimic's give it, as arrays of an .npz file.

Usage: python read.py FILE OUT, with what is in requirements.txt; t2s is not imported.
"""

import sys
from typing import Any

import numpy as np
import torch

if torch.version.cuda is None:
    # PyPI's torchvision is built for CUDA's torch. With another it has no operators of its own, of which it wants two
    # to be declared at import; no loader calls them.
    for operator in ("nms", "qnms"):
        torch.library.define(f"torchvision::{operator}", "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")

from libero.lifelong.datasets import SequenceVLDataset, get_dataset
from robomimic.utils.dataset import SequenceDataset
from torch.utils.data import DataLoader

SEQ_LEN = 10
# LIBERO, libero/configs/data/default.yaml
MODALITY = {"rgb": ["agentview_rgb", "eye_in_hand_rgb"], "depth": [], "low_dim": ["gripper_states", "joint_states"]}


def read_libero(path: str) -> dict[str, np.ndarray]:
    """As libero/lifelong/main.py and base.py learn from it: batches of (b, t, c, h, w) and (b, t, d)."""
    dataset, shape_meta = get_dataset(path, obs_modality=MODALITY, initialize_obs_utils=True, seq_len=SEQ_LEN)
    assert shape_meta["ac_dim"] == 7, shape_meta
    with_language = SequenceVLDataset(dataset, torch.arange(4.0))
    batches = list(DataLoader(with_language, batch_size=32))
    arrays = {key: torch.cat([batch["obs"][key] for batch in batches]) for key in batches[0]["obs"]}
    arrays |= {key: torch.cat([batch[key] for batch in batches]) for key in ("actions", "task_emb")}
    found = {key: value.numpy() for key, value in arrays.items()}
    return found | {"n_demos": np.array(with_language.n_demos)}


def read_robomimic(path: str) -> dict[str, np.ndarray]:
    """Whole trajectories by robomimic alone, with all that LIBERO writes beside the observations."""
    keys = ("actions", "rewards", "dones", "states", "robot_states")
    dataset = SequenceDataset(
        path,
        obs_keys=[*MODALITY["rgb"], *MODALITY["low_dim"]],
        dataset_keys=keys,
        hdf5_cache_mode=None,
        load_next_obs=False,
    )
    found: dict[str, np.ndarray] = {}
    for number in range(dataset.n_demos):
        trajectory = dataset.get_trajectory_at_index(number)
        arrays = trajectory["obs"] | {key: trajectory[key] for key in keys}
        found |= {f"{trajectory['ep']}/{key}": np.asarray(value) for key, value in arrays.items()}
    return found


if __name__ == "__main__":
    _, source, out = sys.argv
    arrays: dict[str, Any] = read_libero(source) | read_robomimic(source)
    np.savez(out, **arrays)
