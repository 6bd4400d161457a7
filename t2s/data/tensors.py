"""Files in safetensors whose metadata holds a JSON object under the key `t2s`."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from safetensors import safe_open

from t2s.data.files import Fields, one_line, parse_json, remedy

KEY = "t2s"


def read(
    path: Path, what: str, fields: Fields, framework: Literal["numpy", "pt"]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The JSON object, with all `fields`, and the tensors of the file, which is `what`.

    Raises: ValueError that names `path` and a remedy if the file is missing, damaged or something else.
    """
    try:
        with safe_open(path, framework=framework) as file:
            metadata = file.metadata()
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except Exception as error:  # nothing but calls of safetensors
        raise ValueError(f"{path}: expected {what}, got {one_line(error)}; {remedy(path)}") from None
    return _header(path, what, fields, metadata), tensors


def read_header(path: Path, what: str, fields: Fields) -> dict[str, Any]:
    """The JSON object of the file, without reading a tensor.

    Raises: ValueError as `read`.
    """
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata()
    except Exception as error:  # nothing but calls of safetensors
        raise ValueError(f"{path}: expected {what}, got {one_line(error)}; {remedy(path)}") from None
    return _header(path, what, fields, metadata)


def _header(path: Path, what: str, fields: Fields, metadata: dict[str, str] | None) -> dict[str, Any]:
    if KEY not in (metadata or {}):
        raise ValueError(f"{path}: expected {what}, got other tensors; {remedy(path)}")
    return parse_json((metadata or {})[KEY], fields, str(path), remedy(path))
