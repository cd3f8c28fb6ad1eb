"""Training and evaluation mode, and gradients that go astray: each cause in several shapes, and what looks like it."""

from __future__ import annotations

import textwrap

import pytest

from gradscope.model.findings import Severity
from tests.judgement.loops import BATCHES
from tests.judging import Judging, loud

HEAD = (
    BATCHES
    + """
net = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.3), nn.Linear(8, 3))
opt = torch.optim.SGD(net.parameters(), lr=0.1)


def learn(loss, *optimizers):
    for one in optimizers or (opt,):
        one.zero_grad()
    loss.backward()
    for one in optimizers or (opt,):
        one.step()


def evaluate(net):
    net.eval()
    with torch.no_grad():
        print(sum(F.cross_entropy(net(x), y).item() for x, y in batches(2)))


def learn_and_evaluate(net):
    opt = torch.optim.SGD(net.parameters(), lr=0.1)
    for x, y in batches():
        learn(F.cross_entropy(net(x), y), opt)
    evaluate(net)


"""
)


def script(text: str) -> str:
    return HEAD.lstrip() + textwrap.dedent(text)


BUGS = {
    "eval() left on by a method": (
        "GS701",
        """
        class Trainer:
            def __init__(self, model):
                self.model = model

            def fit(self):
                for epoch in range(3):
                    for x, y in batches():
                        learn(F.cross_entropy(self.model(x), y))
                    self.validate()

            @torch.no_grad()
            def validate(self):
                self.model.eval()  # culprit
                hits = [(self.model(x).argmax(-1) == y).sum().item() for x, y in batches(2)]
                print(sum(hits))

        Trainer(net).fit()
        """,
    ),
    "eval() for a first look, then training": (
        "GS701",
        """
        net.eval()  # culprit
        with torch.no_grad():
            for x, y in batches(2):
                print(F.cross_entropy(net(x), y).item())
        for _ in range(2):
            for x, y in batches():
                learn(F.cross_entropy(net(x), y))
        """,
    ),
    "a validation that forgets eval()": (
        "GS702",
        """
        def score(model, data):
            hits = total = 0
            with torch.no_grad():
                for x, y in data:
                    logits = model(x)  # culprit
                    hits += (logits.argmax(1) == y).sum().item()
                    total += len(y)
            return hits / total

        for _ in range(2):
            net.train()
            for x, y in batches():
                learn(F.cross_entropy(net(x), y))
            print(score(net, batches(3)))
        """,
    ),
    "a validation in inference mode that forgets eval()": (
        "GS702",
        """
        @torch.inference_mode()
        def validate(model):
            return torch.stack([F.cross_entropy(model(x), y) for x, y in batches(3)]).mean().item()  # culprit

        for epoch in range(2):
            for x, y in batches():
                learn(F.cross_entropy(net(x), y))
            print(validate(net))
        """,
    ),
    "functional dropout in a method": (
        "GS703",
        """
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.one, self.two = nn.Linear(6, 8), nn.Linear(8, 3)

            def hidden(self, x):
                return F.dropout(torch.relu(self.one(x)), 0.4)  # culprit

            def forward(self, x):
                return self.two(self.hidden(x))

        learn_and_evaluate(Net())
        """,
    ),
    "attention that drops in evaluation": (
        "GS703",
        """
        class Attend(nn.Module):
            def __init__(self):
                super().__init__()
                self.qkv, self.out = nn.Linear(6, 18), nn.Linear(6, 3)

            def forward(self, x):
                q, k, v = self.qkv(x)[None].chunk(3, -1)
                return self.out(F.scaled_dot_product_attention(q, k, v, dropout_p=0.2)[0])  # culprit

        learn_and_evaluate(Attend())
        """,
    ),
    "a validation that sums losses with their graphs": (
        "GS704",
        """
        def validate():
            net.eval()
            total = 0
            for x, y in batches(4):
                out = net(x)  # culprit
                total = total + F.cross_entropy(out, y)
            net.train()
            return float(total)

        for _ in range(2):
            for x, y in batches():
                learn(F.cross_entropy(net(x), y))
            print(validate())
        """,
    ),
    "a method of the model that training calls too": (
        "GS704",
        """
        class Encoder(nn.Module):
            def __init__(self):
                super().__init__()
                self.body, self.head = nn.Linear(6, 8), nn.Linear(8, 3)

            def encode(self, x):
                return torch.tanh(self.body(x))

            def score(self, x, y):
                return F.cross_entropy(self.head(self.encode(x)), y)

        net = Encoder()
        opt = torch.optim.SGD(net.parameters(), lr=0.1)

        def validate():
            net.eval()
            scores = []
            for x, y in batches(3):
                score = net.score(x, y)  # culprit
                scores.append(score.item())
            net.train()
            return sum(scores)

        for _ in range(3):
            for x, y in batches():
                learn(net.score(x, y))
            print(validate())
        """,
    ),
    "a validation that keeps its outputs": (
        "GS704",
        """
        class Outputs(list):
            def keep(self, out):
                self.append(out)

        def validate(seen):
            net.eval()
            for x, y in batches(4):
                seen.keep(net(x))  # culprit
            net.train()

        seen = Outputs()
        for _ in range(2):
            for x, y in batches():
                learn(F.cross_entropy(net(x), y))
            validate(seen)
        print(len(seen))
        """,
    ),
    "a bootstrapped target": (
        "GS411",
        """
        class Agent(nn.Module):
            def __init__(self):
                super().__init__()
                self.body, self.values = nn.Linear(6, 8), nn.Linear(8, 3)

            def forward(self, s):
                return self.values(torch.relu(self.body(s)))

        agent = Agent()
        opt = torch.optim.Adam(agent.parameters())

        def td_error(s, a, r, s2, gamma=0.9):
            best = agent(s2).amax(-1)  # culprit
            wanted = r + gamma * best
            return wanted - agent(s).gather(-1, a[:, None]).squeeze(-1)

        for x, y in batches():
            learn(td_error(x, y, torch.rand(8), x.flip(0)).pow(2).mean())
        """,
    ),
    "a value function's own target": (
        "GS411",
        """
        critic = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 1))
        opt = torch.optim.Adam(critic.parameters())
        for x, y in batches():
            reward, alive = torch.rand(8, 1), torch.ones(8, 1)
            target = reward + 0.99 * alive * critic(x.flip(0))  # culprit
            learn(F.smooth_l1_loss(critic(x), target))
        """,
    ),
    "a discriminator's loss on fakes with their graph": (
        "GS412",
        """
        class Critic(nn.Module):
            def __init__(self):
                super().__init__()
                self.net = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 1))

            def forward(self, x):
                return self.net(x).squeeze(-1)

        generator, critic = nn.Linear(4, 6), Critic()
        opt_g, opt_c = (torch.optim.Adam(m.parameters(), lr=1e-3) for m in (generator, critic))
        for real, _ in batches(5):
            opt_g.zero_grad()
            opt_c.zero_grad()
            fake = generator(torch.randn(8, 4))
            critic_loss = critic(fake).mean() - critic(real).mean()  # culprit
            critic_loss.backward(retain_graph=True)
            opt_c.step()
            (-critic(generator(torch.randn(8, 4))).mean()).backward()
            opt_g.step()
        """,
    ),
}


