"""Files that are written completely or not at all. The same content gives the same bytes."""

from __future__ import annotations

import errno
import hashlib
import json
import lzma
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import UnionType
from typing import Any, Final

MEND: Final = "remove it and run `snakemake --cores all` again"
"""The remedy for a damaged file that the workflow makes."""
UNSUPPORTED: Final = {errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.ENOLCK}
"""What a file system without some operation answers to it, e.g. one of a network to fsync or flock."""


@contextmanager
def atomic(path: Path | str) -> Iterator[Path]:
    """A temporary path beside `path`, with the same suffix. It becomes `path`, flushed to disk, if the block succeeds.

    The folder of `path` is created. After an error, nothing is left behind.

    Raises: ValueError that names `path` if it cannot be written.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.partial{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        _flush(temporary)  # otherwise a power loss may leave the name without the content
        replace(temporary, path)
    except OSError as error:
        raise ValueError(f"{path}: could not be written: {error.strerror or error}") from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
    with suppress(OSError):  # the file is written, whatever its folder answers
        _flush(path.parent)


def replace(source: Path, target: Path) -> None:
    """Rename `source` to `target`, also where the file system renames to no name that exists, e.g. an old sshfs.

    Raises: OSError if that is not possible; `target` is as it was.
    """
    try:
        source.replace(target)
    except OSError as error:
        if error.errno not in UNSUPPORTED | {errno.EEXIST, errno.EPERM} or not target.is_file():
            raise
        aside = source.with_name(f"{source.name}.old")
        target.replace(aside)
        try:
            source.replace(target)
        except OSError:
            aside.replace(target)
            raise
        aside.unlink()


def _flush(path: Path) -> None:
    """Wait until the content is on disk, if the file system can tell."""
    file = os.open(path, os.O_RDONLY)
    try:
        os.fsync(file)
    except OSError as error:
        if error.errno not in UNSUPPORTED:
            raise
    finally:
        os.close(file)


def files_below(top: Path | str) -> list[Path]:
    """All files below `top`, sorted, with those behind links.

    Raises: ValueError that names a folder that cannot be read.
    """
    try:
        return sorted(path for folder in folders(Path(top)) for path in folder.iterdir() if path.is_file())
    except OSError as error:
        raise ValueError(f"{error.filename}: could not be read: {error.strerror}") from None


def folders(top: Path, above: frozenset[Path] = frozenset()) -> Iterator[Path]:
    """`top` and all folders below it, with those behind links.

    `above` holds the folders that `top` lies in, without links: a link back to one of them is not followed.

    Raises: OSError for a folder that cannot be read.
    """
    here = top.resolve()
    if here in above:
        return
    yield top
    for path in sorted(top.iterdir()):
        if path.is_dir():
            yield from folders(path, above | {here})


def write_text(path: Path | str, text: str) -> None:
    """Write `text` to `path`."""
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path | str, content: Any) -> None:
    """Write `content` to `path`, keys sorted."""
    write_text(path, json.dumps(content, sort_keys=True, indent=2, allow_nan=False) + "\n")


def read_text(path: Path | str, mend: str | None = None) -> str:
    """The content of a text file of ours in UTF-8, unpacked if its name ends in .xz.

    Raises: ValueError that names `path` and a remedy if it is missing, damaged, cut off or empty.
    """
    path, mend = Path(path), mend or remedy(path)
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise ValueError(f"no '{path}'; run `snakemake --cores all` to make it") from None
    except OSError as error:
        raise ValueError(f"{path}: could not be read: {error.strerror}") from None
    try:
        text = (lzma.decompress(content) if path.suffix == ".xz" else content).decode("utf-8")
    except (lzma.LZMAError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: damaged: {one_line(error)}; {mend}") from None
    if not text:
        raise ValueError(f"{path}: expected text, got an empty file; {mend}")
    return text


def read_lines(path: Path | str) -> list[tuple[str, str]]:
    """Every line of a text file of ours, with its place.

    Raises: ValueError as `read_text`.
    """
    return [(f"{path}:{number}", line) for number, line in enumerate(read_text(path).splitlines(), start=1)]


Fields = Mapping[str, type | UnionType]
"""The names and types of the entries of a JSON object that are needed."""


def read_json(path: Path | str, fields: Fields | None = None) -> dict[str, Any]:
    """The object in a JSON file of ours; it has all `fields`.

    Raises: ValueError that names `path` and a remedy if it is missing, damaged or another object.
    """
    return parse_json(read_text(path), fields or {}, str(path), remedy(path))


def parse_json(text: str, fields: Fields, where: str, mend: str) -> dict[str, Any]:
    """The object that `text` holds; it has all `fields`.

    Raises: ValueError that says where, what was expected, what was there, and how to `mend` it.
    """
    try:
        found = json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{where}: not JSON, it may be cut off: {one_line(error)}; {mend}") from None
    return check_fields(found, fields, where, mend)


def check_fields(found: Any, fields: Fields, where: str, mend: str) -> dict[str, Any]:
    """Return `found` if it is a JSON object with all `fields`.

    Raises: ValueError as `parse_json`.
    """
    if not isinstance(found, dict):
        raise ValueError(f"{where}: expected a JSON object, got {shortened(found)}; {mend}")
    for name, kind in fields.items():
        if name not in found:
            raise ValueError(f"{where}: expected '{name}', got none; have {sorted(found)}; {mend}")
        if not isinstance(found[name], kind) or (isinstance(found[name], bool) and kind is not bool):
            wanted = getattr(kind, "__name__", str(kind))
            raise ValueError(f"{where}: expected '{name}' of type {wanted}, got {shortened(found[name])}; {mend}")
    return found


def _refuse(constant: str) -> Any:
    raise ValueError(f"expected finite numbers, got {constant}")


def remedy(path: Path | str) -> str:
    """What to do about a damaged file of ours: git has those of kept studies, the workflow makes all others."""
    return f"restore it with `git checkout {path}`" if "studies" in Path(path).parts else MEND


def one_line(error: BaseException) -> str:
    """What the error says, or its name if it says nothing, in one line."""
    return " ".join(str(error).split()).strip("'\"") or type(error).__name__


def shortened(value: Any) -> str:
    """The value in at most 80 characters."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def check_path(path: Path) -> None:
    """Check that MuJoCo can open files below `path`. It takes a backslash for '/', and only UTF-8.

    Raises: ValueError in one line if not.
    """
    if "\\" in str(path) or any("\udc80" <= character <= "\udcff" for character in str(path)):
        raise ValueError(f"{path}: expected a path in UTF-8 without a backslash, for MuJoCo; rename it")


def sha256(path: Path | str) -> str:
    """Hex digest of the file's bytes."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
