"""Custom Functions and hooks: the line inside them that is wrong."""

from __future__ import annotations

import pytest

from tests.judgement.loops import NET, PLAIN, loop
from tests.judging import Judging, loud

ELEMENTWISE = """
import torch
from torch import nn
torch.manual_seed(0)

class Fn(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return {forward}

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        return {backward}  # wrong

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.ModuleList(nn.Linear(4, 4) for _ in range(2))

    def forward(self, x):
        for layer in self.body:
            x = Fn.apply(layer(x))
        return x.sum(1)

net = Net()
opt = torch.optim.SGD(net.parameters(), lr=1e-3)
data = torch.randn(4, 24, 4)
for x in data:
    opt.zero_grad()
    (net(x) - 1).pow(2).mean().backward()
    opt.step()
"""

WRONG = {
    "a forgotten factor": ("x ** 3", "grad * x ** 2"),
    "a wrong sign": ("torch.cos(x)", "grad * torch.sin(x)"),
    "a forgotten term": ("x * torch.tanh(x)", "grad * torch.tanh(x)"),
    "the value for the slope": ("torch.sin(x)", "grad * torch.sin(x)"),
}
MEANT = {
    "right": ("x ** 3", "grad * 3 * x ** 2"),
    "softplus": ("torch.log1p(x.exp())", "grad * torch.sigmoid(x)"),
    "straight through a rounding": ("x.round()", "grad"),
    "a surrogate for a spike": ("(x > 0).float()", "grad / (1 + x.abs()) ** 2"),
    "gradient reversal": ("x.view_as(x)", "-0.5 * grad"),
    "clipping the gradient": ("x.clone()", "grad.clamp(-0.01, 0.01)"),
    "a leaky relu": ("torch.where(x > 0, x, 0.1 * x)", "grad * torch.where(x > 0, 1.0, 0.1)"),
    "not elementwise": ("x.softmax(1)", "grad * 0.1"),
}


@pytest.mark.parametrize(("forward", "backward"), WRONG.values(), ids=WRONG)
def test_a_backward_that_is_not_the_derivative(judging: Judging, forward: str, backward: str) -> None:
    first = judging.expect("GS813", "# wrong", ELEMENTWISE.format(forward=forward, backward=backward))
    assert "gradcheck" in first.fix


@pytest.mark.parametrize(("forward", "backward"), MEANT.values(), ids=MEANT)
def test_a_gradient_that_is_meant_is_no_finding(judging: Judging, forward: str, backward: str) -> None:
    found = judging(ELEMENTWISE.format(forward=forward, backward=backward))
    assert not [one for one in loud(found) if one.code.startswith("GS81")]


def test_none_for_a_parameter(judging: Judging) -> None:
    first = judging("""
        import torch
        from torch import nn
        from ops import affine

        gain, shift = nn.Parameter(torch.ones(3)), nn.Parameter(torch.zeros(3))
        opt = torch.optim.Adam([gain, shift])
        for _ in range(3):
            opt.zero_grad()
            affine(torch.randn(5, 3), gain, shift).pow(2).mean().backward()
            opt.step()
    """, ops="""
        import torch

        class Affine(torch.autograd.Function):
            @staticmethod
            def forward(ctx, x, gain, shift):
                ctx.save_for_backward(x, gain)
                return x * gain + shift

            @staticmethod
            def backward(ctx, grad):
                x, gain = ctx.saved_tensors
                return grad * gain, (grad * x).sum(0), None  # wrong

        def affine(x, gain, shift):
            return Affine.apply(x, gain, shift)
    """)[0]  # fmt: skip
    assert first.code == "GS812"
    assert judging.blames(first, "# wrong", "ops.py")
    assert "needs a gradient" in first.message
    assert [place.line for place in first.related] == [judging.line("Affine.apply", "ops.py")]


def test_none_for_what_needs_no_gradient_is_right(judging: Judging) -> None:
    found = judging("""
        import torch
        class Scale(torch.autograd.Function):
            @staticmethod
            def forward(ctx, x, mask, k):
                ctx.save_for_backward(mask)
                ctx.k = k
                return x * mask * k
            @staticmethod
            def backward(ctx, grad):
                (mask,) = ctx.saved_tensors
                return grad * mask * ctx.k, None, None
        w = torch.ones(4, requires_grad=True)
        opt = torch.optim.SGD([w], lr=0.1)
        for _ in range(2):
            opt.zero_grad()
            Scale.apply(w, torch.rand(4), 3.0).sum().backward()
            opt.step()
    """)
    assert not [one for one in loud(found) if one.code.startswith("GS81")]


