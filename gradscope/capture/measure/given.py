"""What a call was given, as a value that equals another call's exactly where the arguments do, and keeps none alive.

Nothing of the script's runs: an object whose class is not torch's or Python's own is only named by it. Python calls 1,
True and 1.0 equal, so all but whole numbers, texts and None are tuples that begin with what they are:

| begins with | what follows |
|---|---|
| TENSOR | its place among the tensors of the call |
| TUPLE | the items of a tuple or a list |
| FLOAT, BOOL | the number; NaN and zero as text, which has their sign and equals itself |
| NAMED | kind and name, as `model.arguments.Named` has them |
| SLICE | start, stop, step |
| START | the first characters of a text, and how many it has |
| MORE | how many items, or arguments, are not told |
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import torch

from .askable import PLAIN
from .tensor_facts import device_name, dtype_name

TENSOR, TUPLE, FLOAT, BOOL = "tensor", "tuple", "float", "bool"
NAMED, SLICE, START, MORE = "named", "slice", "start", "more"
MOST_ARGUMENTS = 32
MOST_ITEMS = (16, 8)  # of a tuple, of a tuple in it; deeper ones are only named
MOST_CHARACTERS = 40
MOST_KNOWN = 4096
_LARGEST = 1 << 63
_FALSE, _TRUE = (BOOL, False), (BOOL, True)
_CONSTANTS = (torch.layout, torch.memory_format)
_new_tuple = tuple.__new__  # a named tuple's own constructor is a Python call
_name_of = type.__dict__["__name__"].__get__  # whatever its metaclass says


class RawGiven(NamedTuple):
    """The arguments of one call."""

    positional: tuple[Any, ...]
    named: tuple[tuple[str, Any], ...]


_KNOWN: dict[RawGiven, RawGiven] = {}  # most calls are given what others were


def read_given(args: Sequence[Any], kwargs: Mapping[str, Any], tensors: Iterable[torch.Tensor]) -> RawGiven:
    """The arguments of a call; `tensors` are those among them, however deep they lie."""
    places = [*map(id, tensors)]
    positional = [
        (TENSOR, places.index(id(value))) if type(value) in PLAIN else _read(value, places, 0)
        for value in args[:MOST_ARGUMENTS]
    ]
    if len(args) > MOST_ARGUMENTS:
        positional.append((MORE, len(args) - MOST_ARGUMENTS))
    named = [
        (name if type(name) is str else str.__str__(name), _read(value, places, 0)) for name, value in kwargs.items()
    ]
    given: RawGiven = _new_tuple(RawGiven, (tuple(positional), tuple(named)))
    known = _KNOWN.get(given)
    if known is None:
        if len(_KNOWN) >= MOST_KNOWN:
            _KNOWN.clear()
        known = _KNOWN[given] = given
    return known


def _read(value: Any, places: list[int], depth: int) -> Any:
    if value is None:
        return None
    kind = type(value)
    if kind in PLAIN:
        return _tensor(value, places)
    if kind is int:
        return value if -_LARGEST <= value < _LARGEST else (NAMED, "class", "int")
    if kind is bool:
        return _TRUE if value else _FALSE
    if kind is float:
        return FLOAT, value if value and value == value else repr(value)
    if issubclass(kind, str):
        text = value if kind is str else str.__str__(value)
        return text if len(text) <= MOST_CHARACTERS else (START, text[:MOST_CHARACTERS], len(text))
    if issubclass(kind, (tuple, list)):
        return _items(value, places, depth)
    return _tensor(value, places) if issubclass(kind, torch.Tensor) else _other(value, kind, places, depth)


def _tensor(tensor: torch.Tensor, places: list[int]) -> Any:
    try:
        return TENSOR, places.index(id(tensor))
    except ValueError:  # where nobody looks for tensors, as in a slice
        return NAMED, "class", "Tensor"


def _items(value: Any, places: list[int], depth: int) -> Any:
    kind: Any = list if issubclass(type(value), list) else tuple
    if depth == len(MOST_ITEMS):
        return NAMED, "class", kind.__name__
    most, count = MOST_ITEMS[depth], kind.__len__(value)
    read = [_read(item, places, depth + 1) for item in kind.__getitem__(value, slice(most))]
    return (TUPLE, *read) if count <= most else (TUPLE, *read, (MORE, count - most))


def _other(value: Any, kind: type, places: list[int], depth: int) -> Any:
    if kind is slice:
        return (SLICE, *[_read(part, places, depth) for part in (value.start, value.stop, value.step)])
    if value is Ellipsis:
        return NAMED, "constant", "..."
    if kind is torch.dtype:
        return NAMED, "dtype", dtype_name(value)
    if kind is torch.device:
        return NAMED, "device", device_name(value)
    if issubclass(kind, _CONSTANTS):
        return NAMED, "constant", str(value).removeprefix("torch.")
    return NAMED, "class", _name_of(kind)
