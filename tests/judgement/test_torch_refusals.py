"""What torch itself refuses (GS231, GS232, GS312, GS4xx, GS6xx, GS8xx): the cause, and the repaired twin.

In each script the text before `->` is wrong and the one after it right; `# culprit` marks the line to blame.
"""

from __future__ import annotations

import textwrap
from typing import NamedTuple

import pytest

from tests.judging import Judging, loud

HEAD = """
import copy

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torch.func import functional_call, grad, vmap
from torch.utils.checkpoint import checkpoint
from torch.utils.data import DataLoader, Dataset

torch.manual_seed(0)
"""


class Refused(NamedTuple):
    """A script, what is wrong in it and what would be right, and a word that the finding says."""

    code: str
    says: str
    wrong: str
    right: str
    script: str


BUGS = {
    "a second derivative of an op that has one only": Refused(
        "GS231",
        "cdist",
        "gain = torch.cdist",
        "gain = pairs",
        """
        def pairs(a, b):
            return (a[:, None] - b[None]).square().sum(-1)

        class Energy(nn.Module):
            def __init__(self):
                super().__init__()
                self.centres = nn.Parameter(torch.randn(3, 2))

            def forward(self, x):
                gain = torch.cdist(x, self.centres)  # culprit
                return gain.tanh().sum()

        net = Energy()
        x = torch.randn(4, 2, requires_grad=True)
        (force,) = torch.autograd.grad(net(x), x, create_graph=True)
        (curve,) = torch.autograd.grad(force.square().sum(), x, create_graph=True)
        curve.sum().backward()
        """,
    ),
    "a gradient of one value for a number": Refused(
        "GS232",
        "shape [1]",
        "backward(torch.ones(1))",
        "backward()",
        """
        net = nn.Linear(3, 2)

        def learn(loss):
            loss.backward(torch.ones(1))  # culprit

        learn(net(torch.randn(4, 3)).square().mean())
        """,
    ),
    "a gradient computed by hand in another shape": Refused(
        "GS232",
        "[1, 3]",
        "np.ones((1, 3))",
        "np.ones(3)",
        """
        w = torch.ones(3, requires_grad=True)

        def from_server(p, values):
            p.grad = torch.from_numpy(values).float()  # culprit

        from_server(w, np.ones((1, 3)))
        """,
    ),
    "a histogram of weights": Refused(
        "GS312",
        "param",
        "np.abs(param.numpy())",
        "np.abs(param.detach().numpy())",
        """
        net = nn.Linear(3, 2)

        def sizes(module):
            return {name: float(np.abs(param.numpy()).max()) for name, param in module.named_parameters()}  # culprit

        sizes(net)
        """,
    ),
    "a preallocated result": Refused(
        "GS312",
        "out=",
        "torch.addmm(self.bias, x, self.weight, out=buffer)",
        "buffer = torch.addmm(self.bias, x, self.weight)",
        """
        class Fast(nn.Module):
            def __init__(self):
                super().__init__()
                self.weight, self.bias = nn.Parameter(torch.randn(3, 2)), nn.Parameter(torch.zeros(2))

            def forward(self, x):
                buffer = torch.empty(len(x), 2)
                torch.addmm(self.bias, x, self.weight, out=buffer)  # culprit
                return buffer

        Fast()(torch.randn(4, 3)).sum().backward()
        """,
    ),
    "a checkpointed block that counts its calls": Refused(
        "GS421",
        "mixed",
        "return checkpoint(self.mixed, x, use_reentrant=False)",
        "return self.mixed(x)",
        """
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.a, self.calls = nn.Linear(4, 4), 0

            def mixed(self, x):
                self.calls += 1  # culprit
                h = self.a(x).tanh()
                return h if self.calls % 2 else h.exp().sin()

            def forward(self, x):
                x = self.mixed(x)
                return checkpoint(self.mixed, x, use_reentrant=False)

        Net()(torch.randn(2, 4)).sum().backward()
        """,
    ),
    "gradients for each sample through dropout of a module with a forward": Refused(
        "GS431",
        "random",
        "vmap(one, (None, 0))",
        'vmap(one, (None, 0), randomness="different")',
        """
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.out, self.drop = nn.Linear(4, 1), nn.Dropout(0.3)

            def forward(self, x):
                return self.drop(self.out(x))

        net = Net()
        weights = {name: p.detach() for name, p in net.named_parameters()}
        one = grad(lambda w, x: functional_call(net, w, (x,)).sum())
        by_sample = vmap(one, (None, 0))
        by_sample(weights, torch.randn(5, 4))  # culprit
        """,
    ),
    "a branch inside vmap": Refused(
        "GS431",
        "branch",
        "return x.exp() if x.sum() > 0 else -x",
        "return torch.where(x.sum() > 0, x.exp(), -x)",
        """
        def squash(x):
            return x.exp() if x.sum() > 0 else -x  # culprit

        vmap(squash)(torch.randn(4, 3))
        """,
    ),
    "a dataset that encodes in its worker": Refused(
        "GS451",
        "graph",
        "return self.net(self.rows[i])",
        "return self.net(self.rows[i]).detach()",
        """
        class Encoded(Dataset):
            def __init__(self):
                self.rows, self.net = torch.randn(4, 3), nn.Linear(3, 2)

            def __len__(self):
                return 4

            def __getitem__(self, i):
                return self.net(self.rows[i])  # culprit

        if __name__ == "__main__":
            for batch in DataLoader(Encoded(), batch_size=2, num_workers=1):
                batch.sum()
        """,
    ),
    "a schedule for epochs that is stepped by batch": Refused(
        "GS609",
        "2 steps",
        "total_steps=2",
        "total_steps=6",
        """
        net = nn.Linear(3, 1)
        opt = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
        plan = torch.optim.lr_scheduler.OneCycleLR(opt, 0.1, total_steps=2)
        for epoch in range(2):
            for _ in range(3):
                opt.zero_grad()
                net(torch.randn(2, 3)).mean().backward()
                opt.step()
                plan.step()  # culprit
        """,
    ),
    "LBFGS without a closure": Refused(
        "GS609",
        "closure",
        "opt.step()",
        "opt.step(evaluate)",
        """
        net = nn.Linear(3, 1)
        opt = torch.optim.LBFGS(net.parameters())
        x, y = torch.randn(6, 3), torch.randn(6, 1)

        def evaluate():
            opt.zero_grad()
            loss = F.mse_loss(net(x), y)
            loss.backward()
            return loss

        opt.step()  # culprit
        """,
    ),
    "a state saved from a wrapped model": Refused(
        "GS610",
        "Linear",
        'f"module.{k}"',
        'f"{k}"',
        """
        saved = {f"module.{k}": v for k, v in nn.Linear(3, 1).state_dict().items()}
        nn.Linear(3, 1).load_state_dict(saved)  # culprit
        """,
    ),
    "a number in save_for_backward": Refused(
        "GS815",
        "float",
        "ctx.save_for_backward(x, scale)",
        "ctx.save_for_backward(x); ctx.scale = scale",
        """
        class Soft(torch.autograd.Function):
            @staticmethod
            def forward(ctx, x, scale):
                ctx.save_for_backward(x, scale)  # culprit
                return x.sign()

            @staticmethod
            def backward(ctx, grad):
                (x,) = ctx.saved_tensors
                return grad * (x.abs() < ctx.scale), None

        Soft.apply(torch.randn(3, requires_grad=True), 1.5).sum().backward()
        """,
    ),
    "a hook that returns a norm": Refused(
        "GS817",
        "size",
        "return g.norm()",
        "return g / g.norm()",
        """
        net = nn.Linear(3, 1)

        def scaled(g):
            return g.norm()  # culprit

        net.weight.register_hook(scaled)
        net(torch.randn(2, 3)).sum().backward()
        """,
    ),
    "a backward for one of two results": Refused(
        "GS815",
        "Both.backward",
        "def backward(ctx, grad):",
        "def backward(ctx, grad, _other):",
        """
        class Both(torch.autograd.Function):
            @staticmethod
            def forward(ctx, x):
                return x.clone(), x.sum()

            @staticmethod
            def backward(ctx, grad):  # culprit
                return grad

        kept, total = Both.apply(torch.randn(3, requires_grad=True))
        (kept.sum() + total).backward()
        """,
    ),
    "a forward without the mask it is given": Refused(
        "GS610",
        "Net.forward",
        "def forward(self, x):",
        "def forward(self, x, mask=None):",
        """
        class Net(nn.Module):
            def forward(self, x):  # culprit
                return x * 2

        Net()(torch.ones(2), torch.ones(2))
        """,
    ),
    "a gradient of a weight that lies the other way": Refused(
        "GS811",
        "[3, 4]",
        "x.t() @ grad",
        "grad.t() @ x",
        """
        class Linear(torch.autograd.Function):
            @staticmethod
            def forward(ctx, x, w):
                ctx.save_for_backward(x, w)
                return x @ w.t()

            @staticmethod
            def backward(ctx, grad):
                x, w = ctx.saved_tensors
                grad_w = x.t() @ grad  # culprit
                return grad @ w, grad_w

        Linear.apply(torch.randn(2, 3), torch.randn(4, 3, requires_grad=True)).sum().backward()
        """,
    ),
    "an in-place activation behind a hooked module": Refused(
        "GS817",
        "hook",
        "nn.ReLU(inplace=True)",
        "nn.ReLU()",
        """
        layers = [nn.Linear(3, 3)]
        layers.append(nn.ReLU(inplace=True))  # culprit
        net = nn.Sequential(*layers)
        net[0].register_full_backward_hook(lambda module, given, taken: None)
        net(torch.randn(2, 3, requires_grad=True)).sum().backward()
        """,
    ),
    "single gradients through batch norm": Refused(
        "GS431",
        "BatchNorm",
        "nn.BatchNorm1d(4)",
        "nn.GroupNorm(2, 4)",
        """
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.a, self.out = nn.Linear(3, 4), nn.Linear(4, 1)
                self.norm = nn.BatchNorm1d(4)  # culprit

            def forward(self, x):
                return self.out(self.norm(self.a(x)))

        net = Net()
        net(torch.randn(6, 3))
        state = {**dict(net.named_parameters()), **dict(net.named_buffers())}
        vmap(lambda x: functional_call(net, state, (x,)).sum())(torch.randn(5, 6, 3))
        """,
    ),
    "a penalty through a marked backward": Refused(
        "GS231",
        "once_differentiable",
        "@torch.autograd.function.once_differentiable",
        "# differentiated twice",
        """
        class Square(torch.autograd.Function):
            @staticmethod
            def forward(ctx, x):
                ctx.save_for_backward(x)
                return x * x

            @staticmethod
            @torch.autograd.function.once_differentiable  # culprit
            def backward(ctx, grad):
                (x,) = ctx.saved_tensors
                return 2 * x * grad

        net, head = nn.Linear(2, 4), nn.Linear(4, 1)

        def score(x):
            squares = Square.apply(net(x))
            return head(squares)

        x = torch.randn(3, 2, requires_grad=True)
        (slope,) = torch.autograd.grad(score(x).sum(), x, create_graph=True)
        (score(x).mean() + slope.square().mean()).backward()
        """,
    ),
    "a derivative that the cdf of a gamma does not have": Refused(
        "GS231",
        "gammainc",
        "torch.special.gammainc(shape, x)",
        "torch.sigmoid(shape * x)",
        """
        class Survival(nn.Module):
            def __init__(self):
                super().__init__()
                self.shape = nn.Parameter(torch.ones(()))

            def forward(self, x):
                shape = F.softplus(self.shape)
                return torch.special.gammainc(shape, x)  # culprit

        Survival()(torch.rand(4)).log().sum().backward()
        """,
    ),
    "moments of other parameters": Refused(
        "GS907",
        "remembers",
        "reversed(list(net.parameters()))",
        "list(net.parameters())",
        """
        net = nn.Linear(3, 2)

        def train(opt):
            net(torch.randn(4, 3)).square().sum().backward()
            opt.step()
            opt.zero_grad()

        first = torch.optim.Adam(net.parameters())
        train(first)
        opt = torch.optim.Adam(reversed(list(net.parameters())))
        opt.load_state_dict(first.state_dict())  # culprit
        train(opt)
        """,
    ),
    "parameters that were counted first": Refused(
        "GS607",
        "no parameters",
        "params = net.parameters()",
        "params = list(net.parameters())",
        """
        net = nn.Linear(3, 2)
        params = net.parameters()  # culprit
        print(sum(p.numel() for p in params))
        opt = torch.optim.SGD(params, lr=0.1)
        """,
    ),
    "forces without a graph, compared with forces of a formula": Refused(
        "GS201",
        "grad",
        "grad(energy(x).sum(), x)[0]",
        "grad(energy(x).sum(), x, create_graph=True)[0]",
        """
        energy = nn.Sequential(nn.Linear(2, 4), nn.Tanh(), nn.Linear(4, 1))

        def force(x):
            return -torch.autograd.grad(energy(x).sum(), x)[0]  # culprit

        def known(x):
            x = x.detach().requires_grad_()
            return -torch.autograd.grad(x.square().sum(), x)[0]

        x = torch.randn(3, 2, requires_grad=True)
        F.mse_loss(force(x), known(x)).backward()
        """,
    ),
    "a hook on what was detached": Refused(
        "GS817",
        "seen",
        "seen = net(torch.randn(2, 3)).detach()",
        "seen = net(torch.randn(2, 3))",
        """
        net = nn.Linear(3, 1)
        seen = net(torch.randn(2, 3)).detach()
        seen.register_hook(print)  # culprit
        """,
    ),
    "tied weights in two groups": Refused(
        "GS607",
        "weight of Linear",
        "[*self.out.parameters()]",
        "[self.out.bias]",
        """
        class Language(nn.Module):
            def __init__(self):
                super().__init__()
                self.words, self.out = nn.Embedding(7, 3), nn.Linear(3, 7)
                self.out.weight = self.words.weight  # culprit

            def groups(self):
                return [{"params": self.words.parameters()}, {"params": [*self.out.parameters()], "lr": 0.2}]

        torch.optim.SGD(Language().groups(), lr=0.1)
        """,
    ),
}


