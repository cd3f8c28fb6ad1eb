"""Values that go wrong without a word, and healthy code that looks like it."""

from __future__ import annotations

import pytest

from tests.judgement.loops import NETS
from tests.judging import Judging, loud

BUGS = {
    "weights of samples meet all samples": (
        "GS901",
        """
net = mlp(4, 1)
opt = torch.optim.SGD(net.parameters(), lr=0.1)
for _ in range(4):
    x, y = batch()
    error = (net(x) - y).square().flatten()
    weight = torch.exp(-y)
    learn(opt, (weight * error).mean())  # culprit
""",
    ),
    "the advantage of each action over all values": (
        "GS901",
        """
policy, value = mlp(4, 3), mlp(4, 1)
opt = torch.optim.Adam([*policy.parameters(), *value.parameters()], 1e-2)
for _ in range(4):
    s, _ = batch()
    gain, action = s.sum(1), torch.randint(0, 3, (8,))
    with torch.no_grad():
        edge = gain - value(s)  # culprit
    score = F.log_softmax(policy(s), 1).gather(1, action[:, None]).squeeze(1)
    learn(opt, -(score * edge).mean() + F.mse_loss(value(s).squeeze(1), gain))
""",
    ),
    "a row without any partner": (
        "GS801",
        """
net = nn.Linear(4, 4)
opt = torch.optim.SGD(net.parameters(), lr=0.1)
for _ in range(3):
    x, _ = batch()
    open_ = torch.rand(8, 8) > 0.2
    open_[3] = False
    near = torch.where(open_, net(x) @ x.T, -torch.inf).softmax(1)  # culprit
    out = torch.where(open_.any(1, keepdim=True), near @ net(x), 0.0)
    learn(opt, out.square().mean())
""",
    ),
    "labels that are missing are masked after the loss": (
        "GS802",
        """
net = mlp(4, 1)
opt = torch.optim.SGD(net.parameters(), lr=0.1)
labels = torch.tensor([[1.0], [float("nan")]]).repeat(4, 1)
for _ in range(3):
    x, _ = batch()
    each = (net(x) - labels).square()  # culprit
    learn(opt, torch.where(labels.isnan(), torch.zeros(()), each).mean())
""",
    ),
    "statistics move between forward and backward": (
        "GS153",
        """
net = mlp(4, 2, nn.BatchNorm1d(8))
opt = torch.optim.SGD(net.parameters(), lr=0.1)
for _ in range(3):
    x, _ = batch()
    net.eval()
    still = net(x)
    net.train()
    loss = F.mse_loss(net(x + 0.1), still)  # culprit
    learn(opt, loss)
""",
    ),
    "one score for many classes": (
        "GS215",
        """
net = mlp(4, 1)
opt = torch.optim.SGD(net.parameters(), lr=0.1)
for _ in range(4):
    x, y = batch()
    loss = F.cross_entropy(net(x), (y > 0).float())  # culprit
    learn(opt, loss)
""",
    ),
    "a loss that is clamped away": (
        "GS215",
        """
net = mlp(4, 1)
opt = torch.optim.SGD(net.parameters(), lr=0.1)
for _ in range(4):
    x, y = batch()
    gap = (net(x) - y).square().mean()
    loss = torch.clamp(gap, max=1e-3)  # culprit
    learn(opt, loss)
""",
    ),
}

