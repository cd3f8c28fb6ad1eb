"""`judge`: runs every check apart from the others, and orders what they found."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from ..errors import UnknownName
from ..model.collector import collector_waits
from ..model.findings import Finding, Place, Severity, in_order
from ..model.records import Detail
from ..model.trace import Step, Trace
from ..model.watching import recorded_exactly
from ..text import elide_list, plural, raised
from .evidence.index import Case
from .registry import CHECK_FAILED, CHECKS, RULES, TOO_LITTLE, UNEXPLAINED, rules_of
from .rules import CERTAIN, POSSIBLE, Check, Rule

_IGNORE = re.compile(r"#\s*gradscope:\s*ignore(?:\[([^\]]*)\])?", re.IGNORECASE)


def judge(
    trace: Trace,
    *,
    select: Sequence[str] = (),
    ignore: Sequence[str] = (),
    checks: Sequence[Check] = CHECKS,
) -> list[Finding]:
    """What is wrong in `trace`, the most likely culprit first.

    `select` and `ignore` are codes or their beginnings (`GS1`); no `select` takes all. A line with
    the comment `# gradscope: ignore[GS101]` (or without a code: all) has no finding. A check that
    fails becomes a note; the others go on. `checks` are gradscope's own; `all_checks()` has those of other packages
    too. Raises UnknownName for a code that no rule begins with.
    """
    rules = rules_of(checks)
    for prefix in (*select, *ignore):
        if not any(code.startswith(prefix.upper()) for code in {**RULES, **rules}):
            raise UnknownName("finding", prefix, rules)
    case = Case(trace)
    with collector_waits():
        found = [finding for check in checks for finding in _apart(check, case)]
        found += map(_no_patch, case.faults)
    found = list(_kept(_merged(_causes(found, rules)), _chooser(select, ignore)))
    left = _kept(_left_open(case, found), _chooser(select, ignore))
    return in_order([_with_what_was_seen(case, finding) for finding in (*found, *left)])


def _apart(check: Check, case: Case) -> list[Finding]:
    """The findings of one check; if it fails, what it found until then and a note."""
    found: list[Finding] = []
    try:
        for finding in check.run(case):
            if not isinstance(finding, Finding):
                raise TypeError(f"a check yields findings, not {type(finding).__name__}")
            found.append(finding)
    except Exception as error:  # noqa: BLE001  # one check's fault must not cost the others
        codes = ", ".join(rule.code for rule in check.rules)
        whose = f"the package {check.package}" if check.package else "gradscope"
        found.append(
            CHECK_FAILED.finding(
                f"the check {check.name} ({codes}) failed: {raised(type(error).__name__, error)}",
                culprit=None,
                confidence=CERTAIN,
                no_place=f"this is a fault of {whose}, not of the script",
                fix="report it, with the trace if you can share it; the other checks were made",
            )
        )
    return found


def _no_patch(fault: str) -> Finding:
    """A patch that could not be made is told of; the finding that it was for stands."""
    return CHECK_FAILED.finding(
        fault,
        culprit=None,
        confidence=CERTAIN,
        no_place="this is a fault of gradscope, not of the script",
        fix="report it, with the script if you can share it; the words of the fix hold",
    )


def _with_what_was_seen(case: Case, finding: Finding) -> Finding:
    """A finding in a step whose ops were not watched says so, and what records them."""
    row = case.by_number.get(finding.step) if finding.step is not None else None
    known = Step(case.trace, row).unwatched if row is not None else None
    if known is None or (finding.fix and known.command in finding.fix):
        return finding
    return replace(finding, explanation=f"{finding.explanation} Step {finding.step}: {known}.".strip())


def _left_open(case: Case, found: Sequence[Finding]) -> Iterator[Finding]:
    """An exception that no finding explains, and a recording that has too little to judge."""
    failure = case.failure
    if failure is not None and failure.moment.type == "KeyboardInterrupt":
        failure = None  # the user wished it
    if failure is not None and not any(_explains(finding, case.place(failure.moment.stack)) for finding in found):
        told = failure.moment
        yield UNEXPLAINED.finding(
            f"the script failed with {raised(told.type, told.message.partition(chr(10))[0])}",
            culprit=case.place(told.stack),
            step=failure.step.number,
            confidence=POSSIBLE,
            explanation="No check explains this exception; its traceback names the line where it struck.",
            fix="read the traceback",
        )
    elif case.failure is None and case.info.status == "failed" and not case.info.interrupted:
        yield UNEXPLAINED.finding(
            f"the script failed with {(case.info.error or 'an exception').partition(chr(10))[0]}",
            culprit=None,
            no_place="the step in which it was raised is not in the trace",
            confidence=POSSIBLE,
            explanation="No check explains this exception; its traceback names the line where it struck.",
            fix="read the traceback",
        )
    if case.info.detail is Detail.STEPS:
        yield TOO_LITTLE.finding(
            "only steps were recorded (--detail steps): most checks had nothing to look at",
            culprit=None,
            confidence=CERTAIN,
            no_place="this is about the recording",
            fix="gradscope check SCRIPT, or record with --detail full",
        )
    elif case.info.faults:
        yield TOO_LITTLE.finding(
            f"not recorded: {elide_list(case.info.faults, 1, '; ')}",
            culprit=None,
            confidence=CERTAIN,
            no_place="this is about the recording",
        )
    light = [] if case.info.detail is Detail.STEPS else [row for row in case.rows if row.light]
    if light:
        yield TOO_LITTLE.finding(
            f"the ops of {len(light):,} of {plural(len(case.trace.steps), 'step')} were not recorded, so what they did "
            "was not judged",
            culprit=None,
            confidence=CERTAIN,
            no_place="this is about the recording",
            fix=f"{recorded_exactly(case.info)} records each op of each step",
        )
    for step in case.distinct:
        if step.broken is not None:
            repeats = len(case.repeats(step)) - 1
            more = f" and {plural(repeats, 'step')} like it" if repeats else ""
            yield TOO_LITTLE.finding(
                f"step {step.number}{more} could not be judged: what it did is damaged in the trace ({step.broken})",
                culprit=None,
                step=step.number,
                confidence=CERTAIN,
                no_place="this is about the recording",
            )


def _explains(finding: Finding, struck: Place | None) -> bool:
    """Whether a finding may be why the script failed: an error, or a warning that names the line where it struck."""
    if finding.severity is not Severity.WARNING or struck is None:
        return finding.severity is Severity.ERROR
    named = {(place.file, place.line) for place in (finding.culprit, *finding.related) if place is not None}
    return (struck.file, struck.line) in named


def _causes(found: Sequence[Finding], rules: Mapping[str, Rule]) -> Iterator[Finding]:
    """Without the consequences of what else was found."""
    codes = {finding.code for finding in found if finding.severity is not Severity.NOTE}
    for finding in found:
        rule = rules.get(finding.code)
        if rule is None or not rule.yields_to & codes:
            yield finding


def _merged(found: Iterable[Finding]) -> Iterator[Finding]:
    """One finding for each code and line: the most confident, of equals the first."""
    best: dict[object, Finding] = {}
    for finding in found:
        place = finding.culprit
        key = (finding.code, place.file, place.line) if place else (finding.code, finding.message)
        if key not in best or finding.confidence > best[key].confidence:
            best[key] = finding
    return iter(best.values())


def _kept(found: Iterable[Finding], chosen: Callable[[str], bool]) -> Iterator[Finding]:
    for finding in found:
        if chosen(finding.code) and not _silenced(finding):
            yield finding


def _chooser(select: Sequence[str], ignore: Sequence[str]) -> Callable[[str], bool]:
    wanted, unwanted = tuple(one.upper() for one in select), tuple(one.upper() for one in ignore)
    return lambda code: (not wanted or code.startswith(wanted)) and not (unwanted and code.startswith(unwanted))


def _silenced(finding: Finding) -> bool:
    """Whether the culprit's line asks not to be judged."""
    comment = _IGNORE.search(finding.culprit.code) if finding.culprit else None
    if comment is None:
        return False
    codes = [code.strip().upper() for code in (comment[1] or "").split(",") if code.strip()]
    return not codes or finding.code in codes
