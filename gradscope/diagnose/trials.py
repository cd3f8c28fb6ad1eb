"""What a run with a patch shows: whether the finding is gone, and what came or stopped instead."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ..model.findings import Finding, Severity
from ..model.fixes import Patch, Trial
from ..model.moments import Backward
from ..model.order import reached
from ..model.records import StepRow
from ..model.trace import Trace
from .evidence.dataflow import Dataflow
from .evidence.index import Case
from .evidence.parameters import Ownership, untrained
from .evidence.wording import parameter_name


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a script as a trial compares it: how it ended, what was found, and which parameters trained.

    `trained` and `untrained` are names of parameters that an optimizer has: with a gradient, and without any; `met`
    those of its parameters that lie behind a loss whose backward failed; `known` those of all parameters that nobody
    froze. `finite`: whether no loss, gradient or parameter was NaN or Inf.
    """

    findings: tuple[Finding, ...]
    status: int | None
    error: str | None
    trained: frozenset[str]
    untrained: frozenset[str]
    met: frozenset[str]
    known: frozenset[str]
    finite: bool

    @property
    def outcome(self) -> str:
        """How it ended, in a few words."""
        if self.error is not None:
            return f"it failed with {self.error.partition(chr(10))[0]}"
        return "it ran to its end" if not self.status else f"it ended with exit status {self.status}"


def run_of(trace: Trace, findings: Sequence[Finding]) -> Run:
    """What a trace and its findings say of a run."""
    case, info = Case(trace), trace.info
    known = untrained(case)
    owned = {one for members in case.members.values() for one in members}
    error = info.error if info.status == "failed" else None
    if info.status not in ("done", "failed"):
        error = "no word: the process was killed"
    return Run(
        tuple(findings),
        info.exit_status,
        error,
        frozenset(_name(case, one) for one in known.trained & owned),
        frozenset(_name(case, one) for one in known.parameters),
        frozenset(_name(case, one) for one in _met(case) & owned),
        frozenset(_name(case, one) for one in case.parameters if not _frozen(case, one)),
        all(math.isfinite(value) for row in case.rows for value in _numbers(row)),
    )


def _frozen(case: Case, parameter: int) -> bool:
    """Whether the script said last that a parameter shall want no gradient."""
    facts = Ownership.of(case).wanted.get(parameter)
    return facts is not None and len(facts) > 0 and facts[-1].what == "False"


def _met(case: Case) -> set[int]:
    """The parameters behind the losses whose backwards failed, those behind a cut as well: all of them are to train.

    Not those behind a gradient alone, which may not depend on them: a derivative knows nothing of a last bias.
    """
    found: set[int] = set()
    for event in case.events(Backward):
        if event.moment.error is not None:
            flow = Dataflow.of(case, event.step)

            def sources(tensor: int, flow: Dataflow = flow, end: int = event.position) -> Iterator[int]:
                for op in flow.writers.get(tensor, ()):
                    if op < end and flow.ops[op].name != "grad":
                        yield from flow.ops[op].inputs

            found.update(event.step.parameters_of(sorted(reached(event.moment.roots, sources))))
    return {one for one in found if case.parameters[one].requires_grad}


def _numbers(row: StepRow) -> Iterator[float]:
    """The loss of a step and the norms of its parameters and gradients, as far as they were recorded."""
    for value in (row.loss, *(one for _, *norms in row.norms for one in norms)):
        if value is not None:
            yield value


def _name(case: Case, parameter: int) -> str:
    known = case.parameters[parameter]
    return f"{known.root}.{parameter_name(case, parameter)}".lstrip(".")


def trial_of(finding: Finding, patch: Patch, before: Run, after: Run) -> Trial:
    """How a run with the patch for `finding` went, beside the one without it."""
    wanted = _mapped(finding, patch)
    known = {_mapped(one, patch) for one in before.findings if _loud(one)} - {wanted}
    keys = [(_key(one), one) for one in after.findings]
    return Trial(
        outcome=after.outcome,
        ran=after.error is None and after.status in (0, None, before.status if before.error is None else 0),
        gone=all(key != wanted for key, _ in keys),
        others=tuple(dict.fromkeys(_told(one) for key, one in keys if _loud(one) and key not in known | {wanted})),
        stopped=tuple(sorted(((before.trained | before.met) & after.known) - after.trained)),
        untrained=tuple(sorted(after.untrained)),
        spoilt=before.finite and not after.finite,
    )


def _loud(finding: Finding) -> bool:
    return finding.severity is not Severity.NOTE


def _key(finding: Finding) -> tuple[object, ...]:
    place = finding.culprit
    return (finding.code, place.file, place.line) if place is not None else (finding.code, finding.message)


def _mapped(finding: Finding, patch: Patch) -> tuple[object, ...]:
    """A finding's key in the patched file."""
    place = finding.culprit
    if place is None or place.file != patch.file:
        return _key(finding)
    return finding.code, place.file, patch.line_after(place.line)


def _told(finding: Finding) -> str:
    place = f" at {finding.culprit.file}:{finding.culprit.line}" if finding.culprit is not None else ""
    return f"{finding.code} {finding.name}{place}"
