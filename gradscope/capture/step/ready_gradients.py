"""The gradients that the last backward left in leaves: an update may come to use them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from .entry import Entry


class ReadyGradients:
    """`leaves` are the entries of those that the last backward accumulated into."""

    def __init__(self, measure: Callable[[tuple[int, ...], list[torch.Tensor]], None]) -> None:
        self._measure = measure
        self.leaves: Sequence[Entry] = ()

    def wait(self) -> bool:
        """Whether they live in what outlasts steps, so that an update may come to use them."""
        leaves = [(entry.parameter, entry()) for entry in self.leaves]
        return any(known is not None and leaf is not None and leaf.grad is not None for known, leaf in leaves)

    def measure(self) -> None:
        """Norms of the parameters among the leaves that still live, and of their gradients."""
        numbers: list[int] = []
        tensors: list[torch.Tensor] = []
        for entry in self.leaves:
            tensor = entry()
            if tensor is not None and entry.parameter is not None:
                numbers.append(entry.parameter)
                tensors.append(tensor)
        if tensors:
            self._measure(tuple(numbers), tensors)
