"""Runs a program both ways and says what differs."""

from __future__ import annotations

import json
import random
import shutil
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from .comparing import differences, memory_ratio
from .expected import DIFFERS, unforeseen
from .program import Program
from .running import LOUD, QUIET, TOO_LONG, Outcome, Table, run

Places = set[tuple[str, str]]  # a group of facts, and one of them

TOLD = 40  # differences of one program
SHARES = {"demos": 2, "zoo": 8, "cases": 6, "programs": 12, "frameworks": 3, "settings": 10, "faults": 14}
"""How many programs of each kind a sample has; chosen so that it takes two processors less than four minutes."""


@dataclass(frozen=True)
class Verdict:
    program: Program
    differences: list[str]
    memory: float | None = None  # the traced run's peak, as a ratio to the plain one's

    @property
    def held(self) -> bool:
        return not self.differences

    @property
    def expected(self) -> str | None:
        """Why it is known not to hold."""
        return DIFFERS.get(self.program.id)

    @property
    def right(self) -> bool:
        return self.held is (self.expected is None)

    def told(self) -> str:
        if self.held and self.expected is not None:
            return f"{self.program.id} holds, though it is listed as expected to differ: {self.expected}"
        more = [f"... and {len(self.differences) - TOLD} more"] if len(self.differences) > TOLD else []
        lines = [line[:500] for line in self.differences[:TOLD]] + more
        return "\n".join([f"{self.program.id} differs from plain python:", *(f"  {line}" for line in lines)])


def judge(program: Program, hows: Sequence[str] = (QUIET, LOUD)) -> Verdict:
    """Plain, then traced each of these ways. Where something differs, a second run of each tells if it does again."""
    area = Path(tempfile.mkdtemp(prefix="promise-"))
    try:
        plain = run(program, area)
        traced = {how: run(program, area, how) for how in hows if how in program.hows}
        found = _differences(program, plain, traced)
        if found:
            again = run(program, area)
            places = _by_chance(plain, again)
            again, plain, *rest = [_without(places, outcome) for outcome in (again, plain, *traced.values())]
            found = _from_both(program, (plain, again), dict(zip(traced, rest, strict=True)))
            if found:  # a race that went another way is no difference: it must be there once more
                repeated = {how: _without(places, run(program, area, how)) for how in traced}
                found = _from_both(program, (plain, again), repeated)
            if found:
                found += [f"(two plain runs differ, too: {line})" for line in differences(program, plain, again, None)]
        ratios = [memory_ratio(plain, outcome) for outcome in traced.values()]
        return Verdict(program, found, max((ratio for ratio in ratios if ratio is not None), default=None))
    finally:
        shutil.rmtree(area, ignore_errors=True)


def _from_both(program: Program, plain: Sequence[Outcome], traced: Mapping[str, Outcome]) -> list[str]:
    """How traced runs differ from the first plain run; nothing where they are as another one: there was a race."""
    found = [_differences(program, one, traced) for one in plain]
    return found[0] if all(found) else []


def _differences(program: Program, plain: Outcome, traced: Mapping[str, Outcome]) -> list[str]:
    found = [f"the plain run takes more than {program.limit:.0f} s"] if plain.status == TOO_LONG else []
    for how, outcome in traced.items():
        new = unforeseen(differences(program, plain, outcome, how))
        found += [f"{how}: {line}" for line in new if f"{QUIET}: {line}" not in found]
    return found


def _by_chance(plain: Outcome, again: Outcome) -> Places:
    """The facts on which two plain runs do not agree: what a clock said, a key drawn by the system."""
    return {
        (group, name)
        for one, other in zip(_all_reports(plain), _all_reports(again))
        for group, facts in one.items()
        if group not in ("modules", "memory")
        for name, told in facts.items()
        if name in other.get(group, {}) and other[group][name] != told
    }


def _all_reports(outcome: Outcome) -> list[Table]:
    return [outcome.report or {}, *(json.loads(text) for text in outcome.reports)]


def _is_number(text: object) -> bool:
    try:
        float(str(text))
    except ValueError:
        return False
    return True


def _without(places: Places, outcome: Outcome) -> Outcome:
    """Of what chance chooses it is compared that it is there, and that a number is one."""
    own, *others = [
        {
            group: {name: _kind(told) if (group, name) in places else told for name, told in facts.items()}
            for group, facts in report.items()
        }
        for report in _all_reports(outcome)
    ]
    return replace(outcome, report=outcome.report and own, reports=sorted(json.dumps(report) for report in others))


def _kind(told: object) -> str:
    return "a number" if _is_number(told) else "something else"


def sample(programs: Iterable[Program], seed: int) -> list[tuple[Program, tuple[str, ...]]]:
    """Of each kind its share, each traced one of the two ways."""
    chance = random.Random(seed)
    by_kind: dict[str, list[Program]] = {}
    for program in programs:
        by_kind.setdefault(program.kind, []).append(program)
    chosen: list[tuple[Program, tuple[str, ...]]] = []
    for kind, found in by_kind.items():
        some = chance.sample(found, min(SHARES[kind], len(found)))
        chosen += [(program, (chance.choice(program.hows),)) for program in some]
    return chosen
