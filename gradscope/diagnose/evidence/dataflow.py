"""`Dataflow`: which values of a step were made of which, and how far gradients come back."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property

from ...model import op_kinds
from ...model.moments import Backward, GradChange, LeafChange, ModuleCall, Mutation, OpCall
from ...model.order import reached
from ...model.trace import Step
from .index import Case, once_a_step
from .writes import op_of

INTEGER = ("int", "uint", "bool")
ACCUMULATE = "AccumulateGrad"


class Dataflow:
    """The flow of values through one step. Build it by `of`, which keeps it."""

    def __init__(self, case: Case, step: Step) -> None:
        self.case, self.step = case, step
        # The inputs of whose shape alone an op makes its results are none here: no gradient could come back to them.
        self.ops: dict[int, OpCall] = {
            event.position: replace(event.moment, inputs=op_kinds.read_inputs(event.moment))
            for event in case.events(OpCall, step)
        }
        self._wants_grad: dict[int, int] = {}
        for event in case.events(LeafChange, step):
            if event.moment.requires_grad:
                self._wants_grad.setdefault(event.moment.tensor, event.position)

    @staticmethod
    @once_a_step
    def of(case: Case, step: Step) -> Dataflow:
        return Dataflow(case, step)

    def needs_grad(self, tensor: int, moment: int | None = None) -> bool:
        """Whether the tensor requires a gradient at `moment` (None: at the step's end)."""
        if self.step.tensors[tensor].requires_grad:
            return True
        since = self._wants_grad.get(tensor)
        return since is not None and (moment is None or since < moment)

    def passes(self, op: int, tensor: int) -> bool:
        """Whether gradients of a result come back through the op that gave it."""
        made = self.step.tensors[tensor].made_by == op
        return self.step.tensors[tensor].requires_grad if made else self.needs_grad(tensor)

    # -- who made what -------------------------------------------------------------------------------

    @cached_property
    def writers(self) -> Mapping[int, Sequence[int]]:
        """For each tensor the ops that gave it its value: the one that made it, and those that wrote to it."""
        found: dict[int, list[int]] = defaultdict(list)
        for index, op in self.ops.items():
            for tensor in op.outputs:
                found[tensor].append(index)
        for event in self.case.events(Mutation, self.step):
            wrote = op_of(self.step, event.position)
            if wrote is None:
                continue
            for tensor in (event.moment.tensor, *event.moment.aliases):
                if wrote not in found[tensor]:
                    found[tensor].append(wrote)
        return found

    @cached_property
    def readers(self) -> Mapping[int, Sequence[int]]:
        """For each tensor the ops that read it."""
        found: dict[int, list[int]] = defaultdict(list)
        for index, op in self.ops.items():
            for tensor in dict.fromkeys(op.inputs):
                found[tensor].append(index)
        return found

    def results(self, op: int) -> Sequence[int]:
        """What an op gave: its outputs, and what it wrote to."""
        return (*self.ops[op].outputs, *self._written.get(op, ()))

    @cached_property
    def _written(self) -> Mapping[int, Sequence[int]]:
        found: dict[int, list[int]] = defaultdict(list)
        for tensor, ops in self.writers.items():
            for op in ops:
                if tensor not in self.ops[op].outputs:
                    found[op].append(tensor)
        return found

    def behind(self, tensors: Iterable[int], before: int | None = None) -> tuple[set[int], set[int]]:
        """(tensors, ops) that `tensors` were made of, themselves included."""
        ops: set[int] = set()

        def made_of(tensor: int) -> Iterator[int]:
            for op in self.writers.get(tensor, ()):
                if op not in ops and (before is None or op < before):
                    ops.add(op)
                    yield from self.ops[op].inputs

        return set(reached(tensors, made_of)), ops

    def ahead(self, tensors: Iterable[int], with_grad: bool = False) -> tuple[set[int], set[int]]:
        """(tensors, ops) made of `tensors`, themselves included; `with_grad`: only as far as gradients come back."""
        ops: set[int] = set()

        def made_with(tensor: int) -> Iterator[int]:
            for op in self.readers.get(tensor, ()):
                if op not in ops:
                    ops.add(op)
                    yield from (one for one in self.results(op) if not with_grad or self.passes(op, one))

        return set(reached(tensors, made_with)), ops

    # -- where gradients end -------------------------------------------------------------------------

    @cached_property
    def cuts(self) -> Mapping[int, Sequence[int]]:
        """Ops that read what requires a gradient and give what does not: the op, and what it gives."""
        found: dict[int, Sequence[int]] = {}
        for index, op in self.ops.items():
            if not any(self.needs_grad(tensor, index) for tensor in op.inputs):
                continue
            given = [tensor for tensor in self.results(index) if tensor not in op.inputs]
            dead = [tensor for tensor in given if not self.passes(index, tensor)]
            if dead:
                found[index] = dead
        return found

    @cached_property
    def exits(self) -> Sequence[int]:
        """Ops that take a value out of torch: item, numpy, tolist."""
        return [index for index, op in self.ops.items() if op.name in op_kinds.LEAVES_TORCH and op.inputs]

    def last_exit(self, before: int) -> int | None:
        """The last of them before a moment whose value has something behind it that requires a gradient."""
        found = (op for op in reversed(self.exits) if op < before)
        return next((op for op in found if any(map(self.needs_grad, self.behind(self.ops[op].inputs)[0]))), None)

    @cached_property
    def backwards(self) -> Sequence[tuple[int, Backward]]:
        """The step's backwards that ran to their end, with their moment."""
        found = self.case.events(Backward, self.step)
        return [(event.position, event.moment) for event in found if event.moment.error is None]

    @cached_property
    def differentiated(self) -> set[int]:
        """The tensors that those backwards started from, and all that these were made of."""
        return self.behind([root for _, backward in self.backwards for root in backward.roots])[0]

    @cached_property
    def given(self) -> set[int]:
        """Tensors that got a gradient in this step."""
        return {
            tensor
            for event in self.case.events(GradChange, self.step)
            if event.moment.change in ("created", "accumulated")
            for tensor in event.moment.tensors
        }

    # -- modules -------------------------------------------------------------------------------------

    @cached_property
    def _calls(self) -> Mapping[tuple[int, int], int]:
        return {(call.module, call.call): place for place, call in enumerate(self.step.template.calls)}

    def calls_of(self, op: int) -> tuple[ModuleCall, ...]:
        """The module calls that an op ran in, innermost first."""
        call = self.ops[op]
        place = self._calls.get((call.module, call.module_call or 0)) if call.module is not None else None
        found: list[ModuleCall] = []
        while place is not None:
            found.append(self.step.template.calls[place])
            place = found[-1].parent
        return tuple(found)
