"""Pictures of the kinds of models that people draw, at default settings: can they be read on a page?"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from itertools import pairwise
from xml.etree import ElementTree as ET

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import gradscope
from gradscope.api import Recording
from gradscope.render.base import PAGE_WIDTH, SMALLEST_TEXT
from gradscope.render.labels import points

_PIXELS = 4 / 3  # in a point


def _mlp() -> None:
    model = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 4))
    functional.cross_entropy(model(torch.randn(8, 16)), torch.zeros(8, dtype=torch.long)).backward()


class _Residual(nn.Module):
    """A block as torchvision's ResNet has it: one ReLU, called twice."""

    def __init__(self, ins: int, outs: int, stride: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(ins, outs, 3, stride, 1, bias=False), nn.BatchNorm2d(outs)
        self.conv2, self.bn2 = nn.Conv2d(outs, outs, 3, 1, 1, bias=False), nn.BatchNorm2d(outs)
        self.relu = nn.ReLU(inplace=True)
        same = stride == 1 and ins == outs
        self.downsample = None if same else nn.Sequential(nn.Conv2d(ins, outs, 1, stride), nn.BatchNorm2d(outs))

    def forward(self, x: Tensor) -> Tensor:
        out = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        out += x if self.downsample is None else self.downsample(x)
        return self.relu(out)  # type: ignore[no-any-return]


def _resnet() -> None:
    widths = (4, 4, 8, 16, 32)
    layers = [
        nn.Sequential(_Residual(ins, outs, 1 if ins == outs else 2), _Residual(outs, outs, 1))
        for ins, outs in pairwise(widths)
    ]
    model = nn.Sequential(nn.Conv2d(3, 4, 7, 2, 3), nn.MaxPool2d(3, 2, 1), *layers, nn.AdaptiveAvgPool2d(1))
    model(torch.randn(2, 3, 64, 64)).sum().backward()


def _encoder() -> None:
    layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
    nn.TransformerEncoder(layer, 6)(torch.randn(2, 5, 16)).pow(2).mean().backward()


def _gan() -> None:
    generator = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 2))
    critic = nn.Sequential(nn.Linear(2, 32), nn.LeakyReLU(0.2), nn.Linear(32, 1))
    loss = functional.binary_cross_entropy_with_logits
    fake = generator(torch.randn(16, 8))
    real = torch.randn(16, 2)
    d_loss = loss(critic(real), torch.ones(16, 1)) + loss(critic(fake.detach()), torch.zeros(16, 1))
    d_loss.backward()
    g_loss = loss(critic(fake), torch.ones(16, 1))
    g_loss.backward()


