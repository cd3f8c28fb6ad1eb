"""All checks and rules, in the order of their codes."""

from __future__ import annotations

from importlib import resources

from ..errors import UnknownName
from ..model.findings import Severity
from . import (
    clipping,
    detaching,
    devices,
    drift,
    flow,
    forgotten,
    functions,
    growing,
    leaves,
    loss,
    lost_updates,
    misfit,
    modes,
    numbers,
    order,
    ownership,
    pace,
    path,
    raised,
    refused,
    rounding,
    saved,
    second_backward,
    ties,
    unseen,
)
from .check import Check, Rule

# One module for each family of mistakes, in the order of their codes.
_FAMILIES = (
    saved,
    unseen,
    raised,
    path,
    rounding,
    second_backward,
    growing,
    detaching,
    modes,
    leaves,
    lost_updates,
    forgotten,
    refused,
    order,
    clipping,
    pace,
    ownership,
    drift,
    ties,
    misfit,
    numbers,
    functions,
    flow,
    loss,
    devices,
)
CHECKS: tuple[Check, ...] = tuple(check for family in _FAMILIES for check in family.CHECKS)
# What the judgement says of itself, not of a cause.
CHECK_FAILED = Rule("GS000", "check-failed", Severity.NOTE, "A check could not be made on this trace.")
UNEXPLAINED = Rule("GS001", "unexplained-failure", Severity.ERROR, "The script failed, and no check explains why.")
TOO_LITTLE = Rule("GS002", "recorded-too-little", Severity.NOTE, "The trace holds too little to judge all of the run.")
OWN = (CHECK_FAILED, UNEXPLAINED, TOO_LITTLE)

RULES: dict[str, Rule] = {
    one.code: one for one in sorted({*OWN, *(one for check in CHECKS for one in check.rules)}, key=lambda r: r.code)
}


def rule(name: str) -> Rule:
    """The rule of a code (`GS101`) or name (`saved-tensor-modified`). Raises UnknownName, with the nearest."""
    found = RULES.get(name.upper()) or next((one for one in RULES.values() if one.name == name.lower()), None)
    if found is None:
        raise UnknownName("finding", name, RULES)
    return found


def page(rule: Rule) -> str:
    """The page of a rule, Markdown: what it means, why it is wrong, an example, the fix."""
    return (resources.files(__package__) / "pages" / f"{rule.code}.md").read_text(encoding="utf-8")
