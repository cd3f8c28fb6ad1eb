"""Writes in place become new values, but only where nobody waits for the write under another name."""

from __future__ import annotations

import pytest

from gradscope.repair.changes.calls import without_keyword
from gradscope.repair.changes.writes import copy_kept, out_of_place, taken_one_by_one
from tests.mending import changed, line_changed

HEAD = """\
import torch
import torch.nn.functional as F
from torch import nn
def f(a, keep):
    h = torch.sigmoid(a)
"""


@pytest.mark.parametrize(
    ("line", "expression", "after"),
    [
        ("h += a", "", "h = h + a"),
        ("h *= a - 1", "", "h = h * (a - 1)"),
        ("h += a * 2", "", "h = h + a * 2"),
        ("h -= (a - 1)", "", "h = h - (a - 1)"),
        ("h *= a if keep else 1", "", "h = h * (a if keep else 1)"),
        ("h /= h.sum(dim=0)", "", "h = h / h.sum(dim=0)"),
        ("h **= 2", "", "h = h ** 2"),
        ("h.mul_(keep)", "h.mul_(keep)", "h = h.mul(keep)"),
        ("h.mul_(keep).add_(1)", "h.mul_(keep)", "h = h.mul(keep).add(1)"),
        ("h.mul_(keep).add_(1)", "h.mul_(keep).add_(1)", "h = h.mul(keep).add(1)"),
        ("F.relu_(h)", "F.relu_(h)", "h = F.relu(h)"),
        ("torch.sigmoid_(h)", "torch.sigmoid_(h)", "h = torch.sigmoid(h)"),
        ("F.relu(h, inplace=True)", "F.relu(h, inplace=True)", "h = F.relu(h)"),
        ("y = F.relu(h, inplace=True)", "F.relu(h, inplace=True)", "y = F.relu(h)"),
        ("h.data.clamp_(max=1.0)", "h.data.clamp_(max=1.0)", "h = h.clamp(max=1.0)"),
        ("nn.init.normal_(h)", "nn.init.normal_(h)", None),  # there is no nn.init.normal that gives a new one
        ("h.copy_(a)", "h.copy_(a)", None),
        ("h.zero_()", "h.zero_()", None),
        ("h.normal_()", "h.normal_()", None),
        ("h.fill_diagonal_(0)", "h.fill_diagonal_(0)", None),
        ("h[0] += 1", "", None),
        ("a += h", "", None),  # the caller's tensor: it waits for the write
    ],
)
def test_a_write_is_a_new_value_under_the_same_name(line: str, expression: str, after: str | None) -> None:
    text = f"{HEAD}    {line}  # here\n    return h\n"
    assert line_changed(text, out_of_place(attributes=True), expression) == after


def test_what_a_loop_gives_is_part_of_something() -> None:
    text = "def f(image, s):\n    for channel in image[0]:\n        channel.mul_(s)  # here\n    return image\n"
    assert changed(text, out_of_place(attributes=True), "channel.mul_(s)") is None


def test_an_attribute_is_given_a_new_value_only_if_nobody_keeps_the_old() -> None:
    text = "class M:\n    def forward(self, x):\n        self.h += x  # here\n"
    assert line_changed(text, out_of_place(attributes=True)) == "self.h = self.h + x"
    assert line_changed(text, out_of_place(attributes=False)) is None


@pytest.mark.parametrize(
    ("line", "expression", "name", "result", "after"),
    [
        ("h = torch.sigmoid(w)", "torch.sigmoid(w)", "h", True, "h = torch.sigmoid(w).clone()"),
        ("y = W @ s[t]", "W @ s[t]", "s[t]", False, "y = W @ s[t].clone()"),
        ("y = x / self.scale", "x / self.scale", "tower.1.scale", False, "y = x / self.scale.clone()"),
        ("y = self.lin(h)", "self.lin(h)", "states[t]", False, "y = self.lin(h.clone())"),
        ("y = q @ self.w.t()", "q @ self.w.t()", "self.w.t()", False, "y = q @ self.w.t().clone()"),
        ("y = f(a, b)", "f(a, b)", "c", False, None),
        (
            "y = q @ self.emb.weight.t()",
            "q @ self.emb.weight.t()",
            "m.emb.weight",
            False,
            "y = q @ self.emb.weight.t().clone()",
        ),
    ],
)
def test_what_an_op_keeps_is_a_copy(line: str, expression: str, name: str, result: bool, after: str | None) -> None:
    assert line_changed(f"{line}  # here\n", copy_kept(name, result=result), expression) == after


@pytest.mark.parametrize(
    ("line", "after"),
    [
        ("a = nn.ReLU(inplace=True)", "a = nn.ReLU()"),
        ("a = nn.ELU(0.5, inplace=True)", "a = nn.ELU(0.5)"),
        ("a = nn.Dropout(inplace=True, p=0.5)", "a = nn.Dropout(p=0.5)"),
        ("a = nn.Sequential(nn.ReLU(inplace=True), b)", "a = nn.Sequential(nn.ReLU(), b)"),
        ("a = [nn.ReLU(inplace=True), nn.ReLU(inplace=True)]", None),
    ],
)
def test_a_keyword_is_left_out_with_its_comma(line: str, after: str | None) -> None:
    assert line_changed(f"{line}  # here\n", without_keyword("inplace")) == after


def test_parts_are_taken_one_by_one_so_that_the_whole_gets_the_write() -> None:
    text = "for c, m in zip(image[0], (1, 2)):  # here\n    c.mul_(m)\n"
    assert line_changed(text, taken_one_by_one()) == (
        "for c, m in zip((image[0][i] for i in range(len(image[0]))), (1, 2)):"
    )
    text = "for i, c in enumerate(x.unbind(0)):  # here\n    c.mul_(2)\n"
    assert line_changed(text, taken_one_by_one()) == "for i, c in enumerate((x[j] for j in range(len(x)))):"
    assert changed("for c in x.split(2):  # here\n    c.mul_(2)\n", taken_one_by_one()) is None
