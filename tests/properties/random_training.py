"""Random programs that train in every way at once: loops around loops, gradients of gradients, `torch.func`,
checkpoints, custom Functions, hooks, writes, several optimizers, errors that are caught.

A program is the same for the same seed. Each of its parts runs in a `try` of its own, so it runs to its end.
"""

from __future__ import annotations

from random import Random
from textwrap import indent

HEAD = """\
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint

torch.manual_seed({seed})
torch.autograd.set_detect_anomaly(False)


class Double(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * 2 + x.sin()

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        return grad * (2 + x.cos())


class Solver(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        with torch.enable_grad():
            z = x.detach().clone().requires_grad_()
            inner = torch.optim.SGD([z], lr=0.1)
            for _ in range(2):
                inner.zero_grad()
                ((z - x.detach()) ** 2).sum().backward()
                inner.step()
        return z.detach()

    @staticmethod
    def backward(ctx, grad):
        with torch.enable_grad():
            a = grad.detach().clone().requires_grad_()
            for _ in range(2):
                (b,) = torch.autograd.grad((a**2).sum(), a)
        return grad + b * 0


class Inner(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Linear(3, 3)
        self.norm = nn.BatchNorm1d(3)

    def forward(self, x):
        for _ in range(2):
            (g,) = torch.autograd.grad(self.body(x).sum(), self.body.weight, create_graph=self.training)
            x = x @ g.t() * 0.1 + self.norm(self.body(x))
        return x


model = {model}
other = nn.Linear(3, 3)
w = nn.Parameter(torch.randn(3, 3))
v = torch.randn(2, 3, requires_grad=True)
x = torch.randn(2, 3)
h = torch.zeros(2, 3)
kept = []
opt = torch.optim.{first}(model.parameters(), lr=0.01)
opt2 = torch.optim.{second}([w, v, *other.parameters()], lr=0.01)
"""

_MODELS = (
    "nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 3))",
    "nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3), nn.ReLU(inplace=True), nn.Dropout(0.2))",
    "Inner()",
    "nn.Sequential(Inner(), nn.LayerNorm(3))",
)

