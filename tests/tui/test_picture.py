"""Pictures of graphs: rows, folds, focus and search; when rows are reached. No Textual."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gradscope.model.graph import EdgeKind, Graph, GraphKind, NodeKind
from gradscope.model.moments import NodeRun
from gradscope.model.records import Detail
from gradscope.model.samples import SampleIndex
from gradscope.model.state import State
from gradscope.model.trace import Trace
from gradscope.tui.lanes.gallery import Gallery
from gradscope.tui.lanes.picture import MANY, Focus, Picture, Shape, modules_of, nearby
from gradscope.tui.lanes.reach import Reach, bad_nodes, bad_rows
from gradscope.tui.lanes.rows import AHEAD, DONE, NOW
from gradscope.tui.scene import Scene
from tests import builders
from tests.capturing import record_text
from tests.properties.test_transforms_laws import graphs
from tests.properties.traces_at_random import programs


def picture_of(trace: Trace, step: int = 0, kind: GraphKind = GraphKind.BOTH, shape: Shape = Shape()) -> Picture:  # noqa: B008
    found = trace.step(step)
    return Picture(found.graph(kind), shape, Reach(found.template))


def scene_of(trace: Trace, step: int, moment: int, kind: GraphKind = GraphKind.BOTH) -> Scene:
    found = trace.step(step)
    at = State.at(found, moment)
    return Scene(trace, found, moment, at, kind, found.graph(kind), None, samples=SampleIndex(found.samples))


SHAPES = st.builds(
    Shape,
    opened=st.none() | st.just(frozenset()) | st.just(frozenset({"encoder", "encoder.0"})),
    repeats=st.booleans(),
)


@given(graphs(), SHAPES)
@settings(max_examples=60, deadline=None)
def test_every_node_stands_in_exactly_one_row_below_what_it_depends_on(graph: Graph, shape: Shape) -> None:
    template = builders.ab2_trace().step(0).template
    picture = Picture(graph, shape, Reach(template))
    assert set(picture.row_of) == {node.id for node in graph.nodes}
    assert set(picture.row_of.values()) == set(range(len(picture)))
    for edge in picture.shown.edges:
        if edge.kind is not EdgeKind.MADE:
            assert picture.lanes.row[edge.source] < picture.lanes.row[edge.target]


@given(graphs(), st.data())
@settings(max_examples=60, deadline=None)
def test_focus_shows_what_leads_to_a_node_or_follows_from_it(graph: Graph, data: st.DataObject) -> None:
    if not graph.nodes:
        return
    node = data.draw(st.sampled_from([node.id for node in graph.nodes]))
    reach = Reach(builders.ab2_trace().step(0).template)
    before = set(Picture(graph, Shape(focus=Focus("ancestors", (node,))), reach).row_of)
    after = set(Picture(graph, Shape(focus=Focus("descendants", (node,))), reach).row_of)
    assert node in before
    assert node in after
    assert before <= graph.ancestors(node)
    assert after <= graph.descendants(node)
    other = data.draw(st.sampled_from([node.id for node in graph.nodes]))
    paths = set(Picture(graph, Shape(focus=Focus("path", (node,), (other,))), reach).row_of)
    assert paths == graph.between(node, other) or paths == graph.between(other, node)


@given(programs(), st.sampled_from(list(GraphKind)), SHAPES, st.data())
@settings(max_examples=60, deadline=None)
def test_every_row_of_any_program_can_be_read_at_any_moment(
    trace: Trace, kind: GraphKind, shape: Shape, data: st.DataObject
) -> None:
    number = data.draw(st.sampled_from(list(trace.source.step_numbers())))
    moments = len(trace.step(number).moments)
    gallery = Gallery()
    before: set[int] = set()
    for moment in range(-1, moments, max(moments // 4, 1)):
        scene = scene_of(trace, number, moment, kind)
        picture = gallery.make(scene, shape)
        reader = gallery.reader(picture, scene)
        words = [reader.words(row, picture.view.node(node)) for row, node in enumerate(picture.nodes)]
        assert all(one.name and len(one.sign) == 1 for one in words)
        ahead = {node.id for node, one in zip(picture.nodes, words) if one.state == AHEAD}
        assert not before or ahead <= before, "what is reached stays reached"
        before = ahead


def test_a_focus_on_nodes_of_another_graph_is_none() -> None:
    picture = picture_of(builders.ab2_trace(), shape=Shape(focus=Focus("ancestors", (999,))))
    assert len(picture) == len(picture.graph.nodes)


@pytest.mark.parametrize("kind", list(GraphKind))
def test_rows_are_reached_in_the_order_of_moments(kind: GraphKind) -> None:
    picture = picture_of(builders.mlp_trace(), 1, kind)
    reached = [span.first for span in picture.spans if span is not None and span.first >= 0]
    assert reached
    assert all(
        picture.spans[row] is not None and picture.spans[row].first <= moment  # type: ignore[union-attr]
        for moment in reached
        if (row := picture.row_at(moment)) is not None
    )
    assert picture.row_at(-1) is None
    assert picture.latest(-1) is None


def test_the_backward_stands_in_the_order_it_ran() -> None:
    picture = picture_of(builders.mlp_trace(), 1, GraphKind.BACKWARD)
    order = [node.order for node in picture.nodes]
    assert order == sorted(order)  # type: ignore[type-var]


def test_a_backward_whose_order_was_not_told_stands_as_autograd_would_run_it() -> None:
    told, untold = (
        picture_of(builders.mlp_trace(detail=detail), 1, GraphKind.BACKWARD) for detail in (Detail.FULL, Detail.GRAPH)
    )
    assert all(node.order is None for node in untold.nodes)
    labels = [node.label for node in untold.nodes if node.kind is NodeKind.GRAD_FN]
    assert labels == [node.label for node in told.nodes if node.kind is NodeKind.GRAD_FN]
    assert untold.lanes.width <= 3


def test_a_backward_that_was_not_told_node_by_node_is_reached_as_a_whole() -> None:
    trace = builders.mlp_trace(detail=Detail.GRAPH)
    template = trace.step(1).template
    assert not any(isinstance(moment, NodeRun) for moment in template.moments)
    picture = picture_of(trace, 1, GraphKind.BACKWARD)
    starts = {span.first for span in picture.spans if span is not None}
    assert len(starts) == 1
    assert template.moments[starts.pop()].kind == "backward"


def test_a_backward_that_failed_reached_nothing_that_is_known() -> None:
    picture = picture_of(builders.inplace_trace(), 0, GraphKind.BACKWARD)
    assert len(picture) > 0
    assert set(picture.spans) == {None}


def test_rows_are_ahead_then_now_then_done() -> None:
    trace = builders.ab2_trace()
    gallery = Gallery()
    scene = scene_of(trace, 0, -1)
    picture = gallery.make(scene, Shape())
    row = next(row for row, node in enumerate(picture.nodes) if node.name == "F")
    moment = picture.nodes[row].moment
    assert moment is not None
    states = [gallery.reader(picture, scene_of(trace, 0, at)).state(row) for at in (moment - 1, moment, moment + 1)]
    assert states == [AHEAD, NOW, DONE]


def test_a_folded_row_is_now_while_its_nodes_are_reached() -> None:
    trace = builders.mlp_trace()
    scene = scene_of(trace, 1, -1, GraphKind.FORWARD)
    gallery = Gallery()
    picture = gallery.make(scene, Shape(opened=frozenset()))
    row = next(row for row, node in enumerate(picture.nodes) if node.name == "fc1")
    span = picture.spans[row]
    assert span is not None
    assert gallery.reader(picture, scene_of(trace, 1, span.last, GraphKind.FORWARD)).state(row) == NOW
    last = len(trace.step(1).moments) - 1
    assert gallery.reader(picture, scene_of(trace, 1, last, GraphKind.FORWARD)).state(row) == DONE


def test_bad_numbers_mark_the_rows_that_hold_them() -> None:
    trace = builders.TraceBuilder("x = 1\ny = log(x)\ny.backward()\n")
    step = trace.step(0)
    x = step.leaf("x", [0.0], 1)
    y = step.op("log", (x,), "y", line=2, grad_fn="LogBackward0", values=[float("-inf")])
    step.backward(y, line=3, grads={x: [float("nan")]})
    step.done()
    found = trace.trace().step(0)
    reach = Reach(found.template)
    picture = Picture(found.graph("both"), Shape(), reach)
    marks = {
        picture.nodes[row].label: set(held)
        for row, held in bad_rows(bad_nodes(found.template, reach, found.samples), picture.row_of).items()
    }
    assert marks == {"y": {"inf"}, "x": {"nan"}, "LogBackward0": {"nan"}, "AccumulateGrad": {"nan"}}


def test_a_large_graph_begins_folded_and_a_small_one_does_not() -> None:
    assert Shape.first(builders.mlp_trace().step(0).graph("both")) == Shape()
    large = builders.deep_trace(MANY).step(0).graph("forward")
    assert Shape.first(large) == Shape(frozenset(), repeats=True)


def test_equal_blocks_are_one_row_that_stands_for_all() -> None:
    trace = blocks_trace(6)
    picture = picture_of(trace, shape=Shape(frozenset(), repeats=True))
    folded = [node for node in picture.nodes if node.kind is NodeKind.MODULE]
    assert [(node.label, node.count) for node in folded] == [("h", 1), ("h", 1)]
    assert len({picture.row_of[node.id] for node in picture.graph.nodes if node.module}) == 2
    every = picture_of(trace, shape=Shape(modules_of(picture.graph), repeats=True))
    assert len(every) < len(picture_of(trace)) // 3
    scene = scene_of(trace, 0, -1)
    reader = Gallery().reader(every, scene)
    names = [reader.words(row, every.view.node(node)).name for row, node in enumerate(every.nodes)]
    assert "a0 ×6" in names
    assert "loss" in names


def blocks_trace(count: int) -> Trace:
    """`count` equal blocks h.0, h.1, … one after another, and a backward through them."""
    trace = builders.TraceBuilder("x = f(x)\nx.backward()\n")
    trace.module("", "Net")
    step = trace.step(0)
    x = step.leaf("x", [1.0], 1)
    for number in range(count):
        module = trace.module(f"h.{number}", "Block", 0)
        x = step.op("relu", (x,), f"a{number}", line=1, grad_fn="ReluBackward0", module=module)
        x = step.op("exp", (x,), f"b{number}", line=1, grad_fn="ExpBackward0", module=module)
    root = step.op("sum", (x,), "loss", line=1, grad_fn="SumBackward0")
    step.backward(root, line=2)
    step.done()
    return trace.trace()


def test_closing_a_module_closes_what_lies_in_it() -> None:
    trace = builders.TraceBuilder("x = f(x)\n")
    step = trace.step(0)
    x = step.leaf("x", [1.0], 1)
    for path in ("a.0.fc", "ab", "b"):
        x = step.op("relu", (x,), "", line=1, module=trace.module(path, "Block"))
    step.done()
    picture = picture_of(trace.trace())
    assert picture.modules == {"a", "a.0", "a.0.fc", "ab", "b"}
    assert picture.closed("a") == {"ab", "b"}
    assert picture_of(trace.trace(), shape=Shape(frozenset({"a", "a.0", "b"}))).closed("a.0") == {"a", "b"}


def test_a_run_of_equal_blocks_is_open_where_one_of_them_is() -> None:
    trace = blocks_trace(4)
    shut = picture_of(trace, shape=Shape(frozenset({"h"}), repeats=True))
    assert [node.count for node in shut.nodes if node.label == "h.0–3"] == [4, 4]
    every = shut.opened("h.0")
    assert every == {"h", "h.0", "h.1", "h.2", "h.3"}
    opened = picture_of(trace, shape=Shape(every, repeats=True))
    assert not [node for node in opened.nodes if node.kind is NodeKind.MODULE]
    assert opened.closed("h.0") == {"h"}
    of_one = picture_of(trace, shape=Shape(frozenset({"h", "h.2"}), repeats=True))
    assert [node.label for node in of_one.nodes] == [node.label for node in opened.nodes]
    assert of_one.closed("h.0") == {"h"}
    each = picture_of(trace, shape=Shape(frozenset({"h", "h.2"})))
    assert {node.label for node in each.nodes if node.kind is NodeKind.MODULE} == {"h.0", "h.1", "h.3"}


def test_search_takes_all_words_and_finds_what_is_folded() -> None:
    trace = builders.mlp_trace()
    picture = picture_of(trace, 1, GraphKind.FORWARD, Shape(frozenset()))
    (node,) = picture.search("fc1 WEIGHT")
    assert picture.graph.by_id[node].name == "fc1.weight"
    assert picture.nodes[picture.row_of[node]].name == "fc1"
    assert not picture.search("no such thing")
    assert not picture.search("  ")


@given(st.lists(st.integers(0, 50), min_size=1, unique=True).map(sorted), st.integers(-1, 50))
def test_the_next_match_goes_around(rows: list[int], row: int) -> None:
    later, place = nearby(rows, row, 1)
    assert rows[place] == later
    assert later == min((one for one in rows if one > row), default=rows[0])
    earlier, _ = nearby(rows, row, -1)
    assert earlier == max((one for one in rows if one < row), default=rows[-1])


def test_the_gallery_makes_a_picture_once_and_shares_what_kinds_share() -> None:
    trace = builders.mlp_trace()
    gallery = Gallery()
    forward, backward = scene_of(trace, 1, 0, GraphKind.FORWARD), scene_of(trace, 1, 0, GraphKind.BACKWARD)
    assert not gallery.complete(forward, Shape())
    one = gallery.make(forward, Shape())
    assert gallery.complete(forward, Shape())
    assert gallery.make(forward, Shape()) is one
    assert gallery.picture(backward.graph, Shape()) is None
    assert gallery.make(backward, Shape()).reach.template is one.reach.template


LOOPS = """\
import torch
from torch import nn
torch.manual_seed(0)
cell, w = nn.RNNCell(2, 3), torch.tensor(0.5, requires_grad=True)
for step in range(1):
    h, y = torch.zeros(1, 3), torch.tensor(1.0)
    for t in range(120):
        h = cell(torch.ones(1, 2), h)
    for t in range(200):
        y = y * w + 1
    (h.sum() + y).backward()
