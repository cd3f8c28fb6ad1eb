"""GS151 and GS152: writes that no version counts, and the wrong gradients that come of them."""

from __future__ import annotations

import pytest

from gradscope.model.findings import Severity
from tests.judging import Judging, loud


def test_the_finding_proves_the_change_with_numbers(judging: Judging) -> None:
    first, *rest = judging("""
        import torch
        x = torch.tensor([0.0, 1.0, 2.0], requires_grad=True)
        scale = torch.exp(x)  # saves
        scale.data.clamp_(max=1.0)  # culprit
        scale.sum().backward()
    """)
    assert not rest
    assert (first.code, first.severity, first.confidence) == ("GS151", Severity.ERROR, 0.99)
    assert judging.blames(first, "# culprit")
    assert "scale was changed past its version counter (clamp_) after exp saved it" in first.message
    assert "the max of scale was 7.38906; when its backward ran, 1." in first.explanation
    assert [p.line for p in first.related] == [judging.line("# saves"), judging.line("backward()")]
    assert "scale = scale.clamp(" in first.fix


BUGS = {
    "GS151 an alias made elsewhere": """
        import torch
        x = torch.linspace(0, 1, 20, requires_grad=True)
        h = torch.sigmoid(x)
        raw = h.data
        def halve(t):
            t.mul_(0.5)  # culprit
        halve(raw)
        h.sum().backward()
    """,
    "GS151 through a view of the alias": """
        import torch
        x = torch.linspace(0, 1, 20, requires_grad=True)
        h = torch.tanh(x)
        h.data[3:7] = 0.0  # culprit
        (h * h).sum().backward()
    """,
    "GS151 weights projected by what a forward hook calls": """
        import torch
        from torch import nn
        net = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))
        class Project:
            def __init__(self, layer):
                self.layer = layer
            def __call__(self, module, args):
                w = self.layer.weight
                w.data.mul_(0.5)  # culprit
        net[2].register_forward_hook(lambda module, args, out: Project(net[2])(module, args))
        opt = torch.optim.SGD(net.parameters(), lr=0.1)
        for _ in range(3):
            loss = net(torch.randn(5, 4)).pow(2).mean()
            opt.zero_grad()
            loss.backward()
            opt.step()
    """,
    "GS151 weights projected by a callback": """
        import torch
        from torch import nn
        class Unit:
            def __call__(self, module):
                for p in module.parameters():
                    p.data.div_(p.data.norm())
        class Trainer:
            def __init__(self):
                self.net = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))
                self.opt = torch.optim.SGD(self.net.parameters(), lr=0.1)
                self.callback = Unit()
            def fit(self):
                for _ in range(3):
                    loss = self.net(torch.randn(5, 4)).pow(2).mean()
                    self.callback(self.net)  # culprit
                    self.opt.zero_grad()
                    loss.backward()
                    self.opt.step()
        Trainer().fit()
    """,
    "GS151 a weight assigned to its .data before the backward": """
        import torch
        w = torch.ones(20, requires_grad=True)
        x = torch.ones(20, requires_grad=True)
        y = (w * x).sum()
        w.data = w.data * 5  # culprit
        y.backward()
    """,
    "GS151 an optimizer of the old kind between two backwards": """
        import torch
        class Old(torch.optim.Optimizer):
            def __init__(self, params):
                super().__init__(params, {})
            def step(self):
                for group in self.param_groups:
                    for p in group["params"]:
                        p.data.add_(p.grad.data, alpha=-0.5)
        w = torch.ones(20, requires_grad=True)
        opt = Old([w])
        h = (w * w).sum()
        h.backward(retain_graph=True)
        opt.step()  # culprit
        h.backward()
    """,
    "GS151 noise refilled between the forward and its backward": """
        import torch
        from torch import nn
        gen = nn.Linear(20, 2)
        z = torch.randn(4, 20)
        def sample():
            return gen(z)
        fake = sample()
        z.data.normal_()  # culprit
        fake.mean().backward()
    """,
    "GS152 a helper that sorts an array in place": """
        import numpy as np
        import torch
        x = torch.linspace(1, 0, 20).requires_grad_()
        h = torch.exp(x)
        def median(t):
            a = np.asarray(t.detach())  # culprit
            a.sort()
            return a[len(a) // 2]
        median(h)
        (h * torch.arange(20)).sum().backward()
    """,
    "GS152 a ring buffer of frames": """
        import numpy as np
        import torch
        from torch import nn
        ring = np.zeros((4, 16), dtype=np.float32)
        net = nn.Linear(16, 1)
        losses = []
        for t in range(3):
            ring[t % 2] = np.random.randn(16)
            frames = torch.as_tensor(ring)  # culprit
            losses.append(net(frames).mean())
        sum(losses).backward()
    """,
}


@pytest.mark.parametrize("bug", BUGS)
def test_blames_the_line_that_goes_wrong(judging: Judging, bug: str) -> None:
    first = judging.expect(bug.split()[0], "# culprit", BUGS[bug])
    assert "silently wrong" in first.message


