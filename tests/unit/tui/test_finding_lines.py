"""All lines of a finding, and where each leads."""

from __future__ import annotations

from gradscope.model.findings import Finding, Place, Severity
from gradscope.model.fixes import Edit, Fix, Patch
from gradscope.tui.finding_lines import CodeLine, FindingLine, lines_of

EDIT = Edit(6, ("    y.mul_(2)",), ("    y = y * 2",))
FOUND = Finding(
    "GS101", "saved-tensor-modified", Severity.ERROR, "y was changed", 0.9, 0,
    Place("src/train.py", 6, "    y.mul_(2)"),
    (Place("src/train.py", 4, "y = x.exp()", "saved here", "x.exp()"), Place("src/net.py", 9, "z")),
    "exp keeps its result", "make a new tensor",
    fixes=(Fix("use mul", "a copy is made", Patch("src/train.py", "", (EDIT,))),),
)  # fmt: skip


def test_what_a_finding_has_to_say_and_where_it_leads() -> None:
    assert list(lines_of(FOUND)) == [
        FindingLine("here", "train.py:6  y.mul_(2)"),
        FindingLine("saved here", "train.py:4  y = x.exp()", CodeLine("src/train.py", 4, "x.exp()")),
        FindingLine("see", "net.py:9  z", CodeLine("src/net.py", 9)),
        FindingLine("why", "exp keeps its result"),
        FindingLine("fix", "make a new tensor"),
        FindingLine("patch", "use mul (a copy is made)"),
        FindingLine("", "    6 -     y.mul_(2)", CodeLine("src/train.py", 6)),
        FindingLine("", "      +     y = y * 2", CodeLine("src/train.py", 6)),
    ]


def test_a_finding_without_a_line_says_why() -> None:
    found = Finding("GS1", "n", Severity.NOTE, "m", 1.0, no_place="it lies in a library")
    assert list(lines_of(found)) == [FindingLine("here", "no line of yours: it lies in a library")]
