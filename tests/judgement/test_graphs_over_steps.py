"""Graphs that live too long: each cause in several shapes, and the healthy code that looks like it."""

from __future__ import annotations

import textwrap

import pytest

from tests.judgement.loops import BATCHES
from tests.judging import Judging, loud

HEAD = (
    BATCHES
    + """
from collections import defaultdict, deque
from dataclasses import dataclass, field

net = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3))
opt = torch.optim.SGD(net.parameters(), lr=0.1)


def learn(loss, **how):
    opt.zero_grad()
    loss.backward(**how)
    opt.step()


"""
)


def script(text: str) -> str:
    return HEAD.lstrip() + textwrap.dedent(text)


BUGS = {
    "a hidden state in an attribute": (
        "GS401",
        """
        class Tagger(nn.Module):
            def __init__(self):
                super().__init__()
                self.cell, self.out = nn.GRUCell(6, 4), nn.Linear(4, 3)
                self.state = torch.zeros(8, 4)

            def forward(self, x):
                self.state = self.cell(x, self.state)  # culprit
                return self.out(self.state)

        net = Tagger()
        opt = torch.optim.SGD(net.parameters(), lr=0.1)
        for x, y in batches():
            learn(F.cross_entropy(net(x), y))
        """,
    ),
    "a hidden state stored by a statement of its own": (
        "GS401",
        """
        class Tagger(nn.Module):
            def __init__(self):
                super().__init__()
                self.rnn, self.out = nn.RNN(6, 4), nn.Linear(4, 3)
                self.state = None

            def forward(self, x):
                seen, last = self.rnn(x[None], self.state)
                self.state = last  # culprit
                return self.out(seen[0])

        net = Tagger()
        opt = torch.optim.SGD(net.parameters(), lr=0.1)
        for x, y in batches():
            learn(F.cross_entropy(net(x), y))
        """,
    ),
    "LSTM states in a while loop": (
        "GS401",
        """
        rnn, out = nn.LSTM(6, 4), nn.Linear(4, 3)
        opt = torch.optim.SGD([*rnn.parameters(), *out.parameters()], lr=0.1)

        def main():
            data, states = list(batches()), None
            while data:
                x, y = data.pop()
                seen, states = rnn(x[None], states)  # culprit
                learn(F.cross_entropy(out(seen[0]), y))

        main()
        """,
    ),
    "a state kept alive by retain_graph": (
        "GS401",
        """
        cell, out = nn.RNNCell(6, 4), nn.Linear(4, 3)
        opt = torch.optim.Adam([*cell.parameters(), *out.parameters()], lr=0.1)
        h = torch.zeros(8, 4)
        for x, y in batches():
            h = cell(x, h)  # culprit
            learn(F.cross_entropy(out(h), y), retain_graph=True)
        """,
    ),
    "features kept in a buffer": (
        "GS401",
        """
        class Memory(nn.Module):
            def __init__(self):
                super().__init__()
                self.enc, self.out = nn.Linear(6, 4), nn.Linear(8, 3)
                self.register_buffer("seen", torch.zeros(4))

            def forward(self, x):
                h = self.enc(x)
                out = self.out(torch.cat([h, self.seen.expand(len(x), -1)], 1))
                self.seen = h.mean(0)  # culprit
                return out

        net = Memory()
        opt = torch.optim.SGD(net.parameters(), lr=0.1)
        for x, y in batches():
            learn(F.cross_entropy(net(x), y))
        """,
    ),
    "a running average in the loss": (
        "GS401",
        """
        class Centre:
            def __init__(self):
                self.mean = torch.zeros(3)

            def __call__(self, out):
                self.mean = 0.9 * self.mean + 0.1 * out.mean(0)  # culprit
                return (out - self.mean).pow(2).mean()

        centre = Centre()
        for x, y in batches():
            out = net(x)
            learn(F.cross_entropy(out, y) + centre(out))
        """,
    ),
    "a regulariser computed before the loop": (
        "GS402",
        """
        def l2(model):
            return sum(p.pow(2).sum() for p in model.parameters())

        decay = 0.001 * l2(net)  # culprit
        for x, y in batches():
            learn(F.cross_entropy(net(x), y) + decay)
        """,
    ),
    "embeddings computed once for all epochs": (
        "GS402",
        """
        encoder, head = nn.Linear(6, 4), nn.Linear(4, 3)
        opt = torch.optim.SGD([*encoder.parameters(), *head.parameters()], lr=0.1)
        x, y = next(batches(1))

        @dataclass
        class Cached:
            codes: torch.Tensor

        cached = Cached(encoder(x))  # culprit
        for _ in range(4):
            learn(F.cross_entropy(head(cached.codes), y))
        """,
    ),
    "two heads, two backwards": (
        "GS403",
        """
        body, one, two = nn.Linear(6, 5), nn.Linear(5, 3), nn.Linear(5, 1)
        opt = torch.optim.SGD([*body.parameters(), *one.parameters(), *two.parameters()], lr=0.1)
        for x, y in batches():
            h = torch.tanh(body(x))
            parts = {"class": F.cross_entropy(one(h), y), "value": two(h).pow(2).mean()}
            opt.zero_grad()
            for part in parts.values():
                part.backward()  # culprit
            opt.step()
        """,
    ),
    "one loss differentiated twice": (
        "GS403",
        """
        for x, y in batches():
            loss = F.cross_entropy(net(x), y)
            learn(loss)
            loss.backward()  # culprit
        """,
    ),
    "losses in a history": (
        "GS404",
        """
        history = defaultdict(list)
        def epoch():
            for x, y in batches():
                loss = F.cross_entropy(net(x), y)
                learn(loss)
                history["loss"].append(loss)  # culprit
        epoch()
        """,
    ),
    "outputs in a dataclass": (
        "GS404",
        """
        @dataclass
        class Epoch:
            outputs: list = field(default_factory=list)

            def keep(self, out):
                self.outputs += [out]  # culprit

        def run():
            epoch = Epoch()
            for x, y in batches():
                out = net(x)
                learn(F.cross_entropy(out, y))
                epoch.keep(out)
            return epoch

        run()
        """,
    ),
    "losses returned to a comprehension": (
        "GS404",
        """
        def step(x, y):
            loss = F.cross_entropy(net(x), y)
            learn(loss)
            return loss

        losses = [step(x, y) for x, y in batches(6)]  # culprit
        """,
    ),
    "a dict by step": (
        "GS404",
        """
        class Trainer:
            def __init__(self):
                self.logged = {}

            def fit(self):
                for n, (x, y) in enumerate(batches(6)):
                    out = net(x)
                    loss = F.cross_entropy(out, y)
                    learn(loss)
                    self.log(n, loss=loss)

            def log(self, n, **values):
                self.logged[n] = values  # culprit

        trainer = Trainer()
        trainer.fit()
        """,
    ),
    "a list that a closure rebinds and returns": (
        "GS404",
        """
        def recorder():
            seen = []

            def note(x, y):
                nonlocal seen
                out = net(x)
                learn(F.cross_entropy(out, y))
                seen = [*seen, out]  # culprit
                return seen

            return note

        note = recorder()
        for x, y in batches(7):
            everything = note(x, y)
        """,
    ),
    "a running sum in a trainer": (
        "GS405",
        """
        class Trainer:
            def __init__(self):
                self.total = 0.0

            def fit(self):
                for x, y in batches(6):
                    loss = F.cross_entropy(net(x), y)
                    learn(loss)
                    self.total = self.total + loss  # culprit

        Trainer().fit()
        """,
    ),
    "a weighted mean of outputs that a class chooses": (
        "GS405",
        """
        class Meter:
            def __init__(self):
                self.mean = None

            def see(self, out):
                first = self.mean is None
                self.mean = out.mean() if first else torch.lerp(self.mean, out.mean(), 0.2)  # culprit

        def main(meter):
            for x, y in batches(7):
                out = net(x)
                learn(F.cross_entropy(out, y))
                meter.see(out)

        main(Meter())
        """,
    ),
    "a moving average in a helper": (
        "GS405",
        """
        def smooth(old, new, keep=0.9):
            return keep * old + (1 - keep) * new

        def main():
            average = torch.zeros(())
            for x, y in batches(6):
                loss = F.cross_entropy(net(x), y)
                learn(loss)
                average = smooth(average, loss)  # culprit
            print(float(average))

        main()
        """,
    ),
}


