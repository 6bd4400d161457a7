"""Episode records: one JSONL line per episode, checked when written and when read."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import pandas as pd

from t2s.data.files import atomic, parse_json, read_lines, remedy

FIELDS: Final[dict[str, type]] = {
    "suite": str,
    "method": str,
    "seed": int,
    "stage": int,  # tasks 0..stage have been learned
    "task": int,
    "epoch": int,  # of the policy
    "kind": str,
    "init_index": int,
    "episode_seed": int,
    "success": bool,
    "n_steps": int,
    "fingerprint": str,  # of the tensors that act on the task
    "protocol": str,
    "versions": dict,
}
KINDS: Final = ("curve", "kept")
COUNTS: Final = ("seed", "stage", "task", "epoch", "init_index", "episode_seed", "n_steps")
KEY: Final = [
    "suite",
    "method",
    "seed",
    "stage",
    "task",
    "epoch",
    "kind",
    "init_index",
    "episode_seed",
]
"""The fields that identify an episode."""


def write(path: Path, records: Iterable[Mapping[str, Any]]) -> None:
    """Write `records` as JSONL: one line each, with sorted keys."""
    with atomic(path) as temporary:
        lines = [json.dumps(check(record, str(path)), sort_keys=True) for record in records]
        temporary.write_text("".join(line + "\n" for line in lines), encoding="utf-8")


def read(paths: Iterable[Path]) -> pd.DataFrame:
    """All records of `paths`: one row per episode, columns `FIELDS`.

    Raises: ValueError for a file that is missing, empty or cut off, for a wrong record, and for two records of the
    same episode. So a missing episode never counts as a failed one.
    """
    rows = [record for path in paths for record in _read(path)]
    frame = pd.DataFrame(rows, columns=list(FIELDS))
    twice = frame[frame.duplicated(KEY)]
    if len(twice):
        raise ValueError(f"expected one record per episode, got two of {twice[KEY].iloc[0].to_dict()}")
    return frame


def check(record: Mapping[str, Any], where: str) -> Mapping[str, Any]:
    """Return `record`, if it has all fields with the right types.

    Raises: ValueError that says where, what was expected and what was there.
    """
    if set(record) != set(FIELDS):
        raise ValueError(f"{where}: expected fields {sorted(FIELDS)}, got {sorted(record)}")
    for field, kind in FIELDS.items():
        if type(record[field]) is not kind:
            raise ValueError(f"{where}: expected {field} of type {kind.__name__}, got {record[field]!r}")
    for field in COUNTS:
        if record[field] < 0:
            raise ValueError(f"{where}: expected {field} >= 0, got {record[field]}")
    if record["kind"] not in KINDS:
        raise ValueError(f"{where}: unknown kind '{record['kind']}'; have {list(KINDS)}")
    if record["task"] > record["stage"]:
        raise ValueError(f"{where}: expected task <= stage, got {record['task']} and {record['stage']}")
    return record


def _read(path: Path) -> list[Mapping[str, Any]]:
    return [check(parse_json(line, {}, where, remedy(path)), where) for where, line in read_lines(path)]
