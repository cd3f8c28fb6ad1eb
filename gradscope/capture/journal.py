"""The journal: every part of capture tells it facts; it words them as raw moments of the current draft.

It knows where the script is (call stack, phase, module) and asks the step tracker whether a new step
has begun. It never reaches into the script and never raises into it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from types import CodeType, FrameType
from typing import Any

import torch
from torch.overrides import handle_torch_function

from ..model.records import Phase
from .derivative import Probe
from .draft import Draft
from .exposed import Exposed
from .frames import is_ours, told_below
from .phases import PhaseClock
from .source import ALONE, NOWHERE, Frames, Sites
from .stats import READABLE_DEVICES, Measured, Statistics, readable
from .tensors import PLAIN, Entry, TensorTable, device_name, dtype_name, tensors_in, version_of
from .tracker import StepTracker

_functorch_level = torch._C._functorch.peek_interpreter_stack
_tracing = torch._C._is_tracing
_grad_enabled = torch.is_grad_enabled
_inference_mode = torch.is_inference_mode_enabled


def transforming() -> bool:
    """Whether torch.func or torch.jit.trace is at work: tensors stand for others, and a read would be traced."""
    return _functorch_level() is not None or _tracing()


def _past_recorders(frame: FrameType) -> FrameType:
    """The frame whose call this is, past other recorders and past the functions that torch calls once more for each."""
    while True:
        if frame.f_code is HANDLE and frame.f_back is not None and frame.f_back.f_back is not None:
            frame = frame.f_back.f_back
        elif is_ours(frame.f_code) and frame.f_back is not None:
            frame = frame.f_back
        else:
            return frame


HANDLE: CodeType = handle_torch_function.__code__
_CALL_IMPL: CodeType = torch.nn.Module._call_impl.__code__
MAX_FAULTS = 20
_PROBES = 256  # calls of custom Functions whose values wait for their backward
_LASTING = frozenset({Phase.FORWARD, Phase.LOSS, Phase.EVAL})
DETACHING = frozenset({"detach", "data"})
_DECORATING = frozenset({"decorate_context", "generator_context"})  # torch's, around a decorated function
_UNINITIALIZED = ("empty", "new_empty")  # their memory holds whatever was there


def _position(arguments: Sequence[Any], tensor: torch.Tensor) -> int:
    """Where the tensor stands among a call's arguments."""
    for position, argument in enumerate(arguments):
        if argument is tensor:
            alone = len(arguments) == 2 and not isinstance(arguments[1 - position], torch.Tensor)
            return ALONE if alone else position
    return NOWHERE


