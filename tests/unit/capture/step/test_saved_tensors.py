"""What grad nodes keep: which tensor, saved at which version, and whether it was written since."""

from __future__ import annotations

from pathlib import Path

import pytest

from gradscope.model.records import SavedTensor
from tests.capturing import Recording, record_text


def saved_by(recorded: Recording, node: str, backward: int = 0, step: int = 0) -> list[SavedTensor]:
    """What the nodes of that name keep, in the graph's order."""
    graph = recorded.graph_of(backward, step)
    return [saved for found in graph.nodes if found.name == node for saved in found.saved]


def named(recorded: Recording, saved: SavedTensor, step: int = 0) -> tuple[str, int | None, bool]:
    assert saved.tensor is not None
    return recorded.trace.step(step).tensors[saved.tensor].name, saved.version, saved.stale


FAILING = """import torch
x = torch.ones(4, requires_grad=True)
h = torch.tanh(x)
h.mul_(2)
k = h * h
h[1:].zero_()
(h.sum() + k.sum()).backward()
"""


@pytest.mark.parametrize("detail", ["full", "graph"])
def test_a_failed_backward_tells_the_version_at_which_each_tensor_was_saved(tmp_path: Path, detail: str) -> None:
    recorded = record_text(tmp_path, FAILING, detail)
    assert "modified by an inplace operation" in recorded.only("backward").error
    (result,) = saved_by(recorded, "TanhBackward0")
    assert named(recorded, result) == ("h", 0, True)
    products = [saved for saved in saved_by(recorded, "MulBackward0") if saved.tensor == result.tensor]
    assert [(saved.version, saved.stale) for saved in products] == [(1, True), (1, True)]
    (tanh,) = [node for node in recorded.graph_of().nodes if node.name == "TanhBackward0"]
    assert tanh.op is not None
    assert recorded.line(recorded.steps[-1].moments[tanh.op]) == 3
    writes = [m for m in recorded.moments("mutation") if result.tensor in (m.tensor, *m.aliases)]  # type: ignore[union-attr]
    assert [(recorded.line(m), m.before, m.after) for m in writes] == [(4, 0, 1), (6, 1, 2)]  # type: ignore[union-attr]


def test_weights_written_between_two_backwards_are_told_relative_to_the_step(tmp_path: Path) -> None:
    recorded = record_text(
        tmp_path,
        """import torch
body, head = torch.nn.Linear(3, 3), torch.nn.Linear(3, 1)
optimizer = torch.optim.SGD([*body.parameters(), *head.parameters()], lr=0.1)
for _ in range(2):
    hidden = head(body(torch.ones(1, 3)))
    hidden.sum().backward(retain_graph=True)
    optimizer.step()
    try:
        hidden.mean().backward()
    except RuntimeError:
        pass
""",
    )
    step = recorded.trace.step(1)
    stale = [saved for saved in saved_by(recorded, "AddmmBackward0", 1, 1) if saved.stale]
    assert [named(recorded, saved, 1) for saved in stale] == [("head.weight", 0, True)]
    (update,) = [moment for moment in step.moments if moment.kind == "optimizer"]
    assert update.versions[update.updated.index(stale[0].tensor)] == (0, 1)
    assert recorded.line(update) == 7


def test_a_list_of_saved_tensors_is_told_one_by_one(tmp_path: Path) -> None:
    recorded = record_text(
        tmp_path,
        """import torch
class Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx, a, b, c):
        ctx.save_for_backward(a, b, c)
        return a * b * c
    @staticmethod
    def backward(ctx, g):
        a, b, c = ctx.saved_tensors
        return g * b * c, g * a * c, g * a * b
x = torch.ones(2, requires_grad=True)
a = x * 1
b = x * 2
c = x * 3
b.add_(1)
p = Product.apply(a, b, c)
b.add_(1)
c.mul_(2)
c.mul_(2)
p.sum().backward()
""",
    )
    kept = [named(recorded, saved) for saved in saved_by(recorded, "ProductBackward")]
    assert kept == [("a", 0, False), ("b", 1, True), ("c", 0, True)]


def test_a_view_is_not_told_as_its_base(tmp_path: Path) -> None:
    recorded = record_text(
        tmp_path,
        """import torch
x = torch.ones(4, requires_grad=True)
base = torch.arange(4.0)
half = base[:2]
y = x[:2] * half
base.add_(1)
y.sum().backward()
""",
    )
    (kept,) = saved_by(recorded, "MulBackward0")
    assert named(recorded, kept) == ("half", 0, True)


def test_what_an_earlier_step_saved_and_changed_has_a_number(tmp_path: Path) -> None:
    recorded = record_text(
        tmp_path,
        """import torch
w = torch.ones(2, requires_grad=True)
state = torch.ones(2)
kept = (w * state).sum()
for _ in range(2):
    kept = kept + (w * state).sum()
    kept.backward(retain_graph=True)
    w.data.sub_(w.grad)
    state = state + 0
    old = state
for _ in range(1):
    product = (w * old).sum()
    old.add_(1)
    w.sum().backward()
    w.data.sub_(w.grad)
for _ in range(1):
    product.backward()
""",
    )
    last = recorded.steps[-1]
    (kept,) = [saved for saved in saved_by(recorded, "MulBackward0", -1, last.number) if saved.stale]
    assert kept.tensor is not None
    assert (last.tensors[kept.tensor].carried, kept.version) == (True, 0)
