"""Any record, made from its own annotations: every field takes whatever its type allows."""

from __future__ import annotations

import types
from dataclasses import fields, is_dataclass, replace
from enum import Enum
from functools import cache
from typing import Any, Union, get_args, get_origin, get_type_hints

from hypothesis import strategies as st

from gradscope.model.arguments import Given, More, Named, Ref, Span, Start, Value, words
from gradscope.model.findings import Place
from gradscope.model.moments import MOMENT_TYPES, Moment, OpCall, Template
from gradscope.model.records import (
    GradGraph,
    Module,
    Optimizer,
    Parameter,
    Sample,
    Site,
    Stack,
    Stats,
    StepRow,
    Tensor,
    TraceInfo,
)

# What a file must hold: 64-bit numbers, any text (lone surrogates come from odd file names), any float.
WHOLE = st.integers(-(2**63), 2**63 - 1)
TEXT = st.text(st.characters(codec=None) | st.sampled_from("\0\n'\"<&\ud800\udfff"), max_size=8)
FLOAT = st.floats(allow_subnormal=True)


def records(kind: Any) -> st.SearchStrategy[Any]:
    """Any record of one type."""
    return _any(kind)


@cache
def _any(hint: Any) -> st.SearchStrategy[Any]:
    if hint in _SIMPLE:
        return _SIMPLE[hint]
    if hint == Moment:
        return st.one_of([records(kind) for kind in MOMENT_TYPES])
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return st.one_of([st.none() if choice is type(None) else _any(choice) for choice in arguments])
    if origin is tuple and len(arguments) == 2 and arguments[1] is Ellipsis:
        return st.lists(_any(arguments[0]), max_size=3).map(tuple)
    if origin is tuple:
        return st.tuples(*[_any(argument) for argument in arguments])
    if isinstance(hint, type) and issubclass(hint, Enum):
        return st.sampled_from(hint)
    names = [item.name for item in fields(hint)] if is_dataclass(hint) else hint._fields
    hints = get_type_hints(hint)
    made = st.builds(hint, **{name: _any(hints[name]) for name in names})  # type: ignore[arg-type]
    return made.map(_worded) if hint is OpCall else made


def _worded(op: OpCall) -> OpCall:
    """The call with the words of its arguments, as every call has them."""
    return op if op.given is None else replace(op, arguments=words(op.given))


_ATOM = st.none() | st.booleans() | WHOLE | FLOAT | TEXT
_OBJECT = st.builds(Ref, WHOLE) | st.builds(Named, TEXT, TEXT) | st.builds(Start, TEXT, WHOLE) | st.builds(More, WHOLE)
VALUE: st.SearchStrategy[Value] = st.recursive(
    _ATOM | _OBJECT,
    lambda inner: st.lists(inner, max_size=3).map(tuple) | st.builds(Span, inner, inner, inner),
    max_leaves=4,
)
VALUES, NAMED = st.lists(VALUE, max_size=3), st.lists(st.tuples(TEXT, VALUE), max_size=2)
GIVEN = st.builds(Given, VALUES.map(tuple), NAMED.map(tuple))
_SIMPLE: dict[Any, st.SearchStrategy[Any]] = {
    int: WHOLE,
    str: TEXT,
    float: FLOAT,
    bool: st.booleans(),
    Given: GIVEN,
}

ANY_RECORD = st.sampled_from(
    [Site, Stack, Module, Parameter, Optimizer, Tensor, GradGraph, Template, Stats, Sample, StepRow, TraceInfo, Place]
).flatmap(records) | records(Moment)
