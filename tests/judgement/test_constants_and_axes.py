"""Terms that are constants or switched off, axes of weights, gradients that were seen: bugs and healthy twins."""

from __future__ import annotations

import pytest

from tests.judgement.loops import NETS
from tests.judging import Judging, loud

PARTS = NETS + "from torch.autograd import Function\n"
MOMENTS = """
body, score, head = nn.Linear(3, 8), nn.Linear(8, 1), nn.Linear(8, 2)
opt = torch.optim.Adam([p for m in (body, score, head) for p in m.parameters()], 1e-2)
for _ in range(4):
    h = torch.tanh(body(torch.randn(6, 5, 3)))
    weights = score(h).softmax(dim={axis})  # culprit
    pooled = (weights * h).sum(dim=1)
    learn(opt, F.cross_entropy(head(pooled), torch.randint(2, (6,))))
"""
TERM = """
net, judge = mlp(4, 4), mlp(4, 2).requires_grad_(False)
opt = torch.optim.Adam(net.parameters(), 1e-2)
{mode}
def embed(x):
    return judge(x).square().mean()
for _ in range(4):
    x, _ = batch()
    out = net(x)
    learn(opt, F.mse_loss(out, x) + embed(out))
"""
PLAYERS = """
actor, critic = mlp(4, 2), mlp(6, 1)
opt_a, opt_c = torch.optim.Adam(actor.parameters(), 1e-2), torch.optim.Adam(critic.parameters(), 1e-2)
for _ in range(5):
    s, r = batch()
    a = torch.randn(8, 2)
    learn(opt_c, F.mse_loss(critic(torch.cat([s, a], 1)), r))
    learn(opt_a, -critic(torch.cat([s, {action}], 1)).mean())
"""

BUGS = {
    "weights shared out over the batch and summed over time": ("GS909", MOMENTS.replace("{axis}", "0")),
    "a term that went through a block without gradients": (
        "GS203",
        TERM.replace("{mode}", "@torch.no_grad()  # culprit"),
    ),
    "a detached term taken out as a number": (
        "GS212",
        """
net = mlp(4, 1)
opt = torch.optim.Adam(net.parameters(), 1e-2)
for _ in range(4):
    x, y = batch()
    out = net(x)
    smooth = out.diff(dim=0).abs().mean()
    smooth = smooth.detach().item()  # culprit
    learn(opt, F.mse_loss(out, y) + 0.5 * smooth)
""",
    ),
}


@pytest.mark.parametrize("what", BUGS)
def test_it_is_told_at_its_line(judging: Judging, what: str) -> None:
    code, script = BUGS[what]
    judging.expect(code, "# culprit", PARTS + script)


def test_a_term_times_zero_is_asked_about(judging: Judging) -> None:
    script = """
net, prior = mlp(4, 1), mlp(4, 1)
opt = torch.optim.Adam([*net.parameters(), *prior.parameters()], 1e-2)
for i in range(6):
    x, y = batch()
    loss = F.mse_loss(net(x), y)
    learn(opt, loss + (i // 100) * prior(x).square().mean())  # culprit
"""
    (finding,) = judging(PARTS + script)
    assert finding.code == "GS216"
    assert not loud([finding])
    assert "switched off on purpose?" in finding.explanation


STRAIGHT_THROUGH = """
class Router(nn.Module):
    def __init__(self):
        super().__init__()
        self.logits = nn.Linear(4, 3)
    def forward(self, x):
        soft = self.logits(x).softmax(-1)
        hard = F.one_hot(soft.argmax(-1), 3).float()
        return {gate}  # culprit
router, experts = Router(), nn.Linear(4, 3)
opt = torch.optim.Adam([*router.parameters(), *experts.parameters()], 1e-2)
for _ in range(4):
    x, y = batch()
    learn(opt, F.mse_loss((router(x) * experts(x)).sum(1, keepdim=True), y))
"""


