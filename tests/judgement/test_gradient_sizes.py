"""Exploding, vanishing, dead and saturated: the layer where it starts, and the line that made it so."""

from __future__ import annotations

import pytest

from tests.judging import Judging, loud

HEAD = "import torch\nfrom torch import nn\ntorch.manual_seed(0)\n"
LOOP = """
opt = torch.optim.SGD(net.parameters(), lr=1e-3)
for _ in range(4):
    opt.zero_grad()
    net(torch.randn(16, 8)).pow(2).mean().backward()
    opt.step()
"""


def trained(net: str) -> str:
    """A script that makes `net` and trains it for a few steps."""
    return f"{HEAD}{net}\n{LOOP}"


def test_a_recurrent_weight_that_stretches(judging: Judging) -> None:
    script = trained("""
class Memory(nn.Module):
    def __init__(self):
        super().__init__()
        self.recur = nn.Linear(8, 8, bias=False)
        self.reset()
    def reset(self):
        self.recur.weight.data.normal_(0, 1.5)  # wrong
    def forward(self, x):
        h, t = x, 0
        while t < 15:
            h = torch.relu(self.recur(h))  # the pass
            t += 1
        return h * 1e-12
net = Memory()
""")
    first = judging.expect("GS821", "# wrong", script)
    assert [place.line for place in first.related] == [judging.line("# the pass")]
    assert "15 passes through recur.weight" in first.message
    assert "applied again and again" in first.explanation


def test_layers_of_their_own_that_stretch_are_not_one_that_is_applied_again(judging: Judging) -> None:
    script = trained("""
net = nn.Sequential(*[nn.Linear(8, 8, bias=False) for _ in range(12)])
for layer in net:
    nn.init.normal_(layer.weight, std=1.5)  # wrong
""").replace(".pow", ".mul(1e-12).pow")
    first = judging.expect("GS821", "# wrong", script)
    assert first.message.endswith("over 12 layers")
    assert "Each layer multiplies the gradient" in first.explanation
    assert "again" not in first.explanation


def test_deep_sigmoids_called_in_forward(judging: Judging) -> None:
    script = trained("""
class Deep(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(8, 8) for _ in range(12)])
    def forward(self, x):
        for layer in self.layers:
            x = layer(x).sigmoid()  # wrong
        return x
net = Deep()
""")
    first = judging.expect("GS822", "# wrong", script)
    assert "residual" in first.fix


def test_deep_sigmoid_modules_are_blamed_where_they_are_made(judging: Judging) -> None:
    script = trained("""
def block(width):
    return nn.Sequential(
        nn.Linear(width, width),
        nn.Sigmoid(),  # wrong
    )
net = nn.Sequential(*[block(8) for _ in range(12)])
""")
    judging.expect("GS822", "# wrong", script)


def test_weights_that_are_too_small(judging: Judging) -> None:
    script = trained("""
net = nn.Sequential(*[m for _ in range(8) for m in (nn.Linear(8, 8), nn.ReLU())])
def start(m):
    if isinstance(m, nn.Linear):
        nn.init.normal_(m.weight, std=0.02)  # wrong
net.apply(start)
""")
    judging.expect("GS822", "# wrong", script)


@pytest.mark.parametrize("relu", ["torch.relu(h)", "nn.functional.relu(h)", "h.relu()", "self.act(h)"])
def test_a_layer_that_is_dead_from_the_start(judging: Judging, relu: str) -> None:
    script = trained(f"""
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.hidden, self.out, self.act = nn.Linear(8, 16), nn.Linear(16, 1), nn.ReLU()
        with torch.no_grad():
            self.hidden.bias.fill_(-50)  # wrong
    def forward(self, x):
        h = self.hidden(x)
        h = {relu}
        return self.out(h)
net = Net()
""")
    first = judging.expect("GS823", "# wrong", script)
    assert "hidden.bias" in first.explanation
    assert "never" not in first.explanation, "other inputs can lift it"


def test_a_saturated_layer_is_a_note(judging: Judging) -> None:
    net = "net = nn.Sequential(nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 1))\nnet[0].weight.data.mul_(1e4)"
    found = judging(trained(net))
    notes = [one for one in found if one.code == "GS824"]
    assert len(notes) == 1
    assert notes[0].severity.value == "note"


HEALTHY = {
    "a deep relu net": "net = nn.Sequential(*[m for _ in range(12) for m in (nn.Linear(8, 8), nn.ReLU())])\n"
    "[nn.init.kaiming_normal_(m.weight) for m in net if isinstance(m, nn.Linear)]",
    "the usual start": "net = nn.Sequential(*[m for _ in range(6) for m in (nn.Linear(8, 8), nn.ReLU())], "
    "nn.Linear(8, 1))",
    "a few sigmoids": "net = nn.Sequential(*[m for _ in range(3) for m in (nn.Linear(8, 8), nn.Sigmoid())])",
    "a gru over time": "class Net(nn.Module):\n    def __init__(self):\n        super().__init__()\n"
    "        self.cell = nn.GRUCell(8, 8)\n    def forward(self, x):\n        h = x\n        for _ in range(30):\n"
    "            h = self.cell(x, h)\n        return h\nnet = Net()",
    "residual blocks": "class Net(nn.Module):\n    def __init__(self):\n        super().__init__()\n"
    "        self.layers = nn.ModuleList(nn.Linear(8, 8) for _ in range(20))\n    def forward(self, x):\n"
    "        for layer in self.layers:\n            x = x + 0.1 * torch.tanh(layer(x))\n        return x\nnet = Net()",
    "a relu that is mostly off": "net = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 1))\n"
    "net[0].bias.data.fill_(-1.0)",
}


@pytest.mark.parametrize("net", HEALTHY.values(), ids=HEALTHY)
def test_healthy_networks_have_no_finding(judging: Judging, net: str) -> None:
    assert not [one for one in loud(judging(trained(net))) if one.code.startswith("GS82")]


def test_an_input_that_is_never_positive_kills_a_layer_of_positive_weights(judging: Judging) -> None:
    script = trained("""
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.out = nn.Linear(8, 16), nn.Linear(16, 1)
        self.first.weight.data.abs_()
    def forward(self, x):
        cold = -x.abs() - 5  # wrong
        return self.out(torch.relu(self.first(cold)))
net = Net()
""")
    judging.expect("GS823", "# wrong", script)


def test_layers_made_by_a_helper_that_explode(judging: Judging) -> None:
    script = trained("""
def wide(n):
    layer = nn.Linear(n, n)
    nn.init.normal_(layer.weight, std=2.0)  # wrong
    return layer
net = nn.Sequential(*[wide(8) for _ in range(10)], nn.Linear(8, 1))
""")
    judging.expect("GS821", "# wrong", script)
