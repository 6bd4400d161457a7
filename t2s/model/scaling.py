"""Language-guided skill scaling: task embeddings decide which groups a new task reuses and how many tokens it adds.

    s_j = cos(e_k, e_j)                          similarity of task k to the learned task j
    A(k) = {k} + union of A(j) for j in R(k)     active groups of task k; R(k): the reused tasks
    n_k = round(n_max - (n_max - n_min) u),  u = clip((max_j s_j - threshold) / (1 - threshold), 0, 1)

A reused task brings all groups it was learned with. New values are zero, so with one reused task, task k starts with
exactly the policy of that task. The rule is this project's reconstruction (docs/method.md).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from t2s import params

SAME_SIMILARITY = 1e-5
"""Cosine similarities that differ by less are those of one instruction.

Equal instructions have equal embeddings, so their similarities differ only by rounding (1e-7). The most similar of the
different instructions have 0.99927 in libero_90, 0.99547 in libero_spatial and 0.99504 in blocks_spatial
(all-MiniLM-L6-v2).
"""


def similarities(task_emb: Float[np.ndarray, "d"], known: Float[np.ndarray, "k d"]) -> Float[np.ndarray, "k"]:
    """Cosine similarity in [-1, 1] of a task embedding to each known one."""
    norms = np.linalg.norm(known, axis=1) * np.linalg.norm(task_emb)
    return known @ task_emb / norms


def alike(task_emb: Float[np.ndarray, "d"], known: Float[np.ndarray, "k d"]) -> list[int]:
    """Indices of the known tasks with the most similar instruction: one task, or all tasks that share the instruction.

    This selects the policy at test time, without a task id. t2s/model/scene.py decides between several tasks.
    """
    similarity = similarities(task_emb, known)
    return [int(j) for j in np.flatnonzero(similarity >= similarity.max() - SAME_SIMILARITY)]


def reused_tasks(values: params.T2S, similarity: Float[np.ndarray, "k"], rng: np.random.Generator) -> list[int]:
    """The earlier tasks that a new task reuses, R(k), in the order they were learned.

    If the rule picks no task, the new task reuses the first one: the base holds what no added group learns again.
    """
    return chosen_tasks(values, similarity, rng) or [0]


def chosen_tasks(values: params.T2S, similarity: Float[np.ndarray, "k"], rng: np.random.Generator) -> list[int]:
    """The earlier tasks that the rule picks, in the order they were learned; it may pick none.

    `values.reuse` names the rule:
        language    the `reuse_top` most similar tasks at or above `reuse_threshold`
        random      as many tasks as `language` would reuse, drawn with `rng`
        all         every earlier task
        none        no task
    """
    n_similar = int((similarity >= values.reuse_threshold).sum())
    n = min(values.reuse_top, n_similar)
    chosen = {
        "language": np.argsort(-similarity, kind="stable")[:n],
        "random": rng.permutation(len(similarity))[:n],
        "all": np.arange(len(similarity)),
        "none": np.arange(0),
    }[values.reuse]
    return sorted(int(j) for j in chosen)


def active_groups(task: int, reused: Sequence[int], earlier: Sequence[Sequence[int]]) -> list[int]:
    """A(k): the group of the new task and all groups of the reused tasks; `earlier[j]` is A(j)."""
    return sorted({task}.union(*(earlier[j] for j in reused)))


def n_new_tokens(values: params.T2S, similarity: Float[np.ndarray, "k"]) -> int:
    """n_k, the tokens that a new task adds to each Pattention (before the factors of the map).

    A task with a more similar earlier task adds fewer tokens.
    """
    span = values.new_tokens_max - values.new_tokens_min
    above = (float(similarity.max()) - values.reuse_threshold) / max(1 - values.reuse_threshold, 1e-6)
    return round(values.new_tokens_max - span * min(max(above, 0.0), 1.0))
