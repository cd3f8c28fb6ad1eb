"""Gradients of leaves: arrived, clipped, assigned, read and zeroed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import FrameType
from typing import Any

import torch

from ...model.records import Phase
from ..measure.given import RawGiven
from ..measure.reading import Reading
from ..measure.tensor_facts import is_leaf, version_of
from ..step.raw import GradChanged, Zeroed
from .here import Here
from .measurements import Measurements
from .ops import Ops
from .writes import Versions


class Gradients:
    """Tells what became of the `.grad` of tensors."""

    def __init__(self, here: Here, ops: Ops, versions: Versions, measurements: Measurements) -> None:
        self.here, self.ops, self.versions, self.measurements = here, ops, versions, measurements

    @staticmethod
    def present(tensor: torch.Tensor) -> bool:
        """Whether the tensor has a gradient, read only where torch warns of nothing."""
        return (tensor.retains_grad or is_leaf(tensor)) and tensor.grad is not None

    def arrived(
        self,
        filled: Sequence[tuple[torch.Tensor, int]],
        change: str,
        stack: int | None,
        received: Mapping[int, Reading],
    ) -> None:
        """A backward left gradients in these leaves (or tensors that retain theirs).

        `received`: what AccumulateGrad got, by the number of its leaf, where it was measured.
        """
        here = self.here
        draft, table = here.tracker.draft, here.table
        index = draft.add(
            "grad", Phase.BACKWARD, stack, tuple([number for _, number in filled]), (), GradChanged(change, True)
        )
        if not draft.full:
            return
        for tensor, number in filled:
            owner = table.entries[id(tensor)].parameter
            subject, of_parameter = (number, False) if owner is None else (owner, True)
            reading = received.get(number) if change == "created" else None
            if reading is not None:  # what AccumulateGrad received is the gradient
                draft.samples.append((index, subject, of_parameter, "grad", reading))
            elif tensor.grad is not None:
                self.measurements.sample(tensor.grad, index, subject, of_parameter, "grad")

    def clipped(
        self,
        name: str,
        tensors: Sequence[torch.Tensor],
        written: Sequence[tuple[torch.Tensor, torch.Tensor, int | None, int | None]],
        result: object,
        given: RawGiven,
        frame: FrameType,
    ) -> None:
        """Clipping of the gradients of `tensors`; `written`: (tensor, gradient, its version before, after)."""
        here = self.here
        stack, direct = here.locate(frame)
        draft = here.draft
        numbers = self.ops.enter_inputs(tensors, stack, False, False, [version_of(one) for one in tensors], tensors)
        outputs = [result] if isinstance(result, torch.Tensor) else []
        op = self.ops.add(name, stack, direct, tensors, numbers, outputs, 0, 0, given=given)
        phase = here.phase_now()
        for _, gradient, before, after in written:
            entry = here.table.find(gradient)
            if entry is not None and entry.mark is draft.mark:
                self.versions.rose(entry, entry.number, before, after, name, op, stack, phase)
                entry.version = after
        changed = tuple(here.table.number(draft, tensor, stack) for tensor, *_ in written)
        if changed:
            draft.add("grad", phase, stack, changed, (), GradChanged("modified", True))

    def assigned(self, tensor: torch.Tensor, had: bool, frame: FrameType) -> None:
        """`tensor.grad = ...`."""
        here = self.here
        now = self.present(tensor)
        if not had and not now:
            return
        stack, direct = here.locate(frame)
        number = here.table.number(here.draft, tensor, stack, 0, True, direct)
        if not now:
            here.draft.progress.zeroed = True
        phase = Phase.OTHER if now else Phase.ZERO_GRAD
        here.draft.add("grad", phase, stack, (number,), (), GradChanged("assigned" if now else "cleared", now))

    def read(self, tensor: torch.Tensor, result: Any, frame: FrameType) -> None:
        """`.grad` was read. Where none can ever be (a non-leaf, a leaf that wants none), the read is an op."""
        here = self.here
        if result is not None:
            stack, direct = here.locate(frame)
            here.table.number(here.draft, tensor, stack, 0, True, direct)  # what is done to it is told of its leaf
            here.table.read_as_gradient(here.draft, result, here.table.entry(tensor))
        elif not (is_leaf(tensor) and (tensor.requires_grad or not here.frames.users(frame.f_code))):
            stack, direct = here.locate(frame)
            numbers = self.ops.enter_inputs([tensor], stack, True, direct, [version_of(tensor)], [tensor])
            self.ops.add("grad", stack, direct, [tensor], numbers, [], 0, 0)

    def zeroed(self, owner: str, optimizer: int | None, tensors: Sequence[torch.Tensor], stack: int) -> None:
        """`zero_grad()` of an optimizer or a module, where these tensors had gradients."""
        here = self.here
        draft = here.tracker.draft
        draft.progress.zeroed = True
        zeroed = [tensor for tensor in tensors if tensor.grad is not None]
        cleared = [tensor for tensor in tensors if tensor.grad is None] if zeroed else tensors
        draft.add("zero_grad", Phase.ZERO_GRAD, stack, (), (), Zeroed(owner, not zeroed, optimizer))
        for kept, found in ((True, zeroed), (False, cleared)):
            if found:
                numbers = here.table.numbers(draft, found, stack)
                draft.add(
                    "grad", Phase.ZERO_GRAD, stack, numbers, (), GradChanged("zeroed" if kept else "cleared", kept)
                )
