"""The text that a trace has of an op's arguments, and what it says of an op's mode."""

from __future__ import annotations

import math

import pytest

from gradscope.diagnose.evidence.arguments import arguments
from gradscope.diagnose.evidence.model_runs import acts_as_training, drop_share
from gradscope.model.moments import OpCall
from gradscope.model.records import Phase


def op(name: str, text: str, inputs: int = 1) -> OpCall:
    return OpCall(Phase.FORWARD, None, name, tuple(range(inputs)), (inputs,), arguments=text)


@pytest.mark.parametrize(
    ("text", "positional", "named"),
    [
        ("", (), {}),
        ("2", (2,), {}),
        ("1, keepdim=True", (1,), {"keepdim": True}),
        ("(1, 1), (0, 0), 1", ((1, 1), (0, 0), 1), {}),
        ("'nc,ck->nk'", ("nc,ck->nk",), {}),
        ("a=-0.5, mode='fan_in', generator=None", (), {"a": -0.5, "mode": "fan_in", "generator": None}),
        ("(), 128.0, dtype=float32, device=cuda:0", ((), 128.0), {"dtype": "float32", "device": "cuda:0"}),
        ("0:5, :", ("0:5", ":"), {}),
        ("'a=b'", ("a=b",), {}),
    ],
)
def test_a_text_is_read(text: str, positional: tuple[object, ...], named: dict[str, object]) -> None:
    assert arguments(op("f", text)) == (positional, named)


def test_infinite_numbers_are_numbers() -> None:
    assert arguments(op("masked_fill", "-inf")).infinite
    assert arguments(op("clip_grad_norm_", "inf, norm_type=2.0")).number("max_norm", 0) == math.inf
    assert not arguments(op("clip_grad_norm_", "1.0, mode='inf'")).infinite


def test_what_may_be_cut_is_not_read() -> None:
    text = f"{'x' * 100}, p=0.1, training=True"[:120]
    assert text.endswith("training=Tr")
    assert arguments(op("f", text)).named == {"p": 0.1}


def test_a_name_comes_before_a_position() -> None:
    given = arguments(op("dropout", "0.3, True"))
    assert (given.get("p", 0), given.get("training", 1), given.get("inplace", 2)) == (0.3, True, None)
    assert given.number("training", 1) is None  # a bool is no number


@pytest.mark.parametrize(
    ("name", "text", "inputs", "acts", "share"),
    [
        ("dropout", "p=0.3, training=True, inplace=False", 1, True, 0.3),
        ("dropout", "0.3, False", 1, False, 0.3),
        ("dropout", "p=0.0, training=True", 1, None, 0.0),
        ("dropout", "", 1, None, 0.5),
        ("batch_norm", "training=False, momentum=0.1, eps=1e-05", 5, False, None),
        ("batch_norm", "training=True, momentum=0.1", 1, None, None),  # without running statistics there is one mode
        ("gru", "True, 2, 0.3, True, False, False", 10, True, 0.3),
        ("gru", "True, 1, 0.3, True, False, False", 6, None, 0.3),
        ("lstm", "True, 2, 0.0, True, False, False", 11, None, 0.0),
        (
            "multi_head_attention_forward",
            "6, 2, None, None, False, 0.3, training=False, need_weights=True",
            7,
            False,
            0.3,
        ),
        ("multi_head_attention_forward", "6, 2, False, 0.3, training=True", 9, True, 0.3),
        ("scaled_dot_product_attention", "dropout_p=0.2", 3, True, 0.2),
        ("scaled_dot_product_attention", "", 3, None, 0.0),
        ("relu", "inplace=True", 1, None, None),
    ],
)
def test_the_mode_of_an_op(name: str, text: str, inputs: int, acts: bool | None, share: float | None) -> None:
    call = op(name, text, inputs)
    assert acts_as_training(call) is acts
    if share is not None:
        assert drop_share(call) == share
