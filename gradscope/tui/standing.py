"""What holds at a moment: the model's mode, whether gradients are on, autocast, the device. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from ..model.moments import ModeChange, ModuleCall, OpCall
from .scene import Scene

_NEAR = 64  # moments


def standing(scene: Scene) -> list[str]:
    """In a few words each; what the recording does not tell is left out."""
    if scene.step.row.light:  # its calls and switches were not watched
        return []
    modes = scene.state.modes
    found = list(_training(scene))
    if modes.inference:
        found.append("inference mode")
    else:
        found.append("grad on" if modes.grad else "no grad")
    if modes.autocast:
        found.append(f"autocast {modes.autocast}")
    device = _device(scene)
    return [*found, device] if device else found


def _training(scene: Scene) -> Iterator[str]:
    """`model train`, and the module at the cursor where its own flag is another: `model train (drop eval)`."""
    names, calls = scene.trace.names, scene.step.template.calls
    models = {one.model for one in names.parameters.values()}
    roots = [call for call in calls if call.parent is None]
    roots = [call for call in roots if call.module in models] or roots  # a loss has no weights, and rarely a mode
    if not roots:
        return
    inner = _call_at(scene, calls)
    outer = inner
    while outer is not None and outer.parent is not None:
        outer = calls[outer.parent]
    last = next((call for call in reversed(roots) if call.moment <= scene.moment), roots[0])
    root = outer if outer in roots else last
    flag = _flag(scene, root)
    if flag is None:
        return
    several = len({call.module for call in roots}) > 1
    name = (names.module(root.module) or names.modules[root.module].type) if several else ""
    words = " ".join(part for part in (name, _word(flag)) if part)
    if inner is not None and outer is root and inner.training is not flag:
        words += f" ({names.module(inner.module)} {_word(inner.training)})"
    yield words


def _call_at(scene: Scene, calls: tuple[ModuleCall, ...]) -> ModuleCall | None:
    """The call of a module that the op at the moment lies in, the innermost."""
    moment = scene.step.op(scene.moment if scene.moment >= 0 else None)
    if moment is None or moment.module is None:
        return None
    inside = (call for call in reversed(calls) if call.module == moment.module and call.moment <= scene.moment)
    return next((call for call in inside if moment.module_call in (None, call.call)), None)


def _flag(scene: Scene, root: ModuleCall) -> bool | None:
    """The root module's `training` at the moment, by its calls and switches; before the first of these a call tells."""
    told = [(call.moment, call.training, True) for call in scene.step.template.calls if call.module == root.module]
    for index in scene.step.positions(ModeChange):
        record = scene.step.moments[index]
        if isinstance(record, ModeChange) and record.mode == "training" and record.module == root.module:
            told.append((index, record.value == "train", False))
    told.sort(key=lambda one: one[0])
    before = [flag for moment, flag, _ in told if moment <= scene.moment]
    if before:
        return before[-1]
    _, flag, called = told[0]
    return flag if called else None


def _word(training: bool) -> str:
    return "train" if training else "eval"


def _device(scene: Scene) -> str:
    """Where the current op computes, else the last one not far before it."""
    for index in range(scene.moment, max(scene.moment - _NEAR, -1), -1):
        record = scene.step.moments[index]
        if isinstance(record, OpCall) and record.outputs:
            return scene.state.tensors[record.outputs[0]].device
    return ""
