"""Compute FWT, NBT and AUC from episode records, with intervals, and list what every task added and cost.

Reads, in a folder of results of either form (t2s.data.results): the episodes, and what was learned.
Writes there: metrics.json; headline.json, the few metrics by which runs are compared; success.csv, every cell with its
Wilson interval; tasks.csv.

The metrics are defined in t2s.statistics.definitions, their intervals in t2s.statistics.intervals.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from t2s import params
from t2s.data import files, results
from t2s.model import scaling
from t2s.params import MEAN, Evaluate, Metrics, Study
from t2s.statistics import cells, definitions, intervals, shares

HEADLINE: Final = ("fwt", "fwt_final", "nbt", "auc", "new_token_share")
MACHINE: Final = ("cpu", "device", "gl")
"""Versions of a record that tell machines apart; all others must be the same within a suite."""
Values = dict[str, Any]


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options to `parser`."""
    parser.add_argument(
        "--params", required=True, help="params file, YAML or JSON: study, metrics, evaluate, env, methods"
    )
    parser.add_argument("--results", type=Path, default=Path("results"), help="folder of the results")


def main(args: argparse.Namespace) -> None:
    """Compute every metric of the study from its episodes, and write them."""
    study, rules = Study.read(args.params), Metrics.read(args.params)
    episodes = check(results.episodes(args.results, study), Evaluate.read(args.params))
    learned = read_learned(args.results, study)
    learned = with_reuse(shares.add(learned, memory(args.params, study)), args.params)
    found = summarise(episodes, learned, study, rules)
    files.write_json(args.results / "metrics.json", found)
    files.write_json(args.results / "headline.json", headline(found))
    files.write_text(args.results / "success.csv", to_csv(table(episodes, rules.confidence)))
    files.write_text(args.results / "tasks.csv", to_csv(with_kept(learned, episodes)))


def memory(source: str, study: Study) -> dict[str, int]:
    """Bytes of the demonstrations that each method keeps of a task for replay."""
    env = params.Env.read(source)
    return {method: shares.memory_bytes(params.method(source, method), env) for method in study.methods}


def with_reuse(learned: pd.DataFrame, source: str) -> pd.DataFrame:
    """`learned` with the earlier tasks that each task's rule chose to reuse, as JSON; the base alone is none."""
    reused = []
    for row in learned.to_dict("records"):
        values = params.method(source, row["method"])
        cosine = np.array(list(json.loads(row["similarity"]).values()))
        rng = np.random.default_rng([row["seed"], row["task"]])  # as T2S.start_task
        chosen = scaling.chosen_tasks(values, cosine, rng) if isinstance(values, params.T2S) and len(cosine) else []
        reused.append(json.dumps(chosen))
    return learned.assign(reused=reused)


def headline(found: dict[str, Any]) -> dict[str, Any]:
    """The means of `HEADLINE`, by suite and method."""
    return {
        suite: {
            method: {name: values[name]["mean"] for name in HEADLINE if name in values}
            for method, values in methods.items()
        }
        for suite, methods in found.items()
    }


def check(episodes: pd.DataFrame, evaluate: Evaluate) -> pd.DataFrame:
    """The episodes, if every cell is whole and every suite was rolled out in one way.

    Raises: ValueError in one line for a cell with another number of episodes than the protocol's, for a kept cell of
    several epochs or policies, and for several protocols or versions in a suite.
    """
    by = ["suite", "method", "seed", "kind", "stage", "task"]
    kept = episodes[episodes.kind == "kept"].groupby(by).agg(epochs=("epoch", "nunique"), n=("fingerprint", "nunique"))
    mixed = kept[(kept.epochs > 1) | (kept.n > 1)]
    if len(mixed):
        epochs, policies = mixed.iloc[0]
        raise ValueError(f"{_cell(mixed)}: expected episodes of one policy, got {policies} policies of {epochs} epochs")
    epoch = episodes.epoch.where(episodes.kind == "curve", -1)
    sizes = episodes.assign(epoch=epoch).groupby([*by, "epoch"]).size()
    wrong = sizes[sizes != evaluate.rules.n_rollouts]
    if len(wrong):
        expected = f"{evaluate.rules.n_rollouts} episodes (evaluate.protocols.{evaluate.protocol}.n_rollouts)"
        raise ValueError(f"{_cell(wrong)}: expected {expected}, got {wrong.iloc[0]}")
    versions = episodes.versions.map(lambda v: json.dumps({k: v[k] for k in sorted(v) if k not in MACHINE}))
    for suite, rows in episodes.assign(versions=versions).groupby("suite"):
        for name in ("protocol", "versions"):
            if len(found := sorted(rows[name].unique())) != 1:
                raise ValueError(f"expected one set of {name} in {suite}, got {'; '.join(found)}")
    return episodes


