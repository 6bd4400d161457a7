"""Write tables as Markdown, LaTeX and CSV: headline, mean over suites, differences between methods, success, tasks,
cost, and the numbers that others published.

Reads, in a folder of results: metrics.json, success.csv, tasks.csv, and the costs of jobs (t2s.data.results);
t2s/report/reference_results.csv.
Writes there: tables/{headline,mean,differences,metrics,success,tasks,cost,published}.{md,tex,csv}.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any, Final

import pandas as pd

from t2s.data import results
from t2s.data.files import write_text
from t2s.params import MEAN, Evaluate, Metrics, Study
from t2s.statistics import captions, definitions, shares

COLUMNS: Final = {
    "fwt": "FWT",
    "fwt_final": "FWT final",
    "nbt": "NBT",
    "auc": "AUC",
    "success_final": "Success at the end",
    "new_token_share": "New tokens",
    "new_parameter_share": "Trained parameters",
    "stored_byte_share": "Stored bytes",
}
"""Columns of the headline table, in %."""
DIFFERENCE_COLUMNS: Final = {name: definitions.DEFINITIONS[name].title for name in definitions.COMPARED}
DIFFERENCES: Final = (
    "In percentage points: {first} minus the method of the row, paired by task, seed and initial state. Where an"
    " interval holds 0, these episodes do not tell the two apart. Of NBT less is better."
)
PUBLISHED: Final = (
    "Published by others, in %: other policies, other demonstrations, and definitions that differ from row to row; not"
    " comparable with our numbers. Rows of reinforcement learning do not imitate."
)
COST: Final = (
    "Seconds and memory of the workflow's jobs, on the machine that ran them: mean seconds of a task, largest memory."
    " Rollouts: of the learning curve and of all kept policies. Trained, stored: mean over the tasks after the first."
    " Tokens at the end: in brackets, as a share of linear growth, which adds the first task's number again with every"
    " task."
)
TASKS: Final = (
    "Shares in %, of the first task's tokens and parameters. Reused: the tasks that the method's rule chose, by"
    " language or otherwise; with: groups that came along with one; base: the first task's tokens, which act on every"
    " task. Kept epoch 0: the untrained policy was kept."
)
SUITES: Final = {
    "libero_spatial": "LIBERO-Spatial",
    "libero_object": "LIBERO-Object",
    "libero_goal": "LIBERO-Goal",
    "libero_10": "LIBERO-Long",
    "libero_90": "LIBERO-90",
}
"""Published names of the suites."""

DASH: Final = "–"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options to `parser`."""
    parser.add_argument(
        "--params", required=True, help="params file, YAML or JSON, with sections study, metrics, evaluate"
    )
    parser.add_argument("--results", type=Path, default=Path("results"), help="folder of the results")


def main(args: argparse.Namespace) -> None:
    """Write all tables."""
    study, evaluate = Study.read(args.params), Evaluate.read(args.params)
    confidence = Metrics.read(args.params).confidence
    summary = results.summary(args.results, study.suites, study.methods)
    differences = pop_differences(summary)
    success, tasks = results.success(args.results), results.tasks(args.results)
    n_points = success[success.kind == "curve"].epoch.nunique()
    folder = args.results / "tables"
    notes = captions.metrics(study, evaluate, tasks, n_points, confidence)
    shown, raw = (headline(summary, study, COLUMNS, text=text) for text in (True, False))
    write(folder / "headline", "Lifelong learning", shown, notes, raw)
    if MEAN in summary:
        shown, raw = (table[table.Suite == MEAN] for table in (shown, raw))
        write(folder / "mean", "Lifelong learning, mean over the suites", shown, notes, raw)
    interval_note = captions.intervals(study, confidence)
    if len(study.methods) > 1:
        first = study.methods[0]
        shown, raw = (headline(differences, study, DIFFERENCE_COLUMNS, text=text, sign="+") for text in (True, False))
        notes = [DIFFERENCES.format(first=first), captions.ceiling(n_points), interval_note, captions.RECONSTRUCTION]
        write(folder / "differences", f"{first} minus each other method", shown, notes, raw)
    whole = every_metric(summary, study)
    notes = [captions.ceiling(n_points), captions.states(evaluate), *captions.untrained(tasks), captions.RECONSTRUCTION]
    write(folder / "metrics", "Metrics by the names that papers give them", whole, ["In %.", *notes], whole)
    wilson = f"In brackets {confidence:.0%} intervals (Wilson) over the episodes of all seeds; in %."
    write(
        folder / "success",
        "Success on each task after learning each task",
        matrix(success, study),
        ["Rows: tasks learned so far; columns: task rolled out.", wilson, captions.RECONSTRUCTION],
        raw=success[success.kind == "kept"].drop(columns=["kind", "epoch"]),
    )
    write(
        folder / "tasks",
        "What each task added and reused",
        per_task(tasks),
        [TASKS, captions.RECONSTRUCTION],
        raw=tasks,
    )
    costs = cost(results.costs(args.results, study), tasks)
    write(folder / "cost", "What a task cost", per_method(costs), [COST, captions.RECONSTRUCTION], raw=costs)
    rows = read_published()
    write(folder / "published", "Published numbers", published(rows, study.suites), [PUBLISHED], raw=rows)


