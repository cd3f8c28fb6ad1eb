"""The leaf table: the four cases, in words."""

from __future__ import annotations

from typing import Any

import pytest

from gradscope.model.leaf import CASES, TensorRow


def row(**facts: Any) -> TensorRow:
    given: dict[str, Any] = {
        "requires_grad": True,
        "is_leaf": True,
        "grad_fn": None,
        "grad": None,
        "retains_grad": False,
        "version": 0,
        "device": "cpu",
        "dtype": "float32",
        "shape": (1,),
    }
    return TensorRow(**{**given, **facts})


@pytest.mark.parametrize(
    ("facts", "case"),
    [
        ({}, 1),
        ({"is_leaf": False, "grad_fn": "MulBackward0", "is_result": True}, 2),
        ({"requires_grad": False, "is_result": False}, 3),
        ({"requires_grad": False, "is_result": True}, 4),
    ],
)
def test_each_case_has_its_verdict(facts: dict[str, Any], case: int) -> None:
    found = row(**facts)
    assert found.case == case
    assert found.verdict == f"case {case} of 4: {CASES[case]}"
    assert str(found).endswith(found.verdict)


def test_what_pytorch_does_not_tell_is_not_claimed() -> None:
    assert row(requires_grad=False).verdict.startswith("case 3 or 4 of 4")


def test_a_result_that_keeps_its_gradient_says_so() -> None:
    assert "retain_grad() asked" in row(is_leaf=False, retains_grad=True).verdict


def test_the_columns_are_those_of_the_tutorials_first() -> None:
    columns = [column for column, _ in row().items()]
    assert columns[:5] == ["requires_grad", "is_leaf", "grad_fn", "grad", "retains_grad"]
    assert "name" not in columns


def test_an_inference_tensor_is_untracked() -> None:
    assert ("version", "untracked") in row(requires_grad=False, version=None).items()


def test_the_html_row_escapes_what_it_shows() -> None:
    page = row(name="<script>", grad="<b>")._repr_html_()
    assert "<script>" not in page
    assert "&lt;script&gt;" in page
    assert "&lt;b&gt;" in page
    assert page.count("<td>") == page.count("<th>") == 9
