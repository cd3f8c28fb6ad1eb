"""GS101: a tensor that autograd saved was changed in place before its backward."""

from __future__ import annotations

import pytest

from gradscope.model.findings import Severity
from tests.judging import Judging, loud


def test_names_the_write_and_the_op_that_saved(judging: Judging) -> None:
    found = judging("""
        import torch
        x = torch.ones(3, requires_grad=True)
        y = torch.tanh(x)  # saves
        y.mul_(2)  # writes
        y.sum().backward()
    """)
    first = found[0]
    assert first.code == "GS101"
    assert judging.blames(first, "# writes")
    assert [place.line for place in first.related] == [judging.line("# saves"), judging.line("backward()")]
    assert [place.note for place in first.related] == ["saved here", "the backward that needs it"]
    assert "y was changed in place (mul_) after tanh saved it" in first.message
    assert "computed from its own result" in first.explanation
    assert first.fix.startswith("make a new tensor under the same name: y = y.mul(2)")
    assert first.confidence == 0.99
    assert len(first.nodes) == 2


BUGS = {
    "through a view made in a comprehension": """
        import torch
        x = torch.randn(4, 6, requires_grad=True)
        h = torch.sigmoid(x)
        parts = [h[i] for i in range(4)]
        out = (h * 3).sum()
        for part in parts[2:]:
            part += 1  # culprit
        out.backward()
    """,
    "augmented assignment of an attribute in a method": """
        import torch
        from torch import nn
        class Block(nn.Module):
            def __init__(self):
                super().__init__()
                self.lin = nn.Linear(4, 4)
            def forward(self, x):
                self.last = torch.exp(self.lin(x))
                return self.last.sum()
            def shift(self, by):
                self.last -= by  # culprit
        block = Block()
        loss = block(torch.ones(2, 4))
        block.shift(0.5)
        loss.backward()
    """,
    "an optimizer that steps between two backwards of one graph, in a helper": """
        import torch
        from torch import nn
        body, a, b = nn.Linear(3, 3), nn.Linear(3, 1), nn.Linear(3, 1)
        opt_a = torch.optim.SGD([*body.parameters(), *a.parameters()], lr=0.1)
        opt_b = torch.optim.SGD([*body.parameters(), *b.parameters()], lr=0.1)
        def advance(optimizer):
            optimizer.step()
        def both(x):
            h = torch.relu(a(body(x))).sum() + 1
            g = b(torch.tanh(body(torch.tanh(body(x))))).sum()
            h.backward(retain_graph=True)
            advance(opt_a)  # culprit
            g.backward()
            advance(opt_b)
        both(torch.ones(2, 3))
    """,
    "a manual update under no_grad between two backwards": """
        import torch
        w = torch.ones(3, requires_grad=True)
        x = torch.arange(3.0)
        def losses():
            p = torch.tanh(w * x)
            return (p * w).sum(), (p * p * w).sum()
        one, two = losses()
        one.backward(retain_graph=True)
        with torch.no_grad():
            w -= 0.1 * w.grad  # culprit
        two.backward()
    """,
    "a hidden state written row by row": """
        import torch
        from torch import nn
        class Scan(nn.Module):
            def __init__(self):
                super().__init__()
                self.mix = nn.Linear(5, 5)
            def forward(self, xs):
                memory = torch.zeros(5, 5)
                t = 0
                while t < 4:
                    memory[t] = torch.tanh(self.mix(xs[t]) + memory.sum(0) * memory[t - 1])  # culprit
                    t += 1
                return memory.pow(2).mean()
        Scan()(torch.randn(4, 5)).backward()
    """,
    "a buffer updated by the second call of a module": """
        import torch
        from torch import nn
        class Centre(nn.Module):
            def __init__(self):
                super().__init__()
                self.register_buffer("mean", torch.ones(4))
            def forward(self, x):
                with torch.no_grad():
                    self.mean.lerp_(x.mean(0), 0.1)  # culprit
                return x * self.mean
        net = nn.Sequential(nn.Linear(4, 4), Centre())
        for step in range(2):
            pair = [net(torch.randn(6, 4)) for _ in range(2)]
            sum(p.sum() for p in pair).backward()
    """,
    "an activation that works in place on what was kept": """
        import torch
        from torch import nn
        layers = [nn.Linear(4, 4), nn.Sigmoid()]
        layers += [
            nn.LeakyReLU(0.3, inplace=True),  # culprit
            nn.Linear(4, 1),
        ]
        net = nn.Sequential(*layers)
        net(torch.randn(3, 4)).sum().backward()
    """,
    "a functional activation in place": """
        import torch
        import torch.nn.functional as F
        def gate(z):
            s = z.softmax(-1)
            return F.elu(s) * F.hardtanh(s, -0.2, 0.1, inplace=True)  # culprit
        z = torch.randn(3, 4, requires_grad=True)
        gate(z).sum().backward()
    """,
    "the weight of a saved product, changed through a detached alias": """
        import torch
        w = torch.ones(3, requires_grad=True)
        x = torch.ones(3, requires_grad=True)
        y = (w * x).sum()
        alias = w.detach()
        alias.zero_()  # culprit
        y.backward()
    """,
    "an argument of a custom function": """
        import torch
        class Square(torch.autograd.Function):
            @staticmethod
            def forward(ctx, x):
                ctx.save_for_backward(x)
                return x * x
            @staticmethod
            def backward(ctx, g):
                (x,) = ctx.saved_tensors
                return 2 * g * x
        x = torch.ones(3, requires_grad=True)
        z = x + 1
        y = Square.apply(z)
        z.add_(1)  # culprit
        y.sum().backward()
    """,
    "an error that the script caught": """
        import torch
        x = torch.ones(3, requires_grad=True)
        y = torch.exp(x)
        y.clamp_(max=1.0)  # culprit
        try:
            y.sum().backward()
        except RuntimeError:
            print("no gradient")
    """,
    "data normalised in place after a layer kept it": """
        import torch
        from torch import nn
        from helper import standardise
        net = nn.Linear(4, 1)
        batch = torch.randn(8, 4)
        loss = net(batch).mean()
        loss = loss + standardise(batch).mean()
        loss.backward()
    """,
}
HELPER = """
    def standardise(batch):
        batch -= batch.mean(0)  # culprit
        return batch
"""


