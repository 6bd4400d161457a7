"""Reading results: every damaged file is one line that names it and says what to do."""

from __future__ import annotations

import json
import lzma
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import synthetic
from params_file import params_file

from t2s import cli, params
from t2s.data import embeddings, results
from t2s.data.files import read_json, write_json

SECTIONS = synthetic.params(n_tasks=1, seeds=(0,))
STUDY = params.Study.model_validate(SECTIONS["study"])
CHAIN = "blocks_object/t2s/seed0"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    synthetic.write(tmp_path, SECTIONS["study"])
    cli.run(["metrics", "--params", params_file(SECTIONS), "--results", str(tmp_path)])
    return tmp_path


READERS: dict[str, Callable[[Path], Any]] = {
    f"episodes/{CHAIN}/task0_curve.jsonl": lambda folder: results.episodes(folder, STUDY),
    f"runs/{CHAIN}/task0/learn.json": lambda folder: results.learned(folder, STUDY),
    f"runs/{CHAIN}/task0/losses.csv": lambda folder: results.losses(folder, STUDY),
    f"benchmarks/learn/{CHAIN}/task0.tsv": lambda folder: results.costs(folder, STUDY),
    "metrics.json": lambda folder: results.summary(folder, STUDY.suites, STUDY.methods),
    "success.csv": lambda folder: results.success(folder),
    "tasks.csv": lambda folder: results.tasks(folder),
}
KEPT: dict[str, Callable[[Path, params.Study], Any]] = {
    results.EPISODES: results.episodes,
    results.LEARNED: results.learned,
    results.LOSSES: results.losses,
    results.COSTS: results.costs,
}
DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda content: b"",
    "cut off": lambda content: content[: len(content) * 2 // 3],
    "a list": lambda content: b"[]\n",
    "an empty object": lambda content: b"{}\n",
    "no text": lambda content: b"\xff" + content,
    "nested": lambda content: b"[" * 10**5 + b"\n",
    "binary": lambda content: bytes(range(256)),
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", READERS)
def test_a_damaged_file_is_one_line_with_a_remedy(folder: Path, name: str, damage: str) -> None:
    READERS[name](folder)
    path = folder / name
    path.write_bytes(DAMAGES[damage](path.read_bytes()))
    with pytest.raises(ValueError, match=rf"{name}.*: .*(remove it and run `snakemake|expected fields)") as error:
        READERS[name](folder)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", READERS)
def test_a_missing_file_is_one_line_that_names_it(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(ValueError, match=rf"^no '.*{name}'; run `snakemake --cores all`"):
        READERS[name](folder)


@pytest.mark.parametrize("damage", ["empty", "cut off", "no text"])
@pytest.mark.parametrize("name", KEPT)
def test_a_damaged_file_of_a_study_is_restored_by_git(folder: Path, tmp_path: Path, name: str, damage: str) -> None:
    kept = tmp_path / "studies" / "mine"
    results.write(kept, folder, STUDY)
    (kept / name).write_bytes(DAMAGES[damage]((kept / name).read_bytes()))
    with pytest.raises(ValueError, match=rf"{name}: .*; restore it with `git checkout {kept / name}`$"):
        KEPT[name](kept, STUDY)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"n_steps": "600"}, "expected 'n_steps' of type int, got '600'"),
        ({"task": True}, "expected 'task' of type int, got True"),
        ({"active": {}}, r"expected 'active' of type list \| None, got {}"),
        ({"similarity": []}, r"expected 'similarity' of type dict \| None, got \[\]"),
    ],
)
def test_a_field_of_the_wrong_type_is_named(folder: Path, changes: dict[str, Any], message: str) -> None:
    path = folder / f"runs/{CHAIN}/task0/learn.json"
    write_json(path, read_json(path) | changes)
    with pytest.raises(ValueError, match=rf"learn\.json: {message}; remove it"):
        results.learned(folder, STUDY)


def test_text_in_place_of_numbers_is_named(folder: Path) -> None:
    path = folder / "success.csv"
    path.write_text(path.read_text().replace(",20,", ",2o,"))
    with pytest.raises(ValueError, match=r"success\.csv: expected numbers in column 'epoch', got text; remove it"):
        results.success(folder)


def test_json_that_is_not_finite_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text(json.dumps({"a": float("nan")}))
    with pytest.raises(ValueError, match=r"x\.json: not JSON, .*got NaN"):
        read_json(tmp_path / "x.json")


def test_a_packed_file_that_is_cut_off_is_damaged(tmp_path: Path) -> None:
    (tmp_path / "x.json.xz").write_bytes(lzma.compress(b'{"a": 1}')[:-9])
    with pytest.raises(ValueError, match=r"x\.json\.xz: damaged: .*; remove it"):
        read_json(tmp_path / "x.json.xz")


@pytest.mark.parametrize("spoilt", [0.0, np.nan, np.inf])
def test_an_embedding_without_a_direction_is_refused(tmp_path: Path, spoilt: float) -> None:
    with pytest.raises(ValueError, match=r"e\.safetensors: expected an embedding of 'b' with a direction"):
        embeddings.write(tmp_path / "e.safetensors", {"a": np.ones(3), "b": np.full(3, spoilt)}, "none")


@pytest.mark.parametrize("content", [b"", b"x" * 50, b"\x08\0\0\0\0\0\0\0{}      "])
def test_what_is_no_file_of_embeddings_is_one_line(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "e.safetensors").write_bytes(content)
    with pytest.raises(ValueError, match=r"e\.safetensors: expected instruction embeddings, got .*; remove it"):
        embeddings.read(tmp_path / "e.safetensors")
