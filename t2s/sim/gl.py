"""OpenGL for the cameras: which backend MuJoCo uses here, and whether it draws.

`python -m t2s.sim.gl` draws one frame: exit status 0, or 1 and the command that mends it.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import subprocess
import sys
from pathlib import Path

REMEDIES = {
    "osmesa": "run 'apt-get install libosmesa6' (with sudo where you are not root)",
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
    """The backend MuJoCo will use, written to the environment; call it before importing mujoco.

    MUJOCO_GL wins where it is set; else EGL where an NVIDIA GPU can draw, else OSMesa on Linux.
    """
    backend = os.environ.get("MUJOCO_GL") or _default()
    os.environ["MUJOCO_GL"] = backend
    if backend in REMEDIES:
        os.environ["PYOPENGL_PLATFORM"] = backend
    return backend


def check() -> str:
    """The backend, after it drew one frame in a process of its own.

    Raises: RuntimeError with the first error of OpenGL and the command that mends it.
    """
    backend = choose()
    # A process of its own: a backend that fails halfway spoils the next one tried.
    command = [sys.executable, "-c", FRAME]
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if done.returncode:
        remedy = REMEDIES.get(backend, "set MUJOCO_GL to egl or osmesa")
        reason = first_error(done.stderr) or f"exit status {done.returncode}"
        raise RuntimeError(f"OpenGL ({backend}) draws no frame: {reason}; {remedy}")
    return backend


def _default() -> str:
    if sys.platform != "linux":
        return "cgl" if sys.platform == "darwin" else "wgl"
    return "egl" if nvidia_draws() else "osmesa"


def has_nvidia(devices: Path = Path("/dev")) -> bool:
    """Whether there is an NVIDIA GPU; found without importing torch."""
    return any(devices.glob("nvidia[0-9]*"))


def nvidia_draws(devices: Path = Path("/dev")) -> bool:
    """Whether there is a GPU and its EGL driver: containers often have only what computes."""
    if not has_nvidia(devices):
        return False
    try:
        ctypes.CDLL("libEGL_nvidia.so.0")
    except OSError:
        return False
    return True


def first_error(stderr: str) -> str:
    """The exception raised first: those that follow ('no attribute ...') are its consequences."""
    lines = [line for line in stderr.splitlines() if line[:1].strip() and ": " in line]
    return next((line for line in lines if not line.startswith("Exception ignored")), "")


def main(arguments: list[str] | None = None) -> int:
    """Check, and say in one line what draws."""
    argparse.ArgumentParser(description=__doc__).parse_args(arguments)
    try:
        backend = check()
    except RuntimeError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"OpenGL: {backend} draws")
    return 0


if __name__ == "__main__":
    sys.exit(main())
