"""Training and evaluation mode where the other was meant."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ...model import op_kinds
from ...model.build import tensor_id
from ...model.findings import Finding, Severity
from ...model.moments import OpCall
from ...model.trace import Step
from ...repair.changes.calls import conditional, with_keyword
from ...repair.changes.statements import switched
from ...repair.ways import Way
from ..evidence.dataflow import Dataflow
from ..evidence.index import Case
from ..evidence.model_runs import (
    ModelCall,
    ModelLife,
    Switched,
    acts_as_training,
    drop_share,
    evaluates,
    follows,
    given_to,
    model_calls,
    model_lives,
    trained_modules,
)
from ..evidence.step_links import outlasting, unseen_after
from ..evidence.wording import module_name, variable
from ..rules import LIKELY, POSSIBLE, SURE, Rule, check

EVAL_LEFT_ON = Rule(
    "GS701", "eval-left-on", Severity.WARNING, "A model is trained in evaluation mode, left on by an evaluation."
)
TRAIN_IN_EVALUATION = Rule(
    "GS702", "train-mode-in-evaluation", Severity.WARNING, "A model is evaluated in training mode."
)
ALWAYS_DROPPING = Rule(
    "GS703", "dropout-always-on", Severity.WARNING, "A functional dropout drops values in evaluation mode too."
)


def _kinds(flow: Dataflow, ops: Sequence[int]) -> str:
    names = sorted({"batch norm" if flow.ops[op].name == "batch_norm" else "dropout" for op in ops})
    return " and ".join(names)


# -- eval() left on ------------------------------------------------------------------------------------


@check(EVAL_LEFT_ON)
def eval_left_on(case: Case) -> Iterator[Finding]:
    """Training calls of a model in evaluation mode, after an eval() that was followed by an evaluation."""
    trained = trained_modules(case)
    for module, story in model_lives(case).items():
        if module not in trained:
            continue
        learning = [(at, moment, one) for at, moment, one in story.calls if one.used and one.builds and at >= 0]
        wrong = [(at, moment, one) for at, moment, one in learning if not one.call.training and one.settled]
        if not wrong:
            continue
        at, moment, first = wrong[0]
        switch = story.switch_before(at, moment)
        if switch is None or switch.change.value != "eval":
            continue
        looked = [
            one
            for when, place, one in story.calls
            if (switch.step, switch.moment) < (when, place) < (at, moment) and not one.used
        ]
        if not looked:
            continue  # switched for this training, as when batch norm is frozen on purpose
        began_well = any(one.call.training for when, place, one in learning if (when, place) < (at, moment))
        yield _eval_left_on(case, module, switch, first, len(wrong), began_well)


def _eval_left_on(case: Case, module: int, switch: Switched, first: ModelCall, count: int, began_well: bool) -> Finding:
    name = module_name(case, module)
    kinds = _kinds(Dataflow.of(case, first.step), first.settled)
    return EVAL_LEFT_ON.finding(
        f"{name} trains in evaluation mode from step {first.step.number} on: eval() is never followed by train()",
        culprit=case.place(switch.change.stack),
        step=first.step.number,
        confidence=SURE if began_well else LIKELY,
        related=case.places((first.call.stack, f"{name} is trained here, with training=False")),
        explanation=f"eval() stays on until train() is called. {count} training calls ran with training=False, so its "
        f"{kinds} acted as in evaluation: no value was dropped, no statistic was updated.",
        fix=f"call {variable(name, 'model')}.train() at the start of each training epoch",
        fixes=case.fixes(
            Way(
                "switch to training mode where it trains",
                "dropout and batch norm work in training again",
                case.place(first.call.stack),
                switched(("train",)),
            )
        ),
    )


# -- train() in evaluation -------------------------------------------------------------------------------


@check(TRAIN_IN_EVALUATION)
def train_in_evaluation(case: Case) -> Iterator[Finding]:
    """Evaluations of a trained model, or of an average of one, with dropout or batch norm at work."""
    trained = trained_modules(case)
    for module, story in model_lives(case).items():
        for at, moment, one in story.calls:
            if at < 0 or one.used or not one.random or not one.call.training or not _measures(case, one):
                continue
            if module not in trained and not (follows(case, one) and _only_measured(case, one)):
                break
            if not one.without_grad and not evaluates(case, one.step):
                continue
            if _on_purpose(case, story, at, moment, one):
                continue
            undone = story.switch_before(at, moment)
            after = [when for when in story.updates if when < (at, moment)][-1]
            undoes = undone is not None and undone.change.value == "train" and _undoes_eval(story, undone, after)
            yield _train_in_evaluation(case, module, one, undone.change.stack if undoes and undone else None)
            break


def _on_purpose(case: Case, story: ModelLife, at: int, moment: int, one: ModelCall) -> bool:
    """Whether train() was called for this very call, or the call repeats one input to see how results vary."""
    updated = [when for when in story.updates if when < (at, moment)]
    if not updated:
        return True  # nothing was trained yet
    switch = story.switch_before(at, moment)
    if switch is not None and switch.change.value == "train" and (switch.step, switch.moment) > updated[-1]:
        if _undoes_eval(story, switch, updated[-1]):
            return False
        return switch.change.stack not in story.switched_to_train
    given = given_to(case, one)
    alike = [other for other in model_calls(case, one.step) if given_to(case, other) & given and other.random]
    return len(alike) >= 3


def _undoes_eval(story: ModelLife, switch: Switched, updated: tuple[int, int]) -> bool:
    """Whether an eval() came before a train(), both after the last update, and the model was not run between them."""
    before = story.switch_before(switch.step, switch.moment)
    if before is None or before.change.value != "eval" or (before.step, before.moment) < updated:
        return False
    times = ((step, moment) for step, moment, _ in story.calls)
    return not any((before.step, before.moment) < when < (switch.step, switch.moment) for when in times)


def _measures(case: Case, one: ModelCall) -> bool:
    """Whether what the call gave goes into a loss or a score."""
    flow = Dataflow.of(case, one.step)
    _, ops = flow.ahead(one.results)
    names = {flow.ops[op].name for op in ops if op not in set(one.ops)}
    return bool(names & op_kinds.SCORES) or any(name.endswith("_loss") or "cross_entropy" in name for name in names)


def _only_measured(case: Case, one: ModelCall) -> bool:
    """Whether what a call gave under no_grad was read as a number, and served no backward then or later.

    A network that follows another may well be a teacher, whose dropout is wanted: its results are targets.
    """
    flow = Dataflow.of(case, one.step)
    made, ops = flow.ahead(one.results)
    if not one.without_grad or ops.isdisjoint(flow.exits):
        return False
    if made & flow.differentiated:
        return False
    lasting, rows = outlasting(case), case.repeats(one.step)
    return not any(
        unseen_after(case, row.number) or any((row.number, tensor) in lasting for tensor in made) for row in rows
    )


def _train_in_evaluation(case: Case, module: int, one: ModelCall, undoing: int | None) -> Finding:
    """`undoing`: the train() that came right after an eval()."""
    name = module_name(case, module)
    kinds = _kinds(Dataflow.of(case, one.step), one.random)
    model = variable(name, "model")
    return TRAIN_IN_EVALUATION.finding(
        f"{name} is evaluated in training mode: {kinds} is at work",
        culprit=case.place(undoing if undoing is not None else one.call.stack),
        step=one.step.number,
        confidence=SURE if one.without_grad else LIKELY,
        explanation=f"{model}.training is True here. Dropout makes the score random, and batch norm uses (and "
        "changes) the statistics of the evaluation batches. no_grad() does not change the mode.",
        fix=f"call {model}.eval() before the evaluation, and {model}.train() after it"
        if undoing is None
        else f"move {model}.train() behind the evaluation: it undoes {model}.eval()",
        fixes=case.fixes(
            Way(
                "switch to evaluation mode here",
                "the score is that of the whole model; training switches back",
                case.place(one.call.stack),
                switched(("eval",)),
            ),
            Way(
                "switch to evaluation mode here, and back after it",
                "the score is that of the whole model",
                case.place(one.call.stack),
                switched(("eval", "train")),
            ),
        ),
        severity=None if one.without_grad else Severity.NOTE,
        nodes=[tensor_id(one.step.template, tensor) for op in one.random[:1] for tensor in _outputs(one.step, op)],
    )


def _outputs(step: Step, op: int) -> tuple[int, ...]:
    call = step.op(op)
    return call.outputs if call is not None else ()


# -- functional dropout ----------------------------------------------------------------------------------


@check(ALWAYS_DROPPING)
def dropout_always_on(case: Case) -> Iterator[Finding]:
    """Functional dropouts that drop values inside a module whose training flag is off."""
    seen: set[int | None] = set()
    for step in case.distinct:
        flow = Dataflow.of(case, step)
        for index, op in flow.ops.items():
            if op.stack in seen or not _drops(op):
                continue
            calls = flow.calls_of(index)
            if not calls or calls[0].training:
                continue
            record = case.modules.get(calls[0].module)
            if record is not None and record.type.endswith(("Dropout", "Dropout1d", "Dropout2d", "Dropout3d")):
                continue  # a module that was switched on its own
            seen.add(op.stack)
            yield _always_dropping(case, step, op, calls[0].module)


def _drops(op: OpCall) -> bool:
    functional = op.name == "scaled_dot_product_attention" or op.name in op_kinds.DROPOUTS
    return functional and acts_as_training(op) is True


def _always_dropping(case: Case, step: Step, op: OpCall, module: int) -> Finding:
    place = case.place(op.stack)
    name = module_name(case, module)
    said = place is not None and "training=True" in place.expression.replace(" ", "")
    attention = op.name == "scaled_dot_product_attention"
    return ALWAYS_DROPPING.finding(
        f"{op.name} drops {drop_share(op):.0%} of the values although {name} is in evaluation mode",
        culprit=place,
        step=step.number,
        confidence=POSSIBLE if said else SURE,
        explanation=f"{name}.training is False here, but the functional form knows nothing of that: "
        + ("it drops whatever dropout_p says." if attention else "its training argument is True unless it is told."),
        fix="pass dropout_p=self.p if self.training else 0.0"
        if attention
        else "pass training=self.training, or use an nn.Dropout module, which follows the mode",
        fixes=case.fixes(
            Way(
                "follow the mode of the module",
                "nothing is dropped in evaluation",
                place,
                conditional((op.name,), "dropout_p", "self.training", "0.0")
                if attention
                else with_keyword((op.name,), "training", "self.training"),
            )
        ),
        severity=Severity.NOTE if said else None,
        nodes=[tensor_id(step.template, tensor) for tensor in op.outputs],
    )


CHECKS = (eval_left_on, train_in_evaluation, dropout_always_on)
