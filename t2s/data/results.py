"""The content of a folder of results in either form: the many files of a run, or the few files of a kept study.

run (results/)                                               kept study (studies/{name}/)
episodes/{suite}/{method}/seed{s}/*.jsonl                    episodes.jsonl.xz
runs/{suite}/{method}/seed{s}/task{k}/{learn,chosen}.json    learned.jsonl.xz
runs/{suite}/{method}/seed{s}/task{k}/losses.csv             losses.csv.xz
benchmarks/{learn,evaluate}/{suite}/{method}/seed{s}/*.tsv   costs.csv.xz
"""

from __future__ import annotations

import json
import lzma
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pandas as pd

from t2s.data import records
from t2s.data.files import atomic
from t2s.params import Study

EPISODES: Final = "episodes.jsonl.xz"
LEARNED: Final = "learned.jsonl.xz"
LOSSES: Final = "losses.csv.xz"
COSTS: Final = "costs.csv.xz"
CHAIN: Final = ["suite", "method", "seed"]


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
        return [json.loads(line) for line in _read_text(folder / LEARNED).splitlines()]
    return [_read_learned(path) for path in _task_dirs(folder, study)]


def losses(folder: Path, study: Study) -> pd.DataFrame:
    """Training losses of the study: one row per epoch, columns `CHAIN`, task and those of losses.csv.

    Raises: ValueError for a file that is missing.
    """
    if (folder / LOSSES).is_file():
        return _read_csv(folder / LOSSES)
    frames = []
    for (suite, method, seed, task), path in zip(_tasks(study), _task_dirs(folder, study), strict=True):
        rows = _read_csv(path / "losses.csv")
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
        return _read_csv(folder / COSTS)
    frames = []
    for suite, method, seed in study.chains():
        chain = Path(suite, method, f"seed{seed}")
        for kind, name in _jobs(study.n_tasks):
            rows = _read_csv(folder / "benchmarks" / kind / chain / f"{name}.tsv", sep="\t")
            frames.append(rows.assign(suite=suite, method=method, seed=seed, job=f"{kind}/{name}"))
    whole = pd.concat(frames, ignore_index=True).drop(columns="h:m:s")
    return whole[[*CHAIN, "job", *(name for name in whole if name not in [*CHAIN, "job"])]]


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
    row: dict[str, Any] = json.loads(_there(folder / "learn.json").read_text(encoding="utf-8"))
    chosen = folder / "chosen.json"
    return row | ({"chosen": json.loads(chosen.read_text(encoding="utf-8"))} if chosen.is_file() else {})


def _read_csv(path: Path, sep: str = ",") -> pd.DataFrame:
    return pd.read_csv(_there(path), sep=sep)


def _there(path: Path) -> Path:
    if not path.is_file():
        raise ValueError(f"no '{path}'; run `snakemake` to make it")
    return path


def _read_text(path: Path) -> str:
    with lzma.open(path, "rt", encoding="utf-8") as file:
        return file.read()


def _write_text(path: Path, text: str) -> None:
    with atomic(path) as temporary:
        temporary.write_bytes(lzma.compress(text.encode(), preset=9))
