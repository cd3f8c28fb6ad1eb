"""What goes into the loss: shapes, probabilities, axes, batches."""

from __future__ import annotations

import pytest

from tests.judging import Judging, loud

HEAD = """
import torch
from torch import nn
import torch.nn.functional as F
torch.manual_seed(0)
"""
REGRESSION = (
    HEAD
    + """
class Trainer:
    def __init__(self):
        self.net = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 1))
        self.opt = torch.optim.Adam(self.net.parameters())
    def fit(self, epochs):
        for _ in range(epochs):
            x = torch.randn(20, 3)
            y = x.sum(1)
            pred = self.net(x)
            {loss}
            self.opt.zero_grad()
            loss.backward()
            self.opt.step()
Trainer().fit(4)
"""
)

BROADCAST = {
    "mse": "loss = F.mse_loss(pred, y)  # wrong",
    "target with the axis": "loss = F.l1_loss(pred.squeeze(1), y[:, None])  # wrong",
    "module": "loss = nn.SmoothL1Loss()(pred, y)  # wrong",
    "by hand": "loss = ((pred - y) ** 2).mean()  # wrong",
    "weights of samples, and losses that kept their axis": "each = (pred.squeeze(1) - y).pow(2).unsqueeze(1)"
    ".mean(1, keepdim=True)\n            loss = (each * torch.rand(20)).mean()  # wrong",
    "by hand in two lines": "error = y - pred  # wrong\n            loss = error.abs().mean()",
}
SAME_SHAPE = {
    "squeezed": "loss = F.mse_loss(pred.squeeze(1), y)",
    "a scalar target": "loss = F.mse_loss(pred, torch.zeros(20, 1)) + (pred - 0.5).pow(2).mean()",
    "pairwise distances": "d = pred - pred.detach().squeeze(1)\n            loss = (torch.exp(-d) * "
    "0.1).softmax(1).mean()",
    "a mean over the batch": "loss = ((pred.squeeze(1) - y.mean()) ** 2).mean()",
    "a bias that is broadcast": "loss = ((pred - torch.ones(1, 1)) ** 2).mean()",
}


@pytest.mark.parametrize("loss", BROADCAST.values(), ids=BROADCAST)
def test_shapes_that_broadcast(judging: Judging, loss: str) -> None:
    first = judging.expect("GS901", "# wrong", REGRESSION.format(loss=loss))
    assert "20 × 20" in first.message


WEIGHED_IMAGES = (
    HEAD
    + """
net = nn.Conv2d(1, 3, 3, padding=1)
opt = torch.optim.SGD(net.parameters(), lr=0.1)
for _ in range(4):
    image, classes, weight = torch.randn(5, 1, 6, 6), torch.randint(0, 3, (5, 6, 6)), torch.rand(5)
    each = F.cross_entropy(net(image), classes, reduction="none")
    loss = (weight.view({shape}) * each).mean()  # wrong
    opt.zero_grad()
    loss.backward()
    opt.step()
"""
)


def test_a_weight_for_each_sample_that_meets_all_images(judging: Judging) -> None:
    first = judging.expect("GS901", "# wrong", WEIGHED_IMAGES.format(shape="5, 1, 1, 1"))
    assert "5 × 5 × 6 × 6" in first.message
    assert loud(judging(WEIGHED_IMAGES.format(shape="5, 1, 1"))) == []


@pytest.mark.parametrize("loss", SAME_SHAPE.values(), ids=SAME_SHAPE)
def test_shapes_that_fit(judging: Judging, loss: str) -> None:
    found = judging(REGRESSION.format(loss=loss))
    assert not [one for one in loud(found) if one.code.startswith("GS9")]


CLASSIFIER = (
    HEAD
    + """
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Linear(4, 16)
        {extra}
        self.head = nn.Linear(16, {classes})
    def forward(self, x):
        h = self.head(torch.relu(self.body(x)))
        {out}

net = Net()
opt = torch.optim.SGD(net.parameters(), lr=0.1)
for _ in range(4):
    x = torch.randn(12, 4)
    y = (x[:, 0] > 0).long()
    opt.zero_grad()
    {loss}
    loss.backward()
    opt.step()
"""
)

TWICE = {
    "softmax": ("", "return h.softmax(dim=-1)  # wrong", "loss = F.cross_entropy(net(x), y)", 2),
    "module in the model": (
        "self.prob = nn.Softmax(dim=1)  # wrong",
        "return self.prob(h)",
        "loss = nn.CrossEntropyLoss()(net(x), y)",
        2,
    ),
    "through a squeeze": (
        "",
        "return F.softmax(h, 1).unsqueeze(-1)  # wrong",
        "loss = F.cross_entropy(net(x)[..., 0], y)",
        2,
    ),
    "sigmoid": (
        "",
        "return torch.sigmoid(h)  # wrong",
        "loss = F.binary_cross_entropy_with_logits(net(x)[:, 0], y.float())",
        1,
    ),
}
NO_LOGARITHM = {
    "nll of softmax": ("", "return torch.softmax(h, 1)  # wrong", "loss = F.nll_loss(net(x), y)", 2),
    "nll of scores": ("", "return h", "loss = F.nll_loss(net(x), y)", 2),
    "kl of softmax": (
        "",
        "return h.softmax(1)  # wrong",
        "loss = F.kl_div(net(x), torch.full((12, 2), 0.5), reduction='batchmean')",
        2,
    ),
}
RIGHT = {
    "scores": ("", "return h", "loss = F.cross_entropy(net(x), y)", 2),
    "log_softmax and nll": ("", "return h.log_softmax(1)", "loss = F.nll_loss(net(x), y)", 2),
    "log_softmax again": ("", "return h.log_softmax(1)", "loss = F.cross_entropy(net(x), y)", 2),
    "sigmoid and bce": ("", "return h.sigmoid()", "loss = F.binary_cross_entropy(net(x)[:, 0], y.float())", 1),
    "attention inside": ("", "return h.softmax(1) @ h.T", "loss = F.cross_entropy(net(x), torch.arange(12))", 12),
    "a soft target": ("", "return h", "loss = F.cross_entropy(net(x), net(x).detach().softmax(1))", 2),
}


