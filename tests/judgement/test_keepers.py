"""GS401, GS402: the line that keeps a graph, where no name on the way of its making does: a memo, a block, a class."""

from __future__ import annotations

import textwrap

import pytest

from tests.judging import Judging, loud

HEAD = """
import functools

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import parametrize
from torch.utils.data import DataLoader

torch.manual_seed(0)


def learn(modules, loss):
    opt = torch.optim.SGD([p for m in modules for p in m.parameters()], lr=0.1)
    opt.zero_grad()
    loss.backward()
    opt.step()


"""

# Each with the code, the script, what its fix names, and what repairs it.
KEPT = {
    "a property that remembers": (
        "GS402",
        """
        class Shared(nn.Module):
            def __init__(self):
                super().__init__()
                self.low, self.high = nn.Linear(2, 4), nn.Linear(4, 3)

            @functools.cached_property
            def kernel(self):
                return self.high.weight @ self.low.weight  # culprit

            def forward(self, x):
                return F.linear(x, self.kernel)

        net = Shared()
        for _ in range(3):
            learn([net.low, net.high], net(torch.randn(5, 2)).square().mean())
        """,
        "@property",
        ("@functools.cached_property", "@property"),
    ),
    "a function that remembers": (
        "GS402",
        """
        table = nn.Embedding(7, 4)

        @functools.lru_cache
        def anchors(n):
            return table(torch.arange(n)).tanh()  # culprit

        def score(x):
            return x @ anchors(7).T

        for _ in range(3):
            learn([table], score(torch.randn(5, 4)).square().mean())
        """,
        "no @functools.lru_cache",
        ("@functools.lru_cache\n", ""),
    ),
    "a block that keeps what parametrizations compute": (
        "GS402",
        """
        class Positive(nn.Module):
            def forward(self, raw):
                return raw.exp()

        layer = nn.Linear(3, 2)
        parametrize.register_parametrization(layer, "weight", Positive())
        for _ in range(1):
            with parametrize.cached():  # culprit
                for _ in range(3):
                    learn([layer], layer(torch.randn(4, 3)).square().mean())
        """,
        "open that block anew",
        ("with parametrize.cached():", "if True:"),
    ),
    "rows of a data set that are computed": (
        "GS402",
        """
        class Rows:
            def __init__(self, encode):
                self.rows = [encode(x) for x in torch.randn(6, 3)]  # culprit

            def __len__(self):
                return len(self.rows)

            def __getitem__(self, i):
                return self.rows[i]

        encoder, head = nn.Sequential(nn.Linear(3, 4), nn.Tanh()), nn.Linear(4, 1)
        for _ in range(2):
            for batch in DataLoader(rows, batch_size=3):
                learn([encoder, head], head(batch).square().mean())
        """.replace("for _ in range(2)", "rows = Rows(encoder)\n        for _ in range(2)"),
        "self.rows",
        ("encode(x) for", "encode(x).detach() for"),
    ),
    "a state that is handed to an object": (
        "GS401",
        """
        class Memory:
            def __init__(self):
                self.held = None

            def put(self, h):
                self.held = h  # culprit

            def get(self):
                return torch.zeros(4, 6) if self.held is None else self.held

        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.cell, self.out = nn.GRUCell(3, 6), nn.Linear(6, 1)

            def forward(self, x, memory):
                h = self.cell(x, memory.get())
                memory.put(h)
                return self.out(h)

        net, memory = Net(), Memory()
        for _ in range(3):
            loss = net(torch.randn(4, 3), memory).square().mean()
            learn([net], loss)
        """,
        "detach h",
        ("self.held = h", "self.held = h.detach()"),
    ),
    "a mean that a class keeps of what it is given": (
        "GS401",
        """
        class Scale:
            def __init__(self):
                self.mean = None

            def __call__(self, loss):
                if self.mean is None:
                    self.mean = loss  # culprit
                return loss / (0.5 * self.mean + 0.5)

        net, scale = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1)), Scale()
        for _ in range(3):
            loss = net(torch.randn(4, 3)).square().mean()
            learn([net], scale(loss))
        """,
        "self.mean",
        ("self.mean = loss", "self.mean = loss.detach()"),
    ),
}


@pytest.mark.parametrize("name", KEPT)
def test_the_line_that_keeps_the_graph(judging: Judging, name: str) -> None:
    code, text, named, (wrong, right) = KEPT[name]
    script = HEAD.lstrip() + textwrap.dedent(text)
    assert named in judging.expect(code, "# culprit", script).fix
    assert not [one for one in loud(judging(script.replace(wrong, right))) if one.code.startswith("GS4")]
