"""GS301 to GS304: copies in a leaf's place, gradients of results, and updates that make new tensors."""

from __future__ import annotations

import pytest

from tests.judging import Judging, loud

BUGS = {
    "GS301 a scaled leaf in a dataclass": """
        import torch
        from dataclasses import dataclass, field
        def table():
            return torch.randn(5, 3, requires_grad=True) * 0.1  # culprit
        @dataclass
        class Model:
            table: torch.Tensor = field(default_factory=table)
            def loss(self, ids):
                return self.table[ids].pow(2).sum()
        model = Model()
        model.loss(torch.tensor([1, 2])).backward()
        with torch.no_grad():
            model.table -= 0.1 * model.table.grad
    """,
    "GS301 a leaf moved to another dtype and given to an optimizer": """
        import torch
        params = {name: torch.rand(4, requires_grad=True) for name in "ab"}
        params["c"] = torch.rand(4, requires_grad=True).to(torch.float64)  # culprit
        opt = torch.optim.Adam(params.values(), lr=0.1)
    """,
    "GS301 a rebound leaf whose copy is used in all steps": """
        import torch
        from torch import nn
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.body = nn.Linear(4, 4)
                shift = nn.Parameter(torch.zeros(4))
                self.shift = shift.half().float()  # culprit
            def forward(self, x):
                return self.body(x) + self.shift
        net = Net()
        opt = torch.optim.SGD(net.parameters(), lr=0.1)
        for i in range(4):
            opt.zero_grad()
            net(torch.randn(3, 4)).pow(2).mean().backward()
            opt.step()
    """,
    "GS301 the optimizer has the leaf, the loss its old copy": """
        import torch
        w = torch.zeros(4, requires_grad=True)
        opt = torch.optim.SGD([w], lr=0.1)
        used = w.to(torch.float64)  # culprit
        def closure(x):
            return ((used * x).sum(1) - 1).square().mean()
        step = 0
        while step < 4:
            opt.zero_grad()
            closure(torch.ones(2, 4, dtype=torch.float64)).backward()
            opt.step()
            step += 1
    """,
    "GS302 an attention map": """
        import torch
        from torch import nn
        class Attention(nn.Module):
            def __init__(self):
                super().__init__()
                self.q, self.k = nn.Linear(4, 4), nn.Linear(4, 4)
            def forward(self, x):
                self.weights = (self.q(x) @ self.k(x).transpose(-1, -2)).softmax(-1)
                return (self.weights @ x).mean()
        net = Attention()
        net(torch.randn(3, 4)).backward()
        relevance = net.weights.grad.abs()  # culprit
    """,
    "GS302 a list of activations": """
        import torch
        from torch import nn
        layers = [nn.Linear(4, 4) for _ in range(3)]
        x, kept = torch.randn(2, 4), []
        for layer in layers:
            x = layer(x).tanh()
            kept.append(x)
        x.sum().backward()
        norms = [float(h.grad.norm()) for h in kept]  # culprit
    """,
    "GS303 in a class, with momentum": """
        import torch
        class Momentum:
            def __init__(self, w, lr):
                self.w, self.lr, self.v = w, lr, torch.zeros_like(w)
            def step(self):
                self.v = 0.9 * self.v + self.w.grad
                self.w = self.w - self.lr * self.v  # culprit
        x = torch.randn(8, 3)
        m = Momentum(torch.ones(3, requires_grad=True), 0.1)
        for _ in range(3):
            (x @ m.w).square().mean().backward()
            m.step()
    """,
    "GS303 under no_grad": """
        import torch
        def fit(x, y):
            w = torch.zeros(3, requires_grad=True)
            for _ in range(3):
                loss = (x @ w - y).square().mean()
                loss.backward()
                with torch.no_grad():
                    w = w - 0.1 * w.grad  # culprit
            return w
        fit(torch.randn(8, 3), torch.randn(8))
    """,
    "GS303 with autograd.grad": """
        import torch
        a = torch.tensor(1.5, requires_grad=True)
        b = torch.tensor(0.5, requires_grad=True)
        for _ in range(3):
            loss = (a * 2 + b - 3) ** 2
            loss.backward()
            a = torch.sub(a, a.grad, alpha=0.1)  # culprit
            b.data -= 0.1 * b.grad
            b.grad = None
    """,
    "GS304 a generator of parameters": """
        import torch
        from torch import nn
        net = nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 1))
        def named():
            yield from net.named_parameters()
        for epoch in range(3):
            net.zero_grad()
            net(torch.randn(6, 3)).square().mean().backward()
            for name, weight in named():
                if "bias" not in name:
                    weight = weight.data - 0.1 * weight.grad.data  # culprit
    """,
    "GS304 functional gradients": """
        import torch
        from torch import nn
        class Trainer:
            def __init__(self):
                self.net = nn.Linear(3, 1)
            def step(self, x):
                loss = self.net(x).square().mean()
                params = tuple(self.net.parameters())
                for p, g in zip(params, torch.autograd.grad(loss, params)):
                    p = torch.add(p, g, alpha=-0.1)  # culprit
                return loss
        trainer = Trainer()
        for _ in range(3):
            trainer.step(torch.randn(6, 3))
    """,
}


