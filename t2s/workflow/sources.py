"""The files of t2s that a command imports. Snakemake does not track imports, so rules take these files as input."""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterable
from pathlib import Path

from t2s.learners import LEARNERS

ROOT = Path(__file__).parents[2]
"""The checkout. Paths of files of t2s are relative to it."""
COMMANDS = ("stages", "report", "support")
"""Folders of t2s whose files are commands."""


@functools.cache  # called thousands of times for a large study
def code(command: str, learner: str | None = None) -> tuple[str, ...]:
    """Sorted paths of the files that `t2s <command>` imports, its own included.

    Of the learners, only `learner` and its imports are included. t2s/params.py and t2s/learners.py are left out: they
    check and name what every rule has in `params:`.

    Raises: ValueError for an unknown command.
    """
    modules = [_module_of(command)]
    if learner is not None:
        modules.append(LEARNERS[learner].partition(":")[0])
    found = closure(modules) - {ROOT / "t2s/params.py", ROOT / "t2s/learners.py"}
    return tuple(sorted(str(path.relative_to(ROOT)) for path in found))


def producing(source: str, learners: Iterable[str]) -> list[str]:
    """Paths of the files that affect the numbers of a study, from demonstrations of this `source` to the metrics."""
    first = "download" if source == "download" else "demos"
    found = {*code(first), *code("language"), *code("choose"), *code("metrics")}
    for learner in learners:
        found |= {*code("learn", learner), *code("evaluate", learner)}
    return sorted(found)


def closure(modules: Iterable[str]) -> set[Path]:
    """The files of these modules, and those that they import, directly or indirectly."""
    found: set[Path] = set()
    waiting = list(modules)
    while waiting:
        path = file_of(waiting.pop())
        if path and path not in found:
            found.add(path)
            waiting += imports(path)
    return found


@functools.cache
def file_of(module: str) -> Path | None:
    """The file of a module of t2s, or None."""
    path = ROOT / Path(*module.split("."))
    files = [path.with_suffix(".py"), path / "__init__.py"]
    return next((file for file in files if file.is_file()), None)


@functools.cache
def imports(path: Path) -> frozenset[str]:
    """Names that the file imports from t2s anywhere in it, and the packages that contain them."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    within = [name.split(".") for name in names if name.split(".")[0] == "t2s"]
    return frozenset(".".join(parts[: i + 1]) for parts in within for i in range(len(parts)))


def _module_of(command: str) -> str:
    modules = [f"t2s.{folder}.{command}" for folder in COMMANDS]
    found = [module for module in modules if file_of(module)]
    if not found:
        raise ValueError(f"unknown command '{command}' of t2s; looked for {modules}")
    return found[0]
