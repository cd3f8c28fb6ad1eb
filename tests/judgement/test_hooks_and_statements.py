"""Hooks that lose the gradient, writes inside a backward, results and methods that a statement lets go of."""

from __future__ import annotations

import pytest

from tests.judgement.loops import NETS
from tests.judging import Judging, loud

TRAIN = """
opt = torch.optim.SGD(net.parameters(), lr=0.05)
for _ in range(4):
    x, y = batch()
    opt.zero_grad()
    F.mse_loss(net(x), y).backward()
    opt.step()
"""

BUGS = {
    "a hook clips the parameter": (
        "GS818",
        """
def limit(p):
    def hook(grad):
        return torch.clamp(p, -1, 1)  # culprit
    return hook
net = mlp(4, 1)
for p in net.parameters():
    p.register_hook(limit(p))
"""
        + TRAIN,
    ),
    "a hook gives the parameter back": (
        "GS818",
        """
net = nn.Linear(4, 1)
net.weight.register_hook(lambda grad: net.weight)  # culprit
"""
        + TRAIN,
    ),
    "a hook scales and returns nothing": (
        "GS819",
        """
def quieter(grad):
    grad = grad / 4  # culprit
net = nn.Linear(4, 1)
net.weight.register_hook(quieter)
"""
        + TRAIN,
    ),
    "a hook masks in a statement of its own": (
        "GS819",
        """
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.lin = nn.Linear(4, 1)
        self.mask = torch.tensor([[1.0, 0, 0, 1]])
        self.lin.weight.register_hook(self.keep)
    def keep(self, grad):
        grad * self.mask  # culprit
    def forward(self, x):
        return self.lin(x)
net = Net()
"""
        + TRAIN,
    ),
    "a hook writes .grad, and the backward adds to it": (
        "GS819",
        """
net = nn.Linear(4, 1)
def unit(grad):
    net.weight.grad = grad / grad.norm()  # culprit
net.weight.register_hook(unit)
"""
        + TRAIN,
    ),
    "a hook updates what the optimizer updates": (
        "GS820",
        """
net = nn.Linear(4, 1)
@torch.no_grad()
def update(grad):
    net.weight.sub_(0.1 * grad)  # culprit
net.weight.register_hook(update)
"""
        + TRAIN,
    ),
    "a custom backward clips the weight": (
        "GS820",
        """
class Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, w):
        ctx.save_for_backward(x, w)
        return x @ w
    @staticmethod
    def backward(ctx, grad):
        x, w = ctx.saved_tensors
        w.data.clamp_(-0.1, 0.1)  # culprit
        return grad @ w.t(), x.t() @ grad
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.randn(4, 1))
    def forward(self, x):
        return Linear.apply(x, self.w)
net = Net()
"""
        + TRAIN,
    ),
    "an activation that is a statement": (
        "GS524",
        """
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(4, 8), nn.Linear(8, 1)
    def forward(self, x):
        h = self.a(x)
        F.relu(h)  # culprit
        return self.b(h)
net = Net()
"""
        + TRAIN,
    ),
    "scores that stay unmasked": (
        "GS524",
        """
class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.q, self.k, self.v = (nn.Linear(4, 4) for _ in range(3))
    def forward(self, x):
        scores = self.q(x) @ self.k(x).t()
        scores.masked_fill(torch.eye(len(x), dtype=torch.bool), float("-inf"))  # culprit
        return scores.softmax(1) @ self.v(x).mean(1, keepdim=True)
net = Attention()
"""
        + TRAIN,
    ),
    "gradients that are scaled under a name of the loop": (
        "GS524",
        """
net = nn.Linear(4, 1)
opt = torch.optim.SGD(net.parameters(), lr=0.05)
for _ in range(4):
    x, y = batch()
    opt.zero_grad()
    F.mse_loss(net(x), y).backward()
    for p in net.parameters():
        scaled = p.grad / p.grad.norm()  # culprit
    opt.step()
""",
    ),
    "a module's hook that makes a tuple and returns nothing": (
        "GS524",
        """
net = mlp(4, 1)
def quieter(module, grads, outer):
    tuple(g * 0.1 for g in grads if g is not None)  # culprit
net[-1].register_full_backward_hook(quieter)
"""
        + TRAIN,
    ),
    "a reversal that reverses nothing": (
        "GS524",
        """
class Reverse(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.view_as(x)
    @staticmethod
    def backward(ctx, grad):
        grad.neg()  # culprit
        return grad
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(4, 4), nn.Linear(4, 1)
    def forward(self, x):
        return self.b(Reverse.apply(self.a(x)))
net = Net()
"""
        + TRAIN,
    ),
    "a step that is only named": (
        "GS525",
        """
net = nn.Linear(4, 1)
"""
        + TRAIN.replace("opt.step()", "opt.step  # culprit"),
    ),
    "an eval that is only named": (
        "GS525",
        """
net = mlp(4, 1, nn.Dropout(0.2))
def score():
    net.eval  # culprit
    with torch.no_grad():
        return F.mse_loss(net(batch()[0]), batch()[1]).item()
print(score())
"""
        + TRAIN
        + "print(score())\n",
    ),
}