def test_a_write_while_the_model_runs_is_blamed_itself(judging: Judging) -> None:
    """The call of the model is in its place: what is to be moved is the write in the forward."""
    first = judging("""
        import torch
        from torch import nn
        def clip(p):
            p.data.clamp_(-0.05, 0.05)  # culprit
        class Critic(nn.Module):
            def __init__(self):
                super().__init__()
                self.body, self.head = nn.Linear(6, 8), nn.Linear(8, 1)
            def forward(self, x):
                score = self.head(torch.tanh(self.body(x)))
                clip(self.head.weight)
                return score
        class Trainer:
            def __init__(self):
                self.critic = Critic()
                self.opt = torch.optim.SGD(self.critic.parameters(), lr=0.1)
            def loss(self, x):
                return self.critic(x).mean()
            def fit(self):
                for _ in range(3):
                    loss = self.loss(torch.randn(5, 6))
                    self.opt.zero_grad()
                    loss.backward()
                    self.opt.step()
        Trainer().fit()
    """)[0]
    assert first.code == "GS151"
    assert judging.blames(first, "# culprit")
    assert "while the model runs" in first.fix
    assert "this line" not in first.fix
    assert [one.line for one in first.related if one.note == "the call in which it wrote"] == [
        judging.line("return self.critic(x).mean()")
    ]


HEALTHY = {
    "weights clipped after the step": """
        import torch
        from torch import nn
        net = nn.Linear(20, 1)
        opt = torch.optim.SGD(net.parameters(), lr=0.1)
        for _ in range(3):
            opt.zero_grad()
            net(torch.randn(4, 20)).mean().backward()
            opt.step()
            for p in net.parameters():
                p.data.clamp_(-0.01, 0.01)
    """,
    "a moving average in .data": """
        import torch
        from torch import nn
        net, slow = nn.Linear(20, 1), nn.Linear(20, 1)
        opt = torch.optim.SGD(net.parameters(), lr=0.1)
        for _ in range(3):
            x = torch.randn(4, 20)
            loss = (net(x) - slow(x).detach()).pow(2).mean()
            opt.zero_grad()
            loss.backward()
            opt.step()
            for a, b in zip(slow.parameters(), net.parameters()):
                a.data.mul_(0.9).add_(b.data, alpha=0.1)
    """,
    "a write that changes nothing": """
        import torch
        x = torch.linspace(0, 1, 20, requires_grad=True)
        h = torch.sigmoid(x)
        h.data.clamp_(0, 1)
        h.sum().backward()
    """,
    "arrays that are only read": """
        import numpy as np
        import torch
        x = torch.linspace(0, 1, 20, requires_grad=True)
        h = torch.tanh(x)
        a = h.detach().numpy()
        print(a.mean(), np.abs(a - a.mean()).max())
        h.sum().backward()
    """,
    "a buffer refilled once its backward is over": """
        import numpy as np
        import torch
        from torch import nn
        buffer = np.zeros((4, 20), dtype=np.float32)
        x = torch.from_numpy(buffer)
        net = nn.Linear(20, 1)
        opt = torch.optim.SGD(net.parameters(), lr=0.1)
        for _ in range(3):
            buffer[...] = np.random.randn(4, 20)
            opt.zero_grad()
            net(x).mean().backward()
            opt.step()
    """,
    "a buffer copied before it is refilled": """
        import numpy as np
        import torch
        from torch import nn
        buffer = np.zeros((4, 20), dtype=np.float32)
        net = nn.Linear(20, 1)
        losses = []
        for _ in range(3):
            buffer[...] = np.random.randn(4, 20)
            losses.append(net(torch.from_numpy(buffer).clone()).mean())
        sum(losses).backward()
    """,
    "an old optimizer, one backward a step": """
        import torch
        class Old(torch.optim.Optimizer):
            def __init__(self, params):
                super().__init__(params, {})
            def step(self):
                for p in self.param_groups[0]["params"]:
                    p.data.add_(p.grad.data, alpha=-0.1)
        net = torch.nn.Linear(20, 1)
        opt = Old(net.parameters())
        for _ in range(3):
            opt.zero_grad()
            net(torch.randn(4, 20)).pow(2).mean().backward()
            opt.step()
    """,
    "an adversarial example projected after each backward": """
        import torch
        from torch import nn
        net = nn.Linear(20, 2)
        x, y = torch.randn(4, 20), torch.tensor([0, 1, 0, 1])
        delta = torch.zeros_like(x, requires_grad=True)
        for _ in range(3):
            loss = nn.functional.cross_entropy(net(x + delta), y)
            loss.backward()
            delta.data = (delta + 0.1 * delta.grad.sign()).clamp(-0.2, 0.2)
            delta.grad.zero_()
    """,
    "data assigned before the forward that uses it": """
        import torch
        w = torch.ones(20, requires_grad=True)
        x = torch.ones(20, requires_grad=True)
        for k in range(3):
            w.data = torch.full((20,), float(k))
            (w * x).sum().backward()
            w.grad = x.grad = None
    """,
    "a part of the memory that was not saved": """
        import torch
        pool = torch.ones(40)
        w = torch.ones(20, requires_grad=True)
        y = (w * pool[:20]).sum()
        pool[20:].data.zero_()
        y.backward()
    """,
}


@pytest.mark.parametrize("script", HEALTHY)
def test_silent_where_the_gradient_is_right(judging: Judging, script: str) -> None:
    assert not loud(judging(HEALTHY[script]))
