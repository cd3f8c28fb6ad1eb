"""`check --fix`: writes patches into the user's files, after asking."""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Sequence

from ..errors import PatchRefused
from ..model.findings import Finding, Severity
from ..model.fixes import Fix
from ..repair.apply import combined, write_patch
from ..text import plural, printable
from .terminal import complain, say


def write_fixes(findings: Sequence[Finding], *, ask: bool) -> list[Finding]:
    """Write a patch for each error and warning that has one which did not fail; returns the findings that are left.

    A file is written once, with its old content beside it.
    """
    chosen: dict[str, list[tuple[Finding, Fix]]] = defaultdict(list)
    for finding in findings:
        fix = finding.patched
        if finding.severity is Severity.NOTE or fix is None or fix.patch is None:
            continue
        if fix.verified is False:
            say(f"gradscope: the fix of {finding.code} is not written: it does not work")
        elif not ask or _wanted(finding, fix):
            chosen[fix.patch.file].append((finding, fix))
    written: list[Finding] = []
    for file, pairs in chosen.items():
        try:
            patch = combined(fix.patch for _, fix in pairs if fix.patch is not None)
            backup = write_patch(patch)
        except PatchRefused as error:
            complain(str(error))
            continue
        written += [finding for finding, _ in pairs]
        say(printable(f"gradscope: wrote {plural(len(pairs), 'fix', 'fixes')} into {file}; it was kept as {backup}"))
    if not written:
        say("gradscope: nothing was written")
    return [finding for finding in findings if finding not in written]


def _wanted(finding: Finding, fix: Fix) -> bool:
    """Ask at the terminal; no answer is no."""
    assert fix.patch is not None
    say(printable(f"{finding.code}: {fix.words}"))
    for line in fix.patch.diff().splitlines():
        say(printable(line))
    print("write this fix? [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")
