"""The loss that a step tells is the one that the script means: unscaled, and the mean of what was accumulated."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.capturing import record_script

START = """\
import torch
from torch.nn import functional as F
torch.manual_seed(1)
model = torch.nn.Linear(4, 9)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
means = []
def batch(size=8):
    x, y = torch.randn(size, 4), torch.randint(0, 9, (size,))
    return F.cross_entropy(model(x), y)
"""
MICRO = """
for step in range(6):
    seen = []
    for micro in range(4):
        loss = batch()
        seen.append(loss.item())
        {share}
    means.append(sum(seen) / 4)
    optimizer.step()
    optimizer.zero_grad()
"""


def told(text: str, folder: Path, detail: str = "full") -> tuple[list[float | None], list[float]]:
    """The losses of the trace's steps, and those that the script has."""
    script = folder / "train.py"
    script.write_text(START + text)
    recorded = record_script(script, detail)
    assert recorded.namespace["__error__"] is None
    assert recorded.faults == ()
    steps = [recorded.trace.step(number).row for number in recorded.trace.steps]
    return [row.loss for row in steps if row.kind.value == "train"], recorded.namespace["means"]


@pytest.mark.parametrize(
    "share",
    [
        "(loss / 4).backward()",
        "loss = loss / 4; loss.backward()",
        "loss /= 4; loss.backward()",
        "(0.25 * loss).backward()",
        "torch.div(loss, 2).mul(0.5).backward()",
        "loss.backward()",
        "(loss / 4).backward(retain_graph=True)",
    ],
)
@pytest.mark.parametrize("detail", ["full", "graph"])
def test_accumulated_micro_batches_are_one_loss(share: str, detail: str, tmp_path: Path) -> None:
    losses, means = told(MICRO.format(share=share), tmp_path, detail)
    assert losses == pytest.approx(means, rel=1e-5)


def test_shares_may_weigh_differently(tmp_path: Path) -> None:
    text = """
for step in range(4):
    sizes, mean = [2, 6, 8], 0.0
    for size in sizes:
        loss = batch(size) * (size / sum(sizes))
        mean += loss.item()
        loss.backward()
    means.append(mean)
    optimizer.step()
    optimizer.zero_grad()
"""
    losses, means = told(text, tmp_path)
    assert losses == pytest.approx(means, rel=1e-5)


def test_the_last_accumulation_may_be_short(tmp_path: Path) -> None:
    text = """
for step in range(3):
    seen = []
    for micro in range(4 if step < 2 else 3):
        loss = batch()
        seen.append(loss.item())
        (loss / 4).backward()
    means.append(sum(seen) / len(seen))
    optimizer.step()
    optimizer.zero_grad()
"""
    losses, means = told(text, tmp_path)
    assert losses == pytest.approx(means, rel=1e-5)


@pytest.mark.parametrize(
    "share",
    [
        "scaler.scale(loss / 4).backward()",
        "(scaler.scale(loss) / 4).backward()",
        "loss /= 4; scaled = scaler.scale(loss); scaled.backward()",
        "scaler.scale(loss).backward()",
    ],
)
def test_a_scaler_is_no_part_of_the_loss(share: str, tmp_path: Path) -> None:
    text = 'scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)' + MICRO.format(share=share)
    text = text.replace("optimizer.step()", "scaler.step(optimizer); scaler.update()")
    losses, means = told(text, tmp_path)
    assert losses == pytest.approx(means, rel=1e-4)


@pytest.mark.parametrize("detail", ["full", "graph", "steps"])
def test_a_scaled_loss_is_told_unscaled_at_every_detail(detail: str, tmp_path: Path) -> None:
    text = """
scaler = torch.amp.GradScaler("cpu", init_scale=4096.0, growth_interval=2)
for step in range(6):
    loss = batch()
    means.append(loss.item())
    optimizer.zero_grad()
    scaler.scale(loss).backward()
    scaler.step(optimizer)
    scaler.update()
"""
    losses, means = told(text, tmp_path, detail)
    assert losses == pytest.approx(means, rel=1e-4)


def test_measuring_what_is_scaled_is_no_op_of_the_script(tmp_path: Path) -> None:
    script = tmp_path / "train.py"
    script.write_text(START + "scaler = torch.amp.GradScaler('cpu')\nscaler.scale(batch()).backward()\n")
    assert "item" not in record_script(script).ops()


@pytest.mark.parametrize(
    "line", ["loss = 0.5 * batch()", "loss = batch() * torch.tensor(0.3)", "loss = batch() / 2 + batch() / 3"]
)
def test_a_factor_of_the_loss_is_a_part_of_it(line: str, tmp_path: Path) -> None:
    text = f"""
for step in range(4):
    {line}
    means.append(loss.item())
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""
    losses, means = told(text, tmp_path)
    assert losses == pytest.approx(means, rel=1e-5)


def test_two_losses_of_one_update_are_summed_and_one_before_another_update_is_not(tmp_path: Path) -> None:
    text = """
other = torch.nn.Linear(4, 9)
second = torch.optim.SGD(other.parameters(), lr=0.1)
for step in range(4):
    optimizer.zero_grad()
    batch().backward()
    optimizer.step()
    second.zero_grad()
    real = other(torch.ones(2, 4)).square().mean()
    real.backward()
    fake = other(torch.zeros(2, 4)).square().mean()
    fake.backward()
    second.step()
    means.append(real.item() + fake.item())
"""
    losses, means = told(text, tmp_path)
    assert losses == pytest.approx(means, rel=1e-5)


def test_what_was_evaluated_before_the_gradients_were_cleared_is_not_summed(tmp_path: Path) -> None:
    text = """
lbfgs = torch.optim.LBFGS(model.parameters(), max_iter=4)
x, y = torch.randn(8, 4), torch.randint(0, 9, (8,))
def closure():
    lbfgs.zero_grad()
    loss = F.cross_entropy(model(x), y)
    loss.backward()
    last.append(loss.item())
    return loss
for step in range(3):
    last = []
    lbfgs.step(closure)
    means.append(last[-1])
"""
    losses, means = told(text, tmp_path)
    assert losses == pytest.approx(means, rel=1e-5)


@pytest.mark.parametrize("share", ["(loss * torch.tensor(0.25)).backward()", "(loss * 0.7).backward()"])
def test_shares_of_an_unknown_whole_are_not_guessed(share: str, tmp_path: Path) -> None:
    losses, _ = told(MICRO.format(share=share), tmp_path)
    assert losses == [None] * 6
