"""What results come from, besides data: code, packages and machine. Needs only the standard library."""

from __future__ import annotations

import hashlib
import platform
import subprocess
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

from t2s.data.files import sha256


def work_tree(root: Path) -> tuple[str, list[str]]:
    """Git's commit at `root`, and the files that differ from it, without those that git ignores.

    Raises: OSError without git; RuntimeError in one line without a repository or a commit.
    """
    commit = _output(["git", "-C", str(root), "rev-parse", "--verify", "HEAD"]).strip()
    changed = _output(["git", "-C", str(root), "status", "--porcelain", "-z", "--no-renames"])
    return commit, sorted(entry[3:] for entry in changed.split("\0") if entry)


def digest(paths: Iterable[Path]) -> str:
    """One digest of the paths and contents of all files."""
    lines = [f"{sha256(path)}  {path.as_posix()}\n" for path in sorted(paths)]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def pins(constraints: Path) -> dict[str, str]:
    """The version of every package that a constraints file pins with `==`."""
    lines = [line.partition("#")[0].strip() for line in constraints.read_text().splitlines()]
    return dict(line.split("==") for line in lines if "==" in line)


def installed(name: str) -> str | None:
    """The version of a package, found without importing it; None if it is not installed."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def cpu() -> str:
    """The name of the processor."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def gpus() -> list[str]:
    """Name, memory and driver of every NVIDIA GPU; empty without a driver.

    Raises: RuntimeError in one line if the driver does not answer.
    """
    try:
        lines = _output(["nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"])
    except FileNotFoundError:
        return []
    return lines.splitlines()


def _output(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if done.returncode:
        reason = " ".join((done.stderr or done.stdout).split()) or f"exit status {done.returncode}"
        raise RuntimeError(f"{command[0]}: {reason}")
    return done.stdout
