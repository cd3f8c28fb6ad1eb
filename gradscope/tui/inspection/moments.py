"""What the inspector says of an op, and of a moment that is about no tensor in particular. Pure."""

from __future__ import annotations

from ...model.moments import OpCall, OptimizerStep
from ...model.records import Tensor
from ...text import elide_list, number, printable, tensor_type
from ..scene import Scene
from ..words import line_word, moment_words, tensor_word
from .facts import NAMES, Fact, Section, Sheet, filled


def op_sheet(scene: Scene, index: int) -> Sheet:
    """The call at moment `index`: how it ran, what it read and made."""
    moment = scene.step.moments[index]
    if not isinstance(moment, OpCall):
        return moment_sheet(scene)
    names = scene.trace.names
    facts = [Fact("line", line_word(next(iter(scene.trace.source_lines(moment.stack)), None)), moment=index)]
    if moment.module is not None and moment.module in names.modules:
        module = f"{names.module(moment.module)} ({names.modules[moment.module].type})"
        facts.append(Fact("module", printable(module)))
    if moment.arguments:
        facts.append(Fact("arguments", printable(moment.arguments)))
    facts.append(Fact("grad mode", "on" if moment.grad_enabled else "off: no history is recorded"))
    if moment.autocast:
        facts.append(Fact("autocast", moment.autocast))
    facts.append(Fact("grad nodes", str(moment.grad_nodes)))
    tensors = scene.step.tensors
    ends = [Fact("reads", _end(tensors[number])) for number in moment.inputs]
    ends += [Fact("makes", _end(tensors[number])) for number in moment.outputs]
    verdict = "an operation of the forward pass"
    sections = filled((Section("call", tuple(facts)), Section("tensors", tuple(ends))))
    return Sheet(moment_words(scene.step, index), "op", verdict, sections, printable(moment.name))


def _end(tensor: Tensor) -> str:
    needs = "needs grad" if tensor.requires_grad else "needs no grad"
    return f"{tensor_word(tensor)}  {tensor_type(tensor.dtype, tensor.shape)}  {needs}"


_LESSONS = {
    "zero_grad": "forgets the gradients of the step before: backward adds to what is in .grad, it never replaces it",
    "mode": "a switch that changes what the calls after it do",
    "optimizer": "changes each parameter in place, by its gradient; gradients themselves stay until they are zeroed",
    "scheduler": "changes the learning rate of the steps to come",
    "failure": "the exception left its traceback at this line",
    "note": "a note of the recorder",
    "scaler": "GradScaler keeps small float16 gradients from vanishing",
}


def moment_sheet(scene: Scene) -> Sheet:
    """What can be said where a moment is about no tensor in particular: the step and its modes."""
    modes = scene.state.modes
    facts = [
        Fact("grad mode", "on" if modes.grad and not modes.inference else "off: no history is recorded"),
        *([Fact("autocast", modes.autocast)] if modes.autocast else []),
    ]
    row = scene.step.row
    if row.loss is not None:
        facts.append(Fact("loss", number(row.loss), figures=(("", row.loss),)))
    several = len(scene.trace.source.optimizers()) > 1
    for optimizer, group, rate in row.learning_rates[:NAMES]:
        of = f"{printable(scene.trace.optimizer_name(optimizer))}, " * several
        facts.append(Fact("lr", f"{number(rate)} ({of}group {group})", figures=(("", rate),)))
    known = scene.step.unwatched
    facts.append(Fact("detail", row.detail.value if known is None else printable(str(known))))
    if scene.step.broken is not None:
        facts.append(Fact("damaged", printable(scene.step.broken)))
    kind = scene.step.moments[scene.moment].kind if scene.moment >= 0 else ""
    verdict = _LESSONS.get(kind, "step on with the right arrow; [ and ] travel by phases")
    if scene.moment >= 0 and isinstance(moment := scene.step.moments[scene.moment], OptimizerStep):
        names = (tensor_word(scene.step.tensors[number]) for number in moment.updated)
        facts.append(Fact("updates", elide_list(names, 2 * NAMES) or "nothing"))
    return Sheet(moment_words(scene.step, scene.moment), "moment", verdict, (Section("step", tuple(facts)),))
