"""Laws of the passes, over random DAGs with random modules, marks and edge kinds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gradscope.model.graph import EdgeKind, Graph, GraphEdge, GraphKind, GraphNode, NodeKind
from gradscope.model.leaf import AutogradStatus
from gradscope.transforms import (
    attach_constants,
    attach_parameters,
    combine,
    fit,
    focus,
    fold_chains,
    fold_modules,
    fold_repeats,
    fold_runs,
    nearest,
    prune,
)

MODULES = (None, "a", "a.0", "a.1", "a.2", "a.1.x", "a.2.x", "b", "b.0.0", "b.0.1", "c.0.b")
FOLDS: dict[str, Callable[[Graph], Graph]] = {
    "modules 0": partial(fold_modules, depth=0),
    "modules 1": partial(fold_modules, depth=1),
    "modules 0 but a": partial(fold_modules, depth=0, expand=("a",)),
    "repeats": fold_repeats,
    "runs": partial(fold_runs, blocks=2, nodes=2),
    "straight runs": partial(fold_runs, blocks=2, nodes=2, straight=True),
    "chains": partial(fold_chains, least=2),
    "parameters": attach_parameters,
}
NEEDS, NEEDS_NONE = AutogradStatus(True, True, None, False), AutogradStatus(False, True, None, False)
SELECTIONS: dict[str, Callable[[Graph], Graph]] = {"prune": prune, "nearest": partial(nearest, limit=5)}
CALLS: dict[str, Callable[[Graph], Graph]] = {
    "calls": combine,
    "constants": lambda graph: attach_constants(combine(graph)),
}
PASSES = FOLDS | SELECTIONS | CALLS


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    """A DAG whose node ids are shuffled, so that neither ids nor table order give the topology away."""
    size = draw(st.integers(0, 14))
    ids = draw(st.permutations(range(size)))
    nodes = []
    for number in range(size):
        kind = draw(st.sampled_from(NodeKind if number % 5 else (NodeKind.TENSOR, NodeKind.OP)))
        nodes.append(
            GraphNode(
                id=ids[number],
                kind=kind,
                label=draw(st.sampled_from(("mul", "add"))),
                op=draw(st.sampled_from((None, "mul", "backward"))),
                module=draw(st.sampled_from(MODULES)),
                role=draw(st.sampled_from(("", "parameter", "result"))) if kind is NodeKind.TENSOR else "",
                status=draw(st.sampled_from((None, NEEDS, NEEDS_NONE))),
                marks=frozenset(draw(st.sets(st.sampled_from(("nan", "root", "frozen")), max_size=1))),
            )
        )
    edges = []
    for target in range(1, size):
        for source in draw(st.sets(st.integers(0, target - 1), max_size=3)):
            kind = draw(st.sampled_from(EdgeKind))
            edges.append(GraphEdge(ids[source], ids[target], kind, draw(st.integers(0, 1))))
    order = draw(st.permutations(nodes))
    return Graph(GraphKind.BOTH, tuple(order), tuple(edges), 0, "", {"a": "Net"})


def members(graph: Graph) -> list[int]:
    return sorted(member for node in graph.nodes for member in (node.members or (node.id,)))


@pytest.mark.parametrize("name", PASSES)
@given(graph=graphs())
@settings(max_examples=50, deadline=None)
def test_a_pass_applied_twice_does_nothing_more(name: str, graph: Graph) -> None:
    once = PASSES[name](graph)
    again = PASSES[name](once)
    assert [node.id for node in again.nodes] == [node.id for node in once.nodes]
    assert set(again.edges) == set(once.edges)


@pytest.mark.parametrize("name", PASSES)
@given(graph=graphs())
@settings(max_examples=50, deadline=None)
def test_a_pass_makes_no_cycle_and_leaves_its_input_alone(name: str, graph: Graph) -> None:
    before = (graph.nodes, graph.edges)
    PASSES[name](graph).topological()
    assert (graph.nodes, graph.edges) == before


@pytest.mark.parametrize("name", FOLDS | CALLS)
@given(graph=graphs())
@settings(max_examples=50, deadline=None)
def test_the_members_of_a_folded_graph_partition_the_original_nodes(name: str, graph: Graph) -> None:
    assert members(PASSES[name](graph)) == sorted(graph.by_id)


@pytest.mark.parametrize("name", FOLDS)
@given(graph=graphs())
@settings(max_examples=50, deadline=None)
def test_a_fold_keeps_every_connection_between_nodes_that_stay_apart(name: str, graph: Graph) -> None:
    folded = FOLDS[name](graph)
    home = {member: node.id for node in folded.nodes for member in (node.members or (node.id,))}
    joined = {(edge.source, edge.target) for edge in folded.edges}
    twins = {node.id for node in folded.nodes if node.count > 1}  # edges between blocks of a run are let go
    for edge in graph.edges:
        ends = home[edge.source], home[edge.target]
        assert ends[0] == ends[1] or ends in joined or set(ends) <= twins


@given(graph=graphs())
@settings(max_examples=100, deadline=None)
def test_where_a_call_is_one_node_data_leads_on_and_gradients_lead_back(graph: Graph) -> None:
    combined = combine(graph)
    home = {member: node.id for node in combined.nodes for member in (node.members or (node.id,))}
    joined = {(edge.source, edge.target) for edge in combined.edges}
    for edge in graph.edges if combined.combined else ():
        ends = home[edge.source], home[edge.target]
        back = edge.kind is EdgeKind.GRAD
        assert edge.kind is EdgeKind.MADE or ends[0] == ends[1] or (ends[::-1] if back else ends) in joined


@pytest.mark.parametrize("name", PASSES)
def test_nothing_in_nothing_out(name: str) -> None:
    empty = Graph(GraphKind.BOTH, (), ())
    assert PASSES[name](empty).nodes == ()
    assert focus(empty, "anything").nodes == ()
    assert fit(empty, 1).graph.nodes == ()


@given(graph=graphs(), limit=st.integers(1, 6))
@settings(max_examples=80, deadline=None)
def test_a_fitted_graph_fits_and_says_what_was_done(graph: Graph, limit: int) -> None:
    fitted = fit(graph, limit)
    assert len(fitted.graph.nodes) <= limit
    assert fitted.notes or members(fitted.graph) == sorted(graph.by_id)
    fitted.graph.topological()


@given(graph=graphs(), number=st.integers(0, 13))
@settings(max_examples=100, deadline=None)
def test_focus_keeps_exactly_what_leads_to_or_from(graph: Graph, number: int) -> None:
    if number >= len(graph.nodes) or not graph.nodes[number].module:
        return
    name = graph.nodes[number].module or ""
    found = {
        node.id for node in graph.nodes if node.module and (node.module == name or node.module.startswith(f"{name}."))
    }
    made = [edge for edge in graph.edges if edge.kind is EdgeKind.MADE]
    found |= {edge.target for edge in made if edge.source in found} | {e.source for e in made if e.target in found}
    flow = replace(graph, edges=tuple(edge for edge in graph.edges if edge.kind is not EdgeKind.MADE))
    kept = {node.id for node in focus(graph, name).nodes}
    assert kept == flow.ancestors(*found) | flow.descendants(*found)
    assert [node.id for node in focus(focus(graph, name), name).nodes] == [node.id for node in focus(graph, name).nodes]
