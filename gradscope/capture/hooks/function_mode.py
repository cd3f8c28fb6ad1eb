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
from ..hiding.torch_private import functorch_level, is_tracing, sequence_number
from ..journal.journal import Journal
from ..journal.shared_memory import EXPOSING
from ..measure.given import RawGiven, read_given
from ..measure.tensor_facts import (
    device_of,
    dtype_of,
    results_of,
    status_of,
    tensors_in,
    version_of,
    versions_of,
)
from ..step.losses import SCALINGS, note_factor
from .torch_calls import (
    DATA_GET,
    DATA_SET,
    GRAD_GET,
    GRAD_MODE,
    GRAD_SET,
    HOOK,
    QUIET,
    RECORD,
    RETAIN,
    SKIP,
    WANT_GRAD,
    actions,
    describe,
)
from .wrapped_functions import Replaced

_Tensor = torch.Tensor


class OpMode(TorchFunctionMode):
    """Records each torch call. Only the thread that started the recording runs under it."""

    def __init__(self, journal: Journal) -> None:
        super().__init__()
        self.journal = journal
        self.actions = actions()
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
            given = self._given_to(info[0], args, kwargs, inputs) if journal.tracker.draft.full else None
            if info[0] in SCALINGS:
                note_factor(journal.tracker.draft, info[0], arguments, result)
            self.returned(info, stack, direct, inputs, numbers, versions, first, result, given)
        return result

    def _given_to(
        self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any], inputs: list[torch.Tensor]
    ) -> RawGiven | None:
        try:
            return read_given(args, kwargs, inputs)
        except Exception as error:
            self.journal.fault(f"the arguments of {name}", error)
            return None

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
        given: RawGiven | None,
    ) -> None:
        """A call returned."""
        try:
            op = self.told(info[0], stack, direct, inputs, numbers, first, results_of(result), given)
            changed = versions_of(inputs)
            if changed != versions:
                self.written(info[0], op, stack, inputs, versions, changed)
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
            return describe(func)
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
        given: RawGiven | None,
    ) -> int:
        """A call returned these. Its moment."""
        last = sequence_number()
        journal = self.journal
        op = journal.ops.add(
            name, stack, direct, inputs, numbers, outputs, first, last, uncounted=name == "numpy", given=given
        )
        if journal.exposed.watched or name in EXPOSING:
            journal.exposed.of_call(name, inputs, outputs, stack)
        return op

    def written(
        self,
        name: str,
        op: int,
        stack: int,
        inputs: list[torch.Tensor],
        versions: Sequence[int | None],
        changed: Sequence[int | None],
    ) -> None:
        """The call at moment `op` wrote to operands of its."""
        journal = self.journal
        journal.versions.call_writes(op)
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
        with journal.guard(getattr(func, "__name__", "a call")):
            if action == GRAD_MODE:
                journal.switches.grad_mode(frame)
            elif action == HOOK and tensor is not None:
                hook = args[1] if len(args) > 1 else kwargs.get("hook")
                journal.hook_registered(func.__name__, tensor, hook, frame)
            elif tensor is not None:
                self._state_changed(action, tensor, before, result, frame)
        return result

    def _given(self, tensor: torch.Tensor, frame: Any) -> tuple[int, ...]:
        """The number of the tensor that a failed call was made on."""
        journal = self.journal
        with journal.guard("the tensor of a failed call"):
            stack, direct = journal.here.locate(frame)
            return (journal.table.number(journal.draft, tensor, stack, 0, True, direct),)
        return ()

    def _before(self, action: int, tensor: torch.Tensor | None, func: Callable[..., Any]) -> Any:
        """What a write to autograd state is compared with afterwards."""
        with self.journal.guard(getattr(func, "__name__", "a call")):
            if tensor is not None and action in (WANT_GRAD, RETAIN):
                return status_of(tensor)
            if tensor is not None and action == GRAD_SET:
                return self.journal.gradients.present(tensor)
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
