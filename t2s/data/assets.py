"""LIBERO's scene assets: the folder they lie in, and the label by which records tell one set of them from another."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

from t2s import params
from t2s.data.files import sha256

FOLDERS = ("articulated_objects", "scenes", "stable_hope_objects", "stable_scanned_objects", "turbosquid_objects")
LARGE = 4_000_000  # [bytes] LIBERO has 30 larger files; sets for offline use have something else in their place


def needed(suite: str) -> bool:
    """Whether `suite` is one of LIBERO's: the embedded suites carry what they draw."""
    return suite.startswith("libero_")


def folder(suite: str, source: str) -> Path | None:
    """Where the scene assets of `suite` lie: section `assets` of `source`, if it has one; None where it needs none.

    Raises: ValueError where there are none, with what can be done.
    """
    if not needed(suite):
        return None
    given = "assets" in params.read(source)
    return check((params.Assets.read(source) if given else params.Assets(path=None)).folder)


def quality(suite: str, source: str) -> params.Quality:
    """How the scenes of `suite` are drawn: section `render` of `source`; the embedded suites' in one way only."""
    return params.Render.read(source).quality if needed(suite) else "libero"


def look(assets_dir: Path | None, quality: params.Quality) -> dict[str, str]:
    """What records and demonstrations say of how LIBERO's scenes look; nothing where there are no assets."""
    return {"assets": label(assets_dir), "render": quality} if assets_dir else {}


def check(chosen: Path) -> Path:
    """The folder itself, absolute.

    Raises: ValueError where it is no folder of LIBERO's assets, with what can be done.
    """
    missing = [name for name in FOLDERS if not (chosen / name).is_dir()]
    if missing:
        raise ValueError(
            f"no LIBERO scene assets in '{chosen}' (expected a folder '{missing[0]}'); run `t2s download assets`, or"
            " name their folder by assets.path in params.yaml or $T2S_LIBERO_ASSETS; the suites blocks_* need none"
        )
    return chosen.resolve()


@cache
def label(assets_dir: Path) -> str:
    """'libero-' or 'stand-in-', and 12 digits of a digest of all that is loaded.

    Stand-ins are recognised by what they lack: files as large as LIBERO's largest textures and meshes.
    """
    found = sorted(path for path in assets_dir.rglob("*") if path.is_file() and _is_loaded(path, assets_dir))
    lines = [f"{sha256(path)}  {path.relative_to(assets_dir).as_posix()}\n" for path in found]
    is_whole = any(path.stat().st_size > LARGE for path in found)
    digest = hashlib.sha256("".join(lines).encode()).hexdigest()[:12]
    return f"{'libero' if is_whole else 'stand-in'}-{digest}"


def _is_loaded(path: Path, assets_dir: Path) -> bool:
    """Not a README, a licence, a list of digests, or something hidden."""
    parts = path.relative_to(assets_dir).parts
    return (len(parts) > 1 or path.suffix == ".xml") and not any(part.startswith(".") for part in parts)
