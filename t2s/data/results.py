"""The content of a folder of results in either form: the many files of a run, or the few files of a kept study.

run (results/)                                               kept study (studies/{name}/)
episodes/{suite}/{method}/seed{s}/*.jsonl                    episodes.jsonl.xz
runs/{suite}/{method}/seed{s}/task{k}/{learn,chosen}.json    learned.jsonl.xz
runs/{suite}/{method}/seed{s}/task{k}/losses.csv             losses.csv.xz
benchmarks/{learn,evaluate}/{suite}/{method}/seed{s}/*.tsv   costs.csv.xz
"""

from __future__ import annotations

import io
import json
import lzma
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, Final

import pandas as pd

from t2s.data import records
from t2s.data.files import (
    Fields,
    atomic,
    check_fields,
    one_line,
    parse_json,
    read_json,
    read_lines,
    read_text,
    remedy,
)
from t2s.params import Study

EPISODES: Final = "episodes.jsonl.xz"
LEARNED: Final = "learned.jsonl.xz"
LOSSES: Final = "losses.csv.xz"
COSTS: Final = "costs.csv.xz"
CHAIN: Final = ["suite", "method", "seed"]
LEARN: Final[Fields] = {
    "suite": str,
    "method": str,
    "seed": int,
    "task": int,
    "instruction": str,
    "source": str,
    "n_epochs": int,
    "n_steps": int,
    "n_tokens_new": int | None,
    "n_tokens_bank": int | None,
    "n_parameters_new": int,
    "n_parameters_total": int,
    "delta_bytes": int,
    "base_bytes": int,
    "active": list | None,
    "similarity": dict | None,
}
"""The fields of learn.json that metrics, tables and figures need."""
CHOSEN: Final[Fields] = {"epoch": int, "success": dict}
SUCCESS: Final = [
    "suite",
    "method",
    "kind",
    "stage",
    "task",
    "epoch",
    "n_episodes",
    "n_success",
    "success",
    "low",
    "high",
]
LOSS_COLUMNS: Final = ["epoch", "step", "loss", "lr", "grad_norm"]
COST_COLUMNS: Final = ["s", "max_rss"]
TEXTS: Final = {"h:m:s", "suite", "method", "kind", "instruction", "source", "active", "similarity", "reused", "job"}
"""The columns of our tables that hold text; the others that must be there hold numbers."""


def rollouts(n_tasks: int) -> Iterator[str]:
    """Names of a chain's rollout jobs: a learning curve per task, then every stage on every task learned so far."""
    yield from (f"task{k}_curve" for k in range(n_tasks))
    yield from (f"stage{k}_task{j}" for k in range(n_tasks) for j in range(k + 1))


def episodes(folder: Path, study: Study) -> pd.DataFrame:
    """Every episode record of the study: one row per episode, columns `records.FIELDS`.

    Raises: ValueError for a file that is missing or damaged, or a wrong record.
    """
    if (folder / EPISODES).is_file():
        return records.read([folder / EPISODES])
    return records.read(record_paths(folder, study))


def learned(folder: Path, study: Study) -> list[dict[str, Any]]:
    """The learn.json of every task of the study, with its chosen.json, if any, under the key `chosen`.

    Raises: ValueError for a file that is missing or damaged.
    """
    if (folder / LEARNED).is_file():
        mend = remedy(folder / LEARNED)
        return [parse_json(line, LEARN, where, mend) for where, line in read_lines(folder / LEARNED)]
    return [_read_learned(path) for path in _task_dirs(folder, study)]


def losses(folder: Path, study: Study) -> pd.DataFrame:
    """Training losses of the study: one row per epoch, columns `CHAIN`, task and those of losses.csv.

    Raises: ValueError for a file that is missing.
    """
    if (folder / LOSSES).is_file():
        return read_csv(folder / LOSSES, [*CHAIN, "task", *LOSS_COLUMNS])
    frames = []
    for (suite, method, seed, task), path in zip(_tasks(study), _task_dirs(folder, study), strict=True):
        rows = read_csv(path / "losses.csv", LOSS_COLUMNS)
        rows.insert(0, "suite", suite)
        rows = rows.assign(method=method, seed=seed, task=task)
        frames += [] if rows.empty else [rows]  # empty if nothing was trained
    whole = pd.concat(frames, ignore_index=True)
    return whole[[*CHAIN, "task", *(name for name in whole if name not in [*CHAIN, "task"])]]


