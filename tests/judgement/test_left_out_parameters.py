"""Optimizers and models that do not match, in many shapes, and correct code that looks alike."""

from __future__ import annotations

import pytest

from tests.judgement.loops import SETUP
from tests.judging import Judging, loud

NET = (
    SETUP
    + """
def train(model, opt, n=4):
    for _ in range(n):
        x, y = batch()
        opt.zero_grad()
        F.mse_loss(model(x), y).backward()
        opt.step()
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Linear(4, 8)
        self.head = nn.Linear(8, 1)
    def forward(self, x):
        return self.head(torch.tanh(self.body(x)))
class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.emb, self.out = nn.Embedding(10, 6), nn.Linear(6, 10, bias=False)
        self.tie()
    def forward(self, t):
        return self.out(self.emb(t))
def read(model):
    opt = torch.optim.Adam(model.parameters())
    for _ in range(3):
        t = torch.randint(0, 10, (5, 4))
        opt.zero_grad()
        F.cross_entropy(model(t).flatten(0, 1), t.flatten()).backward()
        opt.step()
"""
)

BUGS = {
    "the head is replaced by a helper": (
        "GS602",
        """
class Trainer:
    def __init__(self):
        self.model = Net()
        self.opt = torch.optim.Adam(self.model.parameters())
    def adapt(self):
        self.model.head = nn.Linear(8, 1)
    def run(self):
        self.adapt()  # culprit
        train(self.model, self.opt)
Trainer().run()
""",
    ),
    "a head made before is put in after": (
        "GS602",
        """
model, head = Net(), nn.Linear(8, 1)
opt = torch.optim.SGD(model.parameters(), lr=0.1)
setattr(model, "head", head)  # culprit
train(model, opt)
""",
    ),
    "a layer grows while training": (
        "GS602",
        """
class Grows(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleDict({"first": nn.Linear(4, 4)})
        self.out = nn.Linear(4, 1)
    def extend(self, name):
        self.layers[name] = nn.Linear(4, 4)
    def forward(self, x):
        for layer in self.layers.values():
            x = torch.tanh(layer(x))
        return self.out(x)
def fit(model, opt):
    for epoch in range(4):
        if epoch == 2:
            model.extend("second")  # culprit
        train(model, opt, 2)
model = Grows()
fit(model, torch.optim.Adam(model.parameters()))
""",
    ),
    "a copy is trained": (
        "GS602",
        """
model = Net()
opt = torch.optim.SGD(model.parameters(), lr=0.1)
model = copy.deepcopy(model)  # culprit
train(model, opt)
""",
    ),
    "the model is made again": (
        "GS602",
        """
def build():
    return Net()
model = build()
opt = torch.optim.SGD(model.parameters(), lr=0.1)
model = build()  # culprit
train(model, opt)
""",
    ),
    "loaded with assign": (
        "GS602",
        """
model = Net()
saved = {k: v.clone() for k, v in model.state_dict().items()}
opt = torch.optim.SGD(model.parameters(), lr=0.1)
model.load_state_dict(saved, assign=True)  # culprit
train(model, opt)
""",
    ),
    "a parameter is put in place of another": (
        "GS602",
        """
model = Net()
opt = torch.optim.SGD(model.parameters(), lr=0.1)
with torch.no_grad():
    model.body.weight = nn.Parameter(torch.eye(8, 4))  # culprit
train(model, opt)
""",
    ),
    "a layer is made in forward": (
        "GS602",
        """
class Lazy(nn.Module):
    def __init__(self):
        super().__init__()
        self.body, self.proj = nn.Linear(4, 8), None
    def forward(self, x):
        h = self.body(x)
        if self.proj is None:
            self.proj = nn.Linear(h.shape[1], 1)  # culprit
        return self.proj(h)
model = Lazy()
train(model, torch.optim.SGD(model.parameters(), lr=0.1))
""",
    ),
    "unfrozen by an attribute": (
        "GS602",
        """
model = Net()
for p in model.body.parameters():
    p.requires_grad = False
opt = torch.optim.SGD(filter(lambda p: p.requires_grad, model.parameters()), lr=0.1)
train(model, opt)
model.body.requires_grad_(True)  # culprit
train(model, opt)
""",
    ),
    "layers in a dict": (
        "GS603",
        """
class Towers(nn.Module):
    def __init__(self, names):
        super().__init__()
        self.towers = {}
        for name in names:
            self.towers[name] = nn.Linear(4, 2)  # culprit
        self.out = nn.Linear(2, 1)
    def forward(self, x):
        return self.out(sum(tower(x) for tower in self.towers.values()))
model = Towers(["a", "b"])
train(model, torch.optim.Adam(model.parameters()))
""",
    ),
    "layers in a tuple made by a helper": (
        "GS603",
        """
def layer(n):
    return nn.Sequential(nn.Linear(n, n), nn.ReLU())
class Deep(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(4, 1), nn.Linear(4, 4)
        self.blocks = (layer(4), layer(4))  # culprit
    def forward(self, x):
        for block in self.blocks:
            x = block(x)
        return self.first(self.second(x))
model = Deep()
train(model, torch.optim.SGD(model.parameters(), lr=0.1))
""",
    ),
    "modules in a dataclass": (
        "GS603",
        """
@dataclass
class Parts:
    scale: nn.Module = field(default_factory=lambda: nn.Linear(8, 8))
class Wrapped(Net):
    def __init__(self):
        super().__init__()
        self.parts = Parts()  # culprit
    def forward(self, x):
        return self.head(self.parts.scale(self.body(x)))
model = Wrapped()
train(model, torch.optim.SGD(model.parameters(), lr=0.01))
""",
    ),
    "parameters in a list": (
        "GS603",
        """
class Scales(Net):
    def __init__(self):
        super().__init__()
        self.scales = [nn.Parameter(torch.ones(8)) for _ in range(2)]  # culprit
    def forward(self, x):
        return self.head(self.body(x) * self.scales[0] + self.scales[1])
model = Scales()
train(model, torch.optim.SGD(model.parameters(), lr=0.01))
""",
    ),
    "a plain tensor that wants a gradient later": (
        "GS603",
        """
class Shift(Net):
    def __init__(self):
        super().__init__()
        self.shift = torch.zeros(8)  # culprit
        self.shift.requires_grad_()
    def forward(self, x):
        return self.head(self.body(x) + self.shift)
model = Shift()
train(model, torch.optim.SGD(model.parameters(), lr=0.01))
""",
    ),
    "a buffer that shall learn": (
        "GS603",
        """
class Gain(Net):
    def __init__(self):
        super().__init__()
        self.register_buffer("gain", torch.ones(8, requires_grad=True))  # culprit
    def forward(self, x):
        return self.head(self.body(x) * self.gain)
model = Gain()
train(model, torch.optim.SGD(model.parameters(), lr=0.01))
""",
    ),
    "a bias forgotten among hand-made leaves": (
        "GS603",
        """
w = torch.randn(4, 1, requires_grad=True)
b = torch.zeros(1, requires_grad=True)  # culprit
train(lambda x: x @ w + b, torch.optim.SGD([w], lr=0.1))
""",
    ),
    "the decoder is forgotten": (
        "GS601",
        """
enc, dec = nn.Linear(4, 3), nn.Linear(3, 1)
opt = torch.optim.Adam(enc.parameters())  # culprit
train(lambda x: dec(enc(x)), opt)
""",
    ),
    "a group is forgotten": (
        "GS601",
        """
class Normed(Net):
    def __init__(self):
        super().__init__()
        self.norm = nn.LayerNorm(8)
    def forward(self, x):
        return self.head(self.norm(self.body(x)))
model = Normed()
opt = torch.optim.AdamW([  # culprit
    {"params": [m.weight for m in model.modules() if isinstance(m, nn.Linear)], "weight_decay": 0.1},
    {"params": [m.bias for m in model.modules() if isinstance(m, nn.Linear)], "weight_decay": 0.0},
])
train(model, opt)
""",
    ),
    "the optimizer has another model": (
        "GS604",
        """
model, twin = Net(), Net()
opt = torch.optim.SGD(twin.parameters(), lr=0.1)  # culprit
for _ in range(4):
    x, y = batch()
    F.mse_loss(model(x), y).backward()
    opt.step()
    model.zero_grad()
""",
    ),
    "frozen with momentum": (
        "GS605",
        """
model = Net()
opt = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
def run(n):
    for _ in range(n):
        x, y = batch()
        for p in model.parameters():
            if p.grad is not None:
                p.grad.zero_()
        F.mse_loss(model(x), y).backward()
        opt.step()
run(3)
model.body.requires_grad_(False)  # culprit
run(3)
""",
    ),
    "frozen with an old gradient": (
        "GS605",
        """
model = Net()
opt = torch.optim.SGD(model.parameters(), lr=0.1)
for i in range(6):
    x, y = batch()
    if i == 3:
        model.body.weight.requires_grad = False  # culprit
    for p in model.parameters():
        if p.requires_grad:
            p.grad = None
    F.mse_loss(model(x), y).backward()
    opt.step()
""",
    ),
    "frozen with weight decay": (
        "GS605",
        """
model = Net()
opt = torch.optim.AdamW(model.parameters(), weight_decay=0.5)
def run(n):
    for _ in range(n):
        x, y = batch()
        opt.zero_grad(set_to_none=False)
        F.mse_loss(model(x), y).backward()
        opt.step()
run(2)
for p in model.head.parameters():
    p.requires_grad_(False)  # culprit
run(2)
""",
    ),
    "tied by a detached clone": (
        "GS606",
        """
class Words(Tied):
    def tie(self):
        w = self.emb.weight.detach().clone()
        self.out.weight = nn.Parameter(w)  # culprit
read(Words())
""",
    ),
    "tied by a deep copy of the parameter": (
        "GS606",
        """
class Words(Tied):
    def tie(self):
        self.out.weight = copy.deepcopy(self.emb.weight)  # culprit
read(Words())
""",
    ),
    "an autoencoder tied by a transposed copy": (
        "GS606",
        """
class Auto(nn.Module):
    def __init__(self):
        super().__init__()
        self.enc, self.dec = nn.Linear(4, 2), nn.Linear(2, 4)
        self.dec.weight = nn.Parameter(self.enc.weight.data.t().clone())  # culprit
    def forward(self, x):
        return self.dec(self.enc(x)).mean(1, keepdim=True)
model = Auto()
train(model, torch.optim.SGD(model.parameters(), lr=0.1))
""",
    ),
    "tied by the memory only": (
        "GS606",
        """
class Auto(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(4, 4), nn.Linear(4, 4)
        self.b.weight = nn.Parameter(self.a.weight)  # culprit
    def forward(self, x):
        return self.b(torch.tanh(self.a(x))).mean(1, keepdim=True)
model = Auto()
train(model, torch.optim.Adam(model.parameters()))
""",
    ),
}

