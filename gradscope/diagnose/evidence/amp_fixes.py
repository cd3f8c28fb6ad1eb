"""How the calls of a GradScaler are brought into the order that it needs."""

from __future__ import annotations

from collections.abc import Iterator

from ...model.findings import Place
from ...repair.changes.blocks import after_own, before_own, followed_by_own
from ...repair.changes.calls import receiver, without_call
from ...repair.changes.values import receiver_within
from ...repair.ways import Way
from .torch_errors import ErrorKind

_CLIPS = ("clip_grad_norm_", "clip_grad_value_")
_CALLS = ("step", "unscale_", "update")
_UNSCALED = (ErrorKind.SCALER_UNSCALED_TWICE, ErrorKind.SCALER_UNSCALED_LATE)
_UNUSED = (ErrorKind.SCALER_NEVER_SCALED, ErrorKind.SCALER_FOUND_NO_GRADIENTS)


def scaled_rightly(kind: ErrorKind | None, culprit: Place | None, struck: Place | None) -> Iterator[Way]:
    """The ways to do what the scaler refused at `struck`."""
    if kind in _UNSCALED:
        yield Way(
            "unscale once, right before the step",
            "what is clipped then is the whole gradient of the update",
            struck,
            before_own("step", along=_CLIPS),
        )
    elif kind is ErrorKind.SCALER_STEPPED_TWICE:
        yield Way("update the scale after the step", "once for each update", struck, followed_by_own("update"))
    elif kind is ErrorKind.SCALER_UPDATED_EARLY:
        yield Way("update the scale after the step", "once for each update", struck, after_own("step"))
    elif kind is ErrorKind.SCALER_WANTS_TENSOR:
        yield Way("give it the loss itself", "it keeps its graph", struck, without_call("item"))
    elif kind in _UNUSED:
        yield from scaled_as_well(culprit, struck)


def scaled_as_well(backward: Place | None, used: Place | None) -> Iterator[Way]:
    """The loss of a backward is scaled by the scaler that is called at `used`."""
    code = (used.expression or used.code) if used is not None else ""
    scaler = next((name for call in _CALLS if (name := receiver(code, call))), "")
    if scaler:
        scale = receiver_within("backward", before=f"{scaler}.scale")
        yield Way("scale the loss", "the update is that of the loss itself", backward, scale)
