"""Label LIBERO's scene assets: what everything that is drawn with them depends on.

Reads: the folder of the assets; params `assets`.
Writes: a small file with their label, the same for the same files wherever they lie.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from t2s import params
from t2s.data import assets
from t2s.data.files import write_json


def main(arguments: list[str] | None = None) -> None:
    """Command line entry."""
    parser = argparse.ArgumentParser(prog="python -m t2s.label", description=__doc__)
    parser.add_argument("--params", default="params.yaml", help="YAML file or JSON object")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args(arguments)
    write_json(args.out, {"label": assets.label(assets.check(params.Assets.read(args.params).folder))})


if __name__ == "__main__":
    try:
        main()
    except ValueError as error:
        sys.exit(f"error: {error}")