class Journal:
    """Facts in, raw moments out."""

    def __init__(
        self,
        frames: Frames,
        sites: Sites,
        table: TensorTable,
        statistics: Statistics,
        tracker: StepTracker,
        with_graph: bool,
        thread: int,
    ) -> None:
        self.frames, self.sites, self.table = frames, sites, table
        self.statistics, self.tracker = statistics, tracker
        self.with_graph = with_graph
        self.thread = thread
        self.active = True
        self.nested = False  # other recorders run too: calls pass through them
        self.beneath = 0  # how many of them see a call after this one does
        self.backwards = 0
        self.quiet = 0
        self.with_optimizer = False  # one was built, or has stepped
        self.clock = PhaseClock()
        self.module: int | None = None
        self.module_call: int | None = None
        self.calling: tuple[Draft, int] | None = None  # the module call that runs: its place in that draft's calls
        self.autocast: str | None = None
        self.faults: list[str] = []
        self.seen_gradients: dict[int, tuple[Any, Measured]] = {}  # of the running backward, by identity
        self.arrived: dict[int, Measured] = {}  # what the running backward sent to each leaf
        self.probes: dict[int, Probe] = {}  # of custom Functions' calls, by their grad node's sequence number
        self._grad_mode = torch.is_grad_enabled()
        self.inference = torch.is_inference_mode_enabled()
        self._retained: list[Any] = []
        self._owners: dict[int, int] | None = None
        self.on_raised_step: Callable[[], None] = lambda: None
        self.exposed = Exposed(self)
        self.on_compiled: Callable[[], None] = lambda: None

    # -- where we are ----------------------------------------------------------------------------

    @property
    def draft(self) -> Draft:
        return self.tracker.draft

    def recording(self) -> bool:
        """Whether facts of this thread are wanted now."""
        return self.active and not self.quiet and not transforming()

    def locate(self, frame: FrameType | None) -> tuple[int, bool]:
        """(stack, whether the user's own line made the call) of the call made by `frame`.

        Every recorded event passes here, so it is also where a new step is noticed.
        """
        sites, tracker = self.sites, self.tracker
        if frame is None:
            return sites.locate(None), False
        code, caller = frame.f_code, frame.f_back
        if self.nested:
            frame = _past_recorders(frame)
            code, caller = frame.f_code, frame.f_back
        elif code is HANDLE and caller is not None and caller.f_back is not None:
            frame = caller.f_back  # past the function that torch calls a second time
            code, caller = frame.f_code, frame.f_back
        direct = self.frames[code]
        stack = sites.anchor_stack
        if direct or stack < 0 or caller is None or caller.f_code is not _CALL_IMPL:
            stack = sites.locate(frame)  # else torch's own forward: no user frame since the module call
        watch = tracker.watch
        if watch is not None and not self.backwards and (watch.judged.get(stack) != "" or tracker.lingering):
            tracker.look(stack)
        return stack, direct

    def call_begins(self, phase: Phase, frame: FrameType) -> int:
        """A call of the script's that is a phase of its own begins. Returns the stack that made it."""
        stack, _ = self.locate(frame)
        self.draft.begins(phase)
        return stack

    def call_ends(self) -> None:
        """Such a call returned, or raised: what comes next is another phase."""
        self.draft.begins(Phase.BACKWARD if self.backwards else Phase.OTHER)

    def fault(self, what: str, error: BaseException) -> None:
        """A fact could not be recorded: remember that, and go on."""
        if len(self.faults) < MAX_FAULTS:
            self.faults.append(f"{what}: {type(error).__name__}: {error}"[:300])

    # -- ops -------------------------------------------------------------------------------------

    def enter_inputs(
        self,
        tensors: Sequence[torch.Tensor],
        stack: int,
        method: bool,
        direct: bool,
        versions: Sequence[int | None],
        arguments: Sequence[Any],
    ) -> tuple[int, ...]:
        """The numbers of the tensors among a call's arguments; a version that rose unseen is recorded now."""
        draft, table = self.tracker.draft, self.table
        if _inference_mode() is not self.inference:
            self._inference_changed(stack)
        numbers: list[int] = []
        entries, mark = table.entries, draft.mark
        for tensor, version in zip(tensors, versions):
            entry = entries.get(id(tensor))
            if entry is None or entry.mark is not mark or entry.reference() is not tensor:
                table.number(draft, tensor, stack, _position(arguments, tensor), method, direct)
                entry = entries[id(tensor)]
            numbers.append(entry.number)
            if entry.version != version:
                if entry.version is not None and version is not None:
                    cause = "a write that was not seen"
                    self._bump(entry, entry.number, entry.version, version, cause, None, Phase.OTHER)
                entry.version = version
        if table.unnamed and direct:
            for tensor in tensors:
                table.name_by_use(tensor, stack, _position(arguments, tensor), method, direct)
        return tuple(numbers)

    def op(
        self,
        name: str,
        stack: int,
        direct: bool,
        inputs: Sequence[torch.Tensor],
        numbers: tuple[int, ...],
        outputs: Sequence[torch.Tensor],
        first: int,
        last: int,
        uncounted: bool = False,
        arguments: str = "",
        behind: int | None = None,
    ) -> int:
        """One call with what it returned. Grad nodes `first`..`last`-1 were made by it."""
        draft, table = self.tracker.draft, self.table
        if not self.with_graph:
            return -1
        grad_enabled = _grad_enabled()
        index = len(draft.moments)
        sources = tuple(inputs)
        count = len(outputs)
        made: list[int] = []
        makes_graph, shares = False, name in DETACHING
        for position, tensor in enumerate(outputs):
            number = table.made(draft, tensor, index, position, count, stack, direct, sources, uncounted, shares)
            made.append(number)
            if tensor.requires_grad and first != last:
                makes_graph = True
                node = tensor.grad_fn
                if node is not None:
                    draft.outputs_by_sequence.setdefault(node._sequence_nr(), []).append(number)
        phase = Phase.BACKWARD if self.backwards else self.clock.of_op(name, grad_enabled, makes_graph)
        for sequence in range(first, last):
            draft.nodes_by_sequence[sequence] = index
        payload = (
            name, direct, self.module, self.module_call, last - first, grad_enabled, self.autocast, arguments, behind
        )  # fmt: skip
        draft.add("op", phase, stack, numbers, tuple(made), payload)
        if name in DETACHING and made and inputs and inputs[0].requires_grad and outputs[0] is not inputs[0]:
            draft.add("leaf", phase, stack, tuple(made), numbers[:1], (name, False, True, None, False))
        if draft.full:
            for tensor, number in zip(outputs, made):
                self.value(index, number, name, tensor)
        return index

    def value(self, moment: int, number: int, name: str, tensor: torch.Tensor) -> None:
        """The value that the op `name` gave a tensor."""
        if name.startswith(_UNINITIALIZED):
            return
        if tensor.is_floating_point() or tensor.numel() <= 16:
            self.sample(tensor, moment, number, False, "value")

    def sample(self, tensor: torch.Tensor, moment: int, subject: int, of_parameter: bool, what: str) -> Measured | None:
        """Record the statistics of `tensor`: at once on the CPU (then also returned), else when they arrive."""
        draft, tracker = self.tracker.draft, self.tracker

        def deliver(measured: Measured) -> None:
            tracker.add_sample(draft, (moment, subject, of_parameter, what, measured))

        return self.statistics.read(tensor, deliver)

    def root_begins(self, name: str, stack: int, loss: bool) -> None:
        """A model or a loss is called. At detail `steps`, its whole call is the only op."""
        grad_enabled = torch.is_grad_enabled()
        phase = Phase.EVAL if not grad_enabled else Phase.LOSS if loss else Phase.FORWARD
        self.draft.begins(phase)
        if self.with_graph:
            return
        payload = (name, True, self.module, self.module_call, 0, grad_enabled, self.autocast, "", None)
        self.draft.add("op", phase, stack, (), (), payload)

    def call_failed(self, name: str, where: int | FrameType, inputs: tuple[int, ...], error: BaseException) -> None:
        """A torch call raised; one that it made has told so already. Whether the script catches it is known later."""
        try:
            if told_below(error, self.beneath):
                return
            stack = where if isinstance(where, int) else self.locate(where)[0]
            payload = (type(error).__name__, str(error)[:2000], name, True)
            self.draft.add("failure", self._phase_now(), stack, inputs, (), payload)
        except Exception as fault:
            self.fault("a failing call", fault)

    def returned(self, stack: int, outputs: Sequence[torch.Tensor]) -> None:
        """A module call on the user's line returned these: they carry the line's names."""
        numbers = tuple(self.table.number(self.draft, tensor, stack) for tensor in outputs)
        if numbers:
            self.draft.returns.append((stack, numbers))

    # -- versions --------------------------------------------------------------------------------

    def mutated(
        self, tensor: torch.Tensor, number: int, before: int | None, after: int | None, cause: str, stack: int
    ) -> None:
        """An op raised the version of one of its operands."""
        entry = self.table.entries[id(tensor)]
        phase = self.draft.moments[-1][1] if self.draft.moments else Phase.OTHER
        if before == after or entry.version == after:
            return  # told already, with a tensor that it shares its memory with
        aliases = self.table.aliases(self.draft, entry)
        self._bump(entry, number, before, after, cause, stack, phase, aliases)
        entry.version = after
        owner = None if tensor.requires_grad else self._owner_of_gradient(tensor, entry)
        if owner is not None:
            change = "zeroed" if cause in ("zero_", "_foreach_zero_") else "modified"
            self.draft.add("grad", phase, stack, (owner,), (), (change, True))
            if change == "zeroed":
                self.draft.zeroed = True
        if before is not None and torch.is_grad_enabled():
            self._history_changed(tensor, number, stack, phase)
        written = (tensor, *(other for _, other in aliases))
        leaf_updated = any(one.requires_grad and not one._is_view() and one.is_leaf for one in written)
        if (leaf_updated or entry.uncounted) and self.draft.seen_backward and not self.clock.depth:
            self.tracker.updated_by_hand(stack)

    def writes_begin(self) -> None:
        """A call wrote to some of its operands; they are told one by one to `mutated`."""
        self._owners = None

    def _owner_of_gradient(self, tensor: torch.Tensor, entry: Entry) -> int | None:
        """The number of the tensor whose `.grad` this is, or shares the memory of; None if the step has not met it."""
        if self._owners is None:
            leaves = self.table.leaves(self.draft)
            self._owners = {id(leaf.grad): number for number, leaf in leaves if leaf.grad is not None}
        found = self._owners.get(id(tensor))
        if found is None and self._owners:
            for other in self.draft.sharing.get(entry.storage, ()):
                alias = other.reference()
                if alias is not None and alias.numel() == tensor.numel() and id(alias) in self._owners:
                    return self._owners[id(alias)]
        return found

    def _history_changed(self, tensor: torch.Tensor, number: int, stack: int, phase: Phase) -> None:
        """A write made the tensor, and the base that it is a view of, results of another grad node."""
        draft = self.draft
        base = tensor._base if tensor._is_view() else None
        known = self.table.find(base) if base is not None else None
        changed = [(tensor, number)]
        if base is not None and known is not None and known.mark is draft.mark:
            changed.append((base, known.number))
        for one, its_number in changed:
            node = one.grad_fn if one.requires_grad else None
            if node is not None:
                draft.outputs_by_sequence.setdefault(node._sequence_nr(), []).append(its_number)
                payload = ("in-place", True, False, type(node).__name__, one.retains_grad)
                draft.add("leaf", phase, stack, (its_number,), (), payload)

    def _bump(
        self,
        entry: Entry,
        number: int,
        before: int | None,
        after: int | None,
        cause: str,
        stack: int | None,
        phase: Phase,
        aliases: Sequence[tuple[Entry, torch.Tensor]] = (),
    ) -> None:
        draft = self.draft
        for other, tensor in aliases:
            now = version_of(tensor)
            if other.parameter is not None and other.version is not None and now is not None:
                draft.bumps[other.parameter] = draft.bumps.get(other.parameter, 0) + now - other.version
            other.version = now
        if entry.parameter is not None and before is not None and after is not None:
            draft.bumps[entry.parameter] = draft.bumps.get(entry.parameter, 0) + after - before
            before, after = before - entry.base_version, after - entry.base_version
        others = tuple(other.number for other, _ in aliases)
        draft.add("mutation", phase, stack, (number,), others, (before, after, cause, not entry.uncounted))

    def data_assigned(self, tensor: torch.Tensor, frame: FrameType) -> None:
        """`tensor.data = ...`: other memory, the same counter."""
        stack, direct = self.locate(frame)
        number = self.table.number(self.draft, tensor, stack, 0, True, direct)
        entry = self.table.entries[id(tensor)]
        entry.facts = entry.prototype = None
        self.draft.add("mutation", self._phase_now(), stack, (number,), (), (None, None, "data =", False))
        if self.draft.seen_backward and not self.clock.depth and tensor.requires_grad:
            self.tracker.updated_by_hand(stack)

    # -- leaf status -----------------------------------------------------------------------------

    def leaf_state(self, tensor: torch.Tensor) -> tuple[Any, ...]:
        return (tensor.requires_grad, tensor.is_leaf, tensor.retains_grad)

    def leaf_changed(self, tensor: torch.Tensor, before: tuple[Any, ...] | None, cause: str, frame: FrameType) -> None:
        after = self.leaf_state(tensor)
        if after == before:
            return
        stack, direct = self.locate(frame)
        number = self.table.number(self.draft, tensor, stack, 0, True, direct)
        entry = self.table.entries[id(tensor)]
        entry.facts = entry.prototype = None
        entry.stack = stack if entry.stack is None else entry.stack
        if cause == "retain_grad":
            self.retain(tensor)
        node = tensor.grad_fn
        payload = (cause, after[0], after[1], None if node is None else type(node).__name__, after[2])
        self.draft.add("leaf", self._phase_now(), stack, (number,), (), payload)
        if entry.parameter is not None:
            known = self.table.parameters[entry.parameter]
            self.table.adopt(tensor, known.name, known.root, known.role)

    def parameter_made(self, parameter: torch.Tensor, data: Any, frame: FrameType) -> None:
        """`nn.Parameter(data)`: a leaf of its own, whatever made `data`."""
        stack, direct = self.locate(frame)
        draft, table = self.draft, self.table
        table.entry(parameter).stack = stack
        source = (table.number(draft, data, stack, 0, False, direct),) if isinstance(data, torch.Tensor) else ()
        name = self.sites.result_name(stack, 0, 1) if direct else ""
        table.adopt(parameter, name.removeprefix("self."), "", "parameter")
        number = table.number(draft, parameter, stack)
        payload = ("Parameter", parameter.requires_grad, True, None, False)
        draft.add("leaf", self._phase_now(), stack, (number,), source, payload)

    def registered(self, owner: str, name: str, parameters: Sequence[torch.Tensor], frame: FrameType) -> None:
        """A module of class `owner` got the attribute `name`: these parameters."""
        stack, _ = self.locate(frame)
        numbers = tuple(self.table.number(self.draft, one, stack, direct=False) for one in parameters)
        self.draft.add("registration", self._phase_now(), stack, numbers, (), (owner, name))

    def adopt(self, tensor: torch.Tensor, role: str) -> int:
        """Make a tensor of the script's own one that outlives steps; it is called what it was assigned to."""
        draft, entry = self.draft, self.table.entry(tensor)
        raw = draft.tensors[entry.number] if entry.mark is draft.mark else None
        name = ""
        if raw is not None and raw.direct and raw.stack is not None and raw.made_by is not None:
            name = self.sites.result_name(raw.stack, raw.output, raw.outputs)
        return self.table.adopt(tensor, name.removeprefix("self."), "", role, draft)

    def retained_by_backward(self, tensor: torch.Tensor, number: int, stack: int) -> None:
        """`backward(inputs=...)` makes a result that it names keep its gradient."""
        self.retain(tensor)
        self.table.entries[id(tensor)].facts = None
        node = tensor.grad_fn
        payload = ("retain_grad", True, False, None if node is None else type(node).__name__, True)
        self.draft.add("leaf", Phase.BACKWARD, stack, (number,), (), payload)

    def retain(self, tensor: torch.Tensor) -> None:
        self._retained.append(self.table.entry(tensor))

    def retained_tensors(self) -> list[torch.Tensor]:
        """Non-leaf tensors that keep their gradient and still live."""
        self._retained = [entry for entry in self._retained if entry.reference() is not None]
        found = [entry.reference() for entry in self._retained]
        return [tensor for tensor in found if tensor is not None]

    # -- gradients -------------------------------------------------------------------------------

    def has_grad(self, tensor: torch.Tensor) -> bool:
        return (tensor.is_leaf or tensor.retains_grad) and tensor.grad is not None

    def grads_arrived(self, filled: Sequence[tuple[torch.Tensor, int]], change: str, stack: int | None) -> None:
        """A backward left gradients in these leaves (or tensors that retain theirs)."""
        draft, table = self.draft, self.table
        index = draft.add("grad", Phase.BACKWARD, stack, tuple(number for _, number in filled), (), (change, True))
        if not draft.full:
            return
        for tensor, number in filled:
            owner = table.entries[id(tensor)].parameter
            subject, of_parameter = (number, False) if owner is None else (owner, True)
            arrived = self.arrived.get(number) if change == "created" else None
            if arrived is not None:  # what AccumulateGrad received is the gradient
                self.tracker.add_sample(draft, (index, subject, of_parameter, "grad", arrived))
            elif tensor.grad is not None:
                self.sample(tensor.grad, index, subject, of_parameter, "grad")

    def clipped(
        self,
        name: str,
        tensors: Sequence[torch.Tensor],
        written: Sequence[tuple[torch.Tensor, torch.Tensor, int | None, int | None]],
        result: object,
        arguments: str,
        frame: FrameType,
    ) -> None:
        """Clipping of the gradients of `tensors`; `written`: (tensor, gradient, its version before, after)."""
        stack, direct = self.locate(frame)
        draft = self.draft
        numbers = self.enter_inputs(tensors, stack, False, False, [version_of(one) for one in tensors], tensors)
        outputs = [result] if isinstance(result, torch.Tensor) else []
        self.op(name, stack, direct, tensors, numbers, outputs, 0, 0, arguments=arguments)
        phase = self._phase_now()
        for _, gradient, before, after in written:
            entry = self.table.find(gradient)
            if entry is not None and entry.mark is draft.mark:
                self._bump(entry, entry.number, before, after, name, stack, phase)
                entry.version = after
        changed = tuple(self.table.number(draft, tensor, stack) for tensor, *_ in written)
        if changed:
            draft.add("grad", phase, stack, changed, (), ("modified", True))

    def grad_assigned(self, tensor: torch.Tensor, had: bool, frame: FrameType) -> None:
        """`tensor.grad = ...`."""
        now = self.has_grad(tensor)
        if not had and not now:
            return
        stack, direct = self.locate(frame)
        number = self.table.number(self.draft, tensor, stack, 0, True, direct)
        if not now:
            self.draft.zeroed = True
        phase = Phase.OTHER if now else Phase.ZERO_GRAD
        self.draft.add("grad", phase, stack, (number,), (), ("assigned" if now else "cleared", now))

    def grad_read(self, tensor: torch.Tensor, result: Any, frame: FrameType) -> None:
        """`.grad` was read. Where none can ever be (a non-leaf, a leaf that wants none), the read is an op."""
        if result is not None:
            stack, direct = self.locate(frame)
            self.table.number(self.draft, tensor, stack, 0, True, direct)  # what is done to it is told of its leaf
            self.table.read_as_gradient(self.draft, result, self.table.entry(tensor))
        elif not (tensor.is_leaf and (tensor.requires_grad or not self.frames[frame.f_code])):
            stack, direct = self.locate(frame)
            numbers = self.enter_inputs([tensor], stack, True, direct, [version_of(tensor)], [tensor])
            self.op("grad", stack, direct, [tensor], numbers, [], 0, 0)

    def zeroed(
        self, owner: str, optimizer: int | None, tensors: Sequence[tuple[torch.Tensor, bool]], stack: int
    ) -> None:
        """`zero_grad()` of an optimizer or a module; `tensors`: with a gradient before, and whether still."""
        draft = self.draft
        draft.zeroed = True
        to_none = not any(still for _, still in tensors)
        draft.add("zero_grad", Phase.ZERO_GRAD, stack, (), (), (owner, to_none, optimizer))
        for kept in (True, False):
            numbers = tuple(self.table.number(draft, tensor, stack) for tensor, still in tensors if still is kept)
            if numbers:
                draft.add("grad", Phase.ZERO_GRAD, stack, numbers, (), ("zeroed" if kept else "cleared", kept))

    # -- backward --------------------------------------------------------------------------------

    def backward_called(self, stack: int, decides: bool) -> None:
        self.clock.backward()
        self.draft.seen_backward += 1
        if decides:
            self.tracker.backward(stack)

    def backward_done(self, leaves: Sequence[torch.Tensor]) -> None:
        """A backward returned; it accumulated into `leaves`."""
        if leaves:
            self.tracker.gradients_ready(leaves)

    def loss(self, root: torch.Tensor) -> None:
        if not readable(root):
            return
        cell: list[float] = []
        self.draft.losses.append((len(self.draft.moments), cell))
        self.statistics.scalar(root, cell.append)

    # -- modes, moves, modules -------------------------------------------------------------------

    def grad_mode(self, frame: FrameType) -> None:
        """`_set_grad_enabled` ran: a mode began or ended, if it changed anything."""
        now = torch.is_grad_enabled()
        if now is self._grad_mode:
            return
        self._grad_mode = now
        stack = self._switched_at(frame)
        self.draft.add("mode", self._phase_now(), stack, (), (), ("grad", "on" if now else "off", None))

    def inference_mode(self, frame: FrameType) -> None:
        """`torch.inference_mode` began or ended, if it changed anything."""
        if torch.is_inference_mode_enabled() is not self.inference:
            self._inference_changed(self._switched_at(frame))

    def _inference_changed(self, stack: int) -> None:
        self.inference = not self.inference
        value = "on" if self.inference else "off"
        self.draft.add("mode", self._phase_now(), stack, (), (), ("inference", value, None))

    def _switched_at(self, frame: FrameType) -> int:
        """The stack of the `with` that switches a mode, or of the decorator that does."""
        stack, _ = self.locate(frame)
        torchs: FrameType | None = frame
        while torchs is not None and not self.frames[torchs.f_code]:
            if torchs.f_code.co_name in _DECORATING:
                function = torchs.f_locals.get("func")
                code = inspect.unwrap(function).__code__ if inspect.isfunction(function) else None
                return stack if code is None else self.sites.decorator(stack, code)
            torchs = torchs.f_back
        return stack

    def mode(self, mode: str, value: str, module: int | None, frame: FrameType | None) -> None:
        stack = self.locate(frame)[0] if frame is not None else None
        self.draft.add("mode", self._phase_now(), stack, (), (), (mode, value, module))

    def moved(self, source: torch.Tensor, target: torch.Tensor, stack: int) -> None:
        draft = self.draft
        payload = (
            device_name(source.device), device_name(target.device), dtype_name(source.dtype), dtype_name(target.dtype),
            target.numel() * target.element_size(), target.is_leaf, None,
        )  # fmt: skip
        pair = (self.table.number(draft, source, stack), self.table.number(draft, target, stack))
        draft.add("move", draft.moments[-1][1], stack, pair[:1], pair[1:], payload)

    def module_moved(self, frame: FrameType, module: int, change: tuple[str, str, str, str], nbytes: int) -> None:
        """`module.to(...)` and friends moved this many bytes of parameters."""
        stack, _ = self.locate(frame)
        self.draft.add("move", self._phase_now(), stack, (), (), (*change, nbytes, True, module))

    def compiled(self, frame: FrameType) -> None:
        """A compiled region begins; its inside stays compiled, and unseen."""
        try:
            self.on_compiled()
            self.note("a compiled region ran here: its ops were not recorded", frame)
        except Exception as error:
            self.fault("a compiled region", error)

    def custom_function(
        self,
        name: str,
        stack: int,
        direct: bool,
        inputs: Sequence[torch.Tensor],
        versions: Sequence[int | None],
        numbers: tuple[int, ...],
        first: int,
        last: int,
        result: Any,
        backward: object,
    ) -> None:
        """`autograd.Function.apply`: one op, whatever its forward ran."""
        outputs = [result] if isinstance(result, torch.Tensor) else tensors_in((result,))
        behind = self.sites.behind(backward, stack)
        moment = self.op(name, stack, direct, inputs, numbers, outputs, first, last, behind=behind)
        probe = Probe.of(inputs, outputs) if self.tracker.draft.full and moment >= 0 else None
        if probe is not None:
            self.probes[last - 1] = probe
            while len(self.probes) > _PROBES:
                del self.probes[next(iter(self.probes))]
        self.writes_begin()
        for tensor, before, number in zip(inputs, versions, numbers):
            after = version_of(tensor)
            if after != before:
                self.mutated(tensor, number, before, after, name, stack)

    def hook_registered(self, name: str, tensor: torch.Tensor, hook: object, frame: FrameType) -> None:
        """A hook on a tensor, with the line where its function returns."""
        stack, direct = self.locate(frame)
        numbers = self.enter_inputs([tensor], stack, True, direct, [version_of(tensor)], [tensor])
        behind = self.sites.behind(getattr(hook, "__func__", hook), stack)
        self.op(name, stack, direct, [tensor], numbers, [], 0, 0, behind=behind)

    # -- optimizers ------------------------------------------------------------------------------

    def forget_raised_step(self) -> None:
        """An optimizer's step raised and left the recording paused: go on recording."""
        self.on_raised_step()

    def measure(self, pairs: Sequence[tuple[int, torch.Tensor]]) -> None:
        """Norms of parameters and of their gradients, one fused call a device."""
        if torch._C._len_torch_dispatch_stack():
            return  # a dispatch mode of the script's would see the call
        draft, strided = self.draft, torch.strided
        found = [
            (number, tensor)
            for number, tensor in pairs
            if type(tensor) in PLAIN and tensor.layout is strided and tensor.is_floating_point()
        ]
        gradients = [(-1 - number, tensor.grad) for number, tensor in found]
        found += [
            (n, grad) for n, grad in gradients if grad is not None and type(grad) in PLAIN and grad.layout is strided
        ]
        groups: dict[torch.device, list[tuple[int, torch.Tensor]]] = {}
        for one in found:
            groups.setdefault(one[1].device, []).append(one)
        for device, group in groups.items():
            if device.type in READABLE_DEVICES:
                cell: list[list[float]] = []
                numbers, tensors = zip(*group)
                draft.norms.append((len(draft.moments) - 1, numbers, cell))
                self.statistics.norms(list(tensors), cell.append)

    def parameters_updated(self, optimizer: int, risen: Sequence[tuple[torch.Tensor, int, int]], stack: int) -> None:
        """`optimizer.step` raised these parameters' versions: (tensor, before, after)."""
        draft, table = self.draft, self.table
        bumps, entries = draft.bumps, table.entries
        numbers: list[int] = []
        versions: list[tuple[int, int]] = []
        for tensor, before, after in risen:
            entry = entries.get(id(tensor))
            if entry is None or entry.mark is not draft.mark:
                table.number(draft, tensor, stack)
                entry = entries[id(tensor)]
                entry.base_version -= after - before  # met after the update
                if entry.parameter is not None:
                    draft.versions[entry.parameter] = entry.base_version
            numbers.append(entry.number)
            entry.version = after
            base = 0
            if entry.parameter is not None:
                base = entry.base_version
                bumps[entry.parameter] = bumps.get(entry.parameter, 0) + after - before
            versions.append((before - base, after - base))
        draft.add("optimizer", Phase.OPTIMIZER_STEP, stack, tuple(numbers), (), (optimizer, tuple(versions)))

    def scheduler_stepped(self, name: str, optimizer: int | None, stack: int | None) -> None:
        self.draft.add("scheduler", Phase.SCHEDULER_STEP, stack, (), (), (name, optimizer))

    def scaler_called(self, call: str, optimizer: int | None, enabled: bool, frame: FrameType) -> None:
        stack = self.sites.locate(frame)
        self.draft.add("scaler", self._phase_now(), stack, (), (), (call, optimizer, enabled))

    def optimizer_changed(self, optimizer: int, group: int | None, stack: int) -> None:
        self.draft.add("optimizer_change", self._phase_now(), stack, (), (), (optimizer, group))

    def note(self, text: str, frame: FrameType | None = None) -> None:
        stack = self.locate(frame)[0] if frame is not None else None
        self.draft.add("note", self._phase_now(), stack, (), (), (text,))

    def _phase_now(self) -> Phase:
        """The phase for a fact that has none of its own: forward-like phases last, calls do not."""
        phase = self.draft.phase
        return phase if phase in _LASTING else Phase.OTHER