BUGS |= {
    "weight norm after the optimizer": (
        "GS602",
        """
model = Net()
opt = torch.optim.SGD(model.parameters(), lr=0.1)
nn.utils.parametrizations.weight_norm(model.body)  # culprit
train(model, opt)
""",
    ),
    "every layer in a list": (
        "GS607",
        """
class Plain(nn.Module):
    def __init__(self, sizes):
        super().__init__()
        self.layers = [nn.Linear(a, b) for a, b in zip(sizes, sizes[1:])]  # culprit
    def forward(self, x):
        for layer in self.layers:
            x = layer(x)
        return x
model = Plain([4, 8, 1])
train(model, torch.optim.SGD(model.parameters(), lr=0.1))
""",
    ),
    "a generator used up by a count": (
        "GS607",
        """
model = Net()
weights = model.parameters()  # culprit
print(sum(p.numel() for p in weights))
train(model, torch.optim.SGD(weights, lr=0.1))
""",
    ),
    "a parameter in two groups": (
        "GS607",
        """
model = Net()
groups = [{"params": model.parameters()}, {"params": model.head.parameters(), "lr": 1.0}]
opt = torch.optim.SGD(groups, lr=0.1)  # culprit
""",
    ),
    "a layer before super().__init__()": (
        "GS608",
        """
class Early(nn.Module):
    def __init__(self):
        self.layer = nn.Linear(4, 1)  # culprit
        super().__init__()
Early()
""",
    ),
    "tied by copying the values": (
        "GS606",
        """
class Words(Tied):
    def tie(self):
        with torch.no_grad():
            self.out.weight.copy_(self.emb.weight)  # culprit
read(Words())
""",
    ),
    "tied by .data": (
        "GS606",
        """
class Words(Tied):
    def tie(self):
        self.out.weight.data = self.emb.weight.data.clone()  # culprit
read(Words())
""",
    ),
    "tied, then one side made anew": (
        "GS606",
        """
class Words(Tied):
    def tie(self):
        self.out.weight = self.emb.weight
def load(model, table):
    model.emb = nn.Embedding.from_pretrained(table, freeze=False)  # culprit
model = Words()
load(model, torch.randn(10, 6))
read(model)
""",
    ),
}


