"""What a tensor is to autograd: leaf or result, wanting a gradient, keeping one, a parameter, registered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from types import FrameType
from typing import Any

import torch

from ...model.leaf import AutogradStatus
from ...model.records import Phase
from ..measure.tensor_facts import status_of
from ..step.entry import Entry
from ..step.raw import LeafChanged, Registered
from .here import Here


class Leaves:
    """Tells what tensors become: leaves, parameters, results that keep their gradient."""

    def __init__(self, here: Here) -> None:
        self.here = here
        self._retained: list[Entry] = []

    def changed(self, tensor: torch.Tensor, before: AutogradStatus | None, cause: str, frame: FrameType) -> None:
        """`cause` (requires_grad_, retain_grad) was called on a tensor whose status was `before`."""
        here = self.here
        after = status_of(tensor)
        if after == before:
            return
        stack, direct = here.locate(frame)
        number = here.table.number(here.draft, tensor, stack, 0, True, direct)
        entry = here.table.entries[id(tensor)]
        entry.facts = entry.prototype = None
        entry.stack = stack if entry.stack is None else entry.stack
        if cause == "retain_grad":
            self.retain(tensor)
        here.draft.add("leaf", here.phase_now(), stack, (number,), (), LeafChanged(cause, after))
        if entry.parameter is not None:
            known = here.table.parameters[entry.parameter]
            here.table.adopt(tensor, known.name, known.root, known.role, model=known.model)

    def parameter_made(self, parameter: torch.Tensor, data: Any, frame: FrameType) -> None:
        """`nn.Parameter(data)`: a leaf of its own, whatever made `data`."""
        here = self.here
        stack, direct = here.locate(frame)
        draft, table = here.draft, here.table
        table.entry(parameter).stack = stack
        source = (table.number(draft, data, stack, 0, False, direct),) if isinstance(data, torch.Tensor) else ()
        name = here.sites.result_name(stack, 0, 1) if direct else ""
        table.adopt(parameter, name.removeprefix("self."), "", "parameter")
        number = table.number(draft, parameter, stack)
        became = LeafChanged("Parameter", status_of(parameter))
        draft.add("leaf", here.phase_now(), stack, (number,), source, became)

    def registered(self, owner: str, name: str, parameters: Sequence[torch.Tensor], frame: FrameType) -> None:
        """A module of class `owner` got the attribute `name`: these parameters."""
        here = self.here
        stack, _ = here.locate(frame)
        numbers = tuple(here.table.number(here.draft, one, stack, direct=False) for one in parameters)
        here.draft.add("registration", here.phase_now(), stack, numbers, (), Registered(owner, name))

    def adopt(self, tensor: torch.Tensor, role: str) -> int:
        """Make a tensor of the script's own one that outlives steps; it is called what it was assigned to."""
        here = self.here
        draft, entry = here.draft, here.table.entry(tensor)
        raw = draft.tensors[entry.number] if entry.mark is draft.mark else None
        name = ""
        if raw is not None and raw.direct and raw.stack is not None and raw.made_by is not None:
            name = here.sites.result_name(raw.stack, raw.output, raw.outputs)
        return here.table.adopt(tensor, name.removeprefix("self."), "", role, draft)

    def retain(self, tensor: torch.Tensor) -> None:
        """Remember a result that keeps its gradient from now on."""
        self._retained.append(self.here.table.entry(tensor))

    def retained_by_backward(self, tensor: torch.Tensor, number: int, stack: int) -> None:
        """`backward(inputs=...)` makes a result that it names keep its gradient."""
        here = self.here
        self.retain(tensor)
        here.table.entries[id(tensor)].facts = None
        became = LeafChanged("retain_grad", replace(status_of(tensor), retains_grad=True))
        here.draft.add("leaf", Phase.BACKWARD, stack, (number,), (), became)

    def retained(self) -> list[torch.Tensor]:
        """Non-leaf tensors that keep their gradient and still live."""
        if not self._retained:
            return []
        self._retained = [entry for entry in self._retained if entry() is not None]
        found = [entry() for entry in self._retained]
        return [tensor for tensor in found if tensor is not None]
