"""Moves between devices: tensors left behind, and copies made again in every step."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

from ...model.build import tensor_id
from ...model.findings import Finding, Severity
from ...model.moments import Move
from ...model.trace import Step
from ..evidence.ancestry import Made, made
from ..evidence.index import Case, Event
from ..evidence.torch_errors import ErrorKind
from ..rules import CERTAIN, SURE, Rule, check

MIXED_DEVICES = Rule(
    "GS952", "devices-mixed", Severity.ERROR, "An op was given tensors of different devices: one was left behind."
)
MOVED_EACH_STEP = Rule(
    "GS953", "moved-in-every-step", Severity.NOTE, "The same tensor is copied to a device again in every step."
)
_OFTEN = 3


@check(MIXED_DEVICES)
def left_behind(case: Case) -> Iterator[Finding]:
    """The error that ended the script, if an op was given tensors of several devices."""
    event = case.refusal
    if event is None or case.error.kind is not ErrorKind.DEVICES_MIXED:
        return
    step = event.step
    by_device: dict[str, list[int]] = defaultdict(list)
    for number in event.moment.inputs:
        if step.tensors[number].shape or step.tensors[number].device != "cpu":  # a CPU scalar goes anywhere
            by_device[step.tensors[number].device].append(number)
    if len(by_device) < 2:
        return
    wanted = _wanted(case, step, by_device)
    odd = next(number for device, numbers in by_device.items() if device != wanted for number in numbers)
    name, subject = case.called(step, odd), made(case, step, odd)
    owner = case.parameter(step, odd)
    there = step.tensors[odd].device
    registered = owner is not None and owner.role == "buffer"
    yield MIXED_DEVICES.finding(
        f"{name} is on {there}, and the other tensors of this call on {wanted}",
        culprit=case.place(subject.stack if subject.stack is not None else event.moment.stack),
        step=step.number,
        confidence=CERTAIN,
        related=case.places((event.moment.stack, "the two devices meet here")),
        explanation="An op computes on one device. "
        + (
            "Module.to() was not called on its module."
            if registered or _is_parameter(case, step, odd)
            else _not_moved()
        ),
        fix=f"make {name} on the device of the model (device=x.device), or let the module move it: "
        f"self.register_buffer('{name.rpartition('.')[2]}', ...)",
        nodes=(tensor_id(step.template, odd),),
    )


def _not_moved() -> str:
    return "Module.to() moves parameters and buffers; a tensor that is a plain attribute or variable stays where it is."


def _is_parameter(case: Case, step: Step, number: int) -> bool:
    owner = case.parameter(step, number)
    return owner is not None and owner.role == "parameter"


def _wanted(case: Case, step: Step, by_device: dict[str, list[int]]) -> str:
    """The device that the call should run on: its parameters', else the one that is not the CPU."""
    for device, numbers in by_device.items():
        if any(_is_parameter(case, step, number) for number in numbers):
            return device
    return next((device for device in by_device if device != "cpu"), "cpu")


@dataclass
class _Repeated:
    """Moves of one tensor by one line."""

    event: Event[Move]
    source: Made
    steps: set[int] = field(default_factory=set)


@check(MOVED_EACH_STEP)
def moved_in_every_step(case: Case) -> Iterator[Finding]:
    """A tensor that outlives the steps, copied to the same device in each of them."""
    found: dict[tuple[int | None, tuple[int, int]], _Repeated] = {}
    for step in case.training():
        for event in case.events(Move, step):
            move = event.moment
            if move.source is None or move.from_device == move.to_device:
                continue
            source = made(case, step, move.source)
            if source.step.number == step.number and case.parameter(step, move.source) is None:
                continue  # new in this step, such as a batch
            one = found.setdefault((move.stack, source.key), _Repeated(event, source))
            one.steps.update(row.number for row in case.repeats(step))
    for one in found.values():
        if len(one.steps) >= _OFTEN:
            yield _again(case, one)


def _again(case: Case, one: _Repeated) -> Finding:
    step, _, move = one.event
    assert move.source is not None
    name, count = case.called(step, move.source), len(one.steps)
    trained = _is_parameter(case, step, move.source) and step.tensors[move.source].requires_grad
    size = f"{move.nbytes:,} bytes"
    return MOVED_EACH_STEP.finding(
        f"{name} is copied from {move.from_device} to {move.to_device} in each of {count} steps ({size} every time)",
        culprit=case.place(move.stack),
        step=step.number,
        confidence=SURE,
        related=case.places((one.source.stack, "made here")),
        explanation="The tensor is the same in every step, so one copy would do. "
        + ("Its gradient is copied back in every step as well. " if trained else "")
        + "Each copy waits for the bus and, from ordinary memory, for the device.",
        fix="move the module before the optimizer is built: model.to(device)"
        if trained
        else "move it once before the loop, or register it as a buffer so that model.to(device) moves it",
        nodes=(tensor_id(step.template, move.source),),
        severity=Severity.WARNING if trained else None,
    )


CHECKS = (left_behind, moved_in_every_step)
