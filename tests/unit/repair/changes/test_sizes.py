"""Sizes that are measured, tensors that were rebuilt, and values that meet others."""

from __future__ import annotations

import pytest

from gradscope.repair.changes.rebuilt import from_array, stacked_from
from gradscope.repair.changes.sizes import mean_of_picked, operand_raised, rooted
from gradscope.repair.changes.values import (
    masked_before,
    named_replaced,
    names_detached,
    receiver_added,
    receiver_within,
    without_attribute,
)
from gradscope.repair.changes.writes import copy_kept
from gradscope.repair.ways import Change
from tests.mending import changed, line_changed, place_in

HEAD = "import torch\ndef f(loss, kl, x, m, w, scaler):\n    "


ROOTED = rooted("std", "var", 1e-8)
RAISED = operand_raised(("norm",), "1e-12")
ADDED = receiver_added(("backward",), "kl")
SCALED = receiver_within("backward", before="scaler.scale")
FIRST = copy_kept("?", result=False, slot="self")
SECOND = copy_kept("the result of t", result=False, slot="mat2")


@pytest.mark.parametrize(
    ("line", "change", "expression", "after"),
    [
        ("s = x.std(dim=(0), keepdim=True)", ROOTED, "", "s = (x.var(dim=(0), keepdim=True) + 1e-08).sqrt()"),
        ("s = torch.std(x)", ROOTED, "", "s = (torch.var(x) + 1e-08).sqrt()"),
        ("s = (x - w).norm(dim=1)", RAISED, "", "s = ((x - w) + 1e-12).norm(dim=1)"),
        ("s = torch.norm(x - w, dim=1)", RAISED, "", "s = torch.norm((x - w) + 1e-12, dim=1)"),
        ("y = 2 * x[m].mean()", mean_of_picked(), "", "y = 2 * (x[m].sum() / m.sum().clamp(min=1))"),
        ("y = x[m].mean(0)", mean_of_picked(), "", None),
        ("y = x[m > 1].mean()", mean_of_picked(), "", None),
        ("y = mse(x, w + 1)[m].mean()", masked_before(), "mse(x, w + 1)", "y = mse(x[m], (w + 1)[m]).mean()"),
        ("y = mse(x)[m]", masked_before(), "mse(x)", None),
        ("(loss).backward()", ADDED, "", "(loss + kl).backward()"),
        ("f(loss).backward()", ADDED, "", None),
        ("loss.backward()", receiver_added(("backward",), "penalty"), "", None),
        ("(loss + kl).backward()", SCALED, "", "scaler.scale(loss + kl).backward()"),
        ("scaler.scale(loss).backward()", SCALED, "", None),
        ("y = g(w.data, x)", without_attribute("data"), "", "y = g(w, x)"),
        ("w.data = x", without_attribute("data"), "", None),
        ("y = g(x, m)", named_replaced("x", "w"), "", "y = g(w, m)"),
        ("y = g(x, m)", named_replaced("x", "hard"), "", None),
        ("y = torch.tensor((x * 2).detach().cpu().numpy())", from_array(), "", "y = (x * 2)"),
        ("y = torch.from_numpy(np.log(x.numpy()))", from_array(), "", None),
        ("y = x @ w.t()", SECOND, "x @ w.t()", "y = x @ w.t().clone()"),
        ("y = torch.mul(x + 1, w)", FIRST, "torch.mul(x + 1, w)", "y = torch.mul((x + 1).clone(), w)"),
    ],
)
def test_a_value_is_changed(line: str, change: Change, expression: str, after: str | None) -> None:
    assert line_changed(f"{HEAD}{line}  # here\n", change, expression) == after


def test_what_a_loop_carries_is_detached_by_name() -> None:
    text = "h = c = 0\nfor x in xs:\n    out, (h, c) = net(x, (h, c))  # here\n"
    assert changed(text, names_detached()) == text.replace("    out", "    h, c = h.detach(), c.detach()\n    out")
    assert changed("out, h = net(x)  # here\n", names_detached()) is None


def test_numbers_of_a_list_are_its_tensors() -> None:
    text = (
        "import torch\ndef each(xs):\n    found = []\n    for x in xs:\n        found.append(f(x).item())  # there\n"
        "    return found\ndef total(xs):\n    found = each(xs)\n    return torch.tensor(found).mean()  # here\n"
    )
    after = changed(text, stacked_from(place_in(text, marker="# there")))
    assert after == text.replace("f(x).item()", "f(x)").replace("torch.tensor(found)", "torch.stack(found)")
    shown = text.replace("found.append(f(x).item())", "print(f(x).item())")
    assert changed(shown, stacked_from(place_in(shown, marker="# there"))) is None
