"""FWT, NBT and AUC as LIBERO defines them, and what other papers call by the same names.

c[k, j] is the success on task j after learning task k, and c[k, k, e] the success on task k after e epochs of it.
Source: LIBERO, arXiv 2306.03310, section 4.3 and libero/lifelong/metric.py; the others' in `DEFINITIONS`.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from jaxtyping import Float


class Definition(NamedTuple):
    """A metric: its title, its value for task k, and who uses it."""

    title: str
    formula: str
    used_by: str


DEFINITIONS: Final = {
    "fwt": Definition(
        "FWT", "mean over e of c[k, k, e], held at its peak from the best epoch on", "LIBERO; DMPEL (inferred)"
    ),
    "fwt_trained": Definition("FWT, trained", "FWT without the untrained policy (e > 0)", "this project"),
    "fwt_best": Definition("Best epoch", "max over e of c[k, k, e], on the states that choose", "LIBERO's kept policy"),
    "fwt_last": Definition("Last epoch", "c[k, k, e] of the last epoch, on the states that choose", "CLARE"),
    "fwt_final": Definition(
        "FWT final", "c[k, k] of the kept policy, on the states that score", "FWT of CLARE, LifeLong-RFT, OrthoSkillVLA"
    ),
    "nbt": Definition("NBT", "mean over later stages τ of c[k, k] - c[τ, k]; 0 for the last task; over K", "LIBERO"),
    "nbt_k_minus_1": Definition("NBT, K-1", "the same over the K-1 tasks that can be forgotten", "OrthoSkillVLA"),
    "nbt_relative": Definition("NBT, relative", "mean over τ of (c[k, k] - c[τ, k]) / c[k, k]; over K-1", "REGEN"),
    "auc": Definition("AUC", "mean of FWT of task k and c[τ, k] over later stages τ", "LIBERO; DMPEL (inferred)"),
    "auc_final": Definition(
        "AUC, final", "the same with c[k, k] in place of FWT", "CLARE, LifeLong-RFT, OrthoSkillVLA"
    ),
    "success_final": Definition("Success at the end", "c[K, k] after the last task", "PHASER, OrthoSkillVLA"),
}
"""Every metric, by its name in metrics.json."""

COMPARED: Final = ("fwt", "fwt_trained", "fwt_final", "nbt", "auc", "auc_final")
"""The metrics of a difference between methods."""

Curves = Float[np.ndarray, "*n k e"]
Success = Float[np.ndarray, "*n k k"]


def scores(curves: Curves, success: Success) -> dict[str, Float[np.ndarray, "*n _"]]:
    """Every metric's value for each task; the mean over the tasks is the metric.

    `success` is 0 above the diagonal. With one task nothing can be forgotten, and the NBT over K-1 tasks are left out.
    """
    found = {
        "fwt": fwt(curves),
        "fwt_trained": fwt(curves[..., 1:]),
        "fwt_best": curves.max(-1),
        "fwt_last": curves[..., -1],
        "fwt_final": _learned(success),
        "nbt": nbt(success),
        "auc": auc(fwt(curves), success),
        "auc_final": auc(_learned(success), success),
        "success_final": success[..., -1, :],
    }
    if success.shape[-1] > 1:
        found["nbt_k_minus_1"] = nbt(success)[..., :-1]
        found["nbt_relative"] = nbt(_relative(success))[..., :-1]
    return found


def held(curves: Float[np.ndarray, "*n e"]) -> Float[np.ndarray, "*n e"]:
    """Learning curves held at their peak from the earliest best epoch on."""
    after_peak = np.arange(curves.shape[-1]) >= curves.argmax(-1, keepdims=True)
    return np.where(after_peak, curves.max(-1, keepdims=True), curves)


def fwt(curves: Float[np.ndarray, "*n e"]) -> Float[np.ndarray, "*n"]:
    """FWT_k = mean_e c[k, k, e] of every task, from its learning curve."""
    return np.asarray(held(curves).mean(-1))


def nbt(success: Success) -> Float[np.ndarray, "*n k"]:
    """NBT_k = 1/(K-k) Σ_{τ>k} (c[k, k] - c[τ, k]) of every task; 0 for the last."""
    later = _later(success)
    forgotten = _learned(success)[..., None, :] - success
    return np.asarray((forgotten * later).sum(-2) / np.maximum(later.sum(0), 1))


def auc(first: Float[np.ndarray, "*n k"], success: Success) -> Float[np.ndarray, "*n k"]:
    """AUC_k = 1/(K-k+1) (first_k + Σ_{τ>k} c[τ, k]) of every task; `first` is FWT_k, or c[k, k] by others."""
    later = _later(success)
    return np.asarray((first + (success * later).sum(-2)) / (later.sum(0) + 1))


def reach(n_seeds: int, n_tasks: int, n_epochs: int, untrained: bool) -> dict[str, tuple[float, float]]:
    """The smallest and largest value that each metric can take.

    If `untrained` is false, the policy before learning succeeds at nothing, which limits FWT to 1 - 1 / n_epochs.
    """
    best = np.ones((n_seeds, n_tasks, n_epochs))
    best[..., 0] = float(untrained)
    curves = (np.zeros_like(best), best)
    whole = np.tril(np.ones((n_seeds, n_tasks, n_tasks)))
    diagonal = whole * np.eye(n_tasks)
    matrices = (0 * whole, whole, diagonal, whole - diagonal)
    corners = [_means(scores(c, s)) for c in curves for s in matrices]  # every metric is monotonic in every rate
    found = {name: (min(c[name] for c in corners), max(c[name] for c in corners)) for name in corners[0]}
    if "nbt_relative" in found:  # later success may be any multiple of what was learned
        found["nbt_relative"] = (-np.inf, found["nbt_relative"][1])
    return found


def _means(found: dict[str, Float[np.ndarray, "*n _"]]) -> dict[str, float]:
    return {name: float(values.mean()) for name, values in found.items()}


def _learned(success: Success) -> Float[np.ndarray, "*n k"]:
    return np.asarray(np.diagonal(success, axis1=-2, axis2=-1))


def _later(success: Success) -> Float[np.ndarray, "k k"]:
    """1 for the stages after a task was learned."""
    k = success.shape[-1]
    return np.tril(np.ones((k, k)), -1)


def _relative(success: Success) -> Success:
    """Success as a share of what was learned; where nothing was, nothing can be forgotten."""
    learned = _learned(success)[..., None, :]
    some = learned > 1e-6
    return np.where(some, success / np.where(some, learned, 1), 0.0)
