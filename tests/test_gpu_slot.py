"""workflow/scripts/gpu_slot.sh: which GPU a job gets, on machines of all kinds."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

SLOT = Path(__file__).parents[1] / "workflow" / "scripts" / "gpu_slot.sh"
SHOW = ["bash", "-c", "echo ${CUDA_VISIBLE_DEVICES-unset}"]


@pytest.fixture(autouse=True)
def _machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with two GPUs."""
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    program(tmp_path / "nvidia-smi", "echo 0; echo 1")


def program(path: Path, text: str) -> None:
    path.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
    path.chmod(0o755)


def run(**environment: str) -> tuple[str, str]:
    """The job's CUDA_VISIBLE_DEVICES, and what is noted."""
    done = subprocess.run(
        [SLOT, *SHOW], env=os.environ | environment, capture_output=True, text=True, timeout=10, check=True
    )
    return done.stdout.strip(), done.stderr


def test_jobs_beside_each_other_get_different_gpus() -> None:
    command = [str(SLOT), "bash", "-c", "echo $CUDA_VISIBLE_DEVICES; sleep 1"]
    jobs = [subprocess.Popen(command, text=True, stdout=subprocess.PIPE) for _ in range(3)]
    devices = [job.communicate(timeout=30)[0].strip() for job in jobs]
    assert set(devices) == {"0", "1"}
    assert all(job.returncode == 0 for job in jobs)


@pytest.mark.parametrize(
    ("visible", "gets"),
    [
        ("", ""),  # all are hidden
        ("-1", "-1"),
        ("1", "1"),
        ("2, 5", "2"),
        ("3,-1,4", "3,-1,4"),  # CUDA sees only 3
        ("GPU-8f3c,GPU-9d4e", "GPU-8f3c"),
        ("MIG-GPU-8f3c/1/0,MIG-GPU-8f3c/2/0", "MIG-GPU-8f3c/1/0"),
    ],
)
def test_only_visible_gpus_are_used(visible: str, gets: str) -> None:
    assert run(CUDA_VISIBLE_DEVICES=visible) == (gets, "")


@pytest.mark.skipif(os.getuid() != 0, reason="only root can be somebody else")
def test_another_user_is_not_kept_out(monkeypatch: pytest.MonkeyPatch) -> None:
    with tempfile.TemporaryDirectory() as shared:  # pytest's own folders are private
        Path(shared).chmod(0o1777)
        monkeypatch.setenv("TMPDIR", shared)
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
        assert run() == ("0", "")
        script = shutil.copy(SLOT, shared)
        command = ["setpriv", "--reuid=12345", "--regid=12345", "--clear-groups", "bash", script, *SHOW]
        done = subprocess.run(command, cwd=shared, capture_output=True, text=True, timeout=10, check=False)
        assert (done.stdout, done.stderr) == ("0\n", "")


def test_a_folder_for_temporary_files_that_is_not_there_does_not_matter(tmp_path: Path) -> None:
    assert run(TMPDIR=str(tmp_path / "none"))[0] in {"0", "1"}


@pytest.mark.parametrize("error", ["echo 9: Function not implemented >&2; exit 71", "exit 127"])
def test_without_locks_the_first_gpu_is_used_and_a_note_says_so(tmp_path: Path, error: str) -> None:
    program(tmp_path / "flock", error)
    device, noted = run()
    assert device == "0"
    assert noted.splitlines()[-1].startswith("note: flock cannot lock files in ")


def test_a_folder_of_locks_that_is_a_link_is_not_used(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / f"t2s-{os.getuid()}").symlink_to(tmp_path / "other")
    device, noted = run()
    assert device == "0"
    assert "is not a folder of this user" in noted
    assert not any((tmp_path / "other").iterdir())


def test_without_a_driver_the_command_just_runs(tmp_path: Path) -> None:
    program(tmp_path / "nvidia-smi", "exit 9")
    assert run() == ("unset", "")
