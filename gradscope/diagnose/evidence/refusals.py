"""`Meaning`: what an error of torch's means, in words with gaps; and how it becomes a finding at its cause."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import NamedTuple

from ...model import op_kinds
from ...model.findings import Place
from ...model.fixes import Fix, said
from ...model.moments import Failure, OpCall
from .ancestry import made
from .index import Case, Event
from .refusal_fixes import Refusal, mends
from .torch_errors import ErrorKind
from .wording import call_at, variable

_LIBRARIES = frozenset({"torch", "nn", "F", "np", "numpy", "optim"})


class Cause(NamedTuple):
    """The line behind an error, and what the line where it struck has to do with it."""

    place: Place | None
    struck: str = "raises"
    thing: str = ""  # what the words call `{thing}`


class Meaning(NamedTuple):
    """What an error means: a message, why torch refuses, what to do.

    Gaps: `{name}`, the tensor that was refused, `{code}`, the same where code is written; `{call}`, the call;
    `{thing}`, what the cause names; and the parts of the error's message. `cause` finds the line, where it is another
    than the one that raised.
    """

    message: str
    why: str
    fix: str
    cause: Callable[[Case, Event[Failure]], Cause | None] | None = None


class Told(NamedTuple):
    """A meaning whose gaps are filled, and the fixes that code can say."""

    message: str
    why: str
    fix: str
    fixes: tuple[Fix, ...]
    cause: Cause
    event: Event[Failure]


def told(case: Case, meanings: Mapping[ErrorKind, Meaning]) -> Told | None:
    """What one of these meanings says of the error that ended the script; None if it is none of them."""
    event, kind = case.refusal, case.error.kind
    meaning = meanings.get(kind) if kind is not None else None
    if event is None or meaning is None or case.failure is None:
        return None
    struck = case.failure.moment.stack  # inside the refused call, where that runs code of the script
    found = meaning.cause(case, event) if meaning.cause is not None else None
    cause = found if found is not None and found.place is not None else Cause(case.place(struck))
    words: dict[str, str] = defaultdict(lambda: "something else")
    words.update({part: value for part, value in case.error.parts.items() if value})
    call = call_at(case, struck, "the call")
    inputs = event.moment.inputs if struck == event.moment.stack else ()
    name = subject(call) or (case.called(event.step, inputs[0]) if inputs else call)
    words.update(
        name=name, code=variable(name, "x"), call=call, thing=found.thing if found is not None and found.thing else call
    )
    message, why, fix = (text.format_map(words) for text in meaning[:3])
    maker = made(case, event.step, inputs[0]).op if inputs else None
    refusal = Refusal(
        case.error.parts,
        name,
        cause.place,
        case.place(struck),
        worked_before=_line(case, struck) in {_line(case, one.moment.stack) for one in case.events(OpCall)},
        detached=maker is not None and maker.name in op_kinds.DETACHES,
    )
    fixes = case.fixes(*mends(kind, refusal))
    return Told(message, why, said(fixes, fix), fixes, cause, case.failure)


def _line(case: Case, stack: int | None) -> tuple[str, int] | None:
    place = case.place(stack)
    return (place.file, place.line) if place is not None else None


def subject(call: str) -> str:
    """What a call is about, as its line names it: `pred` of `pred.numpy()` and of `F.relu_(pred)`; "" if unnamed."""
    try:
        node = ast.parse(call, mode="eval").body
    except SyntaxError:
        return ""
    if not isinstance(node, ast.Call):
        return ""
    owner = node.func.value if isinstance(node.func, ast.Attribute) else None
    named = [one for one in (owner, *node.args[:1]) if isinstance(one, (ast.Name, ast.Attribute))]
    named = [one for one in named if not _is_library(one)]
    return ast.unparse(named[0]) if named else ""


def _is_library(node: ast.expr) -> bool:
    """Whether a name is that of a module of functions, as scripts import them."""
    return ast.unparse(node).partition(".")[0] in _LIBRARIES


def behind(case: Case, _event: Event[Failure]) -> Cause | None:
    """The line that torch worked for when it raised, if that was recorded."""
    last = case.failure
    return Cause(case.place(last.moment.behind)) if last is not None else None
