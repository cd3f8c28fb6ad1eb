"""Numbers of the moment: statistics of tensors, losses, norms of parameters and gradients."""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter
from typing import NamedTuple

import torch

from ..measure.askable import WITH_NORM, all_in_memory, dense, is_number, is_plain, readable
from ..measure.norms import Copied
from ..measure.reading import Reading
from ..measure.stats import Statistics
from ..measure.tensor_facts import bytes_of, count_of
from ..step.draft import with_gradients
from .here import Here

_GRADIENT = attrgetter("grad")
COPIED_FREELY = 1 << 25  # bytes of parameters, up to which each update's length is worth a copy of them
COPIED_AT_MOST = 1 << 30  # the same where recording may cost what it will
_UNINITIALIZED = ("empty", "new_empty")  # their memory holds whatever was there

Cell = list[list[float]]  # where numbers go when they are known
Measurable = tuple[int, torch.Tensor, torch.Tensor]  # its number, and itself as one whose norm can be read


class Before(NamedTuple):
    """Parameters as they were before an update: small ones copied with their gradients, others each for itself.

    `norms`: what their norms are numbered by, and where these go.
    """

    numbers: tuple[int, ...]
    tensors: Sequence[torch.Tensor]
    small: Copied | None
    copies: list[torch.Tensor]
    norms: tuple[tuple[int, ...], Cell]


class Measurements:
    """Measures tensors for the step in progress. `room`: bytes that a copy of parameters may take."""

    def __init__(self, here: Here, statistics: Statistics, room: int = COPIED_FREELY) -> None:
        self.here, self.statistics, self.room = here, statistics, room

    def value(self, moment: int, number: int, name: str, tensor: torch.Tensor) -> None:
        """The value that the op `name` gave a tensor."""
        if name.startswith(_UNINITIALIZED):
            return
        if tensor.is_floating_point() or (count_of(tensor) or 0) <= 16:
            self.sample(tensor, moment, number, False, "value")

    def sample(self, tensor: torch.Tensor, moment: int, subject: int, of_parameter: bool, what: str) -> Reading | None:
        """Record the statistics of `tensor`, which may still be on their way from a device."""
        reading = self.statistics.read(tensor)
        if reading is not None:
            self.here.tracker.draft.samples.append((moment, subject, of_parameter, what, reading))
        return reading

    def loss(self, root: torch.Tensor, scaled: bool = False) -> None:
        """The number that the last moment, a backward, begins at, or that a scaler `scaled` there.

        None where it is more than a number, or cannot be read.
        """
        if not is_number(root):
            if not readable(root):
                return
            if not is_plain(root):
                root = dense(root)
            if root.numel() != 1 or not root.is_floating_point():
                return
        cell: list[float] = []
        draft = self.here.tracker.draft
        (draft.scaled if scaled else draft.losses).append((draft.length - 1, cell))
        self.statistics.scalar(root, cell.append)

    def norms(
        self, numbers: tuple[int, ...], tensors: Sequence[torch.Tensor], *, updated: bool = False
    ) -> list[Before]:
        """Norms of parameters and of their gradients, one fused call a device.

        `updated`: an update of them begins; what is returned is for `distances`, when it is over.
        """
        every = [*tensors, *map(_GRADIENT, tensors)]
        cell: Cell = []
        small = self.statistics.small_norms.take(every, cell.append)
        if small is not None:
            draft, named = self.here.tracker.draft, with_gradients(numbers)
            draft.norms.append((len(draft.moments) - 1, named, cell))
            return [Before(numbers, tensors, small, [], (named, cell))]
        if all_in_memory(every):
            try:
                norms = self._fused_norms(with_gradients(numbers), every)
                return self._copied(numbers, tensors, norms) if updated else []
            except RuntimeError:
                pass  # one of them has no norm: they are told apart below
        before: list[Before] = []
        for there in _by_device(numbers, tensors):
            parameters = tuple([number for number, *_ in there])
            norms = self._norms_told_apart(there)
            if updated:
                before += self._copied(parameters, [tensor for _, tensor, _ in there], norms)
        return before

    def _norms_told_apart(self, there: Sequence[Measurable]) -> tuple[tuple[int, ...], Cell]:
        """The same of tensors on one device, of which some gradients may have no norm."""
        found = [(number, plain) for number, _, plain in there]
        for number, tensor, _ in there:
            gradient = _measurable(tensor.grad)
            if gradient is not None:
                found.append((-1 - number, gradient))
        return self._fused_norms(tuple([number for number, _ in found]), [plain for _, plain in found])

    def _fused_norms(self, numbers: tuple[int, ...], tensors: list[torch.Tensor]) -> tuple[tuple[int, ...], Cell]:
        draft = self.here.tracker.draft
        cell: Cell = []
        self.statistics.norms(tensors, cell.append)
        draft.norms.append((draft.length - 1, numbers, cell))
        return numbers, cell

    def _copied(
        self, numbers: tuple[int, ...], tensors: Sequence[torch.Tensor], norms: tuple[tuple[int, ...], Cell]
    ) -> list[Before]:
        """Measurable parameters, on one device, as they are; nothing where a copy of them takes too much."""
        plain = list(map(dense, tensors))
        if sum(map(bytes_of, plain)) > self.room:
            return []
        return [Before(numbers, tensors, None, self.statistics.copies(plain), norms)]

    def distances(self, before: Sequence[Before]) -> None:
        """The update is over: how far it moved each parameter."""
        draft = self.here.tracker.draft
        now = len(draft.moments) - 1
        for numbers, tensors, small, copies, (named, norms) in before:
            # With the update, whose closure may have begun a step, go the norms from before it.
            draft.norms = [*[one for one in draft.norms if one[2] is not norms], (now, named, norms)]
            cell: Cell = []
            if small is not None:
                known = self.statistics.small_norms.take_distance(small, tensors, cell.append)
            else:
                plain = [one for one in map(_measurable, tensors) if one is not None]
                known = list(map(_form, plain)) == list(map(_form, copies))
                if known:
                    self.statistics.distances(copies, plain, cell.append)
            if known:
                draft.distances.append((now, numbers, cell))


def _measurable(tensor: torch.Tensor | None) -> torch.Tensor | None:
    """The tensor as one whose norm can be read; None where it cannot."""
    plain = dense(tensor) if tensor is not None and readable(tensor) else None
    return plain if plain is not None and plain.dtype in WITH_NORM else None


def _by_device(numbers: Sequence[int], tensors: Sequence[torch.Tensor]) -> list[list[Measurable]]:
    """The tensors that have a norm, those on one device together."""
    found: dict[torch.device, list[Measurable]] = {}
    for number, tensor in zip(numbers, tensors):
        plain = _measurable(tensor)
        if plain is not None:
            found.setdefault(plain.device, []).append((number, tensor, plain))
    return list(found.values())


def _form(tensor: torch.Tensor) -> tuple[object, ...]:
    return tensor.shape, tensor.dtype, tensor.device
