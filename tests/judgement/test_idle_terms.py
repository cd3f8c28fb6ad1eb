"""Terms of a loss that train nothing, and gradient estimators put together wrongly: bugs and healthy twins."""

from __future__ import annotations

import pytest

from tests.judgement.loops import NETS
from tests.judging import Judging, loud

PARTS = (
    NETS
    + """
from torch.distributions import Categorical, Normal, kl_divergence
def adam(*nets):
    return torch.optim.Adam([p for net in nets for p in net.parameters()], 1e-2)
"""
)

BUGS = {
    "the feature term goes through no_grad": (
        "GS208",
        """
net, judge = mlp(4, 4), mlp(4, 2)
opt = adam(net)
def features(x):
    with torch.no_grad():  # culprit
        x = x * 2
    return judge(x)
for _ in range(4):
    x, _ = batch()
    out = net(x)
    learn(opt, F.mse_loss(out, x) + features(out).pow(2).mean())
""",
    ),
    "the perceptual part is given numbers": (
        "GS208",
        """
class Trainer:
    def __init__(self):
        self.g, self.d = mlp(3, 4), mlp(4, 1)
        self.og, self.od = adam(self.g), adam(self.d)
    def step(self):
        fake, real = self.g(torch.randn(8, 3)), torch.randn(8, 4)
        learn(self.od, (self.d(fake.detach()) - self.d(real)).mean())
        fool = F.softplus(-self.d(fake.data)).mean()  # culprit
        learn(self.og, 0.1 * fool + (fake - real).square().mean())
trainer = Trainer()
for _ in range(4):
    trainer.step()
""",
    ),
    "a penalty is left out of the sum": (
        "GS210",
        """
net = mlp(4, 1)
opt = adam(net)
def smooth(x):
    x = x.clone().requires_grad_()
    slope, = torch.autograd.grad(net(x).sum(), x, create_graph=True)
    return slope.square().sum()
for _ in range(4):
    x, y = batch()
    extra = smooth(x)  # culprit
    loss = F.mse_loss(net(x), y)
    learn(opt, loss)
    print(f"{extra.item():.3f}")
""",
    ),
    "an auxiliary loss that nobody adds": (
        "GS210",
        """
body, a, b = mlp(4, 4), nn.Linear(4, 1), nn.Linear(4, 1)
opt = adam(body, a, b)
for _ in range(4):
    x, y = batch()
    h = body(x)
    aux = F.l1_loss(b(h), -y)  # culprit
    learn(opt, F.mse_loss(a(h), y))
""",
    ),
    "the last task overwrites the others": (
        "GS210",
        """
heads = nn.ModuleList([nn.Linear(4, 1) for _ in range(3)])
opt = adam(heads)
for _ in range(4):
    x, y = batch()
    for n, head in enumerate(heads):
        loss = F.mse_loss(head(x), n * y)  # culprit
    learn(opt, loss)
""",
    ),
    "a regulariser enters as a float": (
        "GS212",
        """
net = mlp(4, 1)
opt = adam(net)
for _ in range(4):
    x, y = batch()
    size = sum(float(p.abs().sum()) for p in net[:1].parameters() if p.dim() > 1)  # culprit
    learn(opt, F.mse_loss(net(x), y) + 1e-2 * size)
""",
    ),
    "the codebook is trained by the straight-through result": (
        "GS213",
        """
enc, dec, codes = nn.Linear(4, 2), nn.Linear(2, 4), nn.Parameter(torch.randn(5, 2))
opt = torch.optim.Adam([*enc.parameters(), *dec.parameters(), codes], 1e-2)
for _ in range(4):
    x, _ = batch()
    z = enc(x)
    near = codes[(z[:, None] - codes).square().sum(-1).argmin(1)]
    quantized = (near - z).detach() + z
    loss = F.mse_loss(dec(quantized), x) + (z - near.detach()).square().mean()
    learn(opt, loss + F.mse_loss(quantized, z.detach()))  # culprit
""",
    ),
    "a latent code is drawn without its gradient": (
        "GS214",
        """
enc, dec = mlp(4, 4), mlp(2, 4)
opt = adam(enc, dec)
def posterior(x):
    mean, log = enc(x).chunk(2, 1)
    return Normal(mean, log.exp())
for _ in range(4):
    x, _ = batch()
    q = posterior(x)
    z = q.sample()  # culprit
    learn(opt, F.mse_loss(dec(z), x) + 0.1 * kl_divergence(q, Normal(0., 1.)).sum(1).mean())
""",
    ),
    "the baseline is pushed by the policy": (
        "GS413",
        """
policy, critic = mlp(4, 3), mlp(4, 1)
opt = adam(policy, critic)
for _ in range(4):
    s, _ = batch()
    pi, value = Categorical(logits=policy(s)), critic(s).flatten()
    action = pi.sample()
    gain = action.float() - s.sum(1)
    edge = gain - value
    actor = -(pi.log_prob(action) * edge).mean()  # culprit
    learn(opt, actor + 0.5 * F.smooth_l1_loss(value, gain))
""",
    ),
    "the next value of the episode learns, too": (
        "GS411",
        """
critic = mlp(4, 1)
opt = adam(critic)
for _ in range(4):
    s = torch.randn(9, 4)
    v, reward = critic(s).squeeze(1), s[:-1].sum(1)
    error = reward + 0.9 * v[1:] - v[:-1]  # culprit
    learn(opt, error.square().mean())
""",
    ),
}

