"""Choose the policy a task is left with: the earliest of the best epochs (LIBERO's rule).

Reads: the records of the task's curve, and the checkpoints of its epochs.
Writes: the chosen checkpoint as policy.safetensors, chosen.json with the success of every epoch.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path

from t2s.data import records
from t2s.data.files import atomic, write_json


def choose(success: dict[int, float]) -> int:
    """The earliest of the epochs with the highest success.

    Source: LIBERO, libero/lifelong/algos/base.py (`if prev_success_rate < success_rate`).
    """
    return min(success, key=lambda epoch: (-success[epoch], epoch))


def success_rates(curve: Path) -> dict[int, float]:
    """Success in [0, 1] of every epoch in the records of one curve."""
    episodes = records.read([curve])
    if set(episodes.kind) != {"curve"} or episodes.task.nunique() != 1:
        raise ValueError(f"{curve}: expected the curve of one task, got other records")
    rates = episodes.groupby("epoch").success.mean()
    return dict(zip(rates.index.tolist(), rates.tolist(), strict=True))


def main(arguments: list[str] | None = None) -> None:
    """Copy the chosen epoch's checkpoint."""
    parser = argparse.ArgumentParser(prog="python -m t2s.choose", description=__doc__)
    parser.add_argument("--curve", type=Path, required=True, help="records of the task's curve")
    parser.add_argument("--checkpoints", type=Path, nargs="+", required=True, help="epoch* files")
    parser.add_argument("--out", type=Path, required=True, help="folder")
    args = parser.parse_args(arguments)
    success = success_rates(args.curve)
    epoch = choose(success)
    found = {path.stem: path for path in args.checkpoints}
    if f"epoch{epoch}" not in found:
        raise ValueError(f"expected a checkpoint of epoch {epoch}; have {sorted(found)}")
    with atomic(args.out / "policy.safetensors") as temporary:
        shutil.copyfile(found[f"epoch{epoch}"], temporary)
    rates = {str(epoch): round(rate, 6) for epoch, rate in success.items()}
    write_json(args.out / "chosen.json", {"epoch": epoch, "success": rates})


if __name__ == "__main__":
    try:
        main()
    except ValueError as error:
        sys.exit(f"error: {error}")
