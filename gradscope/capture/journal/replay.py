"""Steps that repeat are recorded by following what was recorded of them before.

A `Pattern` is what one step was, kept with the template that it was stored as. While the next step is drafted, the
pattern expected of it lies beside it, with a `Cue` for each usual op. As long as what happens is what the pattern has
at this place, the draft only counts how far it has got (`Draft.behind`); its lists are filled from the pattern when
somebody asks for them, or when something else happens. Nothing is assumed: every fact that could differ is compared,
and what differs is recorded in the ordinary way, so a step is told the same with and without a pattern. A step that
was nothing but its pattern is closed without ever having been listed.
"""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from itertools import accumulate
from operator import attrgetter
from typing import Any

import torch

from ...model.records import Phase, StepKind
from ..measure.tensor_facts import said, sayings
from ..step.draft import Draft, RawGraph, RawMoment, RawTensor, tensors_in_graph
from ..step.entry import Entry, carry_expected, enter_expected
from ..step.tensor_registry import TensorTable
from .journal import DETACHING, Journal, hooks_on_saved, position_of
from .shared_memory import EXPOSING

_UNUSUAL = EXPOSING | DETACHING  # their results share memory past the version counter
_WANTS_GRAD = attrgetter("requires_grad")
_sequence = torch.autograd._get_sequence_nr  # type: ignore[attr-defined]
_grad_enabled = torch.is_grad_enabled
_inference_mode = torch.is_inference_mode_enabled


class New:
    """A tensor that an op of a pattern returned and that was not there before."""

    __slots__ = ("base", "number", "said", "shares", "storage", "version", "view")

    def __init__(self, number: int, raw: RawTensor, storages: int) -> None:
        self.number, self.version, self.storage, self.base = number, raw.version, raw.storage, raw.base
        self.view = raw.facts.is_view
        self.shares = raw.storage < storages  # the memory of a tensor that was there
        self.said = sayings(raw.facts, raw.version)  # what it says of itself


class Cue:
    """An op of a pattern: the usual op, which returned new tensors, or nothing but what it was given."""

    __slots__ = (
        "after",
        "autocast",
        "before",
        "behind",
        "call",
        "context",
        "direct",
        "grad_enabled",
        "index",
        "inputs",
        "module",
        "moment",
        "name",
        "new",
        "nodes",
        "outputs",
        "phase",
        "place",
        "settings",
        "stack",
        "text",
    )  # fmt: skip

    def __init__(self, index: int, moment: RawMoment, new: Sequence[New], before: tuple[int, int]) -> None:
        self.index, self.moment, self.new = index, moment, tuple(new)
        _, self.phase, stack, self.inputs, self.outputs, payload = moment
        self.stack = -1 if stack is None else stack
        self.name, self.direct, self.module, self.call, self.nodes, self.grad_enabled, self.autocast, self.text = (
            payload[:8]
        )
        self.behind: int | None = payload[8]
        self.before = before  # how many tensors and how many storages the step had met
        self.after = (before[0] + len(self.new), before[1] + sum(not one.shares for one in self.new))
        self.place = -1  # among the module calls, of the call that begins with this op
        self.context: tuple[Any, ...] = ()  # and where it was made: see `singles`
        self.settings: list[Any] | None = None  # of the module, once a step that did the same has told them