@pytest.mark.parametrize("name", BUGS)
def test_the_cause_is_told(judging: Judging, name: str) -> None:
    bug = BUGS[name]
    script = HEAD.lstrip() + textwrap.dedent(bug.script)
    assert bug.wrong in script
    found = judging.expect(bug.code, "# culprit", script)
    assert bug.says in found.message, found.message
    assert "something else" not in found.message + found.explanation + found.fix
    assert not loud(judging(script.replace(bug.wrong, bug.right)))


def test_what_trains_no_more_is_named_by_data_parallel_training(judging: Judging) -> None:
    script = """
        import torch.distributed as dist
        from torch.nn.parallel import DistributedDataParallel

        class Gated(nn.Module):
            def __init__(self):
                super().__init__()
                self.left, self.right = nn.Linear(3, 1), nn.Linear(3, 1)

            def forward(self, x):
                return (self.left if x.mean() > 0 else self.right)(x)

        dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
        net = DistributedDataParallel(Gated())  # culprit
        for x in (torch.ones(2, 3), torch.ones(2, 3)):
            net(x).sum().backward()
    """
    text = HEAD.lstrip() + textwrap.dedent(script)
    found = judging.expect("GS441", "# culprit", text)
    assert "right.weight" in found.message
    assert "left.weight" not in found.message
    assert not loud(judging(text.replace("Parallel(Gated())", "Parallel(Gated(), find_unused_parameters=True)")))


