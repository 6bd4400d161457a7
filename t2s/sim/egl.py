"""Makes EGL draw on the GPU that CUDA uses: CUDA and EGL number the same GPUs in different orders.

robosuite takes CUDA_VISIBLE_DEVICES as EGL's device number. It then draws on another job's GPU, or raises if EGL has no
device of that number, or if the variable is empty or holds UUIDs. robosuite and MuJoCo both read EGL's number from
MUJOCO_EGL_DEVICE_ID.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

NUMBER = "MUJOCO_EGL_DEVICE_ID"
MAX_DEVICES = 10  # as many as MuJoCo lists
EGL_CUDA_DEVICE_NV = 0x323A
EGL_DEVICE_UUID_EXT = 0x335C
UUID_BYTES = 16


class Device(NamedTuple):
    """The UUID and the CUDA number of an EGL device; None for what the driver does not report."""

    uuid: bytes | None
    cuda: int | None


@contextlib.contextmanager
def on_cuda_device() -> Iterator[None]:
    """Put the process's first GL context on cuda:0, the first GPU in CUDA_VISIBLE_DEVICES, if it is made in this block.

    Without a GPU, the context is on EGL's first device. If MUJOCO_EGL_DEVICE_ID is already set, it wins.

    Raises: ValueError if MUJOCO_EGL_DEVICE_ID is no number of a device.
    """
    if os.environ.get("MUJOCO_GL") != "egl":
        yield
        return
    given = os.environ.get(NUMBER, "").strip()
    with _given(str(_checked(given) if given else _number())):
        yield


def undirected() -> contextlib.AbstractContextManager[None]:
    """A block without MUJOCO_EGL_DEVICE_ID, in which to import robosuite.

    On import, robosuite refuses a number that is not in CUDA_VISIBLE_DEVICES, as if both numbered the same devices.
    """
    return _given(None)


@contextlib.contextmanager
def _given(number: str | None) -> Iterator[None]:
    """Set or remove MUJOCO_EGL_DEVICE_ID in this block."""
    before = os.environ.get(NUMBER)
    _set(number)
    try:
        yield
    finally:
        _set(before)


def _set(number: str | None) -> None:
    os.environ.pop(NUMBER, None)
    if number is not None:
        os.environ[NUMBER] = number


def _checked(given: str) -> int:
    have = len(devices())
    if not given.isdigit() or int(given) >= have:
        raise ValueError(f"{NUMBER}: expected a device from 0 to {have - 1}, got '{given}'; run `unset {NUMBER}`")
    return int(given)


def match(uuid: bytes, devices: Sequence[Device]) -> int | None:
    """EGL's number of cuda:0, whose UUID is `uuid`; None if cuda:0 is not among `devices`."""
    same = [i for i, device in enumerate(devices) if device.uuid == uuid]
    # Drivers before 2021 report no UUID.
    same = same or [i for i, device in enumerate(devices) if device.uuid is None and device.cuda == 0]
    return same[0] if same else None


def cuda_uuid() -> bytes | None:
    """The UUID of cuda:0, read without allocating memory on it; None if there is no GPU."""
    try:
        cuda = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return None
    device, uuid = ctypes.c_int(), (ctypes.c_char * UUID_BYTES)()
    failed = cuda.cuInit(0) or cuda.cuDeviceGet(ctypes.byref(device), 0) or cuda.cuDeviceGetUuid(uuid, device)
    return None if failed else uuid.raw


def devices() -> list[Device]:
    """EGL's devices, in EGL's order.

    Source: extensions EGL_EXT_device_enumeration, EGL_EXT_device_persistent_id, EGL_NV_device_cuda.
    """
    egl = ctypes.CDLL("libEGL.so.1")
    found, n = (ctypes.c_void_p * MAX_DEVICES)(), ctypes.c_int()
    if not _call(egl, "eglQueryDevicesEXT", ctypes.c_int(MAX_DEVICES), found, ctypes.byref(n)):
        return []
    return [_device(egl, ctypes.c_void_p(handle)) for handle in found[: n.value]]


def _device(egl: ctypes.CDLL, handle: ctypes.c_void_p) -> Device:
    uuid, size, cuda = (ctypes.c_char * UUID_BYTES)(), ctypes.c_int(), ctypes.c_ssize_t()
    key = ctypes.c_int(EGL_DEVICE_UUID_EXT)
    has_uuid = _call(egl, "eglQueryDeviceBinaryEXT", handle, key, ctypes.c_int(UUID_BYTES), uuid, ctypes.byref(size))
    has_cuda = _call(egl, "eglQueryDeviceAttribEXT", handle, ctypes.c_int(EGL_CUDA_DEVICE_NV), ctypes.byref(cuda))
    return Device(uuid.raw if has_uuid else None, cuda.value if has_cuda else None)


def _call(egl: ctypes.CDLL, name: str, *arguments: Any) -> bool:
    """Call a function of an EGL extension; return whether it exists and succeeds."""
    egl.eglGetProcAddress.restype = ctypes.c_void_p
    address = egl.eglGetProcAddress(name.encode())
    return bool(address) and bool(ctypes.CFUNCTYPE(ctypes.c_uint)(address)(*arguments))


def _number() -> int:
    uuid = cuda_uuid()
    if uuid is None:
        return 0
    number = match(uuid, devices())
    if number is None:
        print(f"EGL: no device is cuda:0 (UUID {uuid.hex()}); drawing on EGL's first device", file=sys.stderr)
    return number or 0