class Replay:
    """Ops that are the expected ones, told in two halves as the ordinary ones are: before and after the call."""

    def __init__(self, journal: Journal) -> None:
        self.journal = journal

    def begins(
        self,
        cue: Cue,
        stack: int,
        method: bool,
        direct: bool,
        inputs: Sequence[torch.Tensor],
        arguments: Sequence[Any],
    ) -> list[int] | None:
        """The versions of the inputs of a call that begins at `stack`, if it is the cue's as far as can be told.

        None where it is another call, or one of its inputs is not as expected.
        """
        numbers = cue.inputs
        if cue.stack != stack or cue.direct is not direct or len(inputs) != len(numbers):
            return None
        journal = self.journal
        if _inference_mode() is not journal.inference or journal.exposed.watched:
            return None
        draft, entries = journal.tracker.ahead, journal.table.entries
        mark = draft.mark
        versions: list[int] = []
        for tensor, number in zip(inputs, numbers):
            entry = entries.get(id(tensor))
            if entry is None or entry() is not tensor:
                return None
            if entry.mark is mark:
                if entry.number != number:
                    return None
            elif number != draft.count or not (
                enter_expected(draft, entry, tensor)
                or carry_expected(draft, entry, tensor, stack, position_of(arguments, tensor), method, direct)
            ):
                return None
            version = entry.version
            if version is None or version != tensor._version:  # None: an inference tensor, which has no counter
                return None
            versions.append(version)
        return versions

    def ends(
        self,
        cue: Cue,
        name: str,
        arguments: str,
        inputs: Sequence[torch.Tensor],
        first: int,
        results: Sequence[torch.Tensor],
    ) -> bool:
        """Take over what the cue recorded of the call that returned, if it returned the like."""
        journal = self.journal
        draft, clock = journal.tracker.ahead, journal.clock
        nodes, grad_enabled = _sequence() - first, _grad_enabled()
        if journal.backwards:
            phase = Phase.BACKWARD
        elif grad_enabled and clock.depth:
            phase = Phase.LOSS if clock.in_loss else Phase.FORWARD
        else:
            phase = clock.of_op(name, grad_enabled, nodes > 0 and any(map(_WANTS_GRAD, results)))
        if (
            draft.cue() is not cue
            or phase is not cue.phase
            or name != cue.name
            or nodes != cue.nodes
            or grad_enabled is not cue.grad_enabled
            or journal.module != cue.module
            or journal.module_call != cue.call
            or journal.autocast != cue.autocast
            or arguments != cue.text
        ):
            return False
        sources = self._made(cue, results, inputs) if cue.new else self._given(cue, results, inputs)
        if sources is None:
            return False
        take_over(draft, cue, first, results, journal.table)
        for source, result in zip(sources, results):
            if source is not None:
                journal.table.share(draft, journal.table.entries[id(result)], source)
        draft.sure = draft.sure and cue.nodes <= 1  # what else it was given may decide which nodes it made
        if draft.full:
            draft.hooked = draft.hooked or hooks_on_saved(True) is not None
            for number, result in zip(cue.outputs, results):
                journal.value(cue.index, number, name, result)
        return True

    def _made(
        self, cue: Cue, results: Sequence[torch.Tensor], inputs: Sequence[torch.Tensor]
    ) -> list[Entry | None] | None:
        """For results that are new tensors like the cue's, whose memory each shares; None for others."""
        table, draft = self.journal.table, self.journal.tracker.ahead
        if cue.before != (draft.count, draft.storage_count) or len(results) != len(cue.new):
            return None
        if len(results) > 1 and len(set(map(id, results))) < len(results):
            return None
        sources: list[Entry | None] = []
        for new, result in zip(cue.new, results):
            if type(result) is not torch.Tensor or result.is_inference() or result.is_nested:
                return None
            if result._is_view() is not new.view or said(result) != new.said or table.find(result) is not None:
                return None
            source = table.source(draft, result, inputs) if new.view else None
            if (source is not None) is not new.shares or (source is not None and source.storage != new.storage):
                return None
            if new.view and table.base(draft, result) != new.base:
                return None
            sources.append(source)
        return sources

    def _given(
        self, cue: Cue, results: Sequence[torch.Tensor], inputs: Sequence[torch.Tensor]
    ) -> list[Entry | None] | None:
        """For results that are those of the inputs that the cue returned, an empty list; None for others."""
        numbers = {id(tensor): number for tensor, number in zip(inputs, cue.inputs)}
        return [] if [numbers.get(id(result)) for result in results] == list(cue.outputs) else None


def take_over(draft: Draft, cue: Cue, first: int, results: Sequence[torch.Tensor], table: TensorTable) -> None:
    """The expected op happened: it returned `results`, and made grad nodes from the number `first` on."""
    entries, mark, nodes = table.entries, draft.mark, cue.nodes
    for new, result in zip(cue.new, results):
        entry = entries[id(result)] = Entry(result)
        entry.mark, entry.number, entry.version, entry.storage = mark, new.number, new.version, new.storage
        entry.stack = cue.stack
        draft.met.append(entry)
        if nodes:
            node = result.grad_fn
            draft.made.append((cue, new.number, first, None if node is None else node._sequence_nr()))
    if cue.new:
        draft.count, draft.storage_count = cue.after
    draft.behind = True
    draft.grown += nodes
    draft.took(cue.phase)


class Known:
    """A graph of a pattern, as a backward that follows it needs it.

    `names` of its nodes and `edges` between them; the numbers of its `leaves`; `leaf_of`: the leaf by its node;
    `reach`: the largest number of a tensor that it names.
    """

    __slots__ = ("edges", "leaf_of", "leaves", "names", "reach")

    def __init__(self, graph: RawGraph) -> None:
        self.names, self.edges = [node[0] for node in graph.nodes], list(graph.edges)
        self.leaf_of = {index: node[2] for index, node in enumerate(graph.nodes) if node[2] is not None}
        self.leaves = tuple(self.leaf_of.values())
        self.reach = max(tensors_in_graph(graph), default=-1)


