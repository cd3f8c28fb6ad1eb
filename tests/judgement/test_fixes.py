"""Fixes are patches that were tried: each mends what was found, loses no write, and stops nothing that trains."""

from __future__ import annotations

from pathlib import Path

import pytest

from gradscope.diagnose import judge
from gradscope.diagnose.trials import run_of, trial_of
from gradscope.model.findings import Finding
from gradscope.model.fixes import Fix, Trial
from gradscope.store import open_trace
from tests.judging import Judging
from tests.trying import first, lines_of, tried


@pytest.fixture(autouse=True)
def _here(judging: Judging, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(judging.folder)


# -- what was wrong once ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("write", "mended"),
    [
        ("F.relu_(h)", "h = F.relu(h)"),
        ("torch.sigmoid_(h)", "h = torch.sigmoid(h)"),
        ("nn.init.normal_(h)", "h = torch.sigmoid(w).clone()"),
        ("h.copy_(x)", "h = torch.sigmoid(w).clone()"),
        ("h.zero_()", "h = torch.sigmoid(w).clone()"),
        ("h.uniform_()", "h = torch.sigmoid(w).clone()"),
        ("h.fill_diagonal_(0)", "h = torch.sigmoid(w).clone()"),
        ("h[0] = 0", "h = torch.sigmoid(w).clone()"),
        ("h.mul_(x).add_(1)", "h = h.mul(x).add(1)"),
    ],
)
def test_a_write_under_no_grad_is_mended_by_code_that_runs(judging: Judging, write: str, mended: str) -> None:
    script = f"""
        import torch
        import torch.nn.functional as F
        from torch import nn

        w, x = torch.ones(3, 3, requires_grad=True), torch.ones(3, 3)
        h = torch.sigmoid(w)
        with torch.no_grad():
            {write}
        h.sum().backward()
    """
    finding = first(judging, script, "GS101")
    assert mended in lines_of(finding.fixes[0])
    works = [fix for fix in finding.fixes if tried(judging, finding, fix).works]
    assert works


def test_a_write_through_parts_is_not_lost(judging: Judging) -> None:
    script = """
        import torch

        def denormalize(tensor):
            image = tensor.clone()
            for channel, mean, std in zip(image[0], (0.4, 0.5, 0.6), (0.2, 0.3, 0.4)):
                channel.mul_(std).add_(mean)
            return image

        image = torch.zeros(1, 3, 4, 4, requires_grad=True)
        out = denormalize(image)
        assert abs(out.mean().item() - 0.5) < 1e-6, "the write is lost"
        out.pow(2).mean().backward()
    """
    finding = first(judging, script, "GS307")
    assert finding.fixes
    for fix in finding.fixes:
        assert tried(judging, finding, fix).works


def test_a_persistent_buffer_gets_the_write(judging: Judging) -> None:
    script = """
        import torch
        from torch import nn

        class Queue(nn.Module):
            def __init__(self):
                super().__init__()
                self.lin = nn.Linear(4, 4)
                self.register_buffer("queue", torch.zeros(4, 6))

            def forward(self, x):
                q = self.lin(x)
                out = q @ self.queue
                self.queue[:, :2] = q[:2].detach().t()
                return out

        m = Queue()
        opt = torch.optim.SGD(m.parameters(), lr=0.1)
        for _ in range(3):
            opt.zero_grad()
            m(torch.ones(5, 4)).pow(2).mean().backward()
            opt.step()
        assert m.queue.abs().sum() > 0, "the write is lost"
    """
    finding = first(judging, script, "GS101")
    assert finding.fixes
    for fix in finding.fixes:
        assert "self.queue.clone()" in "".join(lines_of(fix))
        assert tried(judging, finding, fix).works