@pytest.mark.parametrize("bug", BUGS)
def test_names_the_line(judging: Judging, bug: str) -> None:
    code, script = BUGS[bug]
    judging.expect(code, "# culprit", NET + script)


HEALTHY = {
    "a group is added at once": """
model = Net()
opt = torch.optim.SGD(model.head.parameters(), lr=0.1)
opt.add_param_group({"params": model.body.parameters(), "lr": 0.01})
train(model, opt)
model.extra = nn.Linear(8, 8)
""",
    "unfrozen and added": """
model = Net()
model.body.requires_grad_(False)
opt = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
train(model, opt)
model.body.requires_grad_(True)
opt.add_param_group({"params": model.body.parameters()})
train(model, opt)
""",
    "unfrozen, all in the optimizer from the start": """
model = Net()
model.body.requires_grad_(False)
opt = torch.optim.SGD(model.parameters(), lr=0.1)
train(model, opt)
model.body.requires_grad_(True)
train(model, opt)
""",
    "a new optimizer for the second phase": """
model = Net()
model.body.requires_grad_(False)
train(model, torch.optim.SGD(model.head.parameters(), lr=0.1))
model.body.requires_grad_(True)
train(model, torch.optim.SGD(model.parameters(), lr=0.1))
""",
    "only the head is trained, the body left unfrozen": """
model = Net()
train(model, torch.optim.SGD(model.head.parameters(), lr=0.1))
""",
    "an input is optimised through a model": """
model = Net()
image = torch.randn(8, 4, requires_grad=True)
opt = torch.optim.Adam([image], lr=0.1)
for _ in range(4):
    opt.zero_grad()
    model(image).sum().backward()
    opt.step()
""",
    "a prompt is trained in front of an evaluating model": """
class Prompt(nn.Module):
    def __init__(self):
        super().__init__()
        self.shift = nn.Parameter(torch.zeros(4))
    def forward(self, x):
        return x + self.shift
prompt, model = Prompt(), Net().eval()
train(lambda x: model(prompt(x)), torch.optim.SGD(prompt.parameters(), lr=0.1))
""",
    "collocation points of a physics-informed net": """
model = nn.Sequential(nn.Linear(1, 8), nn.Tanh(), nn.Linear(8, 1))
opt = torch.optim.Adam(model.parameters())
t = torch.linspace(0, 1, 10).reshape(-1, 1).requires_grad_(True)
for _ in range(4):
    opt.zero_grad()
    u = model(t)
    du = torch.autograd.grad(u.sum(), t, create_graph=True)[0]
    (du + u).pow(2).mean().backward()
    opt.step()
""",
    "a full-batch input that wants a gradient": """
model = Net()
x, y = batch()
x.requires_grad_(True)
opt = torch.optim.SGD(model.parameters(), lr=0.1)
for _ in range(4):
    opt.zero_grad()
    F.mse_loss(model(x), y).backward()
    opt.step()
    print(x.grad.norm())
""",
    "modules in a list, parameters passed by hand": """
layers = [nn.Linear(4, 4), nn.Linear(4, 1)]
opt = torch.optim.SGD([p for layer in layers for p in layer.parameters()], lr=0.1)
train(lambda x: layers[1](layers[0](x)), opt)
""",
    "plain leaves updated by hand beside an optimizer": """
model = Net()
opt = torch.optim.SGD(model.parameters(), lr=0.1)
log_alpha = torch.zeros(1, requires_grad=True)
for _ in range(4):
    x, y = batch()
    opt.zero_grad()
    (log_alpha.exp() * F.mse_loss(model(x), y) - log_alpha).sum().backward()
    opt.step()
    with torch.no_grad():
        log_alpha -= 0.1 * log_alpha.grad
    log_alpha.grad = None
""",
    "an optimizer for each of two nets": """
enc, dec = nn.Linear(4, 3), nn.Linear(3, 1)
a, b = torch.optim.SGD(enc.parameters(), lr=0.1), torch.optim.Adam(dec.parameters())
for _ in range(4):
    x, y = batch()
    for opt in (a, b):
        opt.zero_grad()
    F.mse_loss(dec(enc(x)), y).backward()
    for opt in (a, b):
        opt.step()
""",
    "a generator learns against a discriminator": """
G, D = nn.Linear(4, 4), nn.Linear(4, 1)
og, od = torch.optim.SGD(G.parameters(), lr=0.1), torch.optim.SGD(D.parameters(), lr=0.1)
for i in range(6):
    if i % 2:
        od.zero_grad()
        (D(G(batch()[0]).detach()).mean() - D(batch()[0]).mean()).backward()
        od.step()
    else:
        og.zero_grad()
        (-D(G(batch()[0])).mean()).backward()
        og.step()
""",
    "frozen and cleared to None": """
model = Net()
opt = torch.optim.Adam(model.parameters())
train(model, opt)
model.body.requires_grad_(False)
train(model, opt)
""",
    "frozen, zeros, but plain SGD": """
model = Net()
opt = torch.optim.SGD(model.parameters(), lr=0.1)
for i in range(4):
    x, y = batch()
    opt.zero_grad(set_to_none=False)
    if i == 2:
        model.body.requires_grad_(False)
    F.mse_loss(model(x), y).backward()
    opt.step()
""",
    "tied by assignment": """
class Words(Tied):
    def tie(self):
        self.out.weight = self.emb.weight
read(Words())
""",
    "layers copied from one": """
class Stack(nn.Module):
    def __init__(self):
        super().__init__()
        layer = nn.Linear(4, 4)
        self.layers = nn.ModuleList(copy.deepcopy(layer) for _ in range(3))
        self.first = layer
        self.out = nn.Linear(4, 1)
    def forward(self, x):
        x = self.first(x)
        for layer in self.layers:
            x = torch.tanh(layer(x))
        return self.out(x)
model = Stack()
train(model, torch.optim.Adam(model.parameters()))
""",
    "two losses share an encoder with an optimizer of its own": """
enc, a, b = nn.Linear(4, 4), nn.Linear(4, 1), nn.Linear(4, 1)
opts = [torch.optim.SGD(m.parameters(), lr=0.01) for m in (enc, a, b)]
for _ in range(4):
    x, y = batch()
    for opt in opts:
        opt.zero_grad()
    h = enc(x)
    F.mse_loss(a(h), y).backward(retain_graph=True)
    F.l1_loss(b(h), y).backward()
    for opt in opts:
        opt.step()
""",
    "an actor learns through its critic": """
actor, critic = nn.Linear(4, 2), nn.Linear(6, 1)
oa, oc = torch.optim.Adam(actor.parameters()), torch.optim.Adam(critic.parameters())
for _ in range(4):
    x, y = batch()
    a = torch.randn(8, 2)
    oc.zero_grad()
    F.mse_loss(critic(torch.cat([x, a], 1)), y).backward()
    oc.step()
    oa.zero_grad()
    (-critic(torch.cat([x, actor(x)], 1)).mean()).backward()
    oa.step()
""",
    "one branch begins as the other": """
class Branches(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(4, 1), nn.Linear(4, 1)
        self.b.load_state_dict(self.a.state_dict())
    def forward(self, x):
        return self.a(x) - 2 * self.b(x)
model = Branches()
train(model, torch.optim.SGD(model.parameters(), lr=0.01))
""",
    "a parameter shared on purpose, made by hand": """
class Shared(nn.Module):
    def __init__(self):
        super().__init__()
        w = nn.Parameter(torch.randn(8, 4))
        self.body, self.head = nn.Linear(4, 8), nn.Linear(8, 1)
        self.body.weight = w
        self.side = nn.Linear(4, 8)
    def forward(self, x):
        return self.head(self.body(x) + self.side(x))
model = Shared()
train(model, torch.optim.SGD(model.parameters(), lr=0.01))
""",
    "a transformer's cloned layers": """
model = nn.Sequential(nn.TransformerEncoder(nn.TransformerEncoderLayer(4, 2, 8, batch_first=True), 2), nn.Linear(4, 1))
train(lambda x: model(x[:, None]).squeeze(1), torch.optim.SGD(model.parameters(), lr=0.01))
""",
    "an averaged copy that is not trained": """
model = Net()
ema = copy.deepcopy(model)
opt = torch.optim.Adam(model.parameters())
for _ in range(3):
    train(model, opt, 1)
    with torch.no_grad():
        for a, b in zip(ema.parameters(), model.parameters()):
            a.lerp_(b, 0.1)
""",
    "moved and converted after the optimizer was built": """
model = Net()
opt = torch.optim.Adam(model.parameters())
model.double().float()
train(model, opt)
""",
    "weights of a checkpoint": """
model = Net()
saved = {k: v.clone() for k, v in model.state_dict().items()}
opt = torch.optim.Adam(model.parameters())
model.load_state_dict(saved)
train(model, opt)
""",
    "low-rank adapters beside frozen weights": """
class Lora(nn.Module):
    def __init__(self, base):
        super().__init__()
        self.base = base.requires_grad_(False)
        self.a, self.b = nn.Parameter(torch.randn(4, 2) * 0.1), nn.Parameter(torch.zeros(2, 8))
    def forward(self, x):
        return self.base(x) + x @ self.a @ self.b
model = Net()
model.body = Lora(model.body)
model.head.requires_grad_(False)
train(model, torch.optim.AdamW([p for p in model.parameters() if p.requires_grad]))
""",
    "a lazy module that saw its shape first": """
model = nn.Sequential(nn.LazyLinear(8), nn.Tanh(), nn.LazyLinear(1))
model(batch()[0])
train(model, torch.optim.Adam(model.parameters()))
""",
    "a meta-learner's fast weights": """
model = nn.Linear(4, 1)
opt = torch.optim.SGD(model.parameters(), lr=0.1)
for _ in range(3):
    x, y = batch()
    opt.zero_grad()
    fast = copy.deepcopy(model)
    inner = torch.optim.SGD(fast.parameters(), lr=0.1)
    for _ in range(2):
        inner.zero_grad()
        F.mse_loss(fast(x), y).backward()
        inner.step()
    for p, q in zip(model.parameters(), fast.parameters()):
        p.grad = p.data - q.data
    opt.step()
""",
}


