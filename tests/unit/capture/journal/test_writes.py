"""Version counters: every rise, with the line that made it, through views, aliases and what goes past them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gradscope.model.moments import Mutation
from gradscope.model.state import State
from gradscope.tui.words import moment_words
from tests.capturing import Recording, record_text


@pytest.fixture
def record(tmp_path: Path):  # type: ignore[no-untyped-def]
    def run(text: str) -> Recording:
        recorded = record_text(tmp_path, "import torch\n" + text)
        assert recorded.error is None
        assert recorded.faults == ()
        return recorded

    return run


def writes(recorded: Recording) -> list[tuple[Any, ...]]:
    """(line, tensor, before, after, cause, counted, aliases) of each write."""
    step = recorded.trace.step(0)
    name = {tensor.number: tensor.name for tensor in step.tensors}
    return [
        (
            recorded.line(m), name[m.tensor], m.before, m.after, m.cause, m.counted,
            sorted(name[alias] for alias in m.aliases),
        )
        for m in recorded.moments("mutation")
    ]  # fmt: skip


def version_at_the_end(recorded: Recording, name: str) -> int | None:
    step = recorded.trace.step(0)
    return State.at(step, len(step.moments) - 1).tensors[recorded.tensor(name).number].version


def test_each_line_that_writes(record) -> None:  # type: ignore[no-untyped-def]
    recorded = record(
        """x = torch.zeros(3)
x.add_(1)
x[0] = 5
x += 2
x.mul_(2).sub_(1)
torch.relu_(x)
torch.add(x, 1, out=x)
y = x + 1
"""
    )
    assert writes(recorded) == [
        (3, "x", 0, 1, "add_", True, []),
        (4, "x", 1, 2, "__setitem__", True, []),
        (5, "x", 2, 3, "add_", True, []),
        (6, "x", 3, 4, "mul_", True, []),
        (6, "x", 4, 5, "sub_", True, []),
        (7, "x", 5, 6, "relu_", True, []),
        (8, "x", 6, 7, "add", True, []),
    ]
    assert recorded.tensor("y").version == 0
    assert version_at_the_end(recorded, "x") == recorded.namespace["x"]._version == 7


def test_a_write_through_a_view_raises_all_that_share(record) -> None:  # type: ignore[no-untyped-def]
    recorded = record(
        """base = torch.zeros(2, 2)
row = base[0]
cut = base.detach()
other = torch.zeros(2)
row.add_(other)
cut.mul_(2)
"""
    )
    assert writes(recorded) == [
        (6, "row", 0, 1, "add_", True, ["base", "cut"]),
        (7, "cut", 1, 2, "mul_", True, ["base", "row"]),
    ]
    for name in ("base", "row", "cut", "other"):
        assert version_at_the_end(recorded, name) == recorded.namespace[name]._version


def test_writes_past_the_counter(record) -> None:  # type: ignore[no-untyped-def]
    recorded = record(
        """x = torch.ones(2, requires_grad=True)
y = x * 2
y.data.mul_(2)
d = y.data
d.add_(1)
"""
    )
    first, second = writes(recorded)
    assert (first[0], first[4], first[5]) == (4, "mul_", False)
    assert (second[:2], second[5], second[6]) == ((6, "d"), False, [])
    step = recorded.trace.step(0)
    assert step.tensors[recorded.moments("mutation")[0].tensor].storage == recorded.tensor("y").storage
    assert version_at_the_end(recorded, "y") == 0


def test_inference_tensors_have_no_version(record) -> None:  # type: ignore[no-untyped-def]
    recorded = record(
        """with torch.inference_mode():
    x = torch.ones(2)
    x.add_(1)
    y = x * 2
"""
    )
    assert recorded.tensor("x").version is None
    assert recorded.tensor("y").is_inference


def test_a_parameter_written_in_part(record) -> None:  # type: ignore[no-untyped-def]
    recorded = record(
        """layer = torch.nn.Linear(2, 2)
layer(torch.ones(1, 2))
with torch.no_grad():
    layer.weight[0].zero_()
    layer.weight.detach().add_(1)
"""
    )
    step = recorded.trace.step(0)
    by_name = {parameter.name: parameter.id for parameter in recorded.source.parameters().values()}
    seen = [m for m in recorded.moments("mutation") if m.cause in ("zero_", "add_")]
    assert [recorded.line(m) for m in seen] == [5, 6]
    for moment in seen:
        assert by_name["weight"] in [step.tensors[alias].parameter for alias in moment.aliases]
    risen = sum(dict(found.template.version_bumps).get(by_name["weight"], 0) for found in recorded.steps)
    assert risen == recorded.namespace["layer"].weight._version


def test_versions_of_saved_tensors(record) -> None:  # type: ignore[no-untyped-def]
    recorded = record(
        """x = torch.ones(2, requires_grad=True)
y = x * 2
z = y ** 2
y.mul_(2)
try:
    z.sum().backward()
except RuntimeError as error:
    said = str(error)
