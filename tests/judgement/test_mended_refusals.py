"""What torch refuses is mended by a patch that works: the patch's first line, and a run with it."""

from __future__ import annotations

import textwrap

import pytest

from tests.judgement.test_torch_refusals import BUGS, HEAD
from tests.judging import Judging
from tests.trying import lines_of, tried

# By the kind of refusal: a line of the patch, and the script.
SCRIPTS = {
    "OUT_OF_GRAPH into a part": (
        "table[0] = torch.add(w, w)",
        """
        w = torch.ones(3, requires_grad=True)
        table = torch.zeros(2, 3)
        torch.add(w, w, out=table[0])
        table.sum().backward()
        """,
    ),
    "RESIZED on a line of its own": (
        "h = h.reshape(2, 3)  # flat",
        """
        h = torch.ones(6, requires_grad=True) * 2
        h.resize_(2, 3)  # flat
        h.sum().backward()
        """,
    ),
    "VIEW_DETACHED": (
        "part = part.detach()",
        """
        w = torch.ones(4, requires_grad=True)
        whole = w * 2
        part = whole[:2]
        part.detach_()
        print(part.mean())
        whole.sum().backward()
        """,
    ),
    "MANY_AS_ONE_NUMBER": (
        'print("loss", (h - 1).mean().item())',
        """
        h = torch.ones(4, requires_grad=True) * 2
        h.sum().backward()
        print("loss", (h - 1).item())
        """,
    ),
    "GRADIENT_HAS_OTHER_SHAPE with the same values": (
        "y.backward(weights.reshape(y.shape))",
        """
        y = torch.ones(2, 3, requires_grad=True) * 2
        weights = torch.arange(6.0)
        y.backward(weights)
        """,
    ),
    "GRADIENT_HAS_OTHER_SHAPE with one value": (
        "y.backward(torch.tensor([1.0]).expand(y.shape))",
        """
        y = torch.ones(2, 3, requires_grad=True) * 2
        y.backward(torch.tensor([1.0]))
        """,
    ),
    "GRADIENT_ASSIGNED of another dtype": (
        "p.grad = (p.detach().double() * 2).to(p.dtype)",
        """
        for p in nn.Linear(2, 1).parameters():
            p.grad = p.detach().double() * 2
        """,
    ),
    "NOT_TWICE": (
        "",
        """
        from torch.autograd.function import once_differentiable

        class Cube(torch.autograd.Function):
            @staticmethod
            def forward(ctx, x):
                ctx.save_for_backward(x)
                return x ** 3

            @staticmethod
            @once_differentiable
            def backward(ctx, grad):
                (x,) = ctx.saved_tensors
                return grad * 3 * x ** 2

        x = torch.ones(3, requires_grad=True)
        (first,) = torch.autograd.grad(Cube.apply(x).square().sum(), x, create_graph=True)
        first.square().sum().backward()
        """,
    ),
    "FUNCTION_SAVES_NO_TENSOR": (
        "ctx.save_for_backward(x)",
        """
        class Soft(torch.autograd.Function):
            @staticmethod
            def forward(ctx, x, scale):
                ctx.save_for_backward(x, scale)
                return x.sign()

            @staticmethod
            def backward(ctx, grad):
                x, scale = ctx.saved_tensors
                return grad * (x.abs() < scale), None

        Soft.apply(torch.randn(3, requires_grad=True), 1.5).sum().backward()
        """,
    ),
    "FUNCTION_WITHOUT_VMAP": (
        "generate_vmap_rule = True",
        """
        class Cube(torch.autograd.Function):
            \"\"\"Three times itself.\"\"\"

            @staticmethod
            def forward(x):
                return x ** 3

            @staticmethod
            def setup_context(ctx, inputs, output):
                ctx.save_for_backward(*inputs)

            @staticmethod
            def backward(ctx, grad):
                (x,) = ctx.saved_tensors
                return grad * 3 * x ** 2

        vmap(grad(lambda x: Cube.apply(x).sum()))(torch.ones(4, 3))
        """,
    ),
    "VMAP_ITEM": (
        "return x * x.max()",
        """
        def scaled(x):
            return x * x.max().item()

        vmap(scaled)(torch.randn(4, 3))
        """,
    ),
    "VMAP_BRANCHES in two returns": (
        "return torch.where(x.sum() > 0, x.exp(), -x)",
        """
        def squash(x):
            if x.sum() > 0:
                return x.exp()
            return -x

        vmap(squash)(torch.randn(4, 3))
        """,
    ),
    "VMAP_SHAPE_OF_VALUES": (
        "return (x * (x > 0)).sum()",
        """
        def positive(x):
            return x[x > 0].sum()

        vmap(positive)(torch.randn(4, 3))
        """,
    ),
    "TRANSFORM_SETS_FLAG": (
        "",
        """
        def energy(x):
            x.requires_grad_()
            return x.square().sum()

        grad(energy)(torch.randn(3))
        """,
    ),
    "CHECKPOINT_WITHOUT_INPUTS": (
        "h = checkpoint(torch.sin, x, use_reentrant=False)",
        """
        x = torch.ones(3, requires_grad=True)
        h = checkpoint(torch.sin, x, use_reentrant=True)
        torch.autograd.grad(h.sum(), x)
        """,
    ),
    "OPTIMIZER_WANTS_LIST": (
        "opt = torch.optim.SGD([w], lr=0.1)",
        """
        w = torch.ones(3, requires_grad=True)
        opt = torch.optim.SGD(w, lr=0.1)
        w.sum().backward()
        opt.step()
        """,
    ),
    "OPTIMIZER_WANTS_TENSORS": (
        "opt = torch.optim.SGD([*a.parameters(), *list(b.parameters())], lr=0.1)",
        """
        a, b = nn.Linear(2, 2), nn.Linear(2, 1)
        opt = torch.optim.SGD([a.parameters(), list(b.parameters())], lr=0.1)
        b(a(torch.ones(3, 2))).sum().backward()
        opt.step()
        """,
    ),
    "OPTIMIZER_WANTS_TENSORS and is given modules": (
        "opt = torch.optim.SGD([*a.parameters(), *b.parameters()], lr=0.1)",
        """
        a, b = nn.Linear(2, 2), nn.Linear(2, 1)
        opt = torch.optim.SGD([a, b], lr=0.1)
        b(a(torch.ones(3, 2))).sum().backward()
        opt.step()
        """,
    ),
    "OPTIMIZER_SPARSE": (
        "table = nn.Embedding(5, 3)",
        """
        table = nn.Embedding(5, 3, sparse=True)
        opt = torch.optim.Adam(table.parameters())
        table(torch.tensor([1, 2])).sum().backward()
        opt.step()
        """,
    ),
    "OPTIMIZER_WANTS_CLOSURE": (
        "def closure():",
        """
        net = nn.Linear(3, 1)
        x, y = torch.randn(6, 3), torch.randn(6, 1)
        opt = torch.optim.LBFGS(net.parameters())
        for epoch in range(3):
            opt.zero_grad()
            loss = F.mse_loss(net(x), y)  # the fit
            loss.backward()
            opt.step()
            print(epoch, loss.item())
        """,
    ),
    "SCHEDULER_WANTS_MOMENTUM": (
        "plan = torch.optim.lr_scheduler.OneCycleLR(opt, 0.1, total_steps=4, cycle_momentum=False)",
        """
        net = nn.Linear(3, 1)
        opt = torch.optim.Adagrad(net.parameters())
        plan = torch.optim.lr_scheduler.OneCycleLR(opt, 0.1, total_steps=4)
        for _ in range(3):
            opt.zero_grad()
            net(torch.ones(2, 3)).sum().backward()
            opt.step()
            plan.step()
        """,
    ),
    "DTYPE_OF_TARGET": (
        "net, x, y = nn.Linear(3, 2), torch.randn(4, 3), torch.tensor([0.0, 1.0, 0.0, 1.0]).long()",
        """
        net, x, y = nn.Linear(3, 2), torch.randn(4, 3), torch.tensor([0.0, 1.0, 0.0, 1.0])
        F.cross_entropy(net(x), y).backward()
        """,
    ),
    "DTYPE_OF_INDEX": (
        "table, ids = nn.Embedding(5, 3), torch.tensor([1.0, 2.0]).long()",
        """
        table, ids = nn.Embedding(5, 3), torch.tensor([1.0, 2.0])
        table(ids).sum().backward()
        """,
    ),
    "DTYPE_OF_RESULT": (
        "counts = counts + p",
        """
        counts = torch.zeros(3, dtype=torch.long)
        p = torch.rand(3, requires_grad=True)
        counts += p
        counts.sum().backward()
        """,
    ),
    "DTYPE_OF_MEAN": (
        "weight = ids.float().mean()",
        """
        ids = torch.tensor([1, 2])
        weight = ids.mean()
        (torch.ones(3, requires_grad=True) * weight).sum().backward()
        """,
    ),
}
SAME = (
    "a second derivative of an op that has one only",
    "a gradient of one value for a number",
    "a gradient computed by hand in another shape",
    "a histogram of weights",
    "a preallocated result",
    "gradients for each sample through dropout of a module with a forward",
    "a branch inside vmap",
    "a dataset that encodes in its worker",
    "LBFGS without a closure",
)


@pytest.fixture(autouse=True)
def _here(judging: Judging, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(judging.folder)


def works(judging: Judging, script: str, line: str = "") -> None:
    """The first finding has a patch that makes this line, if one is given, and works."""
    finding = judging(HEAD + textwrap.dedent(script))[0]
    assert finding.fixes, (finding.code, finding.message, finding.culprit)
    assert not line or line in lines_of(finding.fixes[0])
    trial = tried(judging, finding, finding.fixes[0])
    assert trial.works, trial


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_refusal_is_mended(judging: Judging, name: str) -> None:
    line, script = SCRIPTS[name]
    works(judging, script, line)


@pytest.mark.parametrize("name", SAME)
def test_a_refusal_with_a_cause_elsewhere_is_mended(judging: Judging, name: str) -> None:
    works(judging, BUGS[name].script)
