"""What torch is doing, where that decides whether anything can be recorded."""

from __future__ import annotations

from .torch_private import functorch_level, is_tracing


def transforming() -> bool:
    """Whether torch.func or torch.jit.trace is at work: tensors stand for others, and a read would be traced."""
    return functorch_level() is not None or is_tracing()
