"""Modes of parts, copies that keep nothing, followers, and owners of replaced parameters: bugs and healthy twins."""

from __future__ import annotations

import pytest

from tests.judgement.loops import NETS
from tests.judging import Judging, loud

START = (
    NETS
    + """
def train(net, opt, times=4):
    for _ in range(times):
        x, y = batch()
        learn(opt, F.mse_loss(net(x), y))
"""
)

BUGS = {
    "a frozen encoder keeps counting": (
        "GS705",
        """
encoder, head = mlp(4, 4, nn.BatchNorm1d(8)), nn.Linear(4, 1)
net = nn.Sequential(encoder, head)
encoder.requires_grad_(False)
opt = torch.optim.SGD(head.parameters(), lr=0.1)
for epoch in range(2):
    net.train()  # culprit
    train(net, opt)
    net.eval()
    with torch.no_grad():
        print(F.mse_loss(net(batch()[0]), batch()[1]).item())
""",
    ),
    "a teacher drops values": (
        "GS705",
        """
teacher, student = mlp(4, 2, nn.Dropout(0.3)), mlp(4, 2)
for p in teacher.parameters():
    p.requires_grad = False
opt = torch.optim.Adam(student.parameters(), 1e-2)
for _ in range(4):
    x, _ = batch()
    soft = F.softmax(teacher(x), 1)  # culprit
    learn(opt, F.kl_div(F.log_softmax(student(x), 1), soft, reduction="batchmean"))
""",
    ),
    "a dropout made where it is used": (
        "GS706",
        """
class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(4, 8), nn.Linear(8, 1)
    def forward(self, x):
        drop = nn.Dropout(0.2)  # culprit
        return self.b(drop(torch.tanh(self.a(x))))
net = Block()
train(net, torch.optim.SGD(net.parameters(), lr=0.1))
net.eval()
with torch.no_grad():
    print(net(batch()[0]).mean().item())
""",
    ),
    "train() follows eval() in the same breath": (
        "GS702",
        """
net = mlp(4, 1, nn.BatchNorm1d(8), nn.Dropout(0.2))
opt = torch.optim.SGD(net.parameters(), lr=0.1)
@torch.no_grad()
def score():
    net.eval()
    net.train()  # culprit
    return sum(F.mse_loss(net(x), y).item() for x, y in (batch() for _ in range(2)))
for epoch in range(3):
    net.train()
    train(net, opt, 3)
    print(score())
""",
    ),
    "the kept weights are the live ones": (
        "GS521",
        """
net = mlp(4, 1)
opt = torch.optim.SGD(net.parameters(), lr=0.1)
kept = {}
for epoch in range(3):
    train(net, opt, 3)
    if epoch == 0:
        kept = {name: p.detach() for name, p in net.named_parameters()}  # culprit
with torch.no_grad():
    for name, p in net.named_parameters():
        p.copy_(kept[name])
""",
    ),
    "the target is the network itself": (
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
            t.lerp_(p, 0.05)  # culprit
""",
    ),
    "an average without the statistics": (
        "GS522",
        """
net = mlp(4, 1, nn.BatchNorm1d(8))
mean = copy.deepcopy(net)
for p in mean.parameters():
    p.requires_grad_(False)
opt = torch.optim.SGD(net.parameters(), lr=0.1)
def follow(rate=0.9):
    for old, new in zip(mean.parameters(), net.parameters()):
        old.data.mul_(rate).add_(new.data, alpha=1 - rate)  # culprit
for epoch in range(2):
    for _ in range(4):
        x, y = batch()
        learn(opt, F.mse_loss(net(3 + x), y))
        follow()
    mean.eval()
    with torch.no_grad():
        print(F.mse_loss(mean(3 + batch()[0]), batch()[1]).item())
""",
    ),
    "a momentum teacher in the optimizer": (
        "GS523",
        """
online = mlp(4, 2)
slow = copy.deepcopy(online)
opt = torch.optim.SGD([{"params": online.parameters()}, {"params": slow.parameters()}], lr=0.1)  # culprit
for _ in range(5):
    x, _ = batch()
    learn(opt, -F.cosine_similarity(online(x + 0.1), slow(x)).mean())
    for s, o in zip(slow.parameters(), online.parameters()):
        s.data = 0.99 * s.data + 0.01 * o.data
""",
    ),
    "the layers are cut down while training": (
        "GS602",
        """
net = mlp(4, 1)
opt = torch.optim.Adam(net.parameters(), 1e-2)
def halve(layer):
    layer.weight = nn.Parameter(layer.weight.data[:, ::2].clone())  # culprit
class Half(nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.inner = inner
    def forward(self, x):
        return self.inner(x[:, ::2])
train(net, opt)
halve(net[0])
train(Half(net), opt)
""",
    ),
    "training goes on with the copy": (
        "GS602",
        """
class Run:
    def __init__(self):
        self.net = mlp(4, 1)
        self.opt = torch.optim.Adam(self.net.parameters(), 1e-2)
    def snapshot(self):
        return copy.deepcopy(self.net)  # culprit
    def go(self):
        train(self.net, self.opt)
        saved = self.snapshot()
        train(self.net, self.opt)
        self.net = saved
        train(self.net, self.opt)
Run().go()
""",
    ),
}

BUGS |= {
    "an average that is bound to a name": (
        "GS524",
        """
net = mlp(4, 1)
mean = copy.deepcopy(net)
opt = torch.optim.SGD(net.parameters(), lr=0.1)
for _ in range(4):
    x, y = batch()
    learn(opt, F.mse_loss(net(x), y))
    for m, p in zip(mean.parameters(), net.parameters()):
        m = 0.9 * m + 0.1 * p.detach()  # culprit
""",
    ),
    "a critic's weights that clamp leaves alone": (
        "GS524",
        """
critic = mlp(4, 1)
opt = torch.optim.RMSprop(critic.parameters(), lr=1e-2)
for _ in range(4):
    x, y = batch()
    learn(opt, critic(x).mean() - critic(y * x).mean())
    with torch.no_grad():
        for p in critic.parameters():
            torch.clamp(p, -0.01, 0.01)  # culprit
""",
    ),
}

HEALTHY = {
    "values that are computed, and kept or read": """
net = mlp(4, 1)
mean = copy.deepcopy(net)
opt = torch.optim.SGD(net.parameters(), lr=0.1)
first = [p.detach().clone() for p in net.parameters()]
for _ in range(4):
    x, y = batch()
    learn(opt, F.mse_loss(net(x), y))
    with torch.no_grad():
        for m, p in zip(mean.parameters(), net.parameters()):
            m.copy_(0.9 * m + 0.1 * p)
            m.data = 0.5 * m.data + 0.5 * p.data
        print(sum((p - q).norm() for p, q in zip(net.parameters(), first)))
    mean.load_state_dict({name: 0.5 * value for name, value in net.state_dict().items()})
""",
    "a frozen encoder in evaluation mode": """
encoder, head = mlp(4, 4, nn.BatchNorm1d(8)), nn.Linear(4, 1)
net = nn.Sequential(encoder, head)
encoder.requires_grad_(False)
opt = torch.optim.SGD(head.parameters(), lr=0.1)
for epoch in range(2):
    net.train()
    encoder.eval()
    train(net, opt)
""",
    "players that are frozen in turn": """
gen, dis = mlp(3, 4, nn.BatchNorm1d(8)), mlp(4, 1, nn.BatchNorm1d(8))
og, od = torch.optim.Adam(gen.parameters(), 1e-3), torch.optim.Adam(dis.parameters(), 1e-3)
for _ in range(4):
    dis.requires_grad_(True)
    learn(od, (F.softplus(dis(gen(torch.randn(8, 3)).detach())) + F.softplus(-dis(torch.randn(8, 4)))).mean())
    dis.requires_grad_(False)
    learn(og, F.softplus(-dis(gen(torch.randn(8, 3)))).mean())
""",
    "a mean teacher with noise": """
student = mlp(4, 2, nn.Dropout(0.3), nn.BatchNorm1d(8))
teacher = copy.deepcopy(student).requires_grad_(False)
opt = torch.optim.Adam(student.parameters(), 1e-2)
for _ in range(4):
    x, _ = batch()
    learn(opt, F.mse_loss(student(x), teacher(x)) + student(x).square().mean())
    with torch.no_grad():
        for t, s in zip(teacher.parameters(), student.parameters()):
            t.lerp_(s, 0.1)
""",
    "dropout kept on to see how much results vary": """
net = mlp(4, 1, nn.Dropout(0.2))
opt = torch.optim.SGD(net.parameters(), lr=0.1)
train(net, opt)
net.eval()
for module in net.modules():
    if isinstance(module, nn.Dropout):
        module.train()
x, y = batch()
with torch.no_grad():
    print(torch.stack([net(x) for _ in range(5)]).std(0).mean().item())
""",
    "the best weights are kept, cloned": """
net = mlp(4, 1)
opt = torch.optim.SGD(net.parameters(), lr=0.1)
kept = {}
for epoch in range(3):
    train(net, opt, 3)
    if epoch == 0:
        kept = {name: p.detach().clone() for name, p in net.named_parameters()}
with torch.no_grad():
    for name, p in net.named_parameters():
        p.copy_(kept[name])
""",
    "a state that is loaded at once": """
net = mlp(4, 1)
opt = torch.optim.SGD(net.parameters(), lr=0.1)
train(net, opt)
other = mlp(4, 1)
other.load_state_dict(net.state_dict())
print(other(batch()[0]).mean().item())
train(net, opt)
""",
    "an average with its statistics": """
net = mlp(4, 1, nn.BatchNorm1d(8))
mean = torch.optim.swa_utils.AveragedModel(net, use_buffers=True)
opt = torch.optim.SGD(net.parameters(), lr=0.1)
for epoch in range(2):
    for _ in range(4):
        x, y = batch()
        learn(opt, F.mse_loss(net(3 + x), y))
        mean.update_parameters(net)
    mean.eval()
    with torch.no_grad():
        print(F.mse_loss(mean(3 + batch()[0]), batch()[1]).item())
""",
    "an average whose statistics are made anew": """
net = mlp(4, 1, nn.BatchNorm1d(8))
mean = torch.optim.swa_utils.AveragedModel(net)
opt = torch.optim.SGD(net.parameters(), lr=0.1)
for _ in range(4):
    x, y = batch()
    learn(opt, F.mse_loss(net(3 + x), y))
    mean.update_parameters(net)
torch.optim.swa_utils.update_bn([3 + batch()[0] for _ in range(3)], mean)
mean.eval()
with torch.no_grad():
    print(F.mse_loss(mean(3 + batch()[0]), batch()[1]).item())
""",
    "a target in training mode that follows by assignment": """
online, guess = mlp(4, 2, nn.BatchNorm1d(8)), nn.Linear(2, 2)
target = copy.deepcopy(online)
for p in target.parameters():
    p.requires_grad = False
opt = torch.optim.Adam([*online.parameters(), *guess.parameters()], 1e-2)
for _ in range(4):
    x, _ = batch()
    with torch.no_grad():
        goal = target(x)
    learn(opt, -F.cosine_similarity(guess(online(x + 0.1)), goal).mean())
    for t, o in zip(target.parameters(), online.parameters()):
        t.data = 0.99 * t.data + 0.01 * o.data
""",
    "slow and fast weights": """
net = mlp(4, 1)
slow = [p.detach().clone() for p in net.parameters()]
opt = torch.optim.SGD(net.parameters(), lr=0.1)
for n in range(6):
    x, y = batch()
    learn(opt, F.mse_loss(net(x), y))
    if n % 2:
        with torch.no_grad():
            for s, p in zip(slow, net.parameters()):
                s.lerp_(p, 0.5)
                p.copy_(s)
""",
    "two clients, averaged each round": """
clients = [mlp(4, 1), mlp(4, 1)]
opts = [torch.optim.SGD(net.parameters(), lr=0.1) for net in clients]
for _ in range(4):
    for net, opt in zip(clients, opts):
        train(net, opt, 2)
    with torch.no_grad():
        for a, b in zip(*(net.parameters() for net in clients)):
            mean = (a + b) / 2
            a.copy_(mean)
            b.copy_(mean)
""",
    "networks for one use each": """
images = (torch.randn(6, 4) * 0.1).requires_grad_()
opt = torch.optim.SGD([images], lr=0.1)
for _ in range(3):
    net, (x, y) = mlp(4, 1), batch()
    real = torch.autograd.grad(F.mse_loss(net(x), y), net.parameters())
    mine = torch.autograd.grad(net(images).square().mean(), net.parameters(), create_graph=True)
    learn(opt, sum((a - b).square().sum() for a, b in zip(real, mine)))
""",
}


@pytest.mark.parametrize("name", BUGS)
def test_the_line_is_named(judging: Judging, name: str) -> None:
    code, script = BUGS[name]
    judging.expect(code, "# culprit", START + script)


@pytest.mark.parametrize("name", HEALTHY)
def test_nothing_is_said_of_healthy_code(judging: Judging, name: str) -> None:
    assert loud(judging(START + HEALTHY[name])) == []