GAN = """
    import torch
    from torch import nn

    bce = nn.functional.binary_cross_entropy_with_logits
    g, d = nn.Linear(4, 5), nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 1))
    g_opt, d_opt = torch.optim.Adam(g.parameters()), torch.optim.Adam(d.parameters())
    ones, zeros = torch.ones(6, 1), torch.zeros(6, 1)
    for _ in range(2):
        fake = g(torch.randn(6, 4))
        d_loss = bce(d(torch.randn(6, 5)), ones) + bce(d(fake), zeros)
        d_opt.zero_grad()
        d_loss.backward()
        d_opt.step()
        g_loss = bce(d(fake), ones)
        g_opt.zero_grad()
        g_loss.backward()
        g_opt.step()
"""


def test_losses_of_two_players_are_kept_apart(judging: Judging) -> None:
    finding = first(judging, GAN, "GS403")
    (fix,) = finding.fixes
    assert lines_of(fix) == ["d_loss = bce(d(torch.randn(6, 5)), ones) + bce(d(fake.detach()), zeros)"]
    assert tried(judging, finding, fix).works


def test_two_losses_of_one_optimizer_are_both_followed(judging: Judging) -> None:
    script = """
        import torch
        from torch import nn

        enc, a, b = nn.Linear(4, 4), nn.Linear(4, 1), nn.Linear(4, 1)
        opt = torch.optim.SGD([*enc.parameters(), *a.parameters(), *b.parameters()], lr=0.1)
        for _ in range(3):
            h = enc(torch.randn(6, 4)).tanh()
            first, second = a(h).pow(2).mean(), b(h).pow(2).mean()
            opt.zero_grad()
            first.backward()
            second.backward()
            opt.step()
    """
    finding = first(judging, script, "GS403")
    (fix,) = finding.fixes
    assert lines_of(fix) == ["first.backward(retain_graph=True)"]
    assert tried(judging, finding, fix).works


def test_a_list_that_is_never_emptied_is_emptied_not_detached(judging: Judging) -> None:
    script = """
        import torch
        from torch import nn

        net, saved = nn.Linear(4, 2), []
        opt = torch.optim.SGD(net.parameters(), lr=0.1)
        for _ in range(3):
            for _ in range(2):
                saved.append(net(torch.randn(4)).log_softmax(0)[0])
            loss = -torch.stack(saved).sum()
            opt.zero_grad()
            loss.backward()
            opt.step()
    """
    finding = first(judging, script, "GS401")
    assert [lines_of(fix) for fix in finding.fixes] == [["saved.clear()"]]
    assert tried(judging, finding, finding.fixes[0]).works


def test_a_loss_that_was_built_from_numbers_is_not_made_a_leaf(judging: Judging) -> None:
    script = """
        import numpy as np
        import torch
        from torch import nn

        def quantile_loss(pred, target, q=0.9):
            err = target.numpy() - pred.detach().numpy()
            value = np.maximum(q * err, (q - 1) * err).mean()
            return torch.tensor(value)

        net = nn.Linear(3, 1)
        loss = quantile_loss(net(torch.randn(5, 3)), torch.randn(5, 1))
        loss.backward()
    """
    for finding in judging(script):
        assert not any("requires_grad" in line for fix in finding.fixes for line in lines_of(fix))


def test_a_parameter_is_never_assigned_to(judging: Judging) -> None:
    script = """
        import torch
        from torch import nn
        import torch.nn.functional as F

        class Cosine(nn.Module):
            def __init__(self):
                super().__init__()
                self.weight = nn.Parameter(torch.randn(3, 6))

            def forward(self, x):
                with torch.no_grad():
                    self.weight.div_(self.weight.norm(dim=1, keepdim=True))
                return F.linear(x, self.weight)

        body, head = nn.Linear(4, 6), Cosine()
        loss = head(body(torch.randn(5, 4))).mean() + head(body(torch.randn(5, 4))).pow(2).mean()
        loss.backward()
    """
    finding = first(judging, script, "GS101")
    assert finding.fixes
    for fix in finding.fixes:
        assert not any(line.startswith("self.weight =") for line in lines_of(fix))
    assert any(tried(judging, finding, fix).works for fix in finding.fixes)


