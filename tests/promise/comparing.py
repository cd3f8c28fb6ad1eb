"""What differs between a plain and a traced run. What gradscope itself adds is set aside here, and nowhere else."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from importlib import metadata

from .normal import struck
from .program import Program
from .running import LOUD, Outcome, Table

MEMORY_RATIO, MEMORY_BASE = 2.0, 400_000  # KiB; generous: the measured ratios are printed
# What an `aside` may name: facts that two plain runs need not share.
STRUCK, MAIN, ALIVE, COUNTERS = "where an exception strikes", "values of __main__", "tensors alive", "counters of torch"
CHILDREN, FILES = "reports of children", "open files"
_COUNTERS = ("nodes made", "random state", "next hook's id")


def differences(program: Program, plain: Outcome, traced: Outcome, how: str | None) -> list[str]:
    """One line for each fact that is not as in the plain run; `how`: None for a second plain run."""
    if program.judge is not None:
        return [*program.judge(plain, traced), *(_trace(program, traced) if how is not None else ())]
    found: list[str] = []
    if plain.status != traced.status:
        found.append(f"exit status {plain.status} became {traced.status}")
    found += _streams(program, plain, traced, how)
    found += _tables("file", plain.files, traced.files)
    found += _reports(program, plain, traced)
    if how is not None:
        found += _trace(program, traced)
    return found


def _streams(program: Program, plain: Outcome, traced: Outcome, how: str | None) -> Iterator[str]:
    cut = struck if STRUCK in program.aside else str
    if cut(plain.stdout) != cut(traced.stdout):
        yield from _lines("stdout", cut(plain.stdout), cut(traced.stdout))
    wanted, seen = cut(plain.stderr), cut(traced.stderr)
    if program.complains:
        seen = _OURS.sub("", seen)
    if seen != wanted and not (how == LOUD and _is_ours(_added(wanted, seen))):
        yield from _lines("stderr", wanted, seen)


_OURS = re.compile(r"^gradscope: .*\n(?:  \S.*\n)*", re.M)  # a line of ours, and what is indented under it


def _added(plain: str, traced: str) -> str | None:
    """The one piece of `traced` that `plain` lacks, if there is just one."""
    start = 0
    while start < len(plain) and plain[start : start + 1] == traced[start : start + 1]:
        start += 1
    rest = len(plain) - start
    if rest and plain[start:] != traced[-rest:]:
        return None
    return traced[start : len(traced) - rest]


def _is_ours(added: str | None) -> bool:
    """Whether it is the summary: it begins with its name, or with the finding that explains a traceback."""
    if added is None:
        return False
    lines = [line for line in added.splitlines() if line]
    return any(line.startswith("gradscope: ") for line in lines) and lines[-1].lstrip().startswith("next")


def _lines(what: str, plain: str, traced: str) -> Iterator[str]:
    """The first lines that differ."""
    before, after = plain.splitlines() or [""], traced.splitlines() or [""]
    for number in range(max(len(before), len(after))):
        left = before[number] if number < len(before) else "<end>"
        right = after[number] if number < len(after) else "<end>"
        if left != right:
            yield f"{what}, line {number + 1}: {left[:300]!r} became {right[:300]!r}"
            return
    yield f"{what}: line ends differ"


def _tables(what: str, plain: Mapping[str, object], traced: Mapping[str, object]) -> Iterator[str]:
    names = [*plain, *(name for name in traced if name not in plain)]
    for name in names:
        left, right = plain.get(name, "nothing"), traced.get(name, "nothing")
        if left != right:
            yield f"{what} {name}: {_excerpt(left, right)}"


def _excerpt(left: object, right: object) -> str:
    """Two texts from just before where they part."""
    one, two = str(left), str(right)
    start = 0
    while start < min(len(one), len(two)) and one[start] == two[start]:
        start += 1
    start = max(0, start - 60) if start > 100 else 0
    return f"{one[start : start + 240]} became {two[start : start + 240]}"


def _reports(program: Program, plain: Outcome, traced: Outcome) -> Iterator[str]:
    if (plain.report is None) != (traced.report is None):
        yield f"the epilogue ran {'plain' if plain.report else 'traced'} only"
    elif plain.report is not None and traced.report is not None:
        yield from _report(program, plain.report, traced.report)
    if CHILDREN in program.aside:
        return
    if len(plain.reports) != len(traced.reports):
        yield f"{len(plain.reports)} children came to their end, traced {len(traced.reports)}"
        return
    for one, other in zip(plain.reports, traced.reports, strict=True):
        for line in _report(program, json.loads(one), json.loads(other)):
            yield f"child: {line}"


def _report(program: Program, plain: Table, traced: Table) -> Iterator[str]:
    yield from _modules(program, plain["modules"], traced["modules"])
    for group in ("process", "torch", "alive", "main", "patches"):
        if (group == "main" and MAIN in program.aside) or (group == "alive" and ALIVE in program.aside):
            continue
        before, after = dict(plain.get(group, {})), dict(traced.get(group, {}))
        if group == "torch" and COUNTERS in program.aside:
            for name in _COUNTERS:
                before.pop(name, None), after.pop(name, None)
        if group == "process":
            if program.wrapper:  # it is told what to start: us
                for name in ("argv", "original argv"):
                    before.pop(name, None), after.pop(name, None)
            for name in ("last error",) * (STRUCK in program.aside) + ("open files",) * (FILES in program.aside):
                before.pop(name, None), after.pop(name, None)
        yield from _tables(group, before, after)
    low, high = plain["memory"]["peak"], traced["memory"]["peak"]
    assert isinstance(low, int)
    assert isinstance(high, int)
    if high > MEMORY_RATIO * low + MEMORY_BASE:
        yield f"memory peak {low // 1024} MiB became {high // 1024} MiB"


def _modules(program: Program, plain: Mapping[str, object], traced: Mapping[str, object]) -> Iterator[str]:
    """All that plain imports is there, from the same file; what is more is ours or Python's own."""
    for name, file in plain.items():
        if name not in traced:
            yield f"module {name} is missing"
        elif traced[name] != file:
            yield f"module {name} comes from {traced[name]}, not from {file}"
    allowed = sys.stdlib_module_names | ours(program.interpreter)
    for name in traced:
        if name not in plain and name.partition(".")[0] not in allowed and not name.startswith("_sysconfigdata"):
            yield f"module {name} is imported, too"


