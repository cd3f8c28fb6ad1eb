"""Raw drafts into records: done once for each novelty, so it may take its time.

This is where names are given: a tensor is called what the script calls it, else what made it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from operator import attrgetter
from typing import Any

from ...model import moments
from ...model.arguments import words
from ...model.moments import Moment, Template
from ...model.packed_samples import Entries, PackedSamples
from ...model.records import GradEdge, GradGraph, GradNode, SavedTensor, Tensor
from ...model.twin import maker
from ..measure.tensor_facts import Facts
from ..sites.call_sites import Sites
from ..step.draft import Draft
from ..step.raw import (
    MADE_BEFORE,
    BackwardRan,
    Called,
    Failed,
    GradChanged,
    LeafChanged,
    Moved,
    NodeRan,
    Noted,
    OptimizerChanged,
    RawGraph,
    RawMoment,
    RawSample,
    RawTensor,
    Registered,
    Scaled,
    Scheduled,
    Switched,
    Updated,
    Written,
    Zeroed,
)
from ..step.tensor_registry import TensorTable
from .given_records import given_of

_tensor, _op_call, _grad_node, _grad_edge = maker(Tensor), maker(moments.OpCall), maker(GradNode), maker(GradEdge)


def template_of(draft: Draft, number: int, sites: Sites, table: TensorTable) -> Template:
    """The draft as a template numbered `number`."""
    names = Names(sites, table, {})
    names.hear(draft.returns)
    return Template(
        id=number,
        tensors=tuple(tensor_at(draft, number, names) for number in range(len(draft.tensors))),
        moments=tuple(moment_of(raw) for raw in draft.moments),
        graphs=tuple(graph_of(raw, draft.moments) for raw in draft.graphs),
        version_bumps=tuple(sorted(draft.bumps.items())),
        calls=tuple(moments.ModuleCall(*call) for call in draft.calls),
    )


class Names:
    """Names of a draft's tensors. `known` are those that calls gave as they returned, `new` those heard of since."""

    def __init__(self, sites: Sites, table: TensorTable, known: Mapping[int, str]) -> None:
        self._sites, self.table, self._known = sites, table, known
        self.new: dict[int, str] = {}

    def hear(self, returns: Sequence[tuple[int, tuple[int, ...]]]) -> None:
        """Module calls returned these: outer calls return later, and name better."""
        for stack, outputs in returns:
            for position, tensor in enumerate(outputs):
                name = self._sites.result_name(stack, position, len(outputs))
                if name:
                    self.new[tensor] = name

    def of(self, index: int, raw: RawTensor) -> str:
        if raw.parameter is not None:
            known = self.table.parameters[raw.parameter]
            name = known.name or (self._operand(raw) if raw.made_by is None else self._result(raw))
            return name or f"{known.role} {known.id}"
        returned = self.new.get(index) or self._known.get(index)
        if returned:
            return returned
        if raw.made_by is None and raw.position != MADE_BEFORE:
            return self._operand(raw)
        return self._result(raw)

    def _result(self, raw: RawTensor) -> str:
        if not raw.direct or raw.stack is None:
            return ""
        return self._sites.result_name(raw.stack, raw.output, raw.outputs) or self._sites.expression(raw.stack)

    def _operand(self, raw: RawTensor) -> str:
        if raw.stack is None or not raw.direct:
            return ""
        return self._sites.operand_name(raw.stack, raw.position, raw.method)


def tensor_at(draft: Draft, index: int, names: Names) -> Tensor:
    """The draft's tensor of that number as its record."""
    raw = draft.tensors[index]
    facts = raw.facts
    role = "tensor"
    if raw.parameter is not None:
        role = names.table.parameters[raw.parameter].role
    elif facts.requires_grad and facts.is_leaf:
        role = "leaf"
    elif raw.made_by is None:
        role = "input"
    return tensor_of(
        facts,
        number=index,
        name=names.of(index, raw),
        version=raw.version,
        storage=raw.storage,
        base=raw.base,
        parameter=raw.parameter,
        made_by=raw.made_by,
        output=raw.output,
        role=role,
        first_use=raw.stack,
        carried=raw.carried,
        gradient_of=raw.gradient_of,
    )


def tensor_of(facts: Facts, **place: Any) -> Tensor:
    """The record of a tensor that says these facts of itself; `place` are its other fields: where the step has it."""
    return _tensor(**facts._asdict(), **place)


