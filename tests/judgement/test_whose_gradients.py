"""Updates with another loss's gradients, clipped in parts, at rate 0, or with nothing: bugs and healthy twins."""

from __future__ import annotations

import pytest

from tests.judgement.loops import NETS
from tests.judging import Judging, loud

BUGS = {
    "the generator's loss is still in the discriminator": (
        "GS511",
        """
gen, dis = mlp(3, 4), mlp(4, 1)
og, od = torch.optim.Adam(gen.parameters(), 1e-3), torch.optim.Adam(dis.parameters(), 1e-3)
for _ in range(4):
    og.zero_grad(), od.zero_grad()
    made = gen(torch.randn(8, 3))
    F.softplus(-dis(made)).mean().backward()  # culprit
    og.step()
    (F.softplus(dis(made.detach())) + F.softplus(-dis(torch.randn(8, 4) + 2))).mean().backward()
    od.step()
""",
    ),
    "the actor's loss is still in the critic": (
        "GS511",
        """
class Agent:
    def __init__(self):
        self.actor, self.critic = mlp(4, 2), mlp(6, 1)
        self.opts = {n: torch.optim.RMSprop(getattr(self, n).parameters(), 1e-3) for n in ("actor", "critic")}
    def learn(self, s, a, r):
        for opt in self.opts.values():
            opt.zero_grad(set_to_none=False)
        value = self.critic(torch.cat([s, torch.tanh(self.actor(s))], 1))
        (-value.mean()).backward()  # culprit
        F.smooth_l1_loss(self.critic(torch.cat([s, a], 1)), r).backward()
        for opt in self.opts.values():
            opt.step()
agent = Agent()
for _ in range(4):
    s = torch.randn(8, 4)
    agent.learn(s, torch.rand(8, 2), s.sum(1, keepdim=True))
""",
    ),
    "a student is probed by a frozen part": (
        "GS512",
        """
net = mlp(4, 1)
opt = torch.optim.SGD(net.parameters(), lr=0.1)
def penalty(x):
    for p in net.parameters():
        p.requires_grad_(False)
    x = x.clone().requires_grad_()
    slope, = torch.autograd.grad(net(x).sum(), x, create_graph=True)
    opt.zero_grad()
    slope.norm(dim=1).mean().backward()  # culprit
    opt.step()
for _ in range(4):
    x, y = batch()
    for p in net.parameters():
        p.requires_grad_(True)
    opt.zero_grad()
    F.mse_loss(net(x), y).backward()
    opt.step()
    penalty(x)
""",
    ),
    "clipped inside the accumulation": (
        "GS504",
        """
net = mlp(4, 1)
opt = torch.optim.Adam(net.parameters(), 1e-2)
for _ in range(3):
    opt.zero_grad()
    for x, y in (batch() for _ in range(3)):
        (F.mse_loss(net(x), y) / 3).backward()
        nn.utils.clip_grad_value_(net.parameters(), 0.05)  # culprit
    opt.step()
""",
    ),
    "the other network is clipped": (
        "GS504",
        """
gen, dis = mlp(3, 4), mlp(4, 1)
og, od = torch.optim.Adam(gen.parameters(), 1e-3), torch.optim.Adam(dis.parameters(), 1e-3)
for _ in range(4):
    od.zero_grad()
    (F.softplus(dis(gen(torch.randn(8, 3)).detach())) + F.softplus(-dis(torch.randn(8, 4)))).mean().backward()
    od.step()
    og.zero_grad()
    F.softplus(-dis(gen(torch.randn(8, 3)))).mean().backward()
    nn.utils.clip_grad_norm_(dis.parameters(), 0.5)  # culprit
    og.step()
""",
    ),
    "the rest of an epoch is dropped": (
        "GS502",
        """
net = mlp(4, 1)
opt = torch.optim.SGD(net.parameters(), lr=0.1)
for epoch in range(3):
    opt.zero_grad()  # culprit
    for n, (x, y) in enumerate(batch() for _ in range(7)):
        (F.mse_loss(net(x), y) / 3).backward()
        if n % 3 == 2:
            opt.step()
            opt.zero_grad()
""",
    ),
    "one of two optimizers is forgotten": (
        "GS510",
        """
gen, dis = mlp(3, 4), mlp(4, 1)
both = nn.ModuleList([gen, dis])
og, od = torch.optim.Adam(gen.parameters(), 1e-3), torch.optim.Adam(dis.parameters(), 1e-3)
for _ in range(4):
    both.zero_grad()
    made = gen(torch.randn(8, 3))
    (F.softplus(dis(made.detach())) + F.softplus(-dis(torch.randn(8, 4) + 2))).mean().backward()  # culprit
    dis.zero_grad()
    F.softplus(-dis(made)).mean().backward()
    og.step()
""",
    ),
    "a warm-up by epochs begins at nothing": (
        "GS513",
        """
net = mlp(4, 1)
opt = torch.optim.SGD(net.parameters(), lr=0.1)
plan = torch.optim.lr_scheduler.LinearLR(opt, start_factor=1e-9, total_iters=2)
for epoch in range(3):
    for x, y in (batch() for _ in range(4)):
        opt.zero_grad()
        F.mse_loss(net(x), y).backward()
        opt.step()
    plan.step()  # culprit
""",
    ),
    "decay by epochs, called in each batch": (
        "GS513",
        """
net = mlp(4, 1)
opt = torch.optim.SGD(net.parameters(), lr=0.1)
plan = torch.optim.lr_scheduler.StepLR(opt, step_size=1, gamma=0.1)
for epoch in range(3):
    for x, y in (batch() for _ in range(5)):
        opt.zero_grad()
        F.mse_loss(net(x), y).backward()
        opt.step()
        plan.step()  # culprit
""",
    ),
    "a cosine in epochs, called in each batch": (
        "GS514",
        """
net = mlp(4, 1)
opt = torch.optim.SGD(net.parameters(), lr=0.1)
plan = torch.optim.lr_scheduler.CosineAnnealingLR(opt, T_max=3, eta_min=1e-3)
for epoch in range(3):
    for x, y in (batch() for _ in range(5)):
        opt.zero_grad()
        F.mse_loss(net(x), y).backward()
        opt.step()
        plan.step()  # culprit
""",
    ),
}