def test_an_evaluation_is_told_once_for_all_its_modules(judging: Judging) -> None:
    found = judging(script(BUGS["a method of the model that training calls too"][1]))
    told = [one for one in found if one.code == "GS704"]
    assert len(told) == 1, told
    assert "evaluating net.score(x, y) builds a graph of" in told[0].message


@pytest.mark.parametrize("case", BUGS)
def test_the_line_to_change_is_named(case: str, judging: Judging) -> None:
    code, text = BUGS[case]
    judging.expect(code, "# culprit", script(text))


HEALTHY = {
    "modes switched as they should be": """
        for _ in range(2):
            net.train()
            for x, y in batches():
                learn(F.cross_entropy(net(x), y))
            evaluate(net)
        """,
    "batch norm frozen on purpose": """
        for _ in range(2):
            net.train()
            net[1].eval()
            for x, y in batches():
                learn(F.cross_entropy(net(x), y))
            evaluate(net)
        """,
    "a whole model fine-tuned in evaluation mode on purpose": """
        for x, y in batches():
            net.eval()
            learn(F.cross_entropy(net(x), y))
        """,
    "Monte Carlo dropout": """
        for x, y in batches():
            learn(F.cross_entropy(net(x), y))
        net.eval()
        net[3].train()
        x, y = next(batches(1))
        with torch.no_grad():
            draws = torch.stack([net(x).softmax(-1) for _ in range(8)])
        print(draws.std(0).mean().item(), (draws.mean(0).argmax(1) == y).sum().item())
        """,
    "Monte Carlo dropout by train()": """
        for x, y in batches():
            learn(F.cross_entropy(net(x), y))
        net.train()
        x, y = next(batches(1))
        with torch.no_grad():
            draws = torch.stack([net(x).softmax(-1) for _ in range(8)])
        print(draws.std(0).mean().item(), (draws.mean(0).argmax(1) == y).sum().item())
        """,
    "batch statistics estimated again": """
        for x, y in batches():
            learn(F.cross_entropy(net(x), y))
        net.train()
        with torch.no_grad():
            for x, _ in batches(3):
                net(x)
        """,
    "a teacher in training mode": """
        teacher = nn.Sequential(nn.Linear(6, 8), nn.Dropout(0.2), nn.Linear(8, 3))
        for x, y in batches():
            with torch.no_grad():
                wanted = teacher(x).softmax(-1)
            learn(F.kl_div(net(x).log_softmax(-1), wanted, reduction="batchmean"))
        """,
    "samples drawn from a generator in training mode": """
        for x, y in batches():
            learn(F.cross_entropy(net(x), y))
            with torch.no_grad():
                shown = net(torch.zeros(8, 6)).clamp(0, 1)
        """,
    "dropout told its mode": """
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.one, self.two = nn.Linear(6, 8), nn.Linear(8, 3)

            def forward(self, x):
                return self.two(F.dropout(self.one(x), 0.3, self.training))

        learn_and_evaluate(Net())
        """,
    "a saliency map in evaluation mode": """
        for x, y in batches():
            learn(F.cross_entropy(net(x), y))
        net.eval()
        x = torch.randn(8, 6, requires_grad=True)
        net(x).amax(1).sum().backward()
        print(x.grad.abs().mean().item())
        """,
    "attacks on a model in evaluation mode": """
        for x, y in batches():
            net.eval()
            x = x.clone().requires_grad_()
            (g,) = torch.autograd.grad(F.cross_entropy(net(x), y), x)
            net.train()
            learn(F.cross_entropy(net((x + 0.1 * g.sign()).detach()), y))
        """,
    "a target under no_grad": """
        critic = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 1))
        opt = torch.optim.Adam(critic.parameters())
        for x, y in batches():
            with torch.no_grad():
                target = torch.rand(8, 1) + 0.99 * critic(x.flip(0))
            learn(F.mse_loss(critic(x), target))
        """,
    "two views of one sample": """
        tower = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 4))
        opt = torch.optim.Adam(tower.parameters())
        for x, y in batches():
            one, two = tower(x), tower(x + 0.1 * torch.randn_like(x))
            learn(F.mse_loss(one, two) + (1 - one.std(0)).relu().mean())
        """,
    "a physical residual": """
        field = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 6))
        opt = torch.optim.Adam(field.parameters())
        for x, _ in batches():
            nxt = x + 0.1 * field(x)
            learn(F.mse_loss(nxt + 0.1 * field(nxt), x.roll(1, 0)))
        """,
    "a GAN": """
        generator, critic = nn.Linear(4, 6), nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 1))
        opt_g, opt_c = (torch.optim.Adam(m.parameters(), lr=1e-3) for m in (generator, critic))
        for real, _ in batches(5):
            fake = generator(torch.randn(8, 4))
            learn(critic(fake.detach()).mean() - critic(real).mean(), opt_c)
            learn(-critic(fake).mean(), opt_g)
        """,
    "a GAN that clears the generator's gradients in time": """
        generator, critic = nn.Linear(4, 6), nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 1))
        opt_g, opt_c = (torch.optim.Adam(m.parameters(), lr=1e-3) for m in (generator, critic))
        for real, _ in batches(5):
            learn(critic(generator(torch.randn(8, 4))).mean() - critic(real).mean(), opt_c)
            learn(-critic(generator(torch.randn(8, 4))).mean(), opt_g)
        """,
    "two tasks, two optimizers, one encoder": """
        encoder, head = nn.Linear(6, 5), nn.Linear(5, 3)
        opts = [torch.optim.SGD(m.parameters(), lr=0.1) for m in (encoder, head)]
        for x, y in batches():
            for one in opts:
                one.zero_grad()
            h = torch.tanh(encoder(x))
            F.cross_entropy(head(h), y).backward(retain_graph=True)
            head(h).pow(2).mean().backward()
            for one in opts:
                one.step()
        """,
}


