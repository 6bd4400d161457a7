"""Compare two folders of results: is a method as good in A (new) as in B (reference), and what differs?

Reads: a run (results/) or a kept study (studies/NAME, or just NAME), for A and for B: the episodes of kept policies,
params.yaml, provenance.json.
Prints: a verdict for every method, success as learned and after the last task that both have, and what differs.
Writes: with --json, all numbers. The exit status is 1 if a method is worse in A, else 0.

Episodes of the same chain, task and initial state are pairs. The verdict on a method is that on the pairs of all its
suites and tasks, as learned and at the end; of these two the less favourable counts.
    same      all pairs are equal step for step, or the interval of the difference lies within the margin
    better    else, if p < alpha; or `worse`
    too few   else; in brackets the difference [points] that so many episodes would have shown with 80 % power
A verdict is about these policies. Learning anew with another seed changes them, too: studies/blocks-seeds.
"""

from __future__ import annotations

import argparse
import re
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import pandas as pd
from pydantic import ValidationError

from t2s import params
from t2s.data import files, results
from t2s.params import Study
from t2s.statistics import comparisons

STUDIES: Final = Path("studies")
ALL: Final = "all suites"
POWER: Final = 0.8
CELL: Final = ["method", "suite", "when", "seed", "task"]
SILENT: Final = {"study", "assets", "download", "engine", "metrics", "film", "figures"}
"""Sections of the params that no success depends on, given the same suites, tasks, demonstrations and assets."""
SEVERITY: Final = ("same", "better", "too few", "worse")
HEADLINES: Final = dict(zip(SEVERITY, ("reproduced", "not worse", "undecided", "not reproduced"), strict=True))
N_SHOWN: Final = 4


