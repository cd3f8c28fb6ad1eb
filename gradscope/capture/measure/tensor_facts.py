"""What a tensor says of itself, read without running any code of the script's: see `askable`."""

from __future__ import annotations

import itertools
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from operator import attrgetter
from typing import Any, NamedTuple

import torch

from ...model.leaf import AutogradStatus
from ...model.sizes import UNKNOWN
from ..hiding.torch_private import TensorBase, Uninitialized
from .askable import PLAIN, Asking, ask

VERSION = attrgetter("_version")
_CONTAINERS = (list, tuple, dict)
_NUMBERS = frozenset({bool, int, float, complex, str, type(None)})
_storage = TensorBase.untyped_storage
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

    def after(self, status: AutogradStatus) -> Facts:
        """The facts of the tensor once it has this status."""
        return self._replace(
            requires_grad=status.requires_grad, is_leaf=status.is_leaf, grad_fn=status.grad_fn,
            retains_grad=status.retains_grad,
        )  # fmt: skip


class _Texts(dict[Any, str]):
    """Torch's own objects as short text: `torch.float32` is float32."""

    def __missing__(self, key: Any) -> str:
        text = self[key] = str(key).removeprefix("torch.")
        return text


_DTYPES, _DEVICES, _LAYOUTS = _Texts(), _Texts(), _Texts()
_FACTS: dict[tuple[Any, ...], Facts] = {}  # by what tensors said in torch's own objects: most say what others did
MOST_FACTS = 4096


def dtype_name(dtype: torch.dtype) -> str:
    return _DTYPES[dtype]


def device_name(device: torch.device) -> str:
    return _DEVICES[device]


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
        return int(_storage(tensor)._cdata)
    except RuntimeError:
        return None


def read_facts(tensor: torch.Tensor) -> Facts:
    """What the tensor says of itself, read without running any code of the script's.

    A size that differs from row to row, or that nobody may ask for, is `UNKNOWN`; a tensor that has no one shape (a
    nested one, a parameter whose sizes are yet to come) has (). Unknown words are "", unknown bytes 0.
    """
    if type(tensor) in PLAIN and not tensor.is_nested:
        numel = tensor.numel()
        if type(numel) is int:
            return _read_facts(tensor, numel)
    with Asking():
        return _ask_facts(tensor)


def _read_facts(tensor: torch.Tensor, numel: int) -> Facts:
    grad_fn = node_of(tensor)
    words = (
        tensor.shape, tensor.dtype, tensor.device, tensor.layout, tensor.requires_grad, is_leaf(tensor),
        None if grad_fn is None else type(grad_fn).__name__,
        tensor.retains_grad, tensor.is_inference(), tensor._is_view(),
    )  # fmt: skip
    facts = _FACTS.get(words)
    if facts is None:
        if len(_FACTS) >= MOST_FACTS:
            _FACTS.clear()
        shape, dtype, device, layout, requires_grad, leaf, name, retains_grad, is_inference, is_view = words
        facts = _FACTS[words] = Facts(
            tuple(shape), _DTYPES[dtype], _DEVICES[device], _LAYOUTS[layout], requires_grad, leaf, name, retains_grad,
            is_inference, numel * tensor.element_size(), is_view,
        )  # fmt: skip
    return facts


def _ask_facts(tensor: torch.Tensor) -> Facts:
    grad_fn = ask(TensorBase.grad_fn.__get__, tensor, None)
    return Facts(
        shape=_ask_sizes(tensor),
        dtype=_DTYPES[TensorBase.dtype.__get__(tensor)],
        device=_DEVICES[ask(TensorBase.device.__get__, tensor, "")],
        layout=_LAYOUTS[ask(TensorBase.layout.__get__, tensor, "")],
        requires_grad=TensorBase.requires_grad.__get__(tensor),
        is_leaf=ask(TensorBase.is_leaf.__get__, tensor, False),
        grad_fn=None if grad_fn is None else type(grad_fn).__name__,
        retains_grad=TensorBase.retains_grad.__get__(tensor),
        is_inference=TensorBase.is_inference(tensor),
        nbytes=(_ask_count(tensor) or 0) * TensorBase.element_size(tensor),
        is_view=TensorBase._is_view(tensor),
    )


def _ask_sizes(tensor: torch.Tensor) -> tuple[int, ...]:
    if isinstance(tensor, Uninitialized):
        return ()
    return known_sizes(ask(TensorBase.shape.__get__, tensor, ()))


def _ask_count(tensor: torch.Tensor) -> int | None:
    count = ask(TensorBase.numel, tensor, None)
    return count if type(count) is int else None


def known_sizes(shape: Iterable[Any]) -> tuple[int, ...]:
    """A shape with `UNKNOWN` for sizes that are symbols: to compare one, or to make a number of it, decides it."""
    return tuple([size if type(size) is int else UNKNOWN for size in shape])


def count_of(tensor: torch.Tensor) -> int | None:
    """How many elements it has; None where that is not known, or only its class could tell."""
    if type(tensor) in PLAIN:
        count = tensor.numel()
        return count if type(count) is int else None
    with Asking():
        return _ask_count(tensor)


def bytes_of(tensor: torch.Tensor) -> int:
    """How many bytes its elements take, 0 where that is not known."""
    return (count_of(tensor) or 0) * int(TensorBase.element_size(tensor))


def device_of(tensor: torch.Tensor) -> str:
    """The device as text, "" where only the tensor's class could tell."""
    if type(tensor) in PLAIN:
        return _DEVICES[tensor.device]
    with Asking():
        return _DEVICES[ask(TensorBase.device.__get__, tensor, "")]


def dtype_of(tensor: torch.Tensor) -> str:
    """The element type as text."""
    return _DTYPES[TensorBase.dtype.__get__(tensor)]


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


def status_of(tensor: torch.Tensor) -> AutogradStatus:
    """What it is to autograd now."""
    node = node_of(tensor)
    return AutogradStatus(
        tensor.requires_grad, is_leaf(tensor), None if node is None else type(node).__name__, tensor.retains_grad
    )


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
    """What `said` gives of a tensor with these facts; nothing where one of torch's own objects is not known."""
    if not (facts.device and facts.layout):
        return ()
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


def paths_in(whole: Any) -> list[tuple[int | str, ...]]:
    """How indices and keys lead to each of the tensors that `tensors_in` finds in it, in that order."""
    found: list[tuple[int | str, ...]] = []
    waiting: list[tuple[Any, tuple[int | str, ...], frozenset[int]]] = [(whole, (), frozenset())]
    while waiting:
        value, path, around = waiting.pop()
        if isinstance(value, torch.Tensor):
            found.append(path)
        elif isinstance(value, _CONTAINERS) and id(value) not in around:
            keys = dict.keys(value) if isinstance(value, dict) else itertools.count()
            steps = [key if type(key) in (int, str) else "?" for key, _ in zip(keys, _items(value))]
            inside = [(item, (*path, key), around | {id(value)}) for key, item in zip(steps, _items(value))]
            waiting += reversed(inside)
    return found


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
    """What a container holds, told by the class of Python's that it is of: no method of the script's runs."""
    if isinstance(container, dict):
        kind: Any = OrderedDict if isinstance(container, OrderedDict) else dict
        return iter(tuple(kind.values(container)))
    return iter(tuple((list if isinstance(container, list) else tuple).__iter__(container)))
