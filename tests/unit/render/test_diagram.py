"""What a Diagram shows of itself where it is not drawn."""

from __future__ import annotations

from gradscope.render.diagram import Diagram
from tests import builders


def test_a_diagram_introduces_itself_in_one_line() -> None:
    graph = builders.ab2_trace().step(0).graph("both")
    shown = repr(Diagram(graph))
    assert "\n" not in shown
    assert shown.startswith(f"<Diagram of {len(graph.nodes)} nodes")
