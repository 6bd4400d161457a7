"""Cells of episodes: their success rates, and draws of their success probabilities, as curves and matrices."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from t2s.params import Metrics, Study
from t2s.statistics import intervals

CELL = ["method", "seed", "kind", "stage", "task", "epoch"]
"""What tells one cell of a suite from another; the epoch of a kept policy is -1, as it differs between seeds."""


class Rates(NamedTuple):
    """Success of one method: while each task is learned, and of the policy kept after task k on task j <= k."""

    curves: Float[np.ndarray, "*n s k e"]
    success: Float[np.ndarray, "*n s k k"]


class Cells(NamedTuple):
    """The rates of one method: of the episodes, of two posteriors' means, and drawn from the second posterior.

    The first posterior has the shared prior in all cells, the second one of its own in the cells of learning curves.
    """

    observed: Rates
    centre: Rates
    middle: Rates
    drawn: Rates


def of_suite(episodes: pd.DataFrame, study: Study, rules: Metrics) -> dict[str, Cells]:
    """The cells of every method, from the episodes of one suite.

    Cells with the same policy and the same outcomes are copies and get the same draws. Cells of one task share the
    weights of their initial states, also between methods.

    Raises: ValueError if a cell has no episodes. This never counts as a rate of 0.
    """
    rows = episodes.assign(epoch=episodes.epoch.where(episodes.kind == "curve", -1))
    rng = np.random.default_rng(rules.seed)
    shared = 1 / (2 * len(study.seeds) * study.n_tasks)
    tasks = [_of_task(rows[rows.task == task], shared, rules.n_bootstrap, rng) for task in range(study.n_tasks)]
    counts = pd.concat([counted for counted, _ in tasks])
    columns = np.concatenate([drawn for _, drawn in tasks], axis=1)
    places = pd.Series(np.arange(len(counts)), index=counts.index)
    won, n = counts.n_success.to_numpy(float), counts.n.to_numpy(float)
    centre, middle = (intervals.posterior_mean(won, n, prior) for prior in (shared, priors(counts.index, shared)))
    found = {}
    for method in study.methods:
        at = _places(places, method, study)
        found[method] = Cells(*(_arrange(values, *at) for values in (won / n, centre, middle, columns)))
    return found


def priors(index: pd.Index[Any], shared: float) -> Float[np.ndarray, "cells"]:
    """The prior of every cell: `shared` for kept policies, Jeffreys' 1 / 2 for learning curves."""
    return np.where(index.get_level_values("kind") == "kept", shared, 0.5)


def _of_task(
    rows: pd.DataFrame, shared: float, n_draws: int, rng: np.random.Generator
) -> tuple[pd.DataFrame, Float[np.ndarray, "draws cells"]]:
    """Successes and episodes of every cell of one task, and draws of its probability."""
    again = rows.groupby([*CELL, "init_index"]).cumcount()  # a state may start several episodes of a cell
    states = rows.assign(state=rows.init_index * 1000 + again, won=rows.success.astype(float))
    table = states.pivot_table("won", index=CELL, columns="state", aggfunc="first")
    there, success = table.notna().to_numpy(float), table.fillna(0.0).to_numpy(float)
    policies = rows.groupby(CELL).fingerprint.first()
    kept = table.index.get_level_values("kind") == "kept"
    who = [
        (*cell[:2], policies[cell], *map(bytes, pair)) if is_kept else cell
        for cell, is_kept, *pair in zip(table.index, kept, there, success, strict=True)
    ]
    numbers, _ = pd.factorize(pd.Series(who, dtype=object))
    firsts = np.unique(numbers, return_index=True)[1]
    prior = priors(table.index, shared)
    drawn = intervals.draw(success[firsts], there[firsts], prior[firsts], n_draws, rng)
    counts = pd.DataFrame({"n_success": success.sum(1), "n": there.sum(1)}, index=table.index)
    return counts, drawn[:, numbers]


def _places(
    places: pd.Series[int], method: str, study: Study
) -> tuple[Int[np.ndarray, "s k e"], Int[np.ndarray, "s k k"]]:
    """Where the cells of a method's curves and matrix are; -1 above the diagonal of the matrix."""
    level = places.index.get_level_values
    epochs = sorted(set(level("epoch")[(level("method") == method) & (level("kind") == "curve")]))
    tasks = range(study.n_tasks)
    curves = [(method, s, "curve", k, k, e) for s in study.seeds for k in tasks for e in epochs]
    kept = [(method, s, "kept", k, j, -1) for s in study.seeds for k in tasks for j in range(k + 1)]
    matrix = np.full((len(study.seeds), study.n_tasks, study.n_tasks), -1)
    matrix[:, *np.tril_indices(study.n_tasks)] = _find(places, kept).reshape(len(study.seeds), -1)
    return _find(places, curves).reshape(len(study.seeds), study.n_tasks, -1), matrix


def _find(places: pd.Series[int], cells: list[tuple[Any, ...]]) -> Int[np.ndarray, "n"]:
    found = places.reindex(pd.MultiIndex.from_tuples(cells, names=CELL)) if cells else pd.Series(dtype=float)
    if found.empty or found.isna().any():
        first = zip(CELL, found.index[found.isna()][0], strict=True) if len(found) else [("every", "cell")]
        missing = ", ".join(f"{name} {value}" for name, value in first)
        raise ValueError(f"expected episodes of every seed, stage, task and epoch, got none of {missing}")
    return found.to_numpy(int)


def _arrange(
    values: Float[np.ndarray, "*n cells"], curves: Int[np.ndarray, "s k e"], matrix: Int[np.ndarray, "s k k"]
) -> Rates:
    return Rates(values[..., curves], np.where(matrix >= 0, values[..., matrix], 0.0))
