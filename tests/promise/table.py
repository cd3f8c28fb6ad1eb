"""The table of counts: for the terminal, and for README between its markers."""

from __future__ import annotations

from collections.abc import Sequence

from .judging import Verdict

WHAT = {
    "demos": "the lessons of this repository",
    "zoo": "scripts with real bugs, and repaired ones",
    "cases": "scripts on which gradscope once fell short",
    "programs": "programs in the style of published examples",
    "frameworks": "a few steps of Trainer, peft, Lightning, Pyro, GPyTorch, ...",
    "settings": "options of `python`, streams, folders, tools that trace",
    "faults": "signals, a full disk, no memory, no descriptors, forks, dead folders",
}


def rows(verdicts: Sequence[Verdict]) -> list[tuple[str, str, int, int]]:
    kinds = list(dict.fromkeys(verdict.program.kind for verdict in verdicts))
    return [
        (kind, WHAT[kind], len(found), sum(verdict.held for verdict in found))
        for kind in kinds
        for found in [[verdict for verdict in verdicts if verdict.program.kind == kind]]
    ]


def markdown(verdicts: Sequence[Verdict]) -> str:
    lines = ["<!-- promise -->", "| kind | what | tried | held |", "|---|---|---|---|"]
    lines += [f"| {kind} | {what} | {tried} | {held} |" for kind, what, tried, held in rows(verdicts)]
    return "\n".join([*lines, "<!-- /promise -->"])


def plain(verdicts: Sequence[Verdict]) -> str:
    lines = [f"{'kind':<12} {'tried':>5} {'held':>5}"]
    lines += [f"{kind:<12} {tried:>5} {held:>5}" for kind, _, tried, held in rows(verdicts)]
    ratios = [verdict.memory for verdict in verdicts if verdict.memory is not None]
    if ratios:
        middle = sorted(ratios)[len(ratios) // 2]
        lines.append(f"memory peak, traced to plain: median {middle:.2f}, largest {max(ratios):.2f}")
    return "\n".join(lines)