class _Experts(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.gate = nn.Linear(16, 8)
        self.experts = nn.ModuleList(nn.Sequential(nn.Linear(16, 32), nn.GELU(), nn.Linear(32, 16)) for _ in range(8))

    def forward(self, x: Tensor) -> Tensor:
        weights = self.gate(x).softmax(-1)
        outs = torch.stack([expert(x) for expert in self.experts], 1)
        return (weights.unsqueeze(-1) * outs).sum(1)  # type: ignore[no-any-return]


def _experts() -> None:
    _Experts()(torch.randn(4, 16)).pow(2).mean().backward()


def _cell() -> None:
    cell = nn.LSTMCell(8, 16)
    h = c = torch.zeros(4, 16)
    for x in torch.randn(20, 4, 8):
        h, c = cell(x, (h, c))
    h.sum().backward()


class _Vae(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.enc = nn.Sequential(nn.Linear(20, 32), nn.ReLU())
        self.mu, self.logvar = nn.Linear(32, 4), nn.Linear(32, 4)
        self.dec = nn.Sequential(nn.Linear(4, 32), nn.ReLU(), nn.Linear(32, 20))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        h = self.enc(x)
        mu, logvar = self.mu(h), self.logvar(h)
        std = torch.exp(0.5 * logvar)
        return self.dec(mu + torch.randn_like(std) * std), mu, logvar


def _vae() -> None:
    x = torch.rand(8, 20)
    recon, mu, logvar = _Vae()(x)
    bce = functional.binary_cross_entropy_with_logits(recon, x, reduction="sum")
    kld = -0.5 * torch.sum(1 + logvar - mu.pow(2) - logvar.exp())
    (bce + kld).backward()


def _decoder() -> None:
    embedding, cell, out = nn.Embedding(20, 8), nn.GRUCell(8, 16), nn.Linear(16, 20)
    target = torch.randint(0, 20, (2, 6))
    h, loss = torch.zeros(2, 16), torch.zeros(())
    for t in range(5):
        h = cell(embedding(target[:, t]), h)
        loss = loss + functional.cross_entropy(out(h), target[:, t + 1])
    loss.backward()


class _Deep(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(8, 8) for _ in range(12))

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = torch.tanh(layer(x))
        return x


def _deep() -> None:
    _Deep()(torch.randn(2, 8)).sum().backward()


def _wide() -> None:
    """Nothing here is equal, a loop or a module: thirty ops side by side."""
    w = torch.ones(40, requires_grad=True)
    torch.stack([w[: number + 1].mul(number).sum() for number in range(30)]).sum().backward()


KINDS = [_mlp, _resnet, _encoder, _gan, _experts, _cell, _vae, _decoder, _deep, _wide]
each_kind = pytest.mark.parametrize("kind", KINDS, ids=[kind.__name__.strip("_") for kind in KINDS])


@cache
def recorded(kind: Callable[[], None]) -> Recording:
    with gradscope.record() as trace:
        kind()
    return trace


@cache
def drawn(kind: Callable[[], None], what: str) -> ET.Element:
    return ET.fromstring(gradscope.draw(recorded(kind), kind=what).svg())


@each_kind
@pytest.mark.parametrize("what", ["forward", "backward", "both"])
def test_the_smallest_text_can_be_read_at_page_width(kind: Callable[[], None], what: str) -> None:
    picture = drawn(kind, what)
    sizes = [float(one.get("font-size", "14")) * _PIXELS for one in picture.iter() if one.tag.endswith("}text")]
    assert min(sizes) * min(1, PAGE_WIDTH / float(picture.get("width", "0"))) >= SMALLEST_TEXT


@each_kind
@pytest.mark.parametrize("what", ["forward", "backward", "both"])
def test_no_text_lies_on_another(kind: Callable[[], None], what: str) -> None:
    boxes = [_box(one) for one in drawn(kind, what).iter() if one.tag.endswith("}text") and one.text]
    for place, (text, *one) in enumerate(boxes):
        for other, *box in boxes[place + 1 :]:
            wide = min(one[2], box[2]) - max(one[0], box[0])
            high = min(one[3], box[3]) - max(one[1], box[1])
            assert wide < 1 or high < 1, f"{text!r} lies on {other!r}"


def _box(text: ET.Element) -> tuple[str, float, float, float, float]:
    """A text, and where it is in the widest of the fonts that it may be shown in."""
    size = float(text.get("font-size", "14"))
    width = points(text.text or "", size * (1.1 if text.get("font-weight") == "bold" else 1))
    x, y = float(text.get("x", "0")), float(text.get("y", "0"))
    x -= {"start": 0.0, "middle": width / 2, "end": width}[text.get("text-anchor", "start")]
    return text.text or "", x, y - size * 0.72, x + width, y


@each_kind
@pytest.mark.parametrize("what", ["forward", "both"])
def test_data_leads_down(kind: Callable[[], None], what: str) -> None:
    ways = [
        [float(y) for y in re.findall(r"-?[\d.]+,(-?[\d.]+)", path.get("d", ""))]
        for group in drawn(kind, what).iter()
        if (group.get("class") or "").endswith("edge-data")
        for path in group.iter()
        if path.tag.endswith("}path")
    ]
    assert ways
    assert all(way[-1] >= way[0] - 5 for way in ways)


@each_kind
def test_both_has_no_more_nodes_than_forward(kind: Callable[[], None]) -> None:
    nodes = {what: len(drawn(kind, what).findall(".//{*}g[@data-id]")) for what in ("forward", "both")}
    assert nodes["both"] <= nodes["forward"]


def _shown(kind: Callable[[], None], what: str = "both") -> set[str]:
    return {one.text or "" for one in drawn(kind, what).iter() if one.tag.endswith("}text")}


@pytest.mark.parametrize("what", ["forward", "both"])
def test_repetition_is_drawn_once(what: str) -> None:
    assert "layers.0–11" in _shown(_deep, what), "a container that is never called is a prefix of names"
    assert "tanh → x ×12" in _shown(_deep, what)
    assert "experts.0–7 ×8" in _shown(_experts, what)
    assert any(title.startswith("cell:1–20") for title in _shown(_cell, what))
    loops = [one for one in drawn(_cell, what).iter() if (one.get("class") or "").endswith("edge-loop")]
    assert len(loops) == 1, "what the cell carries on"


def test_a_module_called_twice_is_two_boxes_and_calls_on_other_data_are_no_loop() -> None:
    model = _Residual(4, 4, 1)
    with gradscope.record() as trace:
        model(torch.randn(1, 4, 8, 8)).sum().backward()
    text = gradscope.draw(trace).text()
    assert "relu:1" in text
    assert "relu:2" in text
    assert {"critic:1", "critic:2", "critic:3"} <= _shown(_gan)


def test_what_building_the_model_did_is_not_in_the_step() -> None:
    graph = gradscope.draw(recorded(_encoder)).graph
    assert not [node for node in graph.nodes if node.op in ("clone", "data", "detach")]
    assert not [edge for edge in graph.edges if edge.kind.value == "cut"]


def test_a_picture_looks_the_same_in_every_viewer() -> None:
    picture = gradscope.draw(recorded(_resnet)).svg()
    assert "white-space" not in picture
    assert "xml:space" not in picture
    assert not re.search(r">[ \u00a0]|\u00a0 ", picture.replace("> <", "><"))


def test_a_gradient_that_a_hook_replaced_is_seen_before_and_after() -> None:
    with gradscope.record(detail="full") as trace:
        h = nn.Sequential(*(nn.Linear(4, 4) for _ in range(3)))(torch.ones(1, 4))
        h.register_hook(lambda grad: grad * 0.5)
        h.sum().backward()
    picture = gradscope.draw(trace).svg()
    assert ">↑ |g| 2<" in picture, "what came to the hook"
    assert ">∂ AddmmBackward0 +1 · |g| 1<" in picture, "what it made of that"
