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
    "a shadow that is the parameters themselves": (
        "GS521",
        """
net = mlp(4, 1)
shadow = dict(net.named_parameters())
opt = torch.optim.SGD(net.parameters(), lr=0.1)
for _ in range(4):
    x, y = batch()
    learn(opt, F.mse_loss(net(x), y))
    with torch.no_grad():
        for name, p in net.named_parameters():
            shadow[name].copy_(0.9 * shadow[name] + 0.1 * p)  # culprit
""",
    ),
    "a target that is given its own state": (
        "GS521",
        """
net = mlp(4, 1)
target = copy.deepcopy(net)
opt = torch.optim.SGD(net.parameters(), lr=0.1)
for n in range(6):
    x, y = batch()
    with torch.no_grad():
        goal = y + 0.5 * target(x)
    learn(opt, F.mse_loss(net(x), goal))
    if n % 2:
        target.load_state_dict(target.state_dict())  # culprit
""",
    ),
    "a schedule in epochs that is stepped with each batch": (
        "GS514",
        """
net = mlp(4, 1)
opt = torch.optim.SGD(net.parameters(), lr=0.1)
schedule = torch.optim.lr_scheduler.MultiStepLR(opt, [2, 4], 0.1)
for epoch in range(6):
    for _ in range(5):
        x, y = batch()
        learn(opt, F.mse_loss(net(x), y))
        schedule.step()  # culprit
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
    "loss weights as floats": (
        "GS219",
        """
net, log_var = mlp(4, 2), nn.Parameter(torch.zeros(2))
opt = torch.optim.SGD([*net.parameters(), log_var], lr=0.1)
for _ in range(4):
    x, y = batch()
    out = net(x)
    parts = [F.mse_loss(out[:, :1], y), F.l1_loss(out[:, 1:], y)]
    weights = [torch.exp(-s).item() for s in log_var]  # culprit
    learn(opt, sum(w * part for w, part in zip(weights, parts)) + log_var.sum())
""",
    ),
    "a temperature's loss that moves the policy": (
        "GS414",
        """
policy, log_alpha = mlp(4, 3), nn.Parameter(torch.zeros(()))
opt = torch.optim.SGD([*policy.parameters(), log_alpha], lr=0.1)
for _ in range(4):
    x, y = batch()
    logp = F.log_softmax(policy(x), 1)[:, 0]
    policy_loss = (log_alpha.exp().detach() * logp - y[:, 0] * logp).mean()
    alpha_loss = -(log_alpha * (logp + 1.0)).mean()  # culprit
    learn(opt, policy_loss + alpha_loss)
""",
    ),
    "a value that is detached in the place of its target": (
        "GS411",
        """
q = mlp(4, 1)
opt = torch.optim.SGD(q.parameters(), lr=0.1)
for _ in range(4):
    (x, y), (later, _) = batch(), batch()
    value, goal = q(x), y + 0.9 * q(later)
    learn(opt, F.mse_loss(value.detach(), goal))  # culprit
""",
    ),
    "a mean that is divided in the loss and before the backward": (
        "GS517",
        """
net = mlp(4, 1)
opt = torch.optim.SGD(net.parameters(), lr=0.1)
def part():
    x, y = batch()
    return F.mse_loss(net(x), y) / 4
for n in range(12):
    loss = part()
    (loss / 4).backward()  # culprit
    if n % 4 == 3:
        opt.step()
        opt.zero_grad()
""",
    ),
    "a mean that is divided by the size of its batch": (
        "GS517",
        """
net = mlp(4, 1)
opt = torch.optim.SGD(net.parameters(), lr=0.1)
for _ in range(4):
    x, y = batch()
    loss = F.mse_loss(net(x), y)
    learn(opt, loss / len(x))  # culprit
""",
    ),
    "an inner update of the first order": (
        "GS218",
        """
net = mlp(4, 1)
opt = torch.optim.SGD(net.parameters(), lr=0.1)
for _ in range(4):
    (x, y), (later, goal) = batch(), batch()
    names, params = zip(*net.named_parameters())
    grads = torch.autograd.grad(F.mse_loss(net(x), y), params)  # culprit
    fast = {name: p - 0.1 * g for name, p, g in zip(names, params, grads)}
    learn(opt, F.mse_loss(torch.func.functional_call(net, fast, (later,)), goal))
""",
    ),
    "a flag on a module": (
        "GS526",
        """
body, head = nn.Linear(4, 4), nn.Linear(4, 1)
for part in (body,):
    part.requires_grad = False  # culprit
opt = torch.optim.SGD([*body.parameters(), *head.parameters()], lr=0.1)
for _ in range(4):
    x, y = batch()
    learn(opt, F.mse_loss(head(body(x)), y))
""",
    ),
    "a softmax over the queries": (
        "GS909",
        """
class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.q, self.k, self.v, self.drop = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 1), nn.Dropout(0.1)
    def forward(self, x):
        scores = self.q(x) @ self.k(x).transpose(1, 2)
        weights = F.softmax(scores, dim=1)  # culprit
        return self.drop(weights) @ self.v(x)
