"""Label LIBERO's scene assets: what everything that is drawn with them depends on.

Reads: the folder of the assets; params `assets`.
Writes: a small file with their label, the same for the same files wherever they lie.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from t2s import params
from t2s.data import assets
from t2s.data.files import write_json


def arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("--params", default="params.yaml", help="YAML or JSON file")
    parser.add_argument("--out", type=Path, required=True)


def main(args: argparse.Namespace) -> None:
    """Write the label."""
    write_json(args.out, {"label": assets.label(assets.check(params.Assets.read(args.params).folder))})
