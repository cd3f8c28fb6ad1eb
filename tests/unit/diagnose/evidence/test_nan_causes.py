"""Why ops give NaN or Inf, in sentences."""

from __future__ import annotations

from gradscope.diagnose.evidence.nan_causes import TRAPS


def test_each_trap_is_told_in_a_sentence() -> None:
    for names, trap in TRAPS.items():
        assert trap.why[0].isupper(), names
        assert trap.why.endswith("."), names
        assert not trap.why.casefold().startswith(names + "("), f"{names} is written as code with a capital"
