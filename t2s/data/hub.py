"""Files of a dataset repository on the Hugging Face hub, at one commit, each checked against the hub's own digest.

huggingface_hub lists and transfers the files. Since version 1.18 it never resumes an interrupted download (its issue
4196), so this module keeps the partial file and passes it to the library's `http_get`, which requests the rest.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Any, BinaryIO, cast

import httpx2

from t2s.data import variables

variables.check_imports()

from huggingface_hub import HfApi, constants, hf_hub_url  # noqa: E402
from huggingface_hub.errors import (  # noqa: E402
    EntryNotFoundError,
    HfHubHTTPError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.file_download import http_get  # noqa: E402
from huggingface_hub.hf_api import RepoFile  # noqa: E402
from huggingface_hub.utils import build_hf_headers  # noqa: E402
from tqdm import tqdm  # noqa: E402

from t2s.data.files import UNSUPPORTED, Fields, check_fields, read_json, remedy, sha256, write_json  # noqa: E402

DEMOS = "yifengzhu-hf/LIBERO-datasets"
ASSETS = "lerobot/libero-assets"
"""Source of both names: hf-libero 0.1.4, libero/libero/utils/download_utils.py."""

ALTERNATIVES = (
    "set HF_ENDPOINT to a mirror of the hub, or `demos.source: scripted` for scripted demonstrations,"
    " or `assets.path` to a folder of LIBERO's assets"
)
MANIFEST: Fields = {"repository": str, "revision": str, "files": dict}
FACTS: Fields = {"size": int, "sha256": str}
NO_ROOM = (errno.ENOSPC, errno.EFBIG, errno.EDQUOT)


class FileError(ValueError):
    """Something is wrong with one file alone, so the others can be had."""


@dataclass(frozen=True)
class File:
    """One file as the hub lists it."""

    path: str
    size: int
    """[bytes]"""
    digest: str
    """sha256 of the content if the hub stores it as a large file, otherwise git's blob id (sha1)"""


