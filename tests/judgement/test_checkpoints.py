"""Checkpoints that draw other random numbers when they run again, and those that do not."""

from __future__ import annotations

import pytest

from tests.judgement.loops import NETS
from tests.judging import Judging, loud

START = (
    NETS
    + """
from torch.utils.checkpoint import checkpoint, checkpoint_sequential
noise = torch.Generator().manual_seed(1)
class Noisy(nn.Module):
    def __init__(self, own):
        super().__init__()
        self.lin, self.own = nn.Linear(4, 4), own
    def forward(self, x):
        return self.lin(x) + 0.1 * torch.randn(x.shape, generator=self.own)  # the noise
def train(forward, *parts):
    opt = torch.optim.SGD([p for part in parts for p in part.parameters()], lr=0.05)
    for _ in range(4):
        x, y = batch()
        learn(opt, F.mse_loss(forward(x), y))
"""
)
WITH_DROPOUT = """
drops, head = mlp(4, 4, nn.Dropout(0.3)), nn.Linear(4, 1)
train(lambda x: head(checkpoint(drops, x.requires_grad_({leaf}), use_reentrant={leaf}, {options})), drops, head)  # kept
"""

HEALTHY = {
    "dropout": WITH_DROPOUT.format(leaf=False, options="preserve_rng_state=True"),
    "dropout, reentrant": WITH_DROPOUT.format(leaf=True, options=""),
    "nothing random": """
part, head = mlp(4, 4), nn.Linear(4, 1)
train(lambda x: head(checkpoint(part, x, use_reentrant=False, preserve_rng_state=False)), part, head)
train(lambda x: head(checkpoint(part, x.requires_grad_(), use_reentrant=True, preserve_rng_state=False)), part, head)
""",
    "dropout behind the checkpoint": """
part, head, drop = mlp(4, 4), nn.Linear(4, 1), nn.Dropout(0.3)
train(lambda x: head(drop(checkpoint(part, drop(x), use_reentrant=False, preserve_rng_state=False))), part, head)
""",
    "noise of torch's own": """
part, head = Noisy(None), nn.Linear(4, 1)
train(lambda x: head(checkpoint(part, x, use_reentrant=False)), part, head)
""",
}


@pytest.mark.parametrize("leaf", [False, True])
def test_a_state_that_is_not_put_back(judging: Judging, leaf: bool) -> None:
    script = START + WITH_DROPOUT.format(leaf=leaf, options="preserve_rng_state=False")
    judging.expect("GS422", "# kept", script)


def test_a_state_that_is_not_put_back_in_segments(judging: Judging) -> None:
    judging.expect(
        "GS422",
        "# kept",
        START
        + """
parts, head = nn.Sequential(*(mlp(4, 4, nn.Dropout(0.3)) for _ in range(3))), nn.Linear(4, 1)
options = {"use_reentrant": False, "preserve_rng_state": False}
train(lambda x: head(checkpoint_sequential(parts, 2, x, **options)), parts, head)  # kept
""",
    )


def test_a_generator_that_torch_does_not_know(judging: Judging) -> None:
    script = """
part, head = Noisy(noise), nn.Linear(4, 1)
train(lambda x: head(checkpoint(part, x, use_reentrant=False)), part, head)
"""
    judging.expect("GS422", "# the noise", START + script)


@pytest.mark.parametrize("name", HEALTHY)
def test_nothing_is_said_of_healthy_code(judging: Judging, name: str) -> None:
    assert loud(judging(START + HEALTHY[name])) == []