def test_a_gradient_is_asked_for_of_the_whole_expression(judging: Judging) -> None:
    script = """
        import torch
        from torch import nn

        net = nn.Linear(4, 2)
        image = torch.rand(1, 4)
        x = (image - 0.5) / 0.25
        net(x).max().backward()
        print(x.grad.abs())
    """
    finding = first(judging, script, "GS309")
    assert lines_of(finding.fixes[0]) == ["x = ((image - 0.5) / 0.25).requires_grad_()"]
    assert finding.fix.endswith(": x = ((image - 0.5) / 0.25).requires_grad_()")
    assert tried(judging, finding, finding.fixes[0]).works


@pytest.mark.parametrize(
    ("value", "mended"),
    [
        ("np.abs(out.detach().numpy()).mean()", None),
        ("(out.sum().item() - 1) ** 2", ["return (out.sum() - 1) ** 2"]),
        ("float(out.sum()) ** 2", None),
        ("np.square([one.item() for one in out]).sum()", None),
    ],
)
def test_no_gradient_is_asked_of_numbers_that_were_the_models(
    judging: Judging, value: str, mended: list[str] | None
) -> None:
    script = f"""
        import numpy as np
        import torch
        from torch import nn

        def loss_of(out):
            return torch.tensor({value})

        net = nn.Linear(3, 1)
        opt = torch.optim.SGD(net.parameters(), lr=0.1)
        loss = loss_of(net(torch.ones(5, 3)))
        loss.backward()
        opt.step()
    """
    finding = first(judging, script, "GS201")
    assert "requires_grad" not in finding.fix
    assert [lines_of(fix) for fix in finding.fixes] == ([mended] if mended else [])


def test_a_new_tensor_beside_a_model_is_asked_for_a_gradient(judging: Judging) -> None:
    script = """
        import torch
        from torch import nn

        net = nn.Linear(3, 1)
        print(net(torch.ones(5, 3)).sum().item())
        w = torch.tensor([1.0, 2.0])
        (w * 2).sum().backward()
    """
    assert lines_of(first(judging, script, "GS309").fixes[0]) == ["w = torch.tensor([1.0, 2.0], requires_grad=True)"]


@pytest.mark.parametrize("weights", ["self.scale", "self.lin.weight[0]", "self.scale.exp() * torch.ones(8)"])
def test_what_is_kept_from_the_first_call_is_no_constant_if_it_trains(judging: Judging, weights: str) -> None:
    script = f"""
        import torch
        from torch import nn

        class Encoded(nn.Module):
            def __init__(self):
                super().__init__()
                self.scale, self.lin, self.kept = nn.Parameter(torch.ones(8)), nn.Linear(8, 1), None

            def encoding(self, n):
                if self.kept is None or self.kept.shape[0] != n:
                    base = torch.linspace(0, 1, n)[:, None].expand(n, 8)
                    self.kept = base * ({weights})
                return self.kept

            def forward(self, x):
                return self.lin(x + self.encoding(len(x))).mean()

        m = Encoded()
        opt = torch.optim.SGD(m.parameters(), lr=0.1)
        for _ in range(3):
            opt.zero_grad()
            m(torch.randn(6, 8)).pow(2).backward()
            opt.step()
    """
    finding = first(judging, script, "GS402")
    assert not any("detach" in line for fix in finding.fixes for line in lines_of(fix))
    assert tried(judging, finding, finding.fixes[0]).works


def test_what_trains_nothing_may_be_kept_without_its_graph(judging: Judging) -> None:
    script = """
        import torch
        from torch import nn

        lin, probe = nn.Linear(3, 1), torch.ones(3, requires_grad=True)
        offset = torch.sin(probe)
        opt = torch.optim.SGD(lin.parameters(), lr=0.1)
        for _ in range(3):
            opt.zero_grad()
            lin(torch.randn(6, 3) + offset).pow(2).mean().backward()
            opt.step()
    """
    finding = first(judging, script, "GS402")
    assert lines_of(finding.fixes[0]) == ["offset = torch.sin(probe).detach()"]
    assert tried(judging, finding, finding.fixes[0]).works