@dataclass(frozen=True)
class Run:
    """A folder of results, and where they come from."""

    folder: Path
    sections: dict[str, Any]
    study: Study
    provenance: dict[str, Any]
    episodes: pd.DataFrame


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options to `parser`."""
    parser.add_argument("a", help="folder of results, or name of a study: the new one")
    parser.add_argument("b", help="folder of results, or name of a study: the reference")
    parser.add_argument("--params", nargs="+", help="params files of a run that has no provenance.json yet")
    parser.add_argument("--margin", type=float, default=0.1, help="success that does not matter, a fraction")
    parser.add_argument("--alpha", type=float, default=0.05, help="p below which a difference counts")
    parser.add_argument("--tasks", action="store_true", help="print every task, not only those that differ")
    parser.add_argument("--json", type=Path, help="JSON file to write")


def main(args: argparse.Namespace) -> int:
    """Compare, print, and return the exit status."""
    for name, most in (("margin", 1), ("alpha", 0.5)):
        if not 0 < getattr(args, name) < most:
            raise ValueError(f"expected --{name} between 0 and {most}, got {getattr(args, name)}")
    a, b = (read(name, args.params) for name in (args.a, args.b))
    found = compare(a, b, args.margin, args.alpha)
    print("\n".join(page(found, every=args.tasks)))
    if args.json:
        files.write_json(args.json, found)
    return int("worse" in found["methods"].values())


def compare(a: Run, b: Run, margin: float, alpha: float) -> dict[str, Any]:
    """All numbers: the verdict on every method, a row for every method, suite and time, and what differs.

    Raises: ValueError if no suite, method, seed and task is in both.
    """
    n_tasks = common_tasks(a.study, b.study)
    cells = count(*(kept(run.episodes, n_tasks) for run in (a, b)))
    if cells.empty:
        had = (f"{run.folder} has {run.study.model_dump(exclude_none=True)}" for run in (a, b))
        raise ValueError(f"expected a suite, method, seed and task in both; {listed(had)}")
    methods = [method for method in b.study.methods if method in set(cells.method)]
    rows = {method: list(rows_of(cells[cells.method == method], margin, alpha)) for method in methods}
    verdicts = {method: worst(rows[method]) for method in methods}
    groups = facts(a, cells), facts(b, cells)
    return {
        "verdict": HEADLINES[max(verdicts.values(), key=SEVERITY.index)],
        "methods": verdicts,
        "folders": {"a": str(a.folder), "b": str(b.folder)},
        "compared": extent(cells, n_tasks),
        "alone": {"a": beyond(a.study, cells, n_tasks), "b": beyond(b.study, cells, n_tasks)},
        "rules": {"margin": margin, "alpha": alpha, "power": POWER},
        "rows": [row for method in methods for row in rows[method]],
        "differs": {group: differing(groups[0][group], groups[1][group]) for group in groups[0]},
        "unrecorded": [str(run.folder) for run in (a, b) if not run.provenance],
    }


# Verdicts


def verdict(found: dict[str, Any], margin: float, alpha: float) -> str:
    """What the numbers say of A: same, better, worse or too few. Two one-sided tests: Schuirmann 1987."""
    if found["identical"] or -margin <= found["low"] <= found["high"] <= margin:
        return "same"
    if found["p"] < alpha:
        return "better" if found["difference"] > 0 else "worse"
    return "too few"


def outcome(cells: pd.DataFrame, margin: float, alpha: float) -> dict[str, Any]:
    """The numbers and the verdict of cells, as rows of `count`, together.

    They are pairs if, in every cell, every episode of the side with fewer has its like on the other.
    """
    paired = bool((cells.n_pairs == cells[["n_a", "n_b"]].min(axis=1)).all())
    found = (of_pairs if paired else of_counts)(cells, 1 - 2 * alpha)
    found["difference"] = found["rate_a"] - found["rate_b"]
    # First, so that the last digit of a p of exactly alpha decides nothing.
    found = {name: round(value, 6) if isinstance(value, float) else value for name, value in found.items()}
    found["verdict"] = verdict(found, margin, alpha)
    found["detectable"] = detectable(found, alpha) if found["verdict"] == "too few" else None
    return found


def of_pairs(cells: pd.DataFrame, confidence: float) -> dict[str, Any]:
    """Rates, interval and p of paired cells.

    The interval takes all pairs for one sample. Tasks of different difficulty make it wider than it need be.
    """
    n, both, only_a, only_b = (int(cells[name].sum()) for name in ("n_pairs", "both", "only_a", "only_b"))
    found: dict[str, Any] = {"paired": True, "identical": int(cells.n_equal.sum()) == n, "n_a": n, "n_b": n}
    found |= {"n_pairs": n, "only_a": only_a, "only_b": only_b, "p": comparisons.mcnemar(only_a, only_b)}
    rates = {"rate_a": (both + only_a) / n, "rate_b": (both + only_b) / n}
    low, high = comparisons.newcombe(
        **rates, n_a=n, n_b=n, confidence=confidence, phi=comparisons.correlation(both, only_a, only_b, n)
    )
    return found | rates | {"low": low, "high": high}


def of_counts(cells: pd.DataFrame, confidence: float) -> dict[str, Any]:
    """Rates, interval and p of cells that are not pairs; the rates are means with the weights of Mantel and Haenszel.

    The interval takes them for rates over as many episodes as have their variance: 1 / Σ w²/n, where Σ w = 1.
    """
    tables = cells[["wins_a", "n_a", "wins_b", "n_b"]].to_numpy(int)
    wins_a, n_a, wins_b, n_b = tables.T
    weights = n_a * n_b / (n_a + n_b)
    weights = weights / weights.sum()
    rates = {"rate_a": float(weights @ (wins_a / n_a)), "rate_b": float(weights @ (wins_b / n_b))}
    size_a, size_b = (float(1 / (weights**2 @ (1 / n))) for n in (n_a, n_b))
    low, high = comparisons.newcombe(**rates, n_a=size_a, n_b=size_b, confidence=confidence)
    found: dict[str, Any] = {"paired": False, "identical": False, "n_a": int(n_a.sum()), "n_b": int(n_b.sum())}
    found |= {"n_pairs": int(cells.n_pairs.sum()), "p": comparisons.stratified(tables)}
    return found | rates | {"low": low, "high": high}


def detectable(found: dict[str, Any], alpha: float) -> float | None:
    """The least difference, in steps of 0.001, that so many episodes show with `POWER`; None if they show none."""
    n_a, n_b, rate, largest = found["n_a"], found["n_b"], found["rate_b"], 1.0
    if found["paired"]:
        discordant = (found["only_a"] + found["only_b"]) / n_a
        power = partial(comparisons.paired_power, discordant=discordant, n=n_a, alpha=alpha)
    else:
        largest = max(rate, 1 - rate)
        power = partial(comparisons.unpaired_power, rate=rate, n_a=n_a, n_b=n_b, alpha=alpha)
    steps = range(1, int(1000 * largest) + 1)
    first = bisect_left(steps, POWER, key=lambda step: power(step / 1000))
    return steps[first] / 1000 if first < len(steps) else None


# Episodes


def read(name: str, given: list[str] | None) -> Run:
    """The results in the folder, or of the study, of this name; `given` are params files for a run without them.

    Raises: ValueError in one line if there are none, or none that are complete.
    """
    folder = Path(name) if Path(name).is_dir() else STUDIES / name
    if not folder.is_dir():
        have = sorted(path.parent.name for path in STUDIES.glob(f"*/{results.EPISODES}"))
        raise ValueError(f"no folder '{name}'; have the studies {have}")
    recorded = folder / "provenance.json"
    provenance = files.read_json(recorded, {"params": dict}) if recorded.is_file() else {}
    if (folder / "params.yaml").is_file():
        sections = params.read(str(folder / "params.yaml"))
    elif provenance or given:
        sections = provenance.get("params") or params.read(*(given or []))
    else:
        raise ValueError(
            f"{folder}: expected params.yaml (a study) or provenance.json (a finished run); or use --params"
        )
    try:
        study = Study(**sections["study"])
    except (KeyError, TypeError, ValidationError):
        raise ValueError(f"{folder}: expected params with a section study, got {sections.get('study')}") from None
    return Run(folder, sections, study, provenance, results.episodes(folder, study))


def common_tasks(a: Study, b: Study) -> int:
    """The number of first tasks that both studies learn in the same order; later tasks have no effect on these."""
    equal = [x == y for x, y in zip(a.suite_tasks, b.suite_tasks, strict=False)]
    return [*equal, False].index(False)


def kept(episodes: pd.DataFrame, n_tasks: int) -> pd.DataFrame:
    """The episodes of kept policies with the column `when`: `learned`, or `end`, after the last of `n_tasks`."""
    rows = episodes[(episodes.kind == "kept") & (episodes.stage < n_tasks)]
    learned, end = rows[rows.stage == rows.task], rows[rows.stage == n_tasks - 1]
    return pd.concat([learned.assign(when="learned"), end.assign(when="end")], ignore_index=True)


def count(a: pd.DataFrame, b: pd.DataFrame) -> pd.DataFrame:
    """One row per cell in both: episodes and successes in A and B, pairs, their successes, and how many are equal."""
    key = [*CELL, "init_index", "again"]
    sides = [
        rows.assign(again=rows.groupby([*CELL, "init_index"]).cumcount(), success=rows.success.astype(float))
        for rows in (a, b)
    ]
    whole = sides[0].merge(sides[1], on=key, how="outer", suffixes=("_a", "_b"))
    won_a, won_b, lost_a, lost_b = (whole[f"success_{side}"] == value for value in (1, 0) for side in "ab")
    counts = {
        "n_a": won_a | lost_a,
        "wins_a": won_a,
        "n_b": won_b | lost_b,
        "wins_b": won_b,
        "n_pairs": (won_a | lost_a) & (won_b | lost_b),
        "both": won_a & won_b,
        "only_a": won_a & lost_b,
        "only_b": lost_a & won_b,
        "n_equal": (whole.success_a == whole.success_b) & (whole.n_steps_a == whole.n_steps_b),
    }
    cells = whole[CELL].assign(**counts).groupby(CELL, sort=False)[list(counts)].sum().reset_index()
    return cells[(cells.n_a > 0) & (cells.n_b > 0)].sort_values(CELL, ignore_index=True)


def extent(cells: pd.DataFrame, n_tasks: int) -> dict[str, Any]:
    """What is compared, and how many pairs of episodes have the same success after the same number of steps."""
    names = {"suites": sorted(set(cells.suite)), "seeds": sorted(set(cells.seed.tolist())), "n_tasks": n_tasks}
    return names | {name: int(cells[name].sum()) for name in ("n_pairs", "n_equal")}


def beyond(study: Study, cells: pd.DataFrame, n_tasks: int) -> dict[str, Any]:
    """What the study has and `cells` lack."""
    names = {"suites": set(cells.suite), "methods": set(cells.method), "seeds": set(cells.seed)}
    rest = {name: [one for one in getattr(study, name) if one not in there] for name, there in names.items()}
    return rest | {"tasks": [f"{n_tasks + 1} to {study.n_tasks}"] if study.n_tasks > n_tasks else []}


def rows_of(cells: pd.DataFrame, margin: float, alpha: float) -> Iterator[dict[str, Any]]:
    """The outcomes of a method as learned and at the end: those of every suite, with its tasks, and of all suites."""
    suites = sorted(set(cells.suite))
    for suite in [*suites, *([ALL] if len(suites) > 1 else [])]:
        for when in ("learned", "end"):
            part = cells[(cells.suite.eq(suite) | (suite == ALL)) & (cells.when == when)]
            tasks = [
                {"seed": seed, "task": task} | outcome(part[(part.seed == seed) & (part.task == task)], margin, alpha)
                for seed, task in zip(part.seed.tolist(), part.task.tolist(), strict=True)
                if suite != ALL
            ]
            whole = outcome(part, margin, alpha)
            yield {"method": cells.method.iloc[0], "suite": suite, "when": when, "tasks": tasks} | whole


def worst(rows: list[dict[str, Any]]) -> str:
    """The verdict on a method: the less favourable of the last two of its rows, which hold all its suites."""
    return max((row["verdict"] for row in rows[-2:]), key=SEVERITY.index)


# What differs


def facts(run: Run, cells: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """What is recorded of where the numbers in `cells` come from, by group; an empty group if nothing is."""
    sections = {name: values for name, values in run.sections.items() if name not in SILENT}
    evaluate, methods = sections.get("evaluate", {}), sections.get("methods", {})
    sections["evaluate"] = evaluate.get("protocols", {}).get(evaluate.get("protocol"))
    sections["methods"] = {name: methods.get(name) for name in set(cells.method)}
    versions = pd.DataFrame(run.episodes.versions.tolist())
    code, demos = run.provenance.get("code", {}), run.provenance.get("data", {}).get("demos", {})
    tasks = zip(cells.suite, cells.task.tolist(), strict=True)
    shared = {f"{suite}/task{run.study.suite_tasks[task]}" for suite, task in tasks}
    return {
        "params": flat(sections),
        "versions": {str(name): " and ".join(sorted(set(versions[name].dropna().astype(str)))) for name in versions},
        "demonstrations": {name: demos[name]["sha256"] for name in shared if name in demos},
        "code": {name: code[name] for name in ("commit", "sha256") if name in code},
        "machine": run.provenance.get("machine", {}),
        "packages": run.provenance.get("packages", {}),
    }


def flat(values: dict[str, Any], above: str = "") -> dict[str, Any]:
    """The values at every depth, by their keys joined with dots."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        found |= flat(value, f"{above}{name}.") if isinstance(value, dict) else {above + name: value}
    return found


