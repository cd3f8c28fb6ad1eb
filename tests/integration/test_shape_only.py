"""An op that reads only the shape of a tensor cuts nothing: no gradient could come back through it."""

from __future__ import annotations

from pathlib import Path

import pytest

from gradscope.diagnose import judge
from gradscope.model.graph import EdgeKind
from tests.capturing import record_script

OPS = [
    "torch.randn_like(h)", "torch.zeros_like(h)", "torch.ones_like(h)", "torch.empty_like(h).fill_(1.0)",
    "torch.full_like(h, 2.0)", "torch.rand_like(h)", "h.new_zeros(2, 3)", "h.new_ones(h.shape)",
    "h.new_full((2, 3), 1.0)",
    "torch.arange(3).expand_as(h)", "torch.arange(6).view_as(h)", "torch.ones(2, 3, dtype=torch.int32).type_as(h)",
]  # fmt: skip


@pytest.mark.parametrize("op", OPS)
def test_no_edge_leads_from_a_tensor_whose_shape_alone_is_read(op: str, tmp_path: Path) -> None:
    script = tmp_path / "shape.py"
    script.write_text(
        "import torch\nw = torch.randn(2, 3, requires_grad=True)\nh = w * 2\n"
        f"made = {op}\n(h * made + h).sum().backward()\n"
    )
    recorded = record_script(script)
    (step,) = recorded.steps
    graph = step.graph("both")
    names = {node.id: node.name for node in graph.nodes}
    edges = {
        (names[edge.source], names[edge.target]) for edge in graph.edges if edge.kind in (EdgeKind.DATA, EdgeKind.CUT)
    }
    assert ("h", "made") not in edges
    assert not any(edge.kind is EdgeKind.CUT for edge in graph.edges)
    assert not any("cut" in node.marks for node in graph.nodes)


@pytest.mark.parametrize(
    "op", ["torch.bernoulli(h.sigmoid())", "(h > 0).float()", "torch.full_like(h, h.sum())", "h.sign().long()"]
)
def test_an_op_that_reads_numbers_and_has_no_derivative_cuts(op: str, tmp_path: Path) -> None:
    script = tmp_path / "cut.py"
    script.write_text(
        "import torch\nw = torch.randn(2, 3, requires_grad=True)\nh = w * 2\n"
        f"with torch.no_grad(): made = {op}\n(h * made + h).sum().backward()\n"
    )
    recorded = record_script(script)
    (step,) = recorded.steps
    assert any("cut" in node.marks for node in step.graph("both").nodes)


def test_what_reads_a_shape_is_not_blamed_for_a_path_that_is_cut_elsewhere(tmp_path: Path) -> None:
    script = tmp_path / "train.py"
    script.write_text(
        """
import torch
from torch import nn
encoder, head = nn.Linear(3, 3), nn.Linear(3, 3)
optimizer = torch.optim.SGD([*encoder.parameters(), *head.parameters()], lr=0.1)
for step in range(4):
    h = encoder(torch.randn(5, 3))
    mask = torch.ones_like(h)
    noise = h.new_zeros(5, 3)
    z = h.detach()
    loss = (head(z * mask + noise) ** 2).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""
    )
    findings = [one for one in judge(record_script(script).trace) if one.code == "GS202"]
    lines = {one.culprit.line for one in findings if one.culprit is not None}
    assert lines == {10}
