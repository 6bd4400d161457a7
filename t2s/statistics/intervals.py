"""Intervals from what is random: the episodes, and the seeds where there are three or more. Tasks are not drawn.

A cell holds the episodes of one policy on one task. Its success probability is drawn from its posterior,

    p ~ Beta(s + a, n - s + a),

for s successes in n episodes. Kept policies have a = 1 / (2 x seeds x tasks): a metric averages their cells, so they
share Jeffreys' prior of half a success and half a failure, and a study in which every episode succeeds still has an
interval. The cells of learning curves have a = 1 / 2 each, as the maximum in FWT looks at each of them.

The beta distribution is a ratio of sums of gamma weights, one for each episode. Cells that were rolled out from the
same initial states share the weights of those states, so that paired differences keep their pairing (the Bayesian
bootstrap of Rubin 1981, over initial states).
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int
from scipy import stats


def wilson(
    rate: Float[np.ndarray, "*n"] | float, n: Int[np.ndarray, "*n"] | int | float, confidence: float
) -> tuple[Float[np.ndarray, "*n"], Float[np.ndarray, "*n"]]:
    """The Wilson interval of a rate over `n` episodes. Source: Wilson 1927, equation 3."""
    z = stats.norm.ppf((1 + confidence) / 2)
    scale = 1 + z**2 / n
    centre = rate + z**2 / (2 * n)
    half = z * np.sqrt(rate * (1 - rate) / n + z**2 / (4 * n**2))
    low, high = (centre - half) / scale, (centre + half) / scale
    return np.asarray(np.maximum(low, 0.0)), np.asarray(np.minimum(high, 1.0))


def draw(
    success: Float[np.ndarray, "cells states"],
    there: Float[np.ndarray, "cells states"],
    prior: Float[np.ndarray, "cells"],
    n_draws: int,
    rng: np.random.Generator,
) -> Float[np.ndarray, "draws cells"]:
    """Success probabilities of cells that may share initial states, drawn from their posterior.

    `there` is 1 where a cell has an episode from a state, and `success` is 1 where that episode succeeded.
    """
    weights = rng.standard_gamma(1.0, (n_draws, success.shape[1]))
    won, lost = (rng.standard_gamma(prior, (n_draws, len(success))) for _ in range(2))
    won += weights @ success.T
    lost += weights @ (there - success).T
    return np.asarray(won / (won + lost))


def posterior_mean(
    n_success: Float[np.ndarray, "*n"], n: Float[np.ndarray, "*n"], prior: Float[np.ndarray, "*n"] | float
) -> Float[np.ndarray, "*n"]:
    """The mean of what `draw` draws from."""
    return np.asarray((n_success + prior) / (n + 2 * prior))


def interval(
    observed: Float[np.ndarray, "seeds"],
    centre: float,
    middle: float,
    draws: Float[np.ndarray, "draws seeds"],
    n_episodes: int,
    reach: tuple[float, float],
    confidence: float,
    seeds: Int[np.ndarray, "draws seeds"],
) -> dict[str, float]:
    """Mean of a metric over the seeds, and its interval within `reach`.

    `observed` is the metric of the data, `centre` that of the posterior means under the shared prior, `draws` that of
    drawn probabilities, and `middle` that of the means of what is drawn. Two corrections make the interval cover
    (tests/test_intervals.py):

    - A maximum, as in FWT's held curves, rounds up: the data's over the truth's, by about `mean(draws) - middle`, and
      the draws' by as much again. The draws are moved back by theirs, and one end reaches out by the data's: the
      interval holds the metric of the true probabilities as well as what another evaluation would report.
    - A posterior from n episodes is narrower than the sampling distribution, by (n - 1) / (n + 1) in variance.
    """
    whole = draws.mean(1)
    bias = float(whole.mean()) - middle
    spread = (whole - whole.mean()) * np.sqrt((n_episodes + 1) / max(n_episodes - 1, 1))
    spread = spread + seed_effect(observed, draws, confidence, seeds)
    tail = (1 - confidence) / 2
    below, above = np.quantile(spread, [tail, 1 - tail])
    mean = float(observed.mean())
    low, high = min(centre - max(bias, 0) + below, mean), max(centre - min(bias, 0) + above, mean)
    return {
        "mean": round(mean, 6),
        "low": round(float(np.clip(low, *reach)), 6),
        "high": round(float(np.clip(high, *reach)), 6),
    }


def seed_effect(
    observed: Float[np.ndarray, "seeds"],
    draws: Float[np.ndarray, "draws seeds"],
    confidence: float,
    seeds: Int[np.ndarray, "draws seeds"],
) -> Float[np.ndarray, "draws"]:
    """What other seeds would add to the mean, from three seeds on: their deviations, drawn anew as `seeds` says.

    Only the part of the seeds' variance that the episodes do not explain counts, and Student's factor makes up for
    how few seeds there are.
    """
    n = len(observed)
    if n < 3:
        return np.zeros(len(draws))
    between, within = observed.var(ddof=1), draws.var(0).mean()
    if between <= within:
        return np.zeros(len(draws))
    few = stats.t.ppf((1 + confidence) / 2, n - 1) / stats.norm.ppf((1 + confidence) / 2)
    scale = np.sqrt((1 - within / between) * n / (n - 1)) * few
    return np.asarray(scale * (observed - observed.mean())[seeds].mean(1))