@dataclass(frozen=True)
class Repository:
    """A dataset repository at one commit. The default `endpoint` is the hub that HF_ENDPOINT names."""

    name: str
    revision: str
    endpoint: str | None = None

    def reach(self, timeout: float | None = None) -> None:
        """Check that the hub answers within `timeout` [s] and has this commit.

        Raises: ValueError in one line if not, or if a variable for connections is wrong.
        """
        variables.check_connection()
        with self._explained("its commit"):
            api = HfApi(endpoint=self.endpoint)
            commit = api.repo_info(self.name, revision=self.revision, repo_type="dataset", timeout=timeout).sha
            if commit != self.revision:
                raise ValueError(f"{self}: expected this commit, got {commit} from the hub")

    def files(self, folder: str | None = None) -> dict[str, File]:
        """All files below `folder`, or of the whole repository, by path.

        Raises: ValueError in one line if the hub cannot be reached, or has no such repository, commit or folder.
        """
        self.reach()
        api = HfApi(endpoint=self.endpoint)
        with self._explained(folder or "its list of files"):
            tree = api.list_repo_tree(self.name, folder, recursive=True, revision=self.revision, repo_type="dataset")
            found = [entry for entry in tree if isinstance(entry, RepoFile)]
        return {
            entry.path: File(entry.path, entry.size, entry.lfs.sha256 if entry.lfs else entry.blob_id)
            for entry in found
        }

    def download(self, files: Sequence[File], folder: Path, n_workers: int) -> dict[str, str]:
        """Download those of `files` that are not in `folder` yet. A file appears there only when it is complete.

        Returns one line for each file that could not be had because it alone is wrong, by path. The others are there.

        Raises: ValueError in one line if the disk is too small or the hub cannot be reached.
        """
        todo, wrong = [], {}
        for file in files:
            try:
                if not _is_there(folder / file.path, file):
                    todo.append(file)
            except FileError as error:
                wrong[file.path] = str(error)
        missing = sum(file.size for file in todo)
        kept = sum(_partial(folder, file).stat().st_size for file in todo if _partial(folder, file).exists())
        folder.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(folder).free
        if missing - kept > free:
            raise ValueError(f"{folder}: expected {_gb(missing - kept)} of free disk space for {self}, got {_gb(free)}")
        stop = Event()
        with (
            tqdm(total=missing, desc=f"download {self.name}", unit="B", unit_scale=True, mininterval=5) as bar,
            ThreadPoolExecutor(n_workers) as pool,
        ):
            jobs = {pool.submit(self._download, file, folder, _Bar(bar, stop)): file.path for file in todo}
            try:
                for job in as_completed(jobs):
                    try:
                        job.result()
                    except FileError as error:
                        wrong[jobs[job]] = str(error)
            finally:
                stop.set()
                pool.shutdown(cancel_futures=True)
        return wrong

    def _download(self, file: File, folder: Path, bar: _Bar) -> None:
        path, partial = folder / file.path, _partial(folder, file)
        partial.parent.mkdir(parents=True, exist_ok=True)
        with self._explained(file.path), partial.open("ab") as stream:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise ValueError(f"{partial}: another process is downloading it") from None
            except OSError as error:
                if error.errno not in UNSUPPORTED:  # without locks, nothing tells of another process
                    raise
            resumed = stream.tell() > 0
            self._transfer(file, stream, bar)
            if resumed and not _is(partial, file):  # the partial file was not the beginning of this file
                stream.truncate(0)
                self._transfer(file, stream, bar)
            if not _is(partial, file):
                got = f"{partial.stat().st_size} bytes of digest {_digest(partial, file)}"
                partial.unlink()
                raise FileError(
                    f"{self}: {file.path}: expected {file.size} bytes of digest {file.digest}, got {got}; not kept"
                )
            partial.replace(path)

    def _transfer(self, file: File, stream: BinaryIO, bar: _Bar) -> None:
        """Append the missing bytes, and retry as long as some arrive. A partial file that is too long starts again."""
        url = hf_hub_url(self.name, file.path, revision=self.revision, repo_type="dataset", endpoint=self.endpoint)
        headers = build_hf_headers() | {"Accept-Encoding": "identity"}
        if stream.seek(0, os.SEEK_END) > file.size:
            stream.truncate(0)
        bar.update(stream.seek(0, os.SEEK_END))
        while (start := stream.seek(0, os.SEEK_END)) < file.size:
            try:
                http_get(url, stream, resume_size=start, headers=headers, tqdm_class=cast(Any, bar))
                break
            except httpx2.NetworkError:
                if stream.seek(0, os.SEEK_END) == start:
                    raise
        stream.flush()

    @contextmanager
    def _explained(self, what: str) -> Iterator[None]:
        """Turn errors of the library and of the system into ValueErrors of one line."""
        endpoint = self.endpoint or constants.ENDPOINT
        try:
            yield
        except (OfflineModeIsEnabled, httpx2.TransportError) as error:
            reason = _line(error) or type(error).__name__
            raise ValueError(
                f"{self}: no connection to {endpoint} for {what} ({reason});"
                f" run the command again to resume, or {ALTERNATIVES}"
            ) from None
        except RevisionNotFoundError:
            raise ValueError(f"{self}: no such commit at {endpoint}") from None
        except RepositoryNotFoundError:
            raise ValueError(f"{self}: no such repository at {endpoint}") from None
        except EntryNotFoundError:
            raise FileError(f"{self}: no '{what}' at {endpoint}") from None
        except HfHubHTTPError as error:
            raise FileError(f"{self}: {endpoint} answered {error.response.status_code} for {what}") from None
        except (ImportError, httpx2.InvalidURL) as error:
            raise ValueError(
                f"{self}: {endpoint} cannot be asked for {what} ({_line(error)}); check HF_ENDPOINT, HTTP_PROXY,"
                " HTTPS_PROXY, ALL_PROXY and NO_PROXY"
            ) from None
        except json.JSONDecodeError:
            raise ValueError(f"{self}: {endpoint} does not answer like a hub; check HF_ENDPOINT") from None
        except OSError as error:
            if error.errno in NO_ROOM:
                raise ValueError(
                    f"{what}: no disk space ({error.strerror}); free some, then run the command again to resume"
                ) from None
            raise ValueError(f"{self}: {what}: {_line(error)}") from None

    def __str__(self) -> str:
        return f"{self.name}@{self.revision[:8]}"