def test_of_several_cuts_on_a_line_none_is_undone_by_guess(judging: Judging) -> None:
    """Without the first detach() the gradient has the wrong sign, without the second the right one."""
    gate = "(hard - soft).detach() + soft.detach()"
    found = judging.expect("GS202", "# culprit", PARTS + STRAIGHT_THROUGH.replace("{gate}", gate))
    assert not found.fixes
    assert "which one decides the sign" in found.fix


def test_numbers_that_were_put_away_are_told_where_a_tensor_is_made_of_them(judging: Judging) -> None:
    script = """
net, head = mlp(4, 3), nn.Linear(4, 1)
opt = torch.optim.Adam([*net.parameters(), *head.parameters()], 1e-2)
for _ in range(4):
    chances, kept, rewards = [], [], []
    for _ in range(5):
        x = torch.randn(4)
        chances.append(F.log_softmax(net(x), -1)[0])
        kept.append(head(x).item())
        rewards.append(float(len(kept)))
    returns = torch.tensor(rewards)
    values = torch.tensor(kept)  # culprit
    actor = -(torch.stack(chances) * (returns - values)).mean()
    learn(opt, actor + 0.5 * F.mse_loss(values, returns))
"""
    found = [one for one in judging(PARTS + script) if one.code in ("GS202", "GS203")]
    assert found
    assert all(judging.blames(one, "# culprit") for one in found)
    assert not any(one.fixes for one in found), "of numbers no stack can be made"
    assert "stack" not in " ".join(one.fix for one in found)


def test_where_a_library_spreads_the_row_is_given_the_column_axis(judging: Judging) -> None:
    """The mean and the scale are both columns: to squeeze one of them alone changes nothing."""
    script = """
from torch.distributions import Normal
body = nn.Linear(4, 2)
opt = torch.optim.Adam(body.parameters(), 1e-2)
for _ in range(4):
    x, y = batch()
    target = y.squeeze(-1)
    mean, scale = body(x).split(1, dim=1)
    learn(opt, -Normal(mean, F.softplus(scale)).log_prob(target).mean())  # culprit
"""
    found = judging.expect("GS901", "# culprit", PARTS + script)
    assert "target.unsqueeze(-1)" in found.fix
    assert not loud(judging(PARTS + script.replace("log_prob(target)", "log_prob(target.unsqueeze(-1))")))


HEALTHY = {
    "a choice that passes gradients straight through": STRAIGHT_THROUGH.replace(
        "{gate}", "hard + soft - soft.detach()"
    ),
    "weights shared out over time": MOMENTS.replace("{axis}", "1"),
    "shares of each token counted over the batch": """
gate, head = nn.Linear(4, 3), nn.Linear(3, 1)
opt = torch.optim.Adam([*gate.parameters(), *head.parameters()], 1e-2)
for _ in range(4):
    x, y = batch()
    shares = gate(x).softmax(-1)
    chosen = F.one_hot(shares.argmax(-1), 3).float()
    load = (shares * chosen).sum(0)
    learn(opt, F.mse_loss(head(shares), y) + 0.01 * load.square().sum())
""",
    "a frozen judge that passes gradients on": TERM.replace("{mode}", ""),
    "the user's own sign has a gradient": """
class Sign(Function):
    @staticmethod
    def forward(ctx, w):
        return w.sign()
    @staticmethod
    def backward(ctx, grad):
        return grad
net = nn.Linear(4, 1)
opt = torch.optim.SGD(net.parameters(), 0.01)
for _ in range(4):
    x, y = batch()
    learn(opt, F.mse_loss(F.linear(x, Sign.apply(net.weight), net.bias), y))
""",
    "what an actor's loss leaves in the critic is cleared": PLAYERS.replace("{action}", "actor(s)"),
}


@pytest.mark.parametrize("what", HEALTHY)
def test_nothing_is_wrong(judging: Judging, what: str) -> None:
    assert not loud(judging(PARTS + HEALTHY[what]))


def test_the_other_players_loss_is_not_lost_to_the_critic(judging: Judging) -> None:
    """The actor's loss forgot the actor; that the critic's clearing drops what it left there is right."""
    found = judging(PARTS + PLAYERS.replace("{action}", "a"))
    assert "GS502" not in {finding.code for finding in found}