def _cell(table: pd.DataFrame | pd.Series[Any]) -> str:
    """The first cell of a table, in words."""
    return ", ".join(f"{name} {value}" for name, value in zip(table.index.names, table.index[0], strict=True))


def summarise(episodes: pd.DataFrame, learned: pd.DataFrame, study: Study, rules: Metrics) -> dict[str, Any]:
    """`{suite: {method: {metric: {mean, low, high, n_seeds}}}}`, rates as fractions.

    Shares of tokens, parameters and bytes are computed and not measured, so they have no interval. If there are several
    suites, MEAN is a further one. Every method but the first also has a `difference`, of the
    metrics in `definitions.COMPARED`.
    """
    n_seeds = len(study.seeds)
    seeds = np.random.default_rng([rules.seed, 1]).integers(n_seeds, size=(rules.n_bootstrap, n_seeds))
    measured: dict[str, dict[str, dict[str, Measured]]] = {}
    computed: dict[str, dict[str, dict[str, float]]] = {}
    for suite in study.suites:
        of_methods = cells.of_suite(episodes[episodes.suite == suite], study, rules)
        measured[suite] = {method: Measured.of(of_methods[method]) for method in study.methods}
        tasks = learned[learned.suite == suite]
        of_tasks = {method: shares.of_tasks(tasks[tasks.method == method], n_seeds) for method in study.methods}
        computed[suite] = {m: {name: float(v.mean()) for name, v in found.items()} for m, found in of_tasks.items()}
    if len(study.suites) > 1:
        measured[MEAN] = {m: Measured.mean([measured[s][m] for s in study.suites]) for m in study.methods}
        computed[MEAN] = {m: _mean([computed[s][m] for s in study.suites]) for m in study.methods}
    n_episodes = int(episodes.groupby(["suite", *cells.CELL]).size().min())
    summary: dict[str, Any] = {}
    for suite, methods in measured.items():
        first = methods[study.methods[0]]
        summary[suite] = {}
        for method, values in methods.items():
            found: Values = {
                name: value.interval(n_episodes, rules.confidence, seeds) for name, value in values.items()
            }
            found |= {n: {"mean": round(v, 6), "n_seeds": n_seeds} for n, v in computed[suite][method].items()}
            if values is not first:
                differences = {
                    n: (first[n] - values[n]).interval(n_episodes, rules.confidence, seeds)
                    for n in definitions.COMPARED
                }
                found["difference"] = differences
            summary[suite][method] = found
    return summary


class Measured:
    """One metric of one method: per seed from the data, and drawn; and what it can reach."""

    def __init__(
        self,
        observed: Float[np.ndarray, "seeds"],
        centre: float,
        middle: float,
        draws: Float[np.ndarray, "draws seeds"],
        reach: tuple[float, float],
    ) -> None:
        """The arguments of `intervals.interval`."""
        self.observed, self.centre, self.middle, self.draws, self.reach = observed, centre, middle, draws, reach

    @classmethod
    def of(cls, found: cells.Cells) -> dict[str, Measured]:
        """Every metric of these cells."""
        observed, centre, middle, draws = (_per_seed(*rates) for rates in found)
        n_seeds, n_tasks, n_epochs = found.observed.curves.shape
        untrained = bool(found.observed.curves[..., 0].any())
        reach = definitions.reach(n_seeds, n_tasks, n_epochs, untrained)
        means = {name: (float(centre[name].mean()), float(middle[name].mean())) for name in observed}
        return {name: cls(v, *means[name], draws[name], reach[name]) for name, v in observed.items()}

    @classmethod
    def mean(cls, suites: list[dict[str, Measured]]) -> dict[str, Measured]:
        """Every metric in the mean over suites."""
        return {
            name: cls(
                np.mean([suite[name].observed for suite in suites], axis=0),
                float(np.mean([suite[name].centre for suite in suites])),
                float(np.mean([suite[name].middle for suite in suites])),
                np.mean([suite[name].draws for suite in suites], axis=0),
                (
                    float(np.mean([s[name].reach[0] for s in suites])),
                    float(np.mean([s[name].reach[1] for s in suites])),
                ),
            )
            for name in suites[0]
        }

    def __sub__(self, other: Measured) -> Measured:
        """The difference, paired by seed and by initial state."""
        reach = (self.reach[0] - other.reach[1], self.reach[1] - other.reach[0])
        centre, middle = self.centre - other.centre, self.middle - other.middle
        return Measured(self.observed - other.observed, centre, middle, self.draws - other.draws, reach)

    def interval(self, n_episodes: int, confidence: float, seeds: Int[np.ndarray, "draws seeds"]) -> Values:
        """Mean, interval and number of seeds."""
        found = intervals.interval(
            self.observed, self.centre, self.middle, self.draws, n_episodes, self.reach, confidence, seeds
        )
        return found | {"n_seeds": len(self.observed)}


