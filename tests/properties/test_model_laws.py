"""Laws of graphs, states and records, over random little programs."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from gradscope.model.codec import dumps, from_json, loads, to_json
from gradscope.model.graph import EdgeKind, GraphKind, NodeKind
from gradscope.model.moments import Template
from gradscope.model.spec import graph_violations, violations
from gradscope.model.state import State, replay
from gradscope.model.trace import Trace

from .records_at_random import ANY_RECORD
from .traces_at_random import programs


@given(ANY_RECORD)
@settings(max_examples=300, deadline=None)
def test_records_come_back_from_json(record: object) -> None:
    assert repr(from_json(type(record), loads(dumps(to_json(record))))) == repr(record)


@given(programs())
@settings(max_examples=150, deadline=None)
def test_programs_keep_the_rules_in_every_kind_of_graph(trace: Trace) -> None:
    for number in trace.steps:
        step = trace.step(number)
        assert violations(step.template) == []
        for kind in GraphKind:
            assert graph_violations(step.graph(kind)) == []
            for backward in range(len(step.graphs)):
                assert graph_violations(step.graph(kind, backward=backward)) == []


@given(programs())
@settings(max_examples=150, deadline=None)
def test_the_kinds_agree_with_each_other(trace: Trace) -> None:
    for number in trace.steps:
        step = trace.step(number)
        forward, backward, both = (step.graph(kind) for kind in GraphKind)
        grads = {node.id: node for node in both.nodes if node.kind in (NodeKind.GRAD_FN, NodeKind.ACCUMULATE_GRAD)}
        assert grads == backward.by_id
        assert {edge for edge in both.edges if edge.kind is EdgeKind.GRAD} == set(backward.edges)
        tensors = {node.id for node in forward.nodes if node.kind is NodeKind.TENSOR}
        assert tensors <= {node.id for node in both.nodes}
        for node in forward.nodes:
            if node.kind is NodeKind.TENSOR:
                assert both.by_id[node.id].label == node.label


@given(programs())
@settings(max_examples=150, deadline=None)
def test_gradients_reach_just_what_backward_can_reach(trace: Trace) -> None:
    """A leaf has an AccumulateGrad, or it is marked: what a picture says of a leaf is never silent."""
    for number in trace.steps:
        step = trace.step(number)
        if not step.graphs:
            continue
        both = step.graph("both")
        roots = [node.id for node in both.nodes if "root" in node.marks and node.kind is not NodeKind.TENSOR]
        reached = both.subgraph(
            node.id for node in both.nodes if node.kind in (NodeKind.GRAD_FN, NodeKind.ACCUMULATE_GRAD)
        ).descendants(*roots)
        for node in both.nodes:
            if node.kind is NodeKind.TENSOR and node.is_leaf and node.requires_grad:
                made = [edge.target for edge in both.outgoing.get(node.id, ()) if edge.kind is EdgeKind.MADE]
                assert bool(made) != ("not_reached" in node.marks)
                assert set(made) <= reached


@given(programs(), st.data())
@settings(max_examples=100, deadline=None)
def test_jumping_to_a_moment_equals_stepping_to_it(trace: Trace, data: st.DataObject) -> None:
    step = trace.step(data.draw(st.sampled_from(list(trace.steps))))
    moment = data.draw(st.integers(-1, len(step.moments) - 1))
    assert State.at(step, moment) == replay(step, moment)


@given(programs())
@settings(max_examples=50, deadline=None)
def test_templates_come_back_from_json(trace: Trace) -> None:
    template = trace.step(trace.steps[0]).template
    assert from_json(Template, loads(dumps(to_json(template)))) == template
