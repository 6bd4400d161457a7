"""Download LIBERO's published demonstrations or its scene assets from the Hugging Face hub, each at one commit.

Complete files are not downloaded again, and an interrupted download resumes.
Reads: the hub (HF_ENDPOINT names a mirror), the tasks' BDDL files; params `demos`, `download`.
Writes: the files below `download.folder`, with manifests that every later run checks them against; with --manifest,
also a manifest of one task's demonstrations for `t2s learn`.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from t2s import params
from t2s.data import assets, demonstrations, hub, suites
from t2s.data.files import sha256, write_json

N_SHOWN = 20  # of the files that are wrong


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options to `parser`."""
    parser.add_argument("what", choices=["demos", "assets"], help="what to download")
    parser.add_argument("--suite", help="suite of the demonstrations")
    parser.add_argument("--task", type=int, help="number of the task in the suite, from 0; default: all")
    parser.add_argument("--params", default="params.yaml", help="params file, YAML or JSON")
    parser.add_argument("--manifest", type=Path, help="with --task: also write its manifest for `t2s learn`")


def main(args: argparse.Namespace) -> None:
    """Download the files that are missing."""
    download = params.Download.read(args.params)
    if args.what == "assets":
        print(f"assets: {get_assets(hub.Repository(hub.ASSETS, download.assets_revision), download)}", file=sys.stderr)
        return
    if args.suite is None or (args.task is None and args.manifest):
        raise ValueError("expected --suite with demos, and --task with --manifest")
    tasks = suites.tasks(args.suite) if args.task is None else [suites.task(args.suite, args.task)]
    repository = hub.Repository(hub.DEMOS, download.demos_revision)
    paths = get_demos(repository, download, tasks)
    if args.manifest:
        n_demos = params.Demos.read(args.params).n_demos
        write_json(args.manifest, describe(repository, tasks[0], paths[0], n_demos, args.manifest))


def get_demos(repository: hub.Repository, download: params.Download, tasks: Sequence[suites.Task]) -> list[Path]:
    """Paths of the HDF5 files of `tasks`, all of one suite. Missing files are downloaded and checked.

    Raises: ValueError if a download fails, a file is wrong, or a file has changed since its download, in one line for
    each such file. The files of the other tasks are there, with their manifests.
    """
    folder = Path(download.folder) / "LIBERO-datasets"
    names = {task: f"{task.suite}/{task.name}_demo.hdf5" for task in tasks}
    manifests = {task: (folder / name).with_suffix(".json") for task, name in names.items()}
    errors: list[str] = []
    missing = []
    for task in tasks:
        with noted(errors):
            if not hub.is_kept(manifests[task], folder, repository):
                missing.append(task)
    if missing:
        listed = repository.files(tasks[0].suite)
        wanted = {}
        for task in missing:
            with noted(errors):
                wanted[task] = _find(listed, names[task], repository)
        wrong = repository.download(list(wanted.values()), folder, download.n_workers)
        errors += wrong.values()
        for task in wanted:
            if names[task] not in wrong:
                with noted(errors):
                    check_hubs(folder / names[task], task, repository)
                    hub.keep(manifests[task], folder, repository, [names[task]])
    raise_all(errors)
    return [folder / name for name in names.values()]


def get_assets(repository: hub.Repository, download: params.Download) -> Path:
    """The folder of LIBERO's scene assets. Missing files are downloaded and checked.

    Raises: ValueError as `get_demos`.
    """
    folder = Path(download.folder) / "libero-assets"
    manifest = folder.with_suffix(".json")
    if not hub.is_kept(manifest, folder, repository):
        listed = repository.files()
        lacking = [name for name in assets.FOLDERS if not any(path.startswith(f"{name}/") for path in listed)]
        if lacking:
            raise ValueError(f"{repository}: expected folders {list(assets.FOLDERS)}, but {lacking} are missing")
        wrong = repository.download(list(listed.values()), folder, download.n_workers)
        scenes = [path for path in listed if path.endswith(".xml") and path not in wrong]
        raise_all([*wrong.values(), *unreadable(repository, folder, scenes)])
        hub.keep(manifest, folder, repository, sorted(listed))
    return folder


@contextmanager
def noted(errors: list[str]) -> Iterator[None]:
    """Add a ValueError to `errors`, and go on."""
    try:
        yield
    except ValueError as error:
        errors.append(str(error))


def raise_all(errors: Sequence[str]) -> None:
    """Do nothing without `errors`.

    Raises: ValueError with a line for each of the first `N_SHOWN`, and the number of the others.
    """
    more = [f"{len(errors) - N_SHOWN} more files are wrong"] if len(errors) > N_SHOWN else []
    if errors:
        raise ValueError("\nerror: ".join([*errors[:N_SHOWN], *more]))


def unreadable(repository: hub.Repository, folder: Path, scenes: Sequence[str]) -> Iterator[str]:
    """One line for each of the XML files `scenes` below `folder` that cannot be parsed."""
    for path in scenes:
        try:
            ElementTree.parse(folder / path)
        except ElementTree.ParseError as error:
            yield (
                f"{folder / path}: not readable XML: {error}; the hub's own file is so at commit {repository.revision},"
                " so set another download.assets_revision"
            )


def check_hubs(path: Path, task: suites.Task, repository: hub.Repository) -> None:
    """Check the content of a file that is the hub's own, byte for byte.

    Raises: ValueError as `check`, with what helps when downloading it again does not.
    """
    try:
        check(path, task)
    except ValueError as error:
        raise ValueError(
            f"{error}; the hub's own file is so at commit {repository.revision}, so leave task {task.index} out of"
            " study.order, or set another download.demos_revision, or demos.source: scripted"
        ) from None


def check(path: Path, task: suites.Task) -> None:
    """Check the content of a downloaded file against its task.

    The instruction may be the one in the BDDL file or the one that LIBERO takes from the task's name. They differ in
    29 of its 130 tasks ("pick" and "pick up").

    Raises: ValueError in one line that names the file and what is wrong with it.
    """
    spoken = sorted({suites.language(task.bddl_path), task.instruction})
    demonstrations.check(path, params.PUBLISHED_SIZE, params.N_PUBLISHED, spoken)


def describe(repository: hub.Repository, task: suites.Task, path: Path, n_demos: int, manifest: Path) -> dict[str, Any]:
    """The manifest of the first `n_demos` demonstrations in `path`, which `t2s learn` reads."""
    absolute = Path(path).is_absolute()
    return {
        "file": str(path) if absolute else os.path.relpath(path, manifest.parent),
        "sha256": sha256(path),
        "n_demos": n_demos,
        "source": "human",
        "observations": demonstrations.OBSERVATIONS["human"],
        "instruction": task.instruction,
        "repository": repository.name,
        "revision": repository.revision,
    }


def _find(listed: dict[str, hub.File], name: str, repository: hub.Repository) -> hub.File:
    if name not in listed:
        raise ValueError(f"{repository}: no '{name}'; have {sorted(listed)}")
    return listed[name]
