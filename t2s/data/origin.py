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
    first = info.read_text().partition("\n\n")[0] if info.is_file() else ""
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


def _output(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if done.returncode:
        reason = " ".join((done.stderr or done.stdout).split()) or f"exit status {done.returncode}"
        raise RuntimeError(f"{command[0]}: {reason}")
    return done.stdout
