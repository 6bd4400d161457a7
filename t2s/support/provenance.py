"""Where the numbers of a run come from: code, params, data, packages, machine, and what the episodes ran with.

Reads: the work tree (git, where there is one), the code's files, episode records, manifests of demonstrations,
embeddings of instructions, constraints.txt.
Writes: provenance.json. The workflow makes it again when a number was, and only then: all that it counts is up to date
with the code in the work tree at that moment, whatever the commit at which it was first made.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from t2s import params
from t2s.data import origin, records
from t2s.data.files import sha256, write_json


def arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("--params", required=True, help="YAML or JSON file of the params that reach a number")
    parser.add_argument("--code", required=True, help="digest of the code that reaches a number")
    parser.add_argument("--demos", type=Path, nargs="+", required=True, help="manifests, {suite}/task{k}.json")
    parser.add_argument("--language", type=Path, nargs="+", required=True, help="embeddings, {suite}.safetensors")
    parser.add_argument(
        "--episodes", type=Path, required=True, help="folder, {suite}/{method}/seed{s}/*.jsonl below it"
    )
    parser.add_argument("--out", type=Path, required=True)


def main(args: argparse.Namespace) -> None:
    """Write provenance.json."""
    sections = params.read(args.params)
    write_json(
        args.out,
        {
            "code": code(args.code, Path()),
            "data": {
                "demos": {f"{path.parent.name}/{path.stem}": demos(path) for path in args.demos},
                "language": {path.stem: sha256(path) for path in args.language},
            },
            "machine": machine(),
            "packages": {name: origin.installed(name) for name in origin.pins(Path("constraints.txt"))},
            "params": sections,
            "params_sha256": hashlib.sha256(json.dumps(sections, sort_keys=True).encode()).hexdigest(),
            "runs": runs(args.episodes, sections["study"]),
        },
    )


def code(digest: str, root: Path) -> dict[str, Any]:
    """The commit (None without git), the files changed since, and the digest of the code that reaches a number."""
    try:
        commit, changed = origin.work_tree(root)
    except (OSError, RuntimeError) as error:
        print(f"note: no commit: {error}", file=sys.stderr)
        commit, changed = None, []
    return {"commit": commit, "changed": changed, "sha256": digest}


def demos(manifest: Path) -> dict[str, Any]:
    """What a manifest says of a task's demonstrations, without where they lie; and its own digest."""
    said = json.loads(manifest.read_text())
    kept = ("sha256", "n_demos", "source", "assets", "render", "repository", "revision")
    return {name: said[name] for name in kept if name in said} | {"manifest_sha256": sha256(manifest)}


def machine() -> dict[str, Any]:
    """Where this runs: the machine of every job, but on a cluster."""
    try:
        gpus = origin.gpus()
    except RuntimeError as error:
        print(f"note: no names of GPUs: {error}", file=sys.stderr)
        gpus = []
    return {
        "platform": platform.platform(),
        "python": platform.python_version(),
        "cpu": origin.cpu(),
        "n_cpus": os.cpu_count(),
        "openblas": os.environ.get("OPENBLAS_CORETYPE"),
        "gpus": gpus,
    }


def runs(folder: Path, study: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """Of every chain how many episodes have the same protocol, versions and device.

    Raises: ValueError for a record that is missing or wrong.
    """
    chains = [f"{s}/{m}/seed{seed}" for s in study["suites"] for m in study["methods"] for seed in study["seeds"]]
    return {chain: _counts(sorted((folder / chain).glob("*.jsonl")), study["n_tasks"]) for chain in chains}


def _counts(paths: Sequence[Path], n_tasks: int) -> list[dict[str, Any]]:
    found = records.read(paths)
    found = found[found.stage < n_tasks]  # a longer study's may be there
    keys = [
        json.dumps({"protocol": protocol, "versions": versions}, sort_keys=True)
        for protocol, versions in zip(found.protocol, found.versions, strict=True)
    ]
    return [json.loads(key) | {"n_episodes": keys.count(key)} for key in sorted(set(keys))]