# -- what a trial says -----------------------------------------------------------------------------------


def test_a_fix_that_stops_what_trained_does_not_work(judging: Judging) -> None:
    script = """
        import torch
        from torch import nn

        a, b, kept = nn.Linear(3, 3), nn.Linear(3, 1), []
        opt = torch.optim.SGD([*a.parameters(), *b.parameters()], lr=0.1)
        for _ in range(6):
            h = a(torch.randn(4, 3))
            loss = b(h).pow(2).mean()
            opt.zero_grad()
            loss.backward()
            opt.step()
            kept.append(loss)
    """
    finding = first(judging, script, "GS404")
    (fix,) = finding.fixes[:1]
    assert tried(judging, finding, fix).works
    assert fix.patch is not None
    text = (judging.folder / "script.py").read_text()
    cut = text.replace("loss = b(h)", "loss = b(h.detach())").replace("kept.append(loss)", "kept.append(loss.item())")
    (judging.folder / "script.py").write_text(cut)
    trial = _trial_of_text(judging, finding, fix)
    assert (trial.ran, trial.gone, trial.works) == (True, True, False)
    assert trial.stopped


def _trial_of_text(judging: Judging, finding: Finding, fix: Fix) -> Trial:
    """The trial of the script as it now stands, as if the fix had made it so."""
    assert fix.patch is not None
    with open_trace(judging.folder / "script.gradscope") as opened:
        before = run_of(opened, judge(opened))
    trace = Path(judging.folder, "trial.gradscope")
    judging.server.traced("--quiet", "--detail", "full", "-o", str(trace), "script.py", folder=judging.folder)
    with open_trace(trace) as opened:
        return trial_of(finding, fix.patch, before, run_of(opened, judge(opened)))


def test_a_fix_of_a_crash_that_cuts_what_was_to_train_does_not_work(judging: Judging) -> None:
    script = """
        import torch
        from torch import nn

        a, b, h = nn.Linear(3, 3), nn.Linear(3, 1), torch.zeros(4, 3)
        opt = torch.optim.SGD([*a.parameters(), *b.parameters()], lr=0.1)
        for _ in range(3):
            h = a(torch.randn(4, 3)) + h
            loss = b(h).pow(2).mean()
            opt.zero_grad()
            loss.backward()
            opt.step()
    """
    finding = first(judging, script, "GS401")
    fix = finding.fixes[0]
    trial = tried(judging, finding, fix)
    assert (trial.works, trial.stopped, trial.spoilt) == (True, (), False)
    text = (judging.folder / "script.py").read_text()
    (judging.folder / "script.py").write_text(text.replace("b(h)", "b(h.detach())"))
    trial = _trial_of_text(judging, finding, fix)
    assert (trial.ran, trial.gone, trial.works) == (True, True, False)
    assert {name.rpartition(".")[2] for name in trial.stopped} == {"weight", "bias"}


def test_a_fix_that_freezes_stops_nothing(judging: Judging) -> None:
    script = """
        import torch
        from torch import nn

        a, b, kept = nn.Linear(3, 3), nn.Linear(3, 1), []
        opt = torch.optim.SGD([*a.parameters(), *b.parameters()], lr=0.1)
        for _ in range(6):
            loss = b(a(torch.randn(4, 3))).pow(2).mean()
            opt.zero_grad()
            loss.backward()
            opt.step()
            kept.append(loss)
    """
    finding = first(judging, script, "GS404")
    text = (judging.folder / "script.py").read_text()
    frozen = text.replace("opt = ", "a.requires_grad_(False); opt = ").replace("append(loss)", "append(loss.item())")
    (judging.folder / "script.py").write_text(frozen)
    trial = _trial_of_text(judging, finding, finding.fixes[0])
    assert (trial.gone, trial.stopped) == (True, ())


