"""What holds for every template and every graph, as a list of named rules.

`STRUCTURE` is what readers rely on: a template that breaks one of these is damaged, and they get `damaged` in its
place. `MEANING` is what autograd promises beyond that: a recording that breaks one is a fault of the recorder.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from .arguments import tensors
from .gradients import ACCUMULATE
from .graph import EdgeKind, Graph, NodeKind
from .moments import (
    NOT_TOLD,
    Backward,
    Failure,
    GradChange,
    LeafChange,
    Moment,
    Move,
    Mutation,
    NodeRun,
    Note,
    OpCall,
    OptimizerStep,
    Registration,
    Template,
)
from .order import topological
from .records import GradGraph, Phase


class TemplateRule(NamedTuple):
    """`holds(template)` is a law; `name` says it in words."""

    name: str
    holds: Callable[[Template], bool]


class GraphRule(NamedTuple):
    """As `TemplateRule`, for a `Graph`."""

    name: str
    holds: Callable[[Graph], bool]


def violations(template: Template, rules: Iterable[TemplateRule] | None = None) -> list[str]:
    """The names of the rules that a template breaks, of all rules or those given; structure first.

    Meaning is only looked at where the structure holds, because it leans on it.
    """
    if rules is not None:
        return [rule.name for rule in rules if not rule.holds(template)]
    return violations(template, STRUCTURE) or violations(template, MEANING)


def damaged(number: int, why: str, version_bumps: tuple[tuple[int, int], ...] = ()) -> Template:
    """What stands for a template that cannot be read, or must not be: its only moment says so."""
    return Template(number, (), (Note(Phase.OTHER, None, f"damaged: {why}"),), (), version_bumps, broken=why)


def sound(template: Template) -> Template:
    """The template, or where it breaks a rule that readers rely on what stands for it."""
    broken = violations(template, STRUCTURE)
    return damaged(template.id, f"it breaks a rule: {broken[0]}", template.version_bumps) if broken else template


def graph_violations(graph: Graph) -> list[str]:
    """The names of the rules that a graph breaks."""
    return [rule.name for rule in GRAPH_RULES if not rule.holds(graph)]


# -- structure -----------------------------------------------------------------------------------


def _inside(numbers: Iterable[int | None], count: int) -> bool:
    return all(number is None or 0 <= number < count for number in numbers)


def _tensor_numbers(moment: Moment) -> Sequence[int | None]:
    if isinstance(moment, OpCall):
        named = () if moment.given is None else tensors(moment.given)
        return (*moment.inputs, *moment.outputs, *named)
    if isinstance(moment, LeafChange):
        return (moment.tensor, moment.source)
    if isinstance(moment, Mutation):
        return (moment.tensor, *moment.aliases)
    if isinstance(moment, (GradChange, Registration)):
        return moment.tensors
    if isinstance(moment, Failure):
        return moment.inputs
    if isinstance(moment, Move):
        return (moment.source, moment.target)
    if isinstance(moment, Backward):
        return (*moment.roots, *moment.inputs)
    return moment.updated if isinstance(moment, OptimizerStep) else ()


def _tensors_numbered(template: Template) -> bool:
    return all(tensor.number == place for place, tensor in enumerate(template.tensors))


def _moments_name_tensors(template: Template) -> bool:
    count = len(template.tensors)
    return all(_inside(_tensor_numbers(moment), count) for moment in template.moments)


def _moments_name_graphs(template: Template) -> bool:
    graphs = template.graphs
    for moment in template.moments:
        if isinstance(moment, Backward) and not -1 <= moment.graph < len(graphs):
            return False
        if isinstance(moment, NodeRun) and not (
            0 <= moment.graph < len(graphs) and 0 <= moment.node < len(graphs[moment.graph].nodes)
        ):
            return False
    return True


def _tensors_in_range(template: Template) -> bool:
    return all(
        _inside((tensor.made_by,), len(template.moments))
        and _inside((tensor.base, tensor.gradient_of), len(template.tensors))
        for tensor in template.tensors
    )


def _writers_come_before(template: Template) -> bool:
    return all(
        moment.op == NOT_TOLD or _inside((moment.op,), place)
        for place, moment in enumerate(template.moments)
        if isinstance(moment, Mutation)
    )


def _calls_in_range(template: Template) -> bool:
    return all(
        _inside((call.moment,), len(template.moments) + 1) and _inside((call.parent,), place)
        for place, call in enumerate(template.calls)
    )


def _nodes_numbered(template: Template) -> bool:
    return all(node.index == place for graph in template.graphs for place, node in enumerate(graph.nodes))


def _nodes_in_range(template: Template) -> bool:
    moments, tensors = len(template.moments), len(template.tensors)
    return all(
        _inside((node.op,), moments)
        and _inside((node.tensor, *node.output_tensors), tensors)
        and _inside((saved.tensor for saved in node.saved), tensors)
        for graph in template.graphs
        for node in graph.nodes
    )


def _edges_in_range(template: Template) -> bool:
    return all(
        _inside((edge.source, edge.target), len(graph.nodes)) for graph in template.graphs for edge in graph.edges
    ) and all(_inside(graph.roots, len(graph.nodes)) for graph in template.graphs)


def _grad_graphs_acyclic(template: Template) -> bool:
    return all(_acyclic(graph) for graph in template.graphs)


def _acyclic(graph: GradGraph) -> bool:
    targets: dict[int, list[int]] = {node: [] for node in range(len(graph.nodes))}
    for edge in graph.edges:
        if edge.source not in targets or edge.target not in targets:
            return True  # another rule's business
        targets[edge.source].append(edge.target)
    return len(topological(targets, targets)) == len(targets)


STRUCTURE: tuple[TemplateRule, ...] = (
    TemplateRule("a tensor's number is its place in the table", _tensors_numbered),
    TemplateRule("moments name tensors of the step", _moments_name_tensors),
    TemplateRule("backwards and node runs name grad graphs of the step", _moments_name_graphs),
    TemplateRule("a tensor's maker and base are of the step", _tensors_in_range),
    TemplateRule("what a mutation names as its writer comes before it", _writers_come_before),
    TemplateRule("module calls begin at moments of the step, inside earlier ones", _calls_in_range),
    TemplateRule("a grad node's index is its place in its graph", _nodes_numbered),
    TemplateRule("grad nodes name ops and tensors of the step", _nodes_in_range),
    TemplateRule("grad edges and roots name nodes of their graph", _edges_in_range),
    TemplateRule("a grad graph has no cycle", _grad_graphs_acyclic),
)


# -- meaning -------------------------------------------------------------------------------------


def _made_by_consistent(template: Template) -> bool:
    for tensor in template.tensors:
        maker = template.moments[tensor.made_by] if tensor.made_by is not None else None
        if isinstance(maker, OpCall) and tensor.number not in maker.outputs:
            return False
    return True


def _made_before_read(template: Template) -> bool:
    for place, moment in enumerate(template.moments):
        for number in moment.inputs if isinstance(moment, OpCall) else ():
            maker = template.tensors[number].made_by
            if maker is not None and maker >= place and number not in template.moments[place].outputs:  # type: ignore[union-attr]
                return False
    return True


def _accumulate_has_leaf(template: Template) -> bool:
    return all(
        (node.tensor is not None) == (node.name == ACCUMULATE) for graph in template.graphs for node in graph.nodes
    )


def _accumulate_is_last(template: Template) -> bool:
    return all(graph.nodes[edge.source].name != ACCUMULATE for graph in template.graphs for edge in graph.edges)


def _edges_distinct(template: Template) -> bool:
    return all(
        len({(edge.source, edge.index) for edge in graph.edges}) == len(graph.edges) for graph in template.graphs
    )


def _reached_from_roots(template: Template) -> bool:
    for graph in template.graphs:
        targets: dict[int, list[int]] = {}
        for edge in graph.edges:
            targets.setdefault(edge.source, []).append(edge.target)
        seen, stack = set(graph.roots), list(graph.roots)
        while stack:
            fresh = [target for target in targets.get(stack.pop(), ()) if target not in seen]
            seen.update(fresh)
            stack.extend(fresh)
        if len(seen) != len(graph.nodes):
            return False
    return True


def _leaf_facts(template: Template) -> bool:
    return all(
        (tensor.grad_fn is None or not tensor.is_leaf)
        and (tensor.requires_grad or tensor.is_leaf)
        and (not tensor.is_inference or tensor.version is None)
        for tensor in template.tensors
    )


def _writers_wrote(template: Template) -> bool:
    for moment in template.moments:
        if isinstance(moment, Mutation) and moment.op is not None and moment.op != NOT_TOLD:
            op = template.moments[moment.op]
            if isinstance(op, OpCall) and (op.name, op.stack) != (moment.cause, moment.stack):
                return False
    return True


def _versions_rise(template: Template) -> bool:
    return all(
        moment.before is None or moment.after is None or moment.after >= moment.before
        for moment in template.moments
        if isinstance(moment, Mutation)
    )


MEANING: tuple[TemplateRule, ...] = (
    TemplateRule("the op that made a tensor returns it", _made_by_consistent),
    TemplateRule("an op reads only what was made before", _made_before_read),
    TemplateRule("AccumulateGrad, and nothing else, has a leaf to fill", _accumulate_has_leaf),
    TemplateRule("nothing follows AccumulateGrad", _accumulate_is_last),
    TemplateRule("a grad node has one edge an index", _edges_distinct),
    TemplateRule("every grad node is reached from a root", _reached_from_roots),
    TemplateRule("a leaf has no grad_fn, what needs no grad is a leaf, inference tensors have no version", _leaf_facts),
    TemplateRule("a mutation has the name and the stack of the op that it names", _writers_wrote),
    TemplateRule("a mutation never lowers a version", _versions_rise),
)


# -- graphs --------------------------------------------------------------------------------------

_TENSORS, _GRADS = (NodeKind.TENSOR,), (NodeKind.GRAD_FN, NodeKind.ACCUMULATE_GRAD)
_ENDS = {
    EdgeKind.DATA: ((NodeKind.TENSOR, NodeKind.OP), (NodeKind.TENSOR, NodeKind.OP)),
    EdgeKind.CUT: (_TENSORS, (NodeKind.TENSOR, NodeKind.OP)),
    EdgeKind.MADE: (_TENSORS, _GRADS),
    EdgeKind.GRAD: (_GRADS, _GRADS),
}


def _no_cycle(graph: Graph) -> bool:
    try:
        graph.topological()
    except ValueError:
        return False
    return True


def _edges_join_their_kinds(graph: Graph) -> bool:
    def fits(source: NodeKind, target: NodeKind, kind: EdgeKind) -> bool:
        sources, targets = _ENDS[kind]
        folded = NodeKind.MODULE
        return (source in sources or source is folded) and (target in targets or target is folded)

    return all(fits(graph.by_id[edge.source].kind, graph.by_id[edge.target].kind, edge.kind) for edge in graph.edges)


def _accumulate_ends_paths(graph: Graph) -> Iterator[bool]:
    for node in graph.nodes:
        if node.kind is NodeKind.ACCUMULATE_GRAD:
            yield not graph.outgoing.get(node.id)


def _cuts_lose_a_gradient(graph: Graph) -> bool:
    return all(graph.by_id[edge.source].requires_grad is not False for edge in graph.edges if edge.kind is EdgeKind.CUT)


GRAPH_RULES: tuple[GraphRule, ...] = (
    GraphRule("a graph has no cycle", _no_cycle),
    GraphRule("edges join the kinds of nodes they are for", _edges_join_their_kinds),
    GraphRule("nothing follows AccumulateGrad", lambda graph: all(_accumulate_ends_paths(graph))),
    GraphRule("a cut is where a gradient would have passed", _cuts_lose_a_gradient),
    GraphRule("modules of nodes are known", lambda graph: all(
        node.module is None or node.module in graph.modules for node in graph.nodes
    )),
)  # fmt: skip
