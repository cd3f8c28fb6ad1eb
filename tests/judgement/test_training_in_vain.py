"""Gradients that are always zero, losses that compare a thing with itself, optimizers that work for nothing."""

from __future__ import annotations

import pytest

from tests.judgement.loops import NETS
from tests.judging import Judging, loud

BUGS = {
    "both factors of an adapter begin at zero": (
        "GS216",
        """
class Adapted(nn.Module):
    def __init__(self):
        super().__init__()
        self.base = nn.Linear(4, 1).requires_grad_(False)
        self.down = nn.Parameter(torch.zeros(2, 4))  # culprit
        self.up = nn.Parameter(torch.zeros(1, 2))
        self.bias = nn.Parameter(torch.zeros(1))
    def forward(self, x):
        return self.base(x) + x @ self.down.t() @ self.up.t() + self.bias
net = Adapted()
opt = torch.optim.SGD([net.down, net.up, net.bias], lr=0.1)
for _ in range(4):
    x, y = batch()
    learn(opt, F.mse_loss(net(x), y))
""",
    ),
    "a straight-through that takes back what it gives": (
        "GS216",
        """
enc, dec = mlp(4, 3), nn.Linear(3, 4)
opt = torch.optim.SGD([*enc.parameters(), *dec.parameters()], lr=0.1)
for _ in range(4):
    x, y = batch()
    code = torch.tanh(enc(x))
    hard = code + (code.round() - code)  # culprit
    learn(opt, F.mse_loss(dec(hard), x))
""",
    ),
    "a ratio of a value to itself": (
        "GS216",
        """
policy, value = mlp(4, 3), mlp(4, 1)
opt = torch.optim.SGD([*policy.parameters(), *value.parameters()], lr=0.1)
def surrogate(x, gain):
    new = torch.log_softmax(policy(x), 1)[:, 0]
    old = new  # culprit
    return -((new - old).exp() * gain).mean()
for _ in range(4):
    x, y = batch()
    learn(opt, surrogate(x, y[:, 0]) + F.mse_loss(value(x), y))
""",
    ),
    "the log-probability of a sample that follows its mean": (
        "GS216",
        """
mean, spread = mlp(4, 2), nn.Parameter(torch.zeros(2))
opt = torch.optim.SGD([*mean.parameters(), spread], lr=0.01)
for _ in range(4):
    x, y = batch()
    dist = torch.distributions.Normal(mean(x), spread.exp())
    action = dist.rsample()  # culprit
    gain = -(action.detach() - y).pow(2).sum(1)
    learn(opt, -(dist.log_prob(action).sum(1) * gain).mean())
""",
    ),
    "an image beyond the limits of its clamp": (
        "GS216",
        """
image, gain = nn.Parameter(5 + torch.rand(8, 4)), nn.Parameter(torch.ones(4))
opt = torch.optim.SGD([image, gain], lr=0.1)
for _ in range(4):
    x, y = batch()
    learn(opt, F.mse_loss(image.clamp(0, 1) * gain, x))  # culprit
""",
    ),
    "a student that is its own teacher": (
        "GS217",
        """
student = mlp(4, 3)
opt = torch.optim.SGD(student.parameters(), lr=0.1)
def soft_loss(scores, target):
    return F.kl_div(F.log_softmax(scores / 2, 1), F.softmax(target / 2, 1), reduction="batchmean")
for _ in range(4):
    x, y = batch()
    scores = student(x)
    soft = soft_loss(scores, scores.detach())  # culprit
    learn(opt, soft + F.cross_entropy(scores, (y[:, 0] > 0).long()))
""",
    ),
    "the outer loss of a copy": (
        "GS611",
        """
net = mlp(4, 1)
outer = torch.optim.Adam(net.parameters(), 1e-2)
def adapted(x, y):
    copied = copy.deepcopy(net)  # culprit
    inner = torch.optim.SGD(copied.parameters(), lr=0.1)
    for _ in range(2):
        learn(inner, F.mse_loss(copied(x), y))
    return copied
for _ in range(4):
    copied, (x, y) = adapted(*batch()), batch()
    learn(outer, F.mse_loss(copied(x), y))
""",
    ),
    "a schedule for the optimizer of before": (
        "GS515",
        """
net = mlp(4, 1)
opt = torch.optim.SGD(net[-1].parameters(), lr=0.1)
schedule = torch.optim.lr_scheduler.ExponentialLR(opt, 0.9)
for epoch in range(5):
    if epoch == 2:
        opt = torch.optim.SGD(net.parameters(), lr=0.01)
    for _ in range(3):
        x, y = batch()
        learn(opt, F.mse_loss(net(x), y))
    schedule.step()  # culprit
""",
    ),
    "a second loss past the scaler": (
        "GS516",
        """
net = mlp(4, 1)
opt, scaler = torch.optim.SGD(net.parameters(), lr=0.1), torch.amp.GradScaler("cpu")
for _ in range(4):
    x, y = batch()
    opt.zero_grad()
    scaler.scale(F.mse_loss(net(x), y)).backward()
    net(x).square().mean().backward()  # culprit
    scaler.step(opt)
    scaler.update()
""",
    ),
    "a backward that writes into what it was given": (
        "GS820",
        """
class Keep(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.keep = (x > 0).float()
        return x * ctx.keep
    @staticmethod
    def backward(ctx, grad):
        grad.mul_(ctx.keep)  # culprit
        return grad
net, last = nn.Linear(4, 4), nn.Linear(4, 1)
opt = torch.optim.SGD([*net.parameters(), *last.parameters()], lr=0.1)
for _ in range(4):
    x, y = batch()
    h = net(x)
    learn(opt, F.mse_loss(last(h + Keep.apply(h)), y))
""",
    ),
    "the real score in the block of the fake": (
        "GS203",
        """
gen, dis = mlp(2, 4), mlp(4, 1)
opt = torch.optim.SGD(dis.parameters(), lr=0.1)
for _ in range(4):
    x, _ = batch()
    with torch.no_grad():  # culprit
        fake = gen(torch.randn(8, 2))
        real = dis(x)
    learn(opt, (real - 1).square().mean() + dis(fake).square().mean())
""",
    ),
    "a learned temperature as a float": (
        "GS202",
        """
net, log_t = mlp(4, 3), nn.Parameter(torch.zeros(()))
opt = torch.optim.SGD([*net.parameters(), log_t], lr=0.1)
def scale():
    return min(float(log_t.exp()), 100.0)  # culprit
for _ in range(4):
    x, y = batch()
    learn(opt, F.cross_entropy(net(x) * scale(), (y[:, 0] > 0).long()))
""",
    ),
    "a target that is the network, averaged by parts": (
        "GS521",
        """
net = mlp(4, 1)
target = net
opt = torch.optim.SGD(net.parameters(), lr=0.1)
for _ in range(4):
    x, y = batch()
    with torch.no_grad():
        goal = y + 0.5 * target(x)
    learn(opt, F.mse_loss(net(x), goal))
    with torch.no_grad():
        for t, p in zip(target.parameters(), net.parameters()):
            t.mul_(0.95).add_(p, alpha=0.05)  # culprit
""",
    ),
    "buffers of the average, copied onto themselves": (
        "GS521",
        """
net = mlp(4, 1, nn.BatchNorm1d(8))
mean = copy.deepcopy(net).requires_grad_(False)
opt = torch.optim.SGD(net.parameters(), lr=0.1)
for epoch in range(2):
    for _ in range(4):
        x, y = batch()
        learn(opt, F.mse_loss(net(x), y))
        for m, p in zip(mean.parameters(), net.parameters()):
            m.data.lerp_(p.data, 0.1)
        for m, b in zip(mean.buffers(), mean.buffers()):  # culprit
            m.copy_(b)
    mean.eval()
    with torch.no_grad():
        print(mean(batch()[0]).mean().item())
""",
    ),
    "losses of heads in a function of their own": (
        "GS210",
        """
trunk, heads = mlp(4, 4), nn.ModuleDict({name: nn.Linear(4, 1) for name in "ab"})
opt = torch.optim.SGD([*trunk.parameters(), *heads.parameters()], lr=0.1)
def criterion(h, y):
    for name, head in heads.items():
        total = 0.5 * F.mse_loss(head(h), y)  # culprit
    return total
for _ in range(4):
    x, y = batch()
    learn(opt, criterion(trunk(x), y))
""",
    ),
    "an entry that takes the place of another": (
        "GS210",
        """
net = mlp(4, 2)
opt = torch.optim.SGD(net.parameters(), lr=0.1)
def losses(out, x):
    parts = {}
    parts["loss"] = F.mse_loss(out[:, :1], x[:, :1])  # culprit
    parts["loss"] = F.l1_loss(out[:, 1:], x[:, 1:2])
    return parts
for _ in range(4):
    x, y = batch()
    learn(opt, sum(losses(net(x), x).values()))
""",
    ),
    "the codebook's loss with the detach on the wrong side": (
        "GS202",
        """
enc, dec, book = mlp(4, 3), nn.Linear(3, 4), nn.Embedding(8, 3)
opt = torch.optim.SGD([*enc.parameters(), *dec.parameters(), *book.parameters()], lr=0.1)
for _ in range(4):
    x, y = batch()
    z = enc(x)
    near = torch.cdist(z, book.weight).argmin(1)
    q = book(near)
    codes = F.mse_loss(q.detach(), z)  # culprit
    learn(opt, F.mse_loss(dec(z + (q - z).detach()), x) + codes)
""",
    ),
    "weights of an ensemble in no optimizer": (
        "GS601",
        """
nets, weights = nn.ModuleList(mlp(4, 1) for _ in range(2)), torch.zeros(2, requires_grad=True)
opt = torch.optim.SGD(nets.parameters(), lr=0.1)  # culprit
for _ in range(4):
    x, y = batch()
    mix = sum(w * net(x) for w, net in zip(weights.softmax(0), nets))
    learn(opt, F.mse_loss(mix, y))
""",
    ),
    "a coefficient that nothing is computed with": (
        "GS604",
        """
class Scores(nn.Module):
    def __init__(self):
        super().__init__()
        self.lin = nn.Linear(4, 3)
        self.log_scale = nn.Parameter(torch.zeros(()))  # culprit
    def forward(self, x):
        return 14.3 * self.lin(x)
net = Scores()
opt = torch.optim.SGD(net.parameters(), lr=0.1)
for _ in range(4):
    x, y = batch()
    learn(opt, F.cross_entropy(net(x), (y[:, 0] > 0).long()))
""",
    ),
    "the best model, copied back": (
        "GS602",
        """
class Run:
    def __init__(self):
        self.net = mlp(4, 1)
        self.opt = torch.optim.SGD(self.net.parameters(), lr=0.1)
    def epoch(self):
        for _ in range(3):
            x, y = batch()
            learn(self.opt, F.mse_loss(self.net(x), y))
    def restore(self, best):
        self.net = copy.deepcopy(best)  # culprit
run = Run()
run.epoch()
best = copy.deepcopy(run.net)
run.epoch()
run.restore(best)
run.epoch()
""",
    ),
}

