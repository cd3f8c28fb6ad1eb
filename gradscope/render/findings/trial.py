"""Fixes in words: what a patch means, and how it went when it was tried."""

from __future__ import annotations

from collections.abc import Iterator

from ...model.fixes import Fix, Trial
from ...text import elide_list, plural


def headline(fix: Fix) -> str:
    """What a fix does and means, and whether it works, in one line."""
    meaning = f" ({fix.meaning})" if fix.meaning else ""
    tried = f": {went(fix.trial)}" if fix.trial is not None else ""
    return f"{fix.words}{meaning}{tried}"


def went(trial: Trial) -> str:
    """How a trial went, in a sentence."""
    untrained = f"; still without a gradient: {elide_list(trial.untrained, 3)}" if trial.untrained else ""
    if trial.works:
        return f"tried, it works{untrained}"
    if trial.mends:
        came = f"{plural(len(trial.others), 'other')} came: {elide_list(trial.others, 2)}"
        return f"tried, {trial.outcome} and the finding is gone, but {came}{untrained}"
    parts = [trial.outcome]
    if trial.ran and not trial.gone:
        parts.append("the finding is still there")
    if trial.others:
        parts.append(f"{plural(len(trial.others), 'finding')} came: {elide_list(trial.others, 2)}")
    if trial.stopped:
        parts.append(f"not trained with it: {elide_list(trial.stopped, 3)}")
    if trial.spoilt:
        parts.append("numbers became NaN or Inf")
    return f"tried, it does not work: {'; '.join(parts)}{untrained}"


def shown(fix: Fix) -> bool:
    """Whether its lines are worth a look: not those of a patch that was tried and mends nothing."""
    return fix.trial is None or fix.trial.mends


def changed_lines(fix: Fix) -> Iterator[tuple[str, str, str]]:
    """(number or "", "-" or "+", text) of each line that goes or comes; one that only comes has its place's number."""
    for edit in fix.patch.edits if fix.patch is not None else ():
        yield from ((str(edit.line + place), "-", code) for place, code in enumerate(edit.old))
        first = "" if edit.old else str(edit.line)
        yield from ((first if place == 0 else "", "+", code) for place, code in enumerate(edit.new))
