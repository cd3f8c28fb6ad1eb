"""`Growth`: what a template has more than was told of it so far, while its step goes on."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeVar

from .moments import ModuleCall, Moment, Template
from .records import GradGraph, Tensor

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Growth:
    """Tensors (which know their numbers), moments and graphs with their places: new ones, and those that changed.

    `fresh`: what was told of a template of this id before is no part of it. `size`: how many tensors, moments and
    graphs it has now. `calls` are all of its module calls; None where what was told of them is near enough.
    """

    template: int
    fresh: bool
    size: tuple[int, int, int]
    tensors: tuple[Tensor, ...] = ()
    moments: tuple[tuple[int, Moment], ...] = ()
    graphs: tuple[tuple[int, GradGraph], ...] = ()
    version_bumps: tuple[tuple[int, int], ...] = ()
    calls: tuple[ModuleCall, ...] | None = None


def grown(known: Template | None, growth: Growth) -> Template:
    """The template as it is now."""
    before = Template(growth.template, (), (), ()) if known is None or growth.fresh else known
    return Template(
        growth.template,
        _with(before.tensors, ((one.number, one) for one in growth.tensors)),
        _with(before.moments, growth.moments),
        _with(before.graphs, growth.graphs),
        growth.version_bumps,
        before.calls if growth.calls is None else growth.calls,
    )


def _with(before: tuple[T, ...], told: Iterable[tuple[int, T]]) -> tuple[T, ...]:
    items = dict(enumerate(before))
    items.update(told)
    return tuple([items[place] for place in sorted(items)])
