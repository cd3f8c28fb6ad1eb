"""Changes of one value, on source as people write it."""

from __future__ import annotations

import pytest

from gradscope.repair.changes.rebuilt import not_rebuilt
from gradscope.repair.changes.values import (
    added_detached,
    assigned_followed_by,
    chain_begun_with,
    compared_straight_through,
    divided,
    followed_by,
    named_followed_by,
    only_argument_followed_by,
    operand_followed_by,
    rebound,
    receiver_followed_by,
    side_followed_by,
    straight_through,
)
from gradscope.repair.ways import Change
from tests.mending import changed, line_changed

TORCH = "import torch\nimport torch.nn.functional as F\n"


@pytest.mark.parametrize(
    ("line", "name", "after"),
    [
        ("losses.append(loss)", "loss", "losses.append(loss.detach())"),
        ("a = 1; losses.append(loss); b = 2", "loss", "a = 1; losses.append(loss.detach()); b = 2"),
        ('d["#"] = loss', "loss", 'd["#"] = loss.detach()'),
        ("größe = f(größe_α)", "größe_α", "größe = f(größe_α.detach())"),
        ("h = cell(x, state[ i ])", "state[i]", "h = cell(x, state[ i ].detach())"),
        ("self.m = self.beta * self.mem", "self.mem", "self.m = self.beta * self.mem.detach()"),
        ("f = lambda: g(loss)", "loss", "f = lambda: g(loss.detach())"),
        ("if (n := f(h)) > 1: pass", "h", "if (n := f(h.detach())) > 1: pass"),
        ("x = h + h", "h", None),  # which of the two is meant is not known
        ("x = other", "h", None),
    ],
)
def test_a_name_that_the_statement_reads_once(line: str, name: str, after: str | None) -> None:
    assert line_changed(f"{line}  # here\n", named_followed_by(name, ".detach()")) == after


@pytest.mark.parametrize(
    ("line", "after"),
    [
        ("b = 0.9 * b + 0.1 * r", "b = (0.9 * b + 0.1 * r).detach()"),
        ("b = (0.9 * b + 0.1 * r)", "b = (0.9 * b + 0.1 * r).detach()"),
        ("b += loss", "b += loss.detach()"),
        ("b += 2 * loss", "b += (2 * loss).detach()"),
        ("a = b = f(x)", "a = b = f(x).detach()"),
        ("b: T = -x", "b: T = (-x).detach()"),
        ("b = x if c else y", "b = (x if c else y).detach()"),
        ("b = await f()", None),
        ("a, b = x, y", None),
        ("b = 1.0", None),
    ],
)
def test_what_a_statement_assigns(line: str, after: str | None) -> None:
    assert line_changed(f"{line}  # here\n", assigned_followed_by(".detach()")) == after


def test_parentheses_come_only_where_the_parts_would_part() -> None:
    change = followed_by(".requires_grad_()")
    assert line_changed("x = (image - 0.5) / 0.25  # here\n", change, "(image - 0.5) / 0.25") == (
        "x = ((image - 0.5) / 0.25).requires_grad_()"
    )
    assert line_changed("x = f((a + b))  # here\n", change, "a + b") == "x = f((a + b).requires_grad_())"
    assert line_changed("x = f(a + b)  # here\n", change, "a + b") == "x = f((a + b).requires_grad_())"
    assert line_changed("x = f(a, (b))  # here\n", change, "b") == "x = f(a, (b).requires_grad_())"


def test_a_call_of_several_lines_keeps_its_lines_and_comments() -> None:
    text = "y = f(  # here\n    a,  # first, with a )\n    b,\n)\nz = 1\n"
    after = changed(text, assigned_followed_by(".detach()"))
    assert after == text.replace("\n)\n", "\n).detach()\n")


