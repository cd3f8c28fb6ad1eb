"""The journal: every part of capture tells it facts; it words them as raw moments of the current draft.

It knows where the script is (call stack, phase, module) and asks the step tracker whether a new step
has begun. It never reaches into the script and never raises into it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import CodeType, FrameType
from typing import Any

import torch
from torch.overrides import handle_torch_function

from ...model.records import Phase
from ..hiding.frames import is_ours, told_below
from ..hiding.no_torch_function import Unseen
from ..hiding.signals import is_the_scripts
from ..measure.askable import dense, is_plain, readable
from ..measure.function_slope import Probe
from ..measure.reading import Reading
from ..measure.stats import Statistics
from ..measure.tensor_facts import bytes_of, count_of, device_of, dtype_of, is_leaf, tensors_in, version_of
from ..sites.call_sites import ALONE, NOWHERE, Frames, Sites
from ..step.draft import Draft
from ..step.phases import PhaseClock
from ..step.segmenter import StepTracker
from ..step.tensor_registry import TensorTable
from .gradients import Gradients
from .leaves import Leaves
from .mode_switches import Switches
from .shared_memory import Exposed
from .updates import Updates
from .writes import Versions

_functorch_level = torch._C._functorch.peek_interpreter_stack
_tracing = torch._C._is_tracing
_grad_enabled = torch.is_grad_enabled
_inference_mode = torch.is_inference_mode_enabled
hooks_on_saved = torch._C._autograd._top_saved_tensors_default_hooks


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
CALL_IMPL: CodeType = torch.nn.Module._call_impl.__code__
MAX_FAULTS = 20
_LASTING = frozenset({Phase.FORWARD, Phase.LOSS, Phase.EVAL})
DETACHING = frozenset({"detach", "data"})
_UNINITIALIZED = ("empty", "new_empty")  # their memory holds whatever was there


def position_of(arguments: Sequence[Any], tensor: torch.Tensor) -> int:
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
        thread: int,
    ) -> None:
        self.frames, self.sites, self.table = frames, sites, table
        self.statistics, self.tracker = statistics, tracker
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
        self.autocast: str | None = None
        self.faults: list[str] = []
        self.probes: dict[int, Probe] = {}  # of custom Functions' calls, by their grad node's sequence number
        self.inference = torch.is_inference_mode_enabled()
        self.on_raised_step: Callable[[], None] = lambda: None
        self.exposed = Exposed(self)
        self.versions, self.leaves, self.gradients = Versions(self), Leaves(self), Gradients(self)
        self.switches, self.updates = Switches(self), Updates(self)
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
        known = self.frames.get(id(code))
        direct = known if known is not None else self.frames.users(code)
        stack = sites.anchor_stack
        if direct or stack < 0 or caller is None or caller.f_code is not CALL_IMPL:
            stack = sites.locate(frame)  # else torch's own forward: no user frame since the module call
        watch = tracker.watch
        if watch is not None and not self.backwards and (watch.judged.get(stack) != "" or tracker.lingering):
            tracker.look(stack)
        return stack, direct

    def call_begins(self, phase: Phase, frame: FrameType) -> int:
        """A call of the script's that is a phase of its own begins. Returns the stack that made it."""
        stack, _ = self.locate(frame)
        self.tracker.draft.begins(phase)
        return stack

    def call_ends(self) -> None:
        """Such a call returned, or raised: what comes next is another phase."""
        self.tracker.draft.begins(Phase.BACKWARD if self.backwards else Phase.OTHER)

    def fault(self, what: str, error: Exception) -> None:
        """A fact could not be recorded: remember that, and go on. Raises `error` where it is the script's."""
        if is_the_scripts(error):
            raise error
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
            self.switches.inference_changed(stack)
        numbers: list[int] = []
        entries, mark = table.entries, draft.mark
        for tensor, version in zip(tensors, versions):
            entry = entries.get(id(tensor))
            if entry is None or entry.mark is not mark or entry() is not tensor:
                table.number(draft, tensor, stack, position_of(arguments, tensor), method, direct)
                entry = entries[id(tensor)]
            numbers.append(entry.number)
            if entry.version != version:
                if entry.version is not None and version is not None:
                    cause = "a write that was not seen"
                    self.versions.rose(entry, entry.number, entry.version, version, cause, None, Phase.OTHER)
                entry.version = version
        if table.unnamed and direct:
            for tensor in tensors:
                table.name_by_use(tensor, stack, position_of(arguments, tensor), method, direct)
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
        if not draft.with_graph:
            return -1
        grad_enabled = _grad_enabled()
        numbers = self.numbers_now(inputs, numbers, stack)
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
        if draft.full and hooks_on_saved(True) is not None:
            draft.hooked = True
        if name == "detach_" and made and draft.tensors[made[0]].facts.requires_grad:
            draft.add("leaf", phase, stack, tuple(made), (), (name, False, True, None, False))
        elif name in DETACHING and made and inputs and inputs[0].requires_grad and outputs[0] is not inputs[0]:
            draft.add("leaf", phase, stack, tuple(made), numbers[:1], (name, False, True, None, False))
        if draft.full:
            for tensor, number in zip(outputs, made):
                self.value(index, number, name, tensor)
        return index

    def numbers_now(self, tensors: Sequence[torch.Tensor], numbers: tuple[int, ...], stack: int) -> tuple[int, ...]:
        """The numbers of a call's operands, once it is over: where a step ended meanwhile, those had are not its."""
        draft, table = self.tracker.draft, self.table
        entries, mark = table.entries, draft.mark
        for tensor, number in zip(tensors, numbers):
            entry = entries.get(id(tensor))
            if entry is None or entry.mark is not mark or entry.number != number:
                return tuple([table.number(draft, one, stack) for one in tensors])
        return numbers

    def value(self, moment: int, number: int, name: str, tensor: torch.Tensor) -> None:
        """The value that the op `name` gave a tensor."""
        if name.startswith(_UNINITIALIZED):
            return
        if tensor.is_floating_point() or (count_of(tensor) or 0) <= 16:
            self.sample(tensor, moment, number, False, "value")

    def sample(self, tensor: torch.Tensor, moment: int, subject: int, of_parameter: bool, what: str) -> Reading | None:
        """Record the statistics of `tensor`, which may still be on their way from a device."""
        reading = self.statistics.read(tensor)
        if reading is not None:
            self.tracker.draft.samples.append((moment, subject, of_parameter, what, reading))
        return reading

    def root_begins(self, name: str, stack: int, loss: bool) -> None:
        """A model or a loss is called. At detail `steps`, its whole call is the only op."""
        grad_enabled = torch.is_grad_enabled()
        phase = Phase.EVAL if not grad_enabled else Phase.LOSS if loss else Phase.FORWARD
        self.tracker.draft.begins(phase)
        if self.draft.with_graph:
            return
        payload = (name, True, self.module, self.module_call, 0, grad_enabled, self.autocast, "", None)
        self.draft.add("op", phase, stack, (), (), payload)

    def call_failed(
        self,
        name: str,
        where: int | FrameType,
        inputs: tuple[int, ...],
        error: BaseException,
        tensors: Sequence[torch.Tensor] = (),
    ) -> None:
        """A torch call raised; one that it made has told so already. Whether the script catches it is known later.

        `tensors`: those that `inputs` are the numbers of, where a step may have ended in the call.
        """
        try:
            if told_below(error, self.beneath):
                return
            stack = where if isinstance(where, int) else self.locate(where)[0]
            payload = (type(error).__name__, str(error)[:2000], name, True)
            inputs = self.numbers_now(tensors, inputs, stack)
            self.draft.add("failure", self.phase_now(), stack, inputs, (), payload)
        except Exception as fault:
            self.fault("a failing call", fault)

    def returned(self, stack: int, outputs: Sequence[torch.Tensor]) -> None:
        """A module call on the user's line returned these: they carry the line's names."""
        numbers = tuple(self.table.number(self.draft, tensor, stack) for tensor in outputs)
        if numbers:
            self.draft.returns.append((stack, numbers))

    def name_arguments(self, stack: int, args: tuple[Any, ...]) -> None:
        """A tensor that was not met yet is called what the script passes it as."""
        entries, mark = self.table.entries, self.tracker.draft.mark
        for position, argument in enumerate(args):
            if isinstance(argument, torch.Tensor):
                entry = entries.get(id(argument))
                if entry is None or entry.mark is not mark or entry() is not argument:
                    with Unseen():
                        self.table.number(self.tracker.draft, argument, stack, position, False, True)

    def name_results(self, stack: int, result: Any) -> None:
        """What the call returned is called what the script assigns it to."""
        draft = self.tracker.draft
        entry = self.table.entries.get(id(result))
        if entry is not None and entry.mark is draft.mark and entry() is result:
            draft.returns.append((stack, (entry.number,)))
            return
        outputs = tensors_in((result,))
        if outputs:
            with Unseen():
                self.returned(stack, outputs)

    # -- backward --------------------------------------------------------------------------------

    def backward_called(self, stack: int, decides: bool) -> None:
        self.clock.backward()
        self.tracker.draft.seen_backward += 1
        if decides and not self.backwards:  # one inside another is a part of that
            self.tracker.backward(stack)

    def backward_done(self, leaves: Sequence[torch.Tensor]) -> None:
        """A backward returned; it accumulated into `leaves`, which the step has met."""
        if leaves:
            entries = self.table.entries
            self.tracker.gradients_ready([entries[id(leaf)] for leaf in leaves])

    def loss(self, root: torch.Tensor, scaled: bool = False) -> None:
        """The number that the last moment, a backward, begins at, or that a scaler `scaled` there.

        None where it is more than a number, or cannot be read.
        """
        if not readable(root):
            return
        if not is_plain(root):
            root = dense(root)
        if root.numel() != 1 or not root.is_floating_point():
            return
        cell: list[float] = []
        draft = self.tracker.draft
        (draft.scaled if scaled else draft.losses).append((draft.length - 1, cell))
        self.statistics.scalar(root, cell.append)

    # -- modes, moves, modules -------------------------------------------------------------------

    def moved(self, source: torch.Tensor, target: torch.Tensor, stack: int) -> None:
        draft = self.draft
        payload = (
            device_of(source), device_of(target), dtype_of(source), dtype_of(target), bytes_of(target), is_leaf(target),
            None,
        )  # fmt: skip
        pair = (self.table.number(draft, source, stack), self.table.number(draft, target, stack))
        draft.add("move", draft.moments[-1][1], stack, pair[:1], pair[1:], payload)

    def module_moved(self, frame: FrameType, module: int, change: tuple[str, str, str, str], nbytes: int) -> None:
        """`module.to(...)` and friends moved this many bytes of parameters."""
        stack, _ = self.locate(frame)
        self.draft.add("move", self.phase_now(), stack, (), (), (*change, nbytes, True, module))

    def compiled(self, frame: FrameType) -> None:
        """A compiled region begins; its inside stays compiled, and unseen."""
        try:
            self.on_compiled()
            self.note("a compiled region ran here: its ops were not recorded", frame)
        except Exception as error:
            self.fault("a compiled region", error)

    def hook_registered(self, name: str, tensor: torch.Tensor, hook: object, frame: FrameType) -> None:
        """A hook on a tensor, with the line where its function returns."""
        stack, direct = self.locate(frame)
        numbers = self.enter_inputs([tensor], stack, True, direct, [version_of(tensor)], [tensor])
        behind = self.sites.behind(getattr(hook, "__func__", hook), stack)
        self.op(name, stack, direct, [tensor], numbers, [], 0, 0, behind=behind)

    def forget_raised_step(self) -> None:
        """An optimizer's step raised and left the recording paused: go on recording."""
        self.on_raised_step()

    def note(self, text: str, frame: FrameType | None = None) -> None:
        stack = self.locate(frame)[0] if frame is not None else None
        self.draft.add("note", self.phase_now(), stack, (), (), (text,))

    def phase_now(self) -> Phase:
        """The phase for a fact that has none of its own: forward-like phases last, calls do not."""
        phase = self.draft.phase
        return phase if phase in _LASTING else Phase.OTHER
