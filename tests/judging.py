"""Run a script, check it, and read the findings: what the tests of the checks share. See the fixture `judging`."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from gradscope.diagnose import judge
from gradscope.model.findings import Finding, Severity
from gradscope.store import open_trace
from tests.scripts import Ran, ScriptServer


class Judging:
    """Scripts in one folder, traced by a server that has imported torch already."""

    def __init__(self, server: ScriptServer, folder: Path) -> None:
        self.server = server
        self.folder = folder
        self.ran: Ran | None = None

    def __call__(self, script: str, *, detail: str = "full", **files: str) -> list[Finding]:
        """The findings of `script`; `files` are helper modules by name, without `.py`."""
        for name, text in {**files, "script": script}.items():
            (self.folder / f"{name}.py").write_text(textwrap.dedent(text).lstrip("\n"))
        options = ("--quiet", "--force", "--detail", detail, "-o", "script.gradscope")
        self.ran = self.server.traced(*options, "script.py", folder=self.folder)
        with open_trace(self.folder / "script.gradscope") as trace, _in(self.folder):
            return judge(trace)

    def expect(
        self,
        code: str,
        marker: str,
        script: str,
        *,
        file: str = "script.py",
        detail: str = "full",
        **files: str,
    ) -> Finding:
        """The first finding of `script`: it must have `code` and blame the line of `file` with `marker`."""
        found = self(script, detail=detail, **files)
        assert found, f"nothing was found: {self.ran}"
        first = found[0]
        assert first.code == code, [(one.code, one.message) for one in found]
        assert self.blames(first, marker, file), first.culprit
        assert first.explanation, first
        assert first.fix, first
        return first

    def line(self, marker: str, file: str = "script.py") -> int:
        """The number of the one line of `file` that holds `marker`, such as the comment `# culprit`."""
        lines = [n for n, line in enumerate((self.folder / file).read_text().splitlines(), 1) if marker in line]
        assert len(lines) == 1, f"{marker!r} is on lines {lines}"
        return lines[0]

    def blames(self, finding: Finding, marker: str, file: str = "script.py") -> bool:
        """Whether the finding's culprit is the line of `file` that holds `marker`."""
        place = finding.culprit
        return place is not None and (Path(place.file).name, place.line) == (file, self.line(marker, file))


@contextmanager
def _in(folder: Path) -> Iterator[None]:
    """In the folder that the script ran in: there its source is found, which patches are made of."""
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def loud(findings: Sequence[Finding]) -> list[Finding]:
    """Errors and warnings: what a healthy script must not have."""
    return [finding for finding in findings if finding.severity is not Severity.NOTE]
