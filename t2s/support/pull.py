"""Results of this commit from the DVC remote; Snakemake is told that they are up to date.

The times of pulled files say nothing, and of what it did not make itself Snakemake knows no code or params. So it is
told, once, and only where code and params are those that the results were made with: those in dvc.lock.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def arguments(parser: argparse.ArgumentParser) -> None:
    """The command has no options."""


def main(args: argparse.Namespace) -> None:
    """Pull the results, or refuse in one line."""
    if not Path("dvc.lock").is_file():
        raise ValueError("dvc.lock: missing: no results belong to this commit; `dvc repro` makes them and it")
    if differs := list(changes(status())):
        raise ValueError(
            f"dvc.lock is of other {', '.join(differs)}: its results are not those of this commit and params.yaml; "
            "nothing was pulled, `snakemake` or `dvc repro` makes them anew"
        )
    run("dvc", "pull")
    if left := status():
        raise ValueError(f"expected all results of dvc.lock, got {json.dumps(left)}")
    run("snakemake", "--cores", "1", "--touch", "--forceall", "--quiet", "all")


def status() -> dict[str, Any]:
    """What differs from dvc.lock, by stage, as DVC says it."""
    command = [sys.executable, "-m", "dvc", "status", "--json"]
    found = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if found.returncode:
        sys.exit(found.returncode)  # DVC has said why
    whole: dict[str, Any] = json.loads(found.stdout)
    return whole


def changes(found: Any) -> Iterator[str]:
    """The files, params and commands that are not as in dvc.lock; not what is only missing here."""
    if isinstance(found, str):
        yield found
        return
    entries = found.items() if isinstance(found, dict) else [(None, entry) for entry in found]
    for name, entry in entries:
        if isinstance(entry, str) and name is not None:
            if entry not in ("deleted", "not in cache"):
                yield f"{name} ({entry})"
        else:
            yield from changes(entry)


def run(*command: str) -> None:
    """A module of this Python; where it fails, it has said why."""
    done = subprocess.run([sys.executable, "-m", *command], check=False)
    if done.returncode:
        sys.exit(done.returncode)
