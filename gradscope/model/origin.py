"""Where a tensor of a step comes from: the step that first met it, and whether an op computed it."""

from __future__ import annotations

from .leaf import AutogradStatus, LeafCase, leaf_case
from .moments import Backward, OpCall
from .op_kinds import read_inputs
from .recorded import RecordedStep
from .records import Tensor

_FURTHEST = 1000  # steps that a tensor is followed back


def first_met(step: RecordedStep, tensor: Tensor) -> tuple[RecordedStep, Tensor]:
    """The step that first met a tensor, as far as it was recorded, and its record there."""
    known = set(step.trace.source.step_numbers())
    for _ in range(_FURTHEST):
        came = next((item for item in step.row.carried if item[0] == tensor.number), None)
        if came is None or came[1] == step.number or came[1] not in known:
            break
        home = step.trace.step(came[1])
        if came[2] >= len(home.tensors):
            break  # its ops were not watched, or it is damaged
        step, tensor = home, home.tensors[came[2]]
    return step, tensor


def is_result(step: RecordedStep, tensor: Tensor) -> bool | None:
    """Whether an op computed a tensor; None where nobody saw who made it. What a module holds is the user's."""
    if tensor.role in ("parameter", "buffer"):
        return False
    if tensor.gradient_of is not None:
        return True
    home, first = first_met(step, tensor)
    made = home.moments[first.made_by] if first.made_by is not None else None
    if isinstance(made, OpCall):
        return bool(read_inputs(made))
    return True if isinstance(made, Backward) else None


def case_in(step: RecordedStep, tensor: Tensor, now: AutogradStatus | None = None) -> LeafCase:
    """The tensor's case of the leaf table: as it was when the step met it, or as it is `now`."""
    status = now if now is not None else tensor
    return leaf_case(status, is_result(step, tensor) if not status.requires_grad else None)
