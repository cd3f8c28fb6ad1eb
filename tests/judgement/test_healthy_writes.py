"""Healthy scripts that look like the mistakes with saved tensors and leaves: nothing may be found in them."""

from __future__ import annotations

import pytest

from tests.judging import Judging, loud

HEALTHY = {
    "wgan clip after step": """
        import torch
        from torch import nn
        C = nn.Sequential(nn.Linear(2, 8), nn.ReLU(), nn.Linear(8, 1)); G = nn.Linear(3, 2)
        oc, og = torch.optim.RMSprop(C.parameters()), torch.optim.RMSprop(G.parameters())
        for it in range(4):
            for _ in range(2):
                loss = C(G(torch.randn(8, 3)).detach()).mean() - C(torch.randn(8, 2)).mean()
                oc.zero_grad(); loss.backward(); oc.step()
                for p in C.parameters(): p.data.clamp_(-0.01, 0.01)
            og.zero_grad(); (-C(G(torch.randn(8, 3))).mean()).backward(); og.step()
    """,
    "wgan gp": """
        import torch
        from torch import nn
        D = nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 1)); o = torch.optim.Adam(D.parameters())
        for _ in range(3):
            real, fake = torch.randn(4, 2), torch.randn(4, 2)
            mid = (0.3 * real + 0.7 * fake).requires_grad_(True)
            g = torch.autograd.grad(D(mid).sum(), mid, create_graph=True)[0]
            loss = D(fake).mean() - D(real).mean() + ((g.norm(2, 1) - 1) ** 2).mean()
            o.zero_grad(); loss.backward(); o.step()
    """,
    "sam optimizer": """
        import torch
        from torch import nn
        net = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 1))
        o = torch.optim.SGD(net.parameters(), lr=.1)
        for _ in range(3):
            x = torch.randn(8, 3)
            net(x).pow(2).mean().backward()
            eps = []
            with torch.no_grad():
                norm = torch.stack([p.grad.norm() for p in net.parameters()]).norm()
                for p in net.parameters():
                    e = 0.05 * p.grad / norm; p.add_(e); eps.append(e)
            o.zero_grad(); net(x).pow(2).mean().backward()
            with torch.no_grad():
                for p, e in zip(net.parameters(), eps): p.sub_(e)
            o.step(); o.zero_grad()
    """,
    "bptt with detach": """
        import torch
        from torch import nn
        rnn = nn.LSTM(3, 5)
        out = nn.Linear(5, 1)
        o = torch.optim.Adam([*rnn.parameters(), *out.parameters()])
        state = None
        for i in range(4):
            y, state = rnn(torch.randn(6, 2, 3), state)
            state = tuple(s.detach() for s in state)
            o.zero_grad(); out(y).pow(2).mean().backward(); o.step()
    """,
    "numpy metrics modified copies": """
        import numpy as np, torch
        from torch import nn
        net = nn.Linear(3, 2); o = torch.optim.SGD(net.parameters(), lr=.1); hist = []
        for i in range(3):
            y = net(torch.randn(4, 3))
            p = y.softmax(1)
            a = p.detach().cpu().numpy().copy(); a -= a.mean(); hist.append(a)
            o.zero_grad(); p.pow(2).mean().backward(); o.step()
    """,
    "numpy after backward modifies": """
        import numpy as np, torch
        from torch import nn
        net = nn.Linear(3, 2); o = torch.optim.SGD(net.parameters(), lr=.1)
        for i in range(3):
            h = torch.tanh(net(torch.randn(4, 3)))
            o.zero_grad(); h.mean().backward(); o.step()
            a = h.detach().numpy(); a *= 0
    """,
    "dataset from numpy batches": """
        import numpy as np, torch
        from torch import nn
        from torch.utils.data import DataLoader, TensorDataset
        X = torch.from_numpy(np.random.randn(32, 3).astype("float32"))
        Y = torch.from_numpy(np.random.randn(32, 1).astype("float32"))
        net = nn.Linear(3, 1); o = torch.optim.SGD(net.parameters(), lr=.1)
        for e in range(2):
            for x, y in DataLoader(TensorDataset(X, Y), batch_size=8, shuffle=True):
                o.zero_grad(); nn.functional.mse_loss(net(x), y).backward(); o.step()
    """,
    "replay buffer numpy stacking": """
        import numpy as np, torch
        from torch import nn
        store = np.zeros((16, 4), dtype=np.float32)
        net = nn.Linear(4, 1)
        o = torch.optim.SGD(net.parameters(), lr=.1)
        for t in range(12):
            store[t % 16] = np.random.randn(4)
            if t >= 8:
                idx = np.random.randint(0, t, 4)
                x = torch.as_tensor(store[idx])
                o.zero_grad(); net(x).pow(2).mean().backward(); o.step()
    """,
    "inplace relu resnet": """
        import torch, torch.nn.functional as F
        from torch import nn
        class B(nn.Module):
            def __init__(self):
                super().__init__()
                self.c1, self.b1 = nn.Conv2d(3, 3, 3, padding=1), nn.BatchNorm2d(3)
                self.c2, self.b2 = nn.Conv2d(3, 3, 3, padding=1), nn.BatchNorm2d(3)
                self.relu = nn.ReLU(inplace=True)
            def forward(self, x):
                y = self.relu(self.b1(self.c1(x)))
                y = self.b2(self.c2(y))
                y += x
                return self.relu(y)
        net = nn.Sequential(B(), B(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 2))
        o = torch.optim.SGD(net.parameters(), lr=.1, momentum=.9)
        for _ in range(3):
            loss = F.cross_entropy(net(torch.randn(4, 3, 8, 8)), torch.tensor([0, 1, 0, 1]))
            o.zero_grad(); loss.backward(); o.step()
    """,
    "preallocated outputs no grad": """
        import torch
        from torch import nn
        net = nn.Linear(3, 1); preds = torch.zeros(12, 1); o = torch.optim.SGD(net.parameters(), lr=.1)
        for i in range(3):
            x = torch.randn(4, 3); p = net(x)
            o.zero_grad(); p.pow(2).mean().backward(); o.step()
            preds[4 * i : 4 * i + 4] = p.detach()
    """,
    "preallocated written with graph but not saved": """
        import torch
        from torch import nn
        net = nn.Linear(3, 1); o = torch.optim.SGD(net.parameters(), lr=.1)
        for i in range(3):
            out = torch.zeros(4, 1)
            for k in range(4): out[k] = net(torch.randn(3))
            o.zero_grad(); out.pow(2).mean().backward(); o.step()
    """,
    "maml functional": """
        import torch
        from torch import nn
        from torch.func import functional_call
        net = nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 1))
        o = torch.optim.Adam(net.parameters())
        for _ in range(2):
            params = dict(net.named_parameters())
            x = torch.randn(4, 2)
            inner = functional_call(net, params, (x,)).pow(2).mean()
            grads = torch.autograd.grad(inner, list(params.values()), create_graph=True)
            fast = {k: p - 0.1 * g for (k, p), g in zip(params.items(), grads)}
            o.zero_grad(); functional_call(net, fast, (x,)).pow(2).mean().backward(); o.step()
    """,
    "reptile": """
        import copy, torch
        from torch import nn
        net = nn.Linear(2, 1)
        for _ in range(3):
            inner = copy.deepcopy(net); o = torch.optim.SGD(inner.parameters(), lr=.1)
            for _ in range(2):
                o.zero_grad(); inner(torch.randn(4, 2)).pow(2).mean().backward(); o.step()
            with torch.no_grad():
                for p, q in zip(net.parameters(), inner.parameters()): p += 0.5 * (q - p)
    """,
    "functional jax-like params detach requires": """
        import torch
        def init(): return {"w": torch.randn(3, 1).requires_grad_(), "b": torch.zeros(1, requires_grad=True)}
        def sgd(ps, gs, lr): return {k: (ps[k] - lr * g).detach().requires_grad_() for k, g in zip(ps, gs)}
        ps = init()
        for _ in range(4):
            loss = (torch.randn(8, 3) @ ps["w"] + ps["b"]).pow(2).mean()
            ps = sgd(ps, torch.autograd.grad(loss, list(ps.values())), .1)
    """,
    "weight standardised conv": """
        import torch
        from torch import nn
        class WS(nn.Conv1d):
            def forward(self, x):
                w = self.weight - self.weight.mean((1, 2), keepdim=True)
                return nn.functional.conv1d(x, w / (w.std() + 1e-5), self.bias)
        net = WS(2, 2, 3); o = torch.optim.SGD(net.parameters(), lr=.1)
        for _ in range(3):
            o.zero_grad(); net(torch.randn(2, 2, 7)).pow(2).mean().backward(); o.step()
    """,
    "gumbel straight through": """
        import torch
        from torch import nn
        net = nn.Linear(3, 4); o = torch.optim.SGD(net.parameters(), lr=.1)
        for _ in range(3):
            y = torch.nn.functional.gumbel_softmax(net(torch.randn(2, 3)), hard=True)
            o.zero_grad(); (y * torch.arange(4.)).sum().backward(); o.step()
    """,
    "soft prompt leaf trained": """
        import torch
        from torch import nn
        lm = nn.Linear(4, 4).requires_grad_(False)
        prompt = (0.02 * torch.randn(2, 4)).requires_grad_()
        o = torch.optim.Adam([prompt])
        for _ in range(3):
            o.zero_grad(); lm(torch.cat([prompt, torch.randn(3, 4)])).pow(2).mean().backward(); o.step()
            print(prompt.grad.norm().item())
    """,
    "grad clip custom": """
        import torch
        from torch import nn
        net = nn.Linear(3, 1); o = torch.optim.SGD(net.parameters(), lr=.1)
        for _ in range(3):
            o.zero_grad(); net(torch.randn(4, 3)).pow(2).mean().backward()
            for p in net.parameters(): p.grad.data.clamp_(-1, 1)
            o.step()
    """,
    "old style p.data.add_": """
        import torch
        from torch import nn
        net = nn.Linear(3, 1)
        for _ in range(4):
            net.zero_grad(); net(torch.randn(4, 3)).pow(2).mean().backward()
            for p in net.parameters(): p.data.add_(p.grad.data, alpha=-.1)
    """,
    "fp16 master copies": """
        import torch
        from torch import nn
        net = nn.Linear(3, 1).bfloat16()
        master = [p.detach().clone().float().requires_grad_() for p in net.parameters()]
        o = torch.optim.SGD(master, lr=.1)
        for _ in range(3):
            net.zero_grad(); net(torch.randn(4, 3).bfloat16()).float().pow(2).mean().backward()
            for m, p in zip(master, net.parameters()): m.grad = p.grad.float()
            o.step()
            with torch.no_grad():
                for m, p in zip(master, net.parameters()): p.copy_(m)
    """,
    "param averaging swa": """
        import torch
        from torch import nn
        net = nn.Linear(3, 1)
        swa = torch.optim.swa_utils.AveragedModel(net)
        o = torch.optim.SGD(net.parameters(), lr=.1)
        for _ in range(3):
            o.zero_grad()
            net(torch.randn(4, 3)).pow(2).mean().backward()
            o.step()
            swa.update_parameters(net)
    """,
    "spectral norm by hand": """
        import torch
        from torch import nn
        class SN(nn.Module):
            def __init__(self):
                super().__init__()
                self.w = nn.Parameter(torch.randn(4, 3))
                self.register_buffer("u", torch.randn(4))
            def forward(self, x):
                with torch.no_grad():
                    v = nn.functional.normalize(self.w.t() @ self.u, dim=0)
                    self.u.copy_(nn.functional.normalize(self.w @ v, dim=0))
                sigma = self.u.clone() @ self.w @ v
                return x @ (self.w / sigma).t()
        net = SN(); o = torch.optim.SGD(net.parameters(), lr=.1)
        for _ in range(3):
            loss = net(torch.randn(2, 3)).pow(2).mean() - net(torch.randn(2, 3)).mean()
            o.zero_grad(); loss.backward(); o.step()
    """,
    "attribution integrated gradients": """
        import torch
        from torch import nn
        net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2)).eval()
        x = torch.rand(1, 4); total = torch.zeros(1, 4)
        for a in torch.linspace(0, 1, 5):
            xi = (a * x).requires_grad_(True)
            net(xi)[0, 1].backward()
            total += xi.grad
        print((total * x / 5).sum())
    """,
    "input grads then zero": """
        import torch
        from torch import nn
        net = nn.Linear(4, 2); delta = torch.zeros(2, 4, requires_grad=True)
        for _ in range(4):
            nn.functional.cross_entropy(net(torch.ones(2, 4) + delta), torch.tensor([0, 1])).backward()
            delta.data = (delta.data + .1 * delta.grad.data.sign()).clamp(-.3, .3)
            delta.grad.data.zero_()
    """,
    "natural gradient vector": """
        import torch
        from torch import nn
        net = nn.Linear(3, 1)
        for _ in range(3):
            loss = net(torch.randn(8, 3)).pow(2).mean()
            g = torch.cat([t.reshape(-1) for t in torch.autograd.grad(loss, net.parameters())])
            flat = nn.utils.parameters_to_vector(net.parameters()) - .1 * g
            nn.utils.vector_to_parameters(flat.detach(), net.parameters())
    """,
    "evolution strategies": """
        import torch
        from torch import nn
        net = nn.Linear(3, 1).requires_grad_(False)
        for _ in range(3):
            for p in net.parameters():
                noise = torch.randn_like(p); p.add_(noise, alpha=.01)
                r = net(torch.randn(4, 3)).mean()
                p.sub_(noise, alpha=.01); p.add_(noise * r, alpha=.1)
    """,
    "lr range and candidate update norms": """
        import torch
        from torch import nn
        net = nn.Linear(3, 1); o = torch.optim.SGD(net.parameters(), lr=.1)
        for _ in range(3):
            o.zero_grad(); net(torch.randn(4, 3)).pow(2).mean().backward()
            with torch.no_grad():
                trial = [p - 0.5 * p.grad for p in net.parameters()]
                print(sum(float(t.norm()) for t in trial))
            o.step()
    """,
    "line search copies": """
        import torch
        from torch import nn
        net = nn.Linear(3, 1)
        x = torch.randn(8, 3)
        for _ in range(3):
            net.zero_grad(); loss = net(x).pow(2).mean(); loss.backward()
            with torch.no_grad():
                lr = 1.0
                old = [p.clone() for p in net.parameters()]
                while lr > 1e-3:
                    for p, q in zip(net.parameters(), old): p.copy_(q - lr * p.grad)
                    if net(x).pow(2).mean() < loss: break
                    lr /= 2
    """,
    "gradient surgery": """
        import torch
        from torch import nn
        net = nn.Linear(3, 2); o = torch.optim.SGD(net.parameters(), lr=.1)
        for _ in range(3):
            y = net(torch.randn(4, 3)); ps = list(net.parameters())
            a = torch.autograd.grad(y[:, 0].pow(2).mean(), ps, retain_graph=True)
            c = torch.autograd.grad(y[:, 1].pow(2).mean(), ps)
            for p, g, h in zip(ps, a, c): p.grad = g + h - (g * h).sum().clamp(max=0) * h
            o.step()
    """,
    "proximal l1": """
        import torch
        from torch import nn
        net = nn.Linear(3, 1); o = torch.optim.SGD(net.parameters(), lr=.1)
        for _ in range(3):
            o.zero_grad(); net(torch.randn(4, 3)).pow(2).mean().backward(); o.step()
            net.weight.data = torch.sign(net.weight.data) * torch.relu(net.weight.data.abs() - .01)
    """,
    "embedding renorm max_norm": """
        import torch
        from torch import nn
        e = nn.Embedding(5, 3, max_norm=1.0); o = torch.optim.SGD(e.parameters(), lr=.1)
        for _ in range(3):
            o.zero_grad(); e(torch.tensor([0, 1])).pow(2).sum().backward(); o.step()
    """,
    "probe hidden with retain_grad check": """
        import torch
        from torch import nn
        a, c = nn.Linear(3, 4), nn.Linear(4, 1)
        o = torch.optim.SGD([*a.parameters(), *c.parameters()], lr=.1)
        for _ in range(3):
            h = a(torch.randn(2, 3)); h.retain_grad()
            o.zero_grad(); c(h.relu()).sum().backward(); print(h.grad.norm()); o.step()
    """,
    "frozen params grads logged": """
        import torch
        from torch import nn
        net = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 1)); net[0].requires_grad_(False)
        o = torch.optim.SGD([p for p in net.parameters() if p.requires_grad], lr=.1)
        for _ in range(3):
            o.zero_grad(); net(torch.randn(2, 3)).pow(2).mean().backward()
            for n, p in net.named_parameters():
                g = p.grad
                print(n, None if g is None else g.norm())
            o.step()
    """,
    "checkpoint sequential": """
        import torch
        from torch import nn
        from torch.utils.checkpoint import checkpoint
        f = nn.Sequential(nn.Linear(3, 3), nn.ReLU(inplace=True)); head = nn.Linear(3, 1)
        o = torch.optim.SGD([*f.parameters(), *head.parameters()], lr=.1)
        for _ in range(3):
            o.zero_grad()
            head(checkpoint(f, torch.randn(2, 3), use_reentrant=False)).pow(2).mean().backward()
            o.step()
    """,
    "share_memory and numpy views of params read": """
        import torch
        from torch import nn
        net = nn.Linear(3, 1).share_memory()
        w = net.weight.detach().numpy()
        o = torch.optim.Adam(net.parameters())
        for _ in range(3):
            o.zero_grad(); net(torch.randn(2, 3)).pow(2).mean().backward(); o.step(); print(w.sum())
    """,
    "vector quantise ema codebook": """
        import torch
        from torch import nn
        class VQ(nn.Module):
            def __init__(self):
                super().__init__(); self.register_buffer("code", torch.randn(4, 3))
            def forward(self, z):
                idx = torch.cdist(z, self.code).argmin(1); q = self.code[idx]
                if self.training:
                    with torch.no_grad(): self.code[idx] = 0.9 * self.code[idx] + 0.1 * z
                return z + (q - z).detach()
        enc, vq = nn.Linear(2, 3), VQ(); o = torch.optim.SGD(enc.parameters(), lr=.1)
        for _ in range(3):
            o.zero_grad(); vq(enc(torch.randn(5, 2))).pow(2).mean().backward(); o.step()
    """,
}


@pytest.mark.parametrize("script", HEALTHY)
def test_nothing_is_found(judging: Judging, script: str) -> None:
    assert not loud(judging(HEALTHY[script]))
