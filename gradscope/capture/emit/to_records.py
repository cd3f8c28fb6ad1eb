"""Raw drafts into records: done once for each novelty, so it may take its time.

This is where names are given: a tensor is called what the script calls it, else what made it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from operator import attrgetter
from typing import Any

from ...model import records
from ...model.packed_samples import Entries, PackedSamples
from ...model.records import GradEdge, GradGraph, GradNode, Moment, SavedTensor, Template, Tensor
from ..measure.tensor_facts import Facts
from ..sites.call_sites import Sites
from ..step.draft import MADE_BEFORE, Draft, RawGraph, RawMoment, RawSample, RawTensor
from ..step.tensor_registry import TensorTable


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
        calls=tuple(records.ModuleCall(*call) for call in draft.calls),
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
    return Tensor(**facts._asdict(), **place)


def graph_of(raw: RawGraph, moments: Sequence[RawMoment]) -> GradGraph:
    """One graph as its record, of a draft with these moments."""
    nodes = []
    for index, (name, op, leaf, outputs, saved, hooks, carried) in enumerate(raw.nodes):
        made = moments[op] if op is not None and op < len(moments) else None
        nodes.append(
            GradNode(
                index=index,
                name=name,
                op=op,
                tensor=leaf,
                stack=made[2] if made is not None else None,
                module=made[5][2] if made is not None and made[0] == "op" else None,
                saved=tuple(SavedTensor(*item) for item in saved),
                carried=carried,
                output_tensors=outputs,
                hooks=hooks,
            )
        )
    return GradGraph(tuple(nodes), tuple(GradEdge(*edge) for edge in raw.edges), raw.roots)


def moment_of(raw: RawMoment) -> Moment:
    """One raw moment as its record."""
    return _MAKERS[raw[0]](raw)


def _op(raw: RawMoment) -> Moment:
    _, phase, stack, inputs, outputs, payload = raw
    name, direct, module, call, nodes, grad_enabled, autocast, arguments, behind = payload
    return records.OpCall(
        phase, stack, name, inputs, outputs, module, call, nodes, grad_enabled, autocast, arguments, behind, direct
    )  # fmt: skip


def _mutation(raw: RawMoment) -> Moment:
    _, phase, stack, inputs, aliases, (before, after, cause, counted) = raw
    return records.Mutation(phase, stack, inputs[0], before, after, cause, counted, aliases)


def _move(raw: RawMoment) -> Moment:
    _, phase, stack, source, target, payload = raw
    return records.Move(phase, stack, source[0] if source else None, target[0] if target else None, *payload)


def _leaf(raw: RawMoment) -> Moment:
    _, phase, stack, tensors, sources, payload = raw
    return records.LeafChange(phase, stack, tensors[0], sources[0] if sources else None, *payload)


def _backward(raw: RawMoment) -> Moment:
    _, phase, stack, roots, inputs, (graph, call, retain, create, error) = raw
    return records.Backward(phase, stack, call, -1 if graph is None else graph, roots, inputs, retain, create, error)


def _grad(raw: RawMoment) -> Moment:
    return records.GradChange(raw[1], raw[2], raw[3], *raw[5])


def _optimizer(raw: RawMoment) -> Moment:
    return records.OptimizerStep(raw[1], raw[2], raw[5][0], raw[3], raw[5][1])


def _registration(raw: RawMoment) -> Moment:
    return records.Registration(raw[1], raw[2], raw[5][0], raw[5][1], raw[3])


def _failure(raw: RawMoment) -> Moment:
    kind, message, call, caught = raw[5]
    return records.Failure(raw[1], raw[2], kind, message, call, caught, raw[3])


def _simple(kind: Callable[..., Moment]) -> Callable[[RawMoment], Moment]:
    def make(raw: RawMoment) -> Moment:
        return kind(raw[1], raw[2], *raw[5])

    return make


_MAKERS: dict[str, Callable[[RawMoment], Moment]] = {
    "op": _op,
    "mutation": _mutation,
    "move": _move,
    "leaf": _leaf,
    "backward": _backward,
    "grad": _grad,
    "optimizer": _optimizer,
    "failure": _failure,
    "mode": _simple(records.ModeChange),
    "node": _simple(records.NodeRun),
    "zero_grad": _simple(records.ZeroGrad),
    "optimizer_change": _simple(records.OptimizerChange),
    "registration": _registration,
    "scheduler": _simple(records.SchedulerStep),
    "scaler": _simple(records.ScalerCall),
    "note": _simple(records.Note),
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
