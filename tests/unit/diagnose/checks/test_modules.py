"""Each module of checks is registered, and its rules are its own."""

from __future__ import annotations

import pkgutil
from collections import Counter
from importlib import import_module

from gradscope.diagnose import checks
from gradscope.diagnose.registry import CHECKS

MODULES = [import_module(f"{checks.__name__}.{info.name}") for info in pkgutil.iter_modules(checks.__path__)]


def test_every_module_is_registered() -> None:
    assert {check for module in MODULES for check in module.CHECKS} == set(CHECKS)


def test_a_rule_belongs_to_one_module() -> None:
    owners = Counter(rule.code for module in MODULES for rule in {r for check in module.CHECKS for r in check.rules})
    assert {code: count for code, count in owners.items() if count > 1} == {}
