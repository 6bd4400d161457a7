"""The EGL device that belongs to the CUDA device; what takes an NVIDIA driver is marked so."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from t2s.sim import egl
from t2s.sim.egl import Device

HERE, ELSEWHERE = b"\x01" * 16, b"\x02" * 16
MESA = Device(None, None)

DRAW = """
from t2s.data import suites
from t2s.sim import egl
from t2s.sim.env import Env
egl.devices()  # leaves no error behind that spoils the context
env = Env(suites.task("blocks_object", 0).bddl_path, 32)
assert env.observe()["agentview_rgb"].std() > 0
"""


def draws(**environment: str) -> subprocess.CompletedProcess[str]:
    """Whether an environment renders through EGL in a process of its own."""
    kept = {key: value for key, value in os.environ.items() if key != egl.NUMBER}
    given = kept | {"MUJOCO_GL": "egl", "PYOPENGL_PLATFORM": "egl"} | environment
    return subprocess.run([sys.executable, "-c", DRAW], env=given, capture_output=True, text=True, check=False)


def test_the_device_is_found_by_its_uuid_wherever_it_stands() -> None:
    assert egl.match(HERE, [MESA, Device(ELSEWHERE, 1), Device(HERE, 0)]) == 2


def test_a_uuid_wins_over_a_number_as_old_drivers_give_several_devices_the_same() -> None:
    assert egl.match(HERE, [Device(ELSEWHERE, 0), Device(HERE, 0)]) == 1


def test_a_driver_without_uuids_is_asked_for_the_number() -> None:
    assert egl.match(HERE, [MESA, Device(None, 1), Device(None, 0)]) == 2


def test_no_device_is_better_than_another_jobs() -> None:
    assert egl.match(HERE, [MESA, Device(ELSEWHERE, 0)]) is None


def test_the_number_is_set_while_the_context_is_made_and_not_left_to_other_processes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MUJOCO_GL", "egl")
    monkeypatch.delenv(egl.NUMBER, raising=False)
    monkeypatch.setattr(egl, "cuda_uuid", lambda: HERE)
    monkeypatch.setattr(egl, "devices", lambda: [MESA, Device(ELSEWHERE, 1), Device(HERE, 0)])
    with egl.on_cuda_device():
        assert os.environ[egl.NUMBER] == "2"
    assert egl.NUMBER not in os.environ


def test_a_gpu_that_egl_does_not_have_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MUJOCO_GL", "egl")
    monkeypatch.delenv(egl.NUMBER, raising=False)
    monkeypatch.setattr(egl, "cuda_uuid", lambda: HERE)
    monkeypatch.setattr(egl, "devices", lambda: [MESA])
    with egl.on_cuda_device():
        assert os.environ[egl.NUMBER] == "0"
    assert f"no device is cuda:0 (UUID {HERE.hex()})" in capsys.readouterr().err


@pytest.mark.parametrize(
    "environment",
    [{"MUJOCO_GL": "osmesa"}, {"MUJOCO_GL": "osmesa", egl.NUMBER: "7"}, {"MUJOCO_GL": "egl", egl.NUMBER: "1"}],
    ids=" ".join,
)
def test_another_backend_and_a_number_that_was_given_are_left_alone(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str]
) -> None:
    monkeypatch.delenv(egl.NUMBER, raising=False)
    monkeypatch.setattr(egl, "devices", lambda: [MESA, MESA])
    for key, value in environment.items():
        monkeypatch.setenv(key, value)
    before = dict(os.environ)
    with egl.on_cuda_device():
        assert os.environ == before
    assert os.environ == before


@pytest.mark.parametrize("number", ["2", "-1", "GPU-8f3c"])
def test_a_number_that_no_device_has_is_an_error(monkeypatch: pytest.MonkeyPatch, number: str) -> None:
    monkeypatch.setenv("MUJOCO_GL", "egl")
    monkeypatch.setenv(egl.NUMBER, number)
    monkeypatch.setattr(egl, "devices", lambda: [MESA, MESA])
    expected = f"{egl.NUMBER}: expected a device from 0 to 1, got '{number}'; run `unset {egl.NUMBER}`"
    with pytest.raises(ValueError, match=expected), egl.on_cuda_device():
        pass


def test_robosuite_is_imported_without_the_number_and_the_number_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(egl.NUMBER, "3")
    with egl.undirected():
        assert egl.NUMBER not in os.environ
    assert os.environ[egl.NUMBER] == "3"


@pytest.fixture(scope="module")
def _egl_draws() -> None:
    if draws(**{egl.NUMBER: "0"}).returncode:
        pytest.skip("no EGL here")


@pytest.mark.sim
@pytest.mark.usefixtures("_egl_draws")
@pytest.mark.parametrize("visible", ["", "5", "GPU-8f3c0c8e"])
def test_egl_draws_whatever_cuda_visible_devices_says(visible: str) -> None:
    done = draws(CUDA_VISIBLE_DEVICES=visible)
    assert done.returncode == 0, done.stderr


@pytest.mark.sim
@pytest.mark.usefixtures("_egl_draws")
def test_a_number_that_is_not_in_cuda_visible_devices_does_not_stop_robosuite() -> None:
    done = draws(CUDA_VISIBLE_DEVICES="1", **{egl.NUMBER: "0"})
    assert done.returncode == 0, done.stderr


@pytest.mark.gpu
def test_egl_knows_the_gpu_that_cuda_computes_on() -> None:
    import torch

    uuid = egl.cuda_uuid()
    assert uuid is not None
    assert uuid.hex() == str(torch.cuda.get_device_properties(0).uuid).replace("-", "")
    assert egl.match(uuid, egl.devices()) is not None
