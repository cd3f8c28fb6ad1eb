"""The values a module holds, a text for each place: `net._parameters['weight'].grad` has a dtype, bytes, …"""

import collections
import os
import sys
import types
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from itertools import islice
from typing import Any

from promise_process import described
from promise_tensors import digest, tensor_facts

MAIN = getattr(sys.modules["__main__"], "__file__", None) or os.path.abspath(sys.argv[0])
MOST = 20_000  # places
WIDE = 2_000  # items of one container


def walk(namespace: dict[str, Any]) -> dict[str, object]:
    """A table of all places that can be reached; what was met before is named by the place where it was met."""
    found: dict[str, object] = {}
    met: dict[int, str] = {}
    kept: list[object] = []  # so that no address is used twice
    todo = collections.deque((name, value) for name, value in namespace.items() if not _pythons(name))
    while todo and len(found) < MOST:
        place, value = todo.popleft()
        if id(value) in met and not isinstance(value, (int, float, str, bytes, bool, type(None))):
            found[place] = f"see {met[id(value)]}"
            continue
        met[id(value)] = place
        kept.append(value)
        try:
            found[place] = _tell(value)
            todo.extend((place + part, inner) for part, inner in islice(_parts(value), WIDE))
        except Exception as error:
            found[place] = f"{type(value).__qualname__}: {type(error).__name__}"
    return found


def _pythons(name: str) -> bool:
    return name.startswith("__")  # the interpreter's, and what torch._dynamo puts there


def _tell(value: Any) -> str:
    torch, numpy = sys.modules.get("torch"), sys.modules.get("numpy")
    if torch is not None and isinstance(value, torch.Tensor):
        return tensor_facts(value)
    if torch is not None and isinstance(value, torch.Generator):
        return f"generator {digest(bytes(value.get_state().tolist()))}"
    if numpy is not None and isinstance(value, numpy.ndarray):
        return f"array {value.dtype} {value.shape} {value.flags.writeable} {digest(value.tobytes())}"
    if isinstance(value, (bool, int, float, complex, str, bytes, bytearray, type(None), range, slice)):
        text = repr(value)
        return text if len(text) < 500 else f"{type(value).__name__} of {len(value)}: {digest(text.encode())}"
    if isinstance(value, weakref.ref):
        return f"weak reference, {'dead' if value() is None else 'alive'}"
    if isinstance(value, types.ModuleType):
        return f"module {value.__name__}"
    if hasattr(value, "closed") and hasattr(value, "mode"):
        return f"file {value.mode} {value.closed}"
    length = f" of {len(value)}" if isinstance(value, (list, tuple, set, frozenset, Mapping, collections.deque)) else ""
    return described(value) + length


def _parts(value: Any) -> Iterator[tuple[str, object]]:
    """The values inside it, each with what is added to its place."""
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(value, torch.Tensor):
        if value.is_leaf or value.retains_grad:
            yield ".grad", value.grad
        yield from _named(vars(value))
        return
    for types_, parts in _PARTS:
        if isinstance(value, types_):
            yield from parts(value)
            return
    if type(value).__module__.partition(".")[0] not in _OPAQUE:
        yield from _of_object(value)


def _of_function(value: types.FunctionType) -> Iterator[tuple[str, object]]:
    if value.__code__.co_filename != MAIN:
        return
    for number, cell in enumerate(value.__closure__ or ()):
        if cell != types.CellType():  # an empty one
            yield f".<cell {number}>", cell.cell_contents
    yield from _named(vars(value))


def _of_class(value: type) -> Iterator[tuple[str, object]]:
    if value.__module__ == "__main__":
        yield from ((f".{name}", item) for name, item in vars(value).items() if not _pythons(name))


def _of_mapping(value: Mapping[Any, object]) -> Iterator[tuple[str, object]]:
    hooks = _are_hooks(value)
    for number, (key, item) in enumerate(value.items()):
        simple = not hooks and isinstance(key, (str, int, float, bool, tuple)) and len(repr(key)) < 80
        yield (f"[{key!r}]" if simple else f"[<{number}>]"), item


def _are_hooks(value: Mapping[Any, object]) -> bool:
    """Its keys are ids of handles: how many hooks were made before, which FSDP does in the order of a set."""
    return isinstance(value, collections.OrderedDict) and all(
        isinstance(key, int) and callable(item) for key, item in value.items()
    )


def _of_set(value: Set[Any]) -> Iterator[tuple[str, object]]:
    try:
        yield from ((f"<{number}>", item) for number, item in enumerate(sorted(value)))
    except TypeError:
        return  # they have no order: their number is told


def _of_sequence(value: Sequence[object]) -> Iterator[tuple[str, object]]:
    yield from ((f"[{number}]", item) for number, item in enumerate(value))


def _of_object(value: object) -> Iterator[tuple[str, object]]:
    yield from _named(getattr(value, "__dict__", {}))
    for owner in type(value).__mro__:
        for name in getattr(owner, "__slots__", ()):
            if hasattr(value, name) and not _pythons(name):
                yield f".{name}", getattr(value, name)


def _of_nothing(value: object) -> Iterator[tuple[str, object]]:
    yield from ()


_OPAQUE = {"threading", "_thread", "asyncio", "logging", "promise_values"}  # their insides change by themselves
_PARTS: list[tuple[Any, Callable[[Any], Iterator[tuple[str, object]]]]] = [
    (types.FunctionType, _of_function),
    (type, _of_class),
    ((types.ModuleType, str, bytes, bytearray, range), _of_nothing),
    (Mapping, _of_mapping),
    ((set, frozenset), _of_set),
    ((list, tuple, collections.deque), _of_sequence),
]


def _named(attributes: Mapping[str, object]) -> Iterator[tuple[str, object]]:
    yield from ((f".{name}", item) for name, item in attributes.items() if name != "__wrapped__")
