"""NaN and Inf are found where they were born; what is meant to be infinite is left alone."""

from __future__ import annotations

import pytest

from tests.judging import Judging, loud

TRAIN = """
import torch
from torch import nn
torch.manual_seed(0)
model = nn.Linear(4, 1)
opt = torch.optim.SGD(model.parameters(), lr=0.1)
x = torch.randn(16, 4)
for epoch in range(3):
    opt.zero_grad()
    out = model(x)
    {body}
    loss.backward()
    opt.step()
"""


def train(body: str) -> str:
    return TRAIN.format(body=body.strip().replace("\n", "\n    "))


FORWARD = {
    "division by zero": "scale = (out * 0).detach()\nloss = (1 / scale).mean() + (out / scale).mean()  # born",
    "log of a negative": "loss = (out - 100).log().mean()  # born",
    "overflow of exp": "z = (out * 0 + 100).exp()  # born\nloss = (z / z).mean()",
    "mean of nothing": "loss = out[out > 1e9].mean()  # born",
    "softmax of a masked row": "row = out.T.masked_fill(torch.ones(1, 16).bool(), -torch.inf)\n"
    "loss = row.softmax(1).sum()  # born",
    "under no_grad": "with torch.no_grad():\n    w = 1 / (out - out)  # born\nloss = (w * out).sum()",
}


@pytest.mark.parametrize("body", FORWARD.values(), ids=FORWARD)
def test_the_first_op_that_made_it_is_the_culprit(judging: Judging, body: str) -> None:
    first = judging.expect("GS801", "# born", train(body))
    assert "finite" in first.explanation


BACKWARD = {
    "sqrt at zero": "loss = (out - out.detach()).abs().sqrt().mean()  # born",
    "norm of zero behind a mask": "n = torch.sqrt((out - out.detach()) ** 2)  # born\n"
    "loss = torch.where(n > 0, n, out).mean()",
    "a fractional power at zero": "z = (out - out.detach()) ** 0.5  # born\nloss = z.mean()",
    "acos at one": "c = (out / out.detach()).clamp(max=1)\nloss = torch.acos(c).mean()  # born",
}


@pytest.mark.parametrize("body", BACKWARD.values(), ids=BACKWARD)
def test_an_infinite_derivative_is_found_at_its_op(judging: Judging, body: str) -> None:
    first = judging.expect("GS802", "# born", train(body))
    assert any("backward" in place.code for place in first.related)


def test_a_bad_number_from_an_earlier_step_is_traced_to_its_line(judging: Judging) -> None:
    first = judging("""
        import torch
        from torch import nn
        from helper import targets
        model = nn.Linear(2, 1)
        opt = torch.optim.SGD(model.parameters(), lr=0.1)
        x = torch.randn(6, 2)
        y = targets(x)
        for _ in range(3):
            opt.zero_grad()
            ((model(x) - y) ** 2).mean().backward()
            opt.step()
    """, helper="""
        def targets(x):
            centred = x - x
            return centred / centred.norm(dim=1, keepdim=True)  # born
    """)[0]  # fmt: skip
    assert first.code == "GS801"
    assert judging.blames(first, "# born", "helper.py")


def test_bad_data_is_told_from_a_bad_op(judging: Judging) -> None:
    first = judging("""
        import torch
        from torch import nn
        model = nn.Linear(2, 1)
        opt = torch.optim.SGD(model.parameters(), lr=0.1)
        x = torch.tensor([[1.0, 2.0], [float("nan"), 1.0]])  # born
        for _ in range(3):
            opt.zero_grad()
            model(x).mean().backward()
            opt.step()
    """)[0]
    assert first.code == "GS803"
    assert judging.blames(first, "# born")


def test_divergence_is_blamed_on_the_update(judging: Judging) -> None:
    first = judging("""
        import torch
        from torch import nn
        torch.manual_seed(0)
        model = nn.Linear(4, 1)
        opt = torch.optim.SGD(model.parameters(), lr=100.0)
        x = torch.randn(16, 4)
        for _ in range(60):
            opt.zero_grad()
            (model(x) ** 2).mean().backward()
            opt.step()  # the update
    """)[0]
    assert first.code == "GS804"
    assert judging.blames(first, "# the update")
    assert "learning rate" in first.fix


def test_an_update_that_divides_by_zero(judging: Judging) -> None:
    first = judging("""
        import torch
        from torch import nn
        model = nn.Linear(2, 1)
        opt = torch.optim.Adam(model.parameters(), eps=0.0)
        x = torch.zeros(4, 2)
        for _ in range(2):
            opt.zero_grad()
            model(x).sum().backward()
            opt.step()  # the update
    """)[0]
    assert first.code == "GS805"
    assert judging.blames(first, "# the update")


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("loss = (out - 100).log().mean()", "The logarithm of 0 is -inf, that of a negative number NaN"),
        ("loss = (out * 0).lgamma().mean()", "For these values lgamma gives Inf."),
    ],
)
def test_an_op_keeps_its_name_where_a_sentence_begins(judging: Judging, body: str, told: str) -> None:
    assert judging(train(body))[0].explanation.startswith(told)


HEALTHY = {
    "an attention mask": "m = torch.zeros(16, 16).masked_fill(torch.ones(16, 16).triu(1).bool(), -torch.inf)\n"
    "loss = ((out @ out.T + m).softmax(1) @ out).pow(2).mean()",
    "a running maximum": "best = torch.full((16, 1), -torch.inf)\nbest = torch.maximum(best, out)\nloss = best.mean()",
    "a safe root": "loss = torch.sqrt(torch.where(out > 0, out, 1)).mean()",
    "a NaN that nobody uses": "debug = (out - 100).log().mean()\nloss = out.pow(2).mean()",
}


@pytest.mark.parametrize("body", HEALTHY.values(), ids=HEALTHY)
def test_what_is_meant_to_be_infinite_is_no_finding(judging: Judging, body: str) -> None:
    assert not [one for one in loud(judging(train(body))) if one.code.startswith("GS80")]


def test_a_grad_scaler_that_probes_its_scale_is_no_finding(judging: Judging) -> None:
    found = judging("""
        import torch
        from torch import nn
        torch.manual_seed(0)
        model = nn.Linear(4, 1)
        opt = torch.optim.SGD(model.parameters(), lr=0.01)
        scaler = torch.amp.GradScaler("cpu", init_scale=2.0**100, growth_interval=100)
        x = torch.randn(8, 4)
        for _ in range(4):
            opt.zero_grad()
            with torch.autocast("cpu", dtype=torch.float16):
                loss = model(x).pow(2).mean()
            scaler.scale(loss).backward()
            scaler.step(opt)
            scaler.update()
    """)
    assert not [one for one in loud(found) if one.code.startswith("GS80")]


def test_without_statistics_it_says_where_it_shows_and_what_to_try(judging: Judging) -> None:
    first = judging.expect("GS801", "loss.backward()", train("loss = (out - 100).log().mean()"), detail="steps")
    assert "--detail full" in first.fix