LAYERS_WITH_DROPOUT = {
    "recurrent": "nn.GRU(6, 8, num_layers=2, dropout=0.3)",
    "attention": "nn.MultiheadAttention(6, 2, dropout=0.3)",
    "functional": "Attend()",
}
SEQUENCES = """
class Attend(nn.Module):
    def forward(self, q, k, v):
        p = 0.2 if self.training else 0.0
        return (F.scaled_dot_product_attention(q, k, v, dropout_p=p),)

class Reader(nn.Module):
    def __init__(self, layer):
        super().__init__()
        self.layer, self.last = layer, nn.LazyLinear(3)

    def forward(self, x):
        several = isinstance(self.layer, (nn.MultiheadAttention, Attend))
        return self.last(self.layer(x, x, x)[0] if several else self.layer(x)[0])

def scored(model):
    with torch.no_grad():
        for x, y in batches(3):
            out = model(x[:, None])  # culprit
            print((out[:, 0].argmax(-1) == y).float().mean().item())

reader = Reader(LAYER)
reader(torch.zeros(8, 1, 6))
opt = torch.optim.SGD(reader.parameters(), lr=0.1)
for epoch in range(2):
    reader.train()
    for x, y in batches():
        learn(F.cross_entropy(reader(x[:, None])[:, 0], y))
BEFORE
scored(reader)
"""


