"""Gradient paths that are cut: each cause in several shapes, and the healthy code that looks like it."""

from __future__ import annotations

import textwrap

import pytest

from gradscope.model.findings import Severity
from tests.judgement.loops import BATCHES
from tests.judging import Judging, loud

HEAD = (
    BATCHES
    + """
import numpy as np
from dataclasses import dataclass
from torch.utils.checkpoint import checkpoint


def fit(model, loss_of, n=4):
    opt = torch.optim.SGD(model.parameters(), lr=0.1)
    for x, y in batches(n):
        opt.zero_grad()
        loss_of(model, x, y).backward()
        opt.step()


"""
)


def script(text: str) -> str:
    return HEAD.lstrip() + textwrap.dedent(text)


BUGS = {
    # name: (code of the first finding, script, what the message says)
    "argmax in a metric": (
        "GS201",
        """
        def wrong(model, x, y):
            guess = torch.argmax(model(x), dim=-1)  # culprit
            return (guess != y).to(torch.float32).mean()

        fit(nn.Linear(6, 3), wrong)
        """,
        "argmax",
    ),
    "topk indices in a comprehension": (
        "GS201",
        """
        def wrong(model, x, y):
            best = [row.topk(1).indices for row in model(x)]  # culprit
            return (torch.cat(best) - y).float().abs().mean()

        fit(nn.Linear(6, 3), wrong)
        """,
        "topk",
    ),
    "gradients switched off by an evaluation and never on again": (
        "GS201",
        """
        def evaluate(model):
            torch.set_grad_enabled(False)  # culprit
            return sum(model(x).sum().item() for x, _ in batches(2))

        model = nn.Linear(6, 3)
        evaluate(model)
        try:
            fit(model, lambda m, x, y: F.cross_entropy(m(x), y))
        finally:
            torch.set_grad_enabled(True)
        """,
        "linear",
    ),
    "a decorated forward": (
        "GS201",
        """
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.lin = nn.Linear(6, 3)

            @torch.no_grad()  # culprit
            def forward(self, x):
                return self.lin(x)

        fit(Net(), lambda m, x, y: F.cross_entropy(m(x), y))
        """,
        "linear",
    ),
    "a loss rebuilt from an item": (
        "GS201",
        """
        def wrong(model, x, y):
            value = F.cross_entropy(model(x), y).item()
            return torch.as_tensor(value)  # culprit

        fit(nn.Linear(6, 3), wrong)
        """,
        "item",
    ),
    "a detached attribute": (
        "GS202",
        """
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.enc, self.head = nn.Linear(6, 5), nn.Linear(5, 3)

            def encode(self, x):
                self.code = torch.tanh(self.enc(x)).detach()  # culprit
                return self.code

            def forward(self, x):
                return self.head(self.encode(x))

        fit(Net(), lambda m, x, y: F.cross_entropy(m(x), y))
        """,
        "enc.bias, enc.weight never get a gradient",
    ),
    ".data in a closure": (
        "GS202",
        """
        def make(enc, head):
            def run(x):
                hidden = enc(x)
                return head(hidden.data)  # culprit
            return run

        model = nn.ModuleDict({"enc": nn.Linear(6, 5), "head": nn.Linear(5, 3)})
        run = make(model["enc"], model["head"])
        fit(model, lambda m, x, y: F.cross_entropy(run(x), y))
        """,
        "enc.bias, enc.weight never get a gradient",
    ),
    "a cast to integers": (
        "GS202",
        """
        class Bins(nn.Module):
            def __init__(self):
                super().__init__()
                self.enc, self.emb, self.out = nn.Linear(6, 4), nn.Embedding(12, 5), nn.Linear(20, 3)

            def forward(self, x):
                bins = (torch.sigmoid(self.enc(x)) * 11).long()  # culprit
                return self.out(self.emb(bins).flatten(1))

        fit(Bins(), lambda m, x, y: F.cross_entropy(m(x), y))
        """,
        "long",
    ),
    "a round trip through numpy": (
        "GS202",
        """
        @dataclass
        class Filter:
            scale: float = 0.5

            def __call__(self, h):
                array = h.detach().numpy()  # culprit
                return torch.tensor(np.tanh(array) * self.scale)

        model = nn.Sequential(nn.Linear(6, 5), nn.Linear(5, 3))
        smooth = Filter()
        fit(model, lambda m, x, y: F.cross_entropy(m[1](smooth(m[0](x))), y))
        """,
        "the path from the loss ends at numpy",
    ),
    "a list of numbers made a tensor": (
        "GS203",
        """
        def wrong(model, x, y):
            parts = []
            for row, label in zip(x, y):
                parts.append(F.cross_entropy(model(row[None]), label[None]).item())
            fit_term = torch.tensor(parts).mean()  # culprit
            return fit_term + 0.01 * model.weight.pow(2).sum()

        fit(nn.Linear(6, 3), wrong)
        """,
        "constant to autograd",
    ),
    "a penalty without create_graph in a method": (
        "GS203",
        """
        class Critic(nn.Module):
            def __init__(self):
                super().__init__()
                self.net = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 1))

            def penalty(self, x):
                x = x.clone().requires_grad_()
                grads = torch.autograd.grad(  # culprit
                    outputs=self.net(x).sum(), inputs=x, retain_graph=True
                )[0]
                return grads.pow(2).sum(1).mean()

            def forward(self, x):
                return self.net(x).mean() + 5.0 * self.penalty(x)

        fit(Critic(), lambda m, x, y: m(x))
        """,
        "constant to autograd",
    ),
    "floor between two layers": (
        "GS204",
        """
        def quantised(model, x, y):
            h = model[0](x)
            h = (h * 4).floor() / 4  # culprit
            return F.cross_entropy(model[1](h), y)

        fit(nn.Sequential(nn.Linear(6, 5), nn.Linear(5, 3)), quantised)
        """,
        "floor has derivative zero",
    ),
    "sign as an activation": (
        "GS204",
        """
        class Binary(nn.Module):
            def forward(self, x):
                return torch.sign(x)  # culprit

        model = nn.Sequential(nn.Linear(6, 5), Binary(), nn.Linear(5, 3))
        fit(model, lambda m, x, y: F.cross_entropy(m(x), y))
        """,
        "sign has derivative zero",
    ),
    "embeddings cached in inference mode": (
        "GS205",
        """
        encoder, head = nn.Linear(6, 5), nn.Linear(5, 3)
        with torch.inference_mode():  # culprit
            cache = [(encoder(x), y) for x, y in batches(3)]
        opt = torch.optim.SGD(head.parameters(), lr=0.1)
        for h, y in cache:
            opt.zero_grad()
            F.cross_entropy(head(h), y).backward()
            opt.step()
        """,
        "made in inference mode",
    ),
    "a parameter of another branch": (
        "GS206",
        """
        enc, spare = nn.Linear(6, 3), nn.Linear(3, 3)
        for x, y in batches():
            loss = F.cross_entropy(enc(x), y)
            every = [*enc.parameters(), *spare.parameters()]
            grads = torch.autograd.grad(loss, every)  # culprit
            with torch.no_grad():
                for p, g in zip(every, grads):
                    p -= 0.1 * g
        """,
        "does not depend on",
    ),
    "a slice of the parameter that the loss used whole": (
        "GS206",
        """
        enc = nn.Linear(6, 3)
        for x, y in batches():
            first = enc.weight[0]
            loss = F.cross_entropy(enc(x), y)
            (g,) = torch.autograd.grad(loss, first)  # culprit
        """,
        "not with what is asked for: first",
    ),
    "a checkpointed embedding": (
        "GS207",
        """
        class Text(nn.Module):
            def __init__(self):
                super().__init__()
                self.emb, self.out = nn.Embedding(9, 5), nn.Linear(5, 3)

            def look_up(self, tokens):
                return self.emb(tokens).mean(1)

            def forward(self, tokens):
                return self.out(checkpoint(self.look_up, tokens, use_reentrant=True))  # culprit

        fit(Text(), lambda m, x, y: F.cross_entropy(m(x.abs().long()), y))
        """,
        "emb.weight",
    ),
    "one loss for each sample": (
        "GS209",
        """
        def step(model, x, y):
            errors = (model(x) - F.one_hot(y, 3)) ** 2
            return errors.sum(1)

        model = nn.Linear(6, 3)
        for x, y in batches():
            total = step(model, x, y)
            total.backward()  # culprit
        """,
        "8 values, of shape (8,)",
    ),
}


