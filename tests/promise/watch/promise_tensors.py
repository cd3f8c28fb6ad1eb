"""A tensor as one text: what torch tells of it, and a digest of its bytes."""

import collections
import hashlib
import sys
from collections.abc import Iterator
from typing import Any

from promise_process import described

NODES = 300  # of one walk through a graph


def tensor_facts(tensor: Any, data: bool = True) -> str:
    """What torch tells of a tensor, and a digest of its bytes."""
    words: list[object] = [described(type(tensor)), tensor.dtype, _shape(tensor), tensor.device, tensor.layout]
    flags = ("requires_grad", "is_leaf", "retains_grad", "_is_view")
    for flag in flags:
        fact = getattr(tensor, flag, None)
        words.append(f"{flag}={fact() if callable(fact) else fact}")
    words.append("inference" if tensor.is_inference() else f"version={tensor._version}")
    if data:
        words += [f"hooks={len(tensor._backward_hooks or ())}", f"grad_fn={_graph(tensor.grad_fn)}", _content(tensor)]
    return " ".join(map(str, words))


def _shape(tensor: Any) -> str:
    return str(tuple(str(size) for size in tensor.shape)) if not tensor.is_nested else "nested"


def _graph(node: Any) -> str:
    names = [f"{node.name()}{dict(node.metadata) or ''}" for node in nodes(node)]
    return "None" if not names else f"{names[0]} {len(names)} {digest(' '.join(names).encode())}"


def nodes(first: Any) -> Iterator[Any]:
    """This node and those behind it, breadth first, each once; no more than `NODES`."""
    todo, met = collections.deque([first] if first is not None else []), set()
    while todo and len(met) < NODES:
        node = todo.popleft()
        if node not in met:
            met.add(node)
            yield node
            todo.extend(inner for inner, _ in node.next_functions if inner is not None)


def _content(tensor: Any) -> str:
    torch = sys.modules["torch"]
    with torch.no_grad(), torch._C.DisableTorchFunction():
        try:
            return digest(b"".join(_bytes(part) for part in _dense(torch, tensor.detach())))
        except Exception as error:
            return f"no content: {type(error).__name__}"


def _dense(torch: Any, tensor: Any) -> list[Any]:
    if tensor.is_nested:
        return list(tensor.unbind())
    if tensor.layout is torch.sparse_coo:
        return [tensor._indices(), tensor._values()]
    if tensor.layout in (torch.sparse_csr, torch.sparse_bsr):
        return [tensor.crow_indices(), tensor.col_indices(), tensor.values()]
    if tensor.layout in (torch.sparse_csc, torch.sparse_bsc):
        return [tensor.ccol_indices(), tensor.row_indices(), tensor.values()]
    if tensor.is_quantized:
        return [tensor.int_repr()]
    return [tensor.to_dense() if tensor.is_mkldnn else tensor]


def _bytes(tensor: Any) -> bytes:
    torch = sys.modules["torch"]
    plain = tensor.resolve_conj().resolve_neg().contiguous().reshape(-1)
    return bytes(plain.view(torch.uint8).numpy().tobytes()) if plain.numel() else b""


def digest(data: bytes) -> str:
    return hashlib.sha1(data, usedforsecurity=False).hexdigest()[:16]