@pytest.mark.parametrize("bug", BUGS)
def test_blames_the_line_to_change(judging: Judging, bug: str) -> None:
    assert loud([judging.expect(bug.split()[0], "# culprit", BUGS[bug])])


HEALTHY = {
    "weights scaled anew in each forward": """
        import torch
        from torch import nn
        w = nn.Parameter(torch.randn(4, 2))
        opt = torch.optim.SGD([w], lr=0.1)
        for _ in range(3):
            opt.zero_grad()
            scaled = w * 0.1
            (torch.ones(1, 4) @ scaled.double().float()).sum().backward()
            opt.step()
    """,
    "a gradient asked for last": """
        import torch
        w = (torch.randn(4) * 0.1).double().requires_grad_()
        opt = torch.optim.SGD([w], lr=0.1)
        for _ in range(3):
            opt.zero_grad()
            w.square().sum().backward()
            opt.step()
    """,
    "a result that was told to keep its gradient": """
        import torch
        x = torch.ones(3, requires_grad=True)
        h = x * 2
        h.retain_grad()
        h.square().sum().backward()
        print(h.grad.norm(), x.grad.norm())
    """,
    "a hand-made descent under no_grad": """
        import torch
        w = torch.zeros(3, requires_grad=True)
        for _ in range(3):
            (w - 1).square().sum().backward()
            with torch.no_grad():
                w -= 0.1 * w.grad
            w.grad.zero_()
    """,
    "a functional descent that makes a leaf of each update": """
        import torch
        w = torch.zeros(3, requires_grad=True)
        for _ in range(3):
            loss = (w - 1).square().sum()
            (g,) = torch.autograd.grad(loss, w)
            w = (w - 0.1 * g).detach().requires_grad_()
    """,
    "inner steps that the outer loss goes through": """
        import torch
        w = torch.ones(3, requires_grad=True)
        opt = torch.optim.SGD([w], lr=0.1)
        for _ in range(3):
            fast = w
            for _ in range(2):
                (g,) = torch.autograd.grad((fast - 2).square().sum(), fast, create_graph=True)
                fast = fast - 0.1 * g
            opt.zero_grad()
            (fast - 3).square().sum().backward()
            opt.step()
    """,
    "values copied back into the parameters": """
        import torch
        from torch import nn
        net = nn.Linear(3, 1)
        for _ in range(3):
            net.zero_grad()
            net(torch.randn(4, 3)).square().mean().backward()
            with torch.no_grad():
                for p in net.parameters():
                    new = p - 0.1 * p.grad
                    p.copy_(new)
    """,
    "parameters replaced by name": """
        import torch
        from torch import nn
        net = nn.Linear(3, 1)
        for _ in range(3):
            net.zero_grad()
            net(torch.randn(4, 3)).square().mean().backward()
            for name, p in list(net.named_parameters()):
                setattr(net, name, nn.Parameter(p.detach() - 0.1 * p.grad))
    """,
    "the size of an update, for the log": """
        import torch
        from torch import nn
        net = nn.Linear(3, 1)
        opt = torch.optim.SGD(net.parameters(), lr=0.1)
        for _ in range(3):
            opt.zero_grad()
            net(torch.randn(4, 3)).square().mean().backward()
            ratio = [float((p - 0.1 * p.grad).norm() / p.norm()) for p in net.parameters()]
            opt.step()
    """,
    "a view of the leaf, made once": """
        import torch
        w = torch.zeros(6, requires_grad=True)
        matrix = w.view(2, 3)
        opt = torch.optim.SGD([w], lr=0.1)
        for _ in range(3):
            opt.zero_grad()
            (w.view(2, 3).sum(0) - 1).square().sum().backward()
            opt.step()
            print(matrix.sum())
    """,
    "an adversarial input": """
        import torch
        from torch import nn
        net = nn.Linear(3, 2)
        x, y = torch.rand(4, 3), torch.tensor([0, 1, 0, 1])
        adv = x.clone().detach().requires_grad_(True)
        for _ in range(3):
            loss = nn.functional.cross_entropy(net(adv), y)
            (g,) = torch.autograd.grad(loss, adv)
            adv = (adv.detach() + 0.1 * g.sign()).clamp(0, 1).requires_grad_(True)
    """,
    "the saliency of an input that was converted once": """
        import torch
        from torch import nn
        net = nn.Linear(3, 2).double()
        image = torch.rand(3, requires_grad=True)
        precise = image.double()
        for label in range(2):
            net(precise)[label].backward()
            print(image.grad.abs().sum())
            image.grad = None
    """,
    "a target network moved by hand": """
        import copy
        import torch
        from torch import nn
        net = nn.Linear(3, 1)
        slow = copy.deepcopy(net)
        opt = torch.optim.SGD(net.parameters(), lr=0.1)
        for _ in range(3):
            x = torch.randn(4, 3)
            with torch.no_grad():
                target = slow(x)
            opt.zero_grad()
            (net(x) - target - 1).square().mean().backward()
            opt.step()
            with torch.no_grad():
                for a, b in zip(slow.parameters(), net.parameters()):
                    a.lerp_(b, 0.1)
    """,
    "gradients read where some parameters have none": """
        import torch
        from torch import nn
        net = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 1))
        net[0].requires_grad_(False)
        opt = torch.optim.SGD(net[1].parameters(), lr=0.1)
        for _ in range(3):
            opt.zero_grad()
            net(torch.randn(4, 3)).square().mean().backward()
            total = sum(p.grad.norm() for p in net.parameters() if p.grad is not None)
            opt.step()
    """,
}