def _per_seed(
    curves: Float[np.ndarray, "*n s k e"], success: Float[np.ndarray, "*n s k k"]
) -> dict[str, Float[np.ndarray, "*n s"]]:
    return {name: values.mean(-1) for name, values in definitions.scores(curves, success).items()}


def _mean(suites: list[dict[str, float]]) -> dict[str, float]:
    """The mean of every share that all suites have."""
    names = [name for name in suites[0] if all(name in suite for suite in suites)]
    return {name: float(np.mean([suite[name] for suite in suites])) for name in names}


def table(episodes: pd.DataFrame, confidence: float) -> pd.DataFrame:
    """Success, with its interval, of every suite, method, kind, stage, task and epoch, over all seeds together.

    The epoch of a kept policy differs between seeds, so cells of kept policies have epoch -1.
    """
    epoch = episodes.epoch.where(episodes.kind == "curve", -1)
    by = ["suite", "method", "kind", "stage", "task", "epoch"]
    grouped = episodes.assign(epoch=epoch).groupby(by).success
    found = grouped.agg(n_episodes="size", n_success="sum").reset_index()
    n, n_success = found.n_episodes.to_numpy(int), found.n_success.to_numpy(int)
    low, high = intervals.wilson(n_success / n, n, confidence)
    return found.assign(success=n_success / n, low=low, high=high)


def with_kept(learned: pd.DataFrame, episodes: pd.DataFrame) -> pd.DataFrame:
    """`learned` with the epoch of the policy kept for each task, and the scene assets and machine of its rollouts."""
    by = ["suite", "method", "seed", "task"]
    kept = episodes[(episodes.kind == "kept") & (episodes.stage == episodes.task)]
    scenes = kept.versions.map(lambda v: f"{v['assets']}, render {v['render']}" if "assets" in v else "")
    machine = kept.versions.map(lambda v: ", ".join(_said(v, MACHINE)))
    found = kept.assign(scenes=scenes, machine=machine).groupby(by)[["epoch", "scenes", "machine"]].first()
    found = found.rename(columns={"epoch": "chosen_epoch"}).reset_index()
    return learned.merge(found, on=by, how="left", validate="one_to_one")


def _said(versions: dict[str, str], names: Iterable[str]) -> list[str]:
    return [f"{name} {versions[name]}" for name in names if name in versions]


def read_learned(folder: Path, study: Study) -> pd.DataFrame:
    """What learning each task of each chain added and cost: one row per task, columns `results.LEARN`.

    Raises: ValueError for a missing file or field, and for demonstrations from more than one source.
    """
    rows = [_learned_row(learned) for learned in results.learned(folder, study)]
    learned = pd.DataFrame(rows, columns=list(results.LEARN))
    sources = sorted(learned.source.unique())
    if len(sources) > 1:
        raise ValueError(f"{folder}: expected demonstrations of one source, got {sources}; a study never mixes them")
    return learned


def _learned_row(learned: dict[str, Any]) -> dict[str, Any]:
    row = {name: learned[name] for name in results.LEARN}
    row["active"] = json.dumps(row["active"] or [])
    row["similarity"] = json.dumps(row["similarity"] or {}, sort_keys=True)
    return row


def to_csv(rows: pd.DataFrame) -> str:
    """`rows` as CSV text, with numbers rounded to six digits."""
    return str(rows.to_csv(index=False, float_format="%.6g", lineterminator="\n"))
