"""Steps that repeat are recorded by taking over what was recorded of them before.

A `Pattern` is what one step was, kept with the template that it was stored as. While the next step is
drafted, the pattern expected of it lies beside it, with a `Cue` for each usual op. Where a call turns out
to be the one that the pattern has at this place, `Replay` appends the pattern's own record to the draft
and builds none. Nothing is assumed: every fact that could differ is compared, and what differs is
recorded in the ordinary way, so a draft is the same with and without a pattern. Comparing a draft that
took over everything with its pattern is then a comparison of the same objects, which costs little.
"""

from __future__ import annotations

import weakref
from collections.abc import Sequence

import torch

from ..model.records import Phase
from .draft import Draft, RawMoment, RawTensor
from .exposed import EXPOSING
from .journal import DETACHING, Journal
from .tensors import Entry, said, sayings

_UNUSUAL = EXPOSING | DETACHING  # their results share memory past the version counter
_sequence = torch.autograd._get_sequence_nr  # type: ignore[attr-defined]
_grad_enabled = torch.is_grad_enabled
_inference_mode = torch.is_inference_mode_enabled


class Cue:
    """An op of a pattern that returned one new tensor with memory of its own: the usual op."""

    __slots__ = (
        "direct", "index", "inputs", "moment", "number", "payload", "phase", "raw", "said", "stack", "storage",
        "version",
    )  # fmt: skip

    def __init__(self, index: int, moment: RawMoment, raw: RawTensor) -> None:
        self.index, self.moment, self.raw = index, moment, raw
        _, self.phase, stack, self.inputs, outputs, self.payload = moment
        self.stack = -1 if stack is None else stack
        self.number, self.direct = outputs[0], self.payload[1]
        self.version, self.storage = raw.version, raw.storage
        self.said = sayings(raw.facts, raw.version)  # what the new tensor says of itself


class Replay:
    """Ops that are the expected ones, told in two halves as the ordinary ones are: before and after the call."""

    def __init__(self, journal: Journal) -> None:
        self.journal = journal

    def begins(self, stack: int, direct: bool, inputs: Sequence[torch.Tensor]) -> tuple[Cue, list[int | None]] | None:
        """The cue of the call that begins at `stack`, and the versions of its inputs.

        None where another call than the expected one begins, or one of its inputs is not as expected.
        """
        journal = self.journal
        draft = journal.tracker.draft
        cue = draft.cues.get(len(draft.moments))
        if cue is None or cue.stack != stack or cue.direct is not direct or len(inputs) != len(cue.inputs):
            return None
        if _inference_mode() is not journal.inference or journal.exposed.watched:
            return None
        table, mark = journal.table, draft.mark
        entries = table.entries
        versions: list[int | None] = []
        for tensor, number in zip(inputs, cue.inputs):
            entry = entries.get(id(tensor))
            if entry is None or entry.reference() is not tensor:
                return None
            version = entry.version
            if entry.mark is mark:
                if entry.number != number or version is None or tensor._version != version:
                    return None
            else:
                if number != len(draft.tensors) or table.enter_again(draft, entry, tensor) is None:
                    return None
                version = entry.version
            versions.append(version)
        return cue, versions

    def ends(self, cue: Cue, name: str, arguments: str, first: int, result: torch.Tensor) -> bool:
        """Take over what the cue recorded of the call that returned, if it returned the like."""
        if type(result) is not torch.Tensor or result._is_view() or result.is_inference() or result.is_nested:
            return False
        journal = self.journal
        tracker, table = journal.tracker, journal.table
        draft = tracker.draft
        moments, tensors = draft.moments, draft.tensors
        index, number = len(moments), len(tensors)
        grad_enabled, count = _grad_enabled(), _sequence() - first
        payload = (
            name, cue.direct, journal.module, journal.module_call, count, grad_enabled, journal.autocast, arguments,
            None,
        )  # fmt: skip
        phase = Phase.BACKWARD if journal.backwards else journal.clock.of_op(name, grad_enabled, result.requires_grad)
        if (
            index != cue.index
            or number != cue.number
            or draft.storage_count != cue.storage
            or phase is not cue.phase
            or payload != cue.payload
            or said(result) != cue.said
        ):
            return False
        entry = table.entries.get(id(result))
        if entry is not None and entry.reference() is result:
            return False
        entry = table.entries[id(result)] = Entry(result, draft.mark, number, cue.version, cue.storage)
        draft.met.append(entry)
        draft.storage_count += 1
        tensors.append(cue.raw)
        if count:
            for sequence in range(first, first + count):
                draft.nodes_by_sequence[sequence] = index
            node = result.grad_fn
            if node is not None:
                draft.outputs_by_sequence.setdefault(node._sequence_nr(), []).append(number)
        draft.take(cue.moment, phase)
        if draft.full:
            journal.value(index, number, name, result)
        return True


class Pattern:
    """A step that was written, as the draft of one that does the same would have it."""

    __slots__ = (
        "__weakref__", "bumps", "calls", "cues", "follower", "full", "graphs", "moments", "returns", "template",
        "tensors",
    )  # fmt: skip

    def __init__(self, draft: Draft, template: int) -> None:
        self.template = template
        self.full = draft.full
        self.moments, self.tensors, self.graphs = draft.moments, draft.tensors, draft.graphs
        self.returns, self.bumps, self.calls = draft.returns, draft.bumps, draft.calls
        cues = [self._cue(index, moment) for index, moment in enumerate(self.moments)]
        self.cues = {cue.index: cue for cue in cues if cue is not None}
        self.follower: weakref.ref[Pattern] | None = None  # what came after the last step of this pattern

    def _cue(self, index: int, moment: RawMoment) -> Cue | None:
        kind, _, stack, _, outputs, payload = moment
        if kind != "op" or len(outputs) != 1 or payload[0] in _UNUSUAL:
            return None
        raw = self.tensors[outputs[0]]
        fresh = RawTensor(
            raw.facts, raw.version, raw.storage, None, None, index, 0, 1, stack, 0, False, payload[1], False
        )
        usual = raw == fresh and not (raw.facts.is_view or raw.facts.is_inference)
        return Cue(index, moment, raw) if usual else None

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
        recent = self._by_size.get(_size(draft), [])
        for position in range(len(recent) - 1, -1, -1):
            pattern = recent[position]
            if pattern.equals(draft):
                if position != len(recent) - 1:
                    recent.append(recent.pop(position))
                self._came(pattern)
                return pattern
        return None

    def add(self, draft: Draft, template: int) -> None:
        """Remember a draft that is stored as a template of its own."""
        pattern = Pattern(draft, template)
        recent = self._by_size.setdefault(_size(draft), [])
        recent.append(pattern)
        del recent[: -self.OF_A_SIZE]
        if len(self._by_size) > self.SIZES:
            del self._by_size[next(iter(self._by_size))]
        self._came(pattern)

    def _came(self, pattern: Pattern) -> None:
        if self._last is not None:
            self._last.follower = weakref.ref(pattern)
        self._last = pattern

    def expected(self) -> Pattern | None:
        """What the next step probably is: what followed the last one's pattern before, else the same again."""
        last = self._last
        follower = last.follower() if last is not None and last.follower is not None else None
        return follower or last


def _size(draft: Draft) -> tuple[int, int]:
    return (len(draft.moments), len(draft.tensors))
