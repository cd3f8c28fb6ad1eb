"""What is compared of a step whose ops are not watched, at each station that it passes."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import itemgetter, sub
from typing import Any

import torch
from torch import nn

from ..hiding.torch_private import GLOBAL_HOOKS, HOOKS
from ..measure.askable import is_plain
from ..measure.tensor_facts import version_of
from .graph_facts import tensor_facts

Facts = tuple[Any, ...]
_PLAIN = frozenset({bool, int, str, type(None)})
_hooks = itemgetter(*HOOKS)


class Tree:
    """A root module with all in it, looked at anew at each of its calls."""

    __slots__ = ("_buffers", "_generation", "_modules", "depth", "with_buffers")

    def __init__(self, root: nn.Module, generation: int) -> None:
        self._generation = generation
        named = list(root.named_modules())
        self._modules = [weakref.ref(module) for _, module in named]
        self._buffers = [weakref.ref(buffer) for buffer in root.buffers()]
        self.with_buffers = bool(self._buffers)
        self.depth = 1 + max(path.count(".") + bool(path) for path, _ in named)  # how deep its calls can go

    def of(self, generation: int) -> bool:
        """Whether modules were registered since it was made."""
        return generation == self._generation

    def state(self) -> Facts:
        """Which of its modules train, and how many hooks each has."""
        found: list[object] = [len(hooks) for hooks in GLOBAL_HOOKS if hooks]
        for reference in self._modules:
            module = reference()
            if module is None:
                found.append(None)
                continue
            own = module.__dict__
            found.append(own.get("training"))
            try:
                if not (any(_hooks(own)) or "forward" in own):
                    continue
            except KeyError:
                pass  # an odd one, without some of the attributes
            for name in HOOKS:
                hooks = own.get(name)
                if hooks:
                    found += (name, len(hooks))
            if "forward" in own:
                found.append("forward")
        return tuple(found)

    def versions(self) -> list[int | None]:
        """The version counters of its buffers."""
        return versions_of_living(self._buffers)


def versions_of_living(references: Iterable[Callable[[], torch.Tensor | None]]) -> list[int | None]:
    """The version counters of tensors; None for those that are gone or have none."""
    found: list[int | None] = []
    for reference in references:
        tensor = reference()
        found.append(None if tensor is None else version_of(tensor))
    return found


def versions_rose(before: Sequence[int | None], after: Sequence[int | None]) -> Facts:
    """How far version counters rose."""
    if None not in before and None not in after:
        return tuple(map(sub, after, before))
    return tuple([None if old is None or new is None else new - old for old, new in zip(before, after)])


def arguments_facts(args: Sequence[Any], kwargs: Mapping[str, Any]) -> Facts:
    """The tensors among a call's arguments, and in containers right inside them."""
    found: list[object] = []
    for value in (*args, *kwargs.values()) if kwargs else args:
        if isinstance(value, torch.Tensor):
            found.append(tensor_facts(value))
        elif isinstance(value, (tuple, list)):
            found.append([tensor_facts(one) for one in value if isinstance(one, torch.Tensor)])
        elif isinstance(value, Mapping):
            found.append([tensor_facts(one) for one in value.values() if isinstance(one, torch.Tensor)])
        else:
            found.append(type(value))
    return tuple(found) if not kwargs else (*found, *kwargs)


class Results:
    """What roots gave the script since the last backward; no result lives longer for it."""

    __slots__ = ("_references",)

    def __init__(self) -> None:
        self._references: list[weakref.ref[torch.Tensor]] = []

    def add(self, result: torch.Tensor) -> None:
        """A root returned it."""
        self._references.append(weakref.ref(result))

    def forget(self) -> None:
        """A step is over."""
        self._references = []

    def state(self) -> Facts:
        """Which of them keep their gradient, and how many hooks each has; then they are forgotten."""
        found: list[object] = []
        for reference in self._references:
            tensor = reference()
            if tensor is None or not is_plain(tensor) or not tensor.requires_grad:
                found.append(None)
            else:
                hooks = tensor._backward_hooks
                found.append((tensor.retains_grad, len(hooks) if hooks else 0))
        self._references = []
        return tuple(found)


def groups_facts(groups: Sequence[Mapping[str, Any]]) -> Facts:
    """The groups of an optimizer: how many parameters, and the settings that are no amounts."""
    return tuple(
        [(len(group["params"]), [value for name, value in group.items() if type(value) in _PLAIN]) for group in groups]
    )