class _Bar:
    """Stands in for the progress bar of `http_get`: one bar for all files, which raises if another file has failed."""

    def __init__(self, bar: Any, stop: Event) -> None:
        self.bar = bar
        self.stop = stop

    def __call__(self, **_: Any) -> _Bar:
        return self

    def __enter__(self) -> _Bar:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def update(self, n: int) -> None:
        if self.stop.is_set():
            raise ValueError("stopped because another file failed")
        self.bar.update(n)


def is_kept(manifest_path: Path, folder: Path, repository: Repository) -> bool:
    """Whether all files of a manifest are in `folder`, unchanged since it was written.

    Raises: ValueError for a manifest of another commit, or a file that has changed.
    """
    if not manifest_path.is_file():
        return False
    manifest = read_json(manifest_path, MANIFEST)
    for path, facts in manifest["files"].items():
        check_fields(facts, FACTS, f"{manifest_path}: {path}", remedy(manifest_path))
    expected = {"repository": repository.name, "revision": repository.revision}
    found = {key: manifest[key] for key in expected}
    if found != expected:
        raise ValueError(
            f"{manifest_path}: expected {expected}, got {found};"
            " set that revision in params.yaml, or remove this manifest and the files it lists"
        )
    present = {path: facts for path, facts in manifest["files"].items() if (folder / path).is_file()}
    for path, facts in present.items():
        _check(folder / path, facts)
    return len(present) == len(manifest["files"])


def keep(manifest_path: Path, folder: Path, repository: Repository, paths: Sequence[str]) -> None:
    """Write the manifest of `paths`: the commit, and the size and sha256 of each file.

    Raises: ValueError if there already is a manifest with other content.
    """
    facts = {p: {"size": (folder / p).stat().st_size, "sha256": sha256(folder / p)} for p in paths}
    manifest = {"repository": repository.name, "revision": repository.revision, "files": facts}
    if manifest_path.is_file() and read_json(manifest_path, MANIFEST) != manifest:
        raise ValueError(f"{manifest_path}: expected the files that it lists, got others")
    write_json(manifest_path, manifest)


def _check(path: Path, facts: dict[str, Any]) -> None:
    size = path.stat().st_size
    if size != facts["size"]:
        raise ValueError(f"{path}: expected {facts['size']} bytes, got {size}; remove it to download it again")
    got = sha256(path)
    if got != facts["sha256"]:
        raise ValueError(f"{path}: expected sha256 {facts['sha256']}, got {got}; remove it to download it again")


def _is_there(path: Path, file: File) -> bool:
    if not path.is_file():
        return False
    if not _is(path, file):
        raise FileError(f"{path}: expected the hub's file of digest {file.digest}; remove it to download it again")
    return True


def _is(path: Path, file: File) -> bool:
    return path.stat().st_size == file.size and _digest(path, file) == file.digest


def _partial(folder: Path, file: File) -> Path:
    path = folder / file.path
    return path.with_name(f".{path.name}.{file.digest[:16]}.partial")


def _digest(path: Path, like: File) -> str:
    """The digest of `path`, of the same kind as the digest that the hub gives."""
    if len(like.digest) == 64:
        return sha256(path)
    content = path.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()  # as `git hash-object`


def _gb(n_bytes: int) -> str:
    return f"{n_bytes / 1e9:.2f} GB"


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())