"""


def test_what_a_loop_repeats_opens_as_a_few_rows_and_each_row_tells_how_far_it_has_come(tmp_path: Path) -> None:
    trace = record_text(tmp_path, LOOPS).trace
    step = trace.step(0)
    graph = step.graph(GraphKind.BOTH)
    assert len(graph.nodes) > 1000
    picture = Picture(graph, Shape.first(graph), Reach(step.template))
    assert len(picture) < 40
    assert set(picture.row_of) == {node.id for node in graph.nodes}
    (loop,) = [
        row
        for row, node in enumerate(picture.nodes)
        if node.count > 100 and node.grad_fn == "AddBackward0" and node.kind is NodeKind.TENSOR
    ]
    span = picture.spans[loop]
    assert span is not None
    parts = [picture.reached(loop, moment)[0] for moment in range(-1, len(step.moments))]
    assert parts == sorted(parts)
    assert parts[0] == 0
    assert parts[-1] == picture.reached(loop, -1)[1] == picture.nodes[loop].count
    assert len(set(parts)) == picture.nodes[loop].count + 1, "each turn of the loop is seen"
    by_itself = Picture(graph, picture.unfolded(picture.nodes[loop].members[77]), picture.reach)
    assert by_itself.nodes[by_itself.row_of[picture.nodes[loop].members[77]]].count == 1
