"""Lets robosuite and LIBERO be imported without log files, prompts, or files in $HOME."""

from __future__ import annotations

import importlib.util
import os
import sys
import tempfile
from pathlib import Path

import yaml


def prepare() -> None:
    """Prepare the first import of robosuite or libero; call this before it. Later calls do nothing."""
    if "robosuite.macros" not in sys.modules:
        _load_macros()
    folder = private_folder()
    os.environ.setdefault("MPLCONFIGDIR", str(folder))  # LIBERO imports matplotlib
    if "LIBERO_CONFIG_PATH" not in os.environ:
        _write_config(folder)
        os.environ["LIBERO_CONFIG_PATH"] = str(folder)


def private_folder() -> Path:
    """A per-user folder outside $HOME for files that can be made again."""
    folder = Path(tempfile.gettempdir()) / f"t2s-libero-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder


def _package_dir(name: str) -> Path:
    spec = importlib.util.find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise ImportError(f"no package '{name}': run `make setup`")
    return Path(next(iter(spec.submodule_search_locations)))


def _load_macros() -> None:
    """Load and change robosuite's macros first; otherwise importing robosuite opens /tmp/robosuite.log."""
    path = _package_dir("robosuite") / "macros.py"
    spec = importlib.util.spec_from_file_location("robosuite.macros", path)
    assert spec is not None
    assert spec.loader is not None
    macros = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(macros)
    macros.FILE_LOGGING_LEVEL = None  # type: ignore[attr-defined]
    macros.CONSOLE_LOGGING_LEVEL = "ERROR"  # type: ignore[attr-defined]
    sys.modules["robosuite.macros"] = macros


def _write_config(folder: Path) -> None:
    """Write a LIBERO config for this user. Without one, importing libero asks questions on stdin."""
    root = _package_dir("libero") / "libero"
    names = {
        "benchmark_root": ".",
        "bddl_files": "bddl_files",
        "init_states": "init_files",
        "assets": "assets",
    }
    config = {key: str(root / name) for key, name in names.items()}
    config["datasets"] = str(root.parent / "datasets")
    temporary = folder / f"config.{os.getpid()}.yaml"
    temporary.write_text(yaml.safe_dump(config))
    temporary.replace(folder / "config.yaml")
