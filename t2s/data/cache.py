"""A cache of results, stored by what they depend on: the same values, files and code give the same bytes."""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from t2s.data.files import atomic, read_json, sha256, write_json

SEAL: Final = "sealed.json"
"""Name of the file that marks a folder as complete. It holds the sha256 of every other file."""


def key(values: Any, files: Iterable[Path]) -> str:
    """The cache key of what is made from the JSON `values` and the content of `files`, in this order."""
    content = json.dumps([values, [sha256(path) for path in files]], sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()[:32]


def keep(folder: Path, out: Mapping[str, Path]) -> None:
    """Seal the files of `folder`, which are complete now, and copy them to the paths in `out`."""
    write_json(folder / SEAL, {name: sha256(folder / name) for name in out})
    give(folder, out)


def give(folder: Path, out: Mapping[str, Path]) -> bool:
    """Copy the sealed files of `folder` to the paths in `out`, and return whether that was possible.

    Files that are not sealed are left alone. If a sealed file is damaged, the folder is removed.
    """
    if not (folder / SEAL).is_file():
        return False
    try:
        sealed = read_json(folder / SEAL)
        damaged = [name for name in out if sealed.get(name) != sha256(folder / name)]
    except FileNotFoundError as error:
        damaged = [Path(str(error.filename)).name]
    except ValueError:
        damaged = [SEAL]
    if damaged:
        print(f"cache: {folder / damaged[0]} is damaged; making it again", file=sys.stderr)
        shutil.rmtree(folder)
        return False
    for name, path in out.items():
        with atomic(path) as temporary:
            shutil.copyfile(folder / name, temporary)
    return True
