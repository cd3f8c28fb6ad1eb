"""How ops are kept away from the values at which they, or their derivatives, are NaN or Inf."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ...model.findings import Place
from ...model.records import Stats
from ...repair.changes.calls import with_keyword
from ...repair.changes.values import chain_begun_with, operand_followed_by
from ...repair.ways import Change, Way

_LOGS = ("log", "log2", "log10")
_ROOTS = ("sqrt", "rsqrt")
_ARCS = ("acos", "arccos", "asin", "arcsin")
_SPREADS = ("std", "var")
_SINGLE = "a single value has the spread 0 instead of NaN"


def avoided(op: str, place: Place | None, *, half: bool, inputs: Iterable[Stats]) -> Iterator[Way]:
    """The ways to keep `op` at `place` away from such values; `half`: float16 overflowed in it."""
    if half:
        wide = "the values are the same; this part takes twice the memory"
        yield Way("compute this in float32", wide, place, chain_begun_with((op,), ".float()"))
        yield Way("compute this in float32", wide, place, operand_followed_by((op,), ".float()"))
        return
    known = list(inputs)
    if op in _LOGS:
        yield Way("keep the input above 0", "values below 1e-8 count as 1e-8", place, _clamped(_LOGS, "min=1e-8"))
        yield Way("keep the input above 0", "values below 1e-6 count as 1e-6", place, _clamped(_LOGS, "min=1e-6"))
    elif op in _ROOTS:
        yield Way("keep the input above 0", "values below 1e-12 count as 1e-12", place, _clamped(_ROOTS, "min=1e-12"))
    elif op in _ARCS:
        inside = "values at the border count as just inside"
        yield Way("keep the input inside", inside, place, _clamped(_ARCS, "-1 + 1e-6, 1 - 1e-6"))
    elif op in _SPREADS and all(one.numel == 1 for one in known):
        yield Way("divide by n", _SINGLE, place, with_keyword(_SPREADS, "unbiased", "False"))


def _clamped(names: tuple[str, ...], bounds: str) -> Change:
    return operand_followed_by(names, f".clamp({bounds})")
