"""Intervals that cover: simulated studies whose success probabilities are known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from t2s.report.metrics import Measured
from t2s.statistics import definitions, intervals
from t2s.statistics.cells import Cells, Rates

N_EPISODES, N_DRAWS, CONFIDENCE = 20, 200, 0.95
RISING = np.array([0.0, 0.2, 0.5, 0.8, 1.0, 1.0])  # of the final success, along a learning curve


def probabilities(p: float, forgets: bool, n_seeds: int, n_tasks: int) -> Rates:
    """Curves that rise to `p`, and a matrix that stays there or falls by 60 % with every further task."""
    curves = np.broadcast_to(p * RISING, (n_seeds, n_tasks, len(RISING)))
    age = np.subtract.outer(np.arange(n_tasks), np.arange(n_tasks)).clip(0)
    kept = p * (0.4**age if forgets else np.ones_like(age, dtype=float))
    return Rates(curves, np.broadcast_to(np.tril(kept), (n_seeds, n_tasks, n_tasks)))


def simulate(truth: Rates, copies: bool, rng: np.random.Generator) -> Cells:
    """A study rolled out once; with `copies`, records of a task stand at all later stages."""
    n_seeds, n_tasks, _ = truth.curves.shape
    shared = 1 / (2 * n_seeds * n_tasks)
    curves = (rng.random((*truth.curves.shape, N_EPISODES)) < truth.curves[..., None]).astype(float)
    shape = (n_seeds, 1 if copies else n_tasks, n_tasks)
    rates = np.diagonal(truth.success, axis1=1, axis2=2)[:, None] if copies else truth.success
    kept = (rng.random((*shape, N_EPISODES)) < rates[..., None]).astype(float)
    drawn_curves = np.empty((N_DRAWS, *truth.curves.shape))
    drawn_kept = np.empty((N_DRAWS, *shape))
    for task in range(n_tasks):
        for outcomes, out in ((curves[:, task], drawn_curves[:, :, task]), (kept[:, :, task], drawn_kept[..., task])):
            flat = outcomes.reshape(-1, N_EPISODES)
            own = np.full(len(flat), 0.5 if out.base is drawn_curves else shared)
            out[:] = intervals.draw(flat, np.ones_like(flat), own, N_DRAWS, rng).reshape(out.shape)

    def whole(values: np.ndarray) -> np.ndarray:
        return np.tril(np.broadcast_to(values, (*values.shape[:-2], n_tasks, n_tasks)))

    def mean(outcomes: np.ndarray, prior: float) -> np.ndarray:
        return intervals.posterior_mean(outcomes.sum(-1), np.full(outcomes.shape[:-1], float(N_EPISODES)), prior)

    return Cells(
        Rates(curves.mean(-1), whole(kept.mean(-1))),
        Rates(mean(curves, shared), whole(mean(kept, shared))),
        Rates(mean(curves, 0.5), whole(mean(kept, shared))),
        Rates(drawn_curves, whole(drawn_kept)),
    )


def coverage(truth: Rates, copies: bool, n_studies: int, seed: int = 0) -> dict[str, float]:
    """The share of simulated studies whose intervals hold the metrics of the true probabilities."""
    rng = np.random.default_rng(seed)
    true = {name: values.mean() for name, values in definitions.scores(*truth).items()}
    held = dict.fromkeys(("fwt", "fwt_final", "nbt", "auc"), 0)
    n_seeds = len(truth.curves)
    for _ in range(n_studies):
        found = Measured.of(simulate(truth, copies, rng))
        seeds = rng.integers(n_seeds, size=(N_DRAWS, n_seeds))
        for name in held:
            interval = found[name].interval(N_EPISODES, CONFIDENCE, seeds)
            held[name] += interval["low"] - 1e-6 <= true[name] <= interval["high"] + 1e-6
    return {name: n / n_studies for name, n in held.items()}


@pytest.mark.parametrize("p", [0.02, 0.5, 0.97])
@pytest.mark.parametrize("forgets", [False, True], ids=["kept", "forgotten"])
def test_nominal_95_percent_intervals_hold_the_truth(p: float, forgets: bool) -> None:
    """At least 93 %, less two standard errors of 400 studies; near 0 they hold it more often than they must."""
    found = coverage(probabilities(p, forgets, 1, 4), not forgets, 400)
    assert all(share >= 0.93 - 2 * np.sqrt(0.05 * 0.95 / 400) for share in found.values()), found
    assert all(share <= 0.995 for name, share in found.items() if p == 0.5 and (forgets or name != "nbt")), found


def test_intervals_of_three_seeds_hold_the_truth_too() -> None:
    found = coverage(probabilities(0.5, True, 3, 3), False, 400)
    assert all(share >= 0.93 - 2 * np.sqrt(0.05 * 0.95 / 400) for share in found.values()), found


def deterministic(success: np.ndarray, n_epochs: int = 6) -> dict[str, dict[str, float]]:
    """The intervals of a study in which every trained policy always succeeds when it is learned."""
    n_tasks = len(success)
    curves = np.ones((1, n_tasks, n_epochs))
    curves[..., 0] = 0
    truth = Rates(curves, success[None])
    found = Measured.of(simulate(truth, bool((np.tril(success) == np.tril(np.ones_like(success))).all()), RNG))
    return {name: value.interval(N_EPISODES, CONFIDENCE, np.zeros((N_DRAWS, 1), int)) for name, value in found.items()}


RNG = np.random.default_rng(0)


def test_without_chance_nothing_lies_outside_what_a_metric_can_reach() -> None:
    """The audit's two cases: all succeed and nothing is forgotten; everything is forgotten."""
    kept = deterministic(np.tril(np.ones((10, 10))))
    assert kept["auc"]["mean"] == pytest.approx(0.951, abs=5e-4)
    assert kept["auc"]["high"] == kept["auc"]["mean"]  # 97.3 is out of reach with an FWT of 83.3
    assert 0.92 < kept["auc"]["low"] < kept["auc"]["mean"]  # and 10 x 20 of 20 is not a point
    assert kept["fwt"]["high"] == pytest.approx(5 / 6, abs=1e-6)
    assert (kept["nbt"]["low"], kept["nbt"]["high"]) == (0.0, 0.0)
    assert 0.97 < kept["fwt_final"]["low"] < kept["fwt_final"]["high"] == 1.0
    forgotten = deterministic(np.eye(10))
    assert forgotten["nbt"]["mean"] == forgotten["nbt"]["high"] == pytest.approx(0.9)
    assert 0.85 < forgotten["nbt"]["low"] < 0.9


