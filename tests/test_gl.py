"""The choice of an OpenGL backend, and the one line a person gets when it does not draw."""

from __future__ import annotations

from pathlib import Path

import pytest

from t2s import cli
from t2s.sim import gl


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    # Set first, so that both are put back even where they were not set before.
    monkeypatch.setenv("MUJOCO_GL", "")
    monkeypatch.setenv("PYOPENGL_PLATFORM", "")


def test_a_backend_chosen_by_the_user_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MUJOCO_GL", "egl")
    assert gl.choose() == "egl"


def test_the_choice_holds_for_the_processes_started_later() -> None:
    import os

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


@pytest.mark.sim
def test_a_backend_that_does_not_draw_is_told_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MUJOCO_GL", "paper")
    assert cli.run(["doctor", "--only", "opengl"]) == 1
    (line,) = capsys.readouterr().out.splitlines()
    assert "OpenGL (paper) cannot draw a frame: RuntimeError: invalid value" in line
    assert line.endswith("set MUJOCO_GL to egl or osmesa")


@pytest.mark.sim
def test_a_missing_library_is_told_with_the_command_that_installs_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    # PyOpenGL asks this module for libOSMesa; it finds none.
    (tmp_path / "sitecustomize.py").write_text(
        "import ctypes.util\nctypes.util.find_library = lambda name: None\n"
        "import ctypes\nload = ctypes.CDLL.__init__\n"
        "def refuse(self, name, *rest, **more):\n"
        "    if 'OSMesa' in str(name): raise OSError('libOSMesa.so: cannot open')\n"
        "    load(self, name, *rest, **more)\n"
        "ctypes.CDLL.__init__ = refuse\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("MUJOCO_GL", "osmesa")
    with pytest.raises(RuntimeError, match=r"OpenGL \(osmesa\) .*apt-get install libosmesa6"):
        gl.check()
