"""What a call was given: its arguments as small values, and references to tensors by their numbers.

All that is not small is cut by count, and says so: see `Start` and `More`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Union

from ..text import ELLIPSIS, elide

_WIDEST = 120  # columns of the text of all arguments


@dataclass(frozen=True, slots=True)
class Ref:
    """A tensor of the step, by its number."""

    tensor: int


@dataclass(frozen=True, slots=True)
class Named:
    """Something that has a name of its own. `kind`: dtype, device, constant.

    Of an object that is nothing of all this, kind `class`, only its class is known.
    """

    kind: str
    name: str


@dataclass(frozen=True, slots=True)
class Span:
    """A slice."""

    start: Value
    stop: Value
    step: Value


@dataclass(frozen=True, slots=True)
class Start:
    """The first characters of a text of `length` characters."""

    text: str
    length: int


@dataclass(frozen=True, slots=True)
class More:
    """What ends a tuple, or the arguments without a name, that has `more` of them."""

    more: int


Value = Union[None, bool, int, float, str, Ref, Named, Span, Start, More, tuple["Value", ...]]  # a list is a tuple


@dataclass(frozen=True, slots=True)
class Given:
    """The arguments of one call, as it was made: those without a name in order, and those with one."""

    positional: tuple[Value, ...] = ()
    named: tuple[tuple[str, Value], ...] = ()


def words(given: Given) -> str:
    """The arguments that are no tensors, as text: `0.5, training=True`. What holds tensors is shown as they are."""
    shown = [text for value in given.positional if (text := word(value))]
    shown += [f"{name}={text}" for name, value in given.named if (text := word(value))]
    return elide(", ".join(shown), _WIDEST)


def word(value: Value) -> str:
    """One value as text; "" for a tensor, what holds one, and an object of which only the class is known."""
    if isinstance(value, tuple):
        items = [word(item) for item in value]
        return f"({', '.join(items)})" if all(items) else ""
    if isinstance(value, Ref):
        return ""
    if isinstance(value, Named):
        return "" if value.kind == "class" else value.name
    if isinstance(value, Span):
        parts = ["" if part is None else word(part) or "?" for part in (value.start, value.stop, value.step)]
        return ":".join(parts if value.step is not None else parts[:2])
    if isinstance(value, Start):
        return f"{value.text!r}{ELLIPSIS}"
    return f"{ELLIPSIS} {value.more} more" if isinstance(value, More) else repr(value)


def is_tensors(value: Value) -> bool:
    """Whether a value is a tensor, or a tuple that begins with one."""
    return isinstance(value[0] if isinstance(value, tuple) and value else value, Ref)


def tensors(given: Given) -> Iterator[int]:
    """The tensors that the arguments name."""
    waiting = [*given.positional, *(value for _, value in given.named)]
    for value in waiting:
        if isinstance(value, Ref):
            yield value.tensor
        elif isinstance(value, tuple):
            waiting += value
        elif isinstance(value, Span):
            waiting += (value.start, value.stop, value.step)
