"""GS305 to GS308, GS310, GS311: calls that torch refuses; and GS309: gradients that nobody asked for."""

from __future__ import annotations

import pytest

from tests.judging import Judging, loud

BUGS = {
    "GS305 a leaf updated with gradients on": """
        import torch
        def descend(params, lr):
            for p in params:
                p -= lr * p.grad  # culprit
        w = [torch.ones(3, requires_grad=True) for _ in range(2)]
        sum((p * p).sum() for p in w).backward()
        descend(w, 0.1)
    """,
    "GS305 through a view": """
        import torch
        from torch import nn
        class Embed(nn.Module):
            def __init__(self, n):
                super().__init__()
                self.table = nn.Parameter(torch.randn(n, 4))
                self.table[0].zero_()  # culprit
        Embed(3)
    """,
    "GS306 broadcast data": """
        import torch
        grid = torch.zeros(1, 3).broadcast_to(4, 3)
        def add_noise(t):
            return t.add_(torch.randn(4, 3))  # culprit
        add_noise(grid)
    """,
    "GS307 a loop over a result": """
        import torch
        from torch import nn
        frames = nn.Linear(3, 4)(torch.ones(2, 3))
        for frame in frames:
            frame[0] = 0.0  # culprit
        frames.sum().backward()
    """,
    "GS307 chunks of a gate": """
        import torch
        from torch import nn
        i, f = nn.Linear(3, 8)(torch.ones(2, 3)).chunk(2, dim=1)
        f.add_(1.0)  # culprit
    """,
    "GS307 a view made under no_grad": """
        import torch
        h = torch.ones(4, requires_grad=True) * 2
        with torch.no_grad():
            flat = h.view(2, 2)
        flat.mul_(3)  # culprit
    """,
    "GS308 a parameter of whole numbers": """
        import torch
        from torch import nn
        class Offsets(nn.Module):
            def __init__(self):
                super().__init__()
                self.offsets = nn.Parameter(torch.arange(4))  # culprit
        Offsets()
    """,
    "GS308 the flag of a mask": """
        import torch
        mask = torch.zeros(3, dtype=torch.bool)
        mask.requires_grad_()  # culprit
    """,
    "GS310 a weight replaced by its update": """
        import torch
        from torch import nn
        net = nn.Linear(3, 1)
        net(torch.ones(2, 3)).sum().backward()
        net.weight = net.weight - 0.1 * net.weight.grad  # culprit
    """,
    "GS311 the flag of a result": """
        import torch
        from torch import nn
        features = nn.Linear(3, 3)(torch.ones(2, 3))
        features.requires_grad = False  # culprit
    """,
    "GS311 a deep copy of a model that keeps its output": """
        import copy
        import torch
        from torch import nn
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.lin = nn.Linear(3, 1)
            def forward(self, x):
                self.out = self.lin(x)  # culprit
                return self.out
        net = Net()
        net(torch.ones(1, 3)).sum().backward()
        best = copy.deepcopy(net)
    """,
    "GS309 an image made for the attack": """
        import torch
        from torch import nn
        net = nn.Linear(4, 2)
        def saliency(x):
            x = x.detach() / 2  # culprit
            net(x).max().backward()
            return x.grad.abs()
        saliency(torch.rand(1, 4))
    """,
    "GS309 differentiated by autograd.grad": """
        import torch
        from torch import nn
        critic = nn.Linear(4, 1)
        def penalty(real, fake):
            mixed = real * 0.3 + fake * 0.7  # culprit
            out = critic(mixed).sum()
            (g,) = torch.autograd.grad(out, mixed, create_graph=True)
            return (g.norm(dim=1) - 1).square().mean()
        penalty(torch.randn(2, 4), torch.randn(2, 4)).backward()
    """,
    "GS309 weights given to an optimizer": """
        import torch
        weights = {k: torch.zeros(3) for k in ("a", "b")}  # culprit
        opt = torch.optim.SGD(weights.values(), lr=0.1)
        loss = sum((w - 1).square().sum() for w in weights.values())
        loss.backward()
    """,
    "GS309 one of two, which never moves": """
        import torch
        w = torch.zeros(3, requires_grad=True)
        b = torch.zeros(1)  # culprit
        opt = torch.optim.SGD([w, b], lr=0.1)
        for _ in range(3):
            opt.zero_grad()
            (torch.ones(4, 3) @ w + b - 1).square().mean().backward()
            opt.step()
    """,
    "GS309 everything frozen": """
        import torch
        from torch import nn
        net = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 1))
        for p in net.parameters():
            p.requires_grad = False  # culprit
        net(torch.ones(1, 3)).sum().backward()
    """,
    "GS309 retain_grad on data": """
        import torch
        def probe(x):
            y = x * 3  # culprit
            y.retain_grad()
            return y
        probe(torch.ones(3))
    """,
}


@pytest.mark.parametrize("bug", BUGS)
def test_blames_the_line_to_change(judging: Judging, bug: str) -> None:
    assert loud([judging.expect(bug.split()[0], "# culprit", BUGS[bug])])


HEALTHY = {
    "initialised under no_grad": """
        import torch
        from torch import nn
        w = nn.Parameter(torch.randn(3, 3))
        with torch.no_grad():
            w *= 0.1
            w[0].zero_()
        nn.init.xavier_uniform_(w)
        (w.sum()).backward()
    """,
    "an error that the script expects": """
        import torch
        w = torch.ones(3, requires_grad=True)
        try:
            w.mul_(2)
        except RuntimeError:
            with torch.no_grad():
                w.mul_(2)
        w.sum().backward()
    """,
    "expanded and cloned": """
        import torch
        x = torch.ones(1, 3, requires_grad=True)
        y = x.expand(4, 3).clone()
        y += 1
        y.sum().backward()
    """,
    "data that needs no gradient": """
        import torch
        from torch import nn
        net = nn.Linear(3, 1)
        opt = torch.optim.SGD(net.parameters(), lr=0.1)
        x = torch.randn(4, 3)
        for _ in range(3):
            opt.zero_grad()
            net(x).mean().backward()
            if x.requires_grad:
                print(x.grad)
            opt.step()
    """,
    "a backbone frozen and thawed": """
        import torch
        from torch import nn
        net = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 1))
        net[0].requires_grad_(False)
        opt = torch.optim.SGD(net.parameters(), lr=0.1)
        for epoch in range(4):
            if epoch == 2:
                net[0].requires_grad_(True)
            opt.zero_grad(set_to_none=True)
            net(torch.randn(4, 3)).mean().backward()
            opt.step()
    """,
    "free parameters frozen on purpose": """
        import torch
        from torch import nn
        scale = nn.Parameter(torch.ones(1), requires_grad=False)
        w = nn.Parameter(torch.ones(3))
        opt = torch.optim.SGD([w], lr=0.1)
        for _ in range(3):
            opt.zero_grad()
            (w * scale).sum().backward()
            opt.step()
    """,
}


@pytest.mark.parametrize("script", HEALTHY)
def test_silent_where_nothing_is_refused(judging: Judging, script: str) -> None:
    assert not loud(judging(HEALTHY[script]))


def test_the_fix_writes_the_line_under_no_grad(judging: Judging) -> None:
    found = judging("""
        import torch
        w = torch.ones(3, requires_grad=True)
        (w * w).sum().backward()
        w -= 0.1 * w.grad
    """)
    assert found[0].message == "the leaf w was changed in place while gradients are recorded"
    assert "with torch.no_grad(): w -= 0.1 * w.grad" in found[0].fix
    assert found[0].confidence == 0.99
