"""Checks of other packages: installed ones that have the entry point `gradscope.checks`.

An entry point names a module with `CHECKS`, as each module of `checks` has. It is imported when somebody asks for all
checks (`gradscope check`, `trace.findings()`, `gradscope explain`), never when a trace is drawn, viewed or summed up.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from importlib.metadata import EntryPoint, entry_points

from ..model.findings import Finding
from ..text import raised
from .evidence.index import Case
from .registry import CHECK_FAILED, CHECKS, RULES, rules_of
from .rules import CERTAIN, Check, Rule

GROUP = "gradscope.checks"


def all_checks() -> tuple[Check, ...]:
    """Gradscope's own checks and those of other packages. In place of one that cannot be used stands its excuse."""
    return (*CHECKS, *_plugged_in())


def all_rules() -> dict[str, Rule]:
    """The rules of all checks by their codes, in order."""
    return {**RULES, **rules_of(_plugged_in())}


def _plugged_in() -> Iterator[Check]:
    taken = dict.fromkeys(RULES, "gradscope")
    for point in sorted(entry_points(group=GROUP), key=lambda point: (point.name, point.value)):
        package = point.dist.name if point.dist is not None else point.name
        try:
            checks = _loaded(point)
            for code in (rule.code for check in checks for rule in check.rules):
                if taken.setdefault(code, package) != package:
                    raise ValueError(f"the code {code} is one of {taken[code]}'s")
        except (Exception, SystemExit) as error:  # noqa: BLE001  # one package's fault must not cost the other checks
            yield _excuse(package, point.value, raised(type(error).__name__, error))
        else:
            yield from (replace(check, package=package) for check in checks)


def _loaded(point: EntryPoint) -> tuple[Check, ...]:
    """The checks that an entry point names. Raises whatever its module raises, TypeError for what are no checks."""
    loaded = point.load()
    checks = tuple(getattr(loaded, "CHECKS", loaded))
    if not all(isinstance(check, Check) for check in checks):
        raise TypeError("CHECKS holds something that is not a check")
    return checks


def _excuse(package: str, value: str, why: str) -> Check:
    """A check that finds nothing but why those of a package were not made."""

    def unusable(case: Case) -> Iterator[Finding]:
        del case
        yield CHECK_FAILED.finding(
            f"the checks of the package {package} ({value}) cannot be used: {why}",
            culprit=None,
            confidence=CERTAIN,
            no_place="this is a fault of that package, not of the script",
            fix=f"update {package}, or uninstall it; the other checks were made",
        )

    return Check((CHECK_FAILED,), unusable, package)
