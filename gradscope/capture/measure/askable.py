"""What may be asked of a tensor: what is known to be safe, listed in this one place. The rest is told as unknown.

A tensor of a library's may compute its size or its device in code of its own, start a collective for its numbers,
or have no memory behind it at all. So its facts are asked of torch's base class while `Asking` refuses whatever
would run code of the tensor's class, and numbers are read of dense tensors only, of the usual types, whose memory
is all there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import attrgetter, le
from typing import Any, TypeVar

import torch

from ..hiding.no_torch_function import Unseen
from ..hiding.torch_private import (
    DispatchMode,
    TensorBase,
    data_address,
    dispatch_modes,
    pop_dispatch_mode,
    push_dispatch_mode,
)

Answer = TypeVar("Answer")

PLAIN: frozenset[type] = frozenset({torch.Tensor, torch.nn.Parameter, torch.nn.Buffer})
WITH_NORM = frozenset({
    torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.complex64, torch.complex128,
})  # fmt: skip
_USUAL = frozenset({torch.float32, torch.float64})
NUMBERS = WITH_NORM | {torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64}
DEVICES = frozenset({"cpu", "cuda"})
# Classes of torch's own that tell their size, layout or device in code of theirs, and do nothing else for that.
_TELLING = frozenset({
    "torch.nested._internal.nested_tensor.NestedTensor",
    "torch._subclasses.fake_tensor.FakeTensor",
    "torch.masked.maskedtensor.core.MaskedTensor",
})  # fmt: skip

_NO_DISPATCH: Any = torch.Tensor.__torch_dispatch__
_STRIDED = torch.strided
_is_cpu, _nbytes = attrgetter("is_cpu"), attrgetter("nbytes")
_contiguous, _offset, _storage = TensorBase.is_contiguous, TensorBase.storage_offset, TensorBase.untyped_storage
_held = torch.UntypedStorage.nbytes


class Refused(RuntimeError):
    """To answer, code of the tensor's own class would have to run."""


