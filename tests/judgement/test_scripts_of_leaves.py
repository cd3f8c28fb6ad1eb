"""Mistakes with saved tensors and leaves as they stand in longer scripts: the first finding names the line."""

from __future__ import annotations

import pytest

from tests.judging import Judging, loud

BUGS = {
    "inplace masked fill attention": """
        import torch
        from torch import nn
        class Att(nn.Module):
            def __init__(self):
                super().__init__(); self.q = nn.Linear(8, 8); self.k = nn.Linear(8, 8)
            def forward(self, x, mask):
                att = torch.softmax(self.q(x) @ self.k(x).transpose(1, 2), -1)
                att.masked_fill_(mask, 0.0)  # culprit
                return att @ x
        net = Att(); opt = torch.optim.SGD(net.parameters(), lr=.1)
        for _ in range(2):
            out = net(torch.randn(2, 5, 8), torch.rand(2, 5, 5) > 0.8)
            opt.zero_grad(); out.pow(2).mean().backward(); opt.step()
    """,
    "inplace two optimizers a2c": """
        import torch
        from torch import nn
        class AC(nn.Module):
            def __init__(self):
                super().__init__()
                self.body = nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Linear(16, 16), nn.Tanh())
                self.pi, self.v = nn.Linear(16, 2), nn.Linear(16, 1)
            def forward(self, x):
                z = self.body(x); return self.pi(z), self.v(z)
        class Agent:
            def __init__(self):
                self.ac = AC()
                self.po = torch.optim.Adam([*self.ac.body.parameters(), *self.ac.pi.parameters()])
                self.vo = torch.optim.Adam([*self.ac.body.parameters(), *self.ac.v.parameters()])
            def update(self, obs, ret):
                logits, value = self.ac(obs)
                adv = ret - value.squeeze(1)
                policy_loss = -(logits.log_softmax(1)[:, 0] * adv.detach()).mean()
                value_loss = adv.pow(2).mean()
                self.po.zero_grad()
                policy_loss.backward(retain_graph=True)
                self.po.step()  # culprit
                self.vo.zero_grad()
                value_loss.backward()
                self.vo.step()
        agent = Agent()
        for _ in range(3):
            agent.update(torch.randn(8, 4), torch.randn(8))
    """,
    "inplace positional add to embedding out relu": """
        import torch, torch.nn.functional as F
        from torch import nn
        class B(nn.Module):
            def __init__(self):
                super().__init__()
                self.c1 = nn.Conv1d(3, 3, 3, padding=1)
                self.c2 = nn.Conv1d(3, 3, 3, padding=1)
            def forward(self, x):
                y = F.elu(self.c1(x))
                z = self.c2(y)
                y += z  # culprit
                return y.exp()
        m = B()
        m(torch.randn(1, 3, 8)).mean().backward()
    """,
    "inplace normalise loss weights list": """
        import torch
        w = torch.nn.Parameter(torch.ones(3))
        opt = torch.optim.SGD([w], lr=0.1)
        for it in range(3):
            p = w.exp()
            total = p.sum()
            p /= total  # culprit
            loss = (p * torch.arange(3.)).sum()
            opt.zero_grad(); loss.backward(); opt.step()
    """,
    "inplace index_put scatter": """
        import torch
        from torch import nn
        emb = nn.Linear(6, 6)
        def route(h, idx, upd):
            h.index_copy_(0, idx, upd)  # culprit
            return h
        for _ in range(2):
            h = torch.sqrt(emb(torch.rand(4, 6)).abs() + 1)
            out = route(h, torch.tensor([0, 2]), torch.zeros(2, 6))
            out.sum().backward()
    """,
    "inplace dropout inplace after sigmoid module attr": """
        import torch
        from torch import nn
        class Gate(nn.Module):
            def __init__(self):
                super().__init__()
                self.fc = nn.Linear(4, 4)
                self.act = nn.Sigmoid()
                self.drop = nn.Dropout(0.5, inplace=True)  # culprit
            def forward(self, x):
                g = self.act(self.fc(x))
                return self.drop(g) * x
        net = Gate(); opt = torch.optim.SGD(net.parameters(), lr=.1)
        for _ in range(2):
            opt.zero_grad(); net(torch.randn(3, 4)).sum().backward(); opt.step()
    """,
    "inplace ema of teacher weights used in loss": """
        import torch, copy
        from torch import nn
        s = nn.Linear(4, 4); t = copy.deepcopy(s)
        x = nn.Parameter(torch.randn(2, 4))
        opt = torch.optim.SGD([*s.parameters(), x], lr=.1)
        def ema():
            with torch.no_grad():
                for a, c in zip(t.parameters(), s.parameters()):
                    a.mul_(0.9).add_(c, alpha=0.1)
        for _ in range(2):
            loss = (s(x) - t(x)).pow(2).mean()
            ema()  # culprit
            opt.zero_grad(); loss.backward(); opt.step()
    """,
    "inplace scheduler-like weight decay between": """
        import torch
        from torch import nn
        net = nn.Sequential(nn.Linear(4, 8), nn.GELU(), nn.Linear(8, 1))
        opt = torch.optim.SGD(net.parameters(), lr=.1)
        for _ in range(2):
            loss = net(torch.randn(3, 4)).mean()
            with torch.no_grad():
                for p in net.parameters():
                    p.mul_(0.99)  # culprit
            opt.zero_grad(); loss.backward(); opt.step()
    """,
    "inplace detach_alias zero hidden": """
        import torch
        from torch import nn
        rnn = nn.GRUCell(3, 5); out = nn.Linear(5, 1)
        opt = torch.optim.SGD([*rnn.parameters(), *out.parameters()], lr=.1)
        def reset(h, done):
            h[done] = 0  # culprit
            return h
        for ep in range(2):
            h = torch.zeros(4, 5); loss = 0
            for t in range(3):
                h = rnn(torch.randn(4, 3), h)
                loss = loss + out(h).pow(2).mean()
                h = reset(h, torch.tensor([True, False, False, False]))
            opt.zero_grad(); loss.backward(); opt.step()
    """,
    "alias data mul on hidden": """
        import torch
        from torch import nn
        class D(nn.Module):
            def __init__(self):
                super().__init__(); self.a = nn.Linear(4, 8); self.b = nn.Linear(8, 1)
            def forward(self, x):
                h = nn.functional.softplus(self.a(x)).sigmoid()
                mask = (torch.rand_like(h) > .5).float()
                h.data.mul_(mask)  # culprit
                return self.b(h)
        net = D(); opt = torch.optim.SGD(net.parameters(), lr=.1)
        for _ in range(2):
            opt.zero_grad(); net(torch.randn(5, 4)).pow(2).mean().backward(); opt.step()
    """,
    "alias from_numpy replay ring": """
        import numpy as np, torch
        from torch import nn
        class Replay:
            def __init__(self, n, d):
                self.store = np.random.randn(n, d).astype(np.float32); self.i = 0
            def add(self, x):
                self.store[self.i % len(self.store)] = x; self.i += 1  # write
            def batch(self):
                return torch.from_numpy(self.store)  # culprit
        buf = Replay(8, 4); net = nn.Linear(4, 1); opt = torch.optim.SGD(net.parameters(), lr=.1)
        for t in range(4):
            q = net(buf.batch()).mean()
            buf.add(np.random.randn(4))
            opt.zero_grad(); q.backward(); opt.step()
    """,
    "alias weights restored after forward": """
        import torch
        from torch import nn
        net = nn.Sequential(nn.Conv1d(1, 2, 3), nn.ReLU(), nn.Conv1d(2, 1, 3))
        opt = torch.optim.SGD(net.parameters(), lr=.1)
        for _ in range(2):
            kept = [p.data.clone() for p in net.parameters()]
            for p in net.parameters():
                p.data.add_(0.1 * torch.randn_like(p))
            loss = net(torch.randn(2, 1, 9)).pow(2).mean()
            for p, k in zip(net.parameters(), kept):
                p.data.copy_(k)  # culprit
            opt.zero_grad(); loss.backward(); opt.step()
    """,
    "view split heads": """
        import torch
        from torch import nn
        net = nn.Linear(4, 6)
        def bias_heads(x):
            for k, head in enumerate(torch.split(x, 2, dim=1)):
                head += float(k)  # culprit
            return x
        bias_heads(net(torch.randn(3, 4))).sum().backward()
    """,
    "view expand index assign": """
        import torch
        from torch import nn
        class M(nn.Module):
            def __init__(self):
                super().__init__(); self.tok = nn.Parameter(torch.zeros(1, 1, 4)); self.l = nn.Linear(4, 4)
            def forward(self, x):
                toks = self.tok.expand(len(x), 3, 4) * 1.0
                base = torch.zeros(1, 4).expand(len(x), 4)
                base[:] = self.l(x)  # culprit
                return toks.sum() + base.sum()
        M()(torch.randn(2, 4)).backward()
    """,
    "view iterate in no grad": """
        import torch
        from torch import nn
        net = nn.Linear(3, 3)
        x = net(torch.randn(2, 3))
        a, c = x
        a.clamp_(min=0)  # culprit
        x.sum().backward()
    """,
    "leaf clamp x adv": """
        import torch
        from torch import nn
        net = nn.Linear(4, 2)
        def pgd(x, y):
            adv = x.clone().requires_grad_(True)
            for _ in range(3):
                loss = nn.functional.cross_entropy(net(adv), y)
                loss.backward()
                adv += 0.1 * adv.grad.sign()  # culprit
            return adv
        pgd(torch.rand(3, 4), torch.tensor([0, 1, 0]))
    """,
    "leaf weight tie copy_": """
        import torch
        from torch import nn
        class Tied(nn.Module):
            def __init__(self):
                super().__init__()
                self.enc = nn.Linear(4, 3); self.dec = nn.Linear(3, 4)
                self.dec.weight.copy_(self.enc.weight.t())  # culprit
        Tied()
    """,
    "leaf fill bias slice": """
        import torch
        from torch import nn
        def init_forget(lstm):
            for name, p in lstm.named_parameters():
                if "bias" in name:
                    n = p.shape[0]
                    p[n // 4 : n // 2].fill_(1.0)  # culprit
        init_forget(nn.LSTM(3, 4))
    """,
    "nonleaf cuda-like to in list": """
        import torch
        prompts = [torch.randn(4, requires_grad=True).to(torch.float64) for _ in range(2)]  # culprit
        opt = torch.optim.AdamW(prompts, lr=0.1)
    """,
    "nonleaf param times scale in init": """
        import torch
        from torch import nn
        class Basis(nn.Module):
            def __init__(self):
                super().__init__()
                self.coef = nn.Parameter(torch.randn(4, 2)) * 0.01  # culprit
                self.bias = nn.Parameter(torch.zeros(2))
            def forward(self, x):
                return x @ self.coef + self.bias
        net = Basis(); opt = torch.optim.SGD(net.parameters(), lr=.1)
        for _ in range(3):
            opt.zero_grad(); net(torch.randn(3, 4)).pow(2).mean().backward(); opt.step()
    """,
    "nonleaf param reshape registered no": """
        import torch
        from torch import nn
        class K(nn.Module):
            def __init__(self):
                super().__init__()
                self.kernel = nn.Parameter(torch.ones(9)).clone().view(1, 1, 3, 3)  # culprit
                self.gain = nn.Parameter(torch.ones(1))
            def forward(self, x):
                return self.gain * nn.functional.conv2d(x, self.kernel)
        net = K(); opt = torch.optim.SGD(net.parameters(), lr=.01)
        for _ in range(3):
            loss = net(torch.randn(1, 1, 5, 5)).pow(2).mean(); opt.zero_grad(); loss.backward(); opt.step()
    """,
    "nonleaf image normalised grad": """
        import torch
        from torch import nn
        net = nn.Sequential(nn.Conv2d(3, 2, 3), nn.Flatten(), nn.Linear(2 * 16, 2))
        img = torch.rand(1, 3, 6, 6, requires_grad=True)
        x = (img - 0.5) / 0.25  # made
        net(x)[0, 1].backward()
        sal = x.grad.abs().max(1)[0]  # culprit
    """,
    "nonleaf activation dict hooks": """
        import torch
        from torch import nn
        acts = {}
        net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
        net[1].register_forward_hook(lambda m, i, o: acts.__setitem__("relu", o))
        net(torch.randn(2, 4)).sum().backward()
        print(acts["relu"].grad.norm())  # culprit
    """,
    "nonleaf silent if grad": """
        import torch
        from torch import nn
        net = nn.Linear(4, 2)
        delta = torch.zeros(1, 4, requires_grad=True) + 0.01  # culprit
        for _ in range(4):
            loss = net(torch.ones(1, 4) + delta).pow(2).sum()
            loss.backward()
            if delta.grad is not None:
                with torch.no_grad():
                    delta += 0.1 * delta.grad.sign()
    """,
    "manual list of params": """
        import torch
        def model(x, ps):
            return torch.tanh(x @ ps[0] + ps[1]) @ ps[2]
        ps = [torch.randn(shape, requires_grad=True) for shape in ((3, 4), (4,), (4, 1))]
        for it in range(3):
            loss = model(torch.randn(8, 3), ps).pow(2).mean()
            loss.backward()
            for i in range(len(ps)):
                ps[i] = ps[i] - 0.1 * ps[i].grad  # culprit
    """,
    "manual dict no_grad": """
        import torch
        params = {"w": torch.randn(3, 1, requires_grad=True), "b": torch.zeros(1, requires_grad=True)}
        def update(params, lr):
            with torch.no_grad():
                return {k: v - lr * v.grad for k, v in params.items()}  # culprit
        for it in range(3):
            loss = (torch.randn(8, 3) @ params["w"] + params["b"]).pow(2).mean()
            loss.backward()
            params = update(params, 0.1)
    """,
    "manual rebinding named": """
        import torch
        from torch import nn
        class Fit:
            def __init__(self): self.net = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1))
            def step(self, x, y, lr):
                self.net.zero_grad()
                loss = (self.net(x) - y).pow(2).mean(); loss.backward()
                with torch.no_grad():
                    for name, param in self.net.named_parameters():
                        param = param.sub(param.grad, alpha=lr)  # culprit
                return loss.item()
        fit = Fit()
        for _ in range(4): fit.step(torch.randn(8, 3), torch.randn(8, 1), 0.1)
    """,
    "manual sgd momentum rebinding": """
        import torch
        from torch import nn
        net = nn.Linear(3, 1); vel = [torch.zeros_like(p) for p in net.parameters()]
        for _ in range(4):
            for p in net.parameters(): p.grad = None
            net(torch.randn(8, 3)).pow(2).mean().backward()
            with torch.no_grad():
                for p, v in zip(net.parameters(), vel):
                    v.mul_(0.9).add_(p.grad)
                    p = p - 0.1 * v  # culprit
    """,
    "manual rebinding data": """
        import torch
        w = torch.zeros(3, requires_grad=True)
        for _ in range(4):
            (w - 1).pow(2).sum().backward()
            w_new = w.detach() - 0.1 * w.grad  # culprit
            w.grad.zero_()
    """,
    "manual inplace no no_grad": """
        import torch
        w = torch.zeros(3, requires_grad=True)
        for _ in range(4):
            (w - 1).pow(2).sum().backward()
            w.sub_(0.1 * w.grad)  # culprit
            w.grad.zero_()
    """,
    "rg input for penalty": """
        import torch
        from torch import nn
        D = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1)); opt = torch.optim.Adam(D.parameters())
        def gp(real, fake):
            eps = torch.rand(len(real), 1)
            mid = eps * real + (1 - eps) * fake  # culprit
            g = torch.autograd.grad(D(mid).sum(), mid, create_graph=True)[0]
            return ((g.norm(2, 1) - 1) ** 2).mean()
        for _ in range(2):
            loss = gp(torch.randn(4, 4), torch.randn(4, 4))
            opt.zero_grad(); loss.backward(); opt.step()
    """,
    "rg style image": """
        import torch
        from torch import nn
        net = nn.Conv2d(3, 4, 3).requires_grad_(False)
        target = net(torch.rand(1, 3, 8, 8))
        img = torch.rand(1, 3, 8, 8)  # culprit
        opt = torch.optim.Adam([img], lr=.05)
        for _ in range(3):
            loss = (net(img) - target).pow(2).mean()
            opt.zero_grad()
            loss.backward()
            opt.step()
    """,
    "rg manual regression": """
        import torch
        x = torch.linspace(0, 1, 10); y = 2 * x + 1
        w = torch.zeros(1)  # culprit
        c = torch.zeros(1)
        loss = ((w * x + c - y) ** 2).mean()
        loss.backward()
    """,
    "rg pinn": """
        import torch
        from torch import nn
        net = nn.Sequential(nn.Linear(1, 8), nn.Tanh(), nn.Linear(8, 1))
        opt = torch.optim.Adam(net.parameters())
        def residual(t):
            u = net(t)
            du = torch.autograd.grad(u.sum(), t, create_graph=True)[0]  # alt
            return du - u
        for _ in range(2):
            t = torch.rand(16, 1)  # culprit
            loss = residual(t).pow(2).mean(); opt.zero_grad(); loss.backward(); opt.step()
    """,
    "dtype arange param": """
        import torch
        from torch import nn
        class Pos(nn.Module):
            def __init__(self, n):
                super().__init__()
                self.scale = nn.Parameter(torch.tensor(1))  # culprit
                self.register_buffer("pos", torch.arange(n))
            def forward(self, x): return x + self.scale * self.pos
        Pos(4)
    """,
    "dtype leaf from int list later": """
        import torch
        start = torch.tensor([3, 1, 2])
        state = start.clone()
        state.requires_grad = True  # culprit
    """,
    "dtype full_like": """
        import torch
        ids = torch.tensor([1, 2, 3])
        weights = torch.ones_like(ids).requires_grad_()  # culprit
    """,
    "rg regression with true_w": """
        import torch
        torch.manual_seed(0)
        true_w = torch.tensor([1.0, 2.0]); x = torch.randn(20, 2); y = x @ true_w + 0.1 * torch.randn(20)
        w = torch.randn(2)  # culprit
        b = torch.zeros(2)
        for _ in range(3):
            loss = ((x @ (w + b) - y) ** 2).mean()
            loss.backward()
    """,
}


@pytest.mark.parametrize("bug", BUGS)
def test_the_first_finding_names_the_line(judging: Judging, bug: str) -> None:
    found = judging(BUGS[bug])
    assert loud(found)[:1] == found[:1]
    assert judging.blames(found[0], "# culprit")
