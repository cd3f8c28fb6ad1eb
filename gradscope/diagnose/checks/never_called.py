"""Methods that a statement names and does not call: `optimizer.step` without parentheses does nothing."""

from __future__ import annotations

from collections.abc import Iterator

from ...model.findings import Finding, Severity
from ...repair.changes.values import followed_by
from ...repair.ways import Way
from ..evidence.index import Case
from ..evidence.statements import bare_attributes
from ..rules import CERTAIN, Rule, check

NOT_CALLED = Rule(
    "GS525", "method-not-called", Severity.ERROR, "A method is named without parentheses, so it is never called."
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


CHECKS = (not_called,)
