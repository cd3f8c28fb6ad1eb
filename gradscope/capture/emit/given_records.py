"""Arguments as capture reads them into the trace's: see `measure.given` and `model.arguments`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ...model.arguments import Given, More, Named, Ref, Span, Start, Value
from ..measure.given import BOOL, FLOAT, MORE, NAMED, SLICE, START, TENSOR, TUPLE, RawGiven


def given_of(raw: RawGiven, inputs: Sequence[int]) -> Given:
    """The arguments of a call whose tensors have these numbers."""
    return Given(
        tuple([_value(value, inputs) for value in raw.positional]),
        tuple([(name, _value(value, inputs)) for name, value in raw.named]),
    )


def _value(raw: Any, inputs: Sequence[int]) -> Value:
    if not isinstance(raw, tuple):
        return raw  # type: ignore[no-any-return]
    begins, *rest = raw
    if begins == TENSOR:
        return Ref(inputs[rest[0]])
    parts = [_value(part, inputs) for part in rest]
    return tuple(parts) if begins == TUPLE else _MAKERS[begins](*parts)


_MAKERS: dict[str, Callable[..., Value]] = {
    FLOAT: float,
    BOOL: bool,
    NAMED: Named,
    SLICE: Span,
    START: Start,
    MORE: More,
}
