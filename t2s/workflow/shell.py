"""What surrounds the jobs of the workflow: the shell they start in, and the lock they share while they live."""

from __future__ import annotations

import fcntl
import shlex
import shutil
import sys
from pathlib import Path
from typing import TextIO

LOCK = Path(".snakemake/t2s.lock")


def prefix(root: Path, assets: Path, python: Path | None) -> str:
    """What precedes the command of every job, as `snakemake.shell.prefix` takes it.

    Jobs share the lock of the Snakemake that started them, import t2s from the checkout `root` and from nowhere else,
    and find LIBERO's scene assets. `python` is the interpreter that runs Snakemake, whose commands come first on PATH;
    None where Snakemake deploys an environment.

    Raises: ValueError for a checkout whose path cannot work.
    """
    # PATH and PYTHONPATH separate folders by ':'; Snakemake fills in braces in the paths of environments.
    if found := [character for character in ":{}" if character in str(root)]:
        raise ValueError(f"{root}: expected the path of a checkout without any of ':{{}}', got {found}; move it")
    lines = [
        "set -euo pipefail",  # Snakemake's own prefix, which any other replaces
        f"exec 8<{shlex.quote(str(LOCK))}",
        "flock --shared 8 || :",
        f"export T2S_LIBERO_ASSETS={shlex.quote(str(assets))}",
        f"export PYTHONPATH={shlex.quote(str(root))} PYTHONNOUSERSITE=1",
    ]
    if python is not None:
        lines.append(f'export PATH={shlex.quote(str(python.parent))}:"$PATH"')
    return "; ".join(lines).replace("{", "{{").replace("}", "}}") + "; "


def alive() -> TextIO:
    """An open file that this Snakemake and its jobs hold a shared lock on as long as they live.

    Snakemake's own locks stay behind when it is killed; where nobody holds this one they are stale and removed.

    Raises: ValueError where the file cannot be written.
    """
    try:
        LOCK.parent.mkdir(exist_ok=True)
        file = LOCK.open("w", encoding="utf-8")
    except OSError as error:
        raise ValueError(f"{LOCK}: could not be written: {error.strerror}") from None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(LOCK.with_name("locks"), ignore_errors=True)
        fcntl.flock(file, fcntl.LOCK_SH)
    except BlockingIOError:
        print("note: another snakemake, or a job of one, runs in this folder", file=sys.stderr)
        fcntl.flock(file, fcntl.LOCK_SH)
    except OSError:  # a file system without locks: nothing is known, so nothing is removed
        pass
    return file


def untracked() -> bool:
    """Whether results/ holds policies and Snakemake has no metadata of any file, as after `dvc pull`."""
    return Path("results/runs").is_dir() and not any(Path(".snakemake/metadata").glob("*"))