net = Attention()
opt = torch.optim.SGD(net.parameters(), lr=0.1)
for _ in range(4):
    x = torch.randn(2, 5, 4)
    learn(opt, F.mse_loss(net(x), x[:, :, :1]))
""",
    ),
    "a softmax over the batch, summed by einsum": (
        "GS909",
        """
score = nn.Linear(4, 1)
opt = torch.optim.SGD(score.parameters(), lr=0.1)
for _ in range(4):
    x = torch.randn(6, 5, 4)
    weights = torch.softmax(score(x).squeeze(-1), 0)  # culprit
    learn(opt, F.mse_loss(torch.einsum("bt,btd->bd", weights, x), x[:, 0]))
""",
    ),
    "a tie that a loaded state undoes": (
        "GS606",
        """
def tied():
    model = nn.Sequential(nn.Embedding(9, 4), nn.Tanh(), nn.Linear(4, 9, bias=False))
    model[2].weight = model[0].weight
    return model
state = {name: value.clone() for name, value in tied().state_dict().items()}
net = tied()
net.load_state_dict(state, assign=True)  # culprit
opt = torch.optim.SGD(net.parameters(), lr=0.1)
for _ in range(4):
    ids = torch.randint(0, 9, (8,))
    learn(opt, F.cross_entropy(net(ids), ids))
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
    "an average that is one": """
net = mlp(4, 1)
shadow = {name: p.detach().clone() for name, p in net.named_parameters()}
opt = torch.optim.SGD(net.parameters(), lr=0.1)
schedule = torch.optim.lr_scheduler.MultiStepLR(opt, [2, 4], 0.1)
for epoch in range(6):
    for _ in range(2):
        x, y = batch()
        learn(opt, F.mse_loss(net(x), y))
    schedule.step()
    with torch.no_grad():
        for name, p in net.named_parameters():
            shadow[name].copy_(0.9 * shadow[name] + 0.1 * p)
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
    "coefficients as they should be, looked at by item": """
net, log_var, alpha = mlp(4, 2), nn.Parameter(torch.zeros(2)), nn.Parameter(torch.zeros(()))
opt = torch.optim.SGD([*net.parameters(), log_var, alpha], lr=0.1)
for _ in range(4):
    x, y = batch()
    out = net(x)
    parts = [F.mse_loss(out[:, :1], y), F.l1_loss(out[:, 1:], y)]
    loss = sum(torch.exp(-s) * part for s, part in zip(log_var, parts)) + log_var.sum()
    score = alpha.exp().detach() * out[:, 0] - alpha * (out[:, 0] - 1).detach()
    learn(opt, loss + score.mean())
    print([s.exp().item() for s in log_var])
""",
    "micro-batches that are divided once, as many as a batch has samples": """
net = mlp(4, 1)
opt = torch.optim.SGD(net.parameters(), lr=0.1)
for n in range(16):
    x, y = batch()
    (F.mse_loss(net(x), y) / 8).backward()
    if n % 8 == 7:
        opt.step()
        opt.zero_grad()
""",
    "an inner update with its graph": """
net = mlp(4, 1)
opt = torch.optim.SGD(net.parameters(), lr=0.1)
for _ in range(4):
    (x, y), (later, goal) = batch(), batch()
    names, params = zip(*net.named_parameters())
    grads = torch.autograd.grad(F.mse_loss(net(x), y), params, create_graph=True)
    fast = {name: p - 0.1 * g for name, p, g in zip(names, params, grads)}
    learn(opt, F.mse_loss(torch.func.functional_call(net, fast, (later,)), goal))
""",
    "softmaxes over what is summed, or is not summed": """
q, k, v, gate = (nn.Linear(4, 4) for _ in range(4))
opt = torch.optim.SGD([p for part in (q, k, v, gate) for p in part.parameters()], lr=0.1)
for _ in range(4):
    x = torch.randn(2, 5, 4)
    scores = q(x) @ k(x).transpose(1, 2)
    rows = scores.softmax(-1) @ v(x)
    columns = scores.softmax(1).transpose(1, 2) @ v(x)
    linear = q(x).softmax(-1) @ (k(x).softmax(1).transpose(1, 2) @ v(x))
    pooled = torch.einsum("bt,btd->bd", scores.sum(1).softmax(1), v(x))
    learn(opt, F.mse_loss(rows + columns + linear + pooled[:, None] * gate(x).softmax(1), x))
""",
    "a flag on each parameter, one on a module that means nothing": """
class Body(nn.Linear):
    def __init__(self, requires_grad):
        super().__init__(4, 4)
        self.requires_grad = requires_grad
        self.requires_grad_(requires_grad)
body, head = Body(False), nn.Linear(4, 1)
opt = torch.optim.SGD(head.parameters(), lr=0.1)
for _ in range(4):
    x, y = batch()
    learn(opt, F.mse_loss(head(body(x)), y))
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