@pytest.mark.parametrize("layer", LAYERS_WITH_DROPOUT)
def test_sees_the_dropout_inside_a_layer(layer: str, judging: Judging) -> None:
    text = SEQUENCES.replace("LAYER", LAYERS_WITH_DROPOUT[layer])
    found = judging(script(text.replace("BEFORE", "")))
    assert [one.code for one in loud(found)] == ["GS702"]
    assert judging.blames(found[0], "# culprit")
    assert "dropout is at work" in found[0].message
    assert not loud(judging(script(text.replace("BEFORE", "reader.eval()"))))


@pytest.mark.parametrize("layer", ["nn.LSTM(6, 8, num_layers=2)", "nn.MultiheadAttention(6, 2)"])
def test_layers_without_dropout_have_no_mode(layer: str, judging: Judging) -> None:
    assert not loud(judging(script(SEQUENCES.replace("LAYER", layer).replace("BEFORE", ""))))


FOLLOWER = """
class Runner:
    def __init__(self):
        self.slow = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.3), nn.Linear(8, 3))
        self.slow.load_state_dict(net.state_dict())

    def follow(self):
        for mine, its in zip(self.slow.parameters(), net.parameters()):
            mine.data.mul_(0.9).add_(its.data, alpha=0.1)

    @torch.no_grad()
    def evaluate(self):
        hits = 0
        for x, y in batches(2):
            hits += (self.slow(x).argmax(1) == y).sum().item()  # culprit
        print(hits)

    def run(self):
        for _ in range(2):
            for x, y in batches():
                learn(F.cross_entropy(net(x), y)TARGET)
                self.follow()
            END

Runner().run()
"""


@pytest.mark.parametrize("end", ["self.evaluate()", "pass"])
def test_an_average_of_a_model_is_evaluated_as_the_model_is(end: str, judging: Judging) -> None:
    found = judging(script(FOLLOWER.replace("TARGET", "").replace("END", end)))
    assert [one.code for one in loud(found)] == (["GS702"] if end != "pass" else [])
    if end != "pass":
        assert judging.blames(found[0], "# culprit")


@pytest.mark.parametrize("end", ["self.slow.eval(); self.evaluate()", "pass"])
def test_a_teacher_in_training_mode_is_right(end: str, judging: Judging) -> None:
    """Its dropout is part of the method: what it gives are targets."""
    target = " + (net(x) - self.taught(x)).pow(2).mean()"
    text = FOLLOWER.replace("TARGET", target).replace("            END", "            " + end)
    text = text.replace(
        "    def run(self):",
        "    def taught(self, x):\n        with torch.no_grad():\n"
        "            said = self.slow.train()(x)\n        print(said.mean().item())\n"
        "        return said\n\n    def run(self):",
    )
    assert not loud(judging(script(text)))


@pytest.mark.parametrize("case", HEALTHY)
def test_what_only_looks_like_it_is_left_alone(case: str, judging: Judging) -> None:
    found = judging(script(HEALTHY[case]))
    assert not [one for one in loud(found) if one.code.startswith(("GS0", "GS2", "GS4", "GS7"))], found
    assert not [one for one in found if one.code == "GS000"]


def test_dropout_that_is_always_on_by_its_own_words_is_a_note(judging: Judging) -> None:
    text = BUGS["functional dropout in a method"][1].replace(", 0.4)", ", 0.4, training=True)")
    found = [one for one in judging(script(text)) if one.code == "GS703"]
    assert [one.severity for one in found] == [Severity.NOTE]


def test_one_look_with_gradients_on_is_a_note(judging: Judging) -> None:
    found = judging(
        script("""
            for x, y in batches():
                learn(F.cross_entropy(net(x), y))
            net.eval()
            print(net(torch.zeros(1, 6)).argmax().item())
        """)
    )
    assert not loud(found)
