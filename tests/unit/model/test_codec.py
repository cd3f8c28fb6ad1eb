"""Records as JSON: what it looks like, and what is refused."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest

from gradscope.model.codec import (
    MOMENTS,
    decode_float,
    dumps,
    encode_float,
    from_json,
    loads,
    moment_from_json,
    to_json,
)
from gradscope.model.moments import MOMENT_TYPES, Mutation, OpCall, Template
from gradscope.model.records import Detail, Phase, Site, Stats, StepKind, StepRow, TraceInfo
from tests import builders


def test_a_moment_is_an_object_with_its_kind_and_without_defaults() -> None:
    op = OpCall(Phase.FORWARD, 3, "mul", (0, 1), (2,), grad_nodes=1)
    assert to_json(op) == {
        "kind": "op", "phase": "forward", "stack": 3, "name": "mul", "inputs": [0, 1], "outputs": [2], "grad_nodes": 1
    }  # fmt: skip
    assert from_json(OpCall, to_json(op)) == op
    assert moment_from_json(to_json(op)) == op


def test_every_kind_of_moment_has_a_name_of_its_own() -> None:
    assert set(MOMENTS.values()) == set(MOMENT_TYPES)
    assert len(MOMENTS) == len(MOMENT_TYPES)


def test_a_whole_template_survives_as_text() -> None:
    template = builders.mlp_trace().step(1).template
    assert from_json(Template, json.loads(dumps(to_json(template)))) == template


def test_floats_that_json_lacks_are_words() -> None:
    stats = Stats(1, math.nan, math.inf, -math.inf, 1.5, -0.0, 0, 1, 2)
    data = to_json(stats)
    assert (data["sum"], data["mean"], data["norm"], data["min"]) == ("NaN", "Infinity", "-Infinity", 1.5)
    assert repr(from_json(Stats, loads(dumps(data)))) == repr(stats)
    assert encode_float(2.5) == 2.5
    assert decode_float(2) == 2.0
    assert math.isnan(decode_float("NaN"))


def test_text_of_any_kind_is_json_that_utf_8_holds() -> None:
    for text in ("'\"<>&\n\0", "텐서 é", "\ud800 from a file name"):
        written = dumps(text)
        assert written.encode()
        assert loads(written) == text


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (None, "expected Site, found None"),
        ([], "expected Site, found list"),
        ({}, "Site lacks id"),
        ({"id": True}, "Site.id: expected int, found True"),
        ({"id": 1.0}, "Site.id: expected int, found 1.0"),
        ({"file": 3}, "Site.file: expected str, found 3"),
        ({"colour": 3}, "Site has no field 'colour'"),
        ({"kind": "site"}, "Site has no field 'kind'"),
        ({"file": "x" * 100, "line": "y" * 100}, "Site.line: expected int, found 'yyy"),
    ],
)
def test_what_is_no_record_is_refused_by_field(data: object, words: str) -> None:
    with pytest.raises(ValueError) as error:
        from_json(Site, data)
    assert str(error.value).startswith(words)
    assert len(str(error.value)) < 80


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "lunch"},
        {"detail": 4},
        {"learning_rates": [[0, 0]]},
        {"learning_rates": [[0, 0, "fast"]]},
        {"norms": [[0, None]]},
        {"norms": {"0": 1}},
        {"phases": [{"phase": "forward"}]},
        {"memory": [1]},
        {"open": 1},
        {"loss": [1.0]},
        {"loss": "nan"},
        {"loss": 10**400},
    ],
)
def test_nested_values_are_checked_too(change: dict[str, object]) -> None:
    row = StepRow(0, StepKind.TRAIN, Detail.FULL, 0, 0.0, 1.0)
    assert from_json(StepRow, to_json(row)) == row
    with pytest.raises(ValueError):
        from_json(StepRow, {**to_json(row), **change})


def test_a_moment_of_another_kind_is_refused() -> None:
    data = to_json(Mutation(Phase.OTHER, None, 0, 0, 1, "add_"))
    wrongs: list[object] = [{**data, "kind": "op"}, {**data, "kind": "x"}, {**data, "kind": 3}, {}, [], None]
    for wrong in wrongs:
        with pytest.raises(ValueError):
            moment_from_json(wrong)
    with pytest.raises(ValueError, match="has no field 'kind'"):
        from_json(Mutation, {**data, "kind": "op"})


@pytest.mark.parametrize("text", ["", "{", "NaN", "[Infinity]", "[" * 100_000, None, b"{}", 3])
def test_text_that_is_no_json_is_refused(text: object) -> None:
    with pytest.raises(ValueError):
        loads(text)


def test_what_is_no_record_has_no_json() -> None:
    with pytest.raises(TypeError, match="int is not a record"):
        to_json(3)


def test_info_keeps_the_word_that_differs() -> None:
    info = replace(builders.INFO, error="bad", faults=("a", "b"))
    assert from_json(TraceInfo, to_json(info)) == info
