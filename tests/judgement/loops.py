"""Scripts for the tests of checks: the setup that they share, and a training loop around the lines a test is about."""

from __future__ import annotations

import textwrap

SETUP = """
import copy, torch
from dataclasses import dataclass, field
from torch import nn
import torch.nn.functional as F
torch.manual_seed(0)
def batch():
    x = torch.randn(8, 4)
    return x, x.sum(1, keepdim=True)
"""
NETS = (
    SETUP
    + """
def mlp(i, o, *between):
    return nn.Sequential(nn.Linear(i, 8), *between, nn.Tanh(), nn.Linear(8, o))
def learn(opt, loss):
    opt.zero_grad()
    loss.backward()
    opt.step()
"""
)
NET = SETUP + "net = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))\n"


def loop(body: str, *, lr: float = 0.1, times: int = 3) -> str:
    """SGD as `opt` on the model `net`, and `times` batches `x, y` with the lines `body` for each."""
    return f"""
opt = torch.optim.SGD(net.parameters(), lr={lr})
for _ in range({times}):
    x, y = batch()
{textwrap.indent(body.strip(), "    ")}
"""


PLAIN = loop("""
opt.zero_grad()
F.mse_loss(net(x), y).backward()
opt.step()
""")


# Batches of a classifier with six inputs and three classes.
BATCHES = """
import torch
import torch.nn.functional as F
from torch import nn

torch.manual_seed(0)


def batches(n=5):
    for _ in range(n):
        x = torch.randn(8, 6)
        yield x, x[:, :3].argmax(1)
"""
