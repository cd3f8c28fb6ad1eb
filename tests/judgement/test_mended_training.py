"""What goes wrong in silence or between steps is mended by a patch that works: a line of it, and a run with it."""

from __future__ import annotations

import pytest

from tests.judging import Judging
from tests.trying import first, lines_of, tried

HEAD = """
        import torch
        import torch.nn.functional as F
        from torch import nn

        torch.manual_seed(0)
"""

# By what is wrong: the code, a line of the patch, and the script.
SCRIPTS = {
    "numbers in a list": (
        "GS201",
        "return torch.stack(found).mean()",
        """
        net = nn.Linear(3, 1)
        opt = torch.optim.SGD(net.parameters(), lr=0.1)

        def each(rows):
            return [net(row).square().sum().item() for row in rows]

        def loss_of(rows):
            found = each(rows)
            return torch.tensor(found).mean()

        for _ in range(2):
            loss = loss_of(torch.randn(4, 3))
            opt.zero_grad()
            loss.backward()
            opt.step()
        """,
    ),
    "a transposed buffer that moves": (
        "GS101",
        "scores = h @ self.bank.t().clone()",
        """
        class Bank(nn.Module):
            def __init__(self):
                super().__init__()
                self.lin = nn.Linear(4, 3)
                self.register_buffer("bank", torch.randn(5, 3))

            def forward(self, x):
                h = self.lin(x)
                scores = h @ self.bank.t()
                with torch.no_grad():
                    self.bank.mul_(0.9)
                return scores

        bank = Bank()
        opt = torch.optim.SGD(bank.parameters(), lr=0.1)
        for _ in range(2):
            loss = bank(torch.randn(6, 4)).square().mean()
            opt.zero_grad()
            loss.backward()
            opt.step()
        """,
    ),
    "unscaled in each of the batches of one update": (
        "GS507",
        "scaler.unscale_(opt)",
        """
        net = nn.Linear(3, 1)
        opt, scaler = torch.optim.SGD(net.parameters(), lr=0.1), torch.amp.GradScaler("cpu")
        opt.zero_grad()
        for i in range(4):
            scaler.scale(net(torch.randn(4, 3)).square().mean() / 2).backward()
            scaler.unscale_(opt)
            torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            if i % 2:
                scaler.step(opt)
                scaler.update()
                opt.zero_grad()
        """,
    ),
    "a parameter that forward assigns to": (
        "GS310",
        "weight = self.weight.abs()",
        """
        class Positive(nn.Linear):
            def forward(self, x):
                self.weight = self.weight.abs()
                return F.linear(x, self.weight, self.bias)

        net = Positive(3, 2)
        opt = torch.optim.SGD(net.parameters(), lr=0.1)
        for _ in range(2):
            loss = net(torch.randn(4, 3)).square().mean()
            opt.zero_grad()
            loss.backward()
            opt.step()
        """,
    ),
    "parameters that were counted": (
        "GS607",
        "params = list(net.parameters())",
        """
        net = nn.Linear(3, 1)
        params = net.parameters()
        print(sum(p.numel() for p in params))
        opt = torch.optim.SGD(params, lr=0.1)
        for _ in range(2):
            loss = net(torch.randn(4, 3)).square().mean()
            opt.zero_grad()
            loss.backward()
            opt.step()
        """,
    ),
    "layers before the module is one": (
        "GS608",
        "super().__init__()",
        """
        class Net(nn.Module):
            def __init__(self):
                self.out = nn.Linear(3, 1)
                super().__init__()

            def forward(self, x):
                return self.out(x)

        net = Net()
        opt = torch.optim.SGD(net.parameters(), lr=0.1)
        for _ in range(2):
            loss = net(torch.randn(4, 3)).square().mean()
            opt.zero_grad()
            loss.backward()
            opt.step()
        """,
    ),
    "a kernel of the setup": (
        "GS402",
        "return (torch.exp(self.log_scale) * x).sum()",
        """
        class Scaled(nn.Module):
            def __init__(self):
                super().__init__()
                self.log_scale = nn.Parameter(torch.zeros(3))
                self.scale = torch.exp(self.log_scale)

            def forward(self, x):
                return (self.scale * x).sum()

        net = Scaled()
        opt = torch.optim.SGD(net.parameters(), lr=0.1)
        for _ in range(3):
            opt.zero_grad()
            net(torch.randn(3)).backward()
            opt.step()
        """,
    ),
    "one half of a state": (
        "GS401",
        "h, c = h.detach(), c.detach()",
        """
        cell = nn.LSTM(3, 4)
        opt = torch.optim.SGD(cell.parameters(), lr=0.1)
        h, c = torch.zeros(1, 4), torch.zeros(1, 4)
        for _ in range(3):
            out, (h, c) = cell(torch.randn(2, 3), (h, c))
            opt.zero_grad()
            out.square().mean().backward()
            opt.step()
        """,
    ),
    "a column that meets a row": (
        "GS901",
        "gain = returns - value.squeeze(-1)",
        """
        net = nn.Linear(3, 1)
        opt = torch.optim.SGD(net.parameters(), lr=0.1)
        for _ in range(3):
            value, returns = net(torch.randn(6, 3)), torch.randn(6)
            gain = returns - value
            loss = gain.square().mean()
            opt.zero_grad()
            loss.backward()
            opt.step()
        """,
    ),
    "dropout of a forward": (
        "GS706",
        "return nn.Dropout(0.4).train(self.training)(self.out(x))",
        """
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.out = nn.Linear(3, 1)

            def forward(self, x):
                return nn.Dropout(0.4)(self.out(x))

        net = Net()
        opt = torch.optim.SGD(net.parameters(), lr=0.1)
        for _ in range(3):
            net.train()
            loss = net(torch.randn(6, 3)).square().mean()
            opt.zero_grad()
            loss.backward()
            opt.step()
            net.eval()
            with torch.no_grad():
                print(net(torch.randn(6, 3)).mean().item())
        """,
    ),
    "a frozen part that train() reaches": (
        "GS705",
        "net[0].eval()",
        """
        body = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
        net = nn.Sequential(body, nn.ReLU(), nn.Linear(4, 1))
        body.requires_grad_(False)
        opt = torch.optim.SGD(net[2].parameters(), lr=0.1)
        for _ in range(2):
            net.train()
            for _ in range(3):
                loss = net(torch.randn(6, 3)).square().mean()
                opt.zero_grad()
                loss.backward()
                opt.step()
        """,
    ),
    "a row that is masked throughout": (
        "GS801",
        "weights = scores.masked_fill(~seen, -1e9).softmax(-1)",
        """
        net = nn.Linear(4, 4)
        opt = torch.optim.SGD(net.parameters(), lr=0.1)
        for step in range(3):
            x = torch.randn(5, 4)
            scores = net(x) @ x.t()
            seen = torch.ones(5, 5, dtype=torch.bool)
            seen[1] = False
            weights = scores.masked_fill(~seen, float("-inf")).softmax(-1)
            loss = (weights @ x).square().mean()
            opt.zero_grad()
            loss.backward()
            opt.step()
        """,
    ),
    "a length of 0": (
        "GS801",
        "h = h / h.norm(dim=1, keepdim=True).clamp(min=1e-8)",
        """
        net = nn.Linear(4, 4, bias=False)
        opt = torch.optim.SGD(net.parameters(), lr=0.1)
        for step in range(3):
            x = torch.randn(5, 4)
            x[0] = 0
            h = net(x)
            h = h / h.norm(dim=1, keepdim=True)
            loss = (h @ torch.ones(4)).square().mean()
            opt.zero_grad()
            loss.backward()
            opt.step()
        """,
    ),
    "one loss of two that is scaled": (
        "GS516",
        "scaler.scale(0.1 * net(x).abs().mean()).backward()",
        """
        net = nn.Linear(3, 1)
        opt, scaler = torch.optim.SGD(net.parameters(), lr=0.1), torch.amp.GradScaler("cpu")
        for _ in range(3):
            x = torch.randn(4, 3)
            opt.zero_grad()
            scaler.scale(net(x).square().mean()).backward()
            (0.1 * net(x).abs().mean()).backward()
            scaler.step(opt)
            scaler.update()
        """,
    ),
    "probabilities for their logarithms": (
        "GS903",
        "return F.log_softmax(net(x), dim=1)",
        """
        net = nn.Linear(3, 4)
        opt = torch.optim.SGD(net.parameters(), lr=0.1)

        def predict(x):
            return F.softmax(net(x), dim=1)

        for _ in range(3):
            loss = F.nll_loss(predict(torch.randn(6, 3)), torch.randint(0, 4, (6,)))
            opt.zero_grad()
            loss.backward()
            opt.step()
        """,
    ),
    "a gradient with its axes exchanged": (
        "GS811",
        "return grad @ w, (x.t() @ grad).t()",
        """
        class Matrix(torch.autograd.Function):
            @staticmethod
            def forward(ctx, x, w):
                ctx.save_for_backward(x, w)
                return x @ w.t()

            @staticmethod
            def backward(ctx, grad):
                x, w = ctx.saved_tensors
                return grad @ w, x.t() @ grad

        w = nn.Parameter(torch.randn(2, 3))
        opt = torch.optim.SGD([w], lr=0.1)
        for _ in range(2):
            loss = Matrix.apply(torch.randn(5, 3), w).square().mean()
            opt.zero_grad()
            loss.backward()
            opt.step()
        """,
    ),
    "what a loop uses and only the setup made": (
        "GS402",
        "rows = table(ids)",
        """
        table, ids = nn.Embedding(5, 3), torch.arange(5)
        opt = torch.optim.SGD(table.parameters(), lr=0.1)

        def loss_of(rows, x):
            return (rows @ x).square().mean()

        def fit():
            rows = table(ids)
            for _ in range(3):
                loss = loss_of(rows, torch.randn(3))
                opt.zero_grad()
                loss.backward()
                opt.step()

        fit()
        """,
    ),
    "a copy in the place of the module": (
        "GS602",
        "self.net.load_state_dict(self.best.state_dict())",
        """
        import copy

        class Fit:
            def __init__(self):
                self.net = nn.Linear(3, 1)
                self.opt = torch.optim.SGD(self.net.parameters(), lr=0.1)

            def epoch(self):
                for _ in range(3):
                    loss = self.net(torch.randn(4, 3)).square().mean()
                    self.opt.zero_grad()
                    loss.backward()
                    self.opt.step()

            def keep(self):
                self.best = copy.deepcopy(self.net)

            def back(self):
                self.net = self.best

        fit = Fit()
        fit.epoch()
        fit.keep()
        fit.epoch()
        fit.back()
        fit.epoch()
        """,
    ),
    "losses of heads that a loop forgets": (
        "GS210",
        "total = total + F.mse_loss(head(h), y)",
        """
        body, heads = nn.Linear(3, 4), nn.ModuleList(nn.Linear(4, 1) for _ in range(3))
        opt = torch.optim.SGD([*body.parameters(), *heads.parameters()], lr=0.1)

        def loss_of(x, y):
            h = body(x)
            for head in heads:
                total = F.mse_loss(head(h), y)
            return total

        for _ in range(4):
            loss = loss_of(torch.randn(5, 3), torch.randn(5, 1))
            opt.zero_grad()
            loss.backward()
            opt.step()
        """,
    ),
    "an average whose new values are thrown away": (
        "GS524",
        "slow.copy_(0.9 * slow + 0.1 * fast)",
        """
        net, average = nn.Linear(3, 1), nn.Linear(3, 1).requires_grad_(False)
        opt = torch.optim.SGD(net.parameters(), lr=0.1)
        for _ in range(4):
            loss = F.mse_loss(net(torch.randn(6, 3)), average(torch.randn(6, 3)))
            opt.zero_grad()
            loss.backward()
            opt.step()
            with torch.no_grad():
                for slow, fast in zip(average.parameters(), net.parameters()):
                    slow = 0.9 * slow + 0.1 * fast
        """,
    ),
}


@pytest.fixture(autouse=True)
def _here(judging: Judging, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(judging.folder)


@pytest.mark.parametrize("name", SCRIPTS)
def test_it_is_mended(judging: Judging, name: str) -> None:
    code, line, script = SCRIPTS[name]
    finding = first(judging, f"{HEAD}{script}", code)
    assert finding.fixes, finding
    trials = [(fix, tried(judging, finding, fix)) for fix in finding.fixes]
    works = [fix for fix, trial in trials if trial.works]
    assert works, trials
    assert line in lines_of(works[0])
