"""Lets robosuite and LIBERO be imported without log files, prompts or files in $HOME, in any environment."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import sys
import tempfile
from pathlib import Path

import yaml

from t2s import packages
from t2s.sim import gl


def prepare() -> None:
    """Prepare the first import of robosuite or libero; call this before it, and before starting a process that does it.

    The variables that these packages and their dependencies read are set here, whatever the user set them to.

    Raises: ValueError in one line for a MUJOCO_GL that cannot draw, or if a package is not the installed one.
    """
    gl.choose()
    folder = private_folder()
    os.environ["LIBERO_CONFIG_PATH"] = str(_write_config(folder))
    os.environ["MPLCONFIGDIR"] = str(folder)  # LIBERO imports matplotlib
    _choose_numba_cache(folder)
    if "robosuite.macros" not in sys.modules:
        _load_macros()


def private_folder() -> Path:
    """A folder of this user, outside $HOME, for files that can be made again.

    Raises: ValueError if its place is taken by somebody else.
    """
    folder = Path(tempfile.gettempdir()) / f"t2s-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.is_symlink() or folder.stat().st_uid != os.getuid():
        remedy = "run `export TMPDIR=$(mktemp -d)`"
        raise ValueError(f"{folder}: expected a folder of this user, got a link or somebody else's; {remedy}")
    return folder


def _choose_numba_cache(folder: Path) -> None:
    """Let numba keep what it compiles, which takes half a minute, beside robosuite's files, or else in `folder`."""
    os.environ.pop("NUMBA_CACHE_DIR", None)
    beside = packages.folder("robosuite") / "utils"
    compiled = beside / "__pycache__"
    if not os.access(compiled if compiled.is_dir() else beside, os.W_OK):
        os.environ["NUMBA_CACHE_DIR"] = str(folder / "numba")


def _load_macros() -> None:
    """Load and change robosuite's macros first; otherwise importing robosuite opens /tmp/robosuite.log."""
    path = packages.folder("robosuite") / "macros.py"
    spec = importlib.util.spec_from_file_location("robosuite.macros", path)
    assert spec is not None
    assert spec.loader is not None
    macros = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(macros)
    macros.FILE_LOGGING_LEVEL = None  # type: ignore[attr-defined]
    macros.CONSOLE_LOGGING_LEVEL = "ERROR"  # type: ignore[attr-defined]
    sys.modules["robosuite.macros"] = macros


def _write_config(folder: Path) -> Path:
    """Write LIBERO's config for this installation of it, and return its folder.

    Without one, importing libero asks questions on stdin.
    """
    root = packages.folder("libero") / "libero"
    names = {
        "benchmark_root": ".",
        "bddl_files": "bddl_files",
        "init_states": "init_files",
        "assets": "assets",
    }
    config = {key: str(root / name) for key, name in names.items()}
    config["datasets"] = str(root.parent / "datasets")
    place = folder / f"libero-{hashlib.sha256(str(root).encode()).hexdigest()[:8]}"
    place.mkdir(exist_ok=True)
    temporary = place / f"config.{os.getpid()}.yaml"
    temporary.write_text(yaml.safe_dump(config), encoding="utf-8")
    temporary.replace(place / "config.yaml")
    return place