def test_one_cell_of_20_in_20_has_about_jeffreys_interval() -> None:
    whole = np.ones((1, 20))
    draws = intervals.draw(whole, whole, np.array([0.5]), 20000, np.random.default_rng(0))
    low, high = np.quantile(draws, [0.025, 0.975])
    assert low == pytest.approx(0.8835, abs=0.01)  # Beta(20.5, 0.5)
    assert high == pytest.approx(1.0, abs=1e-3)


@given(st.integers(0, 20), st.floats(0.05, 0.5))
def test_a_cell_is_drawn_from_its_beta_distribution(n_success: int, prior: float) -> None:
    success = (np.arange(20) < n_success).astype(float)[None]
    draws = intervals.draw(success, np.ones((1, 20)), np.array([prior]), 4000, np.random.default_rng(1))
    mean = (n_success + prior) / (20 + 2 * prior)
    assert draws.mean() == pytest.approx(mean, abs=0.01)
    assert draws.var() == pytest.approx(mean * (1 - mean) / (21 + 2 * prior), abs=0.001)


def test_cells_with_the_same_outcomes_from_the_same_states_move_together() -> None:
    outcomes = (np.arange(20) % 3 > 0).astype(float)
    both = np.stack([outcomes, outcomes, 1 - outcomes])
    draws = intervals.draw(both, np.ones_like(both), np.full(3, 1e-3), 2000, np.random.default_rng(0))
    assert np.abs(draws[:, 0] - draws[:, 1]).mean() < 0.001
    assert np.corrcoef(draws[:, 0], draws[:, 2])[0, 1] < -0.99


def test_more_seeds_that_differ_widen_the_interval_and_two_seeds_do_not() -> None:
    draws = np.full((N_DRAWS, 3), 0.5) + 0.01 * np.random.default_rng(0).standard_normal((N_DRAWS, 3))
    seeds = np.random.default_rng(1).integers(3, size=(N_DRAWS, 3))
    apart, alike = np.array([0.2, 0.5, 0.8]), np.array([0.5, 0.5, 0.5])
    assert intervals.seed_effect(apart, draws, 0.95, seeds).std() > 0.1
    assert not intervals.seed_effect(alike, draws, 0.95, seeds).any()
    assert not intervals.seed_effect(apart[:2], draws[:, :2], 0.95, seeds[:, :2] % 2).any()
