"""Pull the results of this commit from the DVC remote, and tell Snakemake that they are up to date.

Snakemake cannot know that: the times of pulled files say nothing, and it has no record of their code and params. It is
told only if code and params are those that the results were made with, which dvc.lock names.
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
    """Pull the results.

    Raises: ValueError in one line if they are not those of this commit and these params.
    """
    if not Path("dvc.lock").is_file():
        raise ValueError("no dvc.lock, so there are no results of this commit; run `dvc repro` to make both")
    if differs := list(changes(status())):
        raise ValueError(
            f"dvc.lock has other versions of {', '.join(differs)}, so its results are not those of this commit and"
            " params.yaml; nothing was pulled; run `snakemake --cores all` or `dvc repro` to make them"
        )
    run("dvc", "pull")
    if left := status():
        raise ValueError(f"expected all results of dvc.lock, got differences: {json.dumps(left)}")
    run("snakemake", "--cores", "1", "--touch", "--forceall", "--quiet", "all")


def status() -> dict[str, Any]:
    """What differs from dvc.lock, by stage, as DVC reports it."""
    command = [sys.executable, "-m", "dvc", "status", "--json"]
    found = subprocess.run(command, stdout=subprocess.PIPE, text=True, errors="replace", check=False)
    if found.returncode:
        sys.exit(found.returncode)  # DVC has printed the reason
    whole: dict[str, Any] = json.loads(found.stdout)
    return whole


def changes(found: Any) -> Iterator[str]:
    """The files, params and commands that differ from dvc.lock, without files that are only missing here."""
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
    """Run a module of this Python. If it fails, exit with its status: it has printed the reason."""
    done = subprocess.run([sys.executable, "-m", *command], check=False)
    if done.returncode:
        sys.exit(done.returncode)
