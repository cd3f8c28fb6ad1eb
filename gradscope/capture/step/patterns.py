"""Steps that were written, to find the template of one that did the same."""

from __future__ import annotations

from ...model.records import StepKind
from .draft import Draft


class Pattern:
    """A step that was written, as the draft of one that does the same would have it."""

    __slots__ = (
        "bumps", "calls", "full", "graphs", "kind", "moments", "parameters", "returns", "template", "tensors",
    )  # fmt: skip

    def __init__(self, draft: Draft, template: int, kind: StepKind) -> None:
        self.template, self.kind, self.full = template, kind, draft.full
        self.moments, self.tensors, self.graphs = draft.moments, draft.tensors, draft.graphs
        self.returns, self.bumps, self.calls = draft.returns, draft.bumps, draft.calls
        self.parameters = [
            (number, raw.parameter) for number, raw in enumerate(self.tensors) if raw.parameter is not None
        ]

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
    """The patterns of the last steps, by size."""

    OF_A_SIZE = 4
    SIZES = 64

    def __init__(self) -> None:
        self._by_size: dict[tuple[int, int], list[Pattern]] = {}

    def find(self, draft: Draft) -> Pattern | None:
        """The pattern that the finished draft is of; None where it is new."""
        recent = self._by_size.get(_size(draft), [])
        for position in range(len(recent) - 1, -1, -1):
            pattern = recent[position]
            if pattern.equals(draft):
                if position != len(recent) - 1:
                    recent.append(recent.pop(position))
                return pattern
        return None

    def add(self, draft: Draft, template: int, kind: StepKind) -> Pattern:
        """Remember a draft that is stored as a template of its own."""
        pattern = Pattern(draft, template, kind)
        recent = self._by_size.setdefault(_size(draft), [])
        recent.append(pattern)
        del recent[: -self.OF_A_SIZE]
        if len(self._by_size) > self.SIZES:
            del self._by_size[next(iter(self._by_size))]
        return pattern


def _size(draft: Draft) -> tuple[int, int]:
    return (len(draft.moments), len(draft.tensors))
