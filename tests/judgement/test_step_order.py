"""Mistakes in the order of a training step, in many shapes, and correct code that looks alike."""

from __future__ import annotations

import pytest

from tests.judgement.loops import NET, loop
from tests.judging import Judging, loud

SCALER = 'scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)'

BUGS = {
    "no zero_grad, in a method": (
        "GS501",
        """
class Trainer:
    def __init__(self, model):
        self.model = model
        self.optim = torch.optim.Adam(model.parameters())
    def training_step(self, batch):
        x, y = batch
        return F.mse_loss(self.model(x), y)
    def fit(self, n):
        while n:
            loss = self.training_step(batch())
            loss.backward()  # culprit
            self.optim.step()
            n -= 1
Trainer(net).fit(4)
""",
    ),
    "no zero_grad, updates by hand": (
        "GS501",
        """
w = torch.randn(4, 1, requires_grad=True)
for _ in range(5):
    x, y = batch()
    F.mse_loss(x @ w, y).backward()  # culprit
    with torch.no_grad():
        w -= 0.1 * w.grad
""",
    ),
    "no zero_grad, updates by hand through .data": (
        "GS501",
        """
for _ in range(5):
    x, y = batch()
    F.mse_loss(net(x), y).backward()  # culprit
    for p in net.parameters():
        p.data.add_(p.grad, alpha=-0.1)
""",
    ),
    "zero_grad of the epoch only": (
        "GS501",
        """
opt = torch.optim.SGD(net.parameters(), lr=0.1)
for epoch in range(2):
    opt.zero_grad()
    for x, y in [batch() for _ in range(3)]:
        F.mse_loss(net(x), y).backward()  # culprit
        opt.step()
""",
    ),
    "the other optimizer is cleared twice": (
        "GS501",
        """
enc, dec = nn.Linear(4, 3), nn.Linear(3, 1)
opt_e, opt_d = torch.optim.SGD(enc.parameters(), lr=0.1), torch.optim.SGD(dec.parameters(), lr=0.1)
for _ in range(4):
    x, y = batch()
    opt_e.zero_grad()
    opt_e.zero_grad()  # culprit
    F.mse_loss(dec(enc(x)), y).backward()
    opt_e.step()
    opt_d.step()
""",
    ),
    "the discriminator is cleared through the generator's optimizer": (
        "GS501",
        """
G, D = nn.Linear(2, 2), nn.Linear(2, 1)
og, od = torch.optim.SGD(G.parameters(), lr=0.1), torch.optim.SGD(D.parameters(), lr=0.1)
for _ in range(4):
    fake = G(torch.randn(8, 2))
    og.zero_grad()  # culprit
    (D(fake.detach()).mean() - D(torch.randn(8, 2)).mean()).backward()
    od.step()
    og.zero_grad()
    (-D(fake).mean()).backward()
    og.step()
""",
    ),
    "another model is cleared": (
        "GS501",
        """
old = copy.deepcopy(net)
opt = torch.optim.SGD(net.parameters(), lr=0.1)
def step(x, y):
    old.zero_grad()  # culprit
    F.mse_loss(net(x), y).backward()
    opt.step()
for _ in range(4):
    step(*batch())
""",
    ),
    "one of two optimizers is never cleared": (
        "GS501",
        """
enc, dec = nn.Linear(4, 3), nn.Linear(3, 1)
opts = [torch.optim.SGD(enc.parameters(), lr=0.1), torch.optim.Adam(dec.parameters(), lr=0.1)]
for _ in range(4):
    x, y = batch()
    opts[0].zero_grad()
    F.mse_loss(dec(enc(x)), y).backward()  # culprit
    for opt in opts:
        opt.step()
""",
    ),
    "a shared encoder steps for two losses": (
        "GS501",
        """
enc, a, b = nn.Linear(4, 3), nn.Linear(3, 1), nn.Linear(3, 1)
opt_a = torch.optim.SGD([*enc.parameters(), *a.parameters()], lr=0.1)
opt_b = torch.optim.SGD([*enc.parameters(), *b.parameters()], lr=0.1)
for _ in range(4):
    x, y = batch()
    opt_a.zero_grad()
    opt_b.zero_grad()
    F.mse_loss(a(enc(x)), y).backward()
    opt_a.step()
    F.l1_loss(b(enc(x)), y).backward()  # culprit
    opt_b.step()
""",
    ),
    "gradients set to None between": (
        "GS502",
        """
opt = torch.optim.AdamW(net.parameters())
def run(loss):
    loss.backward()
    for p in net.parameters():
        p.grad = None  # culprit
    opt.step()
for _ in range(3):
    x, y = batch()
    run(F.mse_loss(net(x), y))
""",
    ),
    "zeroed between, through the module": (
        "GS502",
        """
opt = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
for _ in range(3):
    x, y = batch()
    loss = F.mse_loss(net(x), y)
    loss.backward()
    net.zero_grad(set_to_none=False)  # culprit
    opt.step()
""",
    ),
    "the first of two losses is lost": (
        "GS502",
        loop(
            """
F.mse_loss(net(x), y).backward()
opt.zero_grad()  # culprit
sum(p.abs().sum() for p in net.parameters()).backward()
opt.step()
""",
            times=4,
        ),
    ),
    "micro-batches cleared one by one": (
        "GS502",
        """
opt = torch.optim.SGD(net.parameters(), lr=0.1)
for i in range(12):
    x, y = batch()
    opt.zero_grad()  # culprit
    (F.mse_loss(net(x), y) / 4).backward()
    if i % 4 == 3:
        opt.step()
""",
    ),
    "step first, cleared last": (
        "GS503",
        """
opt = torch.optim.SGD(net.parameters(), lr=0.1)
def iteration(x, y):
    loss = F.mse_loss(net(x), y)
    opt.step()  # culprit
    loss.backward()
    opt.zero_grad()
for _ in range(4):
    iteration(*batch())
""",
    ),
    "clip by value before the backward": (
        "GS504",
        """
clip = nn.utils.clip_grad_value_
for p in net.parameters():
    p.grad = torch.zeros_like(p)
"""
        + loop("""
loss = F.mse_loss(net(x), y)
opt.zero_grad(set_to_none=False)
clip(net.parameters(), 0.1)  # culprit
loss.backward()
opt.step()
"""),
    ),
    "the step comes after the epoch only": (
        "GS502",
        """
opt = torch.optim.SGD(net.parameters(), lr=0.1)
for epoch in range(4):
    for x, y in [batch() for _ in range(3)]:
        opt.zero_grad()  # culprit
        F.mse_loss(net(x), y).backward()
    opt.step()
""",
    ),
    "the gradients themselves are clipped": (
        "GS504",
        loop("""
opt.zero_grad()
F.mse_loss(net(x), y).backward()
nn.utils.clip_grad_norm_([p.grad for p in net.parameters()], 1.0)  # culprit
opt.step()
"""),
    ),
    "clip by value where there is no gradient at all": (
        "GS504",
        """
opt = torch.optim.SGD(net.parameters(), lr=0.1)
x, y = batch()
nn.utils.clip_grad_value_(net.parameters(), 0.1)  # culprit
F.mse_loss(net(x), y).backward()
opt.step()
""",
    ),
    "clip after the step": (
        "GS504",
        """
def finish():
    opt.step()
    torch.nn.utils.clip_grad_norm_(net.parameters(), max_norm=1.0)  # culprit
    opt.zero_grad()
"""
        + loop("""
F.mse_loss(net(x), y).backward()
finish()
"""),
    ),
    "clip a generator that is used up": (
        "GS504",
        """
import warnings
warnings.simplefilter("ignore")
params = net.parameters()
opt = torch.optim.SGD(params, lr=0.1)
for _ in range(3):
    x, y = batch()
    opt.zero_grad()
    F.mse_loss(net(x), y).backward()
    nn.utils.clip_grad_norm_(params, 1.0)  # culprit
    opt.step()
""",
    ),
    "scheduler at the top of the batch loop": (
        "GS505",
        """
import warnings
warnings.simplefilter("ignore")
@dataclass
class Run:
    opt: object
    sched: object
    def go(self):
        for _ in range(4):
            x, y = batch()
            self.sched.step()  # culprit
            self.opt.zero_grad()
            F.mse_loss(net(x), y).backward()
            self.opt.step()
opt = torch.optim.SGD(net.parameters(), lr=0.1)
Run(opt, torch.optim.lr_scheduler.ExponentialLR(opt, 0.5)).go()
""",
    ),
    "clip by value on scaled gradients": (
        "GS506",
        SCALER
        + loop("""
opt.zero_grad()
scaler.scale(F.mse_loss(net(x), y)).backward()
nn.utils.clip_grad_value_(net.parameters(), 0.5)  # culprit
scaler.step(opt)
scaler.update()
"""),
    ),
    "unscaled after the clipping": (
        "GS506",
        SCALER
        + loop("""
opt.zero_grad()
scaler.scale(F.mse_loss(net(x), y)).backward()
nn.utils.clip_grad_norm_(net.parameters(), 0.5)  # culprit
scaler.unscale_(opt)
scaler.step(opt)
scaler.update()
"""),
    ),
    "a plain step on scaled gradients": (
        "GS506",
        SCALER
        + loop(
            """
opt.zero_grad()
scaler.scale(F.mse_loss(net(x), y)).backward()
opt.step()  # culprit
scaler.update(1024.0)
""",
            lr=1e-5,
        ),
    ),
    "no update of the scaler": (
        "GS507",
        SCALER
        + loop("""
opt.zero_grad()
scaler.scale(F.mse_loss(net(x), y)).backward()
scaler.step(opt)  # culprit
"""),
    ),
    "the loss is never scaled": (
        "GS507",
        SCALER
        + loop("""
opt.zero_grad()
F.mse_loss(net(x), y).backward()  # culprit
scaler.step(opt)
scaler.update()
"""),
    ),
    "unscaled twice": (
        "GS507",
        SCALER
        + loop("""
opt.zero_grad()
scaler.scale(F.mse_loss(net(x), y)).backward()
scaler.unscale_(opt)
nn.utils.clip_grad_norm_(net.parameters(), 0.5)
scaler.unscale_(opt)  # culprit
scaler.step(opt)
scaler.update()
"""),
    ),
    "means of micro-batches, a step now and then": (
        "GS508",
        """
class Loop:
    def __init__(self, every):
        self.every, self.opt = every, torch.optim.SGD(net.parameters(), lr=0.01)
    def one(self, i, x, y):
        loss = nn.CrossEntropyLoss()(torch.cat([net(x), -net(x)], 1), (y > 0).long().squeeze(1))
        loss.backward()  # culprit
        if i % self.every == 0:
            self.opt.step()
            self.opt.zero_grad()
loop = Loop(3)
for i in range(1, 13):
    loop.one(i, *batch())
""",
    ),
    "means of the slices of a batch": (
        "GS508",
        loop(
            """
opt.zero_grad()
for part in torch.arange(8).chunk(4):
    xs, ys = x[part[0]:part[-1] + 1], y[part[0]:part[-1] + 1]
    (net(xs) - ys).pow(2).mean().backward()  # culprit
opt.step()
""",
            lr=0.01,
        ),
    ),
    "means of micro-batches under a scaler": (
        "GS508",
        """
opt = torch.optim.SGD(net.parameters(), lr=0.01)
scaler = torch.amp.GradScaler("cpu", init_scale=64.0)
for i in range(8):
    x, y = batch()
    loss = F.mse_loss(net(x), y)
    scaler.scale(loss).backward()  # culprit
    if i % 4 == 3:
        scaler.step(opt)
        scaler.update()
        opt.zero_grad()
""",
    ),
    "means with a penalty": (
        "GS508",
        """
opt = torch.optim.SGD(net.parameters(), lr=0.01)
for i in range(8):
    x, y = batch()
    loss = (net(x) - y).abs().mean() + 0.01 * net[0].weight.pow(2).sum()
    loss.backward()  # culprit
    if not (i + 1) % 4:
        opt.step()
        opt.zero_grad()
""",
    ),
    "a new optimizer in each call": (
        "GS509",
        """
def update(model, x, y):
    opt = torch.optim.RMSprop(model.parameters(), lr=0.01)  # culprit
    opt.zero_grad()
    F.mse_loss(model(x), y).backward()
    opt.step()
for _ in range(5):
    update(net, *batch())
""",
    ),
    "a new optimizer in each epoch": (
        "GS509",
        """
def configure():
    return torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9)
for epoch in range(4):
    opt = configure()  # culprit
    for _ in range(3):
        x, y = batch()
        opt.zero_grad()
        F.mse_loss(net(x), y).backward()
        opt.step()
""",
    ),
    "an optimizer that is never stepped": (
        "GS510",
        loop(
            """
opt.zero_grad()
F.mse_loss(net(x), y).backward()  # culprit
""",
            lr=0.01,
            times=4,
        ),
    ),
    "one optimizer steps twice, the other never": (
        "GS510",
        """
a, b = nn.Linear(4, 3), nn.Linear(3, 1)
opt_a, opt_b = torch.optim.SGD(a.parameters(), lr=0.1), torch.optim.SGD(b.parameters(), lr=0.1)
for _ in range(4):
    x, y = batch()
    opt_a.zero_grad()
    opt_b.zero_grad()
    F.mse_loss(b(a(x)), y).backward()
    opt_a.step()
    opt_a.step()  # culprit
""",
    ),
}

