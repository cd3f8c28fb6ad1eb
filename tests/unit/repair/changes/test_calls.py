"""Calls: a keyword more, a link of the chain less, another name; and what functions return."""

from __future__ import annotations

import pytest

from gradscope.repair.changes.calls import (
    argument_replaced,
    conditional,
    kept_in_a_list,
    link_replaced,
    of_the_whole,
    receiver,
    renamed,
    same_object,
    state_copied,
    with_keyword,
    without_call,
    without_op,
)
from gradscope.repair.changes.functions import padded_return, returns_parameter, times_incoming
from gradscope.repair.ways import Change
from tests.mending import changed, line_changed

HEAD = "import torch\nimport torch.nn.functional as F\nself = x = e = loss = ps = 1\n"


@pytest.mark.parametrize(
    ("line", "change", "after"),
    [
        (
            "g = torch.autograd.grad(loss, x)",
            with_keyword(("grad",), "create_graph", "True"),
            "g = torch.autograd.grad(loss, x, create_graph=True)",
        ),
        (
            "g = grad(loss, x, create_graph=False)",
            with_keyword(("grad",), "create_graph", "True"),
            "g = grad(loss, x, create_graph=True)",
        ),
        ("g = grad(*ps, **x)", with_keyword(("grad",), "create_graph", "True"), None),  # it may be there already
        ("g = grad(x) + grad(x)", with_keyword(("grad",), "create_graph", "True"), None),
        (
            "a = F.dropout(e.softmax(-1), p=self.p)",
            with_keyword(("dropout",), "training", "self.training"),
            "a = F.dropout(e.softmax(-1), p=self.p, training=self.training)",
        ),
        ("a = f()", with_keyword(("f",), "a", "unknown"), None),
        (
            "a = F.sdpa(x, dropout_p=0.1 + e)",
            conditional(("sdpa",), "dropout_p", "self.training", "0.0"),
            "a = F.sdpa(x, dropout_p=(0.1 + e) if self.training else 0.0)",
        ),
        ("h = f(x.detach())", without_call("detach"), "h = f(x)"),
        ("h = (x + e).detach().cpu()", without_call("detach"), "h = (x + e).cpu()"),
        ("y = torch.softmax(x, dim=1)", without_op(("softmax",)), "y = x"),
        ("y = (x @ e).softmax(1)", without_op(("softmax",)), "y = (x @ e)"),
        ("y = x.view(2, 3, 4)", link_replaced(("view",), ".transpose(1, 2)"), "y = x.transpose(1, 2)"),
        ("y = torch.reshape(x, (2, 3))", link_replaced(("reshape",), ".transpose(0, 1)"), None),
        (
            "nn.init.constant_(x.bias, -10.0)",
            argument_replaced(("constant_",), -1, "0.0"),
            "nn.init.constant_(x.bias, 0.0)",
        ),
        ("o = SGD(x.enc.parameters(), lr=1)", of_the_whole(), "o = SGD(x.parameters(), lr=1)"),
        ("o = SGD(self.enc.parameters(), lr=1)", of_the_whole(), None),
        ("b = x.state_dict()", state_copied(), "b = {name: value.clone() for name, value in x.state_dict().items()}"),
        ("y = torch.tensor(x)", renamed(("tensor",), "stack"), "y = torch.stack(x)"),
        (
            "self.out.weight = torch.nn.Parameter(self.emb.weight.clone())",
            same_object(),
            "self.out.weight = self.emb.weight",
        ),
    ],
)
def test_each_change(line: str, change: Change, after: str | None) -> None:
    assert line_changed(f"{HEAD}{line}  # here\n", change) == after


def test_an_iterator_is_kept_in_a_list_where_it_is_made() -> None:
    text = "self.ps = filter(ok, ps)\nclip(self.ps, 1.0)  # here\n"
    assert changed(text, kept_in_a_list(("clip",))) == text.replace("filter(ok, ps)", "list(filter(ok, ps))")


def test_who_a_method_is_called_on() -> None:
    assert receiver("self.scaler.scale(loss).backward()", "scale") == "self.scaler"
    assert receiver("get().scale(loss)", "scale") == ""
    assert receiver("a +", "scale") == ""


FUNCTION = """\
class Scale(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, scale, eps=1e-6):
        return x * scale

    @staticmethod
    def backward(ctx, grad):
        return 2 * ctx.scale  # here
"""


def test_a_backward_returns_none_for_the_arguments_that_need_none() -> None:
    assert line_changed(FUNCTION, padded_return(least=1)) == "return 2 * ctx.scale, None, None"
    tuple_ = FUNCTION.replace("2 * ctx.scale", "(2 * ctx.scale,\n            None)").replace("  # here", "")
    tuple_ = tuple_.replace("return (2", "return (  # here\n            2")
    assert changed(tuple_, padded_return(least=1)) == tuple_.replace("None)", "None, None)")
    assert changed(FUNCTION, padded_return(least=2)) is None  # one that is needed is missing


def test_a_backward_multiplies_by_what_came_in() -> None:
    assert line_changed(FUNCTION, times_incoming()) == "return grad * (2 * ctx.scale)"
    assert changed(FUNCTION.replace("2 * ctx", "grad * ctx"), times_incoming()) is None


def test_a_hook_returns_the_gradient() -> None:
    text = "def make(on):\n    def hook(grad):\n        return grad * on  # here\n    return hook\n"
    assert line_changed(text, returns_parameter(-1)) == "return grad"
