"""`Finding`: what a check says about a trace. Only the records and their JSON; the checks live in `diagnose`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum

from .codec import from_json, to_json
from .fixes import Fix
from .records import Json

_FIX: dict[str, Json] = {"words": "", "meaning": "", "patch": None, "verified": None, "trial": None}
SCHEMA = "gradscope.findings/1"


class Severity(str, Enum):
    """How bad a finding is."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"

    @property
    def rank(self) -> int:
        """0 for the gravest."""
        return list(Severity).index(self)

    def reaches(self, other: Severity) -> bool:
        """Whether this is at least as grave as `other`."""
        return self.rank <= other.rank


@dataclass(frozen=True, slots=True)
class Place:
    """A line of the user's code and what it has to do with the finding. `file` is as the user gave it.

    `expression` is the very call on that line, where it could be told apart from its neighbours.
    """

    file: str
    line: int
    code: str
    note: str = ""
    expression: str = ""


@dataclass(frozen=True, slots=True)
class Finding:
    """One finding. `confidence` is between 0 and 1; `nodes` are node ids of the step's graph.

    Without a `culprit`, `no_place` says why none of the user's lines is named. `fix` says in words what to do;
    `fixes` are ways to do it, the best first.
    """

    code: str
    name: str
    severity: Severity
    message: str
    confidence: float
    step: int | None = None
    culprit: Place | None = None
    related: tuple[Place, ...] = ()
    explanation: str = ""
    fix: str = ""
    nodes: tuple[int, ...] = ()
    no_place: str | None = None
    fixes: tuple[Fix, ...] = ()

    @property
    def patched(self) -> Fix | None:
        """The best of its fixes that is a patch."""
        return next((fix for fix in self.fixes if fix.patch is not None), None)

    def __post_init__(self) -> None:
        if not 0 <= self.confidence <= 1:
            raise ValueError(f"a confidence lies between 0 and 1, not at {self.confidence}")

    def to_json(self) -> dict[str, Json]:
        """As in the findings file: every key is there, whether or not the finding has something for it."""
        data = to_json(self)
        every: dict[str, Json] = {
            "code": self.code,
            "name": self.name,
            "severity": self.severity.value,
            "step": None,
            "confidence": None,
            "message": self.message,
            "culprit": None,
            "related": [],
            "explanation": "",
            "fix": "",
            "fixes": [],
            "nodes": [],
        }
        fixes: list[Json] = [{**_FIX, **to_json(fix)} for fix in self.fixes]
        return {**every, **data, "fixes": fixes}

    @classmethod
    def from_json(cls, data: object) -> Finding:
        """The finding that `to_json` made `data` from. Raises ValueError for anything else."""
        return from_json(cls, data)


def in_order(findings: Iterable[Finding]) -> list[Finding]:
    """The most likely culprit first: by severity, then confidence; ties as they came."""
    return sorted(findings, key=lambda finding: (finding.severity.rank, -finding.confidence))


def findings_to_json(trace: str, findings: Sequence[Finding]) -> dict[str, Json]:
    """The whole findings file."""
    return {"schema": SCHEMA, "trace": trace, "findings": [finding.to_json() for finding in in_order(findings)]}


def findings_from_json(data: object) -> tuple[str, list[Finding]]:
    """(trace, findings) of a findings file. Raises ValueError for anything else."""
    if not isinstance(data, dict) or data.get("schema") != SCHEMA:
        raise ValueError(f"not a findings file: its schema is not {SCHEMA}")
    trace, found = data.get("trace"), data.get("findings")
    if not isinstance(trace, str) or not isinstance(found, list):
        raise ValueError("a findings file names its trace and lists its findings")
    return trace, [Finding.from_json(item) for item in found]
