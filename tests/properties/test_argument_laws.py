"""What is read of a call's arguments: the text that traces had of small ones, and the same again from a file."""

from __future__ import annotations

from typing import Any

import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from gradscope.capture.emit.given_records import given_of
from gradscope.capture.measure.given import read_given
from gradscope.capture.measure.tensor_facts import tensors_in
from gradscope.diagnose.evidence.arguments import arguments
from gradscope.model.arguments import Given, words
from gradscope.model.moments import OpCall
from gradscope.model.records import Phase
from gradscope.store.rows import moment_of, moment_row
from gradscope.text import cells

from .records_at_random import FLOAT, TEXT, WHOLE

DTYPES = {torch.float32: "float32", torch.int64: "int64"}
DEVICES = {torch.device("cpu"): "cpu", torch.device("cuda:1"): "cuda:1"}
SCALAR = st.none() | st.booleans() | WHOLE | FLOAT | TEXT | st.sampled_from([*DTYPES, *DEVICES])
PART = st.none() | st.integers(-9, 9)
SLICE = st.builds(slice, PART, PART, PART)
FEW = st.lists(SCALAR, max_size=6)
TENSORS = st.sampled_from([torch.ones(1), torch.nn.Parameter(torch.ones(2))])
SMALL = SCALAR | SLICE | FEW | FEW.map(tuple) | TENSORS | st.lists(TENSORS, min_size=1, max_size=3)
PLAIN = st.none() | st.booleans() | WHOLE | st.floats(allow_nan=False) | SLICE | TENSORS | st.just("mean")
KEYWORDS = st.dictionaries(st.sampled_from(["dim", "p", "dtype", "out"]), SMALL, max_size=3)


def older(value: Any) -> str:
    """The text that traces of schema 5 have of a small argument."""
    if isinstance(value, torch.Tensor) or (isinstance(value, list) and value and isinstance(value[0], torch.Tensor)):
        return ""
    if isinstance(value, slice):
        parts = ["" if part is None else str(part) for part in (value.start, value.stop, value.step)]
        return ":".join(parts if value.step is not None else parts[:2])
    if isinstance(value, (list, tuple)):
        return f"({', '.join(map(older, value))})"
    return DTYPES.get(value) or DEVICES.get(value) or repr(value)


def read(args: list[Any], kwargs: dict[str, Any]) -> Given:
    tensors = tensors_in((*args, *kwargs.values()))
    return given_of(read_given(args, kwargs, tensors), range(len(tensors)))


def call(given: Given | None, text: str) -> OpCall:
    return OpCall(Phase.FORWARD, None, "f", (), (), given=given, arguments=text)


@given(st.lists(SMALL, max_size=4), KEYWORDS)
@settings(max_examples=300, deadline=None)
def test_small_arguments_have_the_text_that_they_had(args: list[Any], kwargs: dict[str, Any]) -> None:
    texts = [text for one in args if (text := older(one))]
    texts += [f"{name}={text}" for name, one in kwargs.items() if (text := older(one))]
    text = ", ".join(texts)
    assume(cells(text) <= 120)
    assert words(read(args, kwargs)) == text


@given(st.lists(SMALL, max_size=4), KEYWORDS)
@settings(max_examples=300, deadline=None)
def test_arguments_come_back_from_the_file(args: list[Any], kwargs: dict[str, Any]) -> None:
    one = read(args, kwargs)
    op = call(one, words(one))
    row = moment_row(op)
    assert "arguments" not in (row[-1] or "")
    assert repr(moment_of(row)) == repr(op)


@given(st.lists(PLAIN, max_size=4), st.dictionaries(st.sampled_from(["p", "out"]), PLAIN))
@settings(max_examples=300, deadline=None)
def test_evidence_reads_the_same_of_an_older_text(args: list[Any], kwargs: dict[str, Any]) -> None:
    one = read(args, kwargs)
    text = words(one)
    assume(len(text) < 120)
    assert repr(arguments(call(None, text))) == repr(arguments(call(one, text)))
