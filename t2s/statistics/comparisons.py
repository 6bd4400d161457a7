"""Tests, intervals and power for the difference between two sets of episodes, paired by initial state or not."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
from jaxtyping import Int
from scipy.stats import binom, hypergeom

from t2s.statistics import intervals


def mcnemar(only_a: int, only_b: int) -> float:
    """p of equal success, from the numbers of pairs that succeeded only in A and only in B; exact, two-sided.

    min(1, 2 P(X <= min(b, c))) with X ~ Bin(b + c, 1/2). It holds, too, if the initial states are no real pairs.
    Over several tasks the pairs add up, since each task's are Bin(., 1/2).
    Source: McNemar 1947; Agresti, Categorical Data Analysis (2002), section 10.1.
    """
    return min(1.0, 2 * float(binom.cdf(min(only_a, only_b), only_a + only_b, 0.5)))


def stratified(tables: Int[np.ndarray, "cells 4"]) -> float:
    """p of equal success in every cell, from (successes, episodes) in A and in B; exact, two-sided.

    Given its margins, A's successes in a cell are hypergeometric, and their sum over the cells has the convolution of
    these distributions. p is the probability of all sums that are no likelier than the one seen. For one cell, this is
    Fisher's test. The chi-square of Cochran, Mantel and Haenszel is the limit for many episodes between 0 and 100 %.
    Source: Gart 1970, Biometrika 57:471; Mehta, Patel and Gray 1985, JASA 80:969; R's mantelhaen.test(exact = TRUE).
    """
    chances = np.ones(1)
    for wins_a, n_a, wins_b, n_b in tables:
        cell = hypergeom.pmf(np.arange(n_a + 1), n_a + n_b, wins_a + wins_b, n_a)
        chances = np.convolve(chances, cell)
    seen = chances[tables[:, 0].sum()]
    return min(1.0, float(chances[chances <= seen * (1 + 1e-7)].sum()))


def newcombe(
    rate_a: float, rate_b: float, n_a: int | float, n_b: int | float, confidence: float, phi: float = 0.0
) -> tuple[float, float]:
    """Interval of `rate_a - rate_b` from the two Wilson intervals, whose errors have the correlation `phi`.

    d - sqrt(x² - 2 phi x y + y²), x = rate_a - low_a, y = high_b - rate_b; likewise above.
    Source: Newcombe 1998, Stat. Med. 17:873 (independent) and 17:2635 (paired), method 10 of both.
    """
    low_a, high_a = map(float, intervals.wilson(rate_a, n_a, confidence))
    low_b, high_b = map(float, intervals.wilson(rate_b, n_b, confidence))
    below, above = (
        math.sqrt(max(0.0, x**2 - 2 * phi * x * y + y**2))
        for x, y in ((rate_a - low_a, high_b - rate_b), (high_a - rate_a, rate_b - low_b))
    )
    return rate_a - rate_b - below, rate_a - rate_b + above


def correlation(both: int, only_a: int, only_b: int, n: int) -> float:
    """phi of the 2 x 2 table of pairs, corrected for continuity; 0 if all or none succeed in A or in B.

    Source: Newcombe 1998, Stat. Med. 17:2635, method 10.
    """
    wins_a, wins_b = both + only_a, both + only_b
    margins = wins_a * (n - wins_a) * wins_b * (n - wins_b)
    excess = both * (n - both - only_a - only_b) - only_a * only_b
    return min(excess, max(excess - n / 2, 0)) / math.sqrt(margins) if margins else 0.0


def paired_power(difference: float, discordant: float, n: int, alpha: float) -> float:
    """Probability that `mcnemar` shows a `difference` > 0 in `n` pairs, of which a share `discordant` differs.

    Σ_m Bin(m; n, ψ) P(X >= k_m), X ~ Bin(m, (1 + difference/ψ)/2), where ψ = max(discordant, difference) and k_m is
    the least number with p <= alpha. Source: Duffy 1984, Biometrics 40:1005, "unconditional".
    """
    share, m = max(discordant, difference), np.arange(n + 1)
    enough = binom.isf(alpha / 2, m, 0.5)
    return float((binom.pmf(m, n, share) * binom.sf(enough, m, (1 + difference / share) / 2)).sum())


def unpaired_power(difference: float, rate: float, n_a: int, n_b: int, alpha: float) -> float:
    """Probability that `stratified` shows a `difference` > 0 from `rate` in B towards 50 % and beyond.

    Φ((d - c - z sqrt(p q / h)) / sqrt(pa qa / na + pb qb / nb)), with p the mean rate, 1/h = 1/na + 1/nb and Yates'
    c = 1/(2 h). Source: Fleiss, Tytun and Ury 1980, Biometrics 36:343.
    """
    rate_a = rate - difference if rate >= 0.5 else rate + difference
    rate_a, share = min(1.0, max(0.0, rate_a)), 1 / n_a + 1 / n_b
    mean = (n_a * rate_a + n_b * rate) / (n_a + n_b)
    needed = NormalDist().inv_cdf(1 - alpha / 2) * math.sqrt(mean * (1 - mean) * share) + share / 2
    spread = math.sqrt(rate_a * (1 - rate_a) / n_a + rate * (1 - rate) / n_b)
    return NormalDist().cdf((difference - needed) / spread) if spread else float(difference > needed)
