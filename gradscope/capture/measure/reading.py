"""What was measured of one tensor at one moment."""

from __future__ import annotations

from collections.abc import Sequence

from ...model.packed_samples import Form, pack_values


class Reading:
    """What was read of a tensor at one moment, packed as `PackedSamples` holds it. `stats` is None while it is owed."""

    __slots__ = ("form", "stats", "values")

    def __init__(self, form: Form, stats: bytes | None = None, values: bytes = b"") -> None:
        self.form, self.stats, self.values = form, stats, values


def of_triples(numbers: Sequence[float]) -> Reading:
    """Numbers that were computed, three by three: they have no statistics."""
    return Reading(((len(numbers) // 3, 3), False, len(numbers)), b"", pack_values(numbers))