HEALTHY = {
    "all pairs, on purpose": """
net = mlp(4, 1)
opt = torch.optim.SGD(net.parameters(), lr=0.1)
for _ in range(4):
    x, y = batch()
    score, rank = net(x).squeeze(1), y.squeeze(1)
    wrong = (score[:, None] - score) * (rank[:, None] - rank)
    learn(opt, F.softplus(-wrong).mean())
""",
    "a column that is weighed by row": """
net = mlp(4, 1)
opt = torch.optim.SGD(net.parameters(), lr=0.1)
for _ in range(4):
    x, y = batch()
    learn(opt, ((net(x) - y) * torch.rand(1)).square().mean())
""",
    "an attention with a mask for the future": """
net = nn.Linear(4, 4)
opt = torch.optim.SGD(net.parameters(), lr=0.1)
for _ in range(3):
    x, _ = batch()
    near = (net(x) @ x.T).masked_fill(torch.ones(8, 8).triu(1).bool(), -torch.inf).softmax(1)
    learn(opt, (near @ net(x)).square().mean())
""",
    "heads side by side, as long as wide": """
qkv, out = nn.Linear(8, 24), nn.Linear(8, 8)
opt = torch.optim.SGD([*qkv.parameters(), *out.parameters()], lr=0.1)
for _ in range(3):
    x = torch.randn(2, 8, 8)
    q, k, v = (part.view(2, 8, 2, 4).transpose(1, 2) for part in qkv(x).chunk(3, 2))
    y = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(2, 8, 8)
    learn(opt, out(y).square().mean())
""",
    "one sequence through a cell": """
cell = nn.GRUCell(4, 4)
state = torch.zeros(1, 4)
for part in torch.randn(6, 1, 4):
    state = cell(part, state)
print(state.shape)
""",
    "a derivative that is checked by numbers": """
class Cube(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x ** 3
    @staticmethod
    def backward(ctx, g):
        x, = ctx.saved_tensors
        return 3 * x ** 2 * g
x = torch.randn(3, 2, dtype=torch.double, requires_grad=True)
print(torch.autograd.gradcheck(Cube.apply, (x,)))
""",
    "twin critics beside an actor": """
actor = nn.Linear(4, 2)
oa = torch.optim.Adam(actor.parameters(), 1e-2)
class Twins(nn.Module):
    def __init__(self):
        super().__init__()
        for n in "ab":
            self.add_module(n, mlp(6, 1))
    def forward(self, x):
        return self.a(x), self.b(x)
critics = Twins()
oc = torch.optim.Adam(critics.parameters(), 1e-2)
for _ in range(4):
    s, y = batch()
    one, two = critics(torch.cat([s, torch.rand(8, 2)], 1))
    learn(oc, F.mse_loss(one, y) + F.mse_loss(two, y))
    learn(oa, -torch.min(*critics(torch.cat([s, actor(s)], 1))).mean())
""",
    "a batch norm in both modes, each with its backward": """
net = mlp(4, 2, nn.BatchNorm1d(8))
opt = torch.optim.SGD(net.parameters(), lr=0.1)
for _ in range(3):
    x, _ = batch()
    net.eval()
    with torch.no_grad():
        still = net(x)
    net.train()
    learn(opt, F.mse_loss(net(x + 0.1), still))
""",
    "zeros in the first step alone": """
base, a, b = nn.Linear(4, 1).requires_grad_(False), nn.Linear(4, 2, bias=False), nn.Linear(2, 1, bias=False)
nn.init.zeros_(b.weight)
opt = torch.optim.SGD([*a.parameters(), *b.parameters()], lr=0.1)
for _ in range(4):
    x, y = batch()
    learn(opt, F.mse_loss(base(x) + b(a(x)), y))
""",
    "an advantage that is detached as a whole": """
body, policy, value = nn.Linear(4, 8), nn.Linear(8, 3), nn.Linear(8, 1)
opt = torch.optim.Adam([*body.parameters(), *policy.parameters(), *value.parameters()], 1e-2)
def worth(s):
    return value(body(s).relu())
for _ in range(4):
    s, gain = batch()
    later, action = torch.randn(8, 4), torch.randint(0, 3, (8, 1))
    target = gain + 0.9 * worth(later)
    edge = target - worth(s)
    chosen = policy(body(s).relu()).softmax(1).gather(1, action)
    learn(opt, (-chosen.log() * edge.detach() + F.smooth_l1_loss(worth(s), target.detach())).mean())
""",
    "a target network that is copied, and whose gradients nobody reads": """
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body, self.out = nn.Linear(4, 8), nn.Linear(8, 2)

    def forward(self, x):
        return self.out(self.body(x).relu())

online, target = Net(), Net()
target.load_state_dict(online.state_dict())
opt = torch.optim.Adam(online.parameters(), 1e-2)
for epoch in range(3):
    for _ in range(4):
        x, gain = batch()
        best = gain + 0.9 * target(torch.randn(8, 4)).max(1, keepdim=True)[0]
        learn(opt, F.smooth_l1_loss(online(x).gather(1, torch.randint(0, 2, (8, 1))), best))
    target.load_state_dict(online.state_dict())
""",
    "a policy that acts with gradients on, one variable for all its acts": """
policy = mlp(4, 2)
opt = torch.optim.Adam(policy.parameters(), 1e-2)
for episode in range(4):
    rows = []
    for t in range(5):
        s = torch.randn(4)
        chances = policy(s).softmax(0)
        act = torch.distributions.Categorical(chances).sample().item()
        rows.append((s, act, chances[act].item()))
    s, act = torch.stack([row[0] for row in rows]), torch.tensor([row[1] for row in rows])
    for _ in range(2):
        learn(opt, -policy(s).log_softmax(1).gather(1, act[:, None]).mean())
""",
    "small weights under an optimizer that makes up for them": """
net = nn.Sequential(*[layer for _ in range(7) for layer in (nn.Linear(32, 32), nn.LeakyReLU(0.2))], nn.Linear(32, 1))
for layer in net:
    if isinstance(layer, nn.Linear):
        nn.init.normal_(layer.weight, 0.0, 0.06)
opt = torch.optim.Adam(net.parameters(), 2e-4)
for _ in range(4):
    learn(opt, (net(torch.randn(16, 32)) - 1).square().mean())
""",
    "windows of a sequence, each sequence from a learned state": """
cell, out = nn.GRUCell(1, 6), nn.Linear(6, 1)
first = nn.Parameter(torch.zeros(1, 6))
opt = torch.optim.Adam([first, *cell.parameters(), *out.parameters()], 1e-2)
for epoch in range(4):
    sequence = torch.randn(8, 12)
    h = first.expand(8, -1)
    for begin in range(0, 12, 3):
        loss = 0.0
        for t in range(begin, begin + 3):
            h = cell(sequence[:, t : t + 1], h)
            loss = loss + out(h).square().mean()
        learn(opt, loss)
        h = h.detach()
""",
    "the mean of a row and a column, added": """
net, judge = mlp(4, 4), mlp(4, 1).requires_grad_(False)
opt = torch.optim.Adam(net.parameters(), 1e-2)
for _ in range(4):
    x, _ = batch()
    error = (net(x) - x).square().sum(1)
    learn(opt, torch.mean(0.1 * error + 0.2 * F.softplus(-judge(net(x)))))
""",
    "two judges in turn, whose graphs are kept for a while": """
def deep(o):
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, o), nn.Sigmoid())
make, fake, real = deep(4), deep(1), deep(1)
opts = [torch.optim.Adam(net.parameters(), 1e-3) for net in (make, fake, real)]
def clear():
    for opt in opts:
        opt.zero_grad()
for _ in range(6):
    for _ in range(3):
        x, _ = batch()
        made = make(x)
        wrong, right = fake(made), fake(x)
        loss = wrong.mean() - right.mean()
        loss.backward(retain_graph=True)
        opts[1].step()
        clear()
        other = real(x).mean() - real(make(torch.randn(8, 4))).mean()
        other.backward()
        opts[2].step()
        clear()
    learn(opts[0], -fake(make(torch.randn(8, 4))).mean())
""",
    "scores of attention that begin small, beside the values": """
class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.q = nn.Sequential(nn.Linear(16, 4), nn.Linear(4, 16))
        self.k, self.v = nn.Linear(16, 16), nn.Linear(16, 16)
        for layer in (*self.q, self.k):
            nn.init.normal_(layer.weight, 0.0, 1e-3)

    def forward(self, x):
        return x + (self.q(x) @ self.k(x).transpose(1, 2)).softmax(-1) @ self.v(x)

layers = [layer for _ in range(5) for layer in (nn.Linear(16, 16), nn.ReLU())]
net = nn.Sequential(Attention(), *layers, nn.Linear(16, 1))
opt = torch.optim.SGD(net.parameters(), lr=0.1)
for _ in range(4):
    learn(opt, (net(torch.randn(4, 6, 16)) - 1).square().mean())
""",
    "an action that a buffer scales, twice": """
class Actor(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Linear(4, 2)
        self.register_buffer("reach", torch.tensor([2.0]))

    def forward(self, x):
        return self.net(x).tanh() * self.reach

actor, critic = Actor(), nn.Linear(6, 1)
opt = torch.optim.Adam(actor.parameters(), 1e-2)
critic.requires_grad_(False)
for _ in range(4):
    x, _ = batch()
    act = actor(x)
    limited = act.clamp(-1, 1) * actor.reach
    learn(opt, -critic(torch.cat([x, limited], 1)).mean())
""",
}


@pytest.mark.parametrize("name", BUGS)
def test_the_line_is_named(judging: Judging, name: str) -> None:
    code, script = BUGS[name]
    judging.expect(code, "# culprit", NETS + script)


@pytest.mark.parametrize("name", HEALTHY)
def test_nothing_is_said_of_healthy_code(judging: Judging, name: str) -> None:
    assert loud(judging(NETS + HEALTHY[name])) == []


def test_what_a_library_does_with_its_results_is_its_own(judging: Judging) -> None:
    script = (
        NETS
        + """
import pathlib, sys
folder = pathlib.Path("site-packages")
folder.mkdir(exist_ok=True)
(folder / "loglib.py").write_text("def log(x):\\n    x.clone()\\n    x.detach()\\n    return x / 2\\n")
sys.path.insert(0, str(folder))
import loglib

net = mlp(4, 1)
opt = torch.optim.SGD(net.parameters(), lr=0.1)
for _ in range(4):
    x, y = batch()
    loss = F.mse_loss(net(x), y)
    loglib.log(loss)
    learn(opt, loss)
"""
    )
    assert loud(judging(script)) == []