@pytest.mark.parametrize("case", BUGS)
def test_the_line_that_cuts_the_path_is_named(case: str, judging: Judging) -> None:
    code, text, says = BUGS[case]
    assert says in judging.expect(code, "# culprit", script(text)).message


def test_a_cut_in_a_helper_file(judging: Judging) -> None:
    helper = """
        def pool(h, mask):
            weights = (h > 0).float()  # culprit
            return (weights * mask).mean(1, keepdim=True)
    """
    main = script("""
        from helper import pool

        model = nn.ModuleList([nn.Linear(6, 5), nn.Linear(1, 3)])
        mask = torch.ones(8, 5)
        fit(model, lambda m, x, y: F.cross_entropy(m[1](pool(m[0](x), mask)), y))
    """)
    judging.expect("GS202", "# culprit", main, helper=helper, file="helper.py")


HEALTHY = {
    "a straight-through estimator": """
        def ste(model, x, y):
            h = model[0](x)
            return F.cross_entropy(model[1](h + (h.round() - h).detach()), y)

        fit(nn.Sequential(nn.Linear(6, 5), nn.Linear(5, 3)), ste)
        """,
    "accuracy beside the loss": """
        def logged(model, x, y):
            out = model(x)
            print((out.argmax(1) == y).float().mean().item(), out.detach().numpy().mean())
            return F.cross_entropy(out, y)

        fit(nn.Linear(6, 3), logged)
        """,
    "a frozen backbone under no_grad": """
        backbone, head = nn.Linear(6, 5), nn.Linear(5, 3)

        def features(model, x, y):
            with torch.no_grad():
                h = backbone(x)
            return F.cross_entropy(model(h), y)

        fit(head, features)
        """,
    "a target network that the agent holds": """
        class Agent(nn.Module):
            def __init__(self):
                super().__init__()
                self.online = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3))
                self.target = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3))

        def td(agent, x, y):
            with torch.no_grad():
                wanted = 0.9 * agent.target(x.flip(0)).amax(1) + x[:, 0]
            return F.mse_loss(agent.online(x).gather(1, y[:, None])[:, 0], wanted)

        fit(Agent(), td)
        """,
    "a gradient penalty with create_graph": """
        def penalised(model, x, y):
            x = x.clone().requires_grad_()
            (g,) = torch.autograd.grad(model(x).sum(), x, create_graph=True)
            return F.cross_entropy(model(x), y) + g.pow(2).mean()

        fit(nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 3)), penalised)
        """,
    "an adversarial example by one gradient step": """
        def robust(model, x, y):
            x = x.clone().requires_grad_()
            (g,) = torch.autograd.grad(F.cross_entropy(model(x), y), x)
            return F.cross_entropy(model((x + 0.1 * g.sign()).detach()), y)

        fit(nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 3)), robust)
        """,
    "first-order MAML": """
        def inner(model, x, y):
            grads = torch.autograd.grad(F.cross_entropy(model(x), y), list(model.parameters()))
            weight, bias = (p - 0.1 * g for p, g in zip(model.parameters(), grads))
            return F.cross_entropy(F.linear(x, weight, bias), y)

        fit(nn.Linear(6, 3), inner)
        """,
    "weights of losses from their sizes": """
        def balanced(model, x, y):
            one = F.cross_entropy(model(x), y)
            two = model(x).pow(2).mean()
            return one + (one / two).item() * two

        fit(nn.Linear(6, 3), balanced)
        """,
    "a constant added to a loss": """
        fit(nn.Linear(6, 3), lambda m, x, y: F.cross_entropy(m(x), y) + torch.tensor(0.5))
        """,
    "REINFORCE": """
        def policy(model, x, y):
            chances = torch.distributions.Categorical(logits=model(x))
            action = chances.sample()
            reward = (action == y).float()
            return -(chances.log_prob(action) * (reward - reward.mean())).mean()

        fit(nn.Linear(6, 3), policy)
        """,
    "an early exit trained by its own loss": """
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.one, self.two = nn.Linear(6, 5), nn.Linear(5, 3)
                self.probe = nn.Linear(5, 3)

            def forward(self, x):
                h = torch.tanh(self.one(x))
                return self.two(h), self.probe(h.detach())

        fit(Net(), lambda m, x, y: sum(F.cross_entropy(out, y) for out in m(x)))
        """,
    "a checkpoint that is not reentrant": """
        model = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3))
        fit(model, lambda m, x, y: F.cross_entropy(checkpoint(m, x, use_reentrant=False), y))
        """,
    "allow_unused": """
        enc, spare = nn.Linear(6, 3), nn.Linear(3, 3)
        for x, y in batches():
            every = [*enc.parameters(), *spare.parameters()]
            grads = torch.autograd.grad(F.cross_entropy(enc(x), y), every, allow_unused=True)
            with torch.no_grad():
                for p, g in zip(every, grads):
                    if g is not None:
                        p -= 0.1 * g
        """,
    "a codebook that follows a moving average": """
        class Codes(nn.Module):
            def __init__(self):
                super().__init__()
                self.enc, self.book = nn.Linear(6, 4), nn.Parameter(torch.randn(5, 4))
                self.dec = nn.Linear(4, 3)

            def forward(self, x):
                h = self.enc(x)
                with torch.no_grad():
                    nearest = self.book[torch.cdist(h, self.book).argmin(1)]
                    self.book.lerp_(h.mean(0).expand_as(self.book), 0.01)
                return self.dec(h + (nearest - h).detach())

        fit(Codes(), lambda m, x, y: F.cross_entropy(m(x), y))
        """,
    "two parts trained in turn": """
        enc, head = nn.Linear(6, 5), nn.Linear(5, 3)
        opt = torch.optim.SGD([*enc.parameters(), *head.parameters()], lr=0.1)
        for n, (x, y) in enumerate(batches(6)):
            h = enc(x) if n > 2 else enc(x).detach()
            opt.zero_grad()
            F.cross_entropy(head(h), y).backward()
            opt.step()
        """,
    "hard gates in the forward, soft in the backward": """
        def gated(model, x, y):
            soft = torch.sigmoid(model[0](x))
            hard = (soft > 0.5).float()
            return F.cross_entropy(model[1]((hard - soft).detach() + soft), y)

        fit(nn.Sequential(nn.Linear(6, 5), nn.Linear(5, 3)), gated)
        """,
}


@pytest.mark.parametrize("case", HEALTHY)
def test_what_only_looks_cut_is_left_alone(case: str, judging: Judging) -> None:
    found = judging(script(HEALTHY[case]))
    assert not [one for one in loud(found) if one.code.startswith(("GS0", "GS2"))], found
    assert not [one for one in found if one.code == "GS000"]


def test_a_target_network_in_the_optimizer_is_a_note_at_most(judging: Judging) -> None:
    found = judging(script(HEALTHY["a target network that the agent holds"]))
    assert {one.severity for one in found if one.code == "GS202"} <= {Severity.NOTE}
