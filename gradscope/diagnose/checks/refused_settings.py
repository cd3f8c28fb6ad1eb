"""Optimizers, schedulers and saved states that do not fit what they are given."""

from __future__ import annotations

from collections.abc import Iterator

from ...model.findings import Finding, Severity
from ...model.moments import Failure
from ..evidence.index import Case, Event
from ..evidence.refusals import Cause, Meaning, told
from ..evidence.source_lines import definition
from ..evidence.torch_errors import ErrorKind
from ..rules import Rule, check, finding_of

SETTING_REFUSED = Rule(
    "GS609", "optimizer-setting-refused", Severity.ERROR, "An optimizer or a scheduler was set up or called wrongly."
)
STATE_REFUSED = Rule(
    "GS610", "state-does-not-fit", Severity.ERROR, "A state that is loaded, or a module, is not ready or does not fit."
)


def _forward(case: Case, _event: Event[Failure]) -> Cause | None:
    """Where the forward is defined."""
    return Cause(definition(case, case.error.parts.get("owner") or "", "forward"), "called here")


_SETTINGS = {
    ErrorKind.OPTIMIZER_WANTS_TENSORS: Meaning(
        "an optimizer was given {given} among its parameters",
        "It takes tensors, or dicts that have a list of them under 'params'.",
        "give model.parameters(), or join lists: [*a.parameters(), *b.parameters()]; with named_parameters() take the "
        "second of each pair",
    ),
    ErrorKind.OPTIMIZER_WANTS_LIST: Meaning(
        "an optimizer was given one {given}, and takes a list",
        "Its first argument is an iterable of tensors, or of dicts with groups.",
        "put it in a list: [w]",
    ),
    ErrorKind.OPTIMIZER_SETTING: Meaning(
        "an optimizer's {setting} is {given}, which cannot be",
        "Rates, decays and eps are not negative; betas lie from 0 up to, and without, 1.",
        "look at where the number comes from; the order of positional arguments is lr, betas (momentum), eps, "
        "weight_decay",
    ),
    ErrorKind.OPTIMIZER_NESTEROV: Meaning(
        "nesterov=True without momentum",
        "Nesterov's rule looks ahead along the momentum, so there must be one, undamped.",
        "add momentum=0.9 (and dampening=0), or leave nesterov out",
    ),
    ErrorKind.OPTIMIZER_SPARSE: Meaning(
        "{optimizer} is given a sparse gradient, and takes dense ones only",
        "nn.Embedding(sparse=True) gives the gradient of the rows that were used alone.",
        "use sparse=False, or torch.optim.SparseAdam (or SGD) for the embedding, in an optimizer of its own",
    ),
    ErrorKind.OPTIMIZER_ONE_GROUP: Meaning(
        "LBFGS was given parameter groups, and takes one list",
        "It looks at all parameters as one vector, with one setting.",
        "give it one list: [p for g in groups for p in g['params']]",
    ),
    ErrorKind.OPTIMIZER_WANTS_CLOSURE: Meaning(
        "{optimizer}.step() was called without the closure that it evaluates the loss with",
        "{optimizer} looks at the loss several times in one step, each time at other weights.",
        "def closure(): opt.zero_grad(); loss = loss_fn(model(x), y); loss.backward(); return loss; then "
        "opt.step(closure)",
    ),
    ErrorKind.SCHEDULER_RESUMED: Meaning(
        "a scheduler is told to go on (last_epoch), but the optimizer knows no rate that it began with",
        "The first rate is kept in each group as 'initial_lr' by the scheduler that began.",
        "load both states: optimizer.load_state_dict(...) before the scheduler is made, or "
        "scheduler.load_state_dict(...) "
        "instead of last_epoch; for a fresh run leave last_epoch out",
    ),
    ErrorKind.SCHEDULER_EXHAUSTED: Meaning(
        "the scheduler was made for {total} steps and is stepped once more",
        "OneCycleLR ends after total_steps (epochs * steps_per_epoch), counted in calls of step().",
        "count the calls: once for each batch and epochs * len(loader) in all, or once for each epoch and "
        "total_steps=epochs; "
        "with accumulation once for each update",
    ),
    ErrorKind.SCHEDULER_WANTS_OPTIMIZER: Meaning(
        "a scheduler was given a {given} instead of an optimizer",
        "It changes the rates in the groups of a torch.optim.Optimizer.",
        "give it the optimizer itself: what was wrapped (accelerate, amp), the one inside",
    ),
    ErrorKind.SCHEDULER_WANTS_METRIC: Meaning(
        "ReduceLROnPlateau.step() was called without the number that it watches",
        "It lowers the rate when that number stops falling.",
        "scheduler.step(validation_loss)",
    ),
    ErrorKind.SCHEDULER_WANTS_MOMENTUM: Meaning(
        "the scheduler cycles the momentum, and this optimizer has none",
        "OneCycleLR and CyclicLR move momentum (or beta1) against the rate.",
        "pass cycle_momentum=False, or use an optimizer with momentum",
    ),
    ErrorKind.CLIPPED_NOT_FINITE: Meaning(
        "the gradients that are clipped have NaN or Inf among them (error_if_nonfinite=True)",
        "A norm that is not finite scales nothing back.",
        "find where they begin: gradscope check names the op that makes the first NaN or Inf; a GradScaler skips "
        "such steps",
    ),
}

_STATES = {
    ErrorKind.OPTIMIZER_OTHER_STATE: Meaning(
        "the optimizer's saved state is of other parameter groups",
        "A state belongs to parameters by their place: as many groups, and as many in each, as when it was saved.",
        "make the optimizer as it was then (the same layers, frozen or not) before loading; or load the model's state "
        "alone and begin the optimizer anew",
    ),
    ErrorKind.MODULE_OTHER_STATE: Meaning(
        "the saved state does not fit {module}: {first}",
        "load_state_dict goes by names and shapes. Wrappers add a prefix (module., _orig_mod.), and a changed layer "
        "has "
        "another shape.",
        "build the model as it was saved; strip the prefix from the keys; strict=False leaves out missing names, not "
        "other shapes",
    ),
    ErrorKind.MODULE_LAZY: Meaning(
        "a lazy module's parameter is used before it has a shape",
        "LazyLinear and its like get their parameters from the first input that they see.",
        "run one batch through the model first: with torch.no_grad(): model(x); then initialise, copy, wrap or "
        "train it",
    ),
    ErrorKind.MODULE_TAKES_OTHER_COUNT: Meaning(
        "{owner}.forward takes other arguments than it is called with",
        "What a module is called with goes to its forward, after self.",
        "compare the two lines: def forward(self, x, mask=None) for model(x) and model(x, mask)",
        _forward,
    ),
    ErrorKind.MODULE_WITHOUT_FORWARD: Meaning(
        "{module} has no forward",
        "Calling a module calls its forward.",
        "write `def forward(self, x)` in the class: mind the name, and that it is indented into the class; an "
        "nn.ModuleList is no layer, go through its members",
    ),
}


@check(SETTING_REFUSED, STATE_REFUSED)
def refused_settings(case: Case) -> Iterator[Finding]:
    """The error that ended the script, if an optimizer, a scheduler or a state was refused."""
    for rule, meanings in ((SETTING_REFUSED, _SETTINGS), (STATE_REFUSED, _STATES)):
        yield from finding_of(case, rule, told(case, meanings))


CHECKS = (refused_settings,)
