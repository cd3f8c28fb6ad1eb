"""Nodes and records find each other."""

from __future__ import annotations

import pytest
from hypothesis import given, settings

from gradscope.model.graph import GraphKind, NodeKind
from gradscope.model.moments import NodeRun
from gradscope.model.trace import Trace
from gradscope.tui.subject import Subject, node_of, same_node, sights_of, subject_at, subject_of
from tests import builders
from tests.properties.traces_at_random import programs


@given(programs())
@settings(max_examples=60, deadline=None)
def test_a_node_stands_for_a_record_of_the_same_name(trace: Trace) -> None:
    for number in trace.steps:
        step = trace.step(number)
        for kind in GraphKind:
            for node in step.graph(kind).nodes:
                subject = subject_of(step.template, node)
                if node.kind is NodeKind.TENSOR:
                    assert subject.tensor is not None
                    assert step.tensors[subject.tensor].name == (node.name or "")
                elif node.kind is NodeKind.OP:
                    assert subject.op == node.moment
                else:
                    assert subject.grad is not None
                    graph, index = subject.grad
                    assert step.graphs[graph].nodes[index].name == node.label


@given(programs())
@settings(max_examples=60, deadline=None)
def test_the_node_of_a_subject_stands_for_it(trace: Trace) -> None:
    for number in trace.steps:
        step = trace.step(number)
        graph = step.graph(GraphKind.BOTH)
        for moment in range(-1, len(step.moments)):
            subject = subject_at(step.template, moment)
            node = node_of(step.template, graph, subject)
            if node is not None:
                assert subject in sights_of(step.template, graph, graph.by_id[node])


def test_a_running_node_is_the_moments_subject() -> None:
    step = builders.ab2_trace().step(0)
    for index, moment in enumerate(step.moments):
        if isinstance(moment, NodeRun):
            assert subject_at(step.template, index) == Subject(grad=(moment.graph, moment.node))


@pytest.mark.parametrize("kind", [GraphKind.BOTH, GraphKind.BACKWARD])
def test_every_run_has_its_node_also_in_a_second_backward(kind: GraphKind) -> None:
    step = builders.gan_trace().step(0)
    graph = step.graph(kind)
    ran = [index for index, moment in enumerate(step.moments) if isinstance(moment, NodeRun)]
    nodes = [node_of(step.template, graph, subject_at(step.template, index)) for index in ran]
    assert None not in nodes
    assert len(nodes) == len(set(nodes)) + 1, "D's AccumulateGrad alone runs in both"
    shared = next(node for node in nodes if nodes.count(node) == 2)
    sights = sights_of(step.template, graph, graph.by_id[shared or 0])
    assert [one.grad[0] for one in sights if one.grad] == [0, 1]
    assert graph.by_id[shared or 0].name == "D.0.weight"


@pytest.mark.parametrize("moment", [-1, 10_000])
def test_where_nothing_happened_there_is_no_subject(moment: int) -> None:
    assert subject_at(builders.ab2_trace().step(0).template, moment) == Subject()


def test_the_same_node_is_found_in_another_steps_graph() -> None:
    trace = builders.mlp_trace()
    first, later = (trace.step(number).graph(GraphKind.BOTH) for number in (0, 1))
    node = next(one for one in first.nodes if one.name == "fc2.weight")
    there = same_node(node, later)
    assert there is not None
    assert later.by_id[there].name == "fc2.weight"
    assert later.by_id[there].kind is node.kind
    assert same_node(None, later) is None
    assert same_node(node, builders.ab2_trace().step(0).graph(GraphKind.BOTH)) is None
