"""The samples of one step, found by what they are of."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from .records import Sample, Tensor


class SampleIndex:
    """Samples by subject and kind, each list in the order of moments."""

    def __init__(self, samples: Iterable[Sample]) -> None:
        self._tensors: dict[tuple[bool, int, str], list[Sample]] = {}
        self._nodes: dict[tuple[int, str, int], Sample] = {}
        self._bad: dict[int, frozenset[str]] = {}
        for sample in sorted(samples, key=lambda sample: sample.moment):
            if sample.what in ("grad_in", "grad_out"):
                self._nodes[sample.moment, sample.what, sample.subject] = sample
                bad = not_finite(sample)
                if bad:
                    self._bad[sample.moment] = self._bad.get(sample.moment, frozenset()) | bad
            else:
                self._tensors.setdefault((sample.of_parameter, sample.subject, sample.what), []).append(sample)

    def __bool__(self) -> bool:
        return bool(self._tensors or self._nodes)

    def of(self, tensor: Tensor, what: str) -> Sequence[Sample]:
        """The tensor's samples of one kind (value, grad, update), its parameter's included."""
        own = self._tensors.get((False, tensor.number, what), [])
        if tensor.parameter is None:
            return own
        shared = self._tensors.get((True, tensor.parameter, what), [])
        return sorted([*own, *shared], key=lambda sample: sample.moment) if own else shared

    def of_node(self, moment: int, what: str, position: int = 0) -> Sample | None:
        """The gradient that came in to (grad_in) or went out of (grad_out) the grad node that `moment` ran."""
        return self._nodes.get((moment, what, position))

    def bad_gradients(self, moment: int) -> frozenset[str]:
        """The marks of the gradients that came in to or went out of the node that `moment` ran."""
        return self._bad.get(moment, frozenset())


def not_finite(sample: Sample) -> frozenset[str]:
    """The marks nan and inf, for what a sample's statistics count."""
    found = sample.stats
    if found is None or not (found.nans or found.infs):
        return frozenset()
    return frozenset(mark for mark, count in (("nan", found.nans), ("inf", found.infs)) if count)
