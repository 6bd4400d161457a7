"""Films: small, upright, of the episode that the records tell of."""

from __future__ import annotations

import io
import json
from pathlib import Path

import chain
import numpy as np
import pytest
from PIL import Image

from t2s import cli
from t2s.stages import film


def moving_square(n: int, size: int = 64) -> list[np.ndarray]:
    frames = np.full((n, size, size, 3), 200, np.uint8)
    for i, frame in enumerate(frames):
        frame[10:20, i % (size - 10) : i % (size - 10) + 10] = (200, 30, 30)
    return list(frames)


def test_a_film_shows_every_second_frame_and_the_last() -> None:
    gif = Image.open(io.BytesIO(film.encode(moving_square(10), fps=20)))
    assert getattr(gif, "n_frames", 1) == 6
    assert gif.info["duration"] == 100
    gif.seek(5)
    last = np.asarray(gif.convert("RGB"))
    assert np.abs(last[15, 12].astype(int) - (200, 30, 30)).max() < 12  # the square at 9..18
    assert last[15, 8, 1] > 180


def test_a_film_too_large_shows_fewer_frames() -> None:
    frames = moving_square(40)
    whole = film.encode(frames, fps=20)
    small = film.encode(frames, fps=20, max_bytes=len(whole) - 1)
    assert len(small) < len(whole)
    assert Image.open(io.BytesIO(small)).info["duration"] == 200


@pytest.mark.sim
def test_every_task_learned_is_filmed(tmp_path: Path) -> None:
    made = chain.make(tmp_path, "t2s")
    arguments = made.arguments("kept", 1, 0)
    drop = {"--kind", "--stage", "--task", "--engine"}
    pairs = zip(arguments[:-3:2], arguments[1:-3:2], strict=True)
    kept = [part for pair in pairs if pair[0] not in drop for part in pair]
    cli.run(["film", *kept, *arguments[-3:], "--out", str(tmp_path / "films")])
    told = json.loads((tmp_path / "films/films.json").read_text())
    assert sorted(told) == ["task0", "task1"]
    assert told["task1"]["n_steps"] == 6
    with Image.open(tmp_path / "films/task1.gif") as gif:
        assert gif.size == (64, 64)
