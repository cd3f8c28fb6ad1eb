"""Forward calls: the function mode that sees every torch call of the script's thread.

Inside the handler the mode is off, so a composite call shows once, as the user wrote it. What a call
did is read before and after it; the call itself goes through a trampoline, so that warnings and
tracebacks name the script's own line.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from ..hiding.frames import release, trampoline
from ..hiding.no_torch_function import Unseen
from ..hiding.torch_private import functorch_level, is_tracing, sequence_number, set_grad_enabled
from ..journal.journal import Journal
from ..journal.shared_memory import EXPOSING
from ..measure.askable import PLAIN
from ..measure.tensor_facts import (
    device_name,
    device_of,
    dtype_name,
    dtype_of,
    results_of,
    tensors_in,
    version_of,
    versions_of,
)
from ..step.losses import SCALINGS, note_factor
from .wrapped_functions import Replaced

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


def _actions() -> dict[Any, int]:
    """What to do for each function that is not simply recorded."""
    actions: dict[Any, int] = {}
    for name in dir(_Tensor):
        member = getattr(_Tensor, name, None)
        if type(member).__name__ == "getset_descriptor" and hasattr(member, "__get__"):
            actions[member.__get__] = SKIP  # type: ignore[union-attr]
    for name in _READS:
        for owner in (_Tensor, torch):
            member = getattr(owner, name, None)
            if callable(member):
                actions[member] = SKIP
    grad: Any = _Tensor.grad
    actions[grad.__get__] = GRAD_GET
    actions[grad.__set__] = GRAD_SET
    actions[_Tensor.data.__get__] = DATA_GET  # type: ignore[attr-defined]
    actions[_Tensor.data.__set__] = DATA_SET  # type: ignore[attr-defined]
    actions[_Tensor.requires_grad.__set__] = WANT_GRAD  # type: ignore[attr-defined]
    actions[_Tensor.requires_grad_] = WANT_GRAD
    actions[_Tensor.retain_grad] = RETAIN
    actions[_Tensor.register_hook] = HOOK
    actions[_Tensor.register_post_accumulate_grad_hook] = HOOK
    actions[set_grad_enabled] = GRAD_MODE
    for quiet in (_Tensor.backward, torch.autograd.backward):
        actions[quiet] = QUIET
    for name in ("T", "mT", "H", "mH", "real", "imag"):
        actions[getattr(_Tensor, name).__get__] = RECORD
    return actions


class OpMode(TorchFunctionMode):
    """Records each torch call. Only the thread that started the recording runs under it."""

    def __init__(self, journal: Journal) -> None:
        super().__init__()
        self.journal = journal
        self.actions = _actions()
        self.names: dict[Any, tuple[str, bool, bool, bool]] = {}
        self.replaced = Replaced(journal.frames)
        self.quiet = 0

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        action = self.actions.get(func, RECORD)
        if action == SKIP:
            return func(*args, **kwargs) if kwargs else func(*args)
        frame = sys._getframe(1)
        journal = self.journal
        if self.quiet or not journal.here.active or functorch_level() is not None or is_tracing():
            return trampoline(frame)(func, args, kwargs)
        if journal.matching.aside and not journal.matching.sees(frame):
            return trampoline(frame)(func, args, kwargs)
        try:
            if action == RECORD:
                return self._record(frame, func, args, kwargs or {})
            call = trampoline(frame)
            if action == QUIET:
                return call(func, args, kwargs or {})
            return self._special(action, call, frame, func, args, kwargs or {})
        except BaseException as error:
            release(error)
            del args, kwargs  # this frame lives as long as the traceback does, its tensors must not
            raise

    # -- plain calls -----------------------------------------------------------------------------

    def _record(self, frame: Any, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        journal = self.journal
        info = self.names.get(func)
        if info is None:
            original = self.replaced.original(frame, func)
            if original is not None:
                return self.behind(frame, original, args, kwargs)
            info = self.names[func] = self._described(func)
        if info[3]:
            return trampoline(frame)(func, args, kwargs)
        try:
            with Unseen():
                arguments = (*args, *kwargs.values()) if kwargs else args
                inputs = tensors_in(arguments)
                stack, direct = journal.here.locate(frame)
                versions = versions_of(inputs)
                numbers = journal.ops.enter_inputs(inputs, stack, info[1], direct, versions, arguments)
                if journal.exposed.watched:
                    journal.exposed.look(inputs)
        except Exception as error:
            journal.fault(f"the inputs of {info[0]}", error)
            return trampoline(frame)(func, args, kwargs)
        first = sequence_number()
        try:
            result = trampoline(frame)(func, args, kwargs)
        except BaseException as error:
            journal.call_failed(info[0], stack, numbers, error, inputs)
            raise
        with Unseen():
            text = arguments_text(args, kwargs) if journal.tracker.draft.full else ""
            if info[0] in SCALINGS:
                note_factor(journal.tracker.draft, info[0], arguments, result)
            self.returned(info, stack, direct, inputs, numbers, versions, first, result, text)
        return result

    def returned(
        self,
        info: tuple[str, bool, bool, bool],
        stack: int,
        direct: bool,
        inputs: list[torch.Tensor],
        numbers: tuple[int, ...],
        versions: Sequence[int | None],
        first: int,
        result: Any,
        arguments: str,
    ) -> None:
        """A call returned."""
        try:
            self.told(info[0], stack, direct, inputs, numbers, first, results_of(result), arguments)
            changed = versions_of(inputs)
            if changed != versions:
                self.written(info[0], stack, inputs, versions, changed)
            if info[2] and inputs:
                self._moved(stack, inputs[0], result)
        except Exception as error:
            self.journal.fault(f"the result of {info[0]}", error)

    def behind(self, frame: Any, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The call of `func` that was made at `frame`, whichever mode or wrapper has seen it first."""
        action = self.actions.get(func, RECORD)
        if action == RECORD:
            return self._record(frame, func, args, kwargs)
        call = trampoline(frame)
        if action in (SKIP, QUIET):
            return call(func, args, kwargs)
        return self._special(action, call, frame, func, args, kwargs)

    def _described(self, func: Callable[..., Any]) -> tuple[str, bool, bool, bool]:
        try:
            return _describe(func)
        except Exception as error:
            self.journal.fault("the name of a call", error)
            return "a call", False, False, True

    def told(
        self,
        name: str,
        stack: int,
        direct: bool,
        inputs: list[torch.Tensor],
        numbers: tuple[int, ...],
        first: int,
        outputs: list[torch.Tensor],
        arguments: str,
    ) -> None:
        """A call returned these."""
        last = sequence_number()
        journal = self.journal
        journal.ops.add(
            name, stack, direct, inputs, numbers, outputs, first, last, uncounted=name == "numpy", arguments=arguments
        )
        if journal.exposed.watched or name in EXPOSING:
            journal.exposed.of_call(name, inputs, outputs, stack)

    def written(
        self,
        name: str,
        stack: int,
        inputs: list[torch.Tensor],
        versions: Sequence[int | None],
        changed: Sequence[int | None],
    ) -> None:
        """A call wrote to operands of its."""
        journal = self.journal
        journal.versions.call_writes()
        for tensor, before, after in zip(inputs, versions, changed):
            if after != before:
                journal.versions.mutated(tensor, before, after, name, stack)

    def _moved(self, stack: int, source: torch.Tensor, result: Any) -> None:
        targets = tensors_in((result,))
        if len(targets) == 1 and source is not targets[0]:
            target = targets[0]
            if (device_of(source), dtype_of(source)) != (device_of(target), dtype_of(target)):
                self.journal.moved(source, target, stack)

    # -- reads and writes of autograd state --------------------------------------------------------

    def _special(
        self,
        action: int,
        call: Callable[..., Any],
        frame: Any,
        func: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Any:
        journal = self.journal
        tensor = args[0] if args and isinstance(args[0], _Tensor) else None
        before = self._before(action, tensor, func)
        try:
            result = call(func, args, kwargs)
        except BaseException as error:
            if tensor is not None:
                journal.call_failed(getattr(func, "__name__", "?"), frame, self._given(tensor, frame), error)
            raise
        try:
            with Unseen():
                if action == GRAD_MODE:
                    journal.switches.grad_mode(frame)
                elif action == HOOK and tensor is not None:
                    hook = args[1] if len(args) > 1 else kwargs.get("hook")
                    journal.hook_registered(func.__name__, tensor, hook, frame)
                elif tensor is not None:
                    self._state_changed(action, tensor, before, result, frame)
        except Exception as error:
            journal.fault(getattr(func, "__name__", "a call"), error)
        return result

    def _given(self, tensor: torch.Tensor, frame: Any) -> tuple[int, ...]:
        """The number of the tensor that a failed call was made on."""
        journal = self.journal
        try:
            with Unseen():
                stack, direct = journal.here.locate(frame)
                return (journal.table.number(journal.draft, tensor, stack, 0, True, direct),)
        except Exception as error:
            journal.fault("the tensor of a failed call", error)
            return ()

    def _before(self, action: int, tensor: torch.Tensor | None, func: Callable[..., Any]) -> Any:
        """What a write to autograd state is compared with afterwards."""
        try:
            with Unseen():
                if tensor is not None and action in (WANT_GRAD, RETAIN):
                    return self.journal.leaves.state(tensor)
                if tensor is not None and action == GRAD_SET:
                    return self.journal.gradients.present(tensor)
        except Exception as error:
            self.journal.fault(getattr(func, "__name__", "a call"), error)
        return None

    def _state_changed(self, action: int, tensor: torch.Tensor, before: Any, result: Any, frame: Any) -> None:
        journal = self.journal
        if action == GRAD_GET:
            journal.gradients.read(tensor, result, frame)
        elif action == GRAD_SET:
            journal.gradients.assigned(tensor, before, frame)
        elif action == DATA_GET:
            stack, direct = journal.here.locate(frame)
            numbers = journal.ops.enter_inputs([tensor], stack, True, direct, [version_of(tensor)], [tensor])
            first = sequence_number()
            journal.ops.add("data", stack, direct, [tensor], numbers, [result], first, first, uncounted=True)
        elif action == DATA_SET:
            journal.versions.data_assigned(tensor, frame)
        else:
            journal.leaves.changed(tensor, before, "retain_grad" if action == RETAIN else "requires_grad_", frame)


def _describe(func: Callable[..., Any]) -> tuple[str, bool, bool, bool]:
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


_PLAINLY = (bool, int, float, type(None))
_PRINTED = (*_PLAINLY, str, torch.dtype, torch.device)


def arguments_text(args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
    """The arguments that are no tensors, as text: exact scalars, short tuples, never a tensor's repr."""
    shown = [text for value in args if type(value) not in PLAIN and (text := _argument(value))]
    if kwargs:
        shown += [f"{key}={text}" for key, value in kwargs.items() if (text := _argument(value))]
    return ", ".join(shown)[:120]


def _argument(value: Any) -> str:
    if type(value) in _PLAINLY:
        return repr(value)
    if isinstance(value, torch.dtype):
        return dtype_name(value)
    if isinstance(value, torch.device):
        return device_name(value)
    if isinstance(value, str):
        return repr(value[:40])
    if isinstance(value, slice):
        parts = [value.start, value.stop, value.step]
        if all(part is None or type(part) is int for part in parts):
            text = f"{'' if parts[0] is None else parts[0]}:{'' if parts[1] is None else parts[1]}"
            return text if parts[2] is None else f"{text}:{parts[2]}"
        return ":"
    if isinstance(value, (tuple, list)) and len(value) <= 6 and all(type(item) in _PRINTED for item in value):
        return f"({', '.join(_argument(item) for item in value)})"
    return ""
