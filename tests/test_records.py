"""Properties of reading and writing episode records."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import synthetic

from t2s.data import records


def test_records_come_back_as_they_were_written(tmp_path: Path) -> None:
    rows = [synthetic.record(), synthetic.record(init_index=1, success=False)]
    records.write(tmp_path / "a.jsonl", rows)
    assert records.read([tmp_path / "a.jsonl"]).to_dict("records") == rows


def test_the_same_records_are_the_same_bytes(tmp_path: Path) -> None:
    row = synthetic.record()
    records.write(tmp_path / "a.jsonl", [row])
    records.write(tmp_path / "b.jsonl", [dict(reversed(row.items()))])
    assert (tmp_path / "a.jsonl").read_bytes() == (tmp_path / "b.jsonl").read_bytes()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"success": 1}, "expected success of type bool, got 1"),
        ({"epoch": True}, "expected epoch of type int, got True"),
        ({"task": -1}, "expected task >= 0, got -1"),
        ({"kind": "best"}, r"unknown kind 'best'; have \['curve', 'kept'\]"),
        ({"task": 2}, "expected task <= stage, got 2 and 0"),
        ({"score": 1.0}, "expected fields"),
    ],
)
def test_a_wrong_record_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        records.check(synthetic.record(**changes), "here")


def test_a_wrong_record_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"a.jsonl: expected success"):
        records.write(tmp_path / "a.jsonl", [synthetic.record(success="yes")])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected text, got an empty file"),
        ('{"suite": "blo', r"a.jsonl:1: not JSON, it may be cut off"),
        ("[1]\n", "expected a JSON object"),
    ],
)
def test_a_broken_file_is_named(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        records.read([path])


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no '.*a.jsonl'; run"):
        records.read([tmp_path / "a.jsonl"])


def test_the_same_episode_twice_is_refused(tmp_path: Path) -> None:
    records.write(tmp_path / "a.jsonl", [synthetic.record(), synthetic.record(success=False)])
    with pytest.raises(ValueError, match="expected one record per episode, got two of"):
        records.read([tmp_path / "a.jsonl"])
