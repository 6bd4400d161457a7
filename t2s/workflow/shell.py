"""The surroundings of the workflow's jobs: the shell they start in, and the lock they hold while they run."""

from __future__ import annotations

import fcntl
import getpass
import logging
import os
import shlex
import shutil
import sys
from pathlib import Path
from types import FrameType
from typing import NoReturn, TextIO

from t2s.data.files import check_path, folders

LOCK = Path(".snakemake/t2s.lock")


def prefix(root: Path, assets: Path, python: Path | None) -> str:
    """The shell code before the command of every job, in the form that `snakemake.shell.prefix` takes.

    It makes jobs share the lock of the Snakemake that started them, import t2s only from the checkout `root`, and find
    LIBERO's scene assets. `python` is the interpreter that runs Snakemake; the commands beside it come first on PATH.
    It is None if Snakemake deploys an environment.

    Raises: ValueError for a checkout whose path contains ':', '{' or '}', or one that MuJoCo cannot open, and for a
    Python whose path contains ':'.
    """
    # PATH and PYTHONPATH separate folders by ':'. Snakemake fills in braces in the paths of environments.
    if found := [character for character in ":{}" if character in str(root)]:
        raise ValueError(f"{root}: expected the path of a checkout without any of ':{{}}', got {found}; move it")
    check_path(root)
    if python is not None and ":" in str(python):
        raise ValueError(f"{python}: expected a Python whose path has no ':', as PATH needs; move its environment")
    lines = [
        "set -euo pipefail",  # Snakemake's default, which this prefix replaces
        f"exec 8<{shlex.quote(str(LOCK))}",
        "flock --shared 8 2>/dev/null || :",  # some file systems have no locks
        f"export T2S_LIBERO_ASSETS={shlex.quote(str(assets))}",
        f"export PYTHONPATH={shlex.quote(str(root))} PYTHONNOUSERSITE=1",
    ]
    if python is not None:
        lines.append(f'export PATH={shlex.quote(str(python.parent))}:"$PATH"')
    return "; ".join(lines).replace("{", "{{").replace("}", "}}") + "; "


def alive() -> TextIO:
    """Open the file on which this Snakemake and its jobs hold a shared lock as long as they live.

    When Snakemake is killed, its own locks stay behind. If nobody holds this lock, they are stale and are removed.

    Raises: ValueError if the file cannot be written.
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
        print("note: another snakemake, or one of its jobs, is running in this folder", file=sys.stderr)
        fcntl.flock(file, fcntl.LOCK_SH)
    except OSError:  # on a file system without locks nothing is known, so nothing is removed
        pass
    return file


def check_results(folder: Path) -> None:
    """Check that results can be written to `folder`, which may be a link to another disk, and to all folders below it.

    Raises: ValueError in one line if not, or if DVC runs Snakemake, which would fail after it.
    """
    target = folder.resolve()
    if folder.is_symlink() and not target.is_dir():
        remedy = f"run `mkdir -p {shlex.quote(str(target))}`"
        raise ValueError(f"{folder}: expected a folder, got a link to '{target}', which is none; {remedy}")
    if "DVC_STAGE" in os.environ and is_outside(folder):
        raise ValueError(
            f"{folder}: expected a folder in the repository, as DVC takes no other, got a link to '{target}'; run"
            " `snakemake --cores all` instead of DVC, or mount the disk there"
        )
    try:
        closed = [path for path in folders(folder) if not os.access(path, os.W_OK)] if folder.is_dir() else []
    except OSError as error:
        closed = [Path(error.filename)]
    if closed:
        raise ValueError(f"{closed[0]}: expected a folder that can be written, got one that cannot")


def is_outside(folder: Path) -> bool:
    """Whether `folder` is a link out of the working folder."""
    return not folder.resolve().is_relative_to(Path().resolve())


def name_user() -> None:
    """Give the user a name if there is none, as in a container with another user id: Snakemake asks for it."""
    try:
        getpass.getuser()
    except (KeyError, OSError):
        os.environ["USER"] = str(os.getuid())


def untracked() -> bool:
    """Whether results/ holds policies but Snakemake has no metadata of any file, as after `dvc pull`."""
    return Path("results/runs").is_dir() and not any(Path(".snakemake/metadata").glob("*"))


def interrupted(number: int, frame: FrameType | None) -> NoReturn:
    """Handle Ctrl-C: end the jobs, and hide what they log while they end."""
    logging.disable()
    raise KeyboardInterrupt
