"""Compute FWT, NBT and AUC from episode records, with intervals, and list what every task added and cost.

Reads, in a folder of results of either form (t2s.data.results): the episodes, and what was learned.
Writes there: metrics.json; headline.json, the few metrics by which runs are compared; success.csv, every cell with its
Wilson interval; tasks.csv.

c[k, j] is the success on task j after learning task k; c[k, k, e] is that on task k after e epochs of learning it.
Source: LIBERO, arXiv 2306.03310, section 4.3 and libero/lifelong/metric.py.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from statistics import NormalDist
from typing import Any, Final

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from t2s.data import files, results
from t2s.params import MEAN, Metrics, Study

HEADLINE: Final = ("fwt", "fwt_final", "nbt", "auc", "new_token_share")
COMPARED: Final = ("fwt", "fwt_final", "nbt", "auc")
"""The metrics of a `difference`: the study's first method minus another method, task by task."""

SHARES: Final = ("new_token_share", "new_parameter_share", "delta_byte_share")
LEARNED: Final = (
    "suite", "method", "seed", "task", "instruction", "source", "n_epochs", "n_steps",
    "n_tokens_new", "n_tokens_bank", "n_parameters_new", "n_parameters_total",
    "delta_bytes", "base_bytes", *SHARES, "active", "similarity",
)  # fmt: skip
"""The fields of learn.json that tables and figures need."""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options to `parser`."""
    parser.add_argument("--params", required=True, help="params file, YAML or JSON, with sections study, metrics")
    parser.add_argument("--results", type=Path, default=Path("results"), help="folder of the results")


def main(args: argparse.Namespace) -> None:
    """Compute every metric of the study from its episodes, and write them."""
    study, rules = Study.read(args.params), Metrics.read(args.params)
    episodes = results.episodes(args.results, study)
    learned = read_learned(args.results, study)
    found = summarise(episodes, learned, study, rules)
    files.write_json(args.results / "metrics.json", found)
    files.write_json(args.results / "headline.json", headline(found))
    files.write_text(args.results / "success.csv", to_csv(cells(episodes, rules.confidence)))
    files.write_text(args.results / "tasks.csv", to_csv(with_kept(learned, episodes)))


def headline(found: dict[str, Any]) -> dict[str, Any]:
    """The means of `HEADLINE`, by suite and method."""
    return {
        suite: {
            method: {name: values[name]["mean"] for name in HEADLINE if name in values}
            for method, values in methods.items()
        }
        for suite, methods in found.items()
    }


def held(curves: Float[np.ndarray, "*n e"]) -> Float[np.ndarray, "*n e"]:
    """Learning curves, held at their peak from the earliest best epoch on."""
    after_peak = np.arange(curves.shape[-1]) >= curves.argmax(-1, keepdims=True)
    return np.where(after_peak, curves.max(-1, keepdims=True), curves)


def fwt(curves: Float[np.ndarray, "*n e"]) -> Float[np.ndarray, "*n"]:
    """FWT_k = mean_e c[k, k, e] of every task, from its learning curve."""
    return np.asarray(held(curves).mean(-1))


def nbt(success: Float[np.ndarray, "*n k k"]) -> Float[np.ndarray, "*n k"]:
    """NBT_k = 1/(K-k) Σ_{τ>k} (c[k, k] - c[τ, k]) of every task from `success`; 0 for the last."""
    k = success.shape[-1]
    forgotten = np.diagonal(success, axis1=-2, axis2=-1)[..., None, :] - success
    later = np.tril(np.ones((k, k)), -1)
    return np.asarray((forgotten * later).sum(-2) / np.maximum(later.sum(0), 1))


def auc(curves: Float[np.ndarray, "*n k e"], success: Float[np.ndarray, "*n k k"]) -> Float[np.ndarray, "*n k"]:
    """AUC_k = 1/(K-k+1) (FWT_k + Σ_{τ>k} c[τ, k]) of every task."""
    k = success.shape[-1]
    later = np.tril(np.ones((k, k)), -1)
    return np.asarray((fwt(curves) + (success * later).sum(-2)) / (later.sum(0) + 1))


def wilson(
    n_success: Int[np.ndarray, " n"], n: Int[np.ndarray, " n"], confidence: float
) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, " n"]]:
    """Interval of a rate of `n_success` in `n`. Source: Wilson 1927, equation 3."""
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    rate, scale = n_success / n, 1 + z**2 / n
    centre = rate + z**2 / (2 * n)
    half = z * np.sqrt(rate * (1 - rate) / n + z**2 / (4 * n**2))
    return np.maximum((centre - half) / scale, 0.0), np.minimum((centre + half) / scale, 1.0)


def bootstrap(values: Float[np.ndarray, "seeds tasks"], rules: Metrics) -> dict[str, Any]:
    """Mean of `values` and its percentile interval, with seeds and tasks resampled with replacement."""
    rng = np.random.default_rng(rules.seed)
    n_seeds, n_tasks = values.shape
    seeds = rng.integers(n_seeds, size=(rules.n_bootstrap, n_seeds, 1))
    tasks = rng.integers(n_tasks, size=(rules.n_bootstrap, 1, n_tasks))
    means = values[seeds, tasks].mean((1, 2))
    tail = (1 - rules.confidence) / 2
    low, high = np.quantile(means, [tail, 1 - tail])
    return {
        "mean": round(float(values.mean()), 6),
        "low": round(float(low), 6),
        "high": round(float(high), 6),
        "n_seeds": n_seeds,
    }


def scores(
    curves: Float[np.ndarray, "s k e"], success: Float[np.ndarray, "s k k"]
) -> dict[str, Float[np.ndarray, "s n"]]:
    """The contribution of each seed and task to every metric. The metric is the mean over both."""
    of_task = {
        "fwt": fwt(curves),
        "fwt_best": curves.max(-1),
        "fwt_final": np.diagonal(success, axis1=-2, axis2=-1),
        "nbt": nbt(success),
        "auc": auc(curves, success),
        "success_final": success[:, -1, :],
    }
    if success.shape[-1] > 1:  # with one task nothing is forgotten: nbt is 0 and this is undefined
        of_task["nbt_k_minus_1"] = nbt(success)[:, :-1]
    return of_task


def summarise(
    episodes: pd.DataFrame, learned: pd.DataFrame, study: Study, rules: Metrics
) -> dict[str, dict[str, dict[str, Any]]]:
    """`{suite: {method: {metric: {mean, low, high, n_seeds}}}}`, rates as fractions.

    If there are several suites, MEAN is a further one. Every method but the first also has a `difference`, with the
    metrics of `COMPARED`.
    """
    check_protocol(episodes)
    summary: dict[str, dict[str, dict[str, Any]]] = {}
    for suite, methods in by_task(episodes, learned, study).items():
        first = methods[study.methods[0]]
        summary[suite] = {}
        for method, values in methods.items():
            of_method: dict[str, Any] = {name: bootstrap(v, rules) for name, v in values.items()}
            if values is not first:
                of_method["difference"] = {name: bootstrap(first[name] - values[name], rules) for name in COMPARED}
            summary[suite][method] = of_method
    return summary


def by_task(
    episodes: pd.DataFrame, learned: pd.DataFrame, study: Study
) -> dict[str, dict[str, dict[str, Float[np.ndarray, "s n"]]]]:
    """`{suite: {method: {metric: values of each seed and task}}}`.

    If there are several suites, MEAN holds the tasks of all of them side by side.
    """
    found: dict[str, dict[str, dict[str, Float[np.ndarray, "s n"]]]] = {}
    for suite in study.suites:
        found[suite] = {}
        for method in study.methods:
            rows = episodes[(episodes.suite == suite) & (episodes.method == method)]
            tasks = learned[(learned.suite == suite) & (learned.method == method)]
            values = scores(learning_curves(rows, study), success_matrix(rows, study))
            found[suite][method] = values | shares(tasks, study)
    if len(study.suites) > 1:
        found[MEAN] = {
            method: {
                name: np.concatenate([found[suite][method][name] for suite in study.suites], axis=1)
                for name in found[study.suites[0]][method]
            }
            for method in study.methods
        }
    return found


def check_protocol(episodes: pd.DataFrame) -> None:
    """Check that the episodes of each suite were rolled out with one protocol.

    Raises: ValueError if not.
    """
    for suite, protocols in episodes.groupby("suite").protocol.unique().items():
        if len(protocols) != 1:
            raise ValueError(f"expected one protocol in {suite}, got {sorted(protocols)}")


def learning_curves(rows: pd.DataFrame, study: Study) -> Float[np.ndarray, "s k e"]:
    """Success of each seed and task after each evaluated epoch of learning it."""
    rows = rows[rows.kind == "curve"]
    table = _rates(rows, ["seed", "task"], "epoch", _grid(study))
    return table.to_numpy().reshape(len(study.seeds), study.n_tasks, -1)


def success_matrix(rows: pd.DataFrame, study: Study) -> Float[np.ndarray, "s k k"]:
    """`success[s, k, j]`: success on task j of the policy kept after task k; 0 above the diagonal."""
    rows = rows[rows.kind == "kept"]
    n = study.n_tasks
    success = np.zeros((len(study.seeds), n, n))
    for stage in range(n):
        of_stage = rows[rows.stage == stage]
        grid = pd.Index(study.seeds, name="seed")
        success[:, stage, : stage + 1] = _rates(of_stage, ["seed"], "task", grid).to_numpy()
    return success


def shares(tasks: pd.DataFrame, study: Study) -> dict[str, Float[np.ndarray, "s n"]]:
    """The `SHARES` of each seed and task after the first. A share without a value for some task is left out."""
    later = tasks[tasks.task > 0].sort_values(["seed", "task"])
    found = {name: later[name].to_numpy(dtype=float, na_value=np.nan) for name in SHARES}
    return {
        name: values.reshape(len(study.seeds), -1)
        for name, values in found.items()
        if len(values) and not np.isnan(values).any()
    }


def cells(episodes: pd.DataFrame, confidence: float) -> pd.DataFrame:
    """Success, with its interval, of every suite, method, kind, stage, task and epoch, over all seeds together.

    The epoch of a kept policy differs between seeds, so cells of kept policies have epoch -1.
    """
    epoch = episodes.epoch.where(episodes.kind == "curve", -1)
    by = ["suite", "method", "kind", "stage", "task", "epoch"]
    grouped = episodes.assign(epoch=epoch).groupby(by).success
    table = grouped.agg(n_episodes="size", n_success="sum").reset_index()
    n, n_success = table.n_episodes.to_numpy(int), table.n_success.to_numpy(int)
    low, high = wilson(n_success, n, confidence)
    return table.assign(success=n_success / n, low=low, high=high)


def with_kept(learned: pd.DataFrame, episodes: pd.DataFrame) -> pd.DataFrame:
    """`learned` with the epoch of the policy kept for each task, and the scene assets of its rollouts."""
    by = ["suite", "method", "seed", "task"]
    kept = episodes[(episodes.kind == "kept") & (episodes.stage == episodes.task)]
    looks = kept.versions.map(lambda v: f"{v['assets']}, render {v['render']}" if "assets" in v else "")
    found = kept.assign(scenes=looks).groupby(by)[["epoch", "scenes"]].first().rename(columns={"epoch": "chosen_epoch"})
    return learned.merge(found.reset_index(), on=by, how="left", validate="one_to_one")


def read_learned(folder: Path, study: Study) -> pd.DataFrame:
    """What learning each task of each chain added and cost: one row per task, columns `LEARNED`.

    Raises: ValueError for a missing file or field, and for demonstrations from more than one source.
    """
    rows = [_learned_row(learned, folder) for learned in results.learned(folder, study)]
    learned = pd.DataFrame(rows, columns=list(LEARNED))
    sources = sorted(learned.source.unique())
    if len(sources) > 1:
        raise ValueError(f"{folder}: expected demonstrations of one source, got {sources}; a study never mixes them")
    return learned


def _learned_row(learned: dict[str, Any], folder: Path) -> dict[str, Any]:
    missing = sorted(set(LEARNED) - set(learned))
    if missing:
        raise ValueError(f"{folder}: expected fields {missing} of every learned task; have {sorted(learned)}")
    row = {name: learned[name] for name in LEARNED}
    row["active"] = json.dumps(row["active"] or [])
    row["similarity"] = json.dumps(row["similarity"] or {}, sort_keys=True)
    return row


def to_csv(table: pd.DataFrame) -> str:
    """`table` as CSV text, with numbers rounded to six digits."""
    return str(table.to_csv(index=False, float_format="%.6g", lineterminator="\n"))


def _grid(study: Study) -> pd.MultiIndex:
    return pd.MultiIndex.from_product([study.seeds, range(study.n_tasks)], names=["seed", "task"])


def _rates(rows: pd.DataFrame, index: list[str], columns: str, grid: pd.Index[Any]) -> pd.DataFrame:
    """Success rates of `rows` at every row of `grid`.

    Raises: ValueError if a cell has no episodes. This never counts as a rate of 0.
    """
    numbers = rows.assign(success=rows.success.astype(float))
    table = numbers.pivot_table("success", index=index, columns=columns, aggfunc="mean")
    table = table.reindex(grid)
    if table.empty or table.isna().to_numpy().any():
        missing, found = int(table.isna().to_numpy().sum()), sorted(table.columns)
        every = " and ".join([", ".join(index), columns])
        raise ValueError(f"expected episodes of every {every}, got {found} with {missing} empty cells")
    return table
