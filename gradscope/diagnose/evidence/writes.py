"""Who wrote to a tensor's memory, when, and how to say it."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from ...model import op_kinds, writers
from ...model.findings import Place
from ...model.moments import Mutation, OpCall, OptimizerStep
from ...model.records import Tensor
from ...model.trace import Step
from .arguments import arguments
from .index import Case, at

ASSIGNED = "data ="
OPTIMIZER = "optimizer.step()"


class Write(NamedTuple):
    """One write: its moment, the op that made it (if one did), and the tensor that it was made through."""

    moment: int
    tensor: int
    op: int | None
    counted: bool
    stack: int | None
    cause: str


def writes(case: Case, step: Step) -> Mapping[int, Sequence[Write]]:
    """Every write of a step by the storage it hit, in order."""
    found: dict[int, list[Write]] = defaultdict(list)
    for _, index, moment in case.events(Mutation, step):
        write = Write(index, moment.tensor, op_of(step, index), moment.counted, moment.stack, moment.cause)
        found[step.tensors[moment.tensor].storage].append(write)
    for _, index, update in case.events(OptimizerStep, step):
        for tensor, (before, after) in zip(update.updated, update.versions):
            write = Write(index, tensor, None, after != before, update.stack, OPTIMIZER)
            found[step.tensors[tensor].storage].append(write)
    return {storage: sorted(group) for storage, group in found.items()}


def op_before(step: Step, position: int) -> int | None:
    """The last op before a moment."""
    ops = step.positions(OpCall)
    place = bisect_left(ops, position)
    return ops[place - 1] if place else None


def op_of(step: Step, position: int) -> int | None:
    """The op that wrote what the mutation at `position` tells; None where none that was seen did."""
    return writers.op_of(step.moments, position)


def made_by_module(case: Case, step: Step, op: int | None) -> int | None:
    """The stack that made the torch module whose own code ran the op; None for ops of the script's own code."""
    call = step.op(op)
    if call is None or call.direct or call.module is None:
        return None
    module = case.modules.get(call.module)
    return module.stack if module is not None and case.sites(module.stack) else None


def writer(case: Case, step: Step, write: Write, backward: int | None) -> tuple[Place | None, tuple[Place, ...]]:
    """(the line to change, further lines of the write). `backward`: the stack of the backward that it disturbs.

    For a module of torch's that works in place, that is the line that made the module. An update of parameters
    is right in itself and comes at the wrong time: then it is the line that calls for it before the backward,
    but the write's own line where that call is the model's, which has to run before the backward.
    """
    maker = made_by_module(case, step, write.op)
    if maker is not None:
        return case.place(maker), case.places((write.stack, "the call in which it wrote"))
    running = running_call(case, step, write, backward)
    if running is not None:
        return case.place(write.stack), case.places((running, "the call in which it wrote"))
    if write.cause == OPTIMIZER or owner_of(step, write.tensor) is not None:
        place = case.meeting(write.stack, backward)
        return place, tuple(p for p in case.places((write.stack, "the write itself")) if not same_line(p, place))
    return case.place(write.stack), ()


def running_call(case: Case, step: Step, write: Write, backward: int | None) -> int | None:
    """The stack of the model's call in which a hook or a forward wrote to a parameter, the backward being outside."""
    if owner_of(step, write.tensor) is None:
        return None
    sites, others = case.sites(write.stack), case.sites(backward)
    calls = {case.sites(call.stack): call.stack for call in step.template.calls if call.moment <= write.moment}
    around = (sites[outer:] for outer in range(len(sites) - 1, 0, -1) if sites[outer:] in calls)
    return next((calls[call] for call in around if others[-len(call) :] != call), None)


def owner_of(step: Step, tensor: int) -> Tensor | None:
    """The parameter whose memory a tensor of the step shares, if it does."""
    storage = step.tensors[tensor].storage
    return next((t for t in step.tensors if t.storage == storage and t.role in ("parameter", "leaf")), None)


def same_line(one: Place, other: Place | None) -> bool:
    return other is not None and (one.file, one.line) == (other.file, other.line)


def deed(case: Case, step: Step, write: Write) -> str:
    """What the write was, for a sentence: `h += shortcut`, `mul_`, `optimizer.step()`."""
    if write.cause == OPTIMIZER:
        return OPTIMIZER
    if write.cause in op_kinds.SHARES_MEMORY:
        return "through memory that it shares with numpy" if write.cause != "frombuffer" else "through its buffer"
    if write.cause == ASSIGNED:
        return "by assigning to its .data"
    call = step.op(write.op)
    if call is not None and not call.direct:
        module = case.modules.get(call.module) if call.module is not None else None
        if module is not None:
            return f"{module.type}(inplace=True)" if arguments(call).named.get("inplace") is True else module.type
    sites = case.sites(write.stack)
    if sites:
        augmented = _AUGMENTED.match(sites[0].code)
        if augmented:
            return f"{augmented[1].strip()} {augmented[2]}= ..."
    return {"__setitem__": "an index assignment"}.get(write.cause, write.cause)


_AUGMENTED = re.compile(r"^([\w.\[\]'\", ]+?)\s*([-+*/@%]|\*\*|//)=\s*(.+?)\s*(?:#.*)?$")


def lines(case: Case, stack: int | None) -> tuple[Place, ...]:
    """All lines of a stack, innermost first."""
    return tuple(at(site) for site in case.sites(stack))