HEALTHY = {
    "hooks that scale, mask, watch, and decay": """
net, norms, kept = mlp(4, 1), {}, []
def watch(grad):
    doubled = grad * 2
    kept.append(doubled)
def mask(grad):
    keep = torch.ones_like(grad)
    keep[0] = 0
    return grad * keep
net[0].weight.register_hook(lambda grad: grad * 0.5)
net[0].weight.register_hook(lambda grad: grad + 1e-4 * net[0].weight)
net[0].bias.register_hook(lambda grad: norms.update(bias=grad.norm()))
net[-1].weight.register_hook(watch)
net[0].bias.register_hook(mask)
"""
    + TRAIN,
    "an update in the hook that comes after the gradient": """
net = mlp(4, 1)
@torch.no_grad()
def update(p):
    p -= 0.1 * p.grad
    p.grad = None
for p in net.parameters():
    p.register_post_accumulate_grad_hook(update)
for _ in range(4):
    x, y = batch()
    F.mse_loss(net(x), y).backward()
""",
    "a hook that solves for the gradient of a fixed point": """
cell = nn.Linear(4, 4)
opt = torch.optim.SGD(cell.parameters(), lr=0.05)
for _ in range(4):
    x, _ = batch()
    z = torch.tanh(0.3 * cell(torch.zeros(8, 4)) + x)
    point = z.detach().requires_grad_()
    again = torch.tanh(0.3 * cell(point) + x)
    def solve(grad):
        return torch.autograd.grad(again, point, grad, retain_graph=True)[0] + grad
    z.register_hook(solve)
    learn(opt, F.mse_loss(z, x))
""",
    "gradients that are scaled, and looked at": """
net = nn.Linear(4, 1)
opt = torch.optim.SGD(net.parameters(), lr=0.05)
before = None
for _ in range(4):
    x, y = batch()
    opt.zero_grad()
    F.mse_loss(net(x), y).backward()
    for p in net.parameters():
        print(before)
        before = p.grad * 2
        p.grad = p.grad / p.grad.norm()
    opt.step()
""",
    "statements that write, draw, and look": """
net = mlp(4, 1)
opt = torch.optim.SGD(net.parameters(), lr=0.05)
for _ in range(4):
    x, y = batch()
    x.add_(0.1)
    torch.add(x, 1, out=x)
    F.relu(x, inplace=True)
    torch.randn(3)
    loss = F.mse_loss(net(x), y)
    loss.item()
    learn(opt, loss)
    net[0].weight
""",
    "a hook on activations is given what it needs": """
net, seen = mlp(4, 1), {}
def save(module, inputs, output):
    seen["h"] = output.detach()
net[0].register_forward_hook(save)
with torch.no_grad():
    net(batch()[0])
"""
    + TRAIN,
}


@pytest.mark.parametrize("name", BUGS)
def test_the_line_is_named(judging: Judging, name: str) -> None:
    code, script = BUGS[name]
    judging.expect(code, "# culprit", NETS + script)


@pytest.mark.parametrize("name", HEALTHY)
def test_nothing_is_said_of_healthy_code(judging: Judging, name: str) -> None:
    assert loud(judging(NETS + HEALTHY[name])) == []


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("a hook scales and returns nothing", "    return grad / 4"),
        ("an activation that is a statement", "        h = F.relu(h)"),
        ("a step that is only named", "    opt.step()"),
    ],
)
def test_the_patch_says_it(judging: Judging, name: str, line: str) -> None:
    patch = judging(NETS + BUGS[name][1])[0].fixes[0].patch
    assert patch is not None
    assert line in [new.partition("  #")[0] for edit in patch.edits for new in edit.new]
