"""Fixes that are tried: each patch on a copy of its file, in a run of the script of its own."""

from __future__ import annotations

import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ..diagnose.trials import Run, run_of, trial_of
from ..errors import GradscopeError
from ..model.findings import Finding, Severity
from ..model.fixes import Fix, Patch, Trial
from ..model.trace import Trace
from ..repair.apply import patched
from ..store import open_trace
from .child import command, stop_group
from .terminal import say

Judge = Callable[[Trace], list[Finding]]

_LEAST = 60.0  # seconds that a trial is given
_SLOWER = 5.0  # times the first run, which may have ended early in an error


@dataclass(frozen=True, slots=True)
class Trials:
    """Runs of one script with its arguments, each judged as the first run was. `timeout`: seconds for each."""

    script: str
    arguments: Sequence[str]
    judge: Judge
    before: Run
    timeout: float

    @classmethod
    def after(
        cls,
        trace: Trace,
        found: Sequence[Finding],
        script: str,
        arguments: Sequence[str],
        judge: Judge,
        timeout: float | None,
    ) -> Trials:
        """Trials beside the run that left `trace` with what was found in it."""
        limit = timeout or max(_LEAST, _SLOWER * (trace.info.duration or 0.0))
        return cls(script, arguments, judge, run_of(trace, found), limit)

    def tried(self, findings: Sequence[Finding]) -> list[Finding]:
        """The findings with their patches tried: of each the first that works, which then comes first."""
        able = [one for one in findings if one.severity is not Severity.NOTE and one.patched is not None]
        turn = iter(range(1, len(able) + 1))
        return [self._tried(one, f"{next(turn)} of {len(able)}") if one in able else one for one in findings]

    def _tried(self, finding: Finding, turn: str) -> Finding:
        say(f"gradscope: trying the fix of {finding.code} ({turn})")
        fixes: list[Fix] = list(finding.fixes)
        for number, fix in enumerate(fixes):
            if fix.patch is not None:
                fixes[number] = fix.tried(self._trial(finding, fix.patch))
                if fixes[number].verified:
                    break
        fixes.sort(key=lambda fix: (fix.verified is not True, fix.verified is False))
        return replace(finding, fixes=tuple(fixes))

    def _trial(self, finding: Finding, patch: Patch) -> Trial:
        with tempfile.TemporaryDirectory(prefix="gradscope-") as folder:
            copy, trace = Path(folder, Path(patch.file).name), Path(folder, "trial.gradscope")
            try:
                copy.write_bytes(patched(Path(patch.file).read_bytes(), patch))
                ended = self._run(copy, patch.file, trace)
                if ended is not None or not trace.is_file():
                    return Trial(ended or "it could not be run", ran=False, gone=False)
                with open_trace(str(trace)) as opened:
                    return trial_of(finding, patch, self.before, run_of(opened, self.judge(opened)))
            except (GradscopeError, OSError) as error:
                return Trial(f"it could not be tried: {error}", ran=False, gone=False)

    def _run(self, copy: Path, file: str, trace: Path) -> str | None:
        """Run the script with a copy in the place of a file; why it was stopped, if it was."""
        words = command(
            "trace", "--quiet", "--detail", "full", "-o", str(trace), "--stand-in", str(copy), "--instead-of", file
        )
        began = time.monotonic()
        null = subprocess.DEVNULL
        with subprocess.Popen(
            [*words, "--", self.script, *self.arguments], stdin=null, stdout=null, stderr=null, start_new_session=True
        ) as child:
            try:
                child.wait(self.timeout)
            except subprocess.TimeoutExpired:
                stop_group(child)
                return f"it was still running after {time.monotonic() - began:.0f} s"
            except BaseException:
                stop_group(child)
                raise
        return None
