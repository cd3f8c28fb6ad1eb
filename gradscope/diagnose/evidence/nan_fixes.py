"""How ops are kept away from the values at which they, or their derivatives, are NaN or Inf."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ...model.findings import Place
from ...model.moments import OpCall
from ...model.records import Stats
from ...model.trace import Step
from ...repair.changes.calls import argument_replaced, with_keyword
from ...repair.changes.sizes import mean_of_picked, operand_raised, rooted
from ...repair.changes.values import chain_begun_with, masked_before, operand_followed_by, side_followed_by
from ...repair.ways import Change, Way
from .index import Case

_LOGS = ("log", "log2", "log10")
_ROOTS = ("sqrt", "rsqrt")
_ARCS = ("acos", "arccos", "asin", "arcsin", "atanh", "arctanh", "erfinv")
_SPREADS = ("std", "var")
_NORMS = ("norm", "vector_norm")
_EXPONENTIALS = ("exp", "expm1")
_DIVISIONS = ("div", "true_divide", "rdiv")
_MASKS = ("masked_fill", "masked_fill_")
_LARGE = 1e18  # a value whose square is still finite
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
    elif op == "logit":
        inside = "values at the border count as just inside"
        yield Way("keep the input inside", inside, place, _clamped(("logit",), "1e-6, 1 - 1e-6"))
    elif op in _EXPONENTIALS:
        yield Way("keep the input small", "values above 80 count as 80", place, _clamped(_EXPONENTIALS, "max=80"))
    else:
        yield from _of_size(op, place, known)


def _of_size(op: str, place: Place | None, known: list[Stats]) -> Iterator[Way]:
    """The same for what is divided by, raised, or measured in size."""
    if op in _SPREADS and all(one.numel == 1 for one in known):
        yield Way("divide by n", _SINGLE, place, with_keyword(_SPREADS, "unbiased", "False"))
    elif op == "std":
        equal = "where all are equal the spread is 1e-4 instead of 0"
        yield Way("keep the variance above 0", equal, place, rooted("std", "var", 1e-8))
    elif op in _NORMS:
        yield Way("keep the vector away from 0", "each value is 1e-12 more", place, operand_raised(_NORMS, "1e-12"))
    elif op == "pow" and known and known[0].max < _LARGE:
        below = "values below 1e-12 count as 1e-12"
        yield Way("keep the base above 0", below, place, side_followed_by(0, ".clamp(min=1e-12)"))
    elif op in _DIVISIONS and known and known[-1].min >= 0:
        below = "values below 1e-8 count as 1e-8"
        yield Way("keep the divisor above 0", below, place, side_followed_by(1, ".clamp(min=1e-8)"))
    elif op == "mean" and all(one.numel == 0 for one in known):
        yield Way("divide by the number of what is picked", "nothing picked counts as 0", place, mean_of_picked())


def unmasked(case: Case, step: Step, op: OpCall) -> Iterator[Way]:
    """The way to leave a softmax something where all of a row is masked: a finite number in the place of -inf."""
    mask = step.maker(op.inputs[0]) if op.inputs else None
    if op.name not in ("softmax", "log_softmax") or mask is None or mask.name not in _MASKS:
        return
    low = "-1e4" if step.tensors[op.inputs[0]].dtype == "float16" else "-1e9"
    even = "a row that is masked throughout is spread evenly"
    yield Way("mask with a large finite number", even, case.place(mask.stack), argument_replaced(_MASKS, 1, low))


def picked_before(op: str, place: Place | None, *, masked: bool) -> Iterator[Way]:
    """The way to leave out of an op what a mask leaves out of its result, where data lacks values."""
    if masked:
        yield Way(f"pick what is known before {op}", "the loss is the same", place, masked_before())


def _clamped(names: tuple[str, ...], bounds: str) -> Change:
    return operand_followed_by(names, f".clamp({bounds})")