HEALTHY = {
    "each player clears what the other left": """
gen, dis = mlp(3, 4), mlp(4, 1)
og, od = torch.optim.Adam(gen.parameters(), 1e-3), torch.optim.Adam(dis.parameters(), 1e-3)
for _ in range(4):
    og.zero_grad()
    made = gen(torch.randn(8, 3))
    F.softplus(-dis(made)).mean().backward()
    og.step()
    od.zero_grad()
    (F.softplus(dis(made.detach())) + F.softplus(-dis(torch.randn(8, 4) + 2))).mean().backward()
    od.step()
""",
    "two parts of one model, two losses": """
enc, dec = mlp(4, 3), mlp(3, 4)
oe, od = torch.optim.Adam(enc.parameters(), 1e-3), torch.optim.Adam(dec.parameters(), 1e-3)
for _ in range(4):
    x, _ = batch()
    oe.zero_grad(), od.zero_grad()
    z = enc(x)
    F.mse_loss(dec(z), x).backward(retain_graph=True)
    (1e-2 * z.pow(2).mean()).backward()
    (1e-3 * sum(p.pow(2).sum() for p in dec.parameters())).backward()
    oe.step(), od.step()
""",
    "two tasks on one trunk": """
trunk, a, b = mlp(4, 6), nn.Linear(6, 1), nn.Linear(6, 1)
ot = torch.optim.SGD(trunk.parameters(), 0.1)
oh = torch.optim.SGD([*a.parameters(), *b.parameters()], 0.1)
for _ in range(4):
    x, y = batch()
    ot.zero_grad(), oh.zero_grad()
    F.mse_loss(a(trunk(x)), y).backward()
    F.mse_loss(b(trunk(x)), -y).backward()
    ot.step(), oh.step()
""",
    "adversarial inputs before each update": """
net = mlp(4, 1)
opt = torch.optim.SGD(net.parameters(), lr=0.1)
for _ in range(4):
    x, y = batch()
    net.requires_grad_(False)
    x.requires_grad_()
    F.mse_loss(net(x), y).backward()
    net.requires_grad_(True)
    opt.zero_grad()
    F.mse_loss(net((x + 0.1 * x.grad.sign()).detach()), y).backward()
    opt.step()
""",
    "clipped once for each update": """
net = mlp(4, 1)
opt = torch.optim.Adam(net.parameters(), 1e-2)
for _ in range(3):
    opt.zero_grad()
    for x, y in (batch() for _ in range(3)):
        (F.mse_loss(net(x), y) / 3).backward()
        norm = nn.utils.clip_grad_norm_(net.parameters(), float("inf"))
    nn.utils.clip_grad_value_(net.parameters(), 0.05)
    opt.step()
""",
    "the rest of an epoch is used": """
net = mlp(4, 1)
opt = torch.optim.SGD(net.parameters(), lr=0.1)
for epoch in range(3):
    opt.zero_grad()
    for n, (x, y) in enumerate(batch() for _ in range(7)):
        (F.mse_loss(net(x), y) / 3).backward()
        if n % 3 == 2 or n == 6:
            opt.step()
            opt.zero_grad()
""",
    "a warm-up from 0 in each update, and down to 0 at the end": """
net = mlp(4, 1)
opt = torch.optim.SGD(net.parameters(), lr=0.1)
plan = torch.optim.lr_scheduler.LambdaLR(opt, lambda n: min(n / 4, (15 - n) / 4))
for epoch in range(3):
    for x, y in (batch() for _ in range(5)):
        opt.zero_grad()
        F.mse_loss(net(x), y).backward()
        opt.step()
        plan.step()
""",
    "a cosine over all batches, and one with restarts": """
net = mlp(4, 1)
for kind, times in ((torch.optim.lr_scheduler.CosineAnnealingLR, 6),
                    (torch.optim.lr_scheduler.CosineAnnealingWarmRestarts, 3)):
    opt = torch.optim.SGD(net.parameters(), lr=0.1)
    plan = kind(opt, times)
    for x, y in (batch() for _ in range(6)):
        opt.zero_grad()
        F.mse_loss(net(x), y).backward()
        opt.step()
        plan.step()
""",
}


@pytest.mark.parametrize("name", BUGS)
def test_the_line_is_named(judging: Judging, name: str) -> None:
    code, script = BUGS[name]
    judging.expect(code, "# culprit", NETS + script)


@pytest.mark.parametrize("name", HEALTHY)
def test_nothing_is_said_of_healthy_code(judging: Judging, name: str) -> None:
    assert loud(judging(NETS + HEALTHY[name])) == []
