"""Statements that do nothing: methods that are named and not called, a flag that is set on what has none."""

from __future__ import annotations

from collections.abc import Iterator

from ...model.findings import Finding, Place, Severity
from ...model.moments import Note
from ...model.records import MODULE_FLAG
from ...repair.changes.statements import replaced_by
from ...repair.changes.values import followed_by
from ...repair.ways import Way
from ...text import elide_list
from ..evidence.index import Case
from ..evidence.statements import attributes_set, bare_attributes
from ..rules import CERTAIN, SURE, Rule, check

NOT_CALLED = Rule(
    "GS525", "method-not-called", Severity.ERROR, "A method is named without parentheses, so it is never called."
)
FLAG_OF_MODULE = Rule(
    "GS526",
    "flag-of-a-module",
    Severity.WARNING,
    "requires_grad was set on a module, which has no such flag: its parameters go on training.",
)
# What a training script calls for what it does, not for what it returns; and whatever writes in place.
_DEEDS = frozenset({"backward", "step", "zero_grad", "update", "eval", "train"})


@check(NOT_CALLED)
def not_called(case: Case) -> Iterator[Finding]:
    """Statements that are nothing but the name of a method of torch's which acts."""
    for attribute, place in bare_attributes(case):
        name = attribute.attr
        if name in _DEEDS or (name.endswith("_") and not name.startswith("_")):
            yield NOT_CALLED.finding(
                f"{place.expression} is not called: the statement only names the method",
                culprit=place,
                confidence=CERTAIN,
                explanation="A method runs where parentheses follow its name. Without them the line reads an attribute "
                "and forgets it: nothing happens, and Python has nothing to complain of.",
                fix=f"{place.expression}()",
                fixes=case.fixes(Way("call it", "the line does what it says", place, followed_by("()"))),
            )


@check(FLAG_OF_MODULE)
def flag_of_module(case: Case) -> Iterator[Finding]:
    """Modules that carry an attribute `requires_grad`, and the line that may have set it."""
    notes = [event for event in case.events(Note) if event.moment.text.startswith(MODULE_FLAG)]
    if notes:
        kinds = list(dict.fromkeys(event.moment.text.rpartition(": ")[2] for event in notes))
        place = next(attributes_set(case, "requires_grad"), None)
        yield FLAG_OF_MODULE.finding(
            f"requires_grad of a module ({elide_list(kinds, 3)}) is an attribute like any other: nothing is frozen",
            culprit=place,
            no_place="the line that set it was not recorded",
            step=max(notes[0].step.number, 0),
            confidence=SURE,
            explanation="Only tensors have the flag. Set on a module, it is a new attribute, which nobody reads; the "
            "parameters of the module still want gradients, and their optimizer moves them.",
            fix="call module.requires_grad_(False), which sets it on each parameter",
            fixes=case.fixes(Way("set it on each parameter", "they are frozen", place, replaced_by(_by_method(place)))),
        )


def _by_method(place: Place | None) -> str:
    """`module.requires_grad_(False)` for `module.requires_grad = False`."""
    value = place.code.partition("=")[2].partition("#")[0].strip() if place is not None else ""
    return f"{place.expression}_({value})" if place is not None else ""


CHECKS = (not_called, flag_of_module)