# {i}: a number that no other part has; {flag}: True or False; {few}: a small number
_PARTS: dict[str, tuple[str, ...]] = {
    "training": (
        "opt.zero_grad()\nloss = model(x).pow(2).mean()\nloss.backward()\nopt.step()",
        "opt2.zero_grad(set_to_none={flag})\nloss = ((x @ w + v) ** 2).mean()\nloss.backward()\nopt2.step()",
        "for part in x.split(1):\n    (other(part).sum() / 2).backward()\nopt2.step()\nopt2.zero_grad()",
        "opt.zero_grad()\nopt2.zero_grad()\n(model(x) @ w).sum().backward()\nopt.step()\nopt2.step()",
        "def closure():\n    opt2.zero_grad()\n    loss = ((x @ w) ** 2).sum()\n    loss.backward()\n    return loss\n"
        "opt2.step(closure)",
        "lbfgs = torch.optim.LBFGS([w], max_iter=2)\ndef again():\n    lbfgs.zero_grad()\n    loss = (w**2).sum()\n"
        "    loss.backward()\n    return loss\nlbfgs.step(again)",
        "h = torch.tanh(x @ w + h{detached})\nh.sum().backward(retain_graph={flag})\nopt2.step()",
        "for _ in range({few}):\n    F.mse_loss(other(x), x).backward()\n"
        "    nn.utils.clip_grad_norm_(other.parameters(), 1)\n    opt2.step()\n    opt2.zero_grad()",
    ),
    "by hand": (
        "((x @ w) ** 2).sum().backward()\nwith torch.no_grad():\n    w -= 0.01 * w.grad\n    w.grad = None",
        "loss = other(x).sum()\ngrads = torch.autograd.grad(loss, list(other.parameters()))\nwith torch.no_grad():\n"
        "    torch._foreach_sub_(list(other.parameters()), list(grads))",
        "(v * 2).sum().backward()\nv.data.sub_(0.1 * v.grad)\nv.grad.zero_()",
        "fast = [p.clone() for p in other.parameters()]\nfor _ in range({few}):\n"
        "    loss = F.linear(x, *fast).pow(2).sum()\n"
        "    fast = [p - 0.1 * g for p, g in zip(fast, torch.autograd.grad(loss, fast, create_graph={flag}))]\n"
        "F.linear(x, *fast).sum().backward()\nopt2.step()",
    ),
    "looking": (
        "model.eval()\nwith torch.no_grad():\n    model(x).mean().item()\nmodel.train()",
        "with torch.inference_mode():\n    other(x)",
        "with torch.no_grad():\n    for part in x.split(1):\n        other(part)",
        "other(x).detach().sum().item()",
    ),
    "higher": (
        "y = (x @ w).exp()\n(g,) = torch.autograd.grad(y.sum(), w, create_graph=True)\ng.norm().backward()",
        "z = torch.randn(3, requires_grad=True)\ny = z.exp()\n"
        "(g,) = torch.autograd.grad(y.sum(), z, create_graph={flag})\nrows = []\nfor i in range(3):\n"
        "    rows.append(torch.autograd.grad(y[i], z, retain_graph=True)[0])\ntorch.stack(rows).sum().item()",
        "z = torch.randn(3, requires_grad=True)\ng = torch.autograd.grad((z**3).sum(), z, create_graph=True)[0]\n"
        "hessian = torch.stack([torch.autograd.grad(g[i], z, retain_graph=True)[0] for i in range(3)])",
        "d = v\nfor _ in range({few}):\n    (d,) = torch.autograd.grad((d**3).sum(), v, create_graph=True)\n"
        "(d.sum() * 0.1).backward()",
        "torch.autograd.functional.jacobian(lambda a: (a @ w).sin(), x, create_graph={flag})",
        "torch.autograd.functional.hessian(lambda a: (a @ w).pow(3).sum(), x)",
        "torch.autograd.functional.hvp(lambda a: (a**3).sum(), x, x)",
        "out = model(x)\n(g,) = torch.autograd.grad(out.sum(), model.parameters().__next__(), create_graph=True)\n"
        "(out.mean() + g.pow(2).sum()).backward()\nopt.step()",
        "fixed = x.clone().requires_grad_()\nscore = other(fixed)\n"
        "(g,) = torch.autograd.grad(score, fixed, torch.ones_like(score), create_graph=True, retain_graph=True)\n"
        "opt2.zero_grad()\n((g.norm(2, 1) - 1) ** 2).mean().backward()\nopt2.step()",
    ),
    "func": (
        "torch.func.grad(lambda a: (a @ w).sin().sum())(x)",
        "torch.func.vmap(torch.func.grad(lambda a: (a @ w).sum()))(x)",
        "torch.func.jvp(lambda a: a.sin() @ w, (x,), (torch.ones_like(x),))",
        "torch.func.jacrev(lambda a: (a @ w).exp())(x)",
        "torch.func.hessian(lambda a: (a**3).sum())(x[0])",
        "value, pull = torch.func.vjp(lambda a: model(a), x)\npull(torch.ones_like(value))",
        "torch.func.functional_call(other, dict(other.named_parameters()), (x,)).sum().backward()",
    ),
    "checkpoint": (
        "checkpoint(model, v, use_reentrant={flag}).sum().backward()\nopt.step()",
        "checkpoint(lambda a: (a @ w).sin(), v, use_reentrant=False).sum().backward()",
        "a = checkpoint(other, v, use_reentrant={flag})\ncheckpoint(other, a, use_reentrant={flag}).sum().backward()\n"
        "opt2.step()\nopt2.zero_grad()",
    ),
    "function": (
        "Double.apply(x @ w).sum().backward()\nopt2.step()",
        "(Solver.apply(v * 2) * w[:2]).sum().backward()",
        "for _ in range({few}):\n    Solver.apply(v * 2).sum().backward()\n    opt2.step()",
        "(g,) = torch.autograd.grad(Double.apply(v).sum(), v, create_graph=True)\ng.sum().backward()",
    ),
    "hook": (
        "y = x @ w\ny.register_hook(lambda grad: grad * 2 + (grad**2).sum())\ny.sum().backward()\nopt2.step()",
        "handle = w.register_post_accumulate_grad_hook(lambda p: (opt2.step(), opt2.zero_grad()) and None)\n"
        "for _ in range({few}):\n    (x @ w).sum().backward()\nhandle.remove()",
        "handle = other.register_full_backward_hook(lambda m, i, o: None)\nother(v).sum().backward()\nhandle.remove()",
        "handle = other.register_forward_hook(lambda m, i, o: o * 2)\nother(x).sum().backward()\nopt2.step()\n"
        "handle.remove()",
        "y = v * 2\ny.register_hook(lambda grad: torch.autograd.grad((v**2).sum(), v)[0])\ny.sum().backward()",
        "handle = v.register_hook(lambda grad: 1 / 0)\ntry:\n    (v * 2).sum().backward()\n"
        "finally:\n    handle.remove()",
    ),
    "write": (
        "y = x.clone()\ny[0] = v[0] * 2\ny.mul_(3)\ny.sum().backward()",
        "y = (x * v).view(-1)\ny[:2].add_(1)\ny.sum().backward()",
        "part = w[0]\nwith torch.no_grad():\n    part.mul_(0.9)",
        "x.add_(0.1)",
        "h = h.detach().requires_grad_({flag})",
        "kept.append((x @ w).sum())",
        "sum(kept).backward(retain_graph={flag})",
        "kept.clear()",
        "y = v.detach()\ny.mul_(1.1)",
        "v.grad = torch.ones_like(v)",
    ),
    "error": (
        "y = v.exp()\ny.add_(1)\ny.sum().backward()",
        "y = (v**2).sum()\ny.backward()\ny.backward()",
        "x @ x",
        "other(x).sum().backward()\nraise ValueError('caught')",
        "torch.autograd.grad(v.sum(), w)",
        "for _ in range({few}):\n    opt.zero_grad()\n    model(x[:, :2]).sum().backward()",
    ),
}
_GUARD = "try:\n{body}\nexcept Exception as error:\n    del error\n"
_AROUND = (
    "for outer{i} in range({few}):",
    "for outer{i} in range({few}):",
    "for outer{i} in range(2):",
    "while len(seen{i}) < {few}:\n    seen{i}.append(0)",
    "def part{i}():\n    global x, w, v, h, kept",
    "with torch.no_grad():",
    "with torch.enable_grad():",
    "with torch.autograd.graph.saved_tensors_hooks(lambda t: t, lambda t: t):",
)


