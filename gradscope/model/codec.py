"""Records as JSON values and back: `from_json(type(x), to_json(x)) == x` for every record.

A record is an object whose keys are its fields; fields that hold their default are left out. Enums are
their values, tuples are lists, a moment also says its `kind`. JSON has no NaN or infinity, so those
floats are the strings "NaN", "Infinity" and "-Infinity".
"""

from __future__ import annotations

import json
import types
from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields, is_dataclass
from enum import Enum
from typing import Any, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from .arguments import Given
from .arguments_json import given_from_json, given_to_json
from .json_values import decode_float, encode_float, shown
from .moments import MOMENT_TYPES, Moment
from .records import Json

_encode = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode
Record = TypeVar("Record")
Encoder = Callable[[Any], Json]
Decoder = Callable[[Any], Any]

MOMENTS: Mapping[str, type[Moment]] = {moment.kind: moment for moment in MOMENT_TYPES}


def to_json(record: Any) -> dict[str, Json]:
    """A record (a dataclass of `model.records`) as a JSON object."""
    return _codec_of(type(record)).encode(record)


def from_json(kind: type[Record], data: object) -> Record:
    """The record of type `kind` that `to_json` made `data` from.

    Raises ValueError, naming the field, for anything that is not such an object: nothing in `data` is
    trusted.
    """
    return cast(Record, _codec_of(kind).decode(data))


def moment_from_json(data: object) -> Moment:
    """The moment that `to_json` made `data` from. Raises ValueError for anything else."""
    kind = data.get("kind") if isinstance(data, dict) else None
    if not isinstance(kind, str) or kind not in MOMENTS:
        raise ValueError(f"no moment is of kind {kind!r}")
    return from_json(MOMENTS[kind], data)


def dumps(data: Json) -> str:
    """JSON text in one line; characters that UTF-8 cannot hold (from odd file names) are escaped."""
    text = _encode(data)
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return json.dumps(data, separators=(",", ":"), allow_nan=False)
    return text


def loads(text: object) -> Json:
    """The JSON value in `text`. Raises ValueError for anything else, however it is malformed."""
    if not isinstance(text, str):
        raise ValueError(f"expected JSON text, found {type(text).__name__}")
    try:
        return cast(Json, _decode(text))
    except RecursionError:
        raise ValueError("JSON nested too deep") from None


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


_decode = json.JSONDecoder(parse_constant=_no_constant).decode


# -- codecs, made once a type from its annotations -------------------------------------------------


def fields_of(kind: type[Any]) -> list[tuple[str, Any]]:
    """(name, default or MISSING) of each field of a record type."""
    if is_dataclass(kind):
        return [(item.name, item.default) for item in fields(kind)]
    if not _is_named_tuple(kind):
        raise TypeError(f"{kind.__name__} is not a record")
    return [(name, kind._field_defaults.get(name, MISSING)) for name in kind._fields]


def _is_named_tuple(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, tuple) and hasattr(kind, "_field_defaults")


class _RecordCodec:
    """How one record type is written and read."""

    def __init__(self, kind: type[Any]) -> None:
        hints = get_type_hints(kind)
        parts = [(name, _codec(hints[name]), default) for name, default in fields_of(kind)]
        self.kind = kind
        self.tag = kind.kind if kind in MOMENT_TYPES else None
        self.encoders = [(name, encode, default) for name, (encode, _), default in parts]
        self.decoders = {name: decode for name, (_, decode), _ in parts}
        self.needed = [name for name, _, default in parts if default is MISSING]

    def encode(self, record: Any) -> dict[str, Json]:
        data: dict[str, Json] = {} if self.tag is None else {"kind": self.tag}
        for name, encoder, default in self.encoders:
            value = getattr(record, name)
            if default is MISSING or value != default:
                data[name] = encoder(value) if encoder is not None else value
        return data

    def decode(self, data: Any) -> Any:
        if not isinstance(data, dict):
            raise ValueError(f"expected {self.kind.__name__}, found {shown(data)}")
        values: dict[str, Any] = {}
        for name, value in data.items():
            decoder = self.decoders.get(name)
            if decoder is not None:
                try:
                    values[name] = decoder(value)
                except ValueError as error:
                    raise ValueError(f"{self.kind.__name__}.{name}: {error}") from None
            elif name != "kind" or self.tag is None or value != self.tag:
                raise ValueError(f"{self.kind.__name__} has no field {shown(name)}")
        for name in self.needed:
            if name not in values:
                raise ValueError(f"{self.kind.__name__} lacks {name}")
        return self.kind(**values)


_codecs: dict[type[Any], _RecordCodec] = {}


def _codec_of(kind: type[Any]) -> _RecordCodec:
    found = _codecs.get(kind)
    if found is None:
        found = _codecs[kind] = _RecordCodec(kind)
    return found


def _codec(hint: Any) -> tuple[Encoder | None, Decoder]:
    """(encoder, decoder) of an annotation; no encoder where the value is JSON as it is."""
    if hint in (int, str, bool):
        return None, _exactly(hint)
    if hint is float:
        return encode_float, decode_float
    if hint is Given:
        return given_to_json, given_from_json
    origin = get_origin(hint)
    if origin in (Union, types.UnionType):
        return _optional(hint)
    if origin is tuple:
        return _tuple(get_args(hint))
    if isinstance(hint, type) and issubclass(hint, Enum):
        return (lambda member: cast(Json, member.value)), _enum(hint)
    if isinstance(hint, type) and (is_dataclass(hint) or _is_named_tuple(hint)):
        return to_json, lambda data: from_json(hint, data)
    raise TypeError(f"no JSON for {hint}")


def _exactly(kind: type) -> Decoder:
    def decode(data: Any) -> Any:
        if type(data) is not kind:
            raise ValueError(f"expected {kind.__name__}, found {shown(data)}")
        return data

    return decode


def _optional(hint: Any) -> tuple[Encoder | None, Decoder]:
    if hint == Moment:
        return to_json, moment_from_json
    choices = [choice for choice in get_args(hint) if choice is not type(None)]
    if len(choices) != 1:
        raise TypeError(f"no JSON for {hint}")
    encoder, decoder = _codec(choices[0])
    decode = lambda data: None if data is None else decoder(data)  # noqa: E731
    if encoder is None:
        return None, decode
    return (lambda value: None if value is None else encoder(value)), decode


def _enum(kind: type[Enum]) -> Decoder:
    members = {member.value: member for member in kind}

    def decode(data: Any) -> Enum:
        if not isinstance(data, str) or data not in members:
            raise ValueError(f"expected one of {', '.join(members)}, found {shown(data)}")
        return members[data]

    return decode


def _tuple(items: tuple[Any, ...]) -> tuple[Encoder, Decoder]:
    if len(items) == 2 and items[1] is Ellipsis:
        encoder, decoder = _codec(items[0])

        def decode_many(data: Any) -> tuple[Any, ...]:
            if not isinstance(data, list):
                raise ValueError(f"expected a list, found {shown(data)}")
            return tuple([decoder(item) for item in data])

        if encoder is None:
            return list, decode_many
        return (lambda values: [encoder(value) for value in values]), decode_many
    codecs = [_codec(item) for item in items]

    def encode(values: Any) -> Json:
        pairs = zip(codecs, values, strict=True)
        return [value if each[0] is None else each[0](value) for each, value in pairs]

    def decode(data: Any) -> tuple[Any, ...]:
        if not isinstance(data, list) or len(data) != len(codecs):
            raise ValueError(f"expected a list of {len(codecs)}, found {shown(data)}")
        return tuple([each[1](item) for each, item in zip(codecs, data, strict=True)])

    return encode, decode
