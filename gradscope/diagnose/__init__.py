"""The judgement: reads a trace, names the lines that are wrong, says why and what to change.

`judge(trace)` is the whole of it for a reader. Each family of mistakes is one module of `checks`, which ask `evidence`;
`registry` lists them, `plugins` finds those of other packages, `runner` runs them apart from each other. What a check
of another package is made of is here, too.
"""

from ..model.findings import Finding, Severity
from .evidence.index import Case
from .plugins import all_checks, all_rules
from .registry import RULES, page, rule
from .rules import CERTAIN, LIKELY, POSSIBLE, SURE, Rule, check
from .runner import judge

__all__ = [
    "CERTAIN",
    "LIKELY",
    "POSSIBLE",
    "RULES",
    "SURE",
    "Case",
    "Finding",
    "Rule",
    "Severity",
    "all_checks",
    "all_rules",
    "check",
    "judge",
    "page",
    "rule",
]
