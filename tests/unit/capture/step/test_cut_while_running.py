"""A step that is found to have ended while a call, a backward or a hook still runs: what follows has the new step's
numbers, and every part of it names what is there."""

from __future__ import annotations

from pathlib import Path

import pytest

from gradscope.capture.step.draft import Draft
from gradscope.capture.step.raw import Noted, RawCall
from gradscope.capture.step.split import split
from gradscope.model.moments import Backward, OpCall
from gradscope.model.records import Phase
from gradscope.model.spec import violations
from tests.capturing import Recording, record_text

ROWS_OF_A_JACOBIAN = """
import torch
def main():
    w = torch.nn.Parameter(torch.randn(4, 4))
    opt = torch.optim.SGD([w], lr=0.01)
    for i in range(2):
        opt.zero_grad()
        (w * 0.1).exp().mean().backward()
        opt.step()
    x = torch.randn(3, requires_grad=True)
    y = x.exp()
    (g,) = torch.autograd.grad(y.sum(), x, create_graph=True)
    rows = []
    for i in range(3):
        rows.append(torch.autograd.grad(y[i], x, retain_graph=True)[0])
    torch.stack(rows).sum().item()
for seed in range(2):
    main()
"""
AN_OPTIMIZER_IN_A_HOOK = """
import torch
model, w = torch.nn.Linear(2, 2), torch.ones(2, requires_grad=True)
opt = torch.optim.SGD(model.parameters(), lr=0.1)
for _ in range(2):
    opt.zero_grad()
    model(torch.ones(2)).sum().backward()
    opt.step()
with torch.no_grad():
    model(torch.ones(2))
for _ in range(2):
    y = model(torch.ones(2)) * w
    y.register_hook(lambda grad: (opt.step(), grad * 2)[1])
    y.sum().backward()
"""
A_STEP_ENDED_IN_A_HOOK = """
import gradscope, torch
w = torch.ones(2, requires_grad=True)
for _ in range(3):
    y = w * 2
    y.register_hook(lambda grad: gradscope.step())
    y.sum().backward()
"""
TRAINING_IN_A_FUNCTION = """
import torch
class Fit(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        with torch.enable_grad():
            z = x.detach().clone().requires_grad_()
            opt = torch.optim.SGD([z], lr=0.1)
            for _ in range(3):
                opt.zero_grad()
                (z - x.detach()).pow(2).sum().backward()
                opt.step()
        return z.detach()
    @staticmethod
    def backward(ctx, grad):
        return grad
v = torch.ones(2, requires_grad=True)
for _ in range(2):
    (Fit.apply(v * 2) * v).sum().backward()
"""
A_CALL_THAT_FAILS = """
import torch
x = torch.ones(3, requires_grad=True)
y = x.exp()
for i in range(4):
    try:
        torch.autograd.grad(y[i % 3], x)
    except RuntimeError:
        pass
"""
MANY_WRITTEN_AT_ONCE = """
import torch
model = torch.nn.Linear(2, 2)
def step():
    grads = torch.autograd.grad(model(torch.ones(2)).sum(), list(model.parameters()))
    with torch.no_grad():
        torch._foreach_sub_(list(model.parameters()), list(grads))
for _ in range(2):
    step()
with torch.no_grad():
    model(torch.ones(2))
for _ in range(2):
    step()
"""


def names_what_is_there(made: Recording) -> None:
    """Every number in the trace is that of something."""
    source, sizes = made.source, {}
    for number in source.step_numbers():
        template = source.template(source.step_row(number).template)
        assert violations(template) == [], f"step {number}"
        sizes[number] = len(template.tensors)
    for number in source.step_numbers():
        row = source.step_row(number)
        moments = len(source.template(row.template).moments)
        assert all(span.moment <= moments for span in row.phases)
        assert all(tensor < sizes[number] and old < sizes.get(step, 1 << 60) for tensor, step, old in row.carried)
        for sample in source.samples(number):
            assert -1 <= sample.moment < moments
            assert sample.of_parameter or sample.what != "value" or sample.subject < sizes[number]
    assert made.faults == ()


@pytest.mark.parametrize("detail", ["auto", "full", "graph"])
@pytest.mark.parametrize(
    "text",
    [
        ROWS_OF_A_JACOBIAN,
        AN_OPTIMIZER_IN_A_HOOK,
        A_STEP_ENDED_IN_A_HOOK,
        TRAINING_IN_A_FUNCTION,
        A_CALL_THAT_FAILS,
        MANY_WRITTEN_AT_ONCE,
    ],
    ids=["jacobian", "hook", "by hand", "function", "failing", "foreach"],
)
def test_what_follows_names_what_its_step_has(text: str, detail: str, tmp_path: Path) -> None:
    made = record_text(tmp_path, text, detail)
    assert made.error is None
    names_what_is_there(made)


def test_a_call_that_began_in_the_step_before_has_its_operands(tmp_path: Path) -> None:
    made = record_text(tmp_path, ROWS_OF_A_JACOBIAN)
    rows = [step for step in made.steps if any(isinstance(m, OpCall) and m.name == "grad" for m in step.moments)]
    for step in rows:
        for moment in step.moments:
            if isinstance(moment, OpCall) and moment.name == "grad":
                (backward,) = (one for one in step.moments if isinstance(one, Backward) and one.stack == moment.stack)
                assert moment.inputs[0] in backward.roots or step.tensors[moment.inputs[0]].name.startswith("y")
                assert {step.tensors[number].name[0] for number in moment.inputs} == {"x", "y"}


def test_each_of_the_steps_that_are_cut_apart_keeps_its_loss(tmp_path: Path) -> None:
    made = record_text(
        tmp_path,
        """
        import torch
        w = torch.ones(2, requires_grad=True)
        for i in range(4):
            (w * i).sum().backward()
        """.replace("\n        ", "\n"),
    )
    assert [step.row.loss for step in made.steps if step.number >= 0] == [0.0, 2.0, 4.0, 6.0]
    names_what_is_there(made)


def test_what_the_recorder_reads_as_a_step_closes_is_no_part_of_it(tmp_path: Path) -> None:
    made = record_text(
        tmp_path,
        """
        import torch
        model = torch.nn.Linear(2, 97)
        opt = torch.optim.SGD(model.parameters(), lr=0.1)
        for _ in range(3):
            with torch.inference_mode():
                model(torch.ones(2))
            opt.zero_grad()
            model(torch.ones(2)).sum().backward()
            opt.step()
        """.replace("\n        ", "\n"),
    )
    assert [moment.value for moment in made.moments("mode")] == ["on", "off"] * 3  # type: ignore[union-attr]
    assert {"device", "layout"}.isdisjoint(made.ops())
    names_what_is_there(made)


@pytest.mark.parametrize(("at", "inside"), [(1, [1, 0, None]), (2, [0, None, None])])
def test_a_module_call_that_goes_on_past_a_cut_is_around_no_later_one(at: int, inside: list[int | None]) -> None:
    draft = Draft(full=False)
    for _ in range(4):
        draft.add("note", Phase.OTHER, None, (), (), Noted(""))
    outer, inner = RawCall(0, 0, None, True, 1, None), RawCall(1, 0, None, True, 3, 0)
    draft.calls = [outer, inner]  # both go on
    draft.calling = 1
    _, tail, _ = split(draft, at)
    found = [tail.calling]
    for around in (0, None):  # as they are left, by whom they began in the draft that was cut
        tail.call_left(draft, around)
        found.append(tail.calling)
    assert found == inside
