"""Modules whose forward is one torch call: when a step repeats, that call is recorded from outside the module.

`nn.Linear`, `nn.ReLU`, `nn.LayerNorm`, most losses: whatever their settings, the forward of torch's class is a
single call of a function of `torch.nn.functional`. Where such a module's call is the expected one, our mode is off
the stack while it runs. What the call was given and what it returned are compared as for any other op (`replay`), so
the trace is the same; what is saved is the way through the mode and the frames between the module and its op.
"""

from __future__ import annotations

import dis
from collections.abc import Callable, Sequence
from functools import cache
from types import CodeType, FrameType
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn import functional
from torch.nn.modules import module as hooks

from ..journal.journal import CALL_IMPL, hooks_on_saved
from ..journal.replay import take_over
from ..measure.askable import PLAIN
from ..measure.tensor_facts import VERSION, results_of, said, versions_of
from ..step.entry import enter_expected

if TYPE_CHECKING:
    from ..journal.journal import Journal
    from ..journal.replay import Cue
    from ..step.draft import Draft
    from ..step.tensor_registry import TensorTable
    from .function_mode import OpMode
    from .modules import Known

_CALLS = frozenset({"CALL", "CALL_KW", "CALL_FUNCTION", "CALL_FUNCTION_KW", "CALL_FUNCTION_EX", "CALL_METHOD"})
_GLOBAL_HOOKS = (
    hooks._global_forward_hooks,
    hooks._global_forward_pre_hooks,
    hooks._global_backward_hooks,
    hooks._global_backward_pre_hooks,
)
_OWN = (
    "training", "_parameters", "_buffers", "_forward_hooks", "_forward_pre_hooks", "_backward_hooks",
    "_backward_pre_hooks",
)  # fmt: skip
_PLAIN_VALUES = frozenset({bool, int, float, str, tuple, type(None), torch.dtype, torch.device})
_Tensor = torch.Tensor
_modes = torch._C._len_torch_function_stack
_pop, _push = torch._C._pop_torch_function_stack, torch._C._push_on_torch_function_stack
_functorch_level = torch._C._functorch.peek_interpreter_stack  # see `journal.transforming`
_tracing = torch._C._is_tracing
_sequence = torch.autograd._get_sequence_nr  # type: ignore[attr-defined]
_grad_enabled, _inference_mode = torch.is_grad_enabled, torch.is_inference_mode_enabled


def may_be_single(module: nn.Module) -> bool:
    """Whether the module's class is torch's own, with a forward that is one call."""
    code = getattr(getattr(type(module), "forward", None), "__code__", None)
    return type(module).__module__.startswith("torch.nn.modules.") and isinstance(code, CodeType) and is_one_call(code)


@cache
def is_one_call(code: CodeType) -> bool:
    """Whether a forward's code does nothing but call one function of the module `F`, on every path."""
    names = [step.opname for step in dis.get_instructions(code)]
    return (
        sum(name in _CALLS for name in names) == 1
        and not any("JUMP" in name for name in names)
        and code.co_names[:1] == ("F",)
    )


