"""LIBERO's scene assets: the folder they lie in, and the label by which records tell one set of them from another."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

from t2s import params
from t2s.data.files import sha256

FOLDERS = (
    "articulated_objects",
    "scenes",
    "stable_hope_objects",
    "stable_scanned_objects",
    "textures",
    "turbosquid_objects",
)
LARGE = 4_000_000  # [bytes] LIBERO has 30 larger files, which sets for offline use replace


def needed(suite: str) -> bool:
    """Whether `suite` is one of LIBERO's: the embedded suites carry what they draw."""
    return suite.startswith("libero_")


def folder(suite: str, source: str) -> Path | None:
    """Where the scene assets of `suite` lie by section `assets` of `source`; None where it needs none.

    Raises: ValueError where there are none, with what can be done.
    """
    return check(params.Assets.read(source).folder) if needed(suite) else None


def check(chosen: Path) -> Path:
    """The folder itself, absolute.

    Raises: ValueError where it is no folder of LIBERO's assets, with what can be done.
    """
    missing = [name for name in FOLDERS if not (chosen / name).is_dir()]
    if missing:
        raise ValueError(
            f"no LIBERO scene assets in '{chosen}' (expected folder '{missing[0]}'); download them, or give a folder"
            " by assets.path in params.yaml or $T2S_LIBERO_ASSETS; the suites blocks_* need none"
        )
    return chosen.resolve()


@cache
def label(assets_dir: Path) -> str:
    """'libero-' or 'stand-in-' and 12 digits of a digest of all files.

    Stand-ins are recognised by what they lack: any file of the size of LIBERO's largest textures and meshes.
    """
    files = sorted(path for name in FOLDERS for path in (assets_dir / name).rglob("*") if path.is_file())
    files += sorted(assets_dir.glob("*.xml"))
    lines = [f"{sha256(path)}  {path.relative_to(assets_dir).as_posix()}\n" for path in files]
    is_whole = any(path.stat().st_size > LARGE for path in files)
    digest = hashlib.sha256("".join(lines).encode()).hexdigest()[:12]
    return f"{'libero' if is_whole else 'stand-in'}-{digest}"
