"""GS101, GS401, GS403: a backward that meets what another one freed. The cause is where the value came in, or was kept.

Each bug has a twin that is repaired at the culprit: the text before `->` is replaced by the one after it.
"""

from __future__ import annotations

import textwrap

import pytest

from tests.judging import Judging, loud

HEAD = """
from collections import deque

import torch
import torch.nn.functional as F
from torch import nn

torch.manual_seed(0)


def adam(*modules):
    return torch.optim.Adam([p for m in modules for p in m.parameters()], lr=1e-3)


"""

TRESPASSING = {
    "a discriminator of codes that steps before the autoencoder": (
        """
        class Critic(nn.Module):
            def __init__(self):
                super().__init__()
                self.body = nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 1))

            def forward(self, z):
                return self.body(z.flatten(1))

        encode, decode, critic = nn.Sequential(nn.Linear(6, 3), nn.Tanh()), nn.Linear(3, 6), Critic()
        auto, judge = adam(encode, decode), adam(critic)

        def judged(z):
            real, fake = critic(torch.randn(4, 3)), critic(z)  # culprit
            return F.softplus(-real).mean() + F.softplus(fake).mean()

        for _ in range(3):
            x = torch.randn(4, 6)
            z = encode(x)
            auto.zero_grad(); judge.zero_grad()
            judged(z).backward()
            judge.step()
            (F.mse_loss(decode(z), x) + F.softplus(-critic(z)).mean()).backward()
            auto.step()
        """,
        ("critic(z)  # culprit", "critic(z.detach())"),
        "z",
    ),
    "a reward head on a latent of the world model": (
        """
        world, reward = nn.GRUCell(4, 6), nn.Linear(6, 1)
        decoder = nn.Linear(6, 4)
        opts = {"world": adam(world, decoder), "reward": adam(reward)}

        def update(loss, which):
            opts[which].zero_grad()
            loss.backward()
            opts[which].step()

        for _ in range(3):
            seen, r = torch.randn(5, 4), torch.randn(5, 1)
            latent = torch.tanh(world(seen, torch.zeros(5, 6)))
            update((decoder(latent) - seen).square().mean(), "world")
            guess = reward(latent)  # culprit
            update((guess - r).square().mean(), "reward")
        """,
        ("reward(latent)", "reward(latent.detach())"),
        "latent",
    ),
    "a baseline kept in a batch": (
        """
        policy, value = nn.Linear(3, 2), nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1))
        policy_opt, value_opt = adam(policy), adam(value)
        for _ in range(3):
            batch = {"obs": torch.randn(7, 3), "ret": torch.randn(7), "act": torch.randint(0, 2, (7,))}
            batch["value"] = value(batch["obs"]).squeeze(-1)
            logp = policy(batch["obs"]).log_softmax(-1)[torch.arange(7), batch["act"]]
            gain = batch["ret"] - batch["value"].square()  # culprit
            pg_loss = -torch.mean(logp * gain)
            v_loss = F.smooth_l1_loss(batch["value"].square(), batch["ret"])
            policy_opt.zero_grad()
            pg_loss.backward()
            policy_opt.step()
            value_opt.zero_grad()
            v_loss.backward()
            value_opt.step()
        """,
        ('- batch["value"].square()  # culprit', '- batch["value"].square().detach()'),
        'batch["value"]',
    ),
    "a probe trained on features, cleared through the module": (
        """
        net, probe = nn.Sequential(nn.Linear(4, 8), nn.ELU(), nn.Linear(8, 8), nn.Tanh()), nn.Linear(8, 2)
        head = nn.Linear(8, 3)
        main, side = adam(net, head), adam(probe)
        for _ in range(2):
            feats = net(torch.randn(6, 4))
            task = F.cross_entropy(head(feats), torch.randint(0, 3, (6,)))
            leak = F.cross_entropy(probe(feats), torch.randint(0, 2, (6,)))  # culprit
            for opt, loss in ((main, task), (side, leak)):
                opt.zero_grad()
                loss.backward()
                opt.step()
        """,
        ("probe(feats)", "probe(feats.detach())"),
        "feats",
    ),
}


@pytest.mark.parametrize("name", TRESPASSING)
def test_a_loss_that_enters_the_other_players_graph(judging: Judging, name: str) -> None:
    text, (wrong, right), value = TRESPASSING[name]
    script = HEAD.lstrip() + textwrap.dedent(text)
    found = judging.expect("GS403", "# culprit", script)
    assert found.message.startswith(f"{value} is not detached"), found.message
    assert ".detach()" in found.fix
    assert not loud(judging(script.replace(wrong, right)))


def test_losses_of_one_optimizer_are_added(judging: Judging) -> None:
    """No player goes where it should not: both train the encoder."""
    script = """
        body, one, two = nn.Sequential(nn.Linear(4, 5), nn.Tanh()), nn.Linear(5, 1), nn.Linear(5, 1)
        opt = adam(body, one, two)
        h = body(torch.randn(3, 4)).exp()
        first, second = one(h).mean(), two(h).square().mean()
        first.backward()
        second.backward()  # culprit
        opt.step()
    """
    found = judging.expect("GS403", "# culprit", HEAD.lstrip() + textwrap.dedent(script))
    assert "(first + second).backward()" in found.fix


