"""`Rule`: what a finding's code stands for. `Check`: a function that looks for the causes of some rules."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..model.findings import Finding, Place, Severity
from ..model.fixes import Fix

if TYPE_CHECKING:
    from .evidence.index import Case
    from .evidence.refusals import Told

CERTAIN = 0.99  # torch raised this very error, or numbers of the trace prove it
SURE = 0.9  # the structure leaves no other reading, and its effect was seen
LIKELY = 0.7  # the usual reading; a healthy script could look the same
POSSIBLE = 0.5  # worth a look


@dataclass(frozen=True, slots=True)
class Rule:
    """One kind of finding. `title` is a line on it, `page` explains it in Markdown ("": that is `pages/<code>.md`).

    `yields_to` are codes of causes: where one of them was found, a finding of this rule is its
    consequence and is left out.
    """

    code: str
    name: str
    severity: Severity
    title: str
    yields_to: frozenset[str] = frozenset()
    page: str = ""

    def finding(
        self,
        message: str,
        *,
        culprit: Place | None,
        step: int | None = None,
        confidence: float = SURE,
        related: Iterable[Place] = (),
        explanation: str = "",
        fix: str = "",
        fixes: Iterable[Fix] = (),
        nodes: Iterable[int] = (),
        no_place: str | None = None,
        severity: Severity | None = None,
    ) -> Finding:
        """A finding of this rule. Without a culprit it says why: `no_place`, or that no line was seen."""
        if culprit is None and no_place is None:
            no_place = "the line was not recorded: the call came from outside the script's own code"
        return Finding(
            code=self.code,
            name=self.name,
            severity=severity or self.severity,
            message=message,
            confidence=confidence,
            step=step,
            culprit=culprit,
            related=tuple(place for place in dict.fromkeys(related) if not _same_line(place, culprit)),
            explanation=explanation,
            fix=fix,
            fixes=tuple(fixes),
            nodes=tuple(dict.fromkeys(nodes)),
            no_place=no_place if culprit is None else None,
        )


def finding_of(case: Case, rule: Rule, told: Told | None) -> Iterator[Finding]:
    """The finding of a rule that says what an error of torch's means; none if it is another error."""
    if told is None:
        return
    event, cause = told.event, told.cause
    struck = case.place(event.moment.stack, cause.struck)
    culprit = cause.place
    elsewhere = (
        struck is not None and culprit is not None and (struck.file, struck.line) != (culprit.file, culprit.line)
    )
    yield rule.finding(
        told.message,
        culprit=culprit,
        step=event.step.number,
        confidence=CERTAIN,
        related=(struck,) if struck is not None and elsewhere else (),
        explanation=told.why,
        fix=told.fix,
        fixes=told.fixes,
    )


@dataclass(frozen=True, slots=True)
class Check:
    """One search through the evidence. `run` yields findings of `rules`, any number, in any order.

    `package`: the one that it comes from, "" for gradscope.
    """

    rules: tuple[Rule, ...]
    run: Callable[[Case], Iterable[Finding]]
    package: str = ""

    @property
    def name(self) -> str:
        return self.run.__name__


def check(*rules: Rule) -> Callable[[Callable[[Case], Iterable[Finding]]], Check]:
    """Make a check of a function that yields findings of `rules`."""

    def make(run: Callable[[Case], Iterable[Finding]]) -> Check:
        return Check(rules, run)

    return make


def _same_line(place: Place, other: Place | None) -> bool:
    return other is not None and (place.file, place.line) == (other.file, other.line) and not place.note
