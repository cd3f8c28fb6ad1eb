"""Arguments as JSON values and back. Reading trusts nothing: it raises ValueError.

A value is itself where JSON has it, a tuple a list, all else an object, whose keys are the fields of its class:
`{"tensor": 3}`, `{"kind": "dtype", "name": "float16"}`. A float that JSON has not is `{"float": "NaN"}`.
"""

from __future__ import annotations

from typing import Any

from .arguments import Given, More, Named, Ref, Span, Start, Value
from .json_values import decode_float, encode_float, shown
from .records import Json

_DEEPEST = 8  # tuples and slices in each other


def given_to_json(given: Given) -> Json:
    """All arguments of a call. A part without any is left out."""
    data: dict[str, Json] = {}
    if given.positional:
        data["positional"] = [_to_json(value) for value in given.positional]
    if given.named:
        data["named"] = [[name, _to_json(value)] for name, value in given.named]
    return data


def given_from_json(data: object) -> Given:
    """The arguments that `given_to_json` made `data` from."""
    if not isinstance(data, dict) or not data.keys() <= {"positional", "named"}:
        raise ValueError(f"expected arguments, found {shown(data)}")
    positional, named = data.get("positional", []), data.get("named", [])
    if not isinstance(positional, list) or not isinstance(named, list):
        raise ValueError("arguments are no lists")
    pairs = []
    for pair in named:
        if not isinstance(pair, list) or len(pair) != 2 or not isinstance(pair[0], str):
            raise ValueError(f"expected a name and a value, found {shown(pair)}")
        pairs.append((pair[0], _from_json(pair[1], 0)))
    return Given(tuple([_from_json(value, 0) for value in positional]), tuple(pairs))


def _to_json(value: Value) -> Json:
    if isinstance(value, tuple):
        return [_to_json(item) for item in value]
    if isinstance(value, float):
        number = encode_float(value)
        return number if isinstance(number, float) else {"float": number}
    if isinstance(value, Span):
        return {"start": _to_json(value.start), "stop": _to_json(value.stop), "step": _to_json(value.step)}
    if isinstance(value, Ref):
        return {"tensor": value.tensor}
    if isinstance(value, Named):
        return {"kind": value.kind, "name": value.name}
    if isinstance(value, Start):
        return {"text": value.text, "length": value.length}
    return {"more": value.more} if isinstance(value, More) else value


def _from_json(data: Any, depth: int) -> Value:
    if data is None or isinstance(data, (bool, int, float, str)):
        return data
    if depth >= _DEEPEST:
        raise ValueError("arguments nested too deep")
    if isinstance(data, list):
        return tuple([_from_json(item, depth + 1) for item in data])
    return _object(data, depth)


def _object(data: Any, depth: int) -> Value:
    match data:
        case {"tensor": int(tensor)}:
            return Ref(tensor)
        case {"kind": str(kind), "name": str(name)}:
            return Named(kind, name)
        case {"start": start, "stop": stop, "step": step}:
            return Span(*(_from_json(part, depth + 1) for part in (start, stop, step)))
        case {"text": str(text), "length": int(length)}:
            return Start(text, length)
        case {"more": int(more)}:
            return More(more)
        case {"float": str(number)}:
            return decode_float(number)
    raise ValueError(f"expected an argument, found {shown(data)}")