HEALTHY = {
    "adapters of which one begins at zero": """
down, up = nn.Parameter(torch.randn(2, 4)), nn.Parameter(torch.zeros(1, 2))
opt = torch.optim.SGD([down, up], lr=0.1)
for _ in range(4):
    x, y = batch()
    learn(opt, F.mse_loss(x @ down.t() @ up.t(), y))
""",
    "a critic whose last bias cancels": """
gen, critic = mlp(2, 4), mlp(4, 1)
og, oc = torch.optim.RMSprop(gen.parameters(), 1e-3), torch.optim.RMSprop(critic.parameters(), 1e-3)
for _ in range(4):
    x, _ = batch()
    learn(oc, critic(gen(torch.randn(8, 2)).detach()).mean() - critic(x).mean())
    with torch.no_grad():
        for p in critic.parameters():
            p.clamp_(-0.1, 0.1)
    learn(og, -critic(gen(torch.randn(8, 2))).mean())
""",
    "a straight-through, and a ratio whose old side is a number": """
enc, dec = mlp(4, 3), nn.Linear(3, 4)
opt = torch.optim.SGD([*enc.parameters(), *dec.parameters()], lr=0.1)
for _ in range(4):
    x, y = batch()
    code = torch.tanh(enc(x))
    ratio = (code - code.detach()).exp()
    learn(opt, F.mse_loss(dec(code + (code.round() - code).detach()), x) + (ratio * y).mean())
""",
    "a weight that is still 0": """
net, extra = mlp(4, 1), mlp(4, 1)
opt = torch.optim.SGD([*net.parameters(), *extra.parameters()], lr=0.1)
for _ in range(4):
    x, y = batch()
    learn(opt, F.mse_loss(net(x), y) + 0.0 * extra(x).mean())
""",
    "gradients given over from a copy": """
net = mlp(4, 1)
outer = torch.optim.SGD(net.parameters(), lr=0.1)
for _ in range(4):
    copied = copy.deepcopy(net)
    inner = torch.optim.SGD(copied.parameters(), lr=0.1)
    for _ in range(2):
        x, y = batch()
        learn(inner, F.mse_loss(copied(x), y))
    outer.zero_grad()
    for p, q in zip(net.parameters(), copied.parameters()):
        p.grad = p.data - q.data
    outer.step()
""",
    "a schedule for each optimizer": """
net = mlp(4, 1)
for rate in (0.1, 0.01):
    opt = torch.optim.SGD(net.parameters(), lr=rate)
    schedule = torch.optim.lr_scheduler.ExponentialLR(opt, 0.9)
    for epoch in range(3):
        x, y = batch()
        learn(opt, F.mse_loss(net(x), y))
        schedule.step()
""",
    "losses that are all scaled, or added after the scale is gone": """
net = mlp(4, 1)
opt, scaler = torch.optim.SGD(net.parameters(), lr=0.1), torch.amp.GradScaler("cpu")
for n in range(4):
    x, y = batch()
    opt.zero_grad()
    scaler.scale(F.mse_loss(net(x), y)).backward()
    scaler.scale(net(x).square().mean()).backward()
    scaler.unscale_(opt)
    (1e-3 * net(x).abs().mean()).backward()
    scaler.step(opt)
    scaler.update()
""",
    "a backward that writes into a copy": """
class Keep(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.keep = (x > 0).float()
        return x * ctx.keep
    @staticmethod
    def backward(ctx, grad):
        grad = grad.clone()
        grad.mul_(ctx.keep)
        return grad
net, last = nn.Linear(4, 4), nn.Linear(4, 1)
opt = torch.optim.SGD([*net.parameters(), *last.parameters()], lr=0.1)
for _ in range(4):
    x, y = batch()
    h = net(x)
    learn(opt, F.mse_loss(last(h + Keep.apply(h)), y))
""",
    "views of the same data, one of them without a gradient": """
net, guess = mlp(4, 3), nn.Linear(3, 3)
opt = torch.optim.SGD([*net.parameters(), *guess.parameters()], lr=0.1)
for _ in range(4):
    x, _ = batch()
    one, other = net(x), net(x + 0.1)
    learn(opt, F.mse_loss(guess(one), other.detach()) + F.mse_loss(guess(other), one.detach()))
""",
    "data that happens to want a gradient": """
net, data = mlp(4, 1), torch.randn(8, 4, requires_grad=True)
opt = torch.optim.SGD(net.parameters(), lr=0.1)
for _ in range(4):
    learn(opt, F.mse_loss(net(data) * data.sum(1, keepdim=True), torch.ones(8, 1)))
""",
    "a bootstrapped value": """
value = mlp(4, 1)
opt = torch.optim.SGD(value.parameters(), lr=0.1)
for _ in range(4):
    x, y = batch()
    with torch.no_grad():
        goal = y + 0.9 * value(x + 1)
    learn(opt, F.mse_loss(value(x), goal))
""",
}


@pytest.mark.parametrize("name", BUGS)
def test_the_line_is_named(judging: Judging, name: str) -> None:
    code, script = BUGS[name]
    judging.expect(code, "# culprit", NETS + script)


@pytest.mark.parametrize("name", HEALTHY)
def test_nothing_is_said_of_healthy_code(judging: Judging, name: str) -> None:
    assert loud(judging(NETS + HEALTHY[name])) == []
