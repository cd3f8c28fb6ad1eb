"""Checks of other packages: found by their entry point, imported when all checks are asked for, never in the way."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gradscope.diagnose import all_checks, all_rules, judge, page, rule
from gradscope.diagnose.registry import CHECKS, RULES
from gradscope.model.findings import Finding, Severity
from tests.builders import ab2_trace
from tests.plugged import CHECK, install


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder of installed packages."""
    monkeypatch.syspath_prepend(tmp_path)
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]


def found_by_all() -> list[Finding]:
    return judge(ab2_trace(), checks=all_checks())


def test_a_check_of_another_package_is_made(folder: Path) -> None:
    install(folder)
    (finding,) = (one for one in found_by_all() if one.code == "ACME001")
    assert (finding.name, finding.message) == ("backward-seen", "a backward ran")
    assert finding.culprit is not None
    assert all_checks()[: len(CHECKS)] == CHECKS
    assert all_checks()[-1].package == "acme"


def test_its_code_has_a_page_and_can_be_chosen(folder: Path) -> None:
    install(folder)
    known = rule("acme001", all_rules())
    assert page(known).startswith("# ACME001 backward-seen\n")
    assert rule("backward-seen", all_rules()) is known
    chosen = judge(ab2_trace(), select=["ACME"], checks=all_checks())
    assert [one.code for one in chosen] == ["ACME001"]
    assert "ACME001" not in [one.code for one in judge(ab2_trace(), ignore=["ACME"], checks=all_checks())]


def test_a_rule_without_a_page_has_its_title(folder: Path) -> None:
    install(folder, module=CHECK.replace(", page=PAGE", ""))
    assert page(all_rules()["ACME001"]) == "# ACME001 backward-seen\n\nA backward ran.\n"


def test_it_is_imported_only_when_all_checks_are_asked_for(folder: Path) -> None:
    install(folder, module=f"raise AssertionError\n{CHECK}")
    assert judge(ab2_trace()) == []
    assert rule("GS101").code == "GS101"
    assert "acme_checks" not in sys.modules


@pytest.mark.parametrize(
    ("module", "value", "why"),
    [
        ("import not_there_at_all", "", "No module named 'not_there_at_all'"),
        ("def", "", "SyntaxError"),
        ("raise SystemExit(3)", "", "SystemExit"),
        ("x = 1", "", "not iterable"),
        ("CHECKS = (print,)", "", "not a check"),
        (CHECK, "acme_checks:NOTHING", "NOTHING"),
        (CHECK.replace("ACME001", "GS101"), "", "the code GS101 is one of gradscope's"),
    ],
)
def test_a_package_that_cannot_be_used_is_one_line(folder: Path, module: str, value: str, why: str) -> None:
    install(folder, module=module, value=value)
    install(folder, "zeta", CHECK.replace("ACME001", "ZETA001"))
    found = found_by_all()
    (excuse,) = (one for one in found if one.code == "GS000")
    assert excuse.severity is Severity.NOTE
    assert excuse.message.startswith("the checks of the package acme (acme_checks")
    assert why in excuse.message
    assert "\n" not in excuse.message
    assert "ZETA001" in [one.code for one in found]
    assert RULES.keys() < all_rules().keys()


def test_two_packages_with_one_code_are_told_apart(folder: Path) -> None:
    install(folder)
    install(folder, "zeta")
    found = found_by_all()
    assert [one.code for one in found].count("ACME001") == 1
    (excuse,) = (one for one in found if one.code == "GS000")
    assert "zeta" in excuse.message
    assert "the code ACME001 is one of acme's" in excuse.message


@pytest.mark.parametrize("body", ["raise ValueError('no')", "yield 'a finding'"])
def test_a_check_that_fails_names_its_package(folder: Path, body: str) -> None:
    install(folder, module=CHECK.replace("    for event", f"    {body}\n    for event"))
    (note,) = (one for one in found_by_all() if one.code == "GS000")
    assert "backward_seen (ACME001) failed" in note.message
    assert note.no_place == "this is a fault of the package acme, not of the script"
