"""Choose which policy of a task to keep: the earliest one among the best (LIBERO's rule).

A checkpoint whose header says that it is not finished (PackNet before pruning) is never kept.
Reads: the records of the task's learning curve, and the checkpoints of its epochs.
Writes: the chosen checkpoint as policy.safetensors, and chosen.json with the success rate of every epoch.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

from t2s.data import records, tensors
from t2s.data.files import atomic, write_json


def choose(success: dict[int, float]) -> int:
    """The earliest epoch with the highest success rate.

    Source: LIBERO, libero/lifelong/algos/base.py (`if prev_success_rate < success_rate`).
    """
    return min(success, key=lambda epoch: (-success[epoch], epoch))


def success_rates(curve: Path) -> dict[int, float]:
    """Success rate in [0, 1] of every epoch in the records of one learning curve."""
    episodes = records.read([curve])
    if set(episodes.kind) != {"curve"} or episodes.task.nunique() != 1:
        raise ValueError(f"{curve}: expected the curve of one task, got other records")
    rates = episodes.groupby("epoch").success.mean()
    return dict(zip(rates.index.tolist(), rates.tolist(), strict=True))


def finished(path: Path) -> bool:
    """Whether the checkpoint may be kept.

    Raises: ValueError if the file is not a checkpoint.
    """
    return bool(tensors.read_header(path, "a checkpoint", {}).get("finished", True))


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options to `parser`."""
    parser.add_argument("--curve", type=Path, required=True, help="records of the task's learning curve")
    parser.add_argument("--checkpoints", type=Path, nargs="+", required=True, help="the task's epoch*.safetensors")
    parser.add_argument("--out", type=Path, required=True, help="folder to write to")


def main(args: argparse.Namespace) -> None:
    """Copy the chosen checkpoint, and write chosen.json."""
    success = success_rates(args.curve)
    found = {path.stem: path for path in args.checkpoints}
    for epoch in success:
        if f"epoch{epoch}" not in found:
            raise ValueError(f"expected a checkpoint of epoch {epoch}; have {sorted(found)}")
    eligible = {epoch: rate for epoch, rate in success.items() if finished(found[f"epoch{epoch}"])}
    if not eligible:
        raise ValueError(f"{args.curve}: expected a finished policy, got none; have {sorted(found)}")
    epoch = choose(eligible)
    with atomic(args.out / "policy.safetensors") as temporary:
        shutil.copyfile(found[f"epoch{epoch}"], temporary)
    rates = {str(epoch): round(rate, 6) for epoch, rate in success.items()}
    write_json(args.out / "chosen.json", {"epoch": epoch, "success": rates})
