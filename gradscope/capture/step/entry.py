"""A live tensor in the registry."""

from __future__ import annotations

import weakref

import torch

from ..measure.askable import is_plain
from ..measure.tensor_facts import Facts, is_leaf, storage_key
from .draft import StepMark
from .raw import RawTensor


class Entry(weakref.ref[torch.Tensor]):
    """What is known of one tensor. It is a weak reference, so the tensor lives no longer for it."""

    __eq__, __hash__ = object.__eq__, object.__hash__  # those of a reference would ask the tensor

    __slots__ = (
        "base_version", "facts", "gradient_of", "key", "made_at", "mark", "number", "outlived", "parameter",
        "prototype", "stack", "storage", "uncounted", "version",
    )  # fmt: skip

    def __init__(self, tensor: torch.Tensor) -> None:  # noqa: ARG002  # the reference has it already
        self.mark: StepMark | None = None  # the step in which `number` holds
        self.number = self.storage = -1
        self.parameter: int | None = None
        self.version: int | None = None
        self.base_version = 0
        self.facts: Facts | None = None  # of one that outlives steps
        self.stack: int | None = None  # where it was made, if that was seen
        self.uncounted = False  # shares memory but not the version counter (.data, numpy)
        self.prototype: RawTensor | None = None  # of a parameter: what a step's meeting it looks like
        self.key: int | None = None  # its storage, as long as `facts` hold
        self.gradient_of: Entry | None = None  # the tensor whose `.grad` the script read it as
        self.made_at = -1  # the stack that made it, once its step has closed
        self.outlived = False  # found alive, with its graph, at the end of a later step


def key_of(entry: Entry) -> int | None:
    """The storage of its tensor, if that still lives."""
    tensor = entry()
    return storage_key(tensor) if tensor is not None else None


def outlives_steps(entry: Entry, tensor: torch.Tensor, moment: int | None, step: StepMark) -> bool:
    """Whether it is a parameter, or a leaf that wants a gradient and was already there before `step`."""
    if type(tensor) is torch.nn.Parameter:
        return True
    earlier = moment is None and entry.mark is not None and entry.mark is not step
    return earlier and is_plain(tensor) and tensor.requires_grad and is_leaf(tensor)
