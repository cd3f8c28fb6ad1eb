"""What a node of the graph stands for in the step's records, and the node that stands for a record."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..model.build import grad_node_id, op_id, tensor_id
from ..model.graph import Graph, GraphKind, GraphNode, NodeKind
from ..model.moments import Backward, GradChange, LeafChange, Move, Mutation, NodeRun, OpCall, OptimizerStep, Template
from ..model.records import GradNode


@dataclass(frozen=True, slots=True)
class Subject:
    """A tensor, a grad node (graph, index), or the call of a moment; what is not meant is None."""

    tensor: int | None = None
    grad: tuple[int, int] | None = None
    op: int | None = None


def subject_of(template: Template, node: GraphNode) -> Subject:
    """What `node` stands for. A folded node stands for its first member; nothing is found for a strange id."""
    if node.kind is NodeKind.MODULE:
        return Subject()
    tensors, moments = len(template.tensors), len(template.moments)
    if node.kind is NodeKind.TENSOR:
        return Subject(tensor=_tensor_of(template, node, tensors, moments))
    if node.kind is NodeKind.OP:
        return Subject(op=node.id - tensors if tensors <= node.id < tensors + moments else None)
    return Subject(grad=grad_of(template, node.id))


def grad_of(template: Template, node: int) -> tuple[int, int] | None:
    """The (graph, index) of the grad node with that id."""
    place = node - len(template.tensors) - len(template.moments)
    for graph, found in enumerate(template.graphs):
        if 0 <= place < len(found.nodes):
            return (graph, place)
        place -= len(found.nodes)
    return None


def sights_of(template: Template, graph: Graph, node: GraphNode) -> Sequence[Subject]:
    """What `node` stands for, once for each backward that ran through it: a grad node has an index in each."""
    first = subject_of(template, node)
    if first.grad is None or len(template.graphs) < 2:
        return (first,)
    again = sorted(own for own, home in graph.elsewhere.items() if home == node.id)
    found = [grad_of(template, own) for own in again]
    return (first, *(Subject(grad=grad) for grad in found if grad is not None))


def _tensor_of(template: Template, node: GraphNode, tensors: int, moments: int) -> int | None:
    """A tensor's first value has its own number; a later one has the id of what wrote it."""
    if node.id < tensors:
        return node.id
    wanted = node.name or ""
    if tensors <= node.id < tensors + moments:
        written = tensors_of(template, node.id - tensors)
        named = [number for number in written if template.tensors[number].name == wanted]
        if named or written:
            return (named or list(written))[0]
    return next((tensor.number for tensor in template.tensors if wanted and tensor.name == wanted), None)


def tensors_of(template: Template, index: int) -> tuple[int, ...]:
    """The tensors that moment `index` is about, the one it changed or made first."""
    moment = template.moments[index]
    if isinstance(moment, OpCall):
        return (*moment.outputs, *moment.inputs)
    if isinstance(moment, (Mutation, LeafChange)):
        return (moment.tensor,)
    if isinstance(moment, Move):
        return tuple(number for number in (moment.target, moment.source) if number is not None)
    if isinstance(moment, GradChange):
        return moment.tensors
    if isinstance(moment, OptimizerStep):
        return moment.updated
    if isinstance(moment, Backward):
        return moment.roots
    return ()


def subject_at(template: Template, moment: int) -> Subject:
    """What a moment is about: the grad node that ran, or the tensor that was made, changed or filled."""
    if moment < 0 or moment >= len(template.moments):
        return Subject()
    record = template.moments[moment]
    if isinstance(record, NodeRun):
        return Subject(grad=(record.graph, record.node))
    about = tensors_of(template, moment)
    if about:
        return Subject(tensor=about[0])
    return Subject(op=moment if isinstance(record, OpCall) else None)


def grad_node(template: Template, subject: Subject) -> GradNode | None:
    """The record of a subject that is a grad node."""
    if subject.grad is None:
        return None
    graph, index = subject.grad
    return template.graphs[graph].nodes[index]


def node_of(template: Template, graph: Graph, subject: Subject) -> int | None:
    """The id of the node that stands for `subject` in `graph`, None when the graph does not show it.

    A grad node is the same in every backward that ran through it.
    """
    if subject.tensor is not None:
        wanted = tensor_id(template, subject.tensor)
    elif subject.grad is not None:
        own = grad_node_id(template, *subject.grad)
        wanted = graph.elsewhere.get(own, own) if graph.kind is not GraphKind.FORWARD else own
    elif subject.op is not None:
        wanted = op_id(template, subject.op)
    else:
        return None
    return wanted if wanted in graph.by_id else None


def tensor_filled(template: Template, node: GraphNode) -> int | None:
    """The tensor that a node is, or whose gradient it fills."""
    subject = subject_of(template, node)
    record = grad_node(template, subject)
    return record.tensor if record is not None else subject.tensor


def parameter_of(template: Template, node: GraphNode) -> int | None:
    """The id of the parameter that a node is, or whose gradient it fills."""
    tensor = tensor_filled(template, node)
    return template.tensors[tensor].parameter if tensor is not None else None


def same_node(node: GraphNode | None, graph: Graph) -> int | None:
    """The node of another step's graph that stands for the same thing: of the same kind, name and module."""
    if node is None:
        return None
    there = graph.by_id.get(node.id)
    if there is not None and _identity(there) == _identity(node):
        return node.id
    return next((other.id for other in graph.nodes if _identity(other) == _identity(node)), None)


def _identity(node: GraphNode) -> tuple[object, ...]:
    return (node.kind, node.label, node.name, node.module)
