"""Leaves: who asks for a gradient and when, and what is registered."""

from __future__ import annotations

import pytest

from gradscope.repair.changes.leaves import (
    as_parameter,
    asked,
    asked_last,
    floating,
    gradient_dropped,
    leaf_begun,
    registered,
    written_in_place,
)
from gradscope.repair.ways import Change
from tests.mending import changed, line_changed

HEAD = "import torch\nfrom torch import nn\nlr = w = x = net = n = start = value = 1\n"


@pytest.mark.parametrize(
    ("line", "change", "after"),
    [
        ("x = torch.rand(3, requires_grad=True).double()", asked_last(), "x = torch.rand(3).double().requires_grad_()"),
        (
            "p = P(torch.rand(3, requires_grad=True).double())",
            asked_last(),
            "p = P(torch.rand(3).double().requires_grad_())",
        ),
        ("w = nn.Parameter(torch.ones(3)).to(x.dtype)", asked_last(), "w = nn.Parameter(torch.ones(3).to(x.dtype))"),
        ("w = torch.rand(3, requires_grad=True)", asked_last(), None),
        ("x = torch.zeros(3)", asked(), "x = torch.zeros(3, requires_grad=True)"),
        (
            "x = torch.zeros(3, requires_grad=False)",
            asked(),
            "x = torch.zeros(3, requires_grad=False).requires_grad_()",
        ),
        ("x = (n - 0.5) / 0.25", asked(), "x = ((n - 0.5) / 0.25).requires_grad_()"),
        ("loss = torch.tensor(value)", asked(), None),  # a loss of numbers would train nothing
        (
            "t = torch.tensor(start, requires_grad=True)",
            floating(),
            "t = torch.tensor(start, requires_grad=True, dtype=torch.float32)",
        ),
        ("c = nn.Parameter(torch.arange(n))", floating(), "c = nn.Parameter(torch.arange(n).float())"),
        ("x.requires_grad = True", leaf_begun(), "x = x.detach().requires_grad_()"),
        ("x.requires_grad_(True)", leaf_begun(), "x = x.detach().requires_grad_()"),
        ("x.requires_grad = False", leaf_begun(), "x = x.detach()"),
        ("x.requires_grad_(False)", leaf_begun(), "x = x.detach()"),
        ("for x in xs: x.requires_grad = False", leaf_begun(), None),  # the list would keep what it has
        ("w = w - lr * w.grad", written_in_place(under_no_grad=False), "w -= lr * w.grad"),
        ("w = x - lr * w.grad", written_in_place(under_no_grad=False), None),
        ("s = torch.ones([], requires_grad=True)", as_parameter(), "s = nn.Parameter(torch.ones([]))"),
        ("s = torch.ones(2).requires_grad_()", as_parameter(), "s = nn.Parameter(torch.ones(2))"),
        ("e = [nn.Linear(2, 2) for _ in x]", as_parameter(), None),
        ("e = [nn.Linear(2, 2) for _ in x]", registered(), "e = nn.ModuleList([nn.Linear(2, 2) for _ in x])"),
        ('e = {"a": nn.Linear(2, 2)}', registered(), 'e = nn.ModuleDict({"a": nn.Linear(2, 2)})'),
        ("e = [nn.Parameter(x)]", registered(), "e = nn.ParameterList([nn.Parameter(x)])"),
    ],
)
def test_each_change(line: str, change: Change, after: str | None) -> None:
    assert line_changed(f"{HEAD}{line}  # here\n", change) == after


def test_an_update_is_a_write_under_no_grad_and_the_gradient_begins_anew() -> None:
    text = HEAD + "for i in x:\n    w = w - lr * w.grad  # here\n    y = w\n"
    assert changed(text, written_in_place(under_no_grad=True, then="w.grad = None")) == text.replace(
        "    w = w - lr * w.grad  # here\n",
        "    with torch.no_grad():\n        w -= lr * w.grad  # here\n    w.grad = None\n",
    )


def test_what_is_frozen_loses_its_gradient() -> None:
    text = "for p in net.parameters():\n    p.requires_grad_(False)  # here\n"
    assert changed(text, gradient_dropped(module=True)) == text + "    p.grad = None\n"
    text = "net.body.requires_grad_(False)  # here\n"
    assert changed(text, gradient_dropped(module=True)) == text + "net.body.zero_grad()\n"
    text = "net.w.requires_grad = False  # here\n"
    assert changed(text, gradient_dropped(module=False)) == text + "net.w.grad = None\n"
