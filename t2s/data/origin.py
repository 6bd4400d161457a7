"""What results come from, besides data: code, packages and machine. Needs only the standard library."""

from __future__ import annotations

import hashlib
import os
import platform
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from t2s.data.files import sha256

GIT_PLACES: Final = {"GIT_COMMON_DIR", "GIT_DIR", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_WORK_TREE"}
"""Variables by which git is told to look elsewhere than in its working folder."""


def work_tree(root: Path) -> tuple[str, list[str]]:
    """Git's commit at `root`, and the files that differ from it, without those that git ignores.

    Results are no code: what differs in results/, or in a link in its place, is left out.

    Raises: OSError without git; RuntimeError in one line without a repository or a commit, or if `root` only lies in
    the repository of something else.
    """
    if up := _git(root, "rev-parse", "--show-cdup").strip():
        whole = root.resolve()
        raise RuntimeError(f"git: {whole} is no repository of its own, it lies in that of {(whole / up).resolve()}")
    commit = _git(root, "rev-parse", "--verify", "HEAD").strip()
    changed = _git(root, "status", "--porcelain", "-z", "--no-renames", "--", ".", ":(exclude)results")
    return commit, sorted(entry[3:] for entry in changed.split("\0") if entry)


def digest(paths: Iterable[Path]) -> str:
    """One digest of the paths and contents of all files."""
    lines = [f"{sha256(path)}  {path.as_posix()}\n" for path in sorted(paths)]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def pins(constraints: Path) -> dict[str, str]:
    """The version of every package that a constraints file pins with `==`."""
    lines = [line.partition("#")[0].strip() for line in constraints.read_text(encoding="utf-8").splitlines()]
    return dict(line.split("==") for line in lines if "==" in line)


def cpu() -> str:
    """The name of the processor, with the numbers of its family and model: virtual machines shorten the name."""
    found = _cpuinfo()
    name = found.get("model name") or platform.processor() or platform.machine()
    numbers = [
        f"{key.removeprefix('cpu ')} {found[key]}" for key in ("cpu family", "model", "stepping") if key in found
    ]
    return f"{name} ({', '.join(numbers)})" if numbers else name


def vector_instructions() -> list[str]:
    """The vector instructions that the processor offers, whether they are used or not; empty if unknown."""
    found = _cpuinfo()
    words = (found.get("flags") or found.get("Features") or "").split()
    return sorted(word for word in words if word.startswith(("avx", "fma", "amx", "asimd", "sve")))


def _cpuinfo() -> dict[str, str]:
    """What Linux says of the first processor."""
    info = Path("/proc/cpuinfo")
    first = info.read_text(encoding="utf-8").partition("\n\n")[0] if info.is_file() else ""
    return {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in first.splitlines())}


def gpus() -> list[str]:
    """Name, memory and driver of every NVIDIA GPU; empty without a driver.

    Raises: RuntimeError in one line if the driver does not answer.
    """
    try:
        lines = _output(["nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"])
    except FileNotFoundError:
        return []
    return lines.splitlines()


def _git(root: Path, *arguments: str) -> str:
    # Hooks of git set variables, of which some name the repository that they are of.
    own = {name: value for name, value in os.environ.items() if name not in GIT_PLACES}
    return _output(["git", "-C", str(root), *arguments], own | {"LC_ALL": "C"})


def _output(command: list[str], environment: dict[str, str] | None = None) -> str:
    done = subprocess.run(
        command,
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        stdin=subprocess.DEVNULL,
        env=environment,
    )
    if done.returncode:
        reason = " ".join((done.stderr or done.stdout).split()) or f"exit status {done.returncode}"
        raise RuntimeError(f"{command[0]}: {reason}")
    return done.stdout
