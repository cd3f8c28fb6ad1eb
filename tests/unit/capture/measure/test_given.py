"""What is read of a call's arguments: small values and references, by count, and nothing of the script's runs."""

from __future__ import annotations

import gc
import math
import weakref
from pathlib import Path
from typing import Any

import pytest
import torch

from gradscope.capture.emit.given_records import given_of
from gradscope.capture.measure.given import read_given
from gradscope.capture.measure.tensor_facts import tensors_in
from gradscope.model.arguments import Given, More, Named, Ref, Span, Start, Value, words
from gradscope.model.moments import OpCall
from tests.capturing import record_text


def read(*args: Any, **kwargs: Any) -> Given:
    """The arguments, with tensors numbered from 10 on."""
    tensors = tensors_in((*args, *kwargs.values()))
    return given_of(read_given(args, kwargs, tensors), range(10, 10 + len(tensors)))


ONE, TWO = torch.ones(1), torch.nn.Parameter(torch.ones(2))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        (True, True),
        (3, 3),
        (-0.5, -0.5),
        ("mean", "mean"),
        ("x" * 41, Start("x" * 40, 41)),
        (1 << 80, Named("class", "int")),
        (2j, Named("class", "complex")),
        (torch.float16, Named("dtype", "float16")),
        (torch.device("cuda:1"), Named("device", "cuda:1")),
        (torch.channels_last, Named("constant", "channels_last")),
        (torch.strided, Named("constant", "strided")),
        (..., Named("constant", "...")),
        (slice(1, None), Span(1, None, None)),
        (slice(None, ONE), Span(None, Named("class", "Tensor"), None)),
        (ONE, Ref(10)),
        ([ONE, TWO], (Ref(10), Ref(11))),
        ((ONE, slice(None), 0), (Ref(10), Span(None, None, None), 0)),
        (torch.Size([2, 3]), (2, 3)),
        (list(range(20)), (*range(16), More(4))),
        ([[1, [2]]], ((1, Named("class", "list")),)),
        ([list(range(10))], ((*range(8), More(2)),)),
        ({"a": ONE}, Named("class", "dict")),
    ],
)
def test_a_value(value: Any, expected: Value) -> None:
    (positional,) = read(value).positional
    assert (type(positional), positional) == (type(expected), expected)
    assert read(given=value) == Given((), (("given", expected),))


def test_nothing_of_the_scripts_runs() -> None:
    def refuse(*_: object) -> Any:
        raise AssertionError

    asked = ["__repr__", "__str__", "__eq__", "__len__", "__getitem__", "__iter__", "__bool__", "__getattribute__"]
    namespace = dict.fromkeys(asked, refuse) | {"__hash__": None, "__class__": property(refuse)}
    kind = type("Kind", (type,), {"__name__": property(refuse), "__eq__": refuse, "__hash__": type.__hash__})
    text, items, thing = (kind("Thing", (base,), dict(namespace)) for base in (str, list, object))
    raw = read_given((text("sum"), items([1, 2]), thing()), {"other": thing()}, ())
    assert given_of(raw, ()) == Given(("sum", (1, 2), Named("class", "Thing")), (("other", Named("class", "Thing")),))


def test_places_are_those_of_the_call() -> None:
    given = read([ONE, TWO], 1, other=TWO, out=None)
    assert given == Given(((Ref(10), Ref(11)), 1), (("other", Ref(11)), ("out", None)))


def test_many_arguments_are_cut_by_count() -> None:
    assert read(*range(40)).positional == (*range(32), More(8))


def test_arguments_are_equal_exactly_where_they_are_the_same() -> None:
    """Steps are equal where what is read of their calls is: Python calls 1, True and 1.0 equal, and no NaN so."""
    values: list[Any] = [0, 1, 0.0, -0.0, 1.0, False, True, None, "1", "", (), (1,), (True,), math.inf, "inf", "float"]
    values += [ONE, (ONE,), torch.float32, "float32", slice(1), slice(True), ("bool", True), math.nan]
    read_so = [read_given((value,), {}, tensors_in((value,))) for value in values]
    again = [read_given((value,), {}, tensors_in((value,))) for value in values]
    assert again == read_so
    assert len(set(read_so)) == len(values)
    assert read_given((float("nan"),), {}, ()) == read_given((float("nan"),), {}, ())


def test_numbers_come_back_as_they_were() -> None:
    given = read(0.0, -0.0, math.nan, -math.inf, 0.1)
    assert repr(given.positional) == "(0.0, -0.0, nan, -inf, 0.1)"


def test_no_argument_lives_longer_for_it() -> None:
    class Thing:
        pass

    tensor, thing, items = torch.ones(3), Thing(), {Thing(): 1}
    dead = [weakref.ref(one) for one in (tensor, thing, next(iter(items)))]
    given = read_given((tensor, [tensor, thing], items), {"out": thing}, [tensor, tensor])
    del tensor, thing, items
    gc.collect()
    assert [one() for one in dead] == [None] * 3
    assert given.positional[0] == ("tensor", 0)


def test_a_recorded_call_has_its_arguments_and_their_words(tmp_path: Path) -> None:
    recorded = record_text(
        tmp_path,
        """import torch
x, w = torch.ones(2, 3), torch.ones(3, requires_grad=True)
y = torch.nn.functional.linear(x, w[None], bias=None)
z = torch.cat([y, y * 2], dim=1)
z.sum().backward()
torch.nn.utils.clip_grad_norm_([w], 1.0)
""",
    )
    assert recorded.error is None
    assert recorded.faults == ()
    step = recorded.trace.step(0)
    calls = {moment.name: moment for moment in step.moments if isinstance(moment, OpCall)}
    cat, clip = calls["cat"], calls["clip_grad_norm_"]
    assert cat.given == Given((tuple(map(Ref, cat.inputs)),), (("dim", 1),))
    assert (cat.arguments, clip.arguments) == ("dim=1", "1.0")
    assert clip.given == Given(((Ref(recorded.tensor("w").number),), 1.0))
    assert all(call.given is None or call.arguments == words(call.given) for call in calls.values())


def test_arguments_are_recorded_at_full_alone(tmp_path: Path) -> None:
    recorded = record_text(tmp_path, "import torch\ntorch.ones(3).sum(dim=0)\n", detail="graph")
    calls = [moment for moment in recorded.trace.step(0).moments if isinstance(moment, OpCall)]
    assert [(call.given, call.arguments) for call in calls] == [(None, "")] * 2