def test_a_fix_that_makes_numbers_infinite_does_not_work(judging: Judging) -> None:
    script = """
        import torch

        w, kept = torch.ones(3, requires_grad=True), []
        opt = torch.optim.SGD([w], lr=0.1)
        for _ in range(6):
            loss = w.pow(2).mean()
            opt.zero_grad()
            loss.backward()
            opt.step()
            kept.append(loss)
    """
    finding = first(judging, script, "GS404")
    fix = finding.fixes[0]
    text = (judging.folder / "script.py").read_text()
    (judging.folder / "script.py").write_text(text.replace("mean()", "mean() / 0").replace("(loss)", "(loss.item())"))
    trial = _trial_of_text(judging, finding, fix)
    assert trial.spoilt
    assert not trial.mends


# -- what is asked for, and what was used ----------------------------------------------------------------------


def test_the_tensor_that_was_used_is_asked_for_and_no_zeros_are_taken(judging: Judging) -> None:
    script = """
        import torch
        from torch import nn

        net = nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 1))
        opt = torch.optim.SGD(net.parameters(), lr=0.1)

        def penalty(real, fake):
            mixed = (0.5 * real + 0.5 * fake).detach().requires_grad_()
            (g,) = torch.autograd.grad(net(mixed).sum(), fake, create_graph=True)
            return (g.norm(dim=1) - 1).square().mean()

        for _ in range(2):
            made = torch.randn(4, 2, requires_grad=True)
            loss = net(made).mean() + penalty(torch.randn(4, 2), made)
            opt.zero_grad()
            loss.backward()
            opt.step()
    """
    finding = first(judging, script, "GS206")
    assert "mixed" in finding.fix
    assert not any("materialize_grads" in line for fix in finding.fixes for line in lines_of(fix))
    assert "(g,) = torch.autograd.grad(net(mixed).sum(), mixed, create_graph=True)" in lines_of(finding.fixes[0])
    assert tried(judging, finding, finding.fixes[0]).works


def test_where_a_condition_switched_gradients_off_the_block_stays(judging: Judging) -> None:
    script = """
        import torch
        from torch import nn

        net = nn.Linear(3, 1)
        opt = torch.optim.SGD(net.parameters(), lr=0.1)
        for phase in ("training", "validation"):
            with torch.set_grad_enabled(phase == "train"):
                loss = net(torch.randn(4, 3)).square().mean()
            if phase == "training":
                opt.zero_grad()
                loss.backward()
                opt.step()
    """
    finding = first(judging, script, "GS201")
    assert "phase == 'train' was False here" in finding.explanation
    assert finding.patched is None


# -- words for the very case ---------------------------------------------------------------------------------


def test_a_gradient_of_exchanged_axes_is_no_matter_of_how_many(judging: Judging) -> None:
    script = """
        import torch

        class Product(torch.autograd.Function):
            @staticmethod
            def forward(ctx, x, w):
                ctx.save_for_backward(x, w)
                return x @ w

            @staticmethod
            def backward(ctx, grad):
                x, w = ctx.saved_tensors
                return grad @ w.t(), grad.t() @ x

        x, w = torch.randn(4, 3), torch.randn(3, 2, requires_grad=True)
        Product.apply(x, w).sum().backward()
    """
    finding = first(judging, script, "GS811")
    assert "value 2" in finding.fix
    assert "[3, 2]: transpose it" in finding.fix
    assert tried(judging, finding, finding.fixes[-1]).works


def test_a_loss_that_is_scaled_already_is_not_to_be_scaled(judging: Judging) -> None:
    script = """
        import torch
        from torch import nn

        net = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 1))
        opt = torch.optim.SGD(net[1].parameters(), lr=0.1)
        net[1] = nn.Linear(3, 1)
        scaler = torch.amp.GradScaler("cpu")
        loss = net(torch.randn(4, 3)).square().mean()
        scaler.scale(loss).backward()
        scaler.step(opt)
        scaler.update()
    """
    finding = first(judging, script, "GS507")
    assert finding.fix.startswith("build the optimizer from the parameters that the loss reaches")
