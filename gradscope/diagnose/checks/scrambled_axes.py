"""Views to the same sizes in another order, where an axis was to be moved."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ...model.build import op_id
from ...model.findings import Finding, Severity
from ...model.sizes import all_known
from ...repair.changes.calls import link_replaced
from ...repair.ways import Way
from ..evidence.index import Case
from ..evidence.wording import shape_of
from ..rules import LIKELY, Rule, check

SCRAMBLED = Rule("GS904", "axes-scrambled", Severity.WARNING, "A view reorders sizes without moving the data.")


@check(SCRAMBLED)
def scrambled(case: Case) -> Iterator[Finding]:
    """`view` or `reshape` to the same sizes in another order: that is what `transpose` and `permute` do."""
    for event in case.calls("view", "reshape"):
        step, call = event.step, event.moment
        if not call.inputs or not call.outputs:
            continue
        before, after = step.tensors[call.inputs[0]], step.tensors[call.outputs[0]]
        if not after.requires_grad or not _reorders(before.shape, after.shape):
            continue
        name = case.called(step, before.number)
        yield SCRAMBLED.finding(
            f"{call.name} turns {name} of shape {shape_of(before)} into {shape_of(after)} without moving its values",
            culprit=case.place(call.stack),
            step=step.number,
            confidence=LIKELY,
            explanation=f"{call.name} only counts the same memory anew: the values of one row end up in several. The "
            "sizes are the same in another order, so moving the axes is most likely what was meant.",
            fix=_moved(before.shape, after.shape, name),
            fixes=case.fixes(
                Way(
                    "move the axes",
                    "each value stays with its own row",
                    case.place(call.stack),
                    link_replaced((call.name,), _axes(before.shape, after.shape)),
                )
            ),
            nodes=(before.number, after.number, op_id(step.template, event.position)),
        )


def _reorders(before: Sequence[int], after: Sequence[int]) -> bool:
    """Whether an axis of `before` is found again in `after` with the same size and another stride, and only so.

    (B, T, C) as (B, C, T), or (B, C, T) as (B·T, C), or (B, C, H, W) as (B·H·W, C). Axes of size 1 do not matter.
    """
    one, other = _strides(before), _strides(after)
    lengths = [size for size, _ in one]
    if len(one) < 2 or len(other) < 2 or not all_known((*before, *after)):
        return False
    if len(one) == len(other):
        permuted = sorted(lengths) == sorted(size for size, _ in other)
        return permuted and len(set(lengths)) == len(lengths) and one != other
    last = other[-1][0]
    if tuple(before[: len(after) - 1]) == tuple(after[:-1]):
        return False  # the last axes alone are joined, as the heads of an attention are
    merged = len(other) < len(one) and (len(other) == 2 or len(other) == len(one) - 1)
    return merged and lengths.count(last) == 1 and last != lengths[-1]


def _strides(shape: Sequence[int]) -> list[tuple[int, int]]:
    """(size, stride) of each axis larger than 1, of contiguous memory."""
    found, stride = [], 1
    for size in reversed(shape):
        if size > 1:
            found.append((size, stride))
        stride *= size
    return found[::-1]


def _moved(before: Sequence[int], after: Sequence[int], name: str) -> str:
    same = _axes(before, after)
    if same:
        return f"{name}{same}"
    axis = list(before).index(after[-1])
    return f"move the axis to the end first: {name}.movedim({axis}, -1).reshape({', '.join(map(str, after))})"


def _axes(before: Sequence[int], after: Sequence[int]) -> str:
    """The call that moves the axes, where there are as many as before; else ""."""
    if len(before) == len(after):
        changed = [axis for axis, (one, other) in enumerate(zip(before, after)) if one != other]
        if len(changed) == 2:
            return f".transpose({changed[0]}, {changed[1]})"
        order = [list(before).index(size) for size in after]
        return f".permute({', '.join(map(str, order))})"
    return ""


CHECKS = (scrambled,)
