"""Label LIBERO's scene assets, so that everything rendered with them depends on one small file.

Reads: the folder of the assets; params `assets`.
Writes: a JSON file with their label, which depends on the content of the assets and not on where they are.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from t2s import params
from t2s.data import assets
from t2s.data.files import write_json


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options to `parser`."""
    parser.add_argument("--params", default="params.yaml", help="params file, YAML or JSON")
    parser.add_argument("--out", type=Path, required=True, help="JSON file to write")


def main(args: argparse.Namespace) -> None:
    """Write the label."""
    write_json(args.out, {"label": assets.label(assets.check(params.Assets.read(args.params).folder))})
