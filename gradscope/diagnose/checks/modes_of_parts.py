"""Modes of parts: frozen layers that act as in training, and modules that no train() or eval() can reach."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ...model.findings import Finding, Place, Severity
from ...model.moments import ModeChange, ModuleCall, OptimizerStep
from ...model.trace import Step
from ...repair.changes.calls import receiver
from ...repair.changes.modules import in_the_mode_of_self
from ...repair.changes.statements import inserted, switched
from ...repair.ways import Way
from ...text import plural
from ..evidence.dataflow import Dataflow
from ..evidence.index import Case, once_a_case
from ..evidence.model_runs import ModelCall, acts_as_training, followers, model_calls, model_lives
from ..evidence.parameters import Ownership
from ..evidence.wording import module_name, parameter_names, variable
from ..rules import LIKELY, SURE, Rule, check

FROZEN_IN_TRAINING = Rule(
    "GS705",
    "frozen-part-in-train-mode",
    Severity.WARNING,
    "A frozen network acts as in training: its statistics move, or its dropout drops values.",
)
OUT_OF_REACH = Rule(
    "GS706",
    "mode-out-of-reach",
    Severity.WARNING,
    "A module made in forward() stays in training mode in evaluations.",
)


# -- GS705 -----------------------------------------------------------------------------------------


@check(FROZEN_IN_TRAINING)
def frozen_part_in_train_mode(case: Case) -> Iterator[Finding]:
    """Batch norms whose parameters never learn, but whose statistics do; and teachers that drop values."""
    told: set[int] = set()
    for step in case.training():
        if not any(True for _ in case.events(OptimizerStep, step)):
            continue
        for one in model_calls(case, step):
            if one.call.module in told or not one.random or step.row.light:
                continue
            moved = _moved_statistics(case, step, one.random)
            if moved:
                told.add(one.call.module)
                yield _statistics_move(case, step, one, moved)
            elif _teaches(case, step, one):
                told.add(one.call.module)
                yield _teacher_drops(case, step, one)


@once_a_case
def _learning(case: Case) -> frozenset[int | None]:
    """Parameters that want a gradient in some step, get one, or are written from others that do."""
    wanting = {t.parameter for s in case.training() for t in s.tensors if t.requires_grad}
    unfrozen = {one for one, facts in Ownership.of(case).wanted.items() if any(fact.what == "True" for fact in facts)}
    return frozenset(wanting | unfrozen | set(Ownership.of(case).filled) | set(followers(case)))


def _moved_statistics(case: Case, step: Step, ops: Sequence[int]) -> list[int]:
    """The buffers of frozen batch norms that these ops write."""
    found: list[int] = []
    flow = Dataflow.of(case, step)
    for index in ops:
        op = flow.ops[index]
        if op.name == "batch_norm" and acts_as_training(op) is True and len(op.inputs) >= 5:
            weights = step.parameters_of(op.inputs[3:5])
            if weights and _learning(case).isdisjoint(weights):
                found += step.parameters_of(op.inputs[1:3])
    return found


def _statistics_move(case: Case, step: Step, one: ModelCall, moved: Sequence[int]) -> Finding:
    name = module_name(case, one.call.module)
    life = model_lives(case)[one.call.module]
    switch = life.switch_before(step.number, one.call.moment)
    stack = switch.change.stack if switch is not None and switch.change.value == "train" else one.call.stack
    times = sum(len(case.repeats(each)) for each in case.training())
    return FROZEN_IN_TRAINING.finding(
        f"{parameter_names(case, moved)} move in each of {plural(times, 'step')}, although their layer is frozen",
        culprit=case.place(stack),
        step=step.number,
        confidence=LIKELY,
        related=case.places((one.call.stack, f"{name} is trained here")),
        explanation="requires_grad=False keeps parameters from changing. The statistics of a batch norm are no "
        "parameters: in training mode each batch changes them, and normalises by itself. What was frozen gives other "
        "results after this training than before.",
        fix=f"put the frozen part back into evaluation mode after each {variable(name, 'model')}.train()",
        fixes=case.fixes(*_back_in_evaluation(case, moved, case.place(stack))),
    )


def _back_in_evaluation(case: Case, moved: Sequence[int], place: Place | None) -> Iterator[Way]:
    """The way to switch the frozen parts back after the `train()` at a place."""
    model = receiver(place.expression, "train") if place is not None else ""
    parts = dict.fromkeys(_frozen_part(case, one) for one in moved)
    if model and parts and len(parts) <= 3:
        calls = "; ".join(f"{model}{path}.eval()" for path in parts)
        kept = "its statistics stay as they are"
        yield Way("put the frozen part back into evaluation mode", kept, place, inserted(calls, before=False))


def _frozen_part(case: Case, buffer: int) -> str:
    """The largest part of a model in which a buffer is and that never learns, as code behind the model's name."""
    known = case.parameters[buffer]
    path = known.name.split(".")[:-1]
    for length in range(1, len(path)):
        part = ".".join(path[:length]) + "."
        inside = [one.id for one in case.parameters.values() if one.root == known.root and one.name.startswith(part)]
        if _learning(case).isdisjoint(inside):
            path = path[:length]
            break
    return "".join(f"[{one}]" if one.isdigit() else f".{one}" for one in path)