"""
    )
    assert "modified by an inplace operation" in recorded.namespace["said"]
    backward = recorded.only("backward")
    assert "modified by an inplace operation" in backward.error
    (power,) = [node for node in recorded.graph_of().nodes if node.name == "PowBackward0"]
    (saved,) = power.saved
    assert (saved.tensor, saved.stale) == (recorded.tensor("y").number, True)
    assert writes(recorded) == [(5, "y", 0, 1, "mul_", True, [])]


@pytest.mark.parametrize("detail", ["graph", "full"])
def test_one_of_many_views_whose_base_was_written_to(tmp_path: Path, detail: str) -> None:
    """Torch refuses to tell the grad_fn of such a view, and whether it is a leaf."""
    recorded = record_text(
        tmp_path,
        """import torch
x = torch.ones(2, 3, requires_grad=True)
y = x * 1
left, right = y.chunk(2)
with torch.no_grad():
    y.mul_(2)
for _ in range(2):
    with torch.no_grad():
        z = left * 2
""",
        detail,
    )
    assert (recorded.error, recorded.faults) == (None, ())
    assert [line for line in map(recorded.line, recorded.moments("op")) if line == 9] == [9, 9]


BY_HAND = """import torch
x, weight, total = torch.ones(4, 3), torch.ones(2, 3, requires_grad=True), torch.zeros(())
for step in range(20):
    loss = (x @ weight.t()).pow(2).mean()
    loss.backward()
    total += loss.detach()
    with torch.no_grad():
        weight -= 0.01 * weight.grad
        weight.grad.zero_()
"""


@pytest.mark.parametrize("detail", ["graph", "full"])
def test_counters_that_go_on_make_no_new_steps(tmp_path: Path, detail: str) -> None:
    """A running total, a gradient zeroed in place, a view of a parameter: what differs are numbers."""
    trace = record_text(tmp_path, BY_HAND, detail).trace
    steps = [trace.step(number) for number in range(2, 20)]
    assert len({step.row.template for step in steps}) <= 2
    for step in steps:
        states = State.at(step, len(step.moments) - 1).tensors
        versions = {
            t.name: states[t.number].version for t in step.tensors if t.name in ("total", "weight", "weight.t()")
        }
        assert versions == {"total": step.number + 1, "weight": step.number + 1, "weight.t()": step.number}
    last = steps[-1]
    told = [moment_words(last, moment) for moment in last.positions(Mutation)]
    assert [text for text in told if text.startswith(("total ", "weight "))] == [
        "total was changed in place by add_: version 19 → 20",
        "weight was changed in place by sub_: version 19 → 20",
    ]


def writing_ops(recorded: Recording, number: int = 0) -> list[tuple[str, str | None]]:
    """(cause, the op that the mutation names) of each write of a step."""
    step = recorded.trace.step(number)
    found = []
    for moment in step.moments:
        if isinstance(moment, Mutation):
            op = step.op(moment.op)
            found.append((moment.cause, op.name if op is not None else None))
            assert op is None or (moment.tensor in op.inputs and op.stack == moment.stack)
    return found


def test_a_write_names_its_op(record) -> None:  # type: ignore[no-untyped-def]
    recorded = record(
        """x, y = torch.zeros(3), torch.zeros(3)
torch._foreach_add_([x, y], 1.0)
y.data.mul_(2); y.data = torch.ones(3)
x.view(3)[0] = 5
class Fill(torch.autograd.Function):
    @staticmethod
    def forward(ctx, given):
        ctx.mark_dirty(given)
        return given.add_(1)
Fill.apply(x)
"""
    )
    assert writing_ops(recorded) == [
        ("_foreach_add_", "_foreach_add_"),
        ("_foreach_add_", "_foreach_add_"),
        ("mul_", "mul_"),
        ("data =", None),
        ("__setitem__", "__setitem__"),
        ("Fill", "Fill"),
    ]


def test_what_no_op_wrote_names_none_though_one_of_its_name_stands_before_it(record) -> None:  # type: ignore[no-untyped-def]
    recorded = record("x = torch.zeros(3)\na = x.numpy()\na[0] = 5\nx.sum()\n")
    assert writing_ops(recorded) == [("numpy", None)]


def test_a_write_names_its_op_in_each_step_of_a_loop_that_was_cut(record) -> None:  # type: ignore[no-untyped-def]
    """Updates by hand end a step where one is found to have ended earlier: ops have other places then."""
    recorded = record(
        """w, v = torch.ones(2, requires_grad=True), torch.ones(2, requires_grad=True)
total = torch.zeros(())
for _ in range(3):
    loss = (w * v).sum()
    total += loss.detach()
    loss.backward()
    with torch.no_grad():
        torch._foreach_sub_([w, v], [0.1 * w.grad, 0.1 * v.grad])
        w.grad.zero_(); v.grad.zero_()
"""
    )
    steps = recorded.trace.steps
    assert len(steps) == 3
    for number in steps:
        assert writing_ops(recorded, number) == [
            ("add_", "add_"),
            ("_foreach_sub_", "_foreach_sub_"),
            ("_foreach_sub_", "_foreach_sub_"),
            ("zero_", "zero_"),
            ("zero_", "zero_"),
        ]