class Single:
    """A module whose last call was nothing but the expected op: what to look at in its next.

    `picks`: for each input of the op, its place among the call's arguments and the module's own parameters and
    buffers. `empty`: the places that held no tensor. `places`: how many there are. `reads`: the module's own values
    that its forward looks at.
    """

    __slots__ = ("empty", "forward", "function", "name", "namespace", "picks", "places", "reads")

    def __init__(self, module: nn.Module, picks: Sequence[int], empty: Sequence[int]) -> None:
        self.forward: Any = type(module).forward
        self.namespace: dict[str, Any] = vars(self.forward.__globals__["F"])
        self.name: str = self.forward.__code__.co_names[1]
        self.function = self.namespace[self.name]
        self.picks, self.empty = tuple(picks), tuple(empty)
        self.places = len(picks) + len(empty)
        tensors = {*module._parameters, *module._buffers}
        self.reads = tuple(name for name in self.forward.__code__.co_names[2:] if name not in tensors)

    @classmethod
    def of(cls, module: nn.Module, args: Sequence[Any], cue: Cue, table: TensorTable) -> Single | None:
        """What to look at after a call that was the op of `cue`; None where more than its op may happen."""
        if len(cue.new) != 1 or cue.new[0].view:
            return None
        numbers: list[int | None] = []
        for tensor in (*args, *module._parameters.values(), *module._buffers.values()):
            entry = table.find(tensor) if type(tensor) in PLAIN else None
            if tensor is not None and entry is None:
                return None
            numbers.append(None if entry is None else entry.number)
        picks: list[int] = []
        for number in cue.inputs:
            place = next((at for at, one in enumerate(numbers) if one == number and at not in picks), None)
            if place is None:
                return None
            picks.append(place)
        empty = [at for at, number in enumerate(numbers) if number is None]
        if len(picks) + len(empty) != len(numbers) or module._modules:
            return None
        single = cls(module, picks, empty)
        own = module.__dict__
        plain = all(type(value) in _PLAIN_VALUES for value in single.settings(own))
        computed = any(isinstance(getattr(type(module), name, None), property) for name in (*single.reads, *_OWN))
        return single if plain and not computed and single.holds(module, own) else None

    def settings(self, own: dict[str, Any]) -> list[Any]:
        """What the op's arguments that are no tensors are made from; None for what the module's class has."""
        return [own.get(name) for name in self.reads]

    def holds(self, module: nn.Module, own: dict[str, Any]) -> bool:
        """Whether calling the module is still calling the one function, and nothing else."""
        return not (
            type(module).forward is not self.forward
            or self.namespace.get(self.name) is not self.function
            or own["_forward_hooks"]
            or own["_forward_pre_hooks"]
            or own["_backward_hooks"]
            or own["_backward_pre_hooks"]
            or "forward" in own
            or any(_GLOBAL_HOOKS)
        )

    def inputs(
        self, own: dict[str, Any], args: tuple[Any, ...], cue: Cue, draft: Draft, table: TensorTable
    ) -> list[torch.Tensor] | None:
        """The op's inputs, if they are the expected ones; those that the step meets now are entered."""
        inputs: list[Any] = [*args, *own["_parameters"].values(), *own["_buffers"].values()]
        if len(inputs) != self.places or len(cue.inputs) != len(self.picks):
            return None
        if self.empty:
            for place in self.empty:
                if inputs[place] is not None:
                    return None
            inputs = [inputs[place] for place in self.picks]
        met, count = draft.met, draft.count
        for tensor, expected in zip(inputs, cue.inputs):
            if type(tensor) not in PLAIN:
                return None
            if expected < count:
                entry = met[expected]
                if entry() is not tensor or entry.version is None or entry.version != tensor._version:
                    return None
            else:
                entry = table.find(tensor)
                if expected != draft.count or entry is None or not enter_expected(draft, entry, tensor):
                    return None
        return inputs

    def raised(self, error: BaseException) -> bool:
        """Whether the function raised the error, and not what torch does around it."""
        entry = error.__traceback__
        while entry is not None and entry.tb_next is not None:
            entry = entry.tb_next
        code = None if entry is None else entry.tb_frame.f_code
        return code is self.forward.__code__ or (code is not None and code.co_filename == functional.__file__)


UNEXPECTED: Any = object()
# An expected call that begins: its op, the op's inputs, their versions, and whether the user's own line makes it.
Begun = tuple["Cue", list[torch.Tensor], list[int], bool]


