"""The token bank: grows, activates, freezes and loads one task's tokens in all Pattentions of a network."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor, nn

from t2s.model.pattention import Pattention


def is_token(name: str) -> bool:
    """Whether the tensor of this name in a network holds tokens."""
    return "_param_tokens." in name


class Bank:
    """All Pattentions of `network`. Ordinary maps and norms beside them learn with the first task alone."""

    def __init__(self, network: nn.Module) -> None:
        self.network = network
        self.maps = {n: m for n, m in network.named_modules() if isinstance(m, Pattention)}

    def grow(self, task: int, n_tokens: int, generator: torch.Generator, zero: bool) -> None:
        """Adds a group for `task` to every Pattention. `n_tokens` is the count before each map's own factors.

        With `zero`, the values are zero and the new group changes no output.

        Raises: ValueError when `task` already has a group.
        """
        for pattention in self.maps.values():
            pattention.add_group(str(task), n_tokens, generator, zero)

    def activate(self, tasks: Iterable[int]) -> None:
        """Activates the groups of these tasks and no others. Skips tasks without a group: they added no tokens."""
        names = [str(task) for task in tasks]
        for pattention in self.maps.values():
            pattention.active = [n for n in names if n in pattention.key_param_tokens]

    def train_only(self, task: int) -> list[nn.Parameter]:
        """Freezes everything except the group of `task`, and for the first task what is no token.

        Returns the parameters that are not frozen.
        """
        mine = self.group(task) | (self.others() if task == 0 else {})
        for name, parameter in self.network.named_parameters():
            parameter.requires_grad_(name in mine)
        return [p for p in self.network.parameters() if p.requires_grad]

    def group(self, task: int) -> dict[str, Tensor]:
        """The tensors of one task, keyed by their names in the network."""
        return {n: p for n, p in self.network.named_parameters() if n.rsplit(".", 1)[1] == str(task)}

    def others(self) -> dict[str, Tensor]:
        """The tensors that are no tokens: ordinary maps, norms and their statistics."""
        return {n: t for n, t in self.network.state_dict().items() if not is_token(n)}

    def load_group(self, task: int, tensors: Mapping[str, Tensor]) -> None:
        """Adds the group of `task` from the tensors of a checkpoint.

        Raises: ValueError when tokens of a Pattention are missing or have the wrong shape.
        """
        for name, pattention in self.maps.items():
            keys = tensors.get(f"{name}.key_param_tokens.{task}")
            values = tensors.get(f"{name}.value_param_tokens.{task}")
            if keys is None or values is None:
                raise ValueError(f"expected tokens of task {task} for '{name}'; have {sorted(tensors)[:4]}...")
            expected = (len(keys), pattention.d_in), (len(keys), pattention.d_out)
            if (tuple(keys.shape), tuple(values.shape)) != expected:
                got = (tuple(keys.shape), tuple(values.shape))
                raise ValueError(f"expected keys and values of shapes {expected} for '{name}', got {got}")
            pattention.key_param_tokens[str(task)] = nn.Parameter(keys)
            pattention.value_param_tokens[str(task)] = nn.Parameter(values)

    def n_tokens(self, tasks: Sequence[int]) -> int:
        """The number of tokens (key-value pairs) that these tasks hold in all Pattentions."""
        names = {str(task) for task in tasks}
        return sum(
            len(keys)
            for pattention in self.maps.values()
            for name, keys in pattention.key_param_tokens.items()
            if name in names
        )
