"""Where the script is: what those who word moments need to know, and the step that they write to."""

from __future__ import annotations

from types import CodeType, FrameType

from torch.overrides import handle_torch_function

from ...model.records import Phase
from ..hiding.frames import is_ours
from ..hiding.torch_private import CALL_IMPL
from ..hiding.torch_state import transforming
from ..sites.call_sites import Frames, Sites
from ..step.draft import Draft
from ..step.phases import PhaseClock
from ..step.segmenter import StepTracker
from ..step.tensor_registry import TensorTable

HANDLE: CodeType = handle_torch_function.__code__
_LASTING = frozenset({Phase.FORWARD, Phase.LOSS, Phase.EVAL})


class Here:
    """The place of the script in its own lines, in its modules and in the step, with the tensors that it has met."""

    def __init__(self, frames: Frames, sites: Sites, table: TensorTable, tracker: StepTracker, thread: int) -> None:
        self.frames, self.sites, self.table, self.tracker = frames, sites, table, tracker
        self.thread = thread
        self.active = True  # the recording is not over
        self.quiet = 0  # pauses, one inside another: torch's own helpers run
        self.nested = False  # other recorders run too: calls pass through them
        self.backwards = 0  # how many run, one inside another
        self.clock = PhaseClock()
        self.module: int | None = None
        self.module_call: int | None = None
        self.autocast: str | None = None

    @property
    def draft(self) -> Draft:
        """The step in progress."""
        return self.tracker.draft

    def recording(self) -> bool:
        """Whether the script's own code runs, and can be recorded."""
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

    def backward_called(self, stack: int, decides: bool) -> None:
        """A backward was called. `decides`: it may be one that the script trains by."""
        self.clock.backward()
        self.tracker.draft.progress.seen_backward += 1
        if decides and not self.backwards:  # one inside another is a part of that
            self.tracker.backward(stack)

    def phase_now(self) -> Phase:
        """The phase for a fact that has none of its own: forward-like phases last, calls do not."""
        phase = self.draft.timing.phase
        return phase if phase in _LASTING else Phase.OTHER


def _past_recorders(frame: FrameType) -> FrameType:
    """The frame whose call this is, past other recorders and past the functions that torch calls once more for each."""
    while True:
        if frame.f_code is HANDLE and frame.f_back is not None and frame.f_back.f_back is not None:
            frame = frame.f_back.f_back
        elif is_ours(frame.f_code) and frame.f_back is not None:
            frame = frame.f_back
        else:
            return frame