def differing(a: dict[str, Any], b: dict[str, Any]) -> dict[str, list[Any]]:
    """The values in A and B of every key that differs; none if nothing is recorded on one side."""
    keys = sorted({*a, *b}) if a and b else []
    return {key: [a.get(key), b.get(key)] for key in keys if a.get(key) != b.get(key)}


# Text


def page(found: dict[str, Any], every: bool) -> Iterator[str]:
    """The lines to print; `every` says whether tasks that do not differ have lines, too."""
    rules, compared = found["rules"], found["compared"]
    yield f"{found['verdict']}: {listed(f'{method} {word}' for method, word in found['methods'].items())}"
    yield "A (new) is {a}, B (reference) is {b}".format(**found["folders"])
    yield f"in both: {listed(compared['suites'])}; {compared['n_tasks']} tasks; seeds {listed(compared['seeds'])}"
    for side, names in found["alone"].items():
        if rest := [f"{name} {listed(values)}" for name, values in names.items() if values]:
            yield f"only in {side.upper()}: {'; '.join(rest)}"
    yield "pairs of episodes: {n_pairs}, of which {n_equal} are equal step for step".format(**compared)
    yield ""
    yield from aligned([["", "", "A %", "B %", "difference", "p", "episodes", "verdict"], *lines(found, every)])
    yield ""
    yield f"difference: A - B in points, with its {1 - 2 * rules['alpha']:.0%} interval (Newcombe 1998)"
    yield "p: exact; McNemar's test of pairs with the same initial state, else Fisher's, task by task"
    yield f"same: equal step for step, or the interval is within ±{100 * rules['margin']:g}"
    yield f"too few (n): with {POWER:.0%} power these episodes show a difference of n points"
    yield f"{2 * len(found['methods'])} comparisons decide, two a method; no p is corrected for their number"
    yield ""
    yield from differences(found)


