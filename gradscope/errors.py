"""Every error that gradscope raises on purpose. Each says what happened, where, and what to try.

GradscopeError
├── UsageError            a wrong option, name or combination            (exit 2)
│   ├── NoSuchStep
│   └── UnknownName       a name that is not among the known ones
├── TraceFileError        a file that cannot be read or written          (exit 2)
│   ├── NoSuchFile        it is not there, or not yet
│   ├── NotATrace
│   ├── NewerTrace
│   ├── OlderTrace
│   ├── DamagedTrace
│   └── CannotWrite
│       └── BeingWritten  another run writes this file now
├── PatchRefused          a fix that cannot be written                   (exit 2)
├── ScriptNotFound        the script or module to run is not there       (exit 2)
├── MissingEngine         no program to lay a picture out with           (exit 2)
├── LayoutFailed          the layout program failed or took too long     (exit 2)
├── MissingExtra          a format needs a package that is not installed (exit 2)
├── NothingToDraw         there is no graph in this tensor or trace      (exit 2)
├── AlreadyRecording      a recorder was started that runs already
└── FindingsError         a recorded block is not as it should be; an AssertionError too
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence

_MOST_NAMES = 16  # a longer list would bury the reader


class GradscopeError(Exception):
    """Base of all of gradscope's own errors. `str(error)` is one line for a person."""


class UsageError(GradscopeError):
    """A wrong option, name or combination."""


class UnknownName(UsageError):
    """`name` is not among `known`; the message names the nearest and lists all, or those most like it."""

    def __init__(self, what: str, name: str, known: Iterable[str]) -> None:
        names = sorted(known)
        near = difflib.get_close_matches(name, names, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        shown = names
        if len(names) > _MOST_NAMES:
            shown = difflib.get_close_matches(name, names, n=_MOST_NAMES, cutoff=0.0)
        more = f" and {len(names) - len(shown):,} more" if len(shown) < len(names) else ""
        super().__init__(f"no {what} is called {name!r}: {hint}known are {', '.join(shown) or 'none'}{more}")


class NoSuchStep(UsageError):
    """The trace has no step of that number."""

    def __init__(self, number: int, known: Sequence[int]) -> None:
        steps = [step for step in known if step >= 0]
        if not steps:
            where = "the trace has no steps"
        else:
            near = min(steps, key=lambda step: abs(step - number))
            have = f"{len(steps)} steps, {steps[0]} to {steps[-1]}" if len(steps) > 1 else "1 step"
            where = f"the trace has {have}; the nearest is {near}"
        super().__init__(f"there is no step {number}: {where}")


class TraceFileError(GradscopeError):
    """A trace file that cannot be read or written."""


class NoSuchFile(TraceFileError):
    """There is no file of that name, or not yet."""


class NotATrace(TraceFileError):
    """The file is not a gradscope trace."""


class NewerTrace(TraceFileError):
    """The file was written by a newer gradscope."""


class OlderTrace(TraceFileError):
    """The file was written by an older gradscope, whose tables were other ones."""


class DamagedTrace(TraceFileError):
    """The file is a trace, but truncated or damaged."""


class CannotWrite(TraceFileError):
    """A file could not be written."""


class BeingWritten(CannotWrite):
    """Another run writes this trace file now."""


class PatchRefused(GradscopeError):
    """A fix that cannot be written: the file has changed, or may not be written to."""


class ScriptNotFound(GradscopeError):
    """The script or module to run is not there."""


class MissingEngine(GradscopeError):
    """No program to lay a picture out with."""


class LayoutFailed(GradscopeError):
    """The layout program failed or took too long."""


class MissingExtra(GradscopeError):
    """A format needs a package that is not installed."""


class NothingToDraw(GradscopeError):
    """There is no graph in this tensor or trace."""


class AlreadyRecording(GradscopeError):
    """A recorder was started that runs already."""


class FindingsError(GradscopeError, AssertionError):
    """What was recorded is not as it should be. `findings` are the reasons, if checks found them."""

    def __init__(self, message: str, findings: Sequence[object] = ()) -> None:
        super().__init__(message)
        self.findings = tuple(findings)
