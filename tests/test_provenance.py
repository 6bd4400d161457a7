"""What provenance.json says, against git, the files and the records themselves."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import synthetic
import torch
from params_file import params_file
from test_doctor import git

import t2s
from t2s import cli
from t2s.data import files, records

ROOT = Path(__file__).parents[1]
STUDY = synthetic.params(n_tasks=2, seeds=(0,))
MANIFEST = {
    "file": "task0_demo.hdf5",
    "sha256": "ab" * 32,
    "n_demos": 50,
    "n_samples": 9,
    "source": "scripted",
    "observations": "before",
}


@pytest.fixture
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small repository with a finished run, and the work folder."""
    (tmp_path / ".gitignore").write_text("results/\n")
    (tmp_path / "code.py").write_text("print(1)\n")
    (tmp_path / "constraints.txt").write_text("# pins\ntorch==2.13.0\nno-such-package-of-t2s==1\n")
    synthetic.write(tmp_path / "results", STUDY["study"], n_rollouts=4)
    files.write_json(tmp_path / "results/demos/blocks_object/task0.json", MANIFEST)
    (tmp_path / "results/language").mkdir()
    (tmp_path / "results/language/blocks_object.safetensors").write_bytes(b"embeddings")
    monkeypatch.chdir(tmp_path)
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", "-A")
    git(tmp_path, "commit", "-qm", "Begin")
    return tmp_path


def run() -> dict[str, Any]:
    """The file that the command writes in the work folder."""
    out = Path("results/provenance.json")
    demos, language = "results/demos/blocks_object/task0.json", "results/language/blocks_object.safetensors"
    inputs = ["--params", params_file(STUDY), "--code", "0" * 64, "--demos", demos, "--language", language]
    cli.run(["provenance", *inputs, "--results", "results", "--out", str(out)])
    found: dict[str, Any] = json.loads(out.read_text(encoding="utf-8"))
    return found


def test_the_commit_is_gits_and_what_is_not_committed_is_named(clone: Path) -> None:
    head = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()
    before = run()["code"]
    assert before["commit"] == head
    assert before["changed"] == []  # results are ignored
    (clone / "code.py").write_text("print(2)\n")
    after = run()["code"]
    assert after["commit"] == head
    assert after["changed"] == ["code.py"]
    assert after["sha256"] == "0" * 64


def test_without_git_the_digest_of_the_code_stands_alone(clone: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = run()["code"]
    (clone / ".git").rename(clone / "results/git")
    assert run()["code"] == before | {"commit": None}
    assert "note: no commit: git: fatal: not a git repository" in capsys.readouterr().err


def test_data_and_params_are_named_by_their_digests(clone: Path) -> None:
    found = run()
    manifest = (clone / "results/demos/blocks_object/task0.json").read_bytes()
    assert found["data"]["demos"] == {
        "blocks_object/task0": {
            "sha256": MANIFEST["sha256"],
            "n_demos": 50,
            "source": "scripted",
            "observations": "before",
            "manifest_sha256": hashlib.sha256(manifest).hexdigest(),
        }
    }
    assert found["data"]["language"] == {"blocks_object": hashlib.sha256(b"embeddings").hexdigest()}
    assert found["params"] == STUDY
    assert found["params_sha256"] == hashlib.sha256(json.dumps(STUDY, sort_keys=True).encode()).hexdigest()


def test_packages_and_machine_are_those_that_are_there(clone: Path) -> None:
    found = run()
    assert found["packages"] == {"torch": torch.__version__, "no-such-package-of-t2s": None}
    assert found["machine"]["python"] == ".".join(map(str, sys.version_info[:3]))
    assert found["machine"]["cpu"]
    assert found["machine"]["cpu_capability"] == torch.backends.cpu.get_cpu_capability()
    assert found["machine"]["kernels"] == {name: os.environ.get(name) for name in t2s.KERNELS}
    assert all(torch.cuda.get_device_name(i) in gpu for i, gpu in enumerate(found["machine"]["gpus"]))


def test_episodes_of_every_chain_are_counted_by_version_and_device(clone: Path) -> None:
    path = clone / "results/episodes/blocks_object/t2s/seed0/stage1_task0.jsonl"
    other = [row | {"versions": row["versions"] | {"device": "NVIDIA H100"}} for row in rows(path)]
    records.write(path, other)
    longer = synthetic.record(stage=2, task=2)
    records.write(path.with_name("stage2_task2.jsonl"), [longer])  # of a longer study, before this one
    runs = run()["runs"]
    assert list(runs) == ["blocks_object/sequential/seed0", "blocks_object/t2s/seed0"]
    n_curve, n_kept = 2 * len(synthetic.EPOCHS) * 4, 3 * 4
    (only,) = runs["blocks_object/sequential/seed0"]
    assert only == {"n_episodes": n_curve + n_kept, "protocol": "blocks", "versions": synthetic.VERSIONS}
    counts = {row["versions"]["device"]: row["n_episodes"] for row in runs["blocks_object/t2s/seed0"]}
    assert counts == {"NVIDIA H100": 4, "cpu": n_curve + n_kept - 4}


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_the_same_run_gives_the_same_bytes(clone: Path) -> None:
    run()
    before = (clone / "results/provenance.json").read_bytes()
    run()
    assert (clone / "results/provenance.json").read_bytes() == before
