"""Draw the figures of one suite, or of the mean over several. Each method has the same colour in all of them.

Reads, in a folder of results: metrics.json, success.csv, tasks.csv, and the losses (t2s.data.results).
Writes there: figures/{suite}/{figure}.png, to look at, and pdf/{suite}/{figure}.pdf, for a paper.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, ListedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from t2s.data import results
from t2s.data.files import atomic
from t2s.params import MEAN, Figures, Study

WIDTH: Final = 7.2  # [in] full width of README.md and of a page
N_COLUMNS: Final = 5
N_NAMES: Final = 5  # names of methods in a row of a legend
MARKERS: Final = "osD^vPX*<>ph8"  # more than the colours of a palette, so that pairs of both repeat later
METADATA: Final = {  # no dates, so that the same numbers give the same bytes
    "png": {"Software": None},
    "pdf": {"CreationDate": None, "ModDate": None, "Producer": None, "Creator": None},
}


@dataclass(frozen=True)
class Drawing:
    """The numbers to draw for one suite. For the mean over several suites, only the summary has any."""

    study: Study
    look: Figures
    summary: dict[str, Any]  # {method: {metric: {mean, low, high}}}
    success: pd.DataFrame
    tasks: pd.DataFrame
    folder: Path  # folder of the results
    suite: str

    @cached_property
    def losses(self) -> pd.DataFrame:
        """The training losses of every method, seed and task."""
        whole = results.losses(self.folder, self.study)
        return whole[whole.suite == self.suite]

    @property
    def colours(self) -> dict[str, tuple[float, float, float]]:
        """The colour of each method, by its place in the study."""
        palette = sns.color_palette(self.look.palette, len(self.study.methods))
        return dict(zip(self.study.methods, palette, strict=True))

    @property
    def markers(self) -> dict[str, str]:
        """The marker of each method, for readers who see no colours."""
        return {m: MARKERS[i % len(MARKERS)] for i, m in enumerate(self.study.methods)}

    @property
    def growing(self) -> list[str]:
        """The methods whose learner has tokens."""
        with_tokens = set(self.tasks[self.tasks.n_tokens_bank.notna()].method)
        return [method for method in self.study.methods if method in with_tokens]


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options to `parser`."""
    parser.add_argument("--suite", required=True, help=f"name of a suite, or {MEAN!r} for the mean over several")
    parser.add_argument("--params", required=True, help="params file, YAML or JSON, with sections study, figures")
    parser.add_argument("--results", type=Path, default=Path("results"), help="folder of the results")
    parser.add_argument("--figure", choices=list(FIGURES), nargs="+", help="draw only these figures")


def main(args: argparse.Namespace) -> None:
    """Draw every figure that has something to show."""
    drawing = read(args.results, args.suite, args.params)
    for name in args.figure or drawn(drawing):
        with plt.rc_context(style(drawing.look)):
            figure = FIGURES[name](drawing)
            save(figure, args.results, f"{args.suite}/{name}", drawing.look.dpi)


def read(folder: Path, suite: str, source: str) -> Drawing:
    """Read all numbers of `suite`, or of the mean over several.

    Raises: ValueError for a suite that metrics.json does not have.
    """
    study, look = Study.read(source), Figures.read(source)
    success, tasks = results.success(folder), results.tasks(folder)
    summary = results.summary(folder, study.suites, study.methods)
    if suite not in summary:
        raise ValueError(f"unknown suite '{suite}'; have {sorted(summary)}")
    return Drawing(
        study,
        look,
        summary[suite],
        success[success.suite == suite],
        tasks[tasks.suite == suite],
        folder,
        suite,
    )


def drawn(drawing: Drawing) -> list[str]:
    """Names of the figures that have something to show."""
    if drawing.success.empty:
        return ["scores"]
    hidden = set() if drawing.growing else {"tokens", "language"}
    if drawing.study.n_tasks == 1:
        hidden |= {"language", "forgetting"}
    return [name for name in FIGURES if name not in hidden]


def style(look: Figures) -> Any:
    """Matplotlib's settings for the look of every figure."""
    return (
        dict(sns.axes_style("ticks"))
        | dict(sns.plotting_context(look.context))
        | {
            "font.family": "DejaVu Sans",  # comes with matplotlib, so it is the same on every machine
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.titlesize": "medium",
            "legend.frameon": False,
            "pdf.fonttype": 42,
            "figure.constrained_layout.use": True,
        }
    )


