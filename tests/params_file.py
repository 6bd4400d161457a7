"""Params files for commands that read one."""

from __future__ import annotations

import hashlib
import json
import tempfile
from pathlib import Path
from typing import Any

FOLDER = tempfile.TemporaryDirectory(prefix="t2s-params-")


def params_file(sections: dict[str, Any]) -> str:
    """Path of a params file with these sections; the same path for the same sections."""
    text = json.dumps(sections, sort_keys=True)
    path = Path(FOLDER.name) / f"{hashlib.sha256(text.encode()).hexdigest()[:16]}.json"
    path.write_text(text, encoding="utf-8")
    return str(path)
