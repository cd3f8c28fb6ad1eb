"""`explain(t)`: the walk ends at a cause and its line."""

from __future__ import annotations

import pytest
import torch

import gradscope
from gradscope.errors import UsageError
from gradscope.model.why import Explanation


def _causes(explanation: Explanation) -> list[str]:
    return [cause.line.code.split("  #")[0] if cause.line else "" for cause in explanation.walk]


def test_a_result_walks_to_its_leaves() -> None:
    with gradscope.record():
        a = torch.tensor([10.0], requires_grad=True)
        b = torch.tensor([20.0])
        f = a * b
        g = f * 2
        told = gradscope.explain(g)
    assert told.answer.startswith("g is not a leaf: MulBackward0 made it")
    assert _causes(told) == ["g = f * 2", "f = a * b", "a = torch.tensor([10.0], requires_grad=True)"]
    assert "retain_grad()" in told.fix


def test_a_detach_several_ops_before_is_the_cause() -> None:
    with gradscope.record():
        a = torch.ones(3, requires_grad=True)
        cut = a.exp().detach()
        h = cut * 2
        out = h.sum()
        told = gradscope.explain(out)
    assert "does not require a gradient" in told.answer
    assert _causes(told)[-1] == "cut = a.exp().detach()"
    assert told.cause is not None
    assert "detach() takes it out of the graph" in told.cause.text


def test_what_has_no_name_is_not_written_as_code() -> None:
    made = [torch.ones(2, requires_grad=True)]
    assert gradscope.explain(made[0]).answer.startswith("the .grad of this tensor is None: no backward")
    made[0].sum().backward()
    assert gradscope.explain(made[0]).answer == "the .grad of this tensor is there: [1.0, 1.0]."
    result = gradscope.explain(made[0].exp())
    assert result.answer.startswith("the result of exp is not a leaf")
    assert result.fix == "retain_grad() on it before backward() keeps its gradient"
    with gradscope.record():
        told = gradscope.explain(torch.nn.ReLU()(made[0].detach()))
    assert told.answer.startswith("the .grad of the result of relu is None, and backward never reaches it")


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda a: a.argmax(), "no derivative"),
        (lambda a: a > 0, "no derivative"),
        (lambda a: torch.no_grad()(lambda: a * 2)(), "no_grad"),
        (lambda a: torch.inference_mode()(lambda: a * 2)(), "inference_mode|no_grad"),
    ],
)
def test_the_ways_a_result_loses_its_gradient(make: object, why: str) -> None:
    assert callable(make)
    with gradscope.record():
        a = torch.ones(3, requires_grad=True)
        told = gradscope.explain(make(a))
    assert told.cause is not None
    assert any(part in told.cause.text for part in why.split("|")), str(told)


def test_a_leaf_that_backward_did_not_reach_tells_where_the_path_ends() -> None:
    with gradscope.record():
        w = torch.ones(2, requires_grad=True)
        v = torch.ones(2, requires_grad=True)
        half = (w * 3).detach()  # cut
        (half * v).sum().backward()
        told = gradscope.explain(w)
        reached = gradscope.explain(v)
    assert "did not reach it" in told.answer
    assert _causes(told)[-1] == "half = (w * 3).detach()"
    assert reached.answer == "v.grad is there."


def test_a_gradient_that_was_cleared() -> None:
    with gradscope.record():
        w = torch.ones(2, requires_grad=True)
        w.sum().backward()
        w.grad = None
        told = gradscope.explain(w)
    assert "cleared" in told.answer
    assert _causes(told) == ["w.grad = None"]


def test_what_was_made_without_a_gradient() -> None:
    with gradscope.record():
        x = torch.zeros(3)
        told = gradscope.explain(x + 1)
    assert _causes(told)[-1] == "x = torch.zeros(3)"


def test_without_a_recording_it_tells_what_the_tensor_knows() -> None:
    w = torch.ones(2, requires_grad=True)
    f = w * 2
    assert "not a leaf" in str(gradscope.explain(f))
    assert "record" in gradscope.explain(f.detach()).fix
    assert "no backward has filled it" in str(gradscope.explain(w))
    f.sum().backward()
    assert "[2.0, 2.0]" in gradscope.explain(w).answer


def test_it_leaves_the_recording_as_it_was() -> None:
    def run(ask: bool) -> list[tuple[str, ...]]:
        with gradscope.record() as trace:
            for _ in range(3):
                w = torch.ones(2, requires_grad=True)
                y = w.exp()
                if ask:
                    gradscope.explain(y)
                y.sum().backward()
        return [tuple(m.kind for m in trace.step(n).moments) for n in trace.source.step_numbers()]

    assert run(ask=True) == run(ask=False)


def test_anything_but_a_tensor_is_an_error() -> None:
    with pytest.raises(UsageError, match="a tensor is wanted"):
        gradscope.explain(3)  # type: ignore[arg-type]
