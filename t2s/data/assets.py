"""LIBERO's scene assets: the folder they are in, and the label that identifies a set of them in records."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

from t2s import params
from t2s.data.files import check_path, files_below, sha256

FOLDERS = ("articulated_objects", "scenes", "stable_hope_objects", "stable_scanned_objects", "turbosquid_objects")
LARGE = 4_000_000  # [bytes] LIBERO has 30 larger files; offline sets have stand-ins for them


def needed(suite: str) -> bool:
    """Whether `suite` needs scene assets: LIBERO's suites do, the embedded suites do not."""
    return suite.startswith("libero_")


def folder(suite: str, source: str) -> Path | None:
    """The folder of the scene assets of `suite`, as the params file `source` names it; None if it needs none.

    Raises: ValueError in one line, with a remedy, if the assets are needed and missing.
    """
    if not needed(suite):
        return None
    given = "assets" in params.read(source)
    return check((params.Assets.read(source) if given else params.Assets(path=None)).folder)


def quality(suite: str, source: str) -> params.Quality:
    """The render quality of `suite`: that in section `render` of `source`. Embedded suites have only one."""
    return params.Render.read(source).quality if needed(suite) else "libero"


def look(assets_dir: Path | None, quality: params.Quality) -> dict[str, str]:
    """The fields by which records and demonstrations say how LIBERO's scenes look; empty without assets."""
    return {"assets": label(assets_dir), "render": quality} if assets_dir else {}


def check(chosen: Path) -> Path:
    """The absolute path of `chosen`, if it is a folder of LIBERO's scene assets.

    Raises: ValueError in one line, with a remedy, if it is not, or if MuJoCo cannot open it.
    """
    check_path(chosen)
    try:
        missing = [name for name in FOLDERS if not (chosen / name).is_dir()]
    except OSError as error:
        raise ValueError(f"{error.filename}: LIBERO's scene assets cannot be read: {error.strerror}") from None
    if missing:
        raise ValueError(
            f"no LIBERO scene assets in '{chosen}' (expected a folder '{missing[0]}'); run `t2s download assets`, or"
            " set assets.path in params.yaml or $T2S_LIBERO_ASSETS to their folder; the suites blocks_* need none"
        )
    found = chosen.resolve()
    check_path(found)
    return found


@cache
def label(assets_dir: Path) -> str:
    """'libero-' or 'stand-in-', followed by 12 digits of a digest of all files that are loaded.

    A set is a stand-in if it has no file as large as LIBERO's largest textures and meshes.

    Raises: ValueError in one line for a folder that cannot be read, OSError for a file.
    """
    found = [path for path in files_below(assets_dir) if _is_loaded(path, assets_dir)]
    lines = [f"{sha256(path)}  {path.relative_to(assets_dir).as_posix()}\n" for path in found]
    is_whole = any(path.stat().st_size > LARGE for path in found)
    digest = hashlib.sha256("".join(lines).encode()).hexdigest()[:12]
    return f"{'libero' if is_whole else 'stand-in'}-{digest}"


def _is_loaded(path: Path, assets_dir: Path) -> bool:
    """Whether the file is loaded: it is no README, licence, list of digests or hidden file."""
    parts = path.relative_to(assets_dir).parts
    return (len(parts) > 1 or path.suffix == ".xml") and not any(part.startswith(".") for part in parts)
