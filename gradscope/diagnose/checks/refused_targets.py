"""Targets that a loss refuses: which shape, class or type it has, and which is wanted."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import NamedTuple

from ...model import op_kinds
from ...model.findings import Finding, Place, Severity
from ...model.fixes import said
from ...model.records import Tensor
from ...repair.changes.values import side_followed_by
from ...repair.ways import Way
from ..evidence.index import Case
from ..evidence.refused_inputs import Refused, refused_call, shapes, source_line
from ..evidence.wording import shape_of
from ..rules import CERTAIN, Rule, check

BAD_TARGET = Rule(
    "GS906",
    "bad-target",
    Severity.ERROR,
    "The loss refused its target: wrong shape, type or class.",
    yields_to=frozenset({"GS954"}),  # whose dtype it is, and where that came in
)
_OF_CLASSES = frozenset({"cross_entropy", "nll_loss"})
_OF_NUMBERS = op_kinds.COMPARES | {"binary_cross_entropy", "binary_cross_entropy_with_logits", "kl_div"}
_MISSING_CLASS = re.compile(r"Target (-?\d+) is out of bounds")
_FLOAT = ("float", "bfloat", "complex")


class _Told(NamedTuple):
    message: str
    why: str
    fix: str
    ways: tuple[Way, ...] = ()


@check(BAD_TARGET)
def refused_targets(case: Case) -> Iterator[Finding]:
    """The error that ended the script, if a loss raised it for what it was given."""
    refused = refused_call(case)
    if refused is None or case.failure is None or refused.op not in op_kinds.LOSSES:
        return
    place = case.place(refused.event.moment.stack)
    told = _told(case, refused, place)
    fixes = case.fixes(*told.ways)
    related = [one for number in refused.data[:2] for one in source_line(case, refused, number, "made here")]
    yield BAD_TARGET.finding(
        told.message,
        culprit=place,
        step=refused.event.step.number,
        confidence=CERTAIN,
        related=related,
        explanation=told.why,
        fix=said(fixes, told.fix),
        fixes=fixes,
    )


def _told(case: Case, refused: Refused, place: Place | None) -> _Told:
    data = [refused.tensor(number) for number in refused.event.moment.inputs]
    told = None
    if len(data) >= 2 and refused.op in _OF_CLASSES and data[0].shape:
        told = _classes(case, refused, data[0], data[1], place)
    elif len(data) >= 2 and refused.op in _OF_NUMBERS:
        told = _numbers(case, refused, data[0], data[1], place)
    said_by_torch = case.failure.moment.message.partition("\n")[0] if case.failure is not None else ""
    return told or _Told(
        f"{refused.op} refused what it was given: {said_by_torch}",
        f"It was given {shapes(case, refused)}.",
        "make the target what the loss wants, where it comes from",
    )


def _classes(case: Case, refused: Refused, scores: Tensor, target: Tensor, place: Place | None) -> _Told | None:
    """A loss over classes: scores (N, C, …) and class numbers (N, …)."""
    classes = scores.shape[1] if len(scores.shape) > 1 else scores.shape[0]
    missing = _MISSING_CLASS.search(case.failure.moment.message) if case.failure is not None else None
    wanted = f"{refused.op} takes scores (N, C, …) and class numbers (N, …) from 0 to C - 1."
    if missing is not None:
        number = int(missing[1])
        more = f"give the last layer {number + 1} outputs" if number >= classes else "use ignore_index for a filler"
        return _Told(
            f"the target holds class {number}, and the scores are for {classes} classes, 0 to {classes - 1}",
            wanted,
            f"{more}, or number the classes from 0 where the labels come from",
        )
    given = f"the scores are {shape_of(scores)} and the target {shape_of(target)}"
    odd = _odd_shape(scores, target)
    if odd is not None:
        ways = [Way(words, meaning, place, side_followed_by(side, call)) for words, meaning, side, call in odd.changes]
        return _Told(f"{given}{odd.why}", wanted, odd.fix, tuple(ways))
    if target.shape and scores.shape[0] != target.shape[0]:
        why = f"{given}: {scores.shape[0]} samples and {target.shape[0]} targets"
        return _Told(why, wanted, "take both from the same batch, and reshape both alike")
    return None


class _Odd(NamedTuple):
    """What is odd in two shapes, and the changes of a side that mend it: words, meaning, 0 or 1, and the call."""

    why: str
    fix: str
    changes: tuple[tuple[str, str, int, str], ...]


def _odd_shape(scores: Tensor, target: Tensor) -> _Odd | None:
    """How scores and class numbers miss each other, where a call mends it."""
    one, other = tuple(scores.shape), tuple(target.shape)
    if one == other and not target.dtype.startswith(_FLOAT):
        numbers = ("give the class numbers", "the loss is that of the right class", 1, ".argmax(1)")
        shares = ("give them as probabilities", "it is the same for one-hot rows", 1, ".float()")
        return _Odd(": one whole number for each class", "give class numbers: target.argmax(1)", (numbers, shares))
    if len(other) == len(one) and other[1:2] == (1,):
        squeezed = ("drop the axis of one", "one class for each", 1, ".squeeze(1)")
        return _Odd(": it has an axis too many", "target.squeeze(1)", (squeezed,))
    if len(one) > 2 and one[:-1] == other:
        turned = ("put the classes second", "each place has its own class", 0, ".transpose(1, -1)")
        fix = "scores.transpose(1, -1), or scores.flatten(0, -2) and target.flatten()"
        return _Odd(": the classes are the last axis", fix, (turned,))
    if len(one) == 2 and len(other) > 1 and math.prod(other) == one[0]:
        flat = ("make one row of the target", "each score meets its class", 1, ".flatten()")
        return _Odd(": only the scores were made one row", "target.flatten()", (flat,))
    return None


def _numbers(case: Case, refused: Refused, prediction: Tensor, target: Tensor, place: Place | None) -> _Told | None:
    """A loss that compares numbers: two tensors of one shape."""
    if tuple(prediction.shape) == tuple(target.shape):
        return None
    message = f"{refused.op} was given {shapes(case, refused)}"
    why = "It compares number by number, so prediction and target have one shape."
    longer = len(prediction.shape) > len(target.shape)
    one, other = (prediction, target) if longer else (target, prediction)
    if tuple(one.shape) == (*other.shape, 1):
        side = 0 if longer else 1
        meaning = "each prediction meets its own target"
        ways = (
            Way("drop the last axis", meaning, place, side_followed_by(side, ".squeeze(-1)")),
            Way("give the other a last axis", meaning, place, side_followed_by(1 - side, ".unsqueeze(-1)")),
        )
        return _Told(message, why, "give both the same shape: .squeeze(-1) for the one with the axis of 1", ways)
    return _Told(message, why, "follow both shapes back to where they begin to differ; take both from the same batch")


CHECKS = (refused_targets,)