@pytest.mark.parametrize("script", HEALTHY)
def test_silent_where_leaves_are_leaves(judging: Judging, script: str) -> None:
    assert not loud(judging(HEALTHY[script]))


def test_a_copy_is_told_with_both_lines_and_the_order_to_write(judging: Judging) -> None:
    found = judging("""
        import torch
        w = torch.zeros(3, requires_grad=True)  # leaf
        w = w.double()  # copy
        (w * 2).sum().backward()
        print(w.grad + 1)  # read
    """)
    first = found[0]
    assert (first.code, first.confidence) == ("GS301", 0.99)
    assert judging.blames(first, "# copy")
    assert first.message == "w is not the leaf that asked for a gradient but a float64 copy of it"
    assert [(p.line, p.note) for p in first.related] == [
        (judging.line("# leaf"), "the leaf was made here"),
        (judging.line("# read"), "its .grad, which is None, was read here"),
    ]
    assert "ask for the gradient last" in first.fix
    assert "ToCopyBackward0" in first.explanation


def test_a_lost_update_names_the_parameters(judging: Judging) -> None:
    found = judging(BUGS["GS304 a generator of parameters"])
    assert found[0].message == "the updated value is thrown away: 0.weight, 2.weight never change"
    assert "with torch.no_grad(): p -= lr * p.grad" in found[0].fix
