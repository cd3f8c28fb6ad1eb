"""torch's own state: random state, switches, modes, counters, and which tensors are alive."""

import gc
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import torch
from promise_tensors import digest, tensor_facts


def facts() -> dict[str, object]:
    found: dict[str, object] = {}
    for name, ask in _questions():
        try:
            found[name] = repr(ask())
        except Exception as error:
            found[name] = type(error).__name__
    return found


def _questions() -> Iterator[tuple[str, Callable[[], object]]]:
    yield "random state", lambda: digest(bytes(torch.random.get_rng_state().tolist()))
    yield "initial seed", lambda: "default" if torch.initial_seed() > 2**40 else torch.initial_seed()
    numpy = sys.modules.get("numpy.random")
    if numpy is not None:
        yield "numpy's random state", lambda: digest(repr(numpy.get_state()).encode())
    for name in (
        "get_default_dtype",
        "get_default_device",
        "get_num_threads",
        "get_num_interop_threads",
        "is_grad_enabled",
        "is_inference_mode_enabled",
        "is_anomaly_enabled",
        "is_autocast_cache_enabled",
        "are_deterministic_algorithms_enabled",
        "is_deterministic_algorithms_warn_only_enabled",
        "is_warn_always_enabled",
        "get_float32_matmul_precision",
        "get_deterministic_debug_mode",
    ):
        yield name, getattr(torch, name)
    for device in ("cpu", "cuda"):
        yield f"autocast on {device}", lambda device=device: torch.is_autocast_enabled(device)
        yield f"autocast's dtype on {device}", lambda device=device: torch.get_autocast_dtype(device)
    yield "print options", lambda: vars(torch._tensor_str.PRINT_OPTS)
    yield "function modes", torch._C._len_torch_function_stack
    yield "dispatch modes", torch._C._len_torch_dispatch_stack
    yield "saved tensor hooks", lambda: torch._C._autograd._top_saved_tensors_default_hooks(True)
    yield "multithreading", torch.autograd.is_multithreading_enabled
    yield "view replay", torch._C._is_view_replay_enabled
    yield "multiprocessing", lambda: sys.modules["torch.multiprocessing"].get_sharing_strategy()
    yield "hooks of all modules", _global_hooks
    yield "next hook's id", lambda: sys.modules["torch.utils.hooks"].RemovableHandle.next_id
    yield "nodes made", lambda: torch._C._autograd._get_sequence_nr()
    yield "backends", _backends


def _global_hooks() -> dict[str, int]:
    owners: list[Any] = [sys.modules.get("torch.nn.modules.module"), sys.modules.get("torch.optim.optimizer")]
    found = [
        (name, value) for owner in owners if owner for name, value in vars(owner).items() if name.startswith("_global_")
    ]
    return {name: len(value) for name, value in found if isinstance(value, dict)}


def _backends() -> list[object]:
    backends = torch.backends
    return [
        backends.mkldnn.enabled,
        backends.cudnn.benchmark,
        backends.cudnn.deterministic,
        backends.cuda.matmul.allow_tf32,
        backends.opt_einsum.enabled,
    ]


def alive() -> dict[str, object]:
    """How many tensors of each kind some Python object holds.

    What C++ alone holds, as a gradient or a saved tensor, does not count: a Python object for it is there if anyone
    has ever looked at it.
    """
    tensors = [item for item in gc.get_objects() if issubclass(type(item), torch.Tensor)]
    holders = [holder for holder in gc.get_referrers(*tensors) if holder is not tensors]
    held = {id(item) for holder in holders for item in gc.get_referents(holder)}
    return dict(Counter(_facts(tensor) for tensor in tensors if id(tensor) in held))


def _facts(tensor: Any) -> str:
    try:
        return tensor_facts(tensor, data=False)
    except Exception as error:  # a subclass may refuse anything
        return f"{type(tensor).__qualname__}: {type(error).__name__}"
