"""Demonstrations in the layouts of other programs: what they are, and what t2s lacks in them."""

from __future__ import annotations

from pathlib import Path

from t2s.data.hdf5 import Group

RENDER = "make LIBERO's layout from their states with LIBERO's scripts/create_dataset.py"
DOWNLOAD = "set demos.source: download for LIBERO's own files, which hold the images as they were rendered"


def layout(path: Path) -> str | None:
    """What a path names that is no HDF5 file and no manifest of ours; None if it may be either."""
    if path.suffix in (".hdf5", ".h5") and not path.is_dir():
        return None
    for folder in [path, *path.parents][:5]:
        if (folder / "meta" / "info.json").is_file():
            return f"a data set of LeRobot in '{folder}', tables in parquet and videos; {DOWNLOAD}"
    for folder in [path, path.parent]:
        if folder.is_dir() and any(folder.glob("*.tfrecord*")):
            return f"a data set in RLDS in '{folder}', files of TensorFlow; {DOWNLOAD}"
    return "a folder; name one file of it" if path.is_dir() else None


def demo_layout(demo: Group) -> str | None:
    """Whose layout a demonstration in HDF5 has that lacks t2s' observations; None if it may be LIBERO's.

    Raises: ValueError if the file is damaged.
    """
    if demo.kind("obs") is None and demo.kind("states") == "dataset":
        return f"robosuite's raw demonstrations: {' and '.join(demo.kinds())} without images; {RENDER}"
    names = sorted(demo.group("obs").kinds()) if demo.kind("obs") == "group" else []
    if any(name.startswith("robot0_") or name.endswith("_image") for name in names):
        return f"robomimic's: obs has {names}, t2s needs agentview_rgb, eye_in_hand_rgb, ...; {RENDER}"
    return None