def lines(found: dict[str, Any], every: bool) -> Iterator[list[str]]:
    """The lines of the table: a title for every method, its suites, and tasks that are better or worse."""
    when = {"learned": "learned", "end": f"after {found['compared']['n_tasks']}"}
    for method in found["methods"]:
        yield [method]
        for row in (row for row in found["rows"] if row["method"] == method):
            yield [f"  {row['suite']}", when[row["when"]], *numbers(row)]
            for task in row["tasks"]:
                if every or task["verdict"] in {"better", "worse"}:
                    yield [f"    task {task['task'] + 1}, seed {task['seed']}", when[row["when"]], *numbers(task)]


def numbers(row: dict[str, Any]) -> list[str]:
    """The numbers of a line of the table."""
    rate_a, rate_b, difference, low, high = (
        100 * row[name] for name in ("rate_a", "rate_b", "difference", "low", "high")
    )
    shows = f" ({100 * row['detectable']:.0f})" if row["detectable"] else ""
    return [
        f"{rate_a:.1f}",
        f"{rate_b:.1f}",
        f"{difference:+z.1f} ({low:.1f} to {high:.1f})",
        f"{row['p']:.3f}",
        f"{row['n_pairs']} pairs" if row["paired"] else f"{row['n_a']}, {row['n_b']}",
        row["verdict"] + shows,
    ]