def costs(folder: Path, study: Study) -> pd.DataFrame:
    """Time and memory of every job that learned or rolled out: `CHAIN`, `job`, and the columns of its benchmark.

    `job` is `learn/task3`, `evaluate/task3_curve` or `evaluate/stage4_task3`; `s` is in [s], `max_rss` in [MB].

    Raises: ValueError for a file that is missing.
    """
    if (folder / COSTS).is_file():
        return read_csv(folder / COSTS, [*CHAIN, "job", *COST_COLUMNS])
    frames = []
    for suite, method, seed in study.chains():
        chain = Path(suite, method, f"seed{seed}")
        for kind, name in _jobs(study.n_tasks):
            rows = read_csv(folder / "benchmarks" / kind / chain / f"{name}.tsv", [*COST_COLUMNS, "h:m:s"], sep="\t")
            frames.append(rows.assign(suite=suite, method=method, seed=seed, job=f"{kind}/{name}"))
    whole = pd.concat(frames, ignore_index=True).drop(columns="h:m:s")
    return whole[[*CHAIN, "job", *(name for name in whole if name not in [*CHAIN, "job"])]]


def summary(folder: Path, suites: Collection[str], methods: Collection[str]) -> dict[str, dict[str, dict[str, Any]]]:
    """The content of metrics.json: every number by suite (also `MEAN`, if there are several), method and metric.

    Raises: ValueError for a file that is missing, damaged, or without one of these `suites` and `methods`.
    """
    path = folder / "metrics.json"
    found = read_json(path, dict.fromkeys(suites, dict))
    for suite, of_suite in found.items():
        check_fields(of_suite, dict.fromkeys(methods, dict), f"{path}: {suite}", remedy(path))
        for method, values in of_suite.items():
            for name, value in values.items():
                fields: Fields = {} if name == "difference" else {"mean": int | float}
                check_fields(value, fields, f"{path}: {suite}: {method}: {name}", remedy(path))
    return found


def success(folder: Path) -> pd.DataFrame:
    """The content of success.csv: one row per cell, columns `SUCCESS` and others.

    Raises: ValueError for a file that is missing or damaged.
    """
    return read_csv(folder / "success.csv", SUCCESS)


def tasks(folder: Path) -> pd.DataFrame:
    """The content of tasks.csv: one row per task of a chain, columns `LEARN` and others.

    Raises: ValueError for a file that is missing or damaged.
    """
    return read_csv(folder / "tasks.csv", [*LEARN, "reused", "chosen_epoch"])


def write(folder: Path, source: Path, study: Study) -> None:
    """Write the results of the run in `source` to `folder`, as the few files of a kept study.

    Raises: ValueError for a file of the run that is missing or damaged.
    """
    lines = [json.dumps(row, sort_keys=True) for row in episodes(source, study).to_dict("records")]
    _write_text(folder / EPISODES, "".join(f"{line}\n" for line in lines))
    lines = [json.dumps(row, sort_keys=True) for row in learned(source, study)]
    _write_text(folder / LEARNED, "".join(f"{line}\n" for line in lines))
    for name, table in ((LOSSES, losses(source, study)), (COSTS, costs(source, study))):
        _write_text(folder / name, table.to_csv(index=False, lineterminator="\n"))


def record_paths(folder: Path, study: Study) -> list[Path]:
    """The record files of a run."""
    chains = [folder / "episodes" / suite / method / f"seed{seed}" for suite, method, seed in study.chains()]
    return [chain / f"{name}.jsonl" for chain in chains for name in rollouts(study.n_tasks)]


def _jobs(n_tasks: int) -> Iterator[tuple[str, str]]:
    yield from (("learn", f"task{k}") for k in range(n_tasks))
    yield from (("evaluate", name) for name in rollouts(n_tasks))


def _tasks(study: Study) -> list[tuple[str, str, int, int]]:
    return [(*chain, task) for chain in study.chains() for task in range(study.n_tasks)]


def _task_dirs(folder: Path, study: Study) -> list[Path]:
    return [folder / "runs" / suite / method / f"seed{seed}" / f"task{k}" for suite, method, seed, k in _tasks(study)]


def _read_learned(folder: Path) -> dict[str, Any]:
    row, chosen = read_json(folder / "learn.json", LEARN), folder / "chosen.json"
    return row | ({"chosen": read_json(chosen, CHOSEN)} if chosen.is_file() else {})


def read_csv(path: Path, columns: Collection[str], sep: str = ",") -> pd.DataFrame:
    """A table of ours that has these columns.

    Raises: ValueError in one line, with a remedy, for a file that is missing, cut off or damaged.
    """
    text = read_text(path)
    try:
        table = pd.read_csv(io.StringIO(text), sep=sep)
    except ValueError as error:  # as pandas' own errors are
        raise ValueError(f"{path}: expected a table, got {one_line(error)}; {remedy(path)}") from None
    if not text.endswith("\n"):
        raise ValueError(f"{path}: expected whole lines, but the last one is cut off; {remedy(path)}")
    for name in columns:
        if name not in table:
            raise ValueError(f"{path}: expected a column '{name}'; have {list(table)}; {remedy(path)}")
        if len(table) and name not in TEXTS and not pd.api.types.is_numeric_dtype(table[name]):
            raise ValueError(f"{path}: expected numbers in column '{name}', got text; {remedy(path)}")
    return table


def _write_text(path: Path, text: str) -> None:
    with atomic(path) as temporary:
        temporary.write_bytes(lzma.compress(text.encode(), preset=9))
