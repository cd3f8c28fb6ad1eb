"""Runs that are done again or elsewhere, and do not fit: checkpoints, data parallel training, worker processes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from ...model.findings import Finding, Place, Severity
from ...model.moments import Backward, Failure
from ...model.records import Site
from ..evidence.dataflow import Dataflow
from ..evidence.index import Case, Event, at
from ..evidence.refusals import Cause, Meaning, behind, told
from ..evidence.source_lines import memories_of
from ..evidence.torch_errors import ErrorKind
from ..evidence.wording import parameter_names
from ..rules import Rule, check, finding_of

CHECKPOINT_REFUSED = Rule(
    "GS421", "checkpoint-runs-otherwise", Severity.ERROR, "A checkpoint cannot do again what it did in forward."
)
PARALLEL_REFUSED = Rule(
    "GS441", "data-parallel-refused", Severity.ERROR, "DistributedDataParallel cannot account for each gradient."
)
WORKER_REFUSED = Rule(
    "GS451", "worker-process-failed", Severity.ERROR, "A worker process failed, or was to send a tensor with its graph."
)


def _checkpointed(case: Case, event: Event[Failure]) -> Cause | None:
    """The line that calls checkpoint: the one outside of the function that is run again; else that function's end."""
    last = case.failure
    again = case.sites(last.moment.behind)[:1] if last is not None else ()
    if not again:
        return None
    function = again[0]
    memory = _memory(case, event)
    if memory is not None:
        return Cause(memory, "the backward that runs it again", function.function)
    here = event.step.moments[: event.position]
    outer_lines = (site for moment in here for site in case.sites(moment.stack)[1:] if _calls_checkpoint(site))
    called_at = next(outer_lines, None)
    if called_at is not None:
        return Cause(at(called_at), "the backward that runs it again", function.function)
    for moment in here:
        sites = case.sites(moment.stack)
        for inner, outer in zip(sites, list(sites[1:])):
            called = outer.expression.partition("(")[0].rpartition(".")[2]
            if (inner.file, inner.function) == (function.file, function.function) and called != function.function:
                return Cause(at(outer), "the backward that runs it again", function.function)
    return Cause(at(function), "the backward that runs it again", function.function)


def _calls_checkpoint(site: Site) -> bool:
    return "checkpoint" in site.expression.partition("(")[0]


def _memory(case: Case, event: Event[Failure]) -> Place | None:
    """The statement inside of a checkpoint that changes what outlives it, and so what it meets when it runs again."""
    lines: dict[str, set[int]] = defaultdict(set)
    for moment in event.step.moments[: event.position]:
        sites = case.sites(moment.stack)
        called = [place for place, site in enumerate(sites) if _calls_checkpoint(site)]
        for site in sites[: called[0]] if called else ():
            lines[site.file].add(site.line)
    return next(memories_of(case, lines), None)


def _wrapped(case: Case, _event: Event[Failure]) -> Cause | None:
    """Where the model was made a DistributedDataParallel, and the parameters that the last backward gave nothing."""
    wrapper = next((one for one in case.modules.values() if one.type == "DistributedDataParallel"), None)
    if wrapper is None:
        return None
    runs = [one for one in case.events(Backward) if one.moment.error is None]
    flow = Dataflow.of(case, runs[-1].step) if runs else None
    given = set(flow.step.parameters_of(flow.given)) if flow is not None else set()
    missing = [
        number
        for number, one in case.parameters.items()
        if one.root == wrapper.root and one.role == "parameter" and one.requires_grad and number not in given
    ]
    named = parameter_names(case, missing) if given and missing else ""
    return Cause(case.place(wrapper.stack), "the forward that would begin anew", named or "some parameters")


