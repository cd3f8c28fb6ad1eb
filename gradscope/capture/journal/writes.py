"""Writes: a version counter that rose, and what the write did to gradients, history and leaves."""

from __future__ import annotations

from collections.abc import Sequence
from types import FrameType

import torch

from ...model.records import Phase
from ..measure.tensor_facts import status_of, version_of
from ..step.entry import Entry
from ..step.raw import GradChanged, LeafChanged, Written
from .here import Here


class Versions:
    """Tells of writes to tensors."""

    def __init__(self, here: Here) -> None:
        self.here = here
        self._owners: dict[int, int] | None = None  # whose `.grad` each tensor is, read once a call that writes
        self._op = -1  # the call that writes, among the moments of all steps

    def call_writes(self, op: int) -> None:
        """The call at moment `op` (-1: it is not told) wrote to some of its operands, told one by one to `mutated`."""
        self._owners = None
        self._op = self.here.draft.before + op if op >= 0 else -1

    def mutated(self, tensor: torch.Tensor, before: int | None, after: int | None, cause: str, stack: int) -> None:
        """An op raised the version of one of its operands."""
        here = self.here
        number = here.table.number(here.tracker.draft, tensor, stack)  # an earlier operand may have ended a step
        entry, draft = here.table.entries[id(tensor)], here.tracker.draft
        last = draft.last()
        phase = last.phase if last is not None else Phase.OTHER
        if before == after or entry.version == after:
            return  # told already, with a tensor that it shares its memory with
        aliases = here.table.aliases(draft, entry)
        op = self._op - draft.before  # below 0: an earlier operand has ended the step of the call
        self.rose(entry, number, before, after, cause, op if op >= 0 else None, stack, phase, aliases)
        entry.version = after
        owner = None if tensor.requires_grad else self._owner_of_gradient(tensor, entry)
        if owner is not None:
            change = "zeroed" if cause in ("zero_", "_foreach_zero_") else "modified"
            draft.add("grad", phase, stack, (owner,), (), GradChanged(change, has_grad=True))
            if change == "zeroed":
                draft.progress.zeroed = True
        if before is not None and torch.is_grad_enabled():
            self._history_changed(tensor, number, stack, phase)
        written = (tensor, *(other for _, other in aliases))
        leaf_updated = any(one.requires_grad and not one._is_view() and one.is_leaf for one in written)
        if (leaf_updated or entry.uncounted) and draft.progress.seen_backward and not here.clock.depth:
            here.tracker.updated_by_hand(stack)
            here.clock.updated()

    def data_assigned(self, tensor: torch.Tensor, frame: FrameType) -> None:
        """`tensor.data = ...`: other memory, the same counter."""
        here = self.here
        stack, direct = here.locate(frame)
        number = here.table.number(here.draft, tensor, stack, 0, True, direct)
        entry = here.table.entries[id(tensor)]
        entry.facts = entry.prototype = None
        here.draft.add("mutation", here.phase_now(), stack, (number,), (), Written(None, None, "data =", counted=False))
        if here.draft.progress.seen_backward and not here.clock.depth and tensor.requires_grad:
            here.tracker.updated_by_hand(stack)
            here.clock.updated()

    def _owner_of_gradient(self, tensor: torch.Tensor, entry: Entry) -> int | None:
        """The number of the tensor whose `.grad` this is, or shares the memory of; None if the step has not met it."""
        here = self.here
        if self._owners is None:
            leaves = here.table.leaves(here.tracker.draft)
            self._owners = {id(leaf.grad): number for number, leaf in leaves if leaf.grad is not None}
        found = self._owners.get(id(tensor))
        if found is None and self._owners:
            for other in here.tracker.draft.sharing.get(entry.storage, ()):
                alias = other()
                if alias is not None and alias.numel() == tensor.numel() and id(alias) in self._owners:
                    return self._owners[id(alias)]
        return found

    def _history_changed(self, tensor: torch.Tensor, number: int, stack: int, phase: Phase) -> None:
        """A write made the tensor, and the base that it is a view of, results of another grad node."""
        here = self.here
        draft = here.tracker.draft
        base = tensor._base if tensor._is_view() else None
        known = here.table.find(base) if base is not None else None
        changed = [(tensor, number)]
        if base is not None and known is not None and known.mark is draft.mark:
            changed.append((base, known.number))
        for one, its_number in changed:
            node = one.grad_fn if one.requires_grad else None
            if node is not None:
                draft = here.draft
                draft.gave(node._sequence_nr(), (its_number,))
                became = LeafChanged("in-place", status_of(one))
                draft.add("leaf", phase, stack, (its_number,), (), became)

    def rose(
        self,
        entry: Entry,
        number: int,
        before: int | None,
        after: int | None,
        cause: str,
        op: int | None,
        stack: int | None,
        phase: Phase,
        aliases: Sequence[tuple[Entry, torch.Tensor]] = (),
    ) -> None:
        """The version of `entry` and of its `aliases`, which share its counter, rose; the call at moment `op` wrote."""
        draft = self.here.tracker.draft
        rises = []
        for other, tensor in aliases:
            now = version_of(tensor)
            if other.parameter is not None and other.version is not None and now is not None:
                rises.append((other.parameter, now - other.version))
            other.version = now
        if entry.parameter is not None and before is not None and after is not None:
            rises.append((entry.parameter, after - before))
            before, after = before - entry.base_version, after - entry.base_version
        others = tuple([other.number for other, _ in aliases])
        draft.add("mutation", phase, stack, (number,), others, Written(before, after, cause, not entry.uncounted, op))
        for parameter, rise in rises:
            draft.bumps[parameter] = draft.bumps.get(parameter, 0) + rise