@pytest.mark.parametrize("returned", ["grad * ctx.k", "grad[:, :1], None"], ids=["too few", "another shape"])
def test_what_torch_refuses_is_explained(judging: Judging, returned: str) -> None:
    first = judging(f"""
        import torch
        class Scale(torch.autograd.Function):
            @staticmethod
            def forward(ctx, x, k):
                ctx.k = k
                return x * k
            @staticmethod
            def backward(ctx, grad):
                return {returned}  # wrong
        w = torch.ones(4, 2, requires_grad=True)
        Scale.apply(w, 3.0).sum().backward()
    """)[0]
    assert first.code == "GS811"
    assert judging.blames(first, "# wrong")
    assert judging.ran is not None
    assert judging.ran.status == 1


def test_a_hook_that_zeroes(judging: Judging) -> None:
    first = judging(
        NET
        + """
def silence(strength):
    def scaled(grad):
        return strength * grad  # wrong
    return scaled
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(4, 5), nn.Linear(5, 1)
    def forward(self, x):
        h = self.a(x).tanh()
        h.register_hook(silence(0.0))  # registered
        return self.b(h)
net = Net()
"""
        + PLAIN
    )[0]
    assert first.code == "GS814"
    assert judging.blames(first, "# wrong")
    assert [place.line for place in first.related] == [judging.line("# registered")]


def test_a_hook_that_looks_or_scales_is_no_finding(judging: Judging) -> None:
    found = judging(
        NET
        + """
norms = []
for p in net.parameters():
    p.register_hook(lambda grad: grad.clamp(-1, 1))
"""
        + loop("""
opt.zero_grad()
h = net[1](net[0](x))
h.register_hook(lambda grad: norms.append(grad.norm().item()))
net[2](h).pow(2).mean().backward()
opt.step()
""")
    )
    assert not loud(found)


MUTE = """
def mute(module, grad_in, grad_out):
    return tuple(None if g is None else g * 0 for g in grad_in)  # wrong
"""


def test_a_module_hook_that_zeroes(judging: Judging) -> None:
    registered = "for layer in [net[2]]:\n    layer.register_full_backward_hook(mute)  # registered\n"
    first = judging.expect("GS814", "# wrong", NET + MUTE + registered + PLAIN)
    assert [place.line for place in first.related] == [judging.line("# registered")]


def two_hooks(looks: int) -> str:
    """One hook that looks, at that layer, and one at the last layer that zeroes."""
    return (
        NET
        + MUTE
        + f"""
def look(module, grad_in, grad_out):
    return None  # looks
net[{looks}].register_full_backward_hook(look)  # harmless
net[2].register_full_backward_hook(mute)  # registered
"""
        + PLAIN
    )


def test_of_several_module_hooks_the_one_of_that_module_is_blamed(judging: Judging) -> None:
    first = judging.expect("GS814", "# wrong", two_hooks(1))
    assert first.message.startswith("a hook on module 2 turned")
    assert [place.line for place in first.related] == [judging.line("# registered")]


def test_of_two_hooks_on_one_module_both_are_shown(judging: Judging) -> None:
    first = judging(two_hooks(2))[0]
    assert first.code == "GS814"
    assert first.message.startswith("one of 2 hooks on module 2 turned")
    assert first.culprit is None
    assert first.no_place == "which of these hooks did it was not recorded"
    shown = [judging.line(mark) for mark in ("# looks", "# wrong", "# harmless", "# registered")]
    assert [place.line for place in first.related] == shown


def test_two_hooks_on_one_tensor_are_one_finding(judging: Judging) -> None:
    found = judging("""
        import torch

        def look(grad):
            return None  # looks

        def mute(grad):
            return grad * 0  # wrong

        w = torch.ones(3, requires_grad=True)
        for _ in range(3):
            y = w * 2
            y.register_hook(look)
            y.register_hook(mute)
            y.sum().backward()
    """)
    (one,) = (finding for finding in loud(found) if finding.code == "GS814")
    assert one.culprit is None
    assert {judging.line("# looks"), judging.line("# wrong")} < {place.line for place in one.related}


def test_a_module_hook_that_only_looks_is_no_finding(judging: Judging) -> None:
    looks = "seen = []\nnet[2].register_full_backward_hook(lambda module, inner, outer: seen.append(len(outer)))\n"
    assert not loud(judging(NET + looks + PLAIN))
