"""Files are written whole or not at all."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import synthetic

from t2s.data.files import atomic, write_text


@contextmanager
def full_disk() -> Iterator[None]:
    """No file grows beyond 1000 bytes: not for a whole test, as pytest's own output may be a file."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_on_a_full_disk_the_file_is_named_and_stays_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    write_text(path, "before")
    with full_disk(), pytest.raises(ValueError, match=r"file.txt: could not be written: File too large$"):
        write_text(path, "x" * 2000)
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


def test_on_a_full_disk_no_demonstrations_are_written(tmp_path: Path) -> None:
    with full_disk(), pytest.raises(ValueError, match=r"a.hdf5: could not be written: File too large$"):
        synthetic.write_demos(tmp_path / "a.hdf5", [3], 32, "push")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "results").touch()
    with pytest.raises(ValueError, match=r"results/file.txt: could not be written: (Not a directory|File exists)$"):
        write_text(tmp_path / "results" / "file.txt", "x")


def test_what_fails_halfway_leaves_nothing(tmp_path: Path) -> None:
    def fail() -> None:
        with atomic(tmp_path / "file.txt") as temporary:
            temporary.write_text("half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert list(tmp_path.iterdir()) == []