class Pattern:
    """A step that was written, as the draft of one that does the same would have it."""

    __slots__ = (
        "__weakref__", "bumps", "calls", "cues", "follower", "full", "graphs", "hooked", "kind", "known", "moments",
        "parameters", "returns", "template", "tensors",
    )  # fmt: skip

    def __init__(self, draft: Draft, template: int, kind: StepKind) -> None:
        self.template, self.kind = template, kind
        self.full, self.hooked = draft.full, draft.hooked
        self.moments, self.tensors, self.graphs = draft.moments, draft.tensors, draft.graphs
        self.returns, self.bumps, self.calls = draft.returns, draft.bumps, draft.calls
        storages = [0, *accumulate([tensor.storage + 1 for tensor in self.tensors], max)]
        cues = [self._cue(index, moment, storages) for index, moment in enumerate(self.moments)]
        self.cues = {cue.index: cue for cue in cues if cue is not None}
        for place, call in enumerate(self.calls):
            cue = self.cues.get(call[4])
            if cue is not None and (cue.module, cue.call) == call[:2]:
                cue.place = place
                cue.context = (cue.stack, cue.module, call[5], call[3], cue.autocast, cue.grad_enabled)
        self.parameters = [
            (number, raw.parameter) for number, raw in enumerate(self.tensors) if raw.parameter is not None
        ]
        self.known = [Known(graph) for graph in self.graphs]
        self.follower: weakref.ref[Pattern] | None = None  # what came after the last step of this pattern

    def _cue(self, index: int, moment: RawMoment, storages: Sequence[int]) -> Cue | None:
        kind, _, stack, inputs, outputs, payload = moment
        if kind != "op" or payload[0] in _UNUSUAL:
            return None
        given, made = set(inputs), set(outputs)
        if made <= given:  # nothing, or what it was given: it made no graph
            return Cue(index, moment, (), (0, 0)) if not payload[4] else None
        memory = {self.tensors[number].storage for number in given}
        new = [New(number, self.tensors[number], storages[number]) for number in outputs]
        for place, one in enumerate(new):
            raw = self.tensors[one.number]
            usual = RawTensor(
                raw.facts, raw.version, raw.storage, raw.base if one.view else None, None, index, place, len(outputs),
                stack, 0, False, payload[1], False,
            )  # fmt: skip
            if raw != usual or raw.facts.is_inference or one.number != outputs[0] + place:
                return None
            if one.view and (not given or raw.base in made):
                return None
            if one.shares and not (one.view and raw.storage in memory):
                return None
        return Cue(index, moment, new, (outputs[0], storages[outputs[0]]))

    def equals(self, draft: Draft) -> bool:
        """Whether the draft did the same."""
        return (
            self.moments == draft.moments
            and self.tensors == draft.tensors
            and self.graphs == draft.graphs
            and self.returns == draft.returns
            and self.bumps == draft.bumps
            and self.calls == draft.calls
        )


class Patterns:
    """The patterns of the last steps, by size, and the one to expect next."""

    OF_A_SIZE = 4
    SIZES = 64

    def __init__(self) -> None:
        self._by_size: dict[tuple[int, int], list[Pattern]] = {}
        self._last: Pattern | None = None

    def find(self, draft: Draft) -> Pattern | None:
        """The pattern that the finished draft is of, which is then the last; None where it is new."""
        if draft.repeats is not None:
            repeated: Pattern = draft.repeats
            return self._came(repeated)
        recent = self._by_size.get(_size(draft), [])
        for position in range(len(recent) - 1, -1, -1):
            pattern = recent[position]
            if pattern.equals(draft):
                if position != len(recent) - 1:
                    recent.append(recent.pop(position))
                if pattern is draft.expected:
                    for cue, settings in draft.judged:
                        cue.settings = settings
                return self._came(pattern)
        return None

    def add(self, draft: Draft, template: int, kind: StepKind) -> None:
        """Remember a draft that is stored as a template of its own."""
        pattern = Pattern(draft, template, kind)
        recent = self._by_size.setdefault(_size(draft), [])
        recent.append(pattern)
        del recent[: -self.OF_A_SIZE]
        if len(self._by_size) > self.SIZES:
            del self._by_size[next(iter(self._by_size))]
        self._came(pattern)

    def _came(self, pattern: Pattern) -> Pattern:
        if self._last is not None:
            self._last.follower = weakref.ref(pattern)
        self._last = pattern
        return pattern

    def expected(self) -> Pattern | None:
        """What the next step probably is: what followed the last one's pattern before, else the same again."""
        last = self._last
        follower = last.follower() if last is not None and last.follower is not None else None
        return follower or last


def _size(draft: Draft) -> tuple[int, int]:
    return (len(draft.moments), len(draft.tensors))
