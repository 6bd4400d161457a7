"""HDF5 files. Whatever h5py raises on a file that is damaged or strange becomes a ValueError in one line."""

from __future__ import annotations

import os
import resource
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import h5py
import numpy as np

from t2s.data.files import UNSUPPORTED, one_line

Kind = Literal["group", "dataset"]
PATIENCE = 20  # [s] of processor time that reading any file may take, and a second more for so many bytes of it:
BYTES_PER_SECOND = 2_000_000


@dataclass(frozen=True)
class Group:
    """A group of a file that is open for reading; `name` is its path in the file."""

    h5py: Any
    name: str = ""

    def kinds(self) -> dict[str, Kind | None]:
        """What every member is, by name; None for a link to nothing.

        Raises: ValueError if the file is damaged.
        """
        with _calls_of_h5py(self.name):
            return {name: _kind(self.h5py, name) for name in self.h5py}

    def kind(self, path: str) -> Kind | None:
        """What is at `path`; None if nothing is.

        Raises: ValueError if the file is damaged.
        """
        with _calls_of_h5py(self._path(path)):
            return _kind(self.h5py, path)

    def group(self, path: str) -> Group:
        """The group at `path`.

        Raises: ValueError if there is none, or if the file is damaged.
        """
        self._expect("group", path)
        with _calls_of_h5py(self._path(path)):
            return Group(self.h5py[path], self._path(path))

    def array(self, path: str, shape: tuple[int | None, ...], kind: Literal["u1", "f"]) -> np.ndarray:
        """The dataset at `path`: bytes (u1), or floats of any size (f). None in `shape` stands for any length.

        Raises: ValueError if there is none, if it has another shape or type, or if the file is damaged.
        """
        self._expect("dataset", path)
        with _calls_of_h5py(self._path(path)):
            dataset = self.h5py[path]
            found, dtype = dataset.shape, dataset.dtype
        # Before anything is read: a damaged shape may claim more than fits into memory.
        if (
            found is None
            or len(found) != len(shape)
            or any(e not in (None, n) for e, n in zip(shape, found, strict=True))
        ):
            wanted = ", ".join("n" if length is None else str(length) for length in shape)
            raise ValueError(f"{self._path(path)}: expected shape ({wanted}{',' * (len(shape) == 1)}), got {found}")
        if (dtype != np.uint8) if kind == "u1" else (dtype.kind != "f"):
            raise ValueError(f"{self._path(path)}: expected {'uint8' if kind == 'u1' else 'floats'}, got {dtype}")
        with _calls_of_h5py(self._path(path)):
            array: np.ndarray = dataset[()]
        return array

    def attribute(self, name: str) -> Any:
        """The attribute as a Python value, text as str; None if it is missing or empty.

        Raises: ValueError if the file is damaged.
        """
        with _calls_of_h5py(f"attribute {name} of '{self.name}'"):
            found = self.h5py.attrs.get(name)
            if isinstance(found, h5py.Empty):
                return None
            if isinstance(found, np.generic):
                found = found.item()
            return found.decode("utf-8") if isinstance(found, bytes) else found

    def _expect(self, kind: Kind, path: str) -> None:
        if (found := self.kind(path)) == kind:
            return
        inside, _, _ = path.rpartition("/")
        beside = self.group(inside) if inside and self.kind(inside) == "group" else self
        got = f"a {found}" if found else f"none; have {sorted(beside.kinds())}"
        raise ValueError(f"expected a {kind} '{self._path(path)}', got {got}")

    def _path(self, path: str) -> str:
        return f"{self.name}/{path}".lstrip("/")


@contextmanager
def reading(path: Path) -> Iterator[Group]:
    """The root of the file.

    Raises: ValueError if it cannot be opened.
    """
    with _calls_of_h5py(""):
        try:
            file = h5py.File(path, "r")
        except OSError as error:
            if error.errno not in UNSUPPORTED:
                raise
            file = h5py.File(path, "r", locking=False)  # on a file system without locks
    try:
        yield Group(file)
    finally:
        with suppress(Exception):  # nothing was written
            file.close()


def try_out(path: Path, use: Callable[[Group], object]) -> None:
    """Read the file by `use` in a process of its own: on some damaged files, HDF5 crashes or never returns.

    What `use` returns or raises is not passed on.

    Raises: ValueError if the process crashes, or takes implausibly long.
    """
    seconds = PATIENCE + path.stat().st_size // BYTES_PER_SECOND if path.is_file() else PATIENCE
    child = os.fork()
    if child == 0:
        try:
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
            with reading(path) as file:
                use(file)
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        end = signal.Signals(os.WTERMSIG(status))
        how = "reads for ever" if end == signal.SIGXCPU else f"crashes ({end.name})"
        raise ValueError(f"not a readable file of HDF5: it is damaged so that HDF5 {how}")


def content(name: str, fill: Callable[[Any], None]) -> bytes:
    """The bytes of a new file that `fill` gives its groups and datasets. The same content gives the same bytes."""
    # In memory, because HDF5 would end the process on a full disk.
    with h5py.File(name, "w", driver="core", backing_store=False) as file:
        fill(file)
        file.flush()
        image: bytes = file.id.get_file_image()
    return image


@contextmanager
def _calls_of_h5py(what: str) -> Iterator[None]:
    """Guards calls of h5py and nothing else: on damaged files it raises almost any exception."""
    try:
        yield
    except Exception as error:
        where = f"{what}: " if what else ""
        raise ValueError(f"not a readable file of HDF5: {where}{one_line(error)}") from None


def _kind(group: Any, path: str) -> Kind | None:
    try:
        found = group.get(path, getclass=True)
    except (KeyError, RuntimeError):  # a link to nothing
        return None
    kinds: dict[type, Kind] = {h5py.Group: "group", h5py.Dataset: "dataset"}
    return kinds.get(found)
