"""Why a tensor's `.grad` is what it is at a moment: one sentence, and the moment that answers it."""

from __future__ import annotations

from dataclasses import dataclass

from ..model.moments import Backward, GradChange, LeafChange, OpCall
from ..model.origin import is_result
from ..model.records import Tensor
from ..model.state import TensorState
from .scene import Scene
from .touches import Touch
from .words import line_word


@dataclass(frozen=True, slots=True)
class Because:
    """The sentence, and the moment of the scene's step that it speaks of, if there is one."""

    sentence: str
    moment: int | None = None


def why_grad(scene: Scene, tensor: Tensor) -> Because:
    """Why the tensor's `.grad` is None, or where it came from, at the scene's moment."""
    now = scene.state.tensors[tensor.number]
    if not now.exists:
        return _not_made(scene, tensor)
    last = _last_change(scene, tensor.number)
    if now.has_grad:
        return _filled(scene, last)
    if not now.requires_grad:
        return _needs_none(scene, tensor)
    if not now.is_leaf and not now.retains_grad:
        return Because(
            "None: it is a result, not a leaf. Backward passes its gradient on and does not keep it; "
            "retain_grad() before the backward would."
        )
    if last is not None:
        return Because(f"None: {_line(scene, last)} set it to None.", last)
    return _not_reached(scene, tensor, now)


def _not_made(scene: Scene, tensor: Tensor) -> Because:
    if tensor.made_by is None:
        return Because("It is not there yet at this moment.")
    return Because(f"It is not there yet: {_line(scene, tensor.made_by)} makes it.", tensor.made_by)


def _filled(scene: Scene, moment: int | None) -> Because:
    if moment is None:
        return Because("It was filled before this step.")
    record = scene.step.moments[moment]
    change = record.change if isinstance(record, GradChange) else "created"
    words = {
        "created": "the backward of {line} filled it",
        "accumulated": "the backward of {line} added to what was there",
        "zeroed": "{line} set it to zero",
    }.get(change, "{line} changed it")
    return Because(f"It is there: {words.format(line=_line(scene, moment))}.", moment)


def _needs_none(scene: Scene, tensor: Tensor) -> Because:
    """It does not require grad: because the user made it so, or because the op that made it cut the graph."""
    if tensor.is_inference:
        return Because("None: it was made under inference_mode, and autograd does not track it.", tensor.made_by)
    for event in scene.touches.of(tensor.number):
        record = scene.step.moments[event.moment]
        if isinstance(record, LeafChange) and record.tensor == tensor.number and not record.requires_grad:
            how = {
                "detach": "detach() took it out of the graph",
                "detach_": "detach_() took it out of the graph",
                "data": ".data is out of autograd's sight",
            }
            what = how.get(record.cause, f"{record.cause} says that it needs no gradient")
            return Because(f"None: {what} at {_line(scene, event.moment)}; backward never reaches it.", event.moment)
    result = is_result(scene.step, tensor)
    made = scene.step.moments[tensor.made_by] if tensor.made_by is not None else None
    if result and isinstance(made, OpCall):
        if not made.grad_enabled and any(scene.step.tensors[number].requires_grad for number in made.inputs):
            line = _line(scene, tensor.made_by)
            return Because(f"None: {line} made it under no_grad, so it has no history.", tensor.made_by)
        return Because("None: nothing it was made from needs a gradient; backward never reaches it.", tensor.made_by)
    what = "an earlier step made it, without a graph" if result else "it does not require a gradient"
    if tensor.role == "parameter":
        what = "it is frozen (requires_grad is False)"
    elif result is False:
        what = "you made it without requires_grad"
    return Because(f"None: {what}; backward never reaches it.")


def _not_reached(scene: Scene, tensor: Tensor, now: TensorState) -> Because:
    """It should get a gradient, and no moment up to now gave it one."""
    events = scene.touches.of(tensor.number)
    coming = [event.moment for event in events if event.touch is Touch.GRAD and event.moment > scene.moment]
    first = next((moment for moment in coming if _fills(scene, moment)), None)
    if now.has_grad is None:
        then = f"; {_line(scene, first)} fills it at moment {first + 1}" if first is not None else ""
        return Because(f"Not known: the recording did not see what it was before this step{then}.", first)
    if first is not None:
        return Because(f"None so far: {_line(scene, first)} fills it at moment {first + 1}.", first)
    backwards = [index for index, moment in enumerate(scene.step.moments) if isinstance(moment, Backward)]
    if not backwards:
        return Because("None: no backward runs in this step.")
    if backwards[0] > scene.moment:
        line = _line(scene, backwards[0])
        return Because(f"None: the backward of {line} does not reach it: no path leads there.", backwards[0])
    last = max(moment for moment in backwards if moment <= scene.moment)
    return Because(f"None: the backward of {_line(scene, last)} did not reach it: no path leads there.", last)


def _fills(scene: Scene, moment: int) -> bool:
    record = scene.step.moments[moment]
    return isinstance(record, GradChange) and record.has_grad


def _last_change(scene: Scene, tensor: int) -> int | None:
    """The last moment up to now that changed the tensor's gradient."""
    events = scene.touches.of(tensor)
    return next(
        (event.moment for event in reversed(events) if event.touch is Touch.GRAD and event.moment <= scene.moment), None
    )


def _line(scene: Scene, moment: int | None) -> str:
    """`train.py:24`, or words where the line is not known."""
    if moment is None:
        return "an earlier line"
    stack = scene.step.moments[moment].stack
    return line_word(next(iter(scene.trace.source_lines(stack)), None)) or "an unknown line"
