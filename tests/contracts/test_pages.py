"""Every rule has a page, and the codes are what the contract promises."""

import re

from gradscope.diagnose.registry import CHECKS, OWN, RULES, page


def test_every_rule_has_a_page_with_its_four_parts():
    for rule in RULES.values():
        text = page(rule)
        assert text.startswith(f"# {rule.code} {rule.name}\n"), rule.code
        for part in ("**What.**", "**Why it is wrong.**", "**Example.**", "**Fix.**"):
            assert part in text, f"{rule.code} lacks {part}"


def test_codes_and_names_are_unique_and_well_formed():
    rules = {*OWN, *(rule for check in CHECKS for rule in check.rules)}
    assert len(rules) == len(RULES) == len({rule.name for rule in rules})
    for rule in rules:
        assert re.fullmatch(r"GS\d{3}", rule.code)
        assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", rule.name)
        assert rule.title.endswith(".")


def test_a_rule_yields_only_to_rules_that_exist():
    for rule in RULES.values():
        assert rule.yields_to <= RULES.keys()
        assert rule.code not in rule.yields_to
