"""Ops: one call at the Python surface each, with its operands and what it returned."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from ...model.records import Phase
from ..hiding.torch_private import hooks_on_saved
from ..measure.given import RawGiven
from ..sites.call_sites import ALONE, NOWHERE
from ..step.draft import Draft
from ..step.raw import DETACHED, Called, LeafChanged, RawMoment
from .here import Here
from .measurements import Measurements
from .mode_switches import Switches
from .writes import Versions

_grad_enabled = torch.is_grad_enabled
_inference_mode = torch.is_inference_mode_enabled
_new_tuple = tuple.__new__  # a named tuple's own constructor is a Python call
_DETACHING = frozenset({"detach", "data"})


def position_of(arguments: Sequence[Any], tensor: torch.Tensor) -> int:
    """Where the tensor stands among a call's arguments."""
    for position, argument in enumerate(arguments):
        if argument is tensor:
            alone = len(arguments) == 2 and not isinstance(arguments[1 - position], torch.Tensor)
            return ALONE if alone else position
    return NOWHERE


class Ops:
    """Tells of ops."""

    def __init__(self, here: Here, switches: Switches, versions: Versions, measurements: Measurements) -> None:
        self.here, self.switches, self.versions, self.measurements = here, switches, versions, measurements
        self._entered: tuple[int, ...] = ()  # the operands that were numbered last,
        self._entered_in = here.draft.mark  # and the step that they are numbered in

    def enter_inputs(
        self,
        tensors: Sequence[torch.Tensor],
        stack: int,
        method: bool,
        direct: bool,
        versions: Sequence[int | None],
        arguments: Sequence[Any],
    ) -> tuple[int, ...]:
        """The numbers of the tensors among a call's arguments; a version that rose unseen is recorded now."""
        here = self.here
        draft, table = here.tracker.draft, here.table
        if _inference_mode() is not self.switches.inference:
            self.switches.inference_changed(stack)
        numbers: list[int] = []
        entries, mark = table.entries, draft.mark
        for tensor, version in zip(tensors, versions):
            entry = entries.get(id(tensor))
            if entry is None or entry.mark is not mark or entry() is not tensor:
                table.number(draft, tensor, stack, position_of(arguments, tensor), method, direct)
                entry = entries[id(tensor)]
            numbers.append(entry.number)
            if entry.version != version:
                if entry.version is not None and version is not None:
                    cause = "a write that was not seen"
                    self.versions.rose(entry, entry.number, entry.version, version, cause, None, None, Phase.OTHER)
                entry.version = version
        if table.unnamed and direct:
            for tensor in tensors:
                table.name_by_use(tensor, stack, position_of(arguments, tensor), method, direct)
        entered = tuple(numbers)
        self._entered, self._entered_in = entered, mark
        return entered

    def add(
        self,
        name: str,
        stack: int,
        direct: bool,
        inputs: Sequence[torch.Tensor],
        numbers: tuple[int, ...],
        outputs: Sequence[torch.Tensor],
        first: int,
        last: int,
        uncounted: bool = False,
        given: RawGiven | None = None,
        behind: int | None = None,
    ) -> int:
        """One call with what it returned. Grad nodes `first`..`last`-1 were made by it."""
        here = self.here
        draft, table = here.tracker.draft, here.table
        if not draft.with_graph:
            return -1
        grad_enabled = _grad_enabled()
        if numbers is not self._entered or draft.mark is not self._entered_in:
            numbers = self.numbers_now(inputs, numbers, stack)
        index = len(draft.moments)
        sources = tuple(inputs)
        count = len(outputs)
        shares = name in _DETACHING
        made = tuple([
            table.made(draft, tensor, index, position, count, stack, direct, sources, uncounted, shares)
            for position, tensor in enumerate(outputs)
        ])  # fmt: skip
        makes_graph = first != last and self._note_nodes(draft, outputs, made)
        phase = Phase.BACKWARD if here.backwards else here.clock.of_op(name, grad_enabled, makes_graph)
        for sequence in range(first, last):
            draft.nodes_by_sequence[sequence] = index
        told = (
            name, direct, here.module, here.module_call, last - first, grad_enabled, here.autocast, given, behind
        )  # fmt: skip
        moment = ("op", phase, stack, numbers, made, _new_tuple(Called, told))
        draft.append(_new_tuple(RawMoment, moment), phase)
        if draft.full and hooks_on_saved(True) is not None:
            draft.hooked = True
        if name == "detach_" and made and draft.tensors[made[0]].facts.requires_grad:
            draft.add("leaf", phase, stack, made, (), LeafChanged(name, DETACHED))
        elif name in _DETACHING and made and inputs and inputs[0].requires_grad and outputs[0] is not inputs[0]:
            draft.add("leaf", phase, stack, made, numbers[:1], LeafChanged(name, DETACHED))
        if draft.full:
            for tensor, number in zip(outputs, made):
                self.measurements.value(index, number, name, tensor)
        return index

    @staticmethod
    def _note_nodes(draft: Draft, outputs: Sequence[torch.Tensor], made: tuple[int, ...]) -> bool:
        """Of which grad nodes a call's results are the results. Whether it made a graph."""
        makes_graph = False
        for place, tensor in enumerate(outputs):
            if tensor.requires_grad:
                makes_graph = True
                node = tensor.grad_fn
                if node is not None:
                    draft.gave(node._sequence_nr(), made if len(made) == 1 else (made[place],))
        return makes_graph

    def numbers_now(self, tensors: Sequence[torch.Tensor], numbers: tuple[int, ...], stack: int) -> tuple[int, ...]:
        """The numbers of a call's operands, once it is over: where a step ended meanwhile, those had are not its."""
        here = self.here
        draft, table = here.tracker.draft, here.table
        entries, mark = table.entries, draft.mark
        for tensor, number in zip(tensors, numbers):
            entry = entries.get(id(tensor))
            if entry is None or entry.mark is not mark or entry.number != number:
                return tuple([table.number(draft, one, stack) for one in tensors])
        return numbers
