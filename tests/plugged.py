"""A package with a check of its own, as pip would install it: a module, and metadata with its entry point."""

from __future__ import annotations

from pathlib import Path

CHECK = '''\
from collections.abc import Iterator

from gradscope.diagnose import LIKELY, Case, Finding, Rule, Severity, check
from gradscope.model.moments import Backward

PAGE = """# ACME001 backward-seen

**What.** A backward ran.
"""
SEEN = Rule("ACME001", "backward-seen", Severity.NOTE, "A backward ran.", page=PAGE)


@check(SEEN)
def backward_seen(case: Case) -> Iterator[Finding]:
    for event in case.events(Backward):
        yield SEEN.finding("a backward ran", culprit=case.place(event.moment.stack), confidence=LIKELY)


CHECKS = (backward_seen,)
'''


def install(folder: Path, package: str = "acme", module: str = CHECK, value: str = "") -> Path:
    """Put a distribution `package` into `folder`, whose entry point names `value`, by default its one module."""
    name = f"{package}_checks"
    (folder / f"{name}.py").write_text(module)
    metadata = folder / f"{package}-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(f"[gradscope.checks]\n{package} = {value or name}\n")
    return folder
