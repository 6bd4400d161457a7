"""OpenGL for the cameras: chooses MuJoCo's backend, and says what is missing if it does not draw."""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from t2s.errors import SimulationError

BACKENDS = {"linux": ("egl", "osmesa"), "darwin": ("cgl",)}.get(sys.platform, ("wgl",))
"""The backends that robosuite can draw with if there is no screen."""
REMEDIES = {
    "osmesa": "run `apt-get install libosmesa6` (with sudo if you are not root)",
    "egl": "run `apt-get install libegl1` and expose the GPU's graphics libraries, or run `export MUJOCO_GL=osmesa`",
}


def choose() -> str:
    """Choose MuJoCo's backend, set it in the environment, and return it. Call this before importing mujoco.

    MUJOCO_GL wins if it is set. Otherwise, on Linux, the backend is EGL if an NVIDIA GPU can draw, else OSMesa.

    Raises: ValueError if MUJOCO_GL is none of `BACKENDS`: robosuite would draw with another than the one it names.
    """
    backend = os.environ.get("MUJOCO_GL", "").strip().lower() or _default()  # as MuJoCo reads it
    if backend not in BACKENDS:
        raise ValueError(f"MUJOCO_GL: expected one of {[*BACKENDS]}, got '{backend}'; run `unset MUJOCO_GL`")
    os.environ["MUJOCO_GL"] = backend
    if backend in REMEDIES:
        os.environ["PYOPENGL_PLATFORM"] = backend
    return backend


@contextlib.contextmanager
def explained() -> Iterator[None]:
    """Name the remedy if the backend's libraries cannot be loaded, or give no context, in this block.

    Raises: SimulationError in one line.
    """
    try:
        yield
    except Exception as error:  # those of PyOpenGL are of many classes, AttributeError among them
        backend = choose()
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        remedy = REMEDIES.get(backend, "see MuJoCo's documentation")
        raise SimulationError(f"OpenGL ({backend}) cannot draw: {reason}; {remedy}") from None


def _default() -> str:
    if sys.platform != "linux":
        return BACKENDS[0]
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
