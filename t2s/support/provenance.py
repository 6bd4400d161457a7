"""Record where the numbers of a run come from: code, params, data, packages, machine, and versions of the rollouts.

Reads: the work tree (git, if there is one), episode records, manifests of demonstrations, embeddings of instructions,
constraints.txt.
Writes: provenance.json. The workflow writes it again when a number was computed again, and only then. At that moment
all results are up to date with the code in the work tree, whatever commit first made them.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import sys
from pathlib import Path
from typing import Any

import t2s
from t2s import packages, params
from t2s.data import origin, results
from t2s.data.files import read_json, sha256, write_json


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options to `parser`."""
    parser.add_argument(
        "--params", required=True, help="params file, YAML or JSON, with the params that affect numbers"
    )
    parser.add_argument("--code", required=True, help="digest of the code that affects numbers")
    parser.add_argument("--demos", type=Path, nargs="+", required=True, help="manifests {suite}/task{k}.json")
    parser.add_argument("--language", type=Path, nargs="+", required=True, help="embeddings {suite}.safetensors")
    parser.add_argument("--results", type=Path, default=Path("results"), help="folder of the results")
    parser.add_argument("--out", type=Path, required=True, help="JSON file to write")


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
            "packages": {name: packages.installed(name) for name in origin.pins(Path("constraints.txt"))},
            "params": sections,
            "params_sha256": hashlib.sha256(json.dumps(sections, sort_keys=True).encode()).hexdigest(),
            "runs": runs(args.results, params.Study.read(args.params)),
        },
    )


def code(digest: str, root: Path) -> dict[str, Any]:
    """The commit (None without git), the files changed since, and the digest of the code that affects numbers."""
    try:
        commit, changed = origin.work_tree(root)
    except (OSError, RuntimeError) as error:
        print(f"note: no commit: {error}", file=sys.stderr)
        commit, changed = None, []
    return {"commit": commit, "changed": changed, "sha256": digest}


def demos(manifest: Path) -> dict[str, Any]:
    """What a manifest says about a task's demonstrations, except their path, and the digest of the manifest."""
    said = read_json(manifest)
    kept = ("sha256", "n_demos", "source", "observations", "assets", "render", "repository", "revision")
    return {name: said[name] for name in kept if name in said} | {"manifest_sha256": sha256(manifest)}


def machine() -> dict[str, Any]:
    """The machine that runs this command and, without a cluster, every job."""
    try:
        gpus = origin.gpus()
    except RuntimeError as error:
        print(f"note: GPU names unknown: {error}", file=sys.stderr)
        gpus = []
    return {
        "platform": platform.platform(),
        "python": platform.python_version(),
        "libc": " ".join(platform.libc_ver()),
        "cpu": origin.cpu(),
        "cpu_offers": origin.vector_instructions(),
        "cpu_capability": capability(),
        "n_cpus": os.cpu_count(),
        "kernels": {name: os.environ.get(name) for name in t2s.KERNELS},
        "gpus": gpus,
    }


def capability() -> str:
    """The instructions that torch's own kernels use, e.g. AVX2."""
    import torch  # takes seconds

    return torch.backends.cpu.get_cpu_capability()


def runs(folder: Path, study: params.Study) -> dict[str, list[dict[str, Any]]]:
    """For every chain, the protocol, versions and device of its episodes, and how many episodes share them.

    Raises: ValueError for a record that is missing or wrong.
    """
    found: dict[str, list[dict[str, Any]]] = {f"{s}/{m}/seed{seed}": [] for s, m, seed in study.chains()}
    episodes = results.episodes(folder, study)
    ran_with = [
        json.dumps({"protocol": protocol, "versions": versions}, sort_keys=True)
        for protocol, versions in zip(episodes.protocol, episodes.versions, strict=True)
    ]
    counts = episodes.assign(ran_with=ran_with).groupby([*results.CHAIN, "ran_with"]).size()
    for row in counts.rename("n").reset_index().to_dict("records"):
        chain = f"{row['suite']}/{row['method']}/seed{row['seed']}"
        found[chain].append(json.loads(row["ran_with"]) | {"n_episodes": row["n"]})
    return found