@pytest.mark.parametrize("pattern", HEALTHY)
def test_is_silent_on(judging: Judging, pattern: str) -> None:
    assert not loud(judging(NET + HEALTHY[pattern]))


def test_a_frozen_parameter_moves_where_only_norms_were_recorded(judging: Judging) -> None:
    found = judging(
        NET
        + """
model = Net()
opt = torch.optim.Adam(model.parameters())
for i in range(9):
    x, y = batch()
    if i == 6:
        model.body.requires_grad_(False)  # culprit
    opt.zero_grad(set_to_none=False)
    F.mse_loss(model(x), y).backward()
    opt.step()
""",
        detail="auto",
    )
    assert found[0].code == "GS605"
    assert judging.blames(found[0], "# culprit")
    assert "body.weight, body.bias" in found[0].message


def test_says_what_a_learner_needs(judging: Judging) -> None:
    found = judging(
        NET
        + """
model = Net()
opt = torch.optim.Adam(model.parameters())  # built
model.head = nn.Linear(8, 1)
train(model, opt, 3)
"""
    )[0]
    assert found.message == "head.weight, head.bias: made after opt was built, which does not know them"
    assert "In 3 steps a backward gives them gradients" in found.explanation
    assert "opt.add_param_group" in found.fix
    assert [place.line for place in found.related] == [judging.line("# built")]