@pytest.mark.parametrize(("extra", "out", "loss", "classes"), TWICE.values(), ids=TWICE)
def test_softmax_twice(judging: Judging, extra: str, out: str, loss: str, classes: int) -> None:
    first = judging.expect("GS902", "# wrong", CLASSIFIER.format(extra=extra, out=out, loss=loss, classes=classes))
    assert [place.line for place in first.related] == [judging.line("loss = ")]


@pytest.mark.parametrize(("extra", "out", "loss", "classes"), NO_LOGARITHM.values(), ids=NO_LOGARITHM)
def test_a_loss_that_needs_logarithms(judging: Judging, extra: str, out: str, loss: str, classes: int) -> None:
    first = judging(CLASSIFIER.format(extra=extra, out=out, loss=loss, classes=classes))[0]
    assert first.code == "GS903"
    if "# wrong" in out:
        assert judging.blames(first, "# wrong")


@pytest.mark.parametrize(("extra", "out", "loss", "classes"), RIGHT.values(), ids=RIGHT)
def test_losses_that_get_what_they_expect(judging: Judging, extra: str, out: str, loss: str, classes: int) -> None:
    found = judging(CLASSIFIER.format(extra=extra, out=out, loss=loss, classes=classes))
    assert not [one for one in loud(found) if one.code.startswith("GS9")]


SEQUENCE = (
    HEAD
    + """
net = nn.Sequential(nn.Embedding(9, 6), nn.Linear(6, 5))
conv = nn.Conv1d(3, 5, 1)
opt = torch.optim.SGD([*net.parameters(), *conv.parameters()], lr=0.1)
for _ in range(3):
    tokens = torch.randint(0, 9, (4, 7))
    tags = tokens % 5
    out = net(tokens)  # (4, 7, 5)
    image = conv(torch.randn(4, 3, 7))  # (4, 5, 7)
    opt.zero_grad()
    {body}
    loss.backward()
    opt.step()
"""
)
MOVED = {
    "view": "loss = F.cross_entropy(out.view(4, 5, 7), tags)  # wrong",
    "reshape": "scores = out.reshape(out.shape[0], out.shape[2], -1)  # wrong\n    loss = F.cross_entropy(scores, "
    "tags)",
    "an image merged": "maps = conv(torch.randn(4, 3, 36)).view(4, 5, 6, 6)\n"
    "    loss = F.cross_entropy(maps.reshape(-1, 5), torch.zeros(144).long())  # wrong",
    "merged": "loss = F.cross_entropy(image.reshape(-1, 5), tags.flatten())  # wrong",
}
KEPT = {
    "transpose": "loss = F.cross_entropy(out.transpose(1, 2), tags)",
    "merging the batch": "loss = F.cross_entropy(out.view(-1, 5), tags.view(-1))",
    "moved and merged": "loss = F.cross_entropy(image.transpose(1, 2).reshape(-1, 5), tags.flatten())",
    "flattening an image": "loss = image.flatten(1).pow(2).mean()",
    "splitting heads": "loss = out.view(4, 7, 5, 1).transpose(1, 2).reshape(4, 35).pow(2).mean()",
    "an axis of one": "loss = out[:, :1].view(4, 5, 1).pow(2).mean()",
}


@pytest.mark.parametrize("body", MOVED.values(), ids=MOVED)
def test_a_view_that_scrambles(judging: Judging, body: str) -> None:
    first = judging.expect("GS904", "# wrong", SEQUENCE.format(body=body))
    assert "transpose" in first.fix or "movedim" in first.fix


@pytest.mark.parametrize("body", KEPT.values(), ids=KEPT)
def test_views_that_keep_rows_together(judging: Judging, body: str) -> None:
    assert not [one for one in loud(judging(SEQUENCE.format(body=body))) if one.code.startswith("GS9")]


NORMED = (
    HEAD
    + """
from torch.utils.data import DataLoader, TensorDataset
net = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 1))
opt = torch.optim.SGD(net.parameters(), lr=0.1)
data = torch.randn(9, 3)
{loop}
    opt.zero_grad()
    net(x).pow(2).mean().backward()
    opt.step()
"""
)


@pytest.mark.parametrize(
    "loop",
    [
        "loader = DataLoader(TensorDataset(data), batch_size=4)  # wrong\nfor (x,) in loader:",
        "for x in data.split(4):  # wrong",
        "for i in range(0, 9, 4):\n    x = data[i : i + 4]  # wrong",
    ],
    ids=["loader", "split", "slices"],
)
def test_a_last_batch_of_one(judging: Judging, loop: str) -> None:
    judging.expect("GS905", "# wrong", NORMED.format(loop=loop))


def test_a_target_that_the_loss_refuses(judging: Judging) -> None:
    first = judging(HEAD + """
net = nn.Linear(3, 4)
loss = F.cross_entropy(net(torch.randn(5, 3)), torch.zeros(5, 2).long())  # wrong
loss.backward()
""")[0]  # fmt: skip
    assert first.code == "GS906"
    assert judging.blames(first, "# wrong")
