"""What a tensor says of itself, read without running any code of the script's.

Tensors of other classes than torch's own are read with subclass dispatch switched off, so that no
`__torch_function__` of the script's runs for us.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from operator import attrgetter
from typing import Any, NamedTuple

import torch

from .unseen import Unseen

PLAIN: frozenset[type] = frozenset({torch.Tensor, torch.nn.Parameter, torch.nn.Buffer})
VERSION = attrgetter("_version")
_CONTAINERS = (list, tuple, dict)
_NUMBERS = frozenset({bool, int, float, complex, str, type(None)})
_new_tuple = tuple.__new__  # a named tuple's own constructor is a Python call


class Facts(NamedTuple):
    """What a tensor says of itself."""

    shape: tuple[int, ...]
    dtype: str
    device: str
    layout: str
    requires_grad: bool
    is_leaf: bool
    grad_fn: str | None
    retains_grad: bool
    is_inference: bool
    nbytes: int
    is_view: bool


class _Texts(dict[Any, str]):
    """Torch's own objects as short text: `torch.float32` is float32."""

    def __missing__(self, key: Any) -> str:
        text = self[key] = str(key).removeprefix("torch.")
        return text


_DTYPES, _DEVICES, _LAYOUTS = _Texts(), _Texts(), _Texts()


def dtype_name(dtype: torch.dtype) -> str:
    return _DTYPES[dtype]


def device_name(device: torch.device) -> str:
    return _DEVICES[device]


def is_plain(tensor: torch.Tensor) -> bool:
    """Whether the tensor's class is torch's own, so that reading it runs no code of the script."""
    return type(tensor) in PLAIN


def version_of(tensor: torch.Tensor) -> int | None:
    """The version counter, None for inference tensors, which have none."""
    try:
        return tensor._version
    except RuntimeError:
        return None


def versions_of(tensors: Sequence[torch.Tensor]) -> list[int | None]:
    """The version counter of each tensor."""
    try:
        return list(map(VERSION, tensors))
    except RuntimeError:
        return [version_of(tensor) for tensor in tensors]


def storage_key(tensor: torch.Tensor) -> int | None:
    """Identity of the storage while it lives; None where a tensor has none (sparse, wrappers)."""
    try:
        return int(tensor.untyped_storage()._cdata)
    except (RuntimeError, NotImplementedError):
        return None


def read_facts(tensor: torch.Tensor) -> Facts:
    """What the tensor says of itself, read without running any code of the script's.

    A nested tensor has no one size: its shape is (), or has -1 where sizes differ.
    """
    if type(tensor) in PLAIN and not tensor.is_nested:
        return _read_facts(tensor, tuple(tensor.shape), tensor.numel())
    with Unseen():
        try:
            shape = tuple(size if type(size) is int else -1 for size in tensor.shape)
        except RuntimeError:
            shape = ()
        return _read_facts(tensor, shape, int(tensor.numel()))


def _read_facts(tensor: torch.Tensor, shape: tuple[int, ...], numel: int) -> Facts:
    grad_fn = node_of(tensor)
    return _new_tuple(
        Facts,
        (
            shape,
            _DTYPES[tensor.dtype],
            _DEVICES[tensor.device],
            _LAYOUTS[tensor.layout],
            tensor.requires_grad,
            is_leaf(tensor),
            None if grad_fn is None else type(grad_fn).__name__,
            tensor.retains_grad,
            tensor.is_inference(),
            numel * tensor.element_size(),
            tensor._is_view(),
        ),
    )


def is_leaf(tensor: torch.Tensor) -> bool:
    """Whether it is a leaf; False for a view that torch refuses to tell of, for its base was written to."""
    try:
        return tensor.is_leaf
    except RuntimeError:
        return False


def node_of(tensor: torch.Tensor) -> Any:
    """Its `grad_fn`; None for such a view, too."""
    try:
        return tensor.grad_fn
    except RuntimeError:
        return None


def said(tensor: torch.Tensor) -> tuple[Any, ...]:
    """What a result with memory of its own says of itself, as torch's own objects.

    Results that say the same have the same facts and version.
    """
    node = tensor.grad_fn
    return (
        tensor.shape, tensor.dtype, tensor.device, tensor.layout, tensor.requires_grad,
        None if node is None else type(node).__name__, tensor.retains_grad, tensor._version,
    )  # fmt: skip


def sayings(facts: Facts, version: int | None) -> tuple[Any, ...]:
    """What `said` gives of a tensor with these facts."""
    return (
        facts.shape, getattr(torch, facts.dtype), torch.device(facts.device), getattr(torch, facts.layout),
        facts.requires_grad, facts.grad_fn, facts.retains_grad, version,
    )  # fmt: skip


def tensors_in(arguments: Iterable[Any]) -> list[torch.Tensor]:
    """The tensors among a call's arguments, in order, looking into lists, tuples and dicts."""
    found: list[torch.Tensor] = []
    for argument in arguments:
        if isinstance(argument, torch.Tensor):
            found.append(argument)
        elif isinstance(argument, _CONTAINERS):
            _look_into(argument, found)
    return found


def results_of(returned: Any) -> list[torch.Tensor]:
    """The tensors that a call returned."""
    if isinstance(returned, torch.Tensor):
        return [returned]
    return tensors_in((returned,)) if isinstance(returned, (list, tuple)) else []


def _look_into(container: Any, found: list[torch.Tensor]) -> None:
    levels = [_items(container)]
    opened = [id(container)]  # what is being read, so that a container that holds itself ends
    while levels:
        for item in levels[-1]:
            if type(item) in _NUMBERS:
                continue
            if isinstance(item, torch.Tensor):
                found.append(item)
            elif isinstance(item, _CONTAINERS) and id(item) not in opened:
                levels.append(_items(item))
                opened.append(id(item))
                break
        else:
            levels.pop()
            opened.pop()


def _items(container: Any) -> Iterator[Any]:
    return iter(tuple(container.values() if isinstance(container, dict) else container))
