"""What a view is made of: nodes, edges and modules in words."""

from __future__ import annotations

from dataclasses import dataclass

from .. import text
from ..model.findings import Finding
from ..model.graph import EdgeKind
from .parts import PartView
from .words import Role, badge_word, finding_name

_MESSAGE, _BADGE, _MOST = 200, 48, 4  # characters of a message and of a badge, messages


@dataclass(frozen=True, slots=True)
class NodeView:
    """One node in words. `rows` are (key, value) of the leaf table; `marks` are keys of `BADGES`.

    `findings` are those that name it or something it stands for, the gravest first. `parts` are lines about what is
    drawn inside it. `caption` is the role in a word, "" where there is no room; `count` is how many equal nodes it
    stands for, beyond those that its module stands for. `group` is its module's path, `place` the same in words.
    """

    id: int
    role: Role
    title: str
    caption: str
    type_line: str
    rows: tuple[tuple[str, str], ...]
    notes: tuple[str, ...]
    marks: tuple[str, ...]
    count: int
    group: str
    place: str
    tooltip: str
    source: str | None
    link: str | None
    backward: bool
    findings: tuple[Finding, ...] = ()
    parts: tuple[PartView, ...] = ()

    @property
    def heading(self) -> str:
        """The title, with ×N for a folded run of equals."""
        return f"{self.title} ×{self.count:,}" if self.count > 1 else self.title

    @property
    def badges(self) -> tuple[str, ...]:
        """`marks` in words; a finding's is its code and name."""
        return tuple(self._badge(mark) for mark in self.marks)

    @property
    def messages(self) -> tuple[str, ...]:
        """What its findings say."""
        said = dict.fromkeys(text.printable(finding.message) for finding in self.findings)
        return tuple(text.elide(message, _MESSAGE) for message in list(said)[:_MOST])

    def _badge(self, mark: str) -> str:
        found = [finding_name(finding) for finding in self.findings if finding.severity.value == mark]
        return ", ".join(found) or text.elide(badge_word(mark), _BADGE)


@dataclass(frozen=True, slots=True)
class EdgeView:
    """One edge in words. `label` is "" where the picture needs none.

    `loops`: it leads from one of equal blocks to the next, and they are drawn once.
    """

    source: int
    target: int
    kind: EdgeKind
    label: str
    tooltip: str
    loops: bool = False


@dataclass(frozen=True, slots=True)
class ModuleView:
    """One module that nodes lie in: its path, its parent's, its name there, class and ×N.

    `path` and `parent` are keys; what is shown are `heading`, `type` and `tooltip`.
    """

    path: str
    parent: str
    name: str
    type: str
    count: int

    @property
    def heading(self) -> str:
        """The name, with ×N for a folded run of equals."""
        return f"{self.name} ×{self.count:,}" if self.count > 1 else self.name

    @property
    def tooltip(self) -> str:
        return f"{text.printable(self.path)}  {self.type}".rstrip()
