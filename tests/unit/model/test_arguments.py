"""Arguments as text and as JSON."""

from __future__ import annotations

import math
from typing import Any

import pytest

from gradscope.model.arguments import Given, More, Named, Ref, Span, Start, Value, is_tensors, tensors, words
from gradscope.model.arguments_json import given_from_json, given_to_json
from gradscope.model.codec import dumps, loads


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (Given(), ""),
        (Given((Ref(3), 2)), "2"),
        (Given((Ref(3),), (("dim", 1), ("keepdim", True), ("out", None))), "dim=1, keepdim=True, out=None"),
        (Given(((Ref(1), Ref(2)), 0), (("out", Ref(3)),)), "0"),
        (Given(((Ref(1), 0),)), ""),  # an index with a tensor in it
        (Given(("nc,ck->nk", -0.0, math.inf, math.nan)), "'nc,ck->nk', -0.0, inf, nan"),
        (Given(((2, 3), (), (1,), ((1, 2), (3,)))), "(2, 3), (), (1), ((1, 2), (3))"),
        (
            Given((Named("dtype", "float32"), Named("device", "cuda:0"), Named("constant", "..."))),
            "float32, cuda:0, ...",
        ),
        (Given((Named("class", "Generator"), 1), (("generator", Named("class", "Generator")),)), "1"),
        (Given((Span(0, 5, None), Span(None, None, None), Span(None, None, -1))), "0:5, :, ::-1"),
        (Given((Span(Ref(3), Named("class", "int"), None),)), "?:?"),
        (Given((Start("abc", 80), (1, 2, More(98)), More(4))), "'abc'…, (1, 2, … 98 more), … 4 more"),
        (Given((1,) * 60), ("1, " * 60)[:119] + "…"),
    ],
)
def test_words(given: Given, text: str) -> None:
    assert words(given) == text


def test_the_tensors_of_a_call() -> None:
    given = Given((Ref(1), (Ref(2), 0, (Ref(3),)), Span(Ref(4), None, Ref(5))), (("out", Ref(6)), ("dim", 7)))
    assert sorted(tensors(given)) == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize(
    ("value", "are"),
    [(Ref(1), True), ((Ref(1), Ref(2), More(9)), True), ((Ref(1), None), True), ((0, Ref(1)), False), ((), False)],
)
def test_what_is_nothing_but_tensors(value: Value, are: bool) -> None:
    assert is_tensors(value) is are


def test_json_is_plain() -> None:
    given = Given((Ref(3), 0.5, (1, More(2)), Span(0, None, None)), (("p", math.inf), ("mode", Named("dtype", "int8"))))
    assert given_to_json(given) == {
        "positional": [{"tensor": 3}, 0.5, [1, {"more": 2}], {"start": 0, "stop": None, "step": None}],
        "named": [["p", {"float": "Infinity"}], ["mode", {"kind": "dtype", "name": "int8"}]],
    }
    assert given_from_json(loads(dumps(given_to_json(given)))) == given
    assert given_to_json(Given()) == {}
    assert given_from_json({}) == Given()


@pytest.mark.parametrize(
    "data",
    [
        None,
        [],
        {"positional": 3},
        {"named": {}},
        {"named": [["a"]]},
        {"named": [[1, 2]]},
        {"more": []},
        {"positional": [{}]},
        {"positional": [{"tensor": "1"}]},
        {"positional": [{"kind": "dtype"}]},
        {"positional": [{"float": "1e5"}]},
        {"positional": [loads("[" * 50 + "]" * 50)]},
    ],
)
def test_what_is_no_arguments_is_refused(data: Any) -> None:
    with pytest.raises(ValueError, match=r"^expected |nested|lists|number"):
        given_from_json(data)