@cache
def ours(interpreter: str) -> frozenset[str]:
    """The top modules of gradscope and of what it depends on, torch and numpy not among them."""
    wanted, done = ["torch-gradscope"], set()
    tops = {"gradscope"}
    by_distribution: dict[str, list[str]] = {}
    for top, names in metadata.packages_distributions().items():
        for name in names:
            by_distribution.setdefault(_plain_name(name), []).append(top)
    while wanted:
        name = _plain_name(wanted.pop())
        if name in done or name in ("torch", "numpy"):
            continue
        done.add(name)
        tops.update(by_distribution.get(name, ()))
        try:
            needed = metadata.requires(name) or ()
        except metadata.PackageNotFoundError:
            continue  # needed on another system only
        wanted += [text.split(";")[0] for text in needed if "extra ==" not in text]
    return frozenset(tops)


def _plain_name(text: str) -> str:
    for number, letter in enumerate(text):
        if not (letter.isalnum() or letter in "-_."):
            text = text[:number]
            break
    return text.lower().replace("_", "-").replace(".", "-")


def _trace(program: Program, traced: Outcome) -> Iterator[str]:
    """A trace that is there can be read."""
    if traced.trace is None and program.trace_kept:
        yield "there is no trace"
    elif traced.trace and program.readable:
        yield f"the trace cannot be read: {traced.trace}"


def memory_ratio(plain: Outcome, traced: Outcome) -> float | None:
    if plain.report is None or traced.report is None:
        return None
    before, after = plain.report["memory"]["peak"], traced.report["memory"]["peak"]
    assert isinstance(before, int)
    assert isinstance(after, int)
    return after / before
