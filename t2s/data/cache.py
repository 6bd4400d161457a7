"""What was made before, kept by what it depends on: the same values, files and code give the same bytes."""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from t2s.data.files import atomic, sha256, write_json

SEAL: Final = "sealed.json"
"""Name of the file that makes a folder whole: the sha256 of every other."""


def key(values: Any, files: Iterable[Path]) -> str:
    """A name for what is made from JSON `values` and the content of `files`, in this order."""
    content = json.dumps([values, [sha256(path) for path in files]], sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()[:32]


def keep(folder: Path, out: Mapping[str, Path]) -> None:
    """Seals files of `folder`, which are whole now, and copies them to where `out` says."""
    write_json(folder / SEAL, {name: sha256(folder / name) for name in out})
    give(folder, out)


def give(folder: Path, out: Mapping[str, Path]) -> bool:
    """Copies sealed files to where `out` says; False where they are not sealed, or damaged: then none is left."""
    try:
        sealed = json.loads((folder / SEAL).read_text())
        damaged = [name for name in out if sealed.get(name) != sha256(folder / name)]
    except FileNotFoundError as error:
        if not (folder / SEAL).is_file():
            return False
        damaged = [str(error.filename)]
    except ValueError:
        damaged = [SEAL]
    if damaged:
        print(f"cache: {folder / damaged[0]}: damaged, so made again", file=sys.stderr)
        shutil.rmtree(folder)
        return False
    for name, path in out.items():
        with atomic(path) as temporary:
            shutil.copyfile(folder / name, temporary)
    return True
