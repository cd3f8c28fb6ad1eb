"""Errors whose cause is another line than the one that raised: a Function's own, a list's, what ran too early."""

from __future__ import annotations

import textwrap

import pytest

from tests.judging import Judging, loud

HEAD = """
import copy
import random
from collections import deque

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint
from torch.utils.data import DataLoader

torch.manual_seed(0)


"""

# Each with the code, the script, words of its fix, and what repairs it.
CAUSES = {
    "a number among the saved tensors": (
        "GS815",
        """
        class Scale(torch.autograd.Function):
            @staticmethod
            def forward(ctx, x, by):
                ctx.save_for_backward(x, by)  # culprit
                return x * by

            @staticmethod
            def backward(ctx, grad):
                return grad * 2.0, None

        def scaled(x):
            return Scale.apply(x, 2.0)

        scaled(torch.ones(3, requires_grad=True)).sum().backward()
        """,
        "ctx.scale",
        ("ctx.save_for_backward(x, by)", "ctx.save_for_backward(x)"),
    ),
    "a hook of two returns": (
        "GS817",
        """
        def norms(grad):
            if grad.dim() == 1:
                return None
            return grad.norm(dim=1)  # culprit

        x = torch.ones(2, 3, requires_grad=True)
        h = x * 2
        h.register_hook(norms)
        h.sum().backward()
        """,
        "like the one it was given",
        ("grad.norm(dim=1)", "grad / grad.norm(dim=1, keepdim=True)"),
    ),
    "a list of tensors that numpy is asked of": (
        "GS312",
        """
        class Window:
            def __init__(self):
                self.last = deque(maxlen=3)

            def add(self, value):
                self.last.append(value)  # culprit

            def mean(self):
                return np.mean(np.array(self.last))

        w, window = torch.ones(2, requires_grad=True), Window()
        for _ in range(3):
            loss = w.square().sum()
            loss.backward()
            window.add(loss)
        print(window.mean())
        """,
        "self.last.append(value.detach())",
        ("self.last.append(value)", "self.last.append(value.detach())"),
    ),
    "a list in a dict that numpy is asked of": (
        "GS312",
        """
        log, w = {"loss": []}, torch.ones(2, requires_grad=True)
        for _ in range(3):
            loss = w.square().sum()
            loss.backward()
            log["loss"].append(loss)  # culprit
        print(np.mean(log["loss"]))
        """,
        "append(loss.detach())",
        ("append(loss)", "append(loss.detach())"),
    ),
    "distances that were taken before the positions asked": (
        "GS206",
        """
        def batch():
            pos = torch.randn(4, 3)
            return {"pos": pos, "dist": torch.cdist(pos, pos)}  # culprit

        net, data = nn.Linear(4, 1), batch()
        pos = data["pos"].requires_grad_()
        energy = net(data["dist"]).sum()
        force = torch.autograd.grad(energy, pos)
        """,
        "requires_grad_()",
        ("pos = torch.randn(4, 3)", "pos = torch.randn(4, 3, requires_grad=True)"),
    ),
    "a target that is double where the loss lets it pass": (
        "GS954",
        """
        class Rows:
            def __init__(self):
                self.y = np.linspace(0.0, 1.0, 6)

            def __len__(self):
                return 6

            def __getitem__(self, i):
                return torch.ones(3), self.y[i]

        net = nn.Linear(3, 1)
        for x, y in DataLoader(Rows(), batch_size=3):
            loss = F.huber_loss(net(x).squeeze(-1), y)  # culprit
            loss.backward()
        """,
        "y",
        ("self.y[i]", "np.float32(self.y[i])"),
    ),
    "a model in half precision under a scaler": (
        "GS507",
        """
        def build(half):
            net = nn.Linear(3, 2)
            return net.half() if half else net  # culprit

        net = build(True)
        opt = torch.optim.SGD(net.parameters(), lr=0.1)
        scaler = torch.amp.GradScaler("cpu")
        with torch.autocast("cpu", dtype=torch.float16):
            loss = net(torch.ones(4, 3)).float().square().mean()
        scaler.scale(loss).backward()
        scaler.step(opt)
        scaler.update()
        """,
        "float32",
        ("build(True)", "build(False)"),
    ),
    "an optimizer of a model that was copied away": (
        "GS507",
        """
        def adam(net):
            return torch.optim.Adam([p for p in net.parameters()], lr=1e-3)

        net = nn.Linear(3, 2)
        held = [copy.deepcopy(net)]
        opt = adam(net)  # culprit
        scaler = torch.amp.GradScaler("cpu")
        scaler.scale(held[0](torch.ones(4, 3)).square().mean()).backward()
        scaler.step(opt)
        scaler.update()
        """,
        "build the optimizer from the parameters that the loss reaches",
        ("opt = adam(net)", "opt = adam(held[0])"),
    ),
    "a function in inference mode that a block in it calls": (
        "GS205",
        """
        text = nn.Linear(3, 4)

        @torch.inference_mode()  # culprit
        def encode(x):
            return text(x).tanh()

        with torch.inference_mode():
            known = {0: encode(torch.ones(3))}
        w = torch.ones(4, requires_grad=True)
        (w * known[0]).sum().backward()
        """,
        "in both places",
        ("torch.inference_mode()", "torch.no_grad()"),
    ),
    "layers that are left out at random in a checkpoint": (
        "GS421",
        """
        class Some(nn.Module):
            def __init__(self):
                super().__init__()
                self.layers = nn.ModuleList(nn.Linear(3, 3) for _ in range(6))

            def forward(self, x):
                for layer in self.layers:
                    if random.random() < 0.5:
                        x = x + layer(x).tanh()
                return x

        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.some = Some()

            def forward(self, x):
                return checkpoint(self.some, x, use_reentrant=False)  # culprit

        net = Net()
        for seed in range(8):
            random.seed(seed)
            net(torch.ones(2, 3, requires_grad=True)).sum().backward()
        """,
        "depend on its arguments alone",
        ("checkpoint(self.some, x, use_reentrant=False)", "self.some(x)"),
    ),
    "a generator that yields under no_grad": (
        "GS201",
        """
        encoder, head = nn.Linear(3, 4), nn.Linear(4, 1)

        def features(n):
            with torch.no_grad():  # culprit
                for _ in range(n):
                    yield encoder(torch.ones(2, 3))

        for h in features(2):
            head(h).sum().backward()
        """,
        "yield the value outside",
        ("with torch.no_grad():  # culprit", "if True:"),
    ),
    "weights that a block swaps out between forward and backward": (
        "GS101",
        """
        from contextlib import contextmanager

        @contextmanager
        def averaged(net, average):
            kept = [p.detach().clone() for p in net.parameters()]
            write(average, net)
            yield
            write(kept, net)

        @torch.no_grad()
        def write(values, net):
            for value, p in zip(values, net.parameters()):
                p.copy_(value)

        net = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))
        average = [p.detach().clone() for p in net.parameters()]
        out = net(torch.ones(2, 3))
        with averaged(net, average):  # culprit
            target = net(torch.ones(2, 3)).detach() + 1
        F.mse_loss(out, target).backward()
        """,
        "between the forward and its backward",
        ("p.copy_(value)", "assert value.shape == p.shape"),
    ),
    "an argument that the caller made a leaf": (
        "GS305",
        """
        def normed(x):
            x -= 0.5  # culprit
            x /= 0.2
            return x

        def saliency(image):
            x = image.clone().requires_grad_()
            normed(x).square().sum().backward()
            return x.grad

        print(saliency(torch.ones(2, 3)))
        """,
        "x = x.clone()",
        ("x -= 0.5  # culprit", "x = x - 0.5"),
    ),
    "a state that is a view of a parameter": (
        "GS305",
        """
        class Memory(nn.Module):
            def __init__(self):
                super().__init__()
                self.first, self.cell = nn.Parameter(torch.zeros(1, 4)), nn.GRUCell(3, 4)

            def begin(self, n):
                return self.first.expand(n, -1)

            def forward(self, xs, done):
                state = self.begin(xs.shape[1])
                for x in xs:
                    state[done] = 0.0  # culprit
                    state = self.cell(x, state)
                return state

        Memory()(torch.ones(1, 2, 3), torch.tensor([True, False])).sum().backward()
        """,
        "state = state.clone()",
        ("self.first.expand(n, -1)", "self.first.expand(n, -1).clone()"),
    ),
}