def test_a_name_is_bound_anew_before_or_after() -> None:
    text = "def f(h):\n\tfor x in y:\n\t\tp, h = net(x, h)  # here\n\treturn h\n"
    assert changed(text, rebound("h", ".detach()", before=True)) == text.replace(
        "\t\tp, h = net", "\t\th = h.detach()\n\t\tp, h = net"
    )
    assert changed(text, rebound("h", ".detach()", before=False)) == text.replace(
        "# here\n", "# here\n\t\th = h.detach()\n"
    )
    assert changed(text, rebound("other", ".detach()", before=True)) is None


@pytest.mark.parametrize(
    ("line", "change", "after"),
    [
        ("loss.backward()", receiver_followed_by("backward", call=".mean()"), "loss.mean().backward()"),
        ("(a + b).backward()", receiver_followed_by("backward", call=".mean()"), "(a + b).mean().backward()"),
        ("scaler.scale(loss).backward()", divided(("backward",), 4), "(scaler.scale(loss) / 4).backward()"),
        ("(a + b).backward()", divided(("backward",), 4), "((a + b) / 4).backward()"),
        ("y = torch.log(p)", operand_followed_by(("log",), ".clamp(min=1e-8)"), "y = torch.log(p.clamp(min=1e-8))"),
        ("y = p.log()", operand_followed_by(("log",), ".clamp(min=1e-8)"), "y = p.clamp(min=1e-8).log()"),
        (
            "y = -(t * torch.log(p) + (1 - t) * torch.log(1 - p))",
            operand_followed_by(("log",), ".clamp(min=1e-8)"),
            "y = -(t * torch.log(p.clamp(min=1e-8)) + (1 - t) * torch.log((1 - p).clamp(min=1e-8)))",
        ),
        ("y = (p - t).pow(2).sum()", chain_begun_with(("sum",), ".float()"), "y = (p - t).float().pow(2).sum()"),
        ("y = torch.round(x)", straight_through(("round",)), "y = (x + (torch.round(x) - x).detach())"),
        ("y = (x * 4).round()", straight_through(("round",)), "y = ((x * 4) + ((x * 4).round() - (x * 4)).detach())"),
        ("y = torch.round(f(x))", straight_through(("round",)), None),  # it would be called three times
        ("y = torch.tensor(a.item() + b.item())", not_rebuilt(), "y = a + b"),
        ("y = torch.tensor(a.item() + b.item()).sqrt()", not_rebuilt(), "y = (a + b).sqrt()"),
        ("y = torch.tensor(math.log(a.item()) + 1)", not_rebuilt(), None),
        ("y = torch.tensor(losses).mean()", not_rebuilt(), "y = torch.stack(losses).mean()"),
        ("y = torch.tensor(3.0)", not_rebuilt(), None),
        ("y = torch.tensor(losses, requires_grad=False).mean()", not_rebuilt(), "y = torch.stack(losses).mean()"),
        ("m = (p > 0.5).float()", compared_straight_through(), "m = (p > 0.5).float() + p - p.detach()"),
        ("m = (f(p) > 0.5).float()", compared_straight_through(), None),
        ("m = p > 0.5", compared_straight_through(), None),
        ("y = f(x + 1)", only_argument_followed_by(".detach()"), None),  # which call is meant is not known
        ("h.append(val)", added_detached(), "h.append(val.detach() if torch.is_tensor(val) else val)"),
    ],
)
def test_each_change(line: str, change: Change, after: str | None) -> None:
    text = f"{TORCH}p = t = x = a = b = losses = val = f = h = 0\n{line}  # here\n"
    assert line_changed(text, change) == after


def test_one_side_of_a_comparison() -> None:
    change = side_followed_by(0, ".squeeze(-1)")
    assert line_changed(TORCH + "l = F.mse_loss(p, y)  # here\n", change, "F.mse_loss(p, y)") == (
        "l = F.mse_loss(p.squeeze(-1), y)"
    )
    assert line_changed("l = (p - y).pow(2)  # here\n", change, "p - y") == "l = (p.squeeze(-1) - y).pow(2)"