class _Writer:
    """Draws one program."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.count = 0

    def part(self) -> str:
        """One thing that a program does."""
        random = self.random
        text = random.choice(_PARTS[random.choice(tuple(_PARTS))])
        text = text.replace("{flag}", str(random.random() < 0.5)).replace("{few}", str(random.randint(2, 3)))
        return text.replace("{detached}", random.choice((".detach()", "")))

    def block(self, depth: int) -> str:
        """Some parts, one after the other, some of them in a loop, a function or a mode."""
        parts = []
        for _ in range(self.random.randint(1, 3)):
            inside = self.block(depth - 1) if depth and self.random.random() < 0.6 else self.part()
            guarded = _GUARD.format(body=indent(inside, "    ")) if self.random.random() < 0.8 else inside + "\n"
            parts.append(self.around(guarded) if depth and self.random.random() < 0.7 else guarded)
        return "".join(parts)

    def around(self, body: str) -> str:
        """The same in a loop, a function that is called, or a mode."""
        self.count += 1
        name = self.count
        head = self.random.choice(_AROUND).replace("{i}", str(name)).replace("{few}", str(self.random.randint(2, 3)))
        before = f"seen{name} = []\n" if head.startswith("while") else ""
        after = f"part{name}()\n" if head.startswith("def") else ""
        return f"{before}{head}\n{indent(body, '    ')}{after}"

    def program(self, seed: int) -> str:
        """The whole of it."""
        random = self.random
        kinds = ("SGD", "Adam", "AdamW", "Adagrad")
        head = HEAD.replace("{seed}", str(seed)).replace("{model}", random.choice(_MODELS))
        head = head.replace("{first}", random.choice(kinds)).replace("{second}", random.choice(kinds))
        rest = "".join(
            self.around(_GUARD.format(body=indent(self.block(2), "    "))) for _ in range(random.randint(1, 3))
        )
        return head + rest


def program(seed: int) -> str:
    """The program of that seed."""
    return _Writer(seed).program(seed)
