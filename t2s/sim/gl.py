"""OpenGL for the cameras: chooses MuJoCo's backend and checks that it draws."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from pathlib import Path

REMEDIES = {
    "osmesa": "run 'apt-get install libosmesa6' (with sudo if you are not root)",
    "egl": "run 'apt-get install libegl1' and expose the GPU's graphics libraries, or set MUJOCO_GL=osmesa",
}

FRAME = """
import mujoco
model = mujoco.MjModel.from_xml_string(
    "<mujoco><worldbody><light pos='0 0 3'/><geom size='1' rgba='1 0 0 1'/></worldbody></mujoco>"
)
data = mujoco.MjData(model)
mujoco.mj_forward(model, data)
with mujoco.Renderer(model, 32, 32) as renderer:
    renderer.update_scene(data)
    frame = renderer.render()
assert frame[..., 0].max() > 0, "the frame is black"
"""


def choose() -> str:
    """Choose MuJoCo's backend, set it in the environment, and return it. Call this before importing mujoco.

    MUJOCO_GL wins if it is set. Otherwise, on Linux, the backend is EGL if an NVIDIA GPU can draw, else OSMesa.
    """
    backend = os.environ.get("MUJOCO_GL") or _default()
    os.environ["MUJOCO_GL"] = backend
    if backend in REMEDIES:
        os.environ["PYOPENGL_PLATFORM"] = backend
    return backend


def check() -> str:
    """Choose a backend, draw one test frame with it, and return it.

    Raises: RuntimeError with OpenGL's first error and the command that mends it.
    """
    backend = choose()
    # Draw in a subprocess, because a backend that fails halfway breaks the next one tried.
    command = [sys.executable, "-c", FRAME]
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if done.returncode:
        remedy = REMEDIES.get(backend, "set MUJOCO_GL to egl or osmesa")
        reason = first_error(done.stderr) or f"exit status {done.returncode}"
        raise RuntimeError(f"OpenGL ({backend}) cannot draw a frame: {reason}; {remedy}")
    return backend


def _default() -> str:
    if sys.platform != "linux":
        return "cgl" if sys.platform == "darwin" else "wgl"
    return "egl" if nvidia_draws() else "osmesa"


def has_nvidia(devices: Path = Path("/dev")) -> bool:
    """Whether there is an NVIDIA GPU. Does not import torch."""
    return any(devices.glob("nvidia[0-9]*"))


def nvidia_draws(devices: Path = Path("/dev")) -> bool:
    """Whether there is an NVIDIA GPU with its EGL driver. Containers often have only the compute driver."""
    if not has_nvidia(devices):
        return False
    try:
        ctypes.CDLL("libEGL_nvidia.so.0")
    except OSError:
        return False
    return True


def first_error(stderr: str) -> str:
    """The first exception in `stderr`. Later ones ('no attribute ...') follow from it."""
    lines = [line for line in stderr.splitlines() if line[:1].strip() and ": " in line]
    return next((line for line in lines if not line.startswith("Exception ignored")), "")
