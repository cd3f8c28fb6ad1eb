"""Fixes that are tried in a test: the script of `judging` runs once more with a patch."""

from __future__ import annotations

from gradscope.diagnose import judge
from gradscope.diagnose.trials import run_of, trial_of
from gradscope.model.findings import Finding
from gradscope.model.fixes import Fix, Trial
from gradscope.repair.apply import patched
from gradscope.store import open_trace
from tests.judging import Judging


def tried(judging: Judging, finding: Finding, fix: Fix) -> Trial:
    """How the script runs with a fix of the finding that `judging` made."""
    assert fix.patch is not None
    copy, trace = judging.folder / "copy", judging.folder / "trial.gradscope"
    copy.write_bytes(patched((judging.folder / fix.patch.file).read_bytes(), fix.patch))
    stands = ("--stand-in", str(copy), "--instead-of", fix.patch.file)
    judging.server.traced("--quiet", "--detail", "full", *stands, "-o", str(trace), "script.py", folder=judging.folder)
    with open_trace(judging.folder / "script.gradscope") as opened:
        before = run_of(opened, judge(opened))
    with open_trace(trace) as opened:
        after = run_of(opened, judge(opened))
    trace.unlink()
    return trial_of(finding, fix.patch, before, after)


def first(judging: Judging, script: str, code: str) -> Finding:
    """The first finding of this code."""
    found = [one for one in judging(script) if one.code == code]
    assert found, judging.ran
    return found[0]


def lines_of(fix: Fix) -> list[str]:
    """The lines that a fix makes, without indentation."""
    assert fix.patch is not None
    return [line.strip() for edit in fix.patch.edits for line in edit.new]