@pytest.mark.parametrize("case", BUGS)
def test_the_line_that_carries_or_keeps_a_graph_is_named(case: str, judging: Judging) -> None:
    code, text = BUGS[case]
    judging.expect(code, "# culprit", script(text))


def test_growth_is_told_in_numbers(judging: Judging) -> None:
    first = judging(script(BUGS["losses in a history"][1]))[0]
    assert "history['loss'] keeps loss of" in first.message
    assert "grad nodes in step" in first.explanation


def test_the_fix_of_an_endless_graph_fits_what_is_done_to_the_value(judging: Judging) -> None:
    summed = judging(script(BUGS["a running sum in a trainer"][1]))[0]
    assert "self.total = (self.total + loss).detach()" in summed.fix
    weighed = judging(script(BUGS["a weighted mean of outputs that a class chooses"][1]))[0]
    assert "self.mean" in weighed.fix
    assert "+=" not in weighed.fix


def test_a_variable_that_names_nothing_is_not_told(judging: Judging) -> None:
    text = """
        held = []
        for x, y in batches(6):
            _ = F.cross_entropy(net(x), y)
            learn(_)
            held.append(_)
        """
    first = judging(script(text))[0]
    assert first.code == "GS404"
    assert first.message.startswith("held keeps the result of cross_entropy of")


