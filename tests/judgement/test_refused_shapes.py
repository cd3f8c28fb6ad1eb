"""Shapes, indices, targets and dtypes that torch refuses (GS906 to GS908, GS954): the line to change, and the twin.

In each script the text before `->` is wrong and the one after it right; `# culprit` marks the line to blame.
"""

from __future__ import annotations

import textwrap
from typing import NamedTuple

import pytest

from tests.judging import Judging, loud

HEAD = """
import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

torch.manual_seed(0)
"""


class Refused(NamedTuple):
    """A script, what is wrong in it and what would be right, and what its finding says and advises."""

    code: str
    says: str
    advises: str
    wrong: str
    right: str
    script: str


BUGS = {
    "a head made for pictures of another size": Refused(
        "GS907",
        "head takes 400 features",
        "nn.Linear(144, n)",
        "nn.Linear(4 * 10 * 10, n)",
        "nn.Linear(4 * 6 * 6, n)",
        """
        class Net(nn.Module):
            def __init__(self, n=3):
                super().__init__()
                self.body = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.MaxPool2d(2))
                self.head = nn.Linear(4 * 10 * 10, n)  # culprit

            def forward(self, x):
                return self.head(self.body(x).flatten(1))

        F.cross_entropy(Net()(torch.randn(2, 1, 14, 14)), torch.tensor([0, 2])).backward()
        """,
    ),
    "rows that were not made": Refused(
        "GS907",
        "takes 12 features",
        "net(x.flatten(1))",
        "net(x)",
        "net(x.flatten(1))",
        """
        net = nn.Linear(12, 2)

        def score(x):
            return net(x)  # culprit

        score(torch.randn(5, 3, 4)).sum().backward()
        """,
    ),
    "features that are not the last axis": Refused(
        "GS907",
        "tokens takes 5 features",
        "self.tokens(x.permute(0, 2, 1))",
        "self.tokens(x)",
        "self.tokens(x.transpose(1, 2))",
        """
        class Mixer(nn.Module):
            def __init__(self):
                super().__init__()
                self.tokens = nn.Linear(5, 5)

            def forward(self, x):
                return self.tokens(x)  # culprit

        Mixer()(torch.randn(2, 5, 7)).sum().backward()
        """,
    ),
    "an image whose channels come last, in a list of layers": Refused(
        "GS907",
        "takes 3 channels",
        ".permute(0, 3, 1, 2)",
        "torch.randn(2, 9, 9, 3)",
        "torch.randn(2, 3, 9, 9)",
        """
        net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())
        net(torch.randn(2, 9, 9, 3)).sum().backward()  # culprit
        """,
    ),
    "a norm for another width": Refused(
        "GS907",
        "takes 3 channels",
        "nn.BatchNorm2d(6)",
        "nn.BatchNorm2d(3)",
        "nn.BatchNorm2d(6)",
        """
        layers = [nn.Conv2d(1, 6, 3)]
        layers.append(nn.BatchNorm2d(3))  # culprit
        nn.Sequential(*layers)(torch.randn(2, 1, 8, 8)).sum().backward()
        """,
    ),
    "keys that are not transposed": Refused(
        "GS907",
        "k (2, 5, 8)",
        "k.transpose(-2, -1)",
        "q @ k",
        "q @ k.transpose(-2, -1)",
        """
        def attend(q, k, v):
            return (q @ k).softmax(-1) @ v  # culprit

        q, k, v = nn.Linear(8, 24)(torch.randn(2, 5, 8)).chunk(3, dim=-1)
        attend(q, k, v).sum().backward()
        """,
    ),
    "weights for each row of a table": Refused(
        "GS907",
        "weight (4,)",
        "[..., None]",
        "error * weight",
        "error * weight[:, None]",
        """
        weight = torch.rand(4)
        error = nn.Linear(3, 2)(torch.randn(4, 3))
        (error * weight).mean().backward()  # culprit
        """,
    ),
    "a state of the first batch's size": Refused(
        "GS907",
        "(1, 2, 6)",
        "drop_last",
        "range(0, 10, 4)",
        "range(0, 8, 4)",
        """
        rnn, data, state = nn.GRU(5, 6, batch_first=True), torch.randn(10, 7, 5), torch.zeros(1, 4, 6)
        for i in range(0, 10, 4):
            out, state = rnn(data[i : i + 4], state)  # culprit
            out.sum().backward()
            state = state.detach()
        """,
    ),
    "a view after a transpose": Refused(
        "GS907",
        "(2, 4, 3)",
        ".reshape(2, 12)",
        ".view(2, 12)",
        ".reshape(2, 12)",
        """
        x = torch.randn(2, 3, 4, requires_grad=True)
        x.transpose(1, 2).view(2, 12).sum().backward()  # culprit
        """,
    ),
    "a histogram inside vmap": Refused(
        "GS907",
        "function transform",
        "torch.stack",
        "out = torch.zeros(3)",
        "out = torch.zeros_like(x)",
        """
        def counts(x):
            out = torch.zeros(3)
            for i in range(3):
                out[i] += x[i]  # culprit
            return out

        torch.func.vmap(counts)(torch.randn(4, 3))
        """,
    ),
    "positions beyond the table": Refused(
        "GS908",
        "where does not have",
        "largest index + 1",
        "nn.Embedding(6, 4)",
        "nn.Embedding(9, 4)",
        """
        class Tokens(nn.Module):
            def __init__(self):
                super().__init__()
                self.where = nn.Embedding(6, 4)

            def forward(self, ids):
                places = torch.arange(ids.shape[1])
                return self.where(places)  # culprit

        Tokens()(torch.zeros(2, 9)).sum().backward()
        """,
    ),
    "a class that the head does not have": Refused(
        "GS906",
        "class 3",
        "4 outputs",
        "nn.Linear(2, 3)",
        "nn.Linear(2, 4)",
        """
        head = nn.Linear(2, 3)
        F.cross_entropy(head(torch.randn(3, 2)), torch.tensor([1, 2, 3])).backward()  # culprit
        """,
    ),
    "tags of a sequence": Refused(
        "GS906",
        "the classes are the last axis",
        "scores.transpose(1, -1)",
        "(scores, tags)",
        "(scores.transpose(1, -1), tags)",
        """
        scores, tags = nn.Linear(4, 5)(torch.randn(2, 6, 4)), torch.randint(0, 5, (2, 6))
        F.cross_entropy(scores, tags).backward()  # culprit
        """,
    ),
    "a probability for each in a column": Refused(
        "GS906",
        "(4, 1)",
        ".squeeze(-1)",
        "net(x)",
        "net(x).squeeze(-1)",
        """
        net, x = nn.Sequential(nn.Linear(3, 1), nn.Sigmoid()), torch.randn(4, 3)
        F.binary_cross_entropy(net(x), torch.ones(4)).backward()  # culprit
        """,
    ),
    "a mean of float64, kept by a class": Refused(
        "GS954",
        "float64",
        "torch.from_numpy(rows).float()",
        "torch.from_numpy(rows)",
        "torch.from_numpy(rows).float()",
        """
        class Scaled:
            def __init__(self, rows):
                self.mean = rows.mean(0)

            def __call__(self, x):
                return x - self.mean

        rows = np.random.rand(10, 4)
        scaled = Scaled(torch.from_numpy(rows))  # culprit
        nn.Linear(4, 1)(scaled(torch.randn(3, 4))).sum().backward()
        """,
    ),
    "what autocast gave to a layer outside of it": Refused(
        "GS954",
        "bfloat16",
        ".float()",
        "h = body(torch.randn(4, 3))",
        "h = body(torch.randn(4, 3)).float()",
        """
        body, head = nn.Linear(3, 4), nn.Linear(4, 1)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            h = body(torch.randn(4, 3))  # culprit
        head(h).mean().backward()
        """,
    ),
    "a spectrum given to a layer": Refused(
        "GS954",
        "complex64",
        ".abs()",
        "torch.fft.rfft(x)",
        "torch.fft.rfft(x).abs()",
        """
        x = torch.randn(3, 6)
        spectrum = torch.fft.rfft(x)  # culprit
        nn.Linear(4, 2)(spectrum).sum().backward()
        """,
    ),
    "labels for yes and no as whole numbers": Refused(
        "GS954",
        "y is int64",
        "torch.tensor([0, 1, 1]).float()",
        "torch.tensor([0, 1, 1])",
        "torch.tensor([0.0, 1.0, 1.0])",
        """
        y = torch.tensor([0, 1, 1])  # culprit
        logits = nn.Linear(4, 1)(torch.randn(3, 4)).squeeze(1)
        F.binary_cross_entropy_with_logits(logits, y).backward()
        """,
    ),
}


@pytest.mark.parametrize("bug", BUGS.values(), ids=BUGS)
def test_what_does_not_fit_is_told_at_its_line(judging: Judging, bug: Refused) -> None:
    script = HEAD.lstrip() + textwrap.dedent(bug.script)
    assert bug.wrong in script
    found = judging.expect(bug.code, "# culprit", script)
    assert bug.says in found.message, found.message
    assert bug.advises in found.fix, found.fix
    assert not loud(judging(script.replace(bug.wrong, bug.right)))


def test_a_leaf_is_not_cast_where_it_is_made(judging: Judging) -> None:
    script = """
        shift = nn.Parameter(torch.zeros(2, dtype=torch.float64))  # culprit
        torch.addmm(shift, torch.randn(4, 3), torch.randn(3, 2)).sum().backward()
    """
    found = judging.expect("GS954", "# culprit", HEAD.lstrip() + textwrap.dedent(script))
    assert not found.fixes
    assert "dtype=torch.float32" in found.fix