@pytest.mark.parametrize(
    "kept",
    [
        "self.unit = self.v / self.v.norm()  # culprit",
        "unit = self.v / self.v.norm()\n        self.unit = unit  # culprit",
    ],
    ids=["at once", "by another line"],
)
def test_a_copied_module_tells_which_attribute_is_a_result(judging: Judging, kept: str) -> None:
    script = f"""
class Scaled(nn.Module):
    def __init__(self):
        super().__init__()
        self.v = nn.Parameter(torch.randn(3))
        {kept}

kept = copy.deepcopy(Scaled())  # copied
"""
    found = judging.expect("GS311", "# culprit", HEAD.lstrip() + script)
    assert "unit" in found.message
    assert judging.line("# copied") in [place.line for place in found.related]


def test_the_scripts_own_line_comes_before_a_librarys(judging: Judging) -> None:
    script = """
        import sys, pathlib
        folder = pathlib.Path("site-packages")
        folder.mkdir(exist_ok=True)
        (folder / "helplib.py").write_text("def run(loss):\\n    loss.backward()\\n")
        sys.path.insert(0, str(folder))
        import helplib

        net = nn.Linear(3, 2)
        helplib.run(net(torch.randn(4, 3)))  # culprit
    """
    judging.expect("GS209", "# culprit", HEAD.lstrip() + textwrap.dedent(script))
