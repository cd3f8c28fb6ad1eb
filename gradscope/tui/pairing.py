"""`Pairing`: which moments, nodes and parameters of one step are those of another."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence

from ..model.graph import Graph, GraphNode
from ..model.moments import Moment, Mutation, NodeRun, OpCall
from ..model.trace import Step, Trace
from .words import tensor_word

Pairs = Mapping[int, int]


class Pairing:
    """Two steps side by side: `mine` and the `other`. Making it is linear (n log n for steps that differ).

    Moments are the same that are alike (what was called where, by its line's text) and stand in the same order;
    nodes are that have one kind, name and module; where several are alike, they are counted. `own`: they are steps
    of one trace; `same`: and did the same.
    """

    def __init__(self, mine: Step, other: Step, graphs: tuple[Graph, Graph], *, own: bool, same: bool) -> None:
        self.own = own
        self.counts = len(mine.moments), len(other.moments)
        looks = (range(self.counts[0]), range(self.counts[1])) if same else (_looks(mine), _looks(other))
        ids = tuple(_numbered((node.id if same else _identity(node), node.id) for node in one.nodes) for one in graphs)
        self._mine, self._others = _in_order(*looks)
        self.nodes: Pairs = {node: ids[1][key] for key, node in ids[0].items() if key in ids[1]}
        self.parameters: Pairs = _parameters(mine.trace, mine.trace if own else other.trace)
        found = frozenset(self.nodes.values())
        self.only_mine: Sequence[int] = [node.id for node in graphs[0].nodes if node.id not in self.nodes]
        self.only_other: Sequence[int] = [node.id for node in graphs[1].nodes if node.id not in found]

    def moment(self, moment: int) -> tuple[int, bool]:
        """Where the other step is at `moment` of mine, and whether what happens there is the same."""
        place = bisect_right(self._mine, moment) - 1
        exact = place >= 0 and self._mine[place] == moment
        if moment == self.counts[0] - 1:
            return self.counts[1] - 1, exact and self._others[place] == self.counts[1] - 1
        return (self._others[place] if place >= 0 else -1), exact or moment < 0


def _parameters(mine: Trace, other: Trace) -> Pairs:
    if mine is other:
        return {number: number for number in mine.names.parameters}
    named = ((one.name, one.id) for one in other.names.parameters.values())
    theirs = _numbered(named)
    ours = _numbered((one.name, one.id) for one in mine.names.parameters.values())
    return {number: theirs[key] for key, number in ours.items() if key in theirs}


def _identity(node: GraphNode) -> Hashable:
    return (node.kind, node.label, node.name, node.module)


def _numbered(found: Iterable[tuple[Hashable, int]]) -> dict[Hashable, int]:
    """Ids by (key, how many of that key came before)."""
    seen: Counter[Hashable] = Counter()
    ids: dict[Hashable, int] = {}
    for key, number in found:
        ids[key, seen[key]] = number
        seen[key] += 1
    return ids


def _looks(step: Step) -> Sequence[Hashable]:
    """What each moment looks like, the same in every trace of the script; counted where it comes again."""
    lines: dict[int | None, str] = {}

    def code(moment: Moment) -> str:
        if moment.stack not in lines:
            lines[moment.stack] = next((line.code.strip() for line in step.trace.source_lines(moment.stack)), "")
        return lines[moment.stack]

    return list(_numbered((_look(step, moment, code), index) for index, moment in enumerate(step.moments)))


def _look(step: Step, moment: Moment, code: Callable[[Moment], str]) -> Hashable:
    if isinstance(moment, NodeRun):
        node = step.graphs[moment.graph].nodes[moment.node]
        owner = node.tensor if node.tensor is not None else next(iter(node.output_tensors), None)
        return moment.kind, node.name, step.tensors[owner].name if owner is not None else ""
    about: Hashable = ""
    if isinstance(moment, OpCall):
        about = moment.name
    elif isinstance(moment, Mutation):
        about = tensor_word(step.tensors[moment.tensor])
    return moment.kind, about, code(moment)


def _in_order(mine: Sequence[Hashable], others: Sequence[Hashable]) -> tuple[list[int], list[int]]:
    """The positions of equal entries, each of which is there once, as many as can stand in one order in both."""
    place = {look: position for position, look in enumerate(others)}
    pairs = [(position, place[look]) for position, look in enumerate(mine) if look in place]
    ends: list[int] = []  # the least position in `others` at which a row of each length ends
    tails: list[int] = []  # which pair that is
    before: list[int] = []  # the pair before each in the longest row that it ends
    for number, (_, position) in enumerate(pairs):
        length = bisect_left(ends, position)
        before.append(tails[length - 1] if length else -1)
        ends[length : length + 1] = [position]
        tails[length : length + 1] = [number]
    longest = []
    number = tails[-1] if tails else -1
    while number >= 0:
        longest.append(pairs[number])
        number = before[number]
    longest.reverse()
    return [position for position, _ in longest], [position for _, position in longest]
