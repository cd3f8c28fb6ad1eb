"""Jumps over steps: found where they are, in both directions, reading no more steps than needed."""

from __future__ import annotations

from typing import Any

import pytest

from gradscope.model.findings import Finding, Place, Severity
from gradscope.model.records import StepRow
from gradscope.model.trace import Trace
from gradscope.tui import jumps
from gradscope.tui.cursor import START
from gradscope.tui.cursor import Place as At
from gradscope.tui.session import Loaded, Session
from gradscope.tui.touches import CHANGES, Touches
from tests import builders


class Counting(Session):
    """Counts the steps that were read."""

    def __init__(self, trace: Trace) -> None:
        super().__init__(trace)
        self.read: list[int] = []

    def load(self, number: int) -> Any:
        self.read.append(number)
        return super().load(number)


def never() -> bool:
    return False


def test_changes_of_a_parameter_go_on_over_steps_in_both_directions() -> None:
    trace = builders.mlp_trace(4)
    session = Session(trace)
    tensor = next(one for one in trace.step(0).tensors if one.name == "fc1.weight")
    expected = [
        At(number, event.moment)
        for number in trace.steps
        for event in Touches(trace.step(number).template).of(
            next(one.number for one in trace.step(number).tensors if one.name == "fc1.weight")
        )
        if event.touch in CHANGES
    ]
    walked, here = [], At(0, START)
    while (place := jumps.seek(session, jumps.changes(tensor), here, 1, never)) is not None:
        walked.append(place)
        here = place
    assert walked == expected
    assert len(walked) > 4
    back = []
    while (place := jumps.seek(session, jumps.changes(tensor), here, -1, never)) is not None:
        back.append(place)
        here = place
    assert back == expected[-2::-1]


def test_steps_that_cannot_have_one_are_not_read() -> None:
    session = Counting(builders.mlp_trace(50, detail=builders.Detail.GRAPH))
    assert jumps.seek(session, jumps.moves(), At(0, START), 1, never) is None
    assert jumps.seek(session, jumps.BadNumbers(), At(0, START), 1, never) is None
    assert set(session.read) == {0}


def test_a_cancelled_search_ends() -> None:
    session = Counting(builders.mlp_trace(50))
    assert jumps.seek(session, jumps.BadNumbers(), At(0, START), 1, lambda: True) is None
    assert session.read == [0]


def test_a_bad_norm_is_found_in_the_step_that_has_it() -> None:
    trace = builders.mlp_trace(6, detail=builders.Detail.GRAPH)
    row = trace.source.step_row(4)
    trace.source.put_step(row._replace(loss=float("nan")))  # type: ignore[attr-defined]
    place = jumps.seek(Session(trace), jumps.BadNumbers(), At(0, START), 1, never)
    step = trace.step(4)
    assert place is not None
    assert place.step == 4
    call = step.op(place.moment)
    assert call is not None
    assert step.tensors[call.outputs[0]].name == "loss", "born by then"


def finding(step: int | None, line: int, nodes: tuple[int, ...] = ()) -> Finding:
    culprit = Place("train.py", line, "") if line else None
    return Finding("GS1", "x", Severity.ERROR, "wrong", 1.0, step, culprit, nodes=nodes)


def test_findings_are_places_of_their_line() -> None:
    trace = builders.mlp_trace(5)
    goal = jumps.FindingPlaces([finding(3, 24), finding(1, 21)])
    session = Counting(trace)
    place = jumps.seek(session, goal, At(0, START), 1, never)
    assert place is not None
    assert place.step == 1
    stack = trace.step(1).moments[place.moment].stack
    assert trace.source_lines(stack)[0].line == 21
    further = jumps.seek(session, goal, place, 1, never)
    assert further is not None
    assert further.step == 3
    assert 2 not in session.read
    assert 4 not in session.read


@pytest.mark.parametrize(("line", "nodes", "kind"), [(24, (), "backward"), (999, (), None), (0, (8,), "op")])
def test_a_findings_moment(line: int, nodes: tuple[int, ...], kind: str | None) -> None:
    step = builders.mlp_trace().step(0)
    moment = jumps.finding_moment(step, finding(0, line, nodes))
    assert (step.moments[moment].kind if moment >= 0 else None) == kind


def test_origin_and_first_use() -> None:
    trace = builders.mlp_trace()
    loaded = Session(trace).load(0)
    numbers = {tensor.name: tensor.number for tensor in loaded.step.tensors}
    made = jumps.origin(loaded, numbers["h"])
    assert made is not None
    assert loaded.step.moments[made.moment].name == "relu"  # type: ignore[union-attr]
    used = jumps.first_use(loaded, numbers["h"])
    assert used is not None
    assert loaded.step.moments[used.moment].name == "linear"  # type: ignore[union-attr]
    assert jumps.origin(loaded, numbers["fc1.weight"]) is None
    assert jumps.carried_from(Session(trace), loaded, numbers["fc1.weight"]) is None


class Marked:
    """A goal at given places."""

    word = "mark"

    def __init__(self, *places: At) -> None:
        self.places = places

    def possible(self, row: StepRow, session: Session) -> bool:  # the places tell it
        return any(place.step == row.number for place in self.places)

    def moments(self, loaded: Loaded) -> list[int]:
        return sorted(place.moment for place in self.places if place.step == loaded.step.number)


def test_around_a_step_its_own_places_come_in_turn_and_others_only_where_it_has_none() -> None:
    session, looked = Session(builders.mlp_trace(4)), []
    goal = Marked(At(1, 3), At(1, 7), At(3, 2), At(0, 5))

    def around(here: At) -> At | None:
        return jumps.seek_around(session, goal, here, never, looked.append)

    assert around(At(1, START)) == At(1, 3)
    assert around(At(1, 3)) == At(1, 7)
    assert around(At(1, 7)) == At(1, 3), "after the last one the first again"
    assert looked == []
    assert around(At(2, 4)) == At(3, 2)
    assert jumps.seek_around(session, Marked(At(0, 5)), At(2, 4), never, looked.append) == At(0, 5)
    assert jumps.seek_around(session, Marked(), At(2, 4), never, looked.append) is None
    assert looked == [3, 3, 1, 0, 3, 1, 0]
