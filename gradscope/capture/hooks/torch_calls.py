"""Torch's calls: which are recorded and which are something else, and what they are called."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from ..hiding.torch_private import set_grad_enabled

_Tensor = torch.Tensor

SKIP, RECORD, QUIET, GRAD_GET, GRAD_SET, DATA_GET, DATA_SET, WANT_GRAD, RETAIN, GRAD_MODE, HOOK = range(11)

# Calls that read a property or a size. They make no tensor, change nothing and cannot warn.
_READS = [
    "size",
    "stride",
    "dim",
    "numel",
    "nelement",
    "ndimension",
    "storage_offset",
    "element_size",
    "is_floating_point",
    "is_complex",
    "is_signed",
    "is_contiguous",
    "is_pinned",
    "is_shared",
    "data_ptr",
    "untyped_storage",
    "storage",
    "get_device",
    "is_conj",
    "is_neg",
    "is_inference",
    "__len__",
    "__repr__",
    "__str__",
    "__format__",
    "__hash__",
    "__dir__",
    "__reduce_ex__",
    "__reduce__",
    "__setstate__",
    "_is_view",
    "is_set_to",
    "dense_dim",
    "sparse_dim",
    "is_coalesced",
    "has_names",
    "is_same_size",
    "_typed_storage",
    "__contains__",
    "is_nonzero",
    "is_distributed",
    "names",
    "_has_compatible_shallow_copy_type",
    "__deepcopy__",
    "type_as_",
    "is_storage",
    "_version",
]
_MOVES = frozenset(
    [
        "to",
        "cpu",
        "cuda",
        "xpu",
        "double",
        "float",
        "half",
        "bfloat16",
        "int",
        "long",
        "short",
        "char",
        "bool",
        "type",
        "type_as",
        "cfloat",
        "cdouble",
        "chalf",
    ]
)


def actions() -> dict[Any, int]:
    """What to do for each function that is not simply recorded."""
    found: dict[Any, int] = {}
    for name in dir(_Tensor):
        member = getattr(_Tensor, name, None)
        if type(member).__name__ == "getset_descriptor" and hasattr(member, "__get__"):
            found[member.__get__] = SKIP  # type: ignore[union-attr]
    for name in _READS:
        for owner in (_Tensor, torch):
            member = getattr(owner, name, None)
            if callable(member):
                found[member] = SKIP
    grad: Any = _Tensor.grad
    found[grad.__get__] = GRAD_GET
    found[grad.__set__] = GRAD_SET
    found[_Tensor.data.__get__] = DATA_GET  # type: ignore[attr-defined]
    found[_Tensor.data.__set__] = DATA_SET  # type: ignore[attr-defined]
    found[_Tensor.requires_grad.__set__] = WANT_GRAD  # type: ignore[attr-defined]
    found[_Tensor.requires_grad_] = WANT_GRAD
    found[_Tensor.retain_grad] = RETAIN
    found[_Tensor.register_hook] = HOOK
    found[_Tensor.register_post_accumulate_grad_hook] = HOOK
    found[set_grad_enabled] = GRAD_MODE
    for quiet in (_Tensor.backward, torch.autograd.backward):
        found[quiet] = QUIET
    for name in ("T", "mT", "H", "mH", "real", "imag"):
        found[getattr(_Tensor, name).__get__] = RECORD
    return found


def describe(func: Callable[..., Any]) -> tuple[str, bool, bool, bool]:
    """(name, is a method of the tensor, may move it, is no concern of ours)."""
    name = getattr(func, "__name__", None) or str(func)
    qualified = getattr(func, "__qualname__", "")
    if name == "__get__":
        name = getattr(getattr(func, "__self__", None), "__name__", name)
        return name, True, False, False
    method = qualified.startswith(("TensorBase.", "Tensor.", "_TensorBase."))
    if name.startswith("__") and name.endswith("__") and name not in ("__getitem__", "__setitem__"):
        name = name.strip("_")
    internal = name.startswith(("_record_function", "_set_", "_get_", "_parse_to", "profiler"))
    return name, method, name in _MOVES, internal