class SingleCalls:
    """Calls of such modules, each recorded with its op where both are what the pattern has."""

    def __init__(self, journal: Journal, mode: OpMode | None, call: Callable[..., Any]) -> None:
        self.journal, self.mode, self._call = journal, mode, call

    def make(self, module: nn.Module, known: Known, args: tuple[Any, ...], frame: FrameType) -> Any:
        """`module(*args)`, called at `frame`; UNEXPECTED, with the call not made, where it is not what is expected."""
        journal, single, mode = self.journal, known.single, self.mode
        if (  # with our mode alone on the stack, this is our thread, in no backward, and nothing is paused
            mode is None
            or _modes() != 1
            or single is None
            or not journal.active
            or journal.exposed.watched
            or not (journal.clock.depth or known.loss)
            or _functorch_level() is not None
            or _tracing()
        ):
            return UNEXPECTED
        top = _pop()
        try:
            if top is not mode:
                return UNEXPECTED
            try:
                begun = self._begins(journal, single, module, known, args, frame)
            except Exception as error:
                journal.fault("a module call", error)
                begun = None
            if begun is not None:
                cue, users = begun[0], begun[3]
                first = _sequence()
                try:
                    result = self._call(module, *args)
                except BaseException as error:
                    if single.raised(error):
                        journal.call_failed(cue.name, cue.stack, cue.inputs, error)
                    raise
                try:
                    self._made(mode, known, begun, first, result)
                    if users:
                        journal.name_results(cue.stack, result)
                except Exception as error:
                    journal.fault(f"the result of {cue.name}", error)
                return result
        finally:
            _push(top)
        return UNEXPECTED

    def _begins(
        self,
        journal: Journal,
        single: Single,
        module: nn.Module,
        known: Known,
        args: tuple[Any, ...],
        frame: FrameType,
    ) -> Begun | None:
        """The call that begins, if it is the expected one."""
        caller = frame.f_back
        if caller is not None and caller.f_code is CALL_IMPL and journal.frames.get(id(frame.f_code)) is False:
            stack, users = journal.sites.anchor_stack, False  # torch's own forward, of the module called last
        else:
            stack, users = journal.locate(frame)
        draft = journal.tracker.ahead
        cue = draft.cues.get(draft.at) if draft.behind else draft.cue()
        if cue is None or cue.place != draft.called:
            return None
        if (journal.inference or not cue.grad_enabled) and _inference_mode() is not journal.inference:
            return None  # where gradients are enabled there is no inference mode
        own = module.__dict__  # asked a dozen times: as attributes that would be slow
        if (stack, known.id, draft.calling, own["training"], journal.autocast, _grad_enabled()) != cue.context:
            return None
        if cue.settings is None or (single.reads and single.settings(own) != cue.settings):
            return None
        if not single.holds(module, own):
            return None
        if users:
            journal.name_arguments(stack, args)
        inputs = single.inputs(own, args, cue, draft, journal.table)
        if inputs is None:
            return None
        draft.called += 1
        draft.behind = True
        if known.loss and not journal.clock.depth:
            draft.begins(cue.phase)
        return cue, inputs, list(map(VERSION, inputs)), users

    def _made(self, mode: OpMode, known: Known, begun: Begun, first: int, result: Any) -> None:
        """The call returned: take the op over, if it was the expected one and wrote to nothing, else tell it."""
        journal = self.journal
        draft = journal.tracker.ahead
        cue, inputs, versions, _ = begun
        if (
            type(result) is _Tensor
            and said(result) == cue.new[0].said
            and _sequence() - first == cue.nodes
            and not (result._is_view() or result.is_inference() or result.is_nested)
            and draft.at == cue.index
            and (draft.count, draft.storage_count) == cue.before
            and list(map(VERSION, inputs)) == versions
            and journal.table.find(result) is None
        ):
            take_over(draft, cue, first, (result,), journal.table)
            if draft.full:
                draft.hooked = draft.hooked or hooks_on_saved(True) is not None
                journal.value(cue.index, cue.outputs[0], cue.name, result)
        else:
            self._tell(mode, known, begun, first, result)

    def _tell(self, mode: OpMode, known: Known, begun: Begun, first: int, result: Any) -> None:
        """Record the op as what it was."""
        journal = self.journal
        cue, inputs, versions, _ = begun
        outer = (journal.module, journal.module_call)
        journal.module, journal.module_call = cue.module, cue.call
        journal.clock.enter(known.loss)
        try:
            mode.told(cue.name, cue.stack, False, inputs, cue.inputs, first, results_of(result), cue.text)
            changed = versions_of(inputs)
            if changed != versions:
                mode.written(cue.name, cue.stack, inputs, versions, changed)
        finally:
            journal.module, journal.module_call = outer
            journal.clock.leave(known.loss)
