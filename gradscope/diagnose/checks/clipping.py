"""Gradient clipping in the wrong place, and gradient scalers that are left out of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from ...model import op_kinds
from ...model.findings import Finding, Severity
from ...model.moments import Backward, Failure, GradChange, OpCall, OptimizerStep, ScalerCall
from ...model.trace import Step
from ...repair.changes.calls import kept_in_a_list, receiver
from ...repair.changes.statements import inserted, moved
from ...repair.ways import Way
from ...text import plural
from ..evidence.amp_fixes import scaled_rightly
from ..evidence.grad_lifetimes import FILLS, GradLifetimes, Use, only_measures, starved_optimizer
from ..evidence.index import Case
from ..evidence.source_lines import halved_model
from ..evidence.torch_errors import ErrorKind, torch_error
from ..evidence.wording import call_at, optimizer_name, parameter_names
from ..rules import CERTAIN, LIKELY, SURE, Rule, check

CLIPPING_MISPLACED = Rule(
    "GS504", "clipping-misplaced", Severity.WARNING, "Gradients are clipped where that has no effect on the update."
)
SCALED_GRADIENTS = Rule(
    "GS506",
    "scaled-gradients",
    Severity.ERROR,
    "Gradients are clipped or used while they are multiplied by a GradScaler's scale.",
)
SCALER_MISUSED = Rule("GS507", "scaler-misused", Severity.ERROR, "GradScaler calls are missing or in the wrong order.")


# -- GS504 -----------------------------------------------------------------------------------------


@check(CLIPPING_MISPLACED)
def clipping_misplaced(case: Case) -> Iterator[Finding]:
    """Clippings that found no gradients, only such as an update had read, or such as no update ever reads."""
    lives = GradLifetimes.of(case)
    vain, useful = lives.vain_clips, {slot.clipped for use in lives.updates for slot in use.slots.values()}
    for clip in lives.clips:
        call = call_at(case, clip.stack, "clip_grad_norm_()")
        if not clip.slots:
            yield _clips_nothing(case, clip, call)
        elif all(slot.empty for slot in clip.slots.values()):
            yield from _clips_before(case, clip, call)
        elif clip.stack in vain and clip.stack not in useful:
            yield _clips_in_vain(case, clip, call)
        elif all(slot.used is not None and slot.clipped is None for slot in clip.slots.values() if not slot.empty):
            yield from _clips_after(case, clip, call)


@check(CLIPPING_MISPLACED)
def clipping_failed(case: Case) -> Iterator[Finding]:
    """The script died in a clipping by value that found no gradient at all."""
    failure = case.failure
    if failure is None:
        return
    calls = (event.moment for event in case.events(Failure) if event.moment.call == "clip_grad_value_")
    if any(
        call.stack == failure.moment.stack and torch_error(call.message).kind is ErrorKind.NOTHING_TO_CLIP
        for call in calls
    ):
        call = call_at(case, failure.moment.stack, "clip_grad_value_()")
        yield CLIPPING_MISPLACED.finding(
            f"{call} found no gradient to clip: none of its parameters has one yet",
            culprit=case.place(failure.moment.stack),
            step=failure.step.number,
            confidence=CERTAIN,
            explanation="Gradients are there after a backward has run and before they are cleared. clip_grad_value_ "
            f"raises an error where there is none: {failure.moment.message.splitlines()[0][:80]}",
            fix=f"move {call} between backward() and the optimizer's step()",
        )


def _clips_nothing(case: Case, clip: Use, call: str) -> Finding:
    op = clip.step.op(clip.position)
    if op is not None and op.inputs:
        return CLIPPING_MISPLACED.finding(
            f"{call} was given {plural(len(op.inputs), 'tensor')} that have no .grad: it clips nothing",
            culprit=case.place(clip.stack),
            step=clip.number,
            confidence=SURE,
            explanation="It takes parameters and clips their .grad. It was given other tensors, perhaps the gradients "
            "themselves, and those have no .grad of their own.",
            fix="pass the parameters: clip_grad_norm_(model.parameters(), …)",
        )
    return CLIPPING_MISPLACED.finding(
        f"{call} was given no parameters: it clips nothing",
        culprit=case.place(clip.stack),
        step=clip.number,
        confidence=SURE,
        explanation="A generator such as model.parameters() is empty after it was used once, for instance by an "
        "optimizer that was built with it.",
        fix="call model.parameters() again, or keep list(model.parameters())",
        fixes=case.fixes(
            Way(
                "keep the parameters in a list",
                "it can be gone through again",
                case.place(clip.stack),
                kept_in_a_list(("clip_grad_norm_", "clip_grad_value_", "clip_grads_with_norm_")),
            )
        ),
    )


def _clips_before(case: Case, clip: Use, call: str) -> Iterator[Finding]:
    """A finding if gradients come after the clipping and are used unclipped."""
    step, came = clip.step, None
    for index in range(clip.position + 1, len(step.moments)):
        moment = step.moments[index]
        if isinstance(moment, OpCall) and moment.name in op_kinds.CLIPS:
            return
        if isinstance(moment, GradChange) and moment.change in FILLS:
            if any(step.tensors[tensor].parameter in clip.slots for tensor in moment.tensors):
                came = moment.stack
        elif isinstance(moment, OptimizerStep) and came is not None:
            if not any(step.tensors[tensor].parameter in clip.slots for tensor in moment.updated):
                continue
            backward, update = call_at(case, came, "backward()"), call_at(case, moment.stack, "the update")
            yield CLIPPING_MISPLACED.finding(
                f"{call} runs before {backward}: there are no gradients to clip yet",
                culprit=case.place(clip.stack),
                step=clip.number,
                confidence=SURE,
                related=case.places((came, "makes the gradients, after"), (moment.stack, "uses them unclipped")),
                explanation=f"When {call} ran, .grad of {parameter_names(case, clip.slots)} was empty. The gradients "
                f"come with {backward}, and {update} uses them as they are, however large.",
                fix=f"move {call} between {backward} and {update}",
                fixes=case.fixes(
                    Way(
                        "clip after the backward",
                        "updates are as large as the limit allows",
                        case.meeting(clip.stack, came),
                        moved(case.meeting(came, clip.stack), before=False),
                    )
                ),
            )
            return


def _clips_after(case: Case, clip: Use, call: str) -> Iterator[Finding]:
    op = clip.step.op(clip.position)
    if op is not None and only_measures(op):
        return
    slot = next(slot for slot in clip.slots.values() if slot.used is not None)
    update = call_at(case, slot.used, "the update")
    yield CLIPPING_MISPLACED.finding(
        f"{call} runs after {update} has used the gradients: it changes nothing",
        culprit=case.place(clip.stack),
        step=clip.number,
        confidence=SURE,
        related=case.places((slot.filled, "makes the gradients"), (slot.used, "uses them unclipped")),
        explanation=f"{update} had already moved {parameter_names(case, clip.slots)} by the unclipped gradients.",
        fix=f"move {call} between {call_at(case, slot.filled, 'backward()')} and {update}",
        fixes=case.fixes(
            Way(
                "clip before the update",
                "updates are as large as the limit allows",
                case.meeting(clip.stack, slot.used),
                moved(case.meeting(slot.used, clip.stack), before=True),
            )
        ),
    )


def _clips_in_vain(case: Case, clip: Use, call: str) -> Finding:
    """The clipped gradients are cleared before any update: those of a network that is not stepped now."""
    slot = next(slot for slot in clip.slots.values() if slot.fresh)
    update = next(
        (event.moment for event in case.events(OptimizerStep, clip.step) if event.position > clip.position), None
    )
    name = optimizer_name(case, update.optimizer) if update is not None else ""
    return CLIPPING_MISPLACED.finding(
        f"{call} clips gradients that no update uses: they are cleared first",
        culprit=case.place(clip.stack),
        step=clip.number,
        confidence=SURE,
        related=case.places(
            (slot.filled, "makes the gradients"), (update.stack if update is not None else None, "the next update")
        ),
        explanation=f"It clips .grad of {parameter_names(case, clip.slots)}, which is thrown away every time"
        + (f", while {name} steps with gradients that nothing clips." if name else "."),
        fix=f"clip the parameters of {name or 'the network that is stepped next'}",
    )


@check(CLIPPING_MISPLACED)
def clipped_in_parts(case: Case) -> Iterator[Finding]:
    """Updates with gradients that were clipped before all backwards had added to them."""
    told: set[int | None] = set()
    for use in GradLifetimes.of(case).updates:
        parts = {one: slot for one, slot in use.slots.items() if slot.between is not None and len(slot.sources) == 1}
        slot = next(iter(parts.values()), None)
        if slot is None or slot.between in told:
            continue
        told.add(slot.between)
        call, backward = call_at(case, slot.between, "the clipping"), call_at(case, slot.filled, "backward()")
        yield CLIPPING_MISPLACED.finding(
            f"{call} runs after each of {slot.fills} backwards that add up for one update",
            culprit=case.place(slot.between),
            step=use.number,
            confidence=LIKELY,
            related=case.places((slot.filled, "adds to the clipped gradients"), (use.stack, "uses the sum")),
            explanation=f"{backward} adds to .grad {slot.fills} times before {call_at(case, use.stack, 'the update')}. "
            f"Clipped in between, {parameter_names(case, parts)} follow the last micro-batch more than those before "
            "it, whose gradients are cut again and again.",
            fix=f"call {call} once for each update, after the last backward",
            fixes=case.fixes(
                Way(
                    "clip right before the update",
                    "the limit is for the sum that the update follows",
                    case.meeting(slot.between, use.stack),
                    moved(case.meeting(use.stack, slot.between), before=True),
                )
            ),
        )


# -- GS506 -----------------------------------------------------------------------------------------


@check(SCALED_GRADIENTS)
def scaled_gradients(case: Case) -> Iterator[Finding]:
    """Clippings and plain optimizer steps that met gradients still multiplied by the scale."""
    slots = GradLifetimes.of(case)
    for clip in slots.clips:
        scaled = {one: slot for one, slot in clip.slots.items() if slot.scaled and slot.fresh}
        if scaled:
            call = call_at(case, clip.stack, "the clipping")
            backward = next(slot.filled for slot in scaled.values())
            optimizer = _owner(case, scaled)
            yield SCALED_GRADIENTS.finding(
                f"{call} clips gradients that are still multiplied by the loss scale",
                culprit=case.place(clip.stack),
                step=clip.number,
                confidence=SURE,
                related=case.places((backward, "makes gradients times the scale")),
                explanation="GradScaler.scale() multiplies the loss, and with it every gradient, by a large factor. "
                "Clipped to the limit at that size, they become tiny when the scaler divides by the factor again.",
                fix=f"call scaler.unscale_({optimizer}) before {call}",
                fixes=case.fixes(
                    Way(
                        "take the scale off before clipping",
                        "the limit is for the true gradients",
                        case.place(clip.stack),
                        inserted(f"{_scaler_of(case, clip)}.unscale_({optimizer})", before=True),
                    )
                ),
            )
    for use in slots.updates:
        if use.optimizer is None or not any(slot.scaled and not slot.empty for slot in use.slots.values()):
            continue
        if not _by_scaler(use):
            call, name = call_at(case, use.stack, "step()"), optimizer_name(case, use.optimizer)
            backward = next(slot.filled for slot in use.slots.values() if slot.scaled)
            yield SCALED_GRADIENTS.finding(
                f"{call} uses gradients that are still multiplied by the loss scale",
                culprit=case.place(use.stack),
                step=use.number,
                confidence=SURE,
                related=case.places((backward, "makes gradients times the scale")),
                explanation="The loss was scaled by a GradScaler, but the optimizer steps without it: the update is as "
                "many times too large as the scale says, and Inf or NaN are not skipped.",
                fix=f"call scaler.step({name}) and scaler.update() instead of {call}",
            )


def _by_scaler(use: Use) -> bool:
    """Whether the update was made by `scaler.step(optimizer)`: that call ends right after it, on the same line."""
    for moment in use.step.moments[use.position + 1 :]:
        if isinstance(moment, ScalerCall):
            return moment.call == "step" and moment.optimizer == use.optimizer
        if isinstance(moment, (Backward, OptimizerStep)):
            return False
    return False


def _scaler_of(case: Case, use: Use) -> str:
    """What the script calls the scaler that scaled the loss of a step."""
    for event in case.events(ScalerCall, use.step):
        sites = case.sites(event.moment.stack)
        name = receiver(sites[0].expression, event.moment.call) if sites else ""
        if name:
            return name
    return "scaler"


def _owner(case: Case, parameters: Iterable[int]) -> str:
    """What the script calls the optimizer of these parameters."""
    wanted = set(parameters)
    for optimizer, members in case.members.items():
        if not wanted.isdisjoint(members):
            return optimizer_name(case, optimizer)
    return "optimizer"


# -- GS507 -----------------------------------------------------------------------------------------


class _Misuse(NamedTuple):
    """An error that GradScaler raises: what it means, the fix, and whose line is to change."""

    means: str
    fix: str
    blames: str  # "call": the line that raised; "backward": that of the last one; "half": what made the model so


_SCALES = "write scaler.scale(loss).backward(), and step the optimizer whose parameters that loss reaches"
_REACHES = "build the optimizer from the parameters that the loss reaches: behind every line that replaces some of them"
_MISUSES = {
    ErrorKind.SCALER_STEPPED_TWICE: _Misuse(
        "scaler.step() ran twice without scaler.update() in between",
        "call scaler.update() once after scaler.step() in every iteration",
        "call",
    ),
    ErrorKind.SCALER_UNSCALED_TWICE: _Misuse(
        "the gradients of this optimizer were already divided by the scale, and scaler.update() has not run since",
        "call scaler.unscale_() once for each update, and scaler.update() after scaler.step()",
        "call",
    ),
    ErrorKind.SCALER_UNSCALED_LATE: _Misuse(
        "scaler.unscale_() comes after scaler.step(), which has unscaled and used the gradients already",
        "move scaler.unscale_() in front of scaler.step()",
        "call",
    ),
    ErrorKind.SCALER_NEVER_SCALED: _Misuse(
        "the scaler has never scaled a loss, so it knows no scale to divide by",
        "write scaler.scale(loss).backward() instead of loss.backward()",
        "backward",
    ),
    ErrorKind.SCALER_UPDATED_EARLY: _Misuse(
        "scaler.update() runs before any optimizer was stepped by the scaler",
        "step through the scaler before it: scaler.step(optimizer), then scaler.update()",
        "call",
    ),
    ErrorKind.SCALER_MEETS_HALF: _Misuse(
        "the parameters themselves are float16, so their gradients are too, and the scaler unscales float32 ones only",
        "keep the model in float32 (no model.half()) and let torch.autocast choose float16 for each op",
        "half",
    ),
    ErrorKind.SCALER_WANTS_TENSOR: _Misuse(
        "scaler.scale() was given something that is no tensor",
        "give it the loss itself, without item() or float(): scaler.scale(loss).backward()",
        "call",
    ),
    ErrorKind.SCALER_FOUND_NO_GRADIENTS: _Misuse(
        "the scaler has no gradients to look at: no scaled loss has reached this optimizer's parameters",
        _SCALES,
        "backward",
    ),
}


def _scales(case: Case, step: Step) -> bool:
    """Whether a loss was scaled in that step."""
    return any(event.moment.call == "scale" for event in case.events(ScalerCall, step))


@check(SCALER_MISUSED)
def scaler_misused(case: Case) -> Iterator[Finding]:
    """The script died of an error that GradScaler raised."""
    failure = case.failure
    if failure is None:
        return
    misuse = _MISUSES.get(case.error.kind) if case.error.kind is not None else None
    if misuse is None:
        return
    stack = failure.moment.stack
    if misuse.blames == "backward":
        stack = next((event.moment.stack for event in reversed(list(case.events(Backward)))), stack)
    scaled = _scales(case, failure.step)
    cause = case.place(stack)
    if misuse.blames == "half":
        cause = halved_model(case) or cause
    elif misuse.fix == _SCALES and scaled:
        starved = starved_optimizer(case)
        cause = (
            case.bound(case.optimizers[starved].stack, optimizer_name(case, starved)) if starved is not None else cause
        )
    yield SCALER_MISUSED.finding(
        misuse.means,
        culprit=cause,
        step=failure.step.number,
        confidence=CERTAIN,
        related=case.places((failure.moment.stack, "raises")),
        explanation=f"GradScaler keeps account of each iteration: scale, backward, (unscale_), step, update. Here "
        f"{misuse.means}, and it stops with: {failure.moment.message.splitlines()[0]}",
        fix=_REACHES if misuse.fix == _SCALES and scaled else misuse.fix,
        fixes=case.fixes(*scaled_rightly(case.error.kind, case.place(stack), case.place(failure.moment.stack))),
    )


CHECKS = (clipping_misplaced, clipping_failed, clipped_in_parts, scaled_gradients, scaler_misused)
