"""What a task adds, as shares of what was there: tokens, parameters and stored bytes of every task after the first."""

from __future__ import annotations

import json
from typing import Any, Final

import numpy as np
import pandas as pd
from jaxtyping import Float

from t2s import params

SHARES: Final = {
    "new_token_share": ("New tokens", "new tokens / tokens of the first task"),
    "new_token_share_active": ("... of what acts", "new tokens / tokens that act on the task, with the new ones"),
    "new_token_share_bank": ("... of the bank", "new tokens / tokens in the bank after the task"),
    "new_parameter_share": ("Trained parameters", "new or trained parameters / parameters after the first task"),
    "new_parameter_share_active": ("... of what acts", "new parameters / parameters that act on the task"),
    "new_parameter_share_total": ("... of all", "new or trained parameters / parameters after the task"),
    "stored_byte_share": (
        "Stored bytes",
        "bytes that the task leaves behind, replay memory included / bytes of the first checkpoint",
    ),
}
"""Title and formula of every share. The first of tokens and of parameters, the strictest, are the headline's."""


def add(learned: pd.DataFrame, memory: dict[str, int]) -> pd.DataFrame:
    """`learned`, one row per task, with a column for every share; NaN where a method has no tokens.

    `memory`: bytes of demonstrations that a method keeps of every task, by method.
    """
    chains = learned.groupby(["suite", "method", "seed"], sort=False)
    return pd.concat([_of_chain(rows.sort_values("task"), memory) for _, rows in chains], ignore_index=True)


def of_tasks(tasks: pd.DataFrame, n_seeds: int) -> dict[str, Float[np.ndarray, "s n"]]:
    """Every share of each seed and task after the first; a share without a value for some task is left out."""
    later = tasks[tasks.task > 0].sort_values(["seed", "task"])
    found = {name: later[name].to_numpy(dtype=float, na_value=np.nan) for name in SHARES}
    return {n: v.reshape(n_seeds, -1) for n, v in found.items() if len(v) and not np.isnan(v).any()}


def memory_bytes(method: params.Section, env: params.Env) -> int:
    """Bytes of the demonstrations that a method keeps of one task for replay; 0 for a method without a memory.

    A kept window is two images, nine joint and finger positions, and one action; the rest of its chunk is that of the
    windows after it.
    """
    if not isinstance(method, params.ER):
        return 0
    return method.n_memories * (2 * 3 * env.image_size**2 + 4 * (7 + 2 + 7))


def _of_chain(rows: pd.DataFrame, memory: dict[str, int]) -> pd.DataFrame:
    first, method = rows.iloc[0], rows.method.iloc[0]
    tokens, parameters = rows.n_tokens_new.astype(float), rows.n_parameters_new.astype(float)
    acting = [[*json.loads(active), task] for active, task in zip(rows.active, rows.task, strict=True)]
    grows = bool(tokens.notna().all())
    shares: dict[str, Any] = {
        "new_token_share": tokens / float(first.n_tokens_bank or np.nan),
        "new_token_share_active": _of_acting(tokens, acting),
        "new_token_share_bank": tokens / rows.n_tokens_bank.astype(float),
        "new_parameter_share": parameters / float(first.n_parameters_total),
        "new_parameter_share_active": _of_acting(parameters, acting) if grows else np.nan,
        "new_parameter_share_total": parameters / rows.n_parameters_total.astype(float),
        "stored_byte_share": (rows.delta_bytes + memory.get(method, 0)) / float(first.base_bytes),
    }
    return rows.assign(**shares)


def _of_acting(new: pd.Series[float], acting: list[list[int]]) -> Float[np.ndarray, "n"]:
    values = new.to_numpy(float)
    return values / np.array([values[sorted(set(tasks))].sum() for tasks in acting])