BUGS["cleared between two losses of a closure"] = (
    "GS502",
    """
def fit(steps):
    opt = torch.optim.LBFGS(net.parameters(), lr=0.1, max_iter=3)
    def evaluate():
        opt.zero_grad()
        x, y = batch()
        (0.1 * net(x).abs().mean()).backward()
        net.zero_grad()  # culprit
        loss = F.mse_loss(net(x), y)
        loss.backward()
        return loss
    for _ in range(steps):
        opt.step(evaluate)
fit(4)
""",
)


@pytest.mark.parametrize("bug", BUGS)
def test_names_the_line(judging: Judging, bug: str) -> None:
    code, script = BUGS[bug]
    judging.expect(code, "# culprit", NET + script)


HEALTHY = {
    "a closure that is evaluated several times in one update, of one parameter": """
class Fit:
    def __init__(self):
        self.point = torch.zeros(3, requires_grad=True)
        self.solver = torch.optim.LBFGS([self.point], max_iter=4)
    def evaluate(self):
        self.point.grad = None
        loss = (self.point - torch.tensor([1.0, 2.0, 3.0])).pow(4).sum()
        loss.backward()
        return loss
    def run(self):
        return [self.solver.step(lambda: self.evaluate()).item() for _ in range(5)]
Fit().run()
""",
    "an evaluation of the closure before the updates, for the log": """
def minimise(n):
    w = torch.ones(2, requires_grad=True)
    opt = torch.optim.LBFGS([w], lr=0.3, max_iter=3)
    def closure():
        opt.zero_grad()
        cost = (w * w * torch.tensor([1.0, 10.0])).sum() + w.exp().sum()
        cost.backward()
        return cost
    for _ in range(n):
        print(closure().item())
        opt.step(closure)
minimise(4)
""",
    "the backward of a generator reaches the discriminator": """
G, D = nn.Linear(2, 2), nn.Linear(2, 1)
og, od = torch.optim.Adam(G.parameters()), torch.optim.Adam(D.parameters())
for _ in range(4):
    real = torch.randn(8, 2)
    fake = G(torch.randn(8, 2))
    od.zero_grad()
    (D(fake.detach()).mean() - D(real).mean()).backward()
    od.step()
    og.zero_grad()
    (-D(fake).mean()).backward()
    og.step()
""",
    "an undetached discriminator loss whose generator part is cleared": """
G, D = nn.Linear(2, 2), nn.Linear(2, 1)
og, od = torch.optim.SGD(G.parameters(), lr=0.1), torch.optim.SGD(D.parameters(), lr=0.1)
for _ in range(4):
    od.zero_grad()
    (D(G(torch.randn(8, 2))).mean() - D(torch.randn(8, 2)).mean()).backward()
    od.step()
    og.zero_grad()
    (-D(G(torch.randn(8, 2))).mean()).backward()
    og.step()
""",
    "both players are cleared at the top": """
G, D = nn.Linear(2, 2), nn.Linear(2, 1)
og, od = torch.optim.SGD(G.parameters(), lr=0.1), torch.optim.SGD(D.parameters(), lr=0.1)
for _ in range(5):
    og.zero_grad()
    od.zero_grad()
    (D(G(torch.randn(8, 2)).detach()).mean() - D(torch.randn(8, 2)).mean()).backward()
    od.step()
    (-D(G(torch.randn(8, 2))).mean()).backward()
    og.step()
""",
    "adversarial examples first": loop(
        """
x.requires_grad_(True)
F.mse_loss(net(x), y).backward()
x = (x + 0.1 * x.grad.sign()).detach()
opt.zero_grad()
F.mse_loss(net(x), y).backward()
opt.step()
""",
        times=4,
    ),
    "the loop starts with the step": """
opt = torch.optim.SGD(net.parameters(), lr=0.1)
for _ in range(4):
    opt.step()
    opt.zero_grad()
    x, y = batch()
    F.mse_loss(net(x), y).backward()
opt.step()
""",
    "cleared by .data and by detach_": """
w, v = torch.randn(4, 1, requires_grad=True), torch.randn(4, 1, requires_grad=True)
for _ in range(5):
    x, y = batch()
    F.mse_loss(x @ (w + v), y).backward()
    w.data -= 0.1 * w.grad.data
    v.data.sub_(0.1 * v.grad.data)
    w.grad.data.zero_()
    v.grad.detach_()
    v.grad.zero_()
""",
    "old gradients decay by hand": loop(
        """
for p in net.parameters():
    if p.grad is not None:
        p.grad.mul_(0.9)
F.mse_loss(net(x), y).backward()
opt.step()
""",
        times=4,
    ),
    "gradients of two tasks are read and put together": loop(
        """
parts = []
for loss_fn in (F.mse_loss, F.l1_loss):
    opt.zero_grad()
    loss_fn(net(x), y).backward()
    parts.append([p.grad.clone() for p in net.parameters()])
for p, a, b in zip(net.parameters(), *parts):
    p.grad = (a + b) / 2
opt.step()
""",
        times=4,
    ),
    "sharpness-aware minimisation": loop(
        """
F.mse_loss(net(x), y).backward()
norm = torch.stack([p.grad.norm() for p in net.parameters()]).norm()
moves = []
with torch.no_grad():
    for p in net.parameters():
        e = p.grad * 0.05 / norm
        p.add_(e)
        moves.append(e)
opt.zero_grad()
F.mse_loss(net(x), y).backward()
with torch.no_grad():
    for p, e in zip(net.parameters(), moves):
        p.sub_(e)
opt.step()
opt.zero_grad()
""",
        times=4,
    ),
    "a skipped update": """
opt = torch.optim.SGD(net.parameters(), lr=0.1)
for i in range(6):
    x, y = batch()
    opt.zero_grad()
    F.mse_loss(net(x), y).backward()
    norm = nn.utils.clip_grad_norm_(net.parameters(), 1.0)
    if i == 3:
        opt.zero_grad()
        continue
    opt.step()
""",
    "a norm measured after the step": loop("""
opt.zero_grad()
F.mse_loss(net(x), y).backward()
opt.step()
print(nn.utils.clip_grad_norm_(net.parameters(), float("inf")))
"""),
    "mixed precision as it should be": """
opt = torch.optim.SGD(net.parameters(), lr=0.1)
scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
sched = torch.optim.lr_scheduler.StepLR(opt, 2)
for i in range(8):
    x, y = batch()
    scaler.scale(F.mse_loss(net(x), y) / 2).backward()
    if i % 2:
        scaler.unscale_(opt)
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        scaler.step(opt)
        scaler.update()
        opt.zero_grad()
        sched.step()
""",
    "a schedule wound forward to resume": """
import warnings
warnings.simplefilter("ignore")
opt = torch.optim.SGD(net.parameters(), lr=0.1)
sched = torch.optim.lr_scheduler.StepLR(opt, 2)
for _ in range(3):
    sched.step()
for _ in range(3):
    x, y = batch()
    opt.zero_grad()
    F.mse_loss(net(x), y).backward()
    opt.step()
    sched.step()
""",
    "a plateau scheduler fed before the first update": """
opt = torch.optim.SGD(net.parameters(), lr=0.1)
sched = torch.optim.lr_scheduler.ReduceLROnPlateau(opt)
for _ in range(3):
    with torch.no_grad():
        x, y = batch()
        sched.step(F.mse_loss(net(x), y).item())
    opt.zero_grad()
    F.mse_loss(net(x), y).backward()
    opt.step()
""",
    "two losses, two lines, one step": """
a, b = nn.Linear(4, 1), nn.Linear(4, 1)
opt = torch.optim.SGD([*a.parameters(), *b.parameters()], lr=0.1)
for _ in range(3):
    x, y = batch()
    opt.zero_grad()
    F.mse_loss(a(x), y).backward()
    F.l1_loss(b(x), y).backward()
    opt.step()
""",
    "sums over micro-batches, divided at the end": loop("""
opt.zero_grad()
for xs, ys in zip(x.split(2), y.split(2)):
    F.mse_loss(net(xs), ys).backward()
for p in net.parameters():
    p.grad /= 4
opt.step()
"""),
    "sums of squares over micro-batches": loop(
        """
opt.zero_grad()
for xs, ys in zip(x.split(2), y.split(2)):
    F.mse_loss(net(xs), ys, reduction="sum").backward()
opt.step()
""",
        lr=0.001,
    ),
    "a loss for each task": """
opt = torch.optim.SGD(net.parameters(), lr=0.01)
def task(k):
    x, y = batch()
    return F.mse_loss(net(x), k * y)
for _ in range(3):
    opt.zero_grad()
    for k in range(3):
        task(k).backward()
    opt.step()
""",
    "plain SGD built anew": """
for _ in range(4):
    opt = torch.optim.SGD(net.parameters(), lr=0.1)
    x, y = batch()
    opt.zero_grad()
    F.mse_loss(net(x), y).backward()
    opt.step()
""",
    "federated rounds": """
world = copy.deepcopy(net)
for _ in range(4):
    net.load_state_dict(world.state_dict())
    opt = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    for _ in range(3):
        x, y = batch()
        opt.zero_grad()
        F.mse_loss(net(x), y).backward()
        opt.step()
    world.load_state_dict(net.state_dict())
""",
    "a fresh model and optimizer for each fold": """
for fold in range(4):
    model = nn.Linear(4, 1)
    opt = torch.optim.Adam(model.parameters())
    for _ in range(2):
        x, y = batch()
        opt.zero_grad()
        F.mse_loss(model(x), y).backward()
        opt.step()
""",
    "gradients are only measured": """
for _ in range(4):
    x, y = batch()
    net.zero_grad()
    F.mse_loss(net(x), y).backward()
    print(sum(p.grad.norm().item() for p in net.parameters()))
""",
    "an Adam with a closure": """
opt = torch.optim.Adam(net.parameters())
x, y = batch()
def closure():
    opt.zero_grad()
    loss = F.mse_loss(net(x), y)
    loss.backward()
    return loss
for _ in range(4):
    opt.step(closure)
""",
    "an optimizer of the script's own": """
class Sign(torch.optim.Optimizer):
    def __init__(self, params, lr=0.01):
        super().__init__(params, {"lr": lr})
    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    p.add_(p.grad.sign(), alpha=-group["lr"])
                    p.grad = None
opt = Sign(net.parameters())
for _ in range(4):
    x, y = batch()
    F.mse_loss(net(x), y).backward()
    opt.step()
""",
}


@pytest.mark.parametrize("pattern", HEALTHY)
def test_is_silent_on(judging: Judging, pattern: str) -> None:
    assert not loud(judging(NET + HEALTHY[pattern]))


def test_proves_it_with_numbers(judging: Judging) -> None:
    found = judging(
        NET
        + """
w = torch.ones(1, requires_grad=True)
opt = torch.optim.SGD([w], lr=0.1)
for _ in range(3):
    (2 * w).sum().backward()
    opt.step()  # uses
"""
    )[0]
    assert found.code == "GS501"
    assert "w.grad has norm 4; this batch alone gives 2" in found.explanation
    assert found.fix == "call opt.zero_grad() before (2 * w).sum().backward()"
    assert [place.line for place in found.related] == [judging.line("# uses")]


@pytest.mark.parametrize("detail", ["auto", "graph"])
def test_the_order_is_told_at_every_detail(judging: Judging, detail: str) -> None:
    code, script = BUGS["no zero_grad, in a method"]
    judging.expect(code, "# culprit", NET + script, detail=detail)
