"""File systems that lack an operation, as networks and shared folders do. The simplest one is taken for it."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import hub_server
import pytest
import synthetic
from test_download import BIG, CHUNK, COMMIT, command, environment
from test_workflow import copy_repository

from t2s.data import hub
from t2s.data.assets import FOLDERS

WRITE = "from t2s.data.files import write_text; write_text('file.txt', 'before'); write_text('file.txt', 'after')"
READ = """
from pathlib import Path
from t2s.data import demonstrations
demonstrations.check(Path("a.hdf5"), 32, 1, ["push it"])
"""
Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The library that makes operations fail."""
    if (compiler := shutil.which("cc")) is None:
        pytest.skip("no C compiler")
    path = tmp_path_factory.mktemp("library") / "file_system.so"
    source = Path(__file__).with_name("file_system.c")
    subprocess.run([compiler, "-shared", "-fPIC", "-o", str(path), str(source), "-ldl"], check=True)
    return path


@pytest.fixture
def without(library: Path, tmp_path: Path) -> Run:
    """Run a command in `tmp_path` where the operations, named in capitals, give these errors."""

    def run(
        command: list[str], environment: Mapping[str, str] = os.environ, **errors: int
    ) -> subprocess.CompletedProcess[str]:
        given = {**environment, "LD_PRELOAD": str(library)} | {name: str(number) for name, number in errors.items()}
        return subprocess.run(command, cwd=tmp_path, env=given, capture_output=True, text=True, check=False)

    return run


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


@pytest.mark.parametrize(
    ("operation", "number"),
    [
        ("FSYNC_FOLDER", errno.EINVAL),
        ("FSYNC_FOLDER", errno.ENOTSUP),
        ("FSYNC_FOLDER", errno.EACCES),
        ("FSYNC", errno.EINVAL),
        ("RENAME", errno.EEXIST),
        ("RENAME", errno.EPERM),
        ("LINK", errno.EPERM),
        ("CHMOD", errno.EPERM),
        ("FLOCK", errno.ENOLCK),
    ],
)
def test_a_file_is_written_without(without: Run, tmp_path: Path, operation: str, number: int) -> None:
    done = without(python(WRITE), **{operation: number})
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "file.txt").read_text(encoding="utf-8") == "after"
    assert len(list(tmp_path.iterdir())) == 1


def test_a_file_that_cannot_be_flushed_is_not_written(without: Run, tmp_path: Path) -> None:
    done = without(python(WRITE), FSYNC=errno.EIO)
    assert done.stderr.endswith("ValueError: file.txt: could not be written: Input/output error\n")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOLCK, errno.ENOTSUP])
def test_demonstrations_are_read_without_locks(without: Run, tmp_path: Path, number: int) -> None:
    synthetic.write_demos(tmp_path / "a.hdf5", [3], 32, "push it")
    done = without(python(READ), FLOCK=number)
    assert (done.returncode, done.stderr) == (0, "")


def test_files_are_downloaded_without_locks(without: Run, tmp_path: Path) -> None:
    big = b"x" * CHUNK
    content = {f"{folder}/a.xml": b"<mujoco/>" for folder in FOLDERS} | {BIG: big}
    with hub_server.serving(hub_server.Hub(hub.ASSETS, COMMIT, content)) as server:
        done = without(command(tmp_path, "assets"), environment(server.endpoint), FLOCK=errno.ENOSYS)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "downloads" / "libero-assets" / BIG).read_bytes() == big


def test_a_job_of_the_workflow_runs_without_all_of_it(without: Run, tmp_path: Path) -> None:
    copy_repository(tmp_path)
    wanted = "results/language/blocks_object.safetensors"
    errors = {"FSYNC_FOLDER": errno.EINVAL, "RENAME": errno.EEXIST, "LINK": errno.EPERM, "FLOCK": errno.ENOSYS}
    done = without([sys.executable, "-m", "snakemake", "--cores", "1", wanted], **errors)
    assert (tmp_path / wanted).is_file(), done.stderr
    assert "could not be" not in done.stderr
    assert "not implemented" not in done.stderr