class _Refusing(DispatchMode):
    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # to skip it would import it

    def __torch_dispatch__(
        self, func: Callable[..., Any], _types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kind = type(args[0]) if args else object
        if f"{kind.__module__}.{kind.__qualname__}" in _TELLING:
            return func(*args, **(kwargs or {}))
        raise Refused(str(func))


_REFUSING: Any = _Refusing()  # type: ignore[no-untyped-call]


class Asking:
    """While it lasts, no code of a tensor's class runs: what would need it raises `Refused`."""

    __slots__ = ("_unseen",)

    def __enter__(self) -> None:
        self._unseen = Unseen()
        self._unseen.__enter__()
        push_dispatch_mode(_REFUSING)

    def __exit__(self, *exc: object) -> None:
        pop_dispatch_mode(None)
        self._unseen.__exit__(None, None, None)


def ask(question: Callable[[Any], Answer], tensor: torch.Tensor, unknown: Answer) -> Answer:
    """The answer that the tensor gives while `Asking`; `unknown` where it has none."""
    try:
        return question(tensor)
    except RuntimeError:
        return unknown


def is_plain(tensor: torch.Tensor) -> bool:
    """Whether the tensor's class is torch's own, so that reading it runs no code of the script."""
    return type(tensor) in PLAIN


def computes(tensor: torch.Tensor) -> bool:
    """Whether the tensor's class computes for itself: whatever is done to it runs code of the class."""
    kind = type(tensor)
    return kind not in PLAIN and kind.__torch_dispatch__ is not _NO_DISPATCH


def is_strided(tensor: torch.Tensor) -> bool:
    """Whether a tensor of a usual class is dense: it has strides, an offset, and views."""
    return type(tensor) in PLAIN and tensor.layout is _STRIDED and not tensor.is_nested


# `passing`: a gradient on its way through the engine. Its storage is not asked for, which would give it a Python
# object: torch adds to a gradient in place only where nothing else holds its storage (measured with 2.13).


def in_memory(tensor: torch.Tensor, passing: bool = False) -> bool:
    """Whether a tensor of a usual class is dense and all its memory there, on the CPU."""
    return (
        type(tensor) in PLAIN
        and tensor.is_cpu
        and tensor.layout is _STRIDED
        and not (tensor.is_nested or dispatch_modes())
        and (_has_memory(tensor) if passing else _memory_is_there(tensor))
    )


def lies_at(tensor: torch.Tensor, passing: bool = False) -> int:
    """Where the numbers of a tensor that is `in_memory` lie, one after the other; 0 for others."""
    if not (
        type(tensor) in PLAIN
        and tensor.is_cpu
        and tensor.layout is _STRIDED
        and not (tensor.is_nested or dispatch_modes())
        and _contiguous(tensor)
        and not tensor.is_neg()
    ):
        return 0
    try:
        offset = _offset(tensor)
        skipped = offset * tensor.itemsize if offset else 0
        begin = data_address(tensor) if passing or tensor.nbytes + skipped <= _held(_storage(tensor)) else 0
        return begin + skipped if begin else 0
    except RuntimeError:
        return 0  # it stands for another tensor


def is_number(tensor: torch.Tensor) -> bool:
    """Whether a tensor is one number of the usual kind, with no dimension, in the CPU's memory. False for odd ones."""
    return (
        type(tensor) in PLAIN
        and tensor.is_cpu
        and tensor.dtype in _USUAL
        and not (tensor.dim() or dispatch_modes())
        and tensor.layout is _STRIDED
        and _has_memory(tensor)
    )


def all_in_memory(tensors: Sequence[Any]) -> bool:
    """Whether `in_memory` holds of each, told at once; False where one is no usual case.

    A nested tensor, and one of zeros that has no memory, are not told from others: ask calls of torch only.
    """
    try:
        return (
            set(map(type, tensors)) <= PLAIN
            and all(map(_is_cpu, tensors))
            and not dispatch_modes()
            and all(map(_contiguous, tensors))
            and not any(map(_offset, tensors))
            and all(map(le, map(_nbytes, tensors), map(_held, map(_storage, tensors))))
        )
    except RuntimeError:
        return False


def address_of(tensor: torch.Tensor) -> int:
    """Where the first number of a readable tensor lies."""
    return data_address(tensor) + int(_offset(tensor)) * tensor.itemsize


def readable(tensor: torch.Tensor, passing: bool = False) -> bool:
    """Whether the numbers of `tensor` can be read without side effects."""
    if in_memory(tensor, passing):
        return tensor.dtype in NUMBERS
    if computes(tensor) or dispatch_modes():  # a dispatch mode of the script's would see our reads, too
        return False
    with Unseen():
        device = TensorBase.device.__get__(tensor).type
        return (
            device in DEVICES
            and TensorBase.layout.__get__(tensor) is _STRIDED
            and TensorBase.dtype.__get__(tensor) in NUMBERS
            and not TensorBase.is_nested.__get__(tensor)
            and not TensorBase._is_zerotensor(tensor)
            and not (device == "cuda" and capturing())
            and (_has_memory if passing else _memory_is_there)(tensor if type(tensor) in PLAIN else dense(tensor))
        )


def dense(tensor: torch.Tensor) -> torch.Tensor:
    """A readable tensor as one of torch's own class, so that no method of a class of the script's is called."""
    found: torch.Tensor = TensorBase.detach(tensor)
    return found


def capturing() -> bool:
    """Whether the script records a CUDA graph: all that is asked of the device would become part of it."""
    return torch.cuda.is_initialized() and torch.cuda.is_current_stream_capturing()


def readable_storage(tensor: torch.Tensor) -> torch.UntypedStorage | None:
    """The storage of a plain CPU tensor, if its bytes can be read; None for others."""
    if not in_memory(tensor):
        return None
    storage: torch.UntypedStorage = _storage(tensor)
    return storage if storage.nbytes() else None


def fits(storage: torch.UntypedStorage, offset: int, size: Sequence[int], stride: Sequence[int], itemsize: int) -> bool:
    """Whether a storage is as large as a tensor of this layout needs it."""
    if 0 in size:
        return True
    last = offset + sum((length - 1) * step for length, step in zip(size, stride))
    return (last + 1) * itemsize <= storage.nbytes()


def _has_memory(tensor: torch.Tensor) -> bool:
    """Whether a strided tensor has any memory."""
    try:
        return not tensor.nbytes or data_address(tensor) != 0
    except RuntimeError:
        return False  # it stands for another tensor


def _memory_is_there(tensor: torch.Tensor) -> bool:
    """Whether a strided tensor has the memory that its layout tells of: freeing a storage leaves that as it was."""
    try:
        storage, offset = _storage(tensor), _offset(tensor)
        if not tensor.nbytes:
            return True
        if _contiguous(tensor):
            enough = tensor.nbytes + offset * tensor.itemsize <= _held(storage)
        else:
            enough = fits(storage, offset, tensor.shape, tensor.stride(), tensor.itemsize)
        return enough and data_address(tensor) != 0
    except RuntimeError:
        return False  # it stands for another tensor
