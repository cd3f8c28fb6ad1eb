"""The nodes of a graph: what each value, op and grad node of a step knows about itself."""

from __future__ import annotations

from bisect import bisect_left

from .called import Calls
from .flow import Call, Flow, Value
from .gradients import Gradients
from .graph import GraphNode, NodeKind
from .moments import GradChange, OpCall
from .op_kinds import PASSES_INFINITY
from .origin import case_in
from .places import Lines
from .recorded import RecordedStep
from .records import LOADER, Sample, Tensor
from .samples import SampleIndex, not_finite
from .signatures import told

_NONE: frozenset[str] = frozenset()
_ROLES = {1: "leaf", 2: "result", 3: "input", 4: "result"}  # of the cases of the leaf table
_CUTS = {
    "detach": "cut: {name} takes its result out of the graph",
    "no_grad": "cut: {name} ran under no_grad, so no gradient passes",
    "inference_mode": "cut: {name} ran under inference_mode, so no gradient passes",
    "readout": "cut: {name} gives plain numbers, through which no gradient passes",
    "no derivative": "cut: the result of {name} needs no gradient",
}


class Boxes:
    """Makes the nodes of one step's graph. `end`: gradients count as they are before that moment."""

    def __init__(self, step: RecordedStep, gradients: Gradients, end: int) -> None:
        self.step = step
        self.end = end
        self.moments = step.moments
        self.tensors = step.tensors
        self.lines = Lines(step.trace)
        self.place = self.lines.place
        self.names = step.trace.names
        self.calls = Calls(step.template, self.names)
        self.samples = SampleIndex(step.samples)
        self.carried = {tensor: made_in for tensor, made_in, _ in step.row.carried}
        self._had_grad = {owner: grad is not None for owner, _, grad in step.row.norms}
        self._grad_changes = self._changes_before(end)
        self._stale = {
            saved.tensor for node in gradients.nodes.values() if node.saved for saved in node.saved if saved.stale
        } - {None}

    def _changes_before(self, end: int) -> dict[int, bool]:
        changes: dict[int, bool] = {}
        for index in self.step.positions(GradChange):
            moment = self.moments[index]
            if index < end and isinstance(moment, GradChange):
                changes.update(dict.fromkeys(moment.tensors, moment.has_grad))
        return changes

    # -- facts -----------------------------------------------------------------------------------

    def has_grad(self, tensor: Tensor, requires_grad: bool, retains: bool) -> bool | None:
        """Whether `.grad` is there after the backward; None for a parameter that nothing is known of."""
        known = self._grad_changes.get(tensor.number)
        if known is not None:
            return known
        before = self.step.grads_before.of(tensor) if requires_grad and tensor.made_by is None else None
        if before is not None:
            return before
        if not requires_grad or tensor.made_by is not None or tensor.parameter is None:
            return False if retains or not self._unknown_before(tensor) else None
        return self._had_grad.get(tensor.parameter)

    def _unknown_before(self, tensor: Tensor) -> bool:
        return tensor.carried and tensor.is_leaf and tensor.requires_grad

    def grad_of(self, tensor: Tensor) -> Sample | None:
        """The tensor's gradient after the backward, where it was sampled."""
        if not self._grad_changes.get(tensor.number):
            return None
        found = None
        for sample in self.samples.of(tensor, "grad"):
            if sample.moment < self.end:
                found = sample
        return found

    def _value_of(self, flow: Flow, value: Value) -> Sample | None:
        """The sample taken while the tensor held this value."""
        found = self.samples.of(self.tensors[value.tensor], "value")
        if not found:
            return None
        values = flow.of_tensor[value.tensor]
        if len(values) == 1 and value.filled is None:
            return found[0]
        start = -1 if value.order == 0 or value.moment is None else value.moment
        start = start if value.filled is None else max(start, value.filled)
        last = value.order + 1 == len(values)
        end = None if last else flow.values[values[value.order + 1]].moment
        first = bisect_left(found, start, key=lambda sample: sample.moment)
        if first == len(found) or (end is not None and found[first].moment >= end):
            return None
        return found[first]

    # -- tensors -----------------------------------------------------------------------------------

    def value_box(self, flow: Flow, position: int, *, root: bool, reached: bool | None, cut: Call | None) -> GraphNode:
        """A tensor's box. `reached`: an AccumulateGrad fills it, None without a backward."""
        value = flow.values[position]
        tensor = self.tensors[value.tensor]
        made = self.moments[value.moment] if value.moment is not None else None
        op = made if isinstance(made, OpCall) else None
        role = self._role(tensor, value)
        sample, grad = (self._value_of(flow, value), self.grad_of(tensor)) if self.samples else (None, None)
        marks = value.marks | self._status_marks(value, role, reached)
        if root:
            marks |= {"root"}
        if cut is not None:
            marks |= {"cut"}
        for found in (sample, grad):
            if found is not None:
                marks |= not_finite(found)
        if op is not None and op.name in PASSES_INFINITY:
            marks -= {"inf"}  # an infinite mask is meant
        module = self.module_of(tensor, op)
        return GraphNode(
            id=value.id,
            kind=NodeKind.TENSOR,
            label=tensor.name or (op.name if op and op.name != LOADER else f"tensor {tensor.number}"),
            name=tensor.name or None,
            op=op.name if op else None,
            shape=tensor.shape,
            dtype=tensor.dtype,
            device=tensor.device,
            status=value.status.status,
            version=value.version,
            has_grad=self.has_grad(tensor, value.status.requires_grad, value.status.retains_grad),
            role=role,
            module=module,
            module_type=self.names.types.get(module) if module is not None else None,
            source=self.lines.line(op.stack if op and value.id >= len(self.tensors) else tensor.first_use),
            value=sample.values if sample else None,
            grad=grad.values if grad else None,
            stats=sample.stats if sample else None,
            grad_stats=grad.stats if grad else None,
            marks=marks,
            notes=self._value_notes(tensor, value, cut),
            moment=value.moment,
            call=self.calls.key(op.module, op.module_call) if op else None,
            arguments=_arguments(op),
        )

    def _status_marks(self, value: Value, role: str, reached: bool | None) -> frozenset[str]:
        """What a tensor's own status says."""
        marks = _NONE
        if self._stale and value.tensor in self._stale and "mutated" in value.marks:
            marks |= {"stale"}
        if role == "parameter" and not value.status.requires_grad:
            marks |= {"frozen"}
        if value.status.retains_grad:
            marks |= {"retained"}
        if reached is False and value.status.is_leaf and value.status.requires_grad:
            marks |= {"not_reached"}
        return marks

    def _role(self, tensor: Tensor, value: Value) -> str:
        if tensor.role in ("parameter", "buffer"):
            return tensor.role
        return _ROLES[case_in(self.step, tensor, value.status).numbers[0]]

    def module_of(self, tensor: Tensor, op: OpCall | None) -> str | None:
        """The path of the module that a tensor lies in: a parameter's owner, else that of the op that made it."""
        if tensor.parameter is not None and tensor.parameter in self.names.parameters:
            return self.names.box_of(tensor.parameter)
        return self.names.box(op.module) if op else None

    def _value_notes(self, tensor: Tensor, value: Value, cut: Call | None) -> tuple[str, ...]:
        notes = value.notes
        if cut is not None:
            notes += (cut_reason(cut),)
        if tensor.number in self.carried:
            notes += (_met_before(self.carried[tensor.number]),)
        if tensor.is_view and tensor.base is not None:
            base = self.tensors[tensor.base]
            notes += (f"a view of {base.name or f'tensor {base.number}'}",)
        if tensor.is_inference:
            notes += ("an inference tensor: autograd does not track it",)
        return notes

    # -- ops ---------------------------------------------------------------------------------------

    def op_box(self, flow: Flow, call: Call) -> GraphNode:
        moment = self.moments[call.moment]
        op = moment if isinstance(moment, OpCall) else None
        module = self.names.box(op.module) if op else None
        outputs = [self.tensors[flow.values[position].tensor] for position in call.outputs[:1]]
        return GraphNode(
            id=len(self.tensors) + call.moment,
            kind=NodeKind.OP,
            label=call.name,
            op=call.name,
            shape=outputs[0].shape if outputs else None,
            dtype=outputs[0].dtype if outputs else None,
            device=outputs[0].device if outputs else None,
            module=module,
            module_type=self.names.types.get(module) if module is not None else None,
            source=self.lines.line(moment.stack),
            marks=frozenset(("cut",)) if call.cut else frozenset(),
            notes=(cut_reason(call),) if call.cut else (),
            moment=call.moment,
            call=self.calls.key(op.module, op.module_call) if op else None,
            arguments=_arguments(op),
        )


def _arguments(op: OpCall | None) -> str:
    """What an op was given besides tensors; by name where the values themselves were recorded."""
    if op is None:
        return ""
    return op.arguments if op.given is None else told(op.name, op.given)


def cut_reason(call: Call) -> str:
    """Why no gradient passes a call."""
    return _CUTS[call.cut].format(name=f"{call.name}()" if call.name.isidentifier() else call.name)


def _met_before(step: int) -> str:
    """Where a carried tensor was met last; `StepRow.carried` links one step to the one before."""
    return f"was there already in step {step}" if step >= 0 else "made before the first step"
