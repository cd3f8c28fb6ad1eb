"""What of the script's lies behind an error that torch raised in the middle of its own code: told by the traceback."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from types import FrameType, TracebackType
from typing import Any

import torch

from .call_sites import Sites

# Where torch runs the script's code for it, by file: a function transform's call is the line to tell.
_TRANSFORMS = ("/_functorch/apis.py", "/_functorch/eager_transforms.py", "/_functorch/vmap.py")


def behind_failure(sites: Sites, tb: TracebackType | None) -> int | None:
    """The stack of the script's line that torch worked for when it raised; None where it was the script's own call.

    That is the call of a function transform (vmap, grad); the `return` of the dataset whose worker failed, and of
    the function that a checkpoint ran again.
    """
    before: FrameType | None = None
    found = None
    for frame in _frames(tb):
        if sites.frames.users(frame.f_code):
            before = frame
            continue
        file = frame.f_code.co_filename.replace("\\", "/")
        if before is None:
            continue
        if file.endswith(_TRANSFORMS):
            found = sites.locate(before)
            continue
        function = _asked(frame, file)
        if function is not None:
            found = sites.behind(function, sites.locate(before))
    return found


def _asked(frame: FrameType, file: str) -> Any:
    """The script's function whose result a frame of torch's waited for, or compared."""
    own = frame.f_locals.get("self")
    if file.endswith("/utils/data/dataloader.py") and frame.f_code.co_name == "_process_data":
        return getattr(type(getattr(own, "_dataset", None)), "__getitem__", None)
    if file.endswith("/utils/checkpoint.py") and frame.f_code.co_name == "check_recomputed_tensors_match":
        function = _caught(getattr(own, "recompute_fn", None), "fn")
        function = function if inspect.isroutine(function) else getattr(type(function), "forward", None)
        return getattr(function, "__func__", function)
    return None


def _caught(closure: Any, name: str) -> Any:
    """What a function caught under a name from the function around it."""
    names, cells = getattr(getattr(closure, "__code__", None), "co_freevars", ()), getattr(closure, "__closure__", None)
    try:
        return cells[names.index(name)].cell_contents if cells and name in names else None
    except ValueError:
        return None  # the cell is empty


def uncopied(tb: TracebackType | None) -> torch.Tensor | None:
    """The tensor that refused to be copied deeply."""
    for frame in _frames(tb):
        if frame.f_code.co_name == "__deepcopy__" and isinstance(own := frame.f_locals.get("self"), torch.Tensor):
            return own
    return None


def _frames(tb: TracebackType | None) -> Iterator[FrameType]:
    while tb is not None:
        yield tb.tb_frame
        tb = tb.tb_next