def _teaches(case: Case, step: Step, one: ModelCall) -> bool:
    """Whether a network that never learns gives values to a loss that others are trained by."""
    flow = Dataflow.of(case, step)
    read = {t for op in one.ops for t in flow.ops[op].inputs}
    mine = [number for number in step.parameters_of(sorted(read)) if case.parameters[number].role == "parameter"]
    return (
        bool(mine)
        and _learning(case).isdisjoint(mine)
        and not one.builds
        and not flow.differentiated.isdisjoint(flow.ahead(one.results)[0])
    )


def _teacher_drops(case: Case, step: Step, one: ModelCall) -> Finding:
    name = module_name(case, one.call.module)
    return FROZEN_IN_TRAINING.finding(
        f"{name} is frozen and gives targets, but runs in training mode: its dropout drops values",
        culprit=case.place(one.call.stack),
        step=step.number,
        confidence=LIKELY,
        explanation=f"Nothing trains {name} here; what it computes goes into the loss as it is. With dropout at work "
        "it gives other values for the same input each time. no_grad() does not change the mode.",
        fix=f"call {variable(name, 'teacher')}.eval() once, before the training",
        fixes=case.fixes(
            Way(
                "switch it to evaluation mode",
                "it gives the same targets for the same inputs",
                case.place(one.call.stack),
                switched(("eval",)),
            )
        ),
    )


# -- GS706 -----------------------------------------------------------------------------------------


@check(OUT_OF_REACH)
def mode_out_of_reach(case: Case) -> Iterator[Finding]:
    """Dropouts made while their model runs, in evaluations of it."""
    told: set[int | None] = set()
    for step in case.distinct:
        for one in model_calls(case, step) if not step.row.light else ():
            flow = Dataflow.of(case, step)
            for index in one.random:
                calls = flow.calls_of(index)
                made = case.modules[calls[0].module].stack if calls and calls[0].module in case.modules else None
                if len(calls) < 2 or made in told or not calls[0].training or calls[-1].training:
                    continue
                if _made_inside(case, made, calls[-1]) and calls[0].module not in _switched(case):
                    told.add(made)
                    yield _out_of_reach(case, step, made, calls)


def _made_inside(case: Case, made: int | None, call: ModuleCall) -> bool:
    """Whether a module was made by what a call ran."""
    inner, outer = case.sites(made), case.sites(call.stack)
    return 0 < len(outer) < len(inner) and inner[-len(outer) :] == outer


@once_a_case
def _switched(case: Case) -> frozenset[int | None]:
    return frozenset(event.moment.module for event in case.events(ModeChange) if event.moment.mode == "training")


def _out_of_reach(case: Case, step: Step, made: int | None, calls: Sequence[ModuleCall]) -> Finding:
    kind, name = case.modules[calls[0].module].type, module_name(case, calls[-1].module)
    return OUT_OF_REACH.finding(
        f"{kind} is made in each call of {name}, and so is in training mode in evaluations, too",
        culprit=case.place(made),
        step=step.number,
        confidence=SURE,
        related=case.places((calls[-1].stack, f"{name}.training is False here")),
        explanation="A new module begins in training mode, and eval() reaches only the modules that are attributes of "
        f"{name} when it is called. This one is made later and thrown away: it drops values in every evaluation.",
        fix="make it in __init__ and keep it as an attribute, or use the functional form with training=self.training",
        fixes=case.fixes(
            Way("let it follow the model's mode", "it rests in evaluations", case.place(made), in_the_mode_of_self())
        ),
    )


CHECKS = (frozen_part_in_train_mode, mode_out_of_reach)
