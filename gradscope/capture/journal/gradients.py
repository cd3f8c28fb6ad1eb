"""Gradients of leaves: arrived, clipped, assigned, read and zeroed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import FrameType
from typing import TYPE_CHECKING, Any

import torch

from ...model.records import Phase
from ..measure.reading import Reading
from ..measure.tensor_facts import is_leaf, version_of

if TYPE_CHECKING:
    from .journal import Journal


class Gradients:
    """Tells the journal what became of the `.grad` of tensors."""

    def __init__(self, journal: Journal) -> None:
        self.journal = journal

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
        journal = self.journal
        draft, table = journal.tracker.draft, journal.table
        index = draft.add("grad", Phase.BACKWARD, stack, tuple([number for _, number in filled]), (), (change, True))
        if not draft.full:
            return
        for tensor, number in filled:
            owner = table.entries[id(tensor)].parameter
            subject, of_parameter = (number, False) if owner is None else (owner, True)
            reading = received.get(number) if change == "created" else None
            if reading is not None:  # what AccumulateGrad received is the gradient
                draft.samples.append((index, subject, of_parameter, "grad", reading))
            elif tensor.grad is not None:
                journal.sample(tensor.grad, index, subject, of_parameter, "grad")

    def clipped(
        self,
        name: str,
        tensors: Sequence[torch.Tensor],
        written: Sequence[tuple[torch.Tensor, torch.Tensor, int | None, int | None]],
        result: object,
        arguments: str,
        frame: FrameType,
    ) -> None:
        """Clipping of the gradients of `tensors`; `written`: (tensor, gradient, its version before, after)."""
        journal = self.journal
        stack, direct = journal.locate(frame)
        draft = journal.draft
        numbers = journal.enter_inputs(tensors, stack, False, False, [version_of(one) for one in tensors], tensors)
        outputs = [result] if isinstance(result, torch.Tensor) else []
        journal.op(name, stack, direct, tensors, numbers, outputs, 0, 0, arguments=arguments)
        phase = journal.phase_now()
        for _, gradient, before, after in written:
            entry = journal.table.find(gradient)
            if entry is not None and entry.mark is draft.mark:
                journal.versions.rose(entry, entry.number, before, after, name, stack, phase)
                entry.version = after
        changed = tuple(journal.table.number(draft, tensor, stack) for tensor, *_ in written)
        if changed:
            draft.add("grad", phase, stack, changed, (), ("modified", True))

    def assigned(self, tensor: torch.Tensor, had: bool, frame: FrameType) -> None:
        """`tensor.grad = ...`."""
        journal = self.journal
        now = self.present(tensor)
        if not had and not now:
            return
        stack, direct = journal.locate(frame)
        number = journal.table.number(journal.draft, tensor, stack, 0, True, direct)
        if not now:
            journal.draft.zeroed = True
        phase = Phase.OTHER if now else Phase.ZERO_GRAD
        journal.draft.add("grad", phase, stack, (number,), (), ("assigned" if now else "cleared", now))

    def read(self, tensor: torch.Tensor, result: Any, frame: FrameType) -> None:
        """`.grad` was read. Where none can ever be (a non-leaf, a leaf that wants none), the read is an op."""
        journal = self.journal
        if result is not None:
            stack, direct = journal.locate(frame)
            journal.table.number(
                journal.draft, tensor, stack, 0, True, direct
            )  # what is done to it is told of its leaf
            journal.table.read_as_gradient(journal.draft, result, journal.table.entry(tensor))
        elif not (is_leaf(tensor) and (tensor.requires_grad or not journal.frames.users(frame.f_code))):
            stack, direct = journal.locate(frame)
            numbers = journal.enter_inputs([tensor], stack, True, direct, [version_of(tensor)], [tensor])
            journal.op("grad", stack, direct, [tensor], numbers, [], 0, 0)

    def zeroed(self, owner: str, optimizer: int | None, tensors: Sequence[torch.Tensor], stack: int) -> None:
        """`zero_grad()` of an optimizer or a module, where these tensors had gradients."""
        journal = self.journal
        draft = journal.tracker.draft
        draft.zeroed = True
        zeroed = [tensor for tensor in tensors if tensor.grad is not None]
        cleared = [tensor for tensor in tensors if tensor.grad is None] if zeroed else tensors
        draft.add("zero_grad", Phase.ZERO_GRAD, stack, (), (), (owner, not zeroed, optimizer))
        for kept, found in ((True, zeroed), (False, cleared)):
            if found:
                numbers = journal.table.numbers(draft, found, stack)
                draft.add("grad", Phase.ZERO_GRAD, stack, numbers, (), ("zeroed" if kept else "cleared", kept))