HEALTHY = {
    "the feature term goes through a frozen judge": """
net, judge = mlp(4, 4), mlp(4, 2).requires_grad_(False)
opt = adam(net)
for _ in range(4):
    x, _ = batch()
    out = net(x)
    learn(opt, F.mse_loss(out, x) + (judge(out) - judge(x.detach())).pow(2).mean())
""",
    "numbers that are only printed": """
net = mlp(4, 1)
opt = adam(net)
best = float("inf")
for _ in range(4):
    x, y = batch()
    out = net(x)
    loss = F.mse_loss(out, y)
    error = (out - y).abs().mean()
    print(error.item(), out.norm().detach(), out.std())
    best = min(best, error.item())
    learn(opt, loss)
""",
    "a weight that is computed from a value": """
net, head = mlp(4, 2), mlp(4, 1)
opt = adam(net, head)
for _ in range(4):
    x, y = batch()
    one, two = F.mse_loss(net(x)[:, :1], y), F.mse_loss(head(x), y)
    ratio = (one / two).item()
    learn(opt, one + ratio * two)
""",
    "a vector-quantised autoencoder": """
enc, dec, codes = nn.Linear(4, 2), nn.Linear(2, 4), nn.Parameter(torch.randn(5, 2))
opt = torch.optim.Adam([*enc.parameters(), *dec.parameters(), codes], 1e-2)
for _ in range(4):
    x, _ = batch()
    z = enc(x)
    near = codes[(z[:, None] - codes).square().sum(-1).argmin(1)]
    quantized = z + (near - z).detach()
    loss = F.mse_loss(dec(quantized), x) + (z - near.detach()).square().mean()
    learn(opt, loss + F.mse_loss(near, z.detach()))
""",
    "a variational autoencoder": """
enc, dec = mlp(4, 4), mlp(2, 4)
opt = adam(enc, dec)
for _ in range(4):
    x, _ = batch()
    mean, log = enc(x).chunk(2, 1)
    q = Normal(mean, log.exp())
    learn(opt, F.mse_loss(dec(q.rsample()), x) + 0.1 * kl_divergence(q, Normal(0., 1.)).sum(1).mean())
""",
    "a policy gradient with a baseline": """
policy, critic = mlp(4, 3), mlp(4, 1)
opt = adam(policy, critic)
for _ in range(4):
    s, _ = batch()
    pi, value = Categorical(logits=policy(s)), critic(s).flatten()
    action = pi.sample()
    gain = action.float() - s.sum(1)
    edge = (gain - value).detach()
    actor = -(pi.log_prob(action) * edge).mean() - 0.01 * pi.entropy().mean()
    learn(opt, actor + 0.5 * F.smooth_l1_loss(value, gain))
""",
    "a continuous policy, and a model of the world": """
policy, world = mlp(4, 2), mlp(5, 4)
opt = adam(policy, world)
for _ in range(4):
    s, y = batch()
    mean, log = policy(s).chunk(2, 1)
    pi = Normal(mean, log.exp())
    action = pi.sample()
    after = world(torch.cat([s, action], 1))
    gain = -after.detach().square().mean(1, keepdim=True)
    learn(opt, F.mse_loss(after, s + action) - (pi.log_prob(action) * gain).mean())
""",
    "temporal differences, and a smooth curve": """
critic, curve = mlp(4, 1), nn.Parameter(torch.randn(9))
opt = torch.optim.Adam([*critic.parameters(), curve], 1e-2)
for _ in range(4):
    s = torch.randn(9, 4)
    v, reward = critic(s).squeeze(1), s[:-1].sum(1)
    error = reward + 0.9 * v[1:].detach() - v[:-1]
    learn(opt, error.square().mean() + (curve[1:] - 0.9 * curve[:-1]).square().mean())
""",
    "losses added up in a loop": """
heads = nn.ModuleList([nn.Linear(4, 1) for _ in range(3)])
opt = adam(heads)
for _ in range(4):
    x, y = batch()
    total = 0.0
    for n, head in enumerate(heads):
        loss = F.mse_loss(head(x), n * y)
        total = total + loss
    learn(opt, total)
""",
    "losses with a backward each": """
heads = nn.ModuleList([nn.Linear(4, 1) for _ in range(3)])
opt = adam(heads)
for _ in range(4):
    x, y = batch()
    opt.zero_grad()
    for n, head in enumerate(heads):
        loss = F.mse_loss(head(x), n * y)
        loss.backward()
    opt.step()
""",
}


@pytest.mark.parametrize("name", BUGS)
def test_the_line_is_named(judging: Judging, name: str) -> None:
    code, script = BUGS[name]
    judging.expect(code, "# culprit", PARTS + script)


@pytest.mark.parametrize("name", HEALTHY)
def test_nothing_is_said_of_healthy_code(judging: Judging, name: str) -> None:
    assert loud(judging(PARTS + HEALTHY[name])) == []


def test_a_number_that_is_added_is_told_once(judging: Judging) -> None:
    script = """
net = mlp(4, 1)
opt = adam(net)
for _ in range(4):
    x, y = batch()
    out = net(x)
    near_zero = F.mse_loss(out, torch.zeros_like(out)).item()
    learn(opt, F.mse_loss(out, y) + near_zero)
"""
    assert [one.code for one in judging(PARTS + script)] == ["GS212"]