def graph_of(raw: RawGraph, moments: Sequence[RawMoment]) -> GradGraph:
    """One graph as its record, of a draft with these moments."""
    nodes = []
    for index, raw_node in enumerate(raw.nodes):
        made = moments[raw_node.op] if raw_node.op is not None and raw_node.op < len(moments) else None
        called = made.payload if made is not None else None
        nodes.append(
            _grad_node(
                index,
                raw_node.name,
                raw_node.op,
                raw_node.leaf,
                made.stack if made is not None else None,
                called.module if isinstance(called, Called) else None,
                tuple([SavedTensor(*saved) for saved in raw_node.saved]) if raw_node.saved else (),
                raw_node.carried,
                raw_node.outputs,
                raw_node.hooks,
            )
        )
    return GradGraph(tuple(nodes), tuple([_grad_edge(*edge) for edge in raw.edges]), raw.roots)


def moment_of(raw: RawMoment) -> Moment:
    """One raw moment as its record."""
    record: Moment = _MAKERS[type(raw.payload)](raw, raw.payload)
    return record


def _op(raw: RawMoment, did: Called) -> Moment:
    given = None if did.given is None else given_of(did.given, raw.inputs)
    return _op_call(
        raw.phase, raw.stack, did.name, raw.inputs, raw.outputs, did.module, did.module_call, did.grad_nodes,
        did.grad_enabled, did.autocast, "" if given is None else words(given), did.behind, did.direct, given,
    )  # fmt: skip


def _mutation(raw: RawMoment, did: Written) -> Moment:
    return moments.Mutation(
        raw.phase, raw.stack, raw.inputs[0], did.before, did.after, did.cause, did.counted, raw.outputs, did.op
    )


def _move(raw: RawMoment, did: Moved) -> Moment:
    return moments.Move(raw.phase, raw.stack, _only(raw.inputs), _only(raw.outputs), *did)


def _leaf(raw: RawMoment, did: LeafChanged) -> Moment:
    now = did.status
    return moments.LeafChange(
        raw.phase, raw.stack, raw.inputs[0], _only(raw.outputs), did.cause,
        now.requires_grad, now.is_leaf, now.grad_fn, now.retains_grad,
    )  # fmt: skip


def _only(numbers: tuple[int, ...]) -> int | None:
    return numbers[0] if numbers else None


def _backward(raw: RawMoment, did: BackwardRan) -> Moment:
    graph = -1 if did.graph is None else did.graph
    return moments.Backward(
        raw.phase, raw.stack, did.call, graph, raw.inputs, raw.outputs, did.retain_graph, did.create_graph, did.error
    )


def _node(raw: RawMoment, did: NodeRan) -> Moment:
    return moments.NodeRun(raw.phase, raw.stack, -1 if did.graph is None else did.graph, did.node)


def _grad(raw: RawMoment, did: GradChanged) -> Moment:
    return moments.GradChange(raw.phase, raw.stack, raw.inputs, *did)


def _optimizer(raw: RawMoment, did: Updated) -> Moment:
    return moments.OptimizerStep(raw.phase, raw.stack, did.optimizer, raw.inputs, did.versions)


def _registration(raw: RawMoment, did: Registered) -> Moment:
    return moments.Registration(raw.phase, raw.stack, did.owner, did.name, raw.inputs)


def _failure(raw: RawMoment, did: Failed) -> Moment:
    return moments.Failure(raw.phase, raw.stack, *did[:-1], raw.inputs, did.behind)


def _simple(kind: Callable[..., Moment]) -> Callable[[RawMoment, Any], Moment]:
    def make(raw: RawMoment, did: tuple[Any, ...]) -> Moment:
        return kind(raw.phase, raw.stack, *did)

    return make


_MAKERS: dict[type, Callable[[RawMoment, Any], Moment]] = {
    Called: _op,
    Written: _mutation,
    Moved: _move,
    LeafChanged: _leaf,
    BackwardRan: _backward,
    NodeRan: _node,
    GradChanged: _grad,
    Updated: _optimizer,
    Failed: _failure,
    Registered: _registration,
    Switched: _simple(moments.ModeChange),
    Zeroed: _simple(moments.ZeroGrad),
    OptimizerChanged: _simple(moments.OptimizerChange),
    Scheduled: _simple(moments.SchedulerStep),
    Scaled: _simple(moments.ScalerCall),
    Noted: _simple(moments.Note),
}


_form, _stats, _values = attrgetter("form"), attrgetter("stats"), attrgetter("values")


def samples_of(step: int, raw: Sequence[RawSample], usual: Entries | None = None) -> PackedSamples:
    """The raw samples (at least one) of a step that now has a number; their readings are settled.

    Where they are of the `usual` entries, they share these.
    """
    moments, subjects, of_parameters, whats, readings = zip(*raw)  # no line of ours runs for each of them
    entries = Entries(moments, subjects, of_parameters, whats, tuple(map(_form, readings)))
    if entries == usual:
        entries = usual
    return PackedSamples(step, entries, b"".join(map(_stats, readings)), b"".join(map(_values, readings)))