@pytest.mark.parametrize("name", CAUSES)
def test_the_cause_is_another_line(judging: Judging, name: str) -> None:
    code, text, words, (wrong, right) = CAUSES[name]
    script = HEAD.lstrip() + textwrap.dedent(text)
    assert words in judging.expect(code, "# culprit", script).fix
    assert code not in {one.code for one in loud(judging(script.replace(wrong, right)))}
    assert judging.ran is not None
    assert judging.ran.status == 0, judging.ran


def test_a_flag_that_is_taken_from_each_of_a_list(judging: Judging) -> None:
    """No patch: a new value for the loop's variable would change nothing."""
    text = """
        def freeze(values):
            for value in values:
                value.requires_grad = False  # culprit

        w = torch.ones(2, requires_grad=True)
        freeze([w * 2])
    """
    found = judging.expect("GS311", "# culprit", HEAD.lstrip() + textwrap.dedent(text))
    assert not found.fixes
    assert "hand on value.detach()" in found.fix


def test_an_own_leaf_keeps_its_place(judging: Judging) -> None:
    """Where the leaf was made it is meant, and out of place it would be none any more."""
    text = """
        x = torch.ones(3, requires_grad=True)
        x -= 0.5  # culprit
        x.sum().backward()
    """
    found = judging.expect("GS305", "# culprit", HEAD.lstrip() + textwrap.dedent(text))
    assert "no_grad" in found.fix


def test_parameters_that_a_loop_calls_by_one_name(judging: Judging) -> None:
    text = """
        net = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))
        other = copy.deepcopy(net)
        wanted = [p for p in net.parameters()]
        loss = other(torch.ones(4, 2)).sum()
        torch.autograd.grad(loss, wanted)  # culprit
    """
    found = judging.expect("GS206", "# culprit", HEAD.lstrip() + textwrap.dedent(text))
    assert "p, p" not in found.message
    assert "other leaves of the very same shapes" in found.explanation