def save(figure: Figure, out: Path, name: str, dpi: int) -> None:
    """Write `figure` as figures/{name}.png and pdf/{name}.pdf."""
    for extension, folder in {"png": "figures", "pdf": "pdf"}.items():
        with atomic(out / folder / f"{name}.{extension}") as temporary:
            figure.savefig(temporary, format=extension, dpi=dpi, metadata=METADATA[extension])
    plt.close(figure)


def success_matrix(drawing: Drawing) -> Figure:
    """Success on each task after learning each task, one heatmap per method."""
    methods, n = drawing.study.methods, drawing.study.n_tasks
    n_columns = min(len(methods), 3 if n <= 5 else 2)
    figure, axes = panels(len(methods), n_columns, _square(n, n_columns))
    kept = drawing.success[drawing.success.kind == "kept"]
    for i, (ax, method) in enumerate(zip(axes, methods, strict=True)):
        table = kept[kept.method == method].pivot(index="stage", columns="task", values="success")
        _heatmap(ax, 100 * table, fmt=".0f", vmax=100)
        ax.set_title(method, color=drawing.colours[method], fontweight="bold")
        ax.set_ylabel("tasks learned" if i % n_columns == 0 else "")
        ax.set_xlabel("rolled out on task")
    figure.suptitle("success [%]", fontsize="medium")
    return figure


def learning_curves(drawing: Drawing) -> Figure:
    """Success after every evaluated epoch of learning a task, one panel per task, with Wilson bands."""
    curves = drawing.success[drawing.success.kind == "curve"]
    figure, axes = panels(drawing.study.n_tasks, _columns(drawing.study.n_tasks))
    for task, ax in enumerate(axes):
        for method, rows in _by_method(drawing, curves[curves.task == task]):
            ax.fill_between(rows.epoch, rows.low, rows.high, color=drawing.colours[method], alpha=0.18, lw=0)
            _line(ax, drawing, method, rows.epoch, rows.success)
        ax.set_title(f"task {task + 1}")
        _success_axis(ax)
        ax.set_xlim(0, curves.epoch.max())
        ax.set_xticks(sorted({0, int(curves.epoch.max())}))
    _label(figure, drawing, axes, "epoch", "success")
    return figure