def differences(found: dict[str, Any]) -> Iterator[str]:
    """The lines on what differs between A and B: of every group the first few keys."""
    known = any(found["differs"].values())
    yield "what differs, A and B:" if known else "what differs: nothing that is recorded"
    for group, values in found["differs"].items():
        for key, pair in list(values.items())[:N_SHOWN]:
            yield f"  {group:<15}{key}: {' | '.join(map(clipped, pair))}"
        if len(values) > N_SHOWN:
            yield f"  {group:<15}and {len(values) - N_SHOWN} more"
    for folder in found["unrecorded"]:
        yield f"  not known: demonstrations, code, machine, packages; {folder} has no provenance.json"


def aligned(rows: list[list[str]]) -> list[str]:
    """The rows as lines with columns of equal width."""
    widths = [max(len(cell) for cell in column) for column in zip(*(row for row in rows if len(row) > 1), strict=True)]
    return ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]


def listed(values: Iterable[Any]) -> str:
    """The values, with commas."""
    return ", ".join(map(str, values))


def clipped(value: Any) -> str:
    """The value in at most 28 characters, digests and commits in 12."""
    text = "none" if value is None else str(value)
    if re.fullmatch("[0-9a-f]{40}|[0-9a-f]{64}", text):
        return text[:12]
    return text if len(text) <= 28 else f"{text[:25]}..."
