"""What an op was given besides tensors."""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple

from ...model.arguments import More, Named, Span, Start, Value, is_tensors, word
from ...model.moments import OpCall

_LONGEST = 120  # characters that an older trace keeps: the last argument of a text of this length may be cut
# Commas in strings and in tuples part nothing.
_ONE = re.compile(r"""(?:'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*"|\([^()]*\)|[^,])+""")
_NAMED = re.compile(r"(\w+)=(.*)", re.DOTALL)
_NOT_LITERAL = {"inf": math.inf, "-inf": -math.inf, "nan": math.nan}


class Arguments(NamedTuple):
    """An op's arguments, without its tensors: those keep their order, and no place.

    Statistics are Python's own; a dtype, a device or a slice is its text.
    """

    positional: tuple[object, ...]
    named: Mapping[str, object]

    def get(self, name: str, position: int) -> object:
        """The argument of a name, or at a position where it was given without it; None where it was not told."""
        at = self.positional[position] if position < len(self.positional) else None
        return self.named.get(name, at)

    def number(self, name: str, position: int) -> float | None:
        """The same, if it is a number."""
        value = self.get(name, position)
        return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None

    @property
    def infinite(self) -> bool:
        """Whether Inf is among them."""
        return any(isinstance(one, float) and math.isinf(one) for one in (*self.positional, *self.named.values()))


def arguments(op: OpCall) -> Arguments:
    """The arguments of an op that are no tensors."""
    if op.given is None:
        return _read(op.arguments)
    return Arguments(
        tuple([_plain(value) for value in op.given.positional if not (is_tensors(value) or isinstance(value, More))]),
        {name: _plain(value) for name, value in op.given.named if not is_tensors(value)},
    )


def were_recorded(op: OpCall) -> bool:
    """Whether the trace has the op's arguments. An older one that has none may tell of a call without any."""
    return op.given is not None or bool(op.arguments)


def _plain(value: Value) -> object:
    """The value as Python's own, as far as it is."""
    if isinstance(value, tuple):
        return tuple([_plain(item) for item in value])
    if isinstance(value, Named):
        return value.name
    if isinstance(value, Start):
        return value.text
    return word(value) if isinstance(value, Span) else value


# -- older traces, which have a text -----------------------------------------------------------------


@lru_cache(maxsize=1024)
def _read(text: str) -> Arguments:
    parts = [part.strip() for part in _ONE.findall(text)]
    positional: list[object] = []
    named: dict[str, object] = {}
    for part in parts[:-1] if len(text) >= _LONGEST else parts:
        pair = _NAMED.fullmatch(part)
        if pair is not None:
            named[pair[1]] = _value(pair[2])
        elif part:
            positional.append(_value(part))
    return Arguments(tuple(positional), named)


def _value(text: str) -> object:
    if text in _NOT_LITERAL:
        return _NOT_LITERAL[text]
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text