def test_losses_of_one_line_are_told_apart(judging: Judging) -> None:
    script = """
        body, one, two = nn.Sequential(nn.Linear(4, 5), nn.Tanh()), nn.Linear(5, 1), nn.Linear(5, 1)
        h = body(torch.randn(3, 4)).exp()

        def back(head):
            loss = head(h).mean()
            loss.backward()  # culprit

        back(one)
        back(two)
    """
    found = judging.expect("GS403", "# culprit", HEAD.lstrip() + textwrap.dedent(script))
    assert "second time" not in found.message
    assert "loss + loss" not in found.fix


KEPT = {
    "log-probs in a deque, remembered by a method": (
        """
        class Agent:
            def __init__(self):
                self.net, self.past = nn.Linear(3, 2), deque(maxlen=50)
                self.opt = adam(self.net)

            def act(self, obs):
                dist = torch.distributions.Categorical(logits=self.net(obs))
                choice = dist.sample()
                logp = dist.log_prob(choice)
                self.past.append(logp)  # culprit
                return choice

            def learn(self):
                loss = -sum(self.past)
                self.opt.zero_grad()
                loss.backward()
                self.opt.step()

        agent = Agent()
        for _ in range(3):
            for _ in range(2):
                agent.act(torch.randn(3))
            agent.learn()
        """,
        ("self.opt.step()", "self.opt.step(); self.past.clear()"),
        "self.past",
    ),
    "losses in a list of the module": (
        """
        losses = []
        net = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1))
        opt = adam(net)

        def collect(x):
            losses.append(net(x).square().mean())  # culprit

        for _ in range(3):
            collect(torch.randn(2, 3))
            collect(torch.randn(2, 3))
            opt.zero_grad()
            torch.stack(losses).mean().backward()
            opt.step()
        """,
        ("opt.step()", "opt.step(); losses.clear()"),
        "losses",
    ),
}


@pytest.mark.parametrize("name", KEPT)
def test_what_a_container_still_holds(judging: Judging, name: str) -> None:
    text, (wrong, right), holder = KEPT[name]
    script = HEAD.lstrip() + textwrap.dedent(text)
    found = judging.expect("GS401", "# culprit", script)
    assert found.message.startswith(f"{holder} still holds")
    assert f"{holder}.clear()" in found.fix
    assert not loud(judging(script.replace(wrong, right)))


def test_a_container_is_named_without_full_detail(judging: Judging) -> None:
    script = HEAD.lstrip() + textwrap.dedent(KEPT["losses in a list of the module"][0])
    judging.expect("GS401", "# culprit", script, detail="graph")


def test_a_step_between_losses_of_an_earlier_step(judging: Judging) -> None:
    """With retain_graph nothing was freed; the weights are what changed."""
    script = """
        body = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 5), nn.Tanh())
        heads = {"a": nn.Linear(5, 1), "b": nn.Linear(5, 1)}
        opts = {name: adam(body, head) for name, head in heads.items()}
        h = body(torch.randn(3, 4))
        losses = {name: head(h).mean() for name, head in heads.items()}
        for name in losses:
            opts[name].zero_grad()
            losses[name].backward(retain_graph=True)
            opts[name].step()  # culprit
    """
    text = HEAD.lstrip() + textwrap.dedent(script)
    found = judging.expect("GS101", "# culprit", text)
    assert "freed" not in found.message + found.explanation
    healed = text.replace("    opts[name].step()  # culprit", "") + "for name in losses: opts[name].step()\n"
    assert not loud(judging(healed))


@pytest.mark.parametrize("begin", ["for _ in range(3):\n", "if True:\n"], ids=["each step", "once"])
def test_losses_of_one_value_in_a_loop_belong_together(judging: Judging, begin: str) -> None:
    script = HEAD + """
body, heads = nn.Linear(4, 8), nn.ModuleList(nn.Linear(8, 1) for _ in range(3))
opt = adam(body, heads)
""" + begin + """
    h = torch.tanh(body(torch.randn(6, 4)))
    opt.zero_grad()
    for head in heads:
        loss = (head(h) - 1).square().mean()
        loss.backward()  # culprit
    opt.step()
"""  # fmt: skip
    found = judging.expect("GS403", "# culprit", script)
    assert "graph of h" in found.message
    assert "retain_graph=True" in found.fixes[0].code
    assert not loud(judging(script.replace("loss.backward()", "loss.backward(retain_graph=True)")))


@pytest.mark.parametrize(
    ("then", "keyword"),
    [("(out + g.norm()).backward()", "create_graph"), ("out.backward()", "retain_graph")],
    ids=["its gradients are part of the loss", "the loss alone"],
)
def test_a_graph_that_autograd_grad_freed(judging: Judging, then: str, keyword: str) -> None:
    script = (
        HEAD
        + f"""
net = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1))
x = torch.randn(2, 3, requires_grad=True)
out = net(x).mean()
(g,) = torch.autograd.grad(out, x)  # culprit
{then}
"""
    )
    found = judging.expect("GS403", "# culprit", script)
    assert f"{keyword}=True" in found.fixes[0].code
    assert not loud(judging(script.replace("grad(out, x)", f"grad(out, x, {keyword}=True)")))
