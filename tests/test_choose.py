"""Which epoch a task is left with."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save_file
from synthetic import record

from t2s import cli
from t2s.data import records
from t2s.stages import choose

CURVE = {0: [False, False], 20: [True, False], 40: [False, True], 60: [False, False]}


def write(
    folder: Path, curve: dict[int, list[bool]] = CURVE, kind: str = "curve", unfinished: tuple[int, ...] = ()
) -> list[str]:
    """The records and checkpoints of a curve; the command's arguments."""
    episodes = [
        record(kind=kind, epoch=epoch, init_index=i, success=success)
        for epoch, successes in curve.items()
        for i, success in enumerate(successes)
    ]
    records.write(folder / "task0_curve.jsonl", episodes)
    checkpoints = [folder / f"epoch{epoch}.safetensors" for epoch in curve]
    for path, epoch in zip(checkpoints, curve, strict=True):
        header = {"task": 0} | ({"finished": False} if epoch in unfinished else {})
        save_file({"weight": np.full(2, epoch)}, path, {"t2s": json.dumps(header)})
    named = [str(path) for path in checkpoints]
    curve_path, out = str(folder / "task0_curve.jsonl"), str(folder / "out")
    return ["--curve", curve_path, "--out", out, "--checkpoints", *named]


def test_the_earliest_of_the_best_epochs_is_copied(tmp_path: Path) -> None:
    cli.run(["choose", *write(tmp_path)])
    assert (tmp_path / "out/policy.safetensors").read_bytes() == (tmp_path / "epoch20.safetensors").read_bytes()


def test_a_policy_that_is_not_finished_is_never_left(tmp_path: Path) -> None:
    cli.run(["choose", *write(tmp_path, unfinished=(0, 20))])
    chosen = json.loads((tmp_path / "out/chosen.json").read_text())
    assert (chosen["epoch"], chosen["success"]["20"]) == (40, 0.5)
    with pytest.raises(ValueError, match="expected a finished policy"):
        cli.run(["choose", *write(tmp_path, unfinished=tuple(CURVE))])


def test_a_damaged_checkpoint_is_refused(tmp_path: Path) -> None:
    arguments = write(tmp_path)
    (tmp_path / "epoch20.safetensors").write_bytes(b"x")
    with pytest.raises(ValueError, match=r"epoch20.safetensors: expected a checkpoint"):
        cli.run(["choose", *arguments])


def test_the_success_of_every_epoch_is_told(tmp_path: Path) -> None:
    cli.run(["choose", *write(tmp_path)])
    assert json.loads((tmp_path / "out/chosen.json").read_text()) == {
        "epoch": 20,
        "success": {"0": 0.0, "20": 0.5, "40": 0.5, "60": 0.0},
    }


@given(st.dictionaries(st.integers(0, 50), st.sampled_from([0.0, 0.5, 1.0]), min_size=1))
def test_no_epoch_is_better_and_no_earlier_one_as_good(success: dict[int, float]) -> None:
    chosen = choose.choose(success)
    for epoch, rate in success.items():
        assert rate < success[chosen] or (rate == success[chosen] and epoch >= chosen)


def test_epochs_are_compared_as_numbers() -> None:
    assert choose.choose({100: 0.5, 20: 0.5}) == 20


def test_a_missing_checkpoint_is_refused(tmp_path: Path) -> None:
    arguments = [a for a in write(tmp_path) if not a.endswith("epoch20.safetensors")]
    with pytest.raises(ValueError, match=r"expected a checkpoint of epoch 20; have \['epoch0'"):
        cli.run(["choose", *arguments])


def test_records_of_kept_policies_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="expected the curve of one task"):
        cli.run(["choose", *write(tmp_path, kind="kept")])