@pytest.mark.parametrize("bug", BUGS)
def test_blames_the_line_that_writes(judging: Judging, bug: str) -> None:
    files = {"helper": HELPER} if "import standardise" in BUGS[bug] else {}
    file = "helper.py" if files else "script.py"
    first = judging.expect("GS101", "# culprit", BUGS[bug], file=file, **files)
    assert first.severity is Severity.ERROR


HEALTHY = {
    "the op keeps something else": """
        import torch
        x = torch.ones(3, requires_grad=True)
        y = x + 1
        y.mul_(2)
        y.sum().backward()
    """,
    "written after the backward": """
        import torch
        x = torch.ones(3, requires_grad=True)
        y = torch.tanh(x)
        y.sum().backward()
        with torch.no_grad():
            y.zero_()
    """,
    "an accumulator": """
        import torch
        x = torch.ones(3, requires_grad=True)
        total = torch.zeros(3)
        for _ in range(4):
            total += torch.sin(x)
        total.sum().backward()
    """,
    "relu in place after a linear layer": """
        import torch
        from torch import nn
        net = nn.Sequential(nn.Linear(4, 4), nn.ReLU(inplace=True), nn.Linear(4, 1), nn.Dropout(0.5, inplace=True))
        for _ in range(2):
            net(torch.ones(2, 4)).sum().backward()
    """,
    "the buffer is written before it is used, once a backward": """
        import torch
        from torch import nn
        scale = torch.ones(4)
        lin = nn.Linear(4, 4)
        opt = torch.optim.SGD(lin.parameters(), lr=0.1)
        for _ in range(3):
            scale.mul_(0.9)
            opt.zero_grad()
            (lin(torch.ones(2, 4)) * scale).sum().backward()
            opt.step()
    """,
    "two optimizers, each graph its own": """
        import torch
        from torch import nn
        g, d = nn.Linear(2, 2), nn.Linear(2, 1)
        og, od = torch.optim.SGD(g.parameters(), lr=0.1), torch.optim.SGD(d.parameters(), lr=0.1)
        for _ in range(2):
            fake = g(torch.randn(4, 2))
            od.zero_grad()
            d(fake.detach()).mean().backward()
            od.step()
            og.zero_grad()
            (-d(fake).mean()).backward()
            og.step()
    """,
    "the part of the graph that holds the old value is not asked for": """
        import torch
        a, b = torch.ones(3, requires_grad=True), torch.ones(3, requires_grad=True)
        kept = torch.exp(a)
        loss = (b * 2).sum() + kept.sum()
        kept.add_(1)
        loss.backward(inputs=[b])
    """,
}