def test_the_backward_that_freed_the_graph_is_related(judging: Judging) -> None:
    first = judging(script(BUGS["LSTM states in a while loop"][1]))[0]
    notes = {place.note for place in first.related}
    assert {"the backward that freed it", "this backward raises"} <= notes
    assert "states" in first.message


HEALTHY = {
    "a state that is detached": """
        cell, out = nn.GRUCell(6, 4), nn.Linear(4, 3)
        opt = torch.optim.SGD([*cell.parameters(), *out.parameters()], lr=0.1)
        h = torch.zeros(8, 4)
        for x, y in batches():
            h = cell(x, h.detach())
            learn(F.cross_entropy(out(h), y))
        """,
    "back-propagation through several rounds": """
        cell, out = nn.GRUCell(6, 4), nn.Linear(4, 3)
        opt = torch.optim.SGD([*cell.parameters(), *out.parameters()], lr=0.1)
        h, losses = torch.zeros(8, 4), []
        for n, (x, y) in enumerate(batches(9)):
            h = cell(x, h)
            losses.append(F.cross_entropy(out(h), y))
            if n % 3 == 2:
                learn(torch.stack(losses).mean())
                h, losses = h.detach(), []
        """,
    "numbers in lists": """
        history = []
        for x, y in batches(8):
            out = net(x)
            loss = F.cross_entropy(out, y)
            learn(loss)
            history.append((loss.item(), out.detach()))
        """,
    "a running sum of numbers": """
        total = torch.zeros(())
        for x, y in batches(8):
            loss = F.cross_entropy(net(x), y)
            learn(loss)
            total += loss.detach()
        """,
    "a short window of the last losses": """
        recent = deque(maxlen=2)
        for x, y in batches(12):
            loss = F.cross_entropy(net(x), y)
            learn(loss)
            recent.append(loss)
        """,
    "the last loss in an attribute": """
        class Trainer:
            last = None

        trainer = Trainer()
        for x, y in batches(8):
            trainer.last = F.cross_entropy(net(x), y)
            learn(trainer.last)
        """,
    "variables that a script's validations leave alone": """
        for epoch in range(4):
            for x, y in batches(3):
                out = net(x)
                loss = F.cross_entropy(out, y)
                learn(loss)
            with torch.no_grad():
                net.eval()
                for x, _ in batches(4):
                    print(float(net(x).sum()))
                net.train()
        """,
    "variables of a function that validations leave alone": """
        def main():
            for epoch in range(4):
                for x, y in batches(2):
                    parts = torch.split(net(x), 1, dim=1)
                    loss = F.cross_entropy(torch.cat(parts, 1), y)
                    learn(loss)
                with torch.no_grad():
                    for x, _ in batches(3):
                        print(float(net(x).sum()))

        main()
        """,
    "a longer window that is soon full": """
        recent = deque(maxlen=4)
        for x, y in batches(20):
            loss = F.cross_entropy(net(x), y)
            learn(loss)
            recent.append(loss)
        """,
    "two backwards with retain_graph": """
        body, one, two = nn.Linear(6, 5), nn.Linear(5, 3), nn.Linear(5, 1)
        opt = torch.optim.SGD([*body.parameters(), *one.parameters(), *two.parameters()], lr=0.1)
        for x, y in batches():
            h = torch.tanh(body(x))
            opt.zero_grad()
            F.cross_entropy(one(h), y).backward(retain_graph=True)
            two(h).pow(2).mean().backward()
            opt.step()
        """,
    "an episode of actions before one backward": """
        policy = nn.Linear(6, 3)
        opt = torch.optim.SGD(policy.parameters(), lr=0.1)
        for _ in range(4):
            chances, rewards = [], []
            x = torch.randn(6)
            for _ in range(7):
                options = torch.distributions.Categorical(logits=policy(x))
                action = options.sample()
                chances.append(options.log_prob(action))
                rewards.append(float(action == 1))
                x = torch.randn(6)
            learn(-(torch.stack(chances) * torch.tensor(rewards)).sum())
        """,
    "average weights": """
        average = [p.detach().clone() for p in net.parameters()]
        for x, y in batches(8):
            learn(F.cross_entropy(net(x), y))
            for kept, p in zip(average, net.parameters()):
                kept.lerp_(p.detach(), 0.1)
        """,
    "gradients of several batches": """
        opt.zero_grad()
        for n, (x, y) in enumerate(batches(8)):
            (F.cross_entropy(net(x), y) / 4).backward()
            if n % 4 == 3:
                opt.step()
                opt.zero_grad()
        """,
}


@pytest.mark.parametrize("case", HEALTHY)
def test_what_only_looks_kept_is_left_alone(case: str, judging: Judging) -> None:
    found = judging(script(HEALTHY[case]))
    assert not [one for one in loud(found) if one.code.startswith(("GS0", "GS4"))], found
    assert not [one for one in found if one.code == "GS000"]
