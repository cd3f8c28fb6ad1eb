"""Two steps side by side: which moments, nodes and parameters are the same."""

from __future__ import annotations

from pathlib import Path

from gradscope.model.trace import Step
from gradscope.tui.pairing import Pairing
from tests.builders import mlp_trace
from tests.capturing import record_text

LOOP = """\
import torch
w = torch.ones(3, requires_grad=True)
for step in range(2):
    h = w * 2
    {extra}
    loss = (h * h).sum()
    loss.backward()
    w.grad = None
"""


def pairing(mine: Step, other: Step, *, own: bool = False, same: bool = False) -> Pairing:
    return Pairing(mine, other, (mine.graph(), other.graph()), own=own, same=same)


def words(step: Step, moment: int) -> str:
    op = step.op(moment)
    return op.name if op is not None else step.moments[moment].kind


def test_a_step_that_did_the_same_is_the_same_at_each_moment() -> None:
    trace = mlp_trace()
    mine, other = trace.step(2), trace.step(1)
    for same in (True, False):
        found = pairing(mine, other, own=True, same=same)
        assert [found.moment(at) for at in range(-1, len(mine.moments))] == [
            (at, True) for at in range(-1, len(mine.moments))
        ]
        assert found.nodes == {node.id: node.id for node in mine.graph().nodes}
        assert not found.only_mine
        assert not found.only_other


def test_what_only_one_step_did_has_no_twin_and_the_rest_stays_in_order(tmp_path: Path) -> None:
    with_extra = record_text(tmp_path, LOOP.format(extra="h = h.exp()"), "full", name="one.py").trace.step(0)
    without = record_text(tmp_path, LOOP.format(extra="pass"), "full", name="two.py").trace.step(0)
    found = pairing(with_extra, without)
    places = [found.moment(at) for at in range(len(with_extra.moments))]
    assert places == sorted(places, key=lambda place: place[0])
    for at, (other, exact) in enumerate(places):
        if exact:
            assert words(with_extra, at) == words(without, other)
    lone = [words(with_extra, at) for at, (_, exact) in enumerate(places) if not exact]
    assert "exp" in lone
    assert places[-1][0] == len(without.moments) - 1
    labels = [with_extra.graph().by_id[node].label for node in found.only_mine]
    assert "ExpBackward0" in labels
    back = pairing(without, with_extra)
    assert [with_extra.graph().by_id[node].label for node in back.only_other] == labels


def test_parameters_of_two_traces_are_the_same_by_their_names() -> None:
    mine, other = mlp_trace(), mlp_trace()
    found = pairing(mine.step(1), other.step(1))
    names = [
        (mine.names.parameters[one].name, other.names.parameters[two].name) for one, two in found.parameters.items()
    ]
    assert len(names) == 4
    assert all(one == two for one, two in names)