@pytest.mark.parametrize("script", HEALTHY)
def test_silent_where_no_backward_needs_the_old_value(judging: Judging, script: str) -> None:
    assert not loud(judging(HEALTHY[script]))


def test_the_write_that_raised_comes_first_and_others_are_named(judging: Judging) -> None:
    found = judging("""
        import torch
        x = torch.ones(2, requires_grad=True)
        a = torch.tanh(x)
        b = torch.exp(torch.cat([a, a]))
        a.mul_(2)  # later in the backward
        b.mul_(2)  # first
        b.add_(1)  # again
        b.sum().backward()
    """)
    assert [f.code for f in found] == ["GS101", "GS101"]
    assert judging.blames(found[0], "# first")
    assert (judging.line("# again"), "written here too") in [(p.line, p.note) for p in found[0].related]
    assert judging.blames(found[1], "# later in the backward")
    assert found[0].confidence > found[1].confidence


def test_a_stale_tensor_that_no_backward_used_is_a_note(judging: Judging) -> None:
    (found,) = judging(HEALTHY["the part of the graph that holds the old value is not asked for"])
    assert (found.code, found.severity) == ("GS101", Severity.NOTE)


@pytest.mark.parametrize(
    ("line", "fix"),
    [
        ("y += x * 2", "y = y + x * 2"),
        ("y *= x + 2", "y = y * (x + 2)"),
        ("y.clamp_(max=1)", "y = y.clamp(max=1)"),
        ("torch.nn.functional.relu(y, inplace=True)", "torch.nn.functional.relu(y)"),
        ("y[0] = 0", "y = torch.tanh(x).clone()"),
    ],
)
def test_the_fix_is_the_line_out_of_place(judging: Judging, line: str, fix: str) -> None:
    found = judging(f"""
        import torch
        x = torch.linspace(-1, 1, 3).requires_grad_()
        y = torch.tanh(x)
        {line}
        (y * 2).sum().backward()
    """)
    assert fix in found[0].fix


def test_a_write_that_will_be_refused_is_a_note_before_any_backward(judging: Judging) -> None:
    (found,) = judging("""
        import torch
        x = torch.ones(3, requires_grad=True)
        y = torch.sigmoid(x)
        y *= 2  # culprit
        print(y.sum())
    """)
    assert (found.code, found.severity) == ("GS101", Severity.NOTE)
    assert judging.blames(found, "# culprit")
    assert "a backward through it will be refused" in found.message


def test_a_result_that_was_written_without_gradients_is_nothing(judging: Judging) -> None:
    assert not judging("""
        import torch
        x = torch.ones(3, requires_grad=True)
        with torch.no_grad():
            y = torch.sigmoid(x)
            y *= 2
        z = torch.tanh(x.detach())
        z += 1
    """)