_CHECKPOINTS = {
    ErrorKind.CHECKPOINT_OTHER_TENSORS: Meaning(
        "the checkpointed {thing} computes other tensors when it is run again: {again} instead of {saved}",
        "A checkpoint keeps no intermediate results, runs the function a second time in backward, and must meet the "
        "same "
        "ones. Something that it reads has changed since: a list or cache that grew, a counter, a mode, a dtype "
        "(autocast).",
        "let the function depend on its arguments alone: pass what changes as an argument, and write to lists and "
        "caches "
        "outside of it",
        _checkpointed,
    ),
    ErrorKind.CHECKPOINT_OTHER_COUNT: Meaning(
        "the checkpointed {thing} saves {again} tensors when it is run again, and saved {saved} in forward",
        "A checkpoint runs the function a second time in backward and must meet the same ops. It took another way: a "
        "branch on a counter or a mode, a cache that is full by now, autocast or no_grad on one side alone.",
        "let the function depend on its arguments alone; what it should remember is passed in and returned",
        _checkpointed,
    ),
    ErrorKind.CHECKPOINT_WITHOUT_INPUTS: Meaning(
        "a reentrant checkpoint is differentiated by autograd.grad (or backward(inputs=...))",
        "With use_reentrant=True the checkpoint runs a backward of its own, which fills .grad and cannot be asked for "
        "single gradients.",
        "pass use_reentrant=False to checkpoint",
    ),
    ErrorKind.CHECKPOINT_WITHOUT_GRADIENT: Meaning(
        "nothing that the checkpointed function returns requires a gradient when it is run again",
        "It detaches its result, or runs under no_grad, so there is nothing to go back through.",
        "take detach() and no_grad out of the function, or call it without checkpoint",
    ),
}

_PARALLEL = {
    ErrorKind.PARALLEL_UNUSED: Meaning(
        "DistributedDataParallel waits for gradients of {thing}, which the last loss did not use",
        "It sends each parameter's gradient as it comes, and a forward may begin only when all have come. What a "
        "branch "
        "left out never does.",
        "DistributedDataParallel(model, find_unused_parameters=True); or let the loss depend on all: "
        "loss + 0 * unused.sum(); or freeze what is never used before the model is wrapped",
        _wrapped,
    ),
    ErrorKind.PARALLEL_TWICE: Meaning(
        "DistributedDataParallel gets the gradient of a parameter twice in one backward",
        "A parameter is used in two reentrant checkpoints, or the model is run several times before the backward.",
        "use_reentrant=False in checkpoint, or static_graph=True; run the parts inside one forward",
        _wrapped,
    ),
    ErrorKind.PARALLEL_GRAPH_CHANGED: Meaning(
        "DistributedDataParallel was told that the graph is always the same, and it is not",
        "static_graph=True learns in the first step which parameters are used.",
        "static_graph=False, with find_unused_parameters=True if a step leaves some out",
        _wrapped,
    ),
    ErrorKind.PARALLEL_WITHOUT_PARAMETERS: Meaning(
        "DistributedDataParallel was given a model in which nothing trains",
        "It exists to share gradients. The model has no parameters, or all are frozen.",
        "wrap it after what should train has requires_grad=True; use a frozen model as it is",
    ),
    ErrorKind.PARALLEL_WITHOUT_GROUP: Meaning(
        "the processes do not know one another yet: init_process_group was not called",
        "Data parallel training and collective calls talk to the other processes through a process group.",
        'torch.distributed.init_process_group("gloo") (on GPUs "nccl") first, in each process',
    ),
    ErrorKind.PARALLEL_WITHOUT_ADDRESS: Meaning(
        "{variable} is not set: nobody has told this process which of the job it is",
        "init_process_group reads RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT from the environment; a launcher "
        "sets them.",
        "start it with torchrun --nproc-per-node=N script.py; or give rank=0, world_size=1 and the address",
    ),
}

_WORKERS = {
    ErrorKind.WORKER_SENDS_GRAPH: Meaning(
        "what the dataset returns has a graph, and a worker process cannot send that",
        "A graph lives in the process that made it. The values can be sent, the way back to the parameters cannot.",
        "return values without a graph: return emb.detach(), or compute under torch.no_grad(); what should train "
        "runs in "
        "the main process, on the batch",
        behind,
    ),
    ErrorKind.WORKER_FAILED: Meaning(
        "the dataset failed in a worker process: {last}",
        "The worker's own traceback is inside the message, above its last line.",
        "num_workers=0 shows it in this process, where a debugger (and gradscope) can follow",
        behind,
    ),
}


@check(CHECKPOINT_REFUSED, PARALLEL_REFUSED, WORKER_REFUSED)
def refused_runs(case: Case) -> Iterator[Finding]:
    """The error that ended the script, if a run that is repeated or shared with other processes raised it."""
    for rule, meanings in (
        (CHECKPOINT_REFUSED, _CHECKPOINTS),
        (PARALLEL_REFUSED, _PARALLEL),
        (WORKER_REFUSED, _WORKERS),
    ):
        yield from finding_of(case, rule, told(case, meanings))


CHECKS = (refused_runs,)
