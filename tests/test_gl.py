"""The choice of an OpenGL backend, and the one line a person gets when it does not draw."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from t2s import cli
from t2s.errors import SimulationError
from t2s.sim import gl, rollout


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    # Set first, so that both are put back even where they were not set before.
    monkeypatch.setenv("MUJOCO_GL", "")
    monkeypatch.setenv("PYOPENGL_PLATFORM", "")


def test_a_backend_chosen_by_the_user_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MUJOCO_GL", "egl")
    assert gl.choose() == "egl"


def test_the_choice_holds_for_the_processes_started_later() -> None:
    backend = gl.choose()
    assert backend in ("egl", "osmesa")
    assert os.environ["MUJOCO_GL"] == os.environ["PYOPENGL_PLATFORM"] == backend
    assert gl.choose() == backend


def test_without_a_gpu_the_backend_is_osmesa(tmp_path: Path) -> None:
    (tmp_path / "nvidiactl").touch()  # the driver, without a GPU
    assert not gl.nvidia_draws(tmp_path)


def test_the_first_error_is_told_not_what_follows_from_it() -> None:
    stderr = (
        "Traceback (most recent call last):\n"
        '  File "a.py", line 1, in <module>\n'
        "AttributeError: 'NoneType' object has no attribute 'glGetError'\n"
        "Exception ignored in: <function Renderer.__del__ at 0x7f>\n"
        "AttributeError: 'Renderer' object has no attribute '_mjr_context'\n"
    )
    assert gl.first_error(stderr).endswith("no attribute 'glGetError'")


@pytest.mark.sim
def test_the_chosen_backend_draws(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["doctor", "--only", "opengl"]) == 0
    assert capsys.readouterr().out == f"ok     OpenGL: {gl.choose()} draws\n"


@pytest.mark.parametrize("spelling", ["OSMesa", " osmesa", "OSMESA\n"])
def test_a_backend_may_be_spelt_as_mujoco_accepts_it(monkeypatch: pytest.MonkeyPatch, spelling: str) -> None:
    monkeypatch.setenv("MUJOCO_GL", spelling)
    assert gl.choose() == "osmesa"
    assert rollout.versions("cpu")["gl"] == "osmesa"
    assert os.environ["MUJOCO_GL"] == "osmesa"


@pytest.mark.parametrize("backend", ["glfw", "glx", "off", "on", "0", "paper"])
def test_a_backend_that_robosuite_would_replace_is_an_error(monkeypatch: pytest.MonkeyPatch, backend: str) -> None:
    monkeypatch.setenv("MUJOCO_GL", backend)
    expected = f"MUJOCO_GL: expected one of ['egl', 'osmesa'], got '{backend}'; run `unset MUJOCO_GL`"
    with pytest.raises(ValueError, match=re.escape(expected)):
        gl.choose()


@pytest.mark.sim
def test_a_command_says_in_one_line_that_the_backend_cannot_draw() -> None:
    command = [sys.executable, "-m", "t2s", "demos", "--suite", "blocks_object", "--task", "0", "--check", "1"]
    environment = os.environ | {"MUJOCO_GL": "glfw"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == "error: MUJOCO_GL: expected one of ['egl', 'osmesa'], got 'glfw'; run `unset MUJOCO_GL`\n"


def test_a_context_that_cannot_be_made_is_told_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MUJOCO_GL", "osmesa")
    expected = r"^OpenGL \(osmesa\) cannot draw: AttributeError: no such thing; run `apt-get install libosmesa6`"
    with pytest.raises(SimulationError, match=expected), gl.explained():
        raise AttributeError("no\nsuch thing")
