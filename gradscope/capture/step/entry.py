"""A live tensor in the table, and how it is entered while a step follows its pattern (`replay`): only compared."""

from __future__ import annotations

import weakref

import torch

from ..measure.askable import is_plain
from ..measure.tensor_facts import Facts, storage_key
from .draft import Draft, RawTensor, StepMark


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
        self.facts: Facts | None = None  # of one that outlives steps, or was carried from one to another
        self.stack: int | None = None  # where it was made, if that was seen
        self.uncounted = False  # shares memory but not the version counter (.data, numpy)
        self.prototype: RawTensor | None = None  # of a parameter: what a step's meeting it looks like
        self.key: int | None = None  # its storage, as long as `facts` hold
        self.gradient_of: Entry | None = None  # the tensor whose `.grad` the script read it as
        self.made_at = -1  # the stack that made it, once its step has closed
        self.outlived = False  # found alive, with its graph, at the end of a later step


def enter_expected(draft: Draft, entry: Entry, tensor: torch.Tensor) -> bool:
    """Whether a tensor that outlives steps is, met now, what the pattern met here; then it is entered."""
    number, storage = draft.count, draft.storage_count
    raw, facts, expected = entry.prototype, entry.facts, draft.expected.tensors[number]
    if raw is not expected:
        if raw is None or raw._replace(storage=storage) != expected:
            return False
        entry.prototype = expected
    if (
        facts is None
        or facts.requires_grad is not tensor.requires_grad
        or expected.version is None  # an inference tensor's
        or storage != expected.storage
    ):
        return False
    version = tensor._version
    if version != entry.version:
        return False
    entry.base_version = version
    entry.mark, entry.number, entry.storage = draft.mark, number, storage
    draft.met.append(entry)
    draft.count, draft.storage_count, draft.behind = number + 1, storage + 1, True
    return True


def carry_expected(
    draft: Draft, entry: Entry, tensor: torch.Tensor, stack: int | None, position: int, method: bool, direct: bool
) -> bool:
    """The same for a tensor of an earlier step, which is no leaf of the graph: an input that stays."""
    mark, facts, version = entry.mark, entry.facts, entry.version
    if mark is None or facts is None or version is None:
        return False
    if entry.parameter is not None or entry.gradient_of is not None:
        return False
    number, storage = draft.count, draft.storage_count
    met = (facts, version, storage, None, None, None, 0, 1, stack, position, method, direct, True, None)
    if tensor.requires_grad or tensor._version != version or draft.expected.tensors[number] != met:
        return False
    if tensor.shape != facts.shape or storage_key(tensor) != entry.key:
        return False  # `.data` was assigned where nobody saw it
    draft.carry(number, entry, mark)
    entry.mark, entry.number, entry.storage = draft.mark, number, storage
    draft.met.append(entry)
    draft.count, draft.storage_count, draft.behind = number + 1, storage + 1, True
    return True


def remember_input(entry: Entry, facts: Facts, tensor: torch.Tensor) -> None:
    """A tensor of an earlier step is met: where it is no part of a graph, note what `carry_expected` compares."""
    if is_plain(tensor) and not (facts.requires_grad or facts.is_view or facts.is_inference):
        entry.facts, entry.key = facts, storage_key(tensor)
