"""What must stand under a table: computed from the study and its records, never assumed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import pandas as pd

from t2s.params import Evaluate, Study, states_of

RECONSTRUCTION: Final = (
    "T2S is this project's reconstruction: of the paper (arXiv 2508.01167) only the abstract could be had, and no code"
    " was released."
)
METHODS: Final = {
    "er": "er: keeps and replays demonstrations of all earlier tasks; they count among its stored bytes.",
    "packnet": "packnet: told the task in its source; here, as for t2s, tail and single_task, the nearest known"
    " instruction names it. Its trained parameters are those that a task owns after pruning; its learning curve has"
    " policies before pruning, which are never kept.",
    "tail": "tail: every adapter starts from the first task's network, not from the most similar task.",
    "single_task": "single_task: a network for every task.",
    "multitask": "multitask: not lifelong; learns all tasks so far anew at every stage, with k times the steps at the"
    " k-th, from all their demonstrations.",
}
"""What a reader of the headline must know about a method, by its name in params.yaml."""


def metrics(study: Study, evaluate: Evaluate, tasks: pd.DataFrame, n_points: int, confidence: float) -> list[str]:
    """All notes under a table of metrics."""
    return [
        "In %. FWT, NBT and AUC are LIBERO's (arXiv 2306.03310); the table of metrics defines them and the others.",
        ceiling(n_points),
        states(evaluate),
        "New tokens, trained parameters, stored bytes: mean over the tasks after the first, as shares of the first"
        " task's tokens, parameters and checkpoint.",
        intervals(study, confidence),
        *untrained(tasks),
        *made_with(tasks),
        *(note for method, note in METHODS.items() if method in study.methods),
        RECONSTRUCTION,
    ]


def ceiling(n_points: int) -> str:
    """The largest FWT of a method whose untrained policy never succeeds."""
    best = (n_points - 1) / n_points
    return (
        f"FWT is the mean over {n_points} points of a learning curve, the first before learning: it reaches at most"
        f" {100 * best:.1f} % unless the untrained policy succeeds."
    )


def states(evaluate: Evaluate) -> str:
    """Which initial states choose the kept policy and which score it, and whether they are disjoint."""
    choosing, scoring, _ = states_of(evaluate)
    common = sorted(set(choosing) & set(scoring))
    said = f"The kept policy is chosen on the initial states {ranges(choosing)} and scored on {ranges(scoring)}"
    if not common:
        return f"{said}: none of them chose it."
    chose = "all of them" if len(common) == len(set(scoring)) else f"{len(common)} of these"
    return f"{said}: {chose} chose it, so its score is too high by the luck of the choice."


def ranges(numbers: list[int]) -> str:
    """`0 to 19`, or `0 to 3, 48 to 49`."""
    parts: list[list[int]] = []
    for number in sorted(set(numbers)):
        if parts and number == parts[-1][-1] + 1:
            parts[-1].append(number)
        else:
            parts.append([number])
    return ", ".join(f"{part[0]} to {part[-1]}" if len(part) > 1 else str(part[0]) for part in parts)


def intervals(study: Study, confidence: float) -> str:
    """What is in the intervals, and what is not."""
    said = f"In brackets {confidence:.0%} intervals for other episodes of the same policies"
    n = len(study.seeds)
    if n >= 3:
        return f"{said}, and for other seeds, from {n}; the tasks and their order are fixed."
    of_seeds = "one seed: they say nothing about another" if n == 1 else "two seeds: they say nothing about a third"
    return f"{said}; {of_seeds}. The tasks and their order are fixed."


def untrained(tasks: pd.DataFrame) -> Iterator[str]:
    """A note for every method whose kept policies include untrained ones after the first task."""
    kept = tasks[(tasks.task > 0) & (tasks.chosen_epoch == 0)]
    for method, rows in kept.groupby("method", sort=False):
        added = (
            ": the tokens that they added were never trained, and change nothing"
            if (rows.n_tokens_new > 0).any()
            else ""
        )
        n_later = int(((tasks.method == method) & (tasks.task > 0)).sum())
        yield f"{method}: {len(rows)} of {n_later} later tasks were kept at epoch 0{added}."


def made_with(tasks: pd.DataFrame) -> Iterator[str]:
    """Demonstrations, scene assets, and machines where there were several."""
    scenes = "; ".join(tasks.scenes.dropna().unique())
    yield f"Demonstrations: {tasks.source.iloc[0]}." + (f" LIBERO's scene assets: {scenes}." if scenes else "")
    machines = sorted(tasks.machine.dropna().unique())
    if len(machines) > 1:
        yield f"Rolled out on different machines: {'; '.join(machines)}."
