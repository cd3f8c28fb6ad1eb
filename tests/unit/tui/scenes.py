"""Scenes made by hand, as the application makes them."""

from __future__ import annotations

from gradscope.model.findings import Finding
from gradscope.model.graph import GraphKind
from gradscope.model.trace import Trace
from gradscope.tui.scene import Scene
from gradscope.tui.session import Session


def scene_of(
    trace: Trace,
    step: int = 0,
    moment: int = -1,
    kind: GraphKind = GraphKind.BOTH,
    selected: int | None = None,
    findings: tuple[Finding, ...] = (),
) -> Scene:
    """The scene at a moment; a negative moment other than -1 counts from the step's end."""
    session = Session(trace)
    loaded = session.load(step)
    moment = moment if moment >= -1 else len(loaded) + moment + 1
    return Scene(
        trace,
        loaded.step,
        moment,
        loaded.history.at(moment),
        kind,
        session.build(loaded, kind),
        selected,
        findings,
        step_numbers=trace.source.step_numbers(),
        samples=loaded.samples,
        touches=loaded.touches,
    )


def moment_of(trace: Trace, kind: str, step: int = 0, nth: int = 0) -> int:
    """The position of the step's nth moment of a kind."""
    found = [index for index, moment in enumerate(trace.step(step).moments) if moment.kind == kind]
    return found[nth]
