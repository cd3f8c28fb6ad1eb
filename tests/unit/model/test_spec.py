"""The rules hold for good records, and each can be broken."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from gradscope.model.graph import EdgeKind, Graph, GraphEdge, GraphKind, GraphNode, NodeKind
from gradscope.model.leaf import AutogradStatus
from gradscope.model.moments import Backward, ModuleCall, Mutation, NodeRun, OpCall, Template
from gradscope.model.records import GradEdge, Phase
from gradscope.model.spec import GRAPH_RULES, MEANING, STRUCTURE, graph_violations, violations
from tests import builders

GOOD = builders.mlp_trace().step(1).template


def with_tensor(template: Template, place: int, /, **facts: object) -> Template:
    tensors = list(template.tensors)
    tensors[place] = replace(tensors[place], **facts)  # type: ignore[arg-type]
    return replace(template, tensors=tuple(tensors))


def with_node(template: Template, place: int, /, **facts: object) -> Template:
    nodes = list(template.graphs[0].nodes)
    nodes[place] = replace(nodes[place], **facts)  # type: ignore[arg-type]
    return replace(template, graphs=(replace(template.graphs[0], nodes=tuple(nodes)),))


def with_edge(template: Template, *added: GradEdge) -> Template:
    graph = template.graphs[0]
    return replace(template, graphs=(replace(graph, edges=(*graph.edges, *added)),))


def with_moment(template: Template, moment: object) -> Template:
    return replace(template, moments=(*template.moments, moment))  # type: ignore[arg-type]


BROKEN: dict[str, Callable[[Template], Template]] = {
    "a tensor's number is its place in the table": lambda t: with_tensor(t, 2, number=3),
    "moments name tensors of the step": lambda t: with_moment(t, OpCall(Phase.OTHER, None, "x", (99,), ())),
    "backwards and node runs name grad graphs of the step": lambda t: with_moment(
        t, NodeRun(Phase.BACKWARD, None, 0, 99)
    ),
    "a tensor's maker and base are of the step": lambda t: with_tensor(t, 2, base=-4),
    "what a mutation names as its writer comes before it": lambda t: with_moment(
        t, Mutation(Phase.OTHER, None, 0, 0, 1, "add_", op=len(t.moments))
    ),
    "module calls begin at moments of the step, inside earlier ones": lambda t: replace(
        t, calls=(ModuleCall(0, 0, None, True, 0, parent=0),)
    ),
    "a grad node's index is its place in its graph": lambda t: with_node(t, 1, index=0),
    "grad nodes name ops and tensors of the step": lambda t: with_node(t, 1, op=999),
    "grad edges and roots name nodes of their graph": lambda t: with_edge(t, GradEdge(0, 999, 7, 0)),
    "a grad graph has no cycle": lambda t: with_edge(t, GradEdge(2, 0, 9, 0)),
    "the op that made a tensor returns it": lambda t: with_tensor(t, 6, made_by=t.tensors[7].made_by),
    "an op reads only what was made before": lambda t: with_tensor(t, 6, made_by=len(t.moments) - 1),
    "AccumulateGrad, and nothing else, has a leaf to fill": lambda t: with_node(t, 0, tensor=0),
    "nothing follows AccumulateGrad": lambda t: with_edge(t, GradEdge(3, 10, 0, 0)),
    "a grad node has one edge an index": lambda t: with_edge(t, t.graphs[0].edges[0]),
    "every grad node is reached from a root": lambda t: replace(t, graphs=(replace(t.graphs[0], roots=(4,)),)),
    "a leaf has no grad_fn, what needs no grad is a leaf, inference tensors have no version": lambda t: with_tensor(
        t, 4, is_inference=True
    ),
    "a mutation has the name and the stack of the op that it names": lambda t: with_moment(
        t, Mutation(Phase.OTHER, None, 0, 0, 1, "zero_", op=next(i for i, m in enumerate(t.moments) if m.kind == "op"))
    ),
    "a mutation never lowers a version": lambda t: with_moment(t, Mutation(Phase.OTHER, None, 0, 3, 2, "x")),
}


@pytest.mark.parametrize("rule", [rule.name for rule in (*STRUCTURE, *MEANING)])
def test_each_rule_of_templates_holds_and_can_be_broken(rule: str) -> None:
    assert violations(GOOD) == []
    assert rule in violations(BROKEN[rule](GOOD))


def test_structure_can_be_asked_for_alone() -> None:
    broken = BROKEN["a mutation never lowers a version"](GOOD)
    assert violations(broken, STRUCTURE) == []
    assert violations(BROKEN["a grad graph has no cycle"](GOOD), STRUCTURE) == ["a grad graph has no cycle"]


def test_a_backward_without_a_recorded_graph_is_sound() -> None:
    moment = Backward(Phase.BACKWARD, None, "backward", -1, ())
    assert violations(with_moment(GOOD, moment), STRUCTURE) == []
    assert violations(with_moment(GOOD, replace(moment, graph=-2)), STRUCTURE) != []


def graph(*edges: GraphEdge, **facts: object) -> Graph:
    nodes = (
        GraphNode(0, NodeKind.TENSOR, "x", status=AutogradStatus(False, True, None, False), **facts),  # type: ignore[arg-type]
        GraphNode(1, NodeKind.OP, "mul"),
        GraphNode(2, NodeKind.TENSOR, "y", status=AutogradStatus(True, False, "MulBackward0", False)),
        GraphNode(3, NodeKind.GRAD_FN, "MulBackward0"),
        GraphNode(4, NodeKind.ACCUMULATE_GRAD, "AccumulateGrad"),
        GraphNode(5, NodeKind.MODULE, "fc"),
    )
    return Graph(GraphKind.BOTH, nodes, edges)


SOUND = (
    GraphEdge(0, 1, EdgeKind.DATA),
    GraphEdge(1, 2, EdgeKind.DATA),
    GraphEdge(2, 3, EdgeKind.MADE),
    GraphEdge(3, 4, EdgeKind.GRAD),
    GraphEdge(2, 5, EdgeKind.CUT),
)
UNSOUND: dict[str, Graph] = {
    "a graph has no cycle": graph(*SOUND, GraphEdge(2, 1, EdgeKind.DATA)),
    "edges join the kinds of nodes they are for": graph(GraphEdge(0, 1, EdgeKind.GRAD)),
    "nothing follows AccumulateGrad": graph(GraphEdge(4, 3, EdgeKind.GRAD)),
    "a cut is where a gradient would have passed": graph(GraphEdge(0, 1, EdgeKind.CUT)),
    "modules of nodes are known": graph(module="nowhere"),
}


@pytest.mark.parametrize("rule", [rule.name for rule in GRAPH_RULES])
def test_each_rule_of_graphs_holds_and_can_be_broken(rule: str) -> None:
    assert graph_violations(graph(*SOUND)) == []
    assert rule in graph_violations(UNSOUND[rule])