LIBRARY = """
import sys, pathlib
folder = pathlib.Path("site-packages")
folder.mkdir(exist_ok=True)
(folder / "wordlib.py").write_text('''
import torch
from torch import nn
class Dense(nn.Module):
    def __init__(self, a, b):
        super().__init__()
        empty = torch.empty(a, b)
        self.weight = nn.Parameter(empty)
        nn.init.normal_(self.weight)
    def forward(self, x):
        return x @ self.weight
class Words(nn.Module):
    def __init__(self):
        super().__init__()
        self.emb, self.a, self.b, self.out = nn.Embedding(5, 4), Dense(4, 4), Dense(4, 4), nn.Linear(4, 5, bias=False)
        self.out.weight = self.emb.weight
    def forward(self, ids):
        return self.out(self.b(self.a(self.emb(ids))))
''')
sys.path.insert(0, str(folder))
import wordlib
torch.manual_seed(0)
model = wordlib.Words()
"""
READ = """
opt = torch.optim.SGD(model.parameters(), lr=0.1)
for _ in range(3):
    ids = torch.randint(0, 5, (6,))
    opt.zero_grad()
    F.cross_entropy(model(ids), ids).backward()
    opt.step()
"""


def test_what_a_librarys_layers_make_for_themselves_is_no_tie(judging: Judging) -> None:
    assert not loud(judging(NET + LIBRARY + READ))


def test_a_librarys_tie_that_the_script_undoes(judging: Judging) -> None:
    undone = "model.emb = nn.Embedding(5, 4)  # culprit"
    judging.expect("GS606", "# culprit", NET + LIBRARY + undone + READ)
