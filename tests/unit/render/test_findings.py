"""Findings in pictures: every output marks the nodes that a finding names, and says what was found."""

from __future__ import annotations

import json
from xml.etree import ElementTree as ET

import jsonschema
import pytest

from gradscope.model.findings import Finding, Severity
from gradscope.model.graph import Graph, GraphKind
from gradscope.render.base import RenderOptions
from gradscope.render.diagram import Diagram
from gradscope.render.registry import render
from gradscope.render.theme import THEMES, legend
from gradscope.render.view import GraphView, NodeView
from gradscope.transforms import by_node, fit, mark_findings
from tests.builders import inplace_trace
from tests.unit.render import graphs
from tests.unit.render.test_registry import SCHEMA

MESSAGE = "y was changed in place after pow saved it"
Y, MUL, POW_BACKWARD = 1, 4, 9  # tensor, op and grad node ids of inplace_trace's step


def finding(*nodes: int, severity: Severity = Severity.ERROR, step: int | None = 0, code: str = "GS101") -> Finding:
    return Finding(code, "saved-tensor-modified", severity, MESSAGE, 0.9, step, nodes=nodes)


def inplace(kind: str = "both") -> Graph:
    return inplace_trace().step(0).graph(kind)


def marked(view: GraphView) -> dict[str, NodeView]:
    return {node.title: node for node in view.nodes if node.findings}


def test_a_named_node_says_what_was_found() -> None:
    view = GraphView(inplace(), findings=[finding(Y)])
    found = marked(view)
    assert found.keys() == {"y"}
    y = found["y"]
    assert y.marks[0] == "error"
    assert y.badges[0] == "GS101 saved-tensor-modified"
    assert y.messages == (MESSAGE,)
    assert f"error GS101 saved-tensor-modified: {MESSAGE}" in y.tooltip.splitlines()
    assert "finding: error" in [entry.word for entry in legend(view, THEMES["light"])]


def test_without_findings_nothing_is_marked() -> None:
    view = GraphView(inplace())
    assert not marked(view)
    assert not any(word.startswith("finding") for word in (entry.word for entry in legend(view, THEMES["dark"])))


@pytest.mark.parametrize(
    ("kind", "node", "title"),
    [
        ("both", MUL, "y"),
        ("forward", MUL, "mul"),
        ("backward", MUL, "MulBackward0"),
        ("backward", Y, "MulBackward0"),
        ("backward", 0, "AccumulateGrad"),
        ("forward", POW_BACKWARD, "z"),
        ("both", POW_BACKWARD, "PowBackward0"),
    ],
)
def test_a_node_that_a_kind_does_not_draw_is_told_of_by_its_partner(kind: str, node: int, title: str) -> None:
    assert marked(GraphView(inplace(kind), findings=[finding(node)])).keys() == {title}


def test_findings_of_another_step_and_unknown_nodes_mark_nothing() -> None:
    view = GraphView(inplace(), findings=[finding(Y, step=3), finding(999, code="GS205"), finding()])
    assert not marked(view)
    assert view.notes[-1] == "outside this picture: GS205 saved-tensor-modified"


def test_the_gravest_comes_first() -> None:
    view = GraphView(inplace(), findings=[finding(Y, severity=Severity.NOTE, code="GS9"), finding(Y)])
    y = marked(view)["y"]
    assert y.marks[:2] == ("error", "note")
    assert [one.code for one in y.findings] == ["GS101", "GS9"]


def test_a_folded_node_carries_what_was_found_inside_it() -> None:
    graph = graphs.resnet(16)
    inner = next(node.id for node in graph.nodes if node.module and node.module.startswith("layer1.7."))
    found = [finding(inner)]
    fitted = fit(mark_findings(graph, found), 20).graph
    assert inner not in fitted.by_id
    (home,) = by_node(fitted, found)
    assert inner in fitted.by_id[home].members
    assert "error" in fitted.by_id[home].marks


def test_what_was_found_stays_in_a_picture_that_is_cut_down() -> None:
    graph = graphs.chain(400)
    middle = graph.nodes[200].id
    fitted = fit(mark_findings(graph, [finding(middle)]), 12).graph
    assert middle in fitted.by_id  # a marked node is in no folded chain
    assert len(fitted.nodes) <= 12


@pytest.mark.parametrize("kind", [kind.value for kind in GraphKind])
def test_json_has_the_findings_of_each_node(kind: str) -> None:
    document = json.loads(render(inplace(kind), "json", findings=[finding(Y, MUL)]))
    jsonschema.validate(document, SCHEMA)
    named = [node for node in document["nodes"] if "finding" in node]
    assert named
    for node in named:
        assert node["finding"] == [
            {"code": "GS101", "name": "saved-tensor-modified", "severity": "error", "message": MESSAGE}
        ]


@pytest.mark.parametrize("name", ["svg", "dot", "mermaid", "graphml", "text"])
def test_every_output_shows_it(name: str) -> None:
    found = [finding(Y)]
    drawn = render(inplace(), name, findings=found).decode()
    assert "GS101 saved-tensor-modified" in drawn or "GS101 saved#45;tensor#45;modified" in drawn
    assert "pow saved it" in drawn
    assert "GS101" not in render(inplace(), name).decode()


def test_the_svg_tells_it_on_the_node_and_frames_it() -> None:
    root = ET.fromstring(Diagram(inplace(), findings=[finding(Y)]).svg())
    space = "{http://www.w3.org/2000/svg}"
    group = next(one for one in root.iter(f"{space}g") if one.get("data-id") == str(Y))
    title = group.find(f"{space}title")
    assert title is not None
    assert MESSAGE in (title.text or "")
    red = THEMES["light"].badges["error"].line.lower()
    assert red in {(shape.get("stroke") or "").lower() for shape in group.iter()}
    assert red in {(shape.get("fill") or "").lower() for shape in group.iter(f"{space}polygon")}


def test_text_tells_the_severities_apart_in_ascii() -> None:
    found = [finding(Y), finding(0, severity=Severity.WARNING, code="GS2")]
    drawn = render(inplace(), "text", None, RenderOptions(ascii=True), found).decode()
    assert "X GS101 saved-tensor-modified" in drawn
    assert "? GS2 saved-tensor-modified" in drawn


def test_a_hostile_message_stays_one_line_of_text() -> None:
    bad = Finding("GS1", "x", Severity.ERROR, "a\nb\x1b[31m<script>&", 0.5, 0, nodes=(Y,))
    for name in ("svg", "dot", "mermaid", "graphml", "text"):
        drawn = render(inplace(), name, findings=[bad]).decode()
        assert "\x1b" not in drawn
        if name in ("svg", "graphml"):
            assert "<script>" not in drawn