def every_metric(summary: dict[str, Any], study: Study) -> pd.DataFrame:
    """One row per metric and share of the mean or the one suite: its definition, who uses it, and every method."""
    suite = MEAN if MEAN in summary else study.suites[0]
    known = {name: [d.title, d.formula, d.used_by] for name, d in definitions.DEFINITIONS.items()}
    known |= {name: [title, formula, DASH] for name, (title, formula) in shares.SHARES.items()}
    rows = [
        dict(zip(["Metric", "Definition", "Used by"], words, strict=True))
        | {method: percent(summary[suite][method].get(name)) for method in study.methods}
        for name, words in known.items()
    ]
    return pd.DataFrame([row for row in rows if set(list(row.values())[3:]) != {DASH}])


def pop_differences(summary: dict[str, Any]) -> dict[str, Any]:
    """Remove the differences from `summary`, and return them in the same shape, without the first method."""
    return {
        suite: {method: values.pop("difference") for method, values in methods.items() if "difference" in values}
        for suite, methods in summary.items()
    }


def headline(
    summary: dict[str, Any], study: Study, columns: dict[str, str], *, text: bool, sign: str = ""
) -> pd.DataFrame:
    """One row per suite and method in `summary`: `mean (low to high)` in % if `text`, otherwise fractions."""
    rows = []
    for suite in [*study.suites, *([MEAN] if MEAN in summary else [])]:
        for method in (method for method in study.methods if method in summary[suite]):
            values = summary[suite][method]
            row: dict[str, Any] = {"Suite": suite, "Method": method}
            if text:
                row |= {title: percent(values.get(name), sign) for name, title in columns.items()}
            else:
                row |= _flat(values)
            rows.append(row | {"Seeds": values["fwt"]["n_seeds"]})
    return pd.DataFrame(rows)


def percent(value: dict[str, float] | None, sign: str = "") -> str:
    """`72.5 (60.0 to 83.1)`, the mean alone where it has no width, or a dash where the metric does not apply.

    With `sign` "+", a positive difference has a sign.
    """
    if value is None:
        return DASH
    mean, low, high = (_round(value.get(name, value["mean"]), sign) for name in ("mean", "low", "high"))
    return mean if mean == low == high else f"{mean} ({low} to {high})"


def matrix(success: pd.DataFrame, study: Study) -> pd.DataFrame:
    """One row per suite, method and number of tasks learned; per task a column `success (low to high)` in %."""
    kept = success[success.kind == "kept"]
    cell = [
        f"{100 * row['success']:.0f} ({100 * row['low']:.0f} to {100 * row['high']:.0f})"
        for row in kept.to_dict("records")
    ]
    table = kept.assign(cell=cell).pivot_table(
        "cell", index=["suite", "method", "stage"], columns="task", aggfunc="first"
    )
    order = [
        (suite, method, stage) for suite in study.suites for method in study.methods for stage in range(study.n_tasks)
    ]
    table = table.reindex(pd.MultiIndex.from_tuples(order, names=table.index.names)).fillna("")
    table = table.reset_index().assign(stage=lambda t: t.stage + 1)
    names = {"suite": "Suite", "method": "Method", "stage": "Tasks learned"}
    return table.rename(columns=names | {j: f"Task {j + 1}" for j in range(study.n_tasks)})


def per_task(tasks: pd.DataFrame) -> pd.DataFrame:
    """One row per suite, method, seed and task."""
    reuse = zip(tasks.active, tasks.reused, tasks.similarity, strict=True)
    return pd.DataFrame(
        {
            "Suite": tasks.suite,
            "Method": tasks.method,
            "Seed": tasks.seed,
            "Task": tasks.task + 1,
            "Instruction": tasks.instruction,
            "Kept epoch": tasks.chosen_epoch,
            "New tokens": [_whole(v) for v in tasks.n_tokens_new],
            "Bank": [_whole(v) for v in tasks.n_tokens_bank],
            "Token share": [_share(v) for v in tasks.new_token_share],
            "Parameter share": [_share(v) for v in tasks.new_parameter_share],
            "Reused tasks (similarity)": [_reused(*map(json.loads, texts)) for texts in reuse],
        }
    )


def cost(jobs: pd.DataFrame, tasks: pd.DataFrame) -> pd.DataFrame:
    """`tasks` with the time [s] and largest memory [MB] of the jobs that learned and rolled out each task."""
    task = jobs.job.str.extract(r"task(\d+)", expand=False).astype(int)
    kind = jobs.job.str.startswith("learn/").map({True: "learn", False: "rollouts"})
    by = [*results.CHAIN, "task"]
    spent = jobs.assign(task=task, kind=kind).groupby([*by, "kind"]).agg({"s": "sum", "max_rss": "max"}).unstack("kind")
    spent = spent.set_axis(["learn_s", "rollouts_s", "learn_max_rss_mb", "rollouts_max_rss_mb"], axis=1)
    kept = ["n_tokens_bank", "n_parameters_new", "n_parameters_total", "delta_bytes"]
    return tasks[by + kept].merge(spent.reset_index(), on=by, how="left", validate="one_to_one")