def forgetting(drawing: Drawing) -> Figure:
    """Success on a task while later tasks are learned, one panel per task, with Wilson intervals."""
    kept = drawing.success[drawing.success.kind == "kept"]
    n = drawing.study.n_tasks
    figure, axes = panels(n, _columns(n))
    for task, ax in enumerate(axes):
        for i, (method, rows) in enumerate(_by_method(drawing, kept[kept.task == task])):
            x = rows.stage + 1 + 0.12 * (i - (len(drawing.study.methods) - 1) / 2)
            error = _error(rows.success, rows)
            colour = drawing.colours[method]
            ax.errorbar(x, rows.success, yerr=error, color=colour, alpha=0.5, lw=0, elinewidth=1.2)
            _line(ax, drawing, method, x, rows.success)
        ax.set_title(f"task {task + 1}")
        _success_axis(ax)
        ax.set_xlim(0.6, n + 0.4)
        ax.set_xticks(range(1, n + 1) if n <= 5 else [1, 5, 10][: 1 + n // 5])
    _label(figure, drawing, axes, "tasks learned", "success")
    return figure


def scores(drawing: Drawing) -> Figure:
    """FWT, NBT and AUC of every method with bootstrap intervals."""
    shown = {
        "fwt": "FWT\n(learning curve)",
        "fwt_final": "FWT final\n(kept policy)",
        "auc": "AUC",
        "nbt": "NBT\n(lower is better)",
    }
    methods = drawing.study.methods
    figure, ax = plt.subplots(figsize=(WIDTH, 2.9))
    width = 0.8 / len(methods)
    for i, method in enumerate(methods):
        values = pd.DataFrame([drawing.summary[method][name] for name in shown])
        x = np.arange(len(shown)) + (i - (len(methods) - 1) / 2) * width
        error = _error(values["mean"], values)
        ax.bar(x, values["mean"], 0.92 * width, color=drawing.colours[method], label=method)
        ax.errorbar(x, values["mean"], yerr=error, color="0.2", lw=0, elinewidth=1.2, capsize=2)
        for place, row in zip(x, values.to_dict("records"), strict=True):
            mean, above = row["mean"], row["mean"] >= 0
            ax.annotate(
                f"{round(100 * mean)}",
                (place, row["high"] if above else row["low"]),
                xytext=(0, 3 if above else -3),
                textcoords="offset points",
                ha="center",
                va="bottom" if above else "top",
                fontsize="small" if len(methods) <= N_NAMES else "xx-small",
            )
    ax.axhline(0, color="0.2", lw=0.8)
    ax.set_xticks(range(len(shown)), list(shown.values()))
    ax.tick_params(axis="x", length=0)
    ax.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    lowest = min(drawing.summary[method][name]["low"] for method in methods for name in shown)
    ax.set_ylim(lowest - 0.1 if lowest < 0 else 0, 1.12)
    ax.set_yticks([tick / 5 for tick in range(-5, 6) if tick >= 0 or tick / 5 >= lowest])
    figure.legend(*ax.get_legend_handles_labels(), loc="outside upper center", ncols=min(len(methods), N_NAMES))
    return figure


def tokens(drawing: Drawing) -> Figure:
    """Tokens in the bank after every task, compared with a bank that grows by the base with every task."""
    figure, ax = plt.subplots(figsize=(WIDTH, 2.9))
    x = np.arange(1, drawing.study.n_tasks + 1)
    base = 0.0
    for method in drawing.growing:
        bank = drawing.tasks[drawing.tasks.method == method].groupby("task").n_tokens_bank.mean()
        base = max(base, bank.iloc[0])
        _line(ax, drawing, method, x, bank)
    ax.plot(x, base * x, color="0.45", ls="--", label="linear: as many again for every task")
    ax.set(xlabel="tasks learned", ylabel="tokens in the bank", ylim=(0, None))
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.legend(loc="upper left")
    return figure


def language(drawing: Drawing) -> Figure:
    """Similarity of the instructions, and the earlier tasks that each task reuses."""
    rows = drawing.tasks[drawing.tasks.method.isin(drawing.growing)]
    rows = rows[rows.seed == drawing.study.seeds[0]]
    n, methods = drawing.study.n_tasks, drawing.growing
    n_columns = min(1 + len(methods), 3 if n <= 5 else 2)
    figure, axes = panels(1 + len(methods), n_columns, _square(n - 1, n_columns))
    first = rows[rows.method == methods[0]]
    _heatmap(axes[0], _pairs(first.similarity, n), fmt=".2f", vmax=1.0)
    axes[0].set_title("similarity of instructions")
    axes[0].set_ylabel("task")
    known = _pairs(first.similarity, n).notna()
    for ax, method in zip(axes[1:], methods, strict=True):
        of_method = rows[rows.method == method]
        acting, chosen = (_pairs(map(_ones, column), n).fillna(0) for column in (of_method.active, of_method.reused))
        colour = drawing.colours[method]
        cmap = ListedColormap([(0.93, 0.93, 0.93), tuple(0.65 + 0.35 * part for part in colour), colour])
        _heatmap(ax, (acting + chosen).clip(upper=2).where(known), fmt="", vmax=2, cmap=cmap)
        ax.set_title(f"{method}: chosen (dark), acts too (light)")
        ax.set_ylabel("task")
    for ax in axes:
        ax.set_xlabel("earlier task")
    return figure


def losses(drawing: Drawing) -> Figure:
    """Training loss of every task, one panel per task, mean over seeds."""
    figure, axes = panels(drawing.study.n_tasks, _columns(drawing.study.n_tasks))
    for task, ax in enumerate(axes):
        rows = drawing.losses[drawing.losses.task == task]
        means = rows.groupby(["method", "epoch"]).loss.mean().reset_index()
        for method, line in _by_method(drawing, means):
            marker = "." if len(line) < 3 else ""
            ax.plot(line.epoch, line.loss, color=drawing.colours[method], label=method, marker=marker)
        ax.set_title(f"task {task + 1}")
        ax.set_xlim(0, drawing.losses.epoch.max())
        ax.set_xticks([0, int(drawing.losses.epoch.max())])
    _label(figure, drawing, axes, "epoch", "training loss")
    return figure


FIGURES: Final[dict[str, Callable[[Drawing], Figure]]] = {
    "success_matrix": success_matrix,
    "learning_curves": learning_curves,
    "forgetting": forgetting,
    "scores": scores,
    "tokens": tokens,
    "language": language,
    "losses": losses,
}


def panels(n: int, n_columns: int, height: float = 2.1) -> tuple[Figure, list[Axes]]:
    """A figure with `n` panels in rows of `n_columns`, without empty panels. `height` is that of a row [in]."""
    n_rows = -(-n // n_columns)
    figure, grid = plt.subplots(n_rows, n_columns, figsize=(WIDTH, height * n_rows + 0.5), squeeze=False)
    if not figure.get_constrained_layout():
        figure.set_layout_engine("constrained")
    for ax in grid.flat[n:]:
        ax.remove()
    return figure, list(grid.flat[:n])


def _columns(n: int) -> int:
    """Number of columns for `n` panels of equal size, so that the rows are as full as possible."""
    n_rows = -(-n // N_COLUMNS)
    return -(-n // n_rows)


def _square(n_cells: int, n_columns: int) -> float:
    """Height [in] of a panel with `n_cells` by `n_cells` cells, limited so that large panels stay readable."""
    return min(0.7 + 0.7 * n_cells, WIDTH / n_columns * 0.88)


def _by_method(drawing: Drawing, rows: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    for method in drawing.study.methods:
        yield method, rows[rows.method == method]


def _line(ax: Axes, drawing: Drawing, method: str, x: Any, y: Any) -> None:
    marker, colour = drawing.markers[method], drawing.colours[method]
    ax.plot(x, y, color=colour, marker=marker, markersize=4, label=method, clip_on=False)


def _error(mean: pd.Series[float], interval: pd.DataFrame) -> list[pd.Series[float]]:
    """Lengths of the error bars, at least 0: rounding can move an end past the mean."""
    return [(mean - interval.low).clip(lower=0), (interval.high - mean).clip(lower=0)]


def _heatmap(ax: Axes, table: pd.DataFrame, fmt: str, vmax: float, cmap: str | Colormap = "viridis") -> None:
    """Draw a square heatmap. Tasks are numbered from 1, and cells without a value stay white."""
    sns.heatmap(
        table,
        ax=ax,
        vmin=0,
        vmax=vmax,
        cmap=cmap,
        annot=bool(fmt),
        fmt=fmt or ".0f",
        annot_kws={"fontsize": "x-small" if len(table) > 5 else "small"},
        cbar=False,
        square=True,
        linewidths=0.5,
    )
    ax.set_xticklabels([str(int(column) + 1) for column in table.columns])
    ax.set_yticklabels([str(int(row) + 1) for row in table.index], rotation=0)
    ax.tick_params(length=0)


def _pairs(values: Any, n: int) -> pd.DataFrame:
    """A table [task, earlier task] from one JSON object `{earlier task: value}` per task."""
    rows = [{int(j): v for j, v in json.loads(text).items()} for text in values]
    return pd.DataFrame(rows, index=range(n), columns=range(n), dtype=float).iloc[1:, : n - 1]


def _ones(tasks: str) -> str:
    """The tasks of a JSON list, each with the value 1."""
    return json.dumps(dict.fromkeys(json.loads(tasks), 1))


def _success_axis(ax: Axes) -> None:
    ax.set_ylim(0, 1)
    ax.set_yticks([0, 0.5, 1])
    ax.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))


def _label(figure: Figure, drawing: Drawing, axes: list[Axes], x: str, y: str) -> None:
    """Label the outer panels, and put one legend on top."""
    n_columns = _columns(len(axes))
    for i, ax in enumerate(axes):
        ax.set_ylabel(y if i % n_columns == 0 else "")
        ax.set_xlabel(x if i + n_columns >= len(axes) else "")
        if i % n_columns and y == "success":
            ax.tick_params(labelleft=False)
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=min(len(labels), N_NAMES))
