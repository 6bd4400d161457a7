"""Properties of the figures."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, get_args

import matplotlib.pyplot as plt
import numpy as np
import pytest
import seaborn as sns
import synthetic
from matplotlib.container import BarContainer
from params_file import params_file
from PIL import Image

from t2s.params import MEAN, Palette
from t2s.report import figures

SUITE = "blocks_object"


def results(folder: Path, sections: dict[str, Any]) -> Path:
    """A folder of results with its metrics."""
    synthetic.write(folder, sections["study"])
    command = [sys.executable, "-m", "t2s", "metrics", "--params", params_file(sections)]
    subprocess.run([*command, "--results", str(folder)], check=True)
    return folder


def draw(folder: Path, sections: dict[str, Any], *options: str) -> None:
    command = [sys.executable, "-m", "t2s", "figures", "--suite", SUITE, "--results", str(folder)]
    subprocess.run([*command, "--params", params_file(sections), *options], check=True)


@pytest.fixture(scope="module")
def three_tasks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return results(tmp_path_factory.mktemp("three"), synthetic.params())


def drawing(folder: Path, sections: dict[str, Any]) -> figures.Drawing:
    return figures.read(folder, SUITE, params_file(sections))


def test_every_figure_is_drawn_with_the_same_bytes_each_time(three_tasks: Path) -> None:
    draw(three_tasks, synthetic.params())
    first = {path: path.read_bytes() for path in drawn(three_tasks)}
    draw(three_tasks, synthetic.params())
    assert {path: path.read_bytes() for path in drawn(three_tasks)} == first
    assert sorted(path.name for path in first) == sorted(
        f"{name}.{e}" for name in figures.FIGURES for e in ("png", "pdf")
    )


def test_every_palette_has_a_colour_for_every_method() -> None:
    assert all(len(set(sns.color_palette(name, 8))) >= 6 for name in get_args(Palette))


def drawn(folder: Path) -> list[Path]:
    return [path for kind in ("figures", "pdf") for path in sorted((folder / kind / SUITE).iterdir())]


def test_only_the_figure_that_was_asked_for_is_drawn(three_tasks: Path, tmp_path: Path) -> None:
    for name in ("metrics.json", "success.csv", "tasks.csv", "runs"):
        (tmp_path / name).symlink_to(three_tasks / name)
    draw(tmp_path, synthetic.params(), "--figure", "tokens")
    assert [path.name for path in drawn(tmp_path)] == ["tokens.png", "tokens.pdf"]


@pytest.mark.parametrize("n_tasks", [1, 2, 10])
def test_no_panel_is_empty_and_no_picture_is_blank(tmp_path: Path, n_tasks: int) -> None:
    sections = synthetic.params(n_tasks, seeds=(0,))
    shown = drawing(results(tmp_path, sections), sections)
    for name in figures.drawn(shown):
        with plt.rc_context(figures.style(shown.look)):
            figure = figures.FIGURES[name](shown)
            assert all(ax.has_data() for ax in figure.axes), name
            figures.save(figure, tmp_path, name, dpi=50)
        pixels = np.asarray(Image.open(tmp_path / "figures" / f"{name}.png").convert("L"))
        assert pixels.min() < 100 < 250 < pixels.max()


def test_growth_and_reuse_are_not_drawn_without_a_method_that_grows(tmp_path: Path) -> None:
    sections = synthetic.params(2, seeds=(0,))
    sections["study"]["methods"] = ["sequential"]
    names = figures.drawn(drawing(results(tmp_path, sections), sections))
    assert "tokens" not in names
    assert "language" not in names


def test_one_task_shows_no_forgetting(tmp_path: Path) -> None:
    sections = synthetic.params(1, seeds=(0,))
    names = figures.drawn(drawing(results(tmp_path, sections), sections))
    assert {"forgetting", "language"}.isdisjoint(names)


def test_a_method_has_one_colour_and_one_marker(three_tasks: Path) -> None:
    shown = drawing(three_tasks, synthetic.params())
    assert len(set(shown.colours.values())) == len(set(shown.markers.values())) == 2


def test_a_task_for_which_nothing_was_trained_has_no_losses(tmp_path: Path) -> None:
    sections = synthetic.params(2, seeds=(0,))
    folder = results(tmp_path, sections)
    (folder / "runs" / SUITE / "t2s/seed0/task1/losses.csv").write_text("epoch,step,loss,lr,grad_norm\n")
    shown = drawing(folder, sections)
    assert set(shown.losses[shown.losses.task == 1].method) == {"sequential"}
    with plt.rc_context(figures.style(shown.look)):
        figures.save(figures.losses(shown), tmp_path, "losses", dpi=50)


def test_of_several_suites_the_mean_scores_are_drawn(tmp_path: Path) -> None:
    sections = synthetic.params(2, seeds=(0,))
    sections["study"]["suites"] = [SUITE, "blocks_goal"]
    shown = figures.read(results(tmp_path, sections), MEAN, params_file(sections))
    assert figures.drawn(shown) == ["scores"]
    (ax,) = figures.scores(shown).axes
    both = json.loads((tmp_path / "metrics.json").read_text())
    bars = [container for container in ax.containers if isinstance(container, BarContainer)]
    heights = {container.get_label(): container[0].get_height() for container in bars}
    for method in sections["study"]["methods"]:
        fwt = [both[suite][method]["fwt"]["mean"] for suite in sections["study"]["suites"]]
        assert heights[method] == pytest.approx(sum(fwt) / 2, abs=1e-5)


def test_an_unknown_suite_is_named(three_tasks: Path) -> None:
    with pytest.raises(ValueError, match=r"unknown suite 'x'; have \['blocks_object'\]"):
        figures.read(three_tasks, "x", params_file(synthetic.params()))