def per_method(costs: pd.DataFrame) -> pd.DataFrame:
    """One row per suite and method."""
    rows = []
    for (suite, method), group in costs.groupby(["suite", "method"], sort=False):
        later, last = group[group.task > 0], group[group.task == group.task.max()]
        n_tokens = last.n_tokens_bank.mean()
        linear = group[group.task == 0].n_tokens_bank.mean() * group.task.nunique()
        rows.append(
            {
                "Suite": suite,
                "Method": method,
                "Learning, s": f"{group.learn_s.mean():.0f}",
                "Rollouts, s": f"{group.rollouts_s.mean():.0f}",
                "Memory, GB": f"{max(group.learn_max_rss_mb.max(), group.rollouts_max_rss_mb.max()) / 1000:.2f}",
                "Parameters trained": _thousands(later.n_parameters_new.mean()),
                "Stored, MB": f"{later.delta_bytes.mean() / 1e6:.2f}" if len(later) else DASH,
                "Parameters at the end": _thousands(last.n_parameters_total.mean()),
                "Tokens at the end": f"{n_tokens:,.0f} ({n_tokens / linear:.0%})" if n_tokens == n_tokens else DASH,
            }
        )
    return pd.DataFrame(rows)


def read_published() -> pd.DataFrame:
    """Numbers that others published, one per row, with their source and definition."""
    return pd.read_csv(Path(__file__).with_name("reference_results.csv"))


def published(rows: pd.DataFrame, suites: list[str]) -> pd.DataFrame:
    """Published numbers of these suites and T2S' own, one row per method and suite, in the order of `rows`."""
    names = [SUITES[suite] for suite in suites if suite in SUITES]
    rows = rows[rows.suite.isin(names) | (rows.method == "T2S")]
    error = [f" ± {_round(e)}" if e == e else "" for e in rows.error]
    rows = rows.assign(cell=[_round(v) + e for v, e in zip(rows.value, error, strict=True)])
    metrics = ["FWT", "NBT", "AUC", "success", "new token share"]
    by = ["method", "architecture", "suite", "definition", "source"]
    table = rows.pivot_table("cell", index=by, columns="metric", aggfunc="first", sort=False)
    table = table.reindex(pd.MultiIndex.from_frame(rows[by].drop_duplicates())).reindex(columns=metrics)
    table = table.astype(object).fillna(DASH).reset_index()
    shown = ["method", "architecture", "suite", *metrics, "definition", "source"]
    return table[shown].rename(columns=lambda name: name[:1].upper() + name[1:])


def write(stem: Path, title: str, table: pd.DataFrame, notes: list[str], raw: pd.DataFrame) -> None:
    """Write `table` with title and notes as .md and .tex, and the numbers in `raw` as .csv."""
    body = table.to_markdown(index=False, disable_numparse=True)
    lines = [f"### {title}", "", body, "", *[f"{note}  " for note in notes]]
    write_text(stem.with_suffix(".md"), "\n".join(lines) + "\n")
    write_text(stem.with_suffix(".tex"), latex(title, table, notes))
    csv = raw.to_csv(index=False, float_format="%.6g", lineterminator="\n")
    write_text(stem.with_suffix(".csv"), csv)


def latex(title: str, table: pd.DataFrame, notes: list[str]) -> str:
    """A booktabs table with the notes as its caption."""
    plain = table.map(_tex).rename(columns=_tex)
    style = plain.style.hide(axis="index")
    caption = " ".join(_tex(text) for text in [f"{title}.", *notes])
    text = style.to_latex(hrules=True, caption=caption, position="ht", position_float="centering")
    return f"% needs \\usepackage{{booktabs}}\n{text}"


def _tex(value: Any) -> str:
    text = str(value)
    for plain, escaped in {"\\": "/", "_": r"\_", "%": r"\%", "&": r"\&", "#": r"\#"}.items():
        text = text.replace(plain, escaped)
    return text.replace("±", r"$\pm$").replace(DASH, "--")


def _flat(values: dict[str, dict[str, float]]) -> dict[str, float]:
    parts = ("mean", "low", "high")
    return {f"{name}_{part}": found[part] for name, found in values.items() for part in parts if part in found}


def _reused(acting: list[int], reused: list[int], cosine: dict[str, float]) -> str:
    """The reused tasks with their similarity; what else acts is the base, or came along with them."""
    words = [f"{j + 1} ({cosine[str(j)]:.2f})" for j in reused]
    along = [j for j in acting if j not in reused] if cosine else []
    words += [f"with {j + 1}" for j in along if j > 0] + ["base"] * (0 in along)
    return ", ".join(words) or DASH


def _round(fraction: float, sign: str = "") -> str:
    return f"{100 * fraction:{sign}z.1f}"


def _share(value: float) -> str:
    return _round(value) if value == value else DASH  # NaN is not equal to itself


def _thousands(value: float) -> str:
    return f"{value / 1000:,.0f} k" if value == value else DASH


def _whole(value: float) -> str:
    return str(int(value)) if value == value else DASH
