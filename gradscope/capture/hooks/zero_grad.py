"""`zero_grad()` of an optimizer or a module: which gradients it cleared."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from types import FrameType

import torch

from ...model.records import Phase
from ..hiding.no_torch_function import Unseen
from ..journal.journal import Journal
from ..journal.stations import ZERO_GRAD, ZEROED
from .pause import Pause


def zero_grad(
    journal: Journal,
    pause: Pause,
    frame: FrameType,
    parameters: Callable[[], Iterable[torch.Tensor]],
    owner: Callable[[], tuple[str, int | None]],
    call: Callable[[bool], None],
    set_to_none: bool,
) -> None:
    """Make the `call` that `frame` makes, and record which gradients of the owner's parameters it cleared.

    `owner` answers with its name, and its number if it is an optimizer.
    """
    if journal.matching.listening and _passed(journal, frame, parameters, owner, set_to_none):
        call(set_to_none)
        journal.matching.ends(ZEROED)  # which gradients are there follows from what was there
        return
    with pause:
        stack, with_grad = -1, None
        with journal.guard("gradients before zero_grad"):
            stack = journal.call_begins(Phase.ZERO_GRAD, frame)
            with_grad = [parameter for parameter in parameters() if parameter.grad is not None]
        try:
            call(set_to_none)
            if with_grad is not None:
                _tell(journal, owner, with_grad, stack)
        finally:
            journal.call_ends()
    if journal.matching.listening:
        journal.matching.ends(ZEROED)


def _passed(
    journal: Journal,
    frame: FrameType,
    parameters: Callable[[], Iterable[torch.Tensor]],
    owner: Callable[[], tuple[str, int | None]],
    set_to_none: bool,
) -> bool:
    """Whether nothing but that the step passes this call is recorded of it."""
    try:
        with Unseen():
            there = [parameter.grad is not None for parameter in parameters()]
            return journal.matching.passes(ZERO_GRAD, frame, (*owner(), bool(set_to_none), there))
    except Exception as error:
        journal.fault("gradients before zero_grad", error)
        return False


def _tell(
    journal: Journal, owner: Callable[[], tuple[str, int | None]], with_grad: list[torch.Tensor], stack: int
) -> None:
    with journal.guard("a zero_grad call"):
        journal.gradients.zeroed(*owner(), with_grad, stack)
