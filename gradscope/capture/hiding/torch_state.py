"""What torch is doing, where that decides whether anything can be recorded."""

from __future__ import annotations

import torch

_functorch_level = torch._C._functorch.peek_interpreter_stack
_tracing = torch._C._is_tracing


def transforming() -> bool:
    """Whether torch.func or torch.jit.trace is at work: tensors stand for others, and a read would be traced."""
    return _functorch_level() is not None or _tracing()
