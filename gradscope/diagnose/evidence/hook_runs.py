"""`HookRun`: what the script's hook on a tensor did when a backward came by, and what became of the gradient."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from ...model.moments import Backward, NodeRun, OpCall
from ...model.records import GradEdge, GradGraph, Phase, Stats
from ...model.trace import Step
from .index import Case, once_a_case
from .statistics import Run, Statistics

_Senders = Sequence[Mapping[int, Sequence[GradEdge]]]  # by graph, and by the node that an edge leads to
_Function = tuple[str, str, int]  # file, name, and the line of one that has no name of its own


class HookRun(NamedTuple):
    """One run: the registration, the tensor, the ops of the hook, and what these read of what came from the engine.

    `before` and `after`: the gradient that came to the tensor and the one that went on; None where that is not known.
    """

    step: Step
    hook: OpCall
    tensor: int
    ops: Sequence[int]
    given: frozenset[int]
    before: Stats | None
    after: Stats | None


def hook_runs(case: Case, step: Step) -> Iterator[HookRun]:
    """The runs of tensor hooks in a step, as far as their ops tell them; and those on parameters that have no ops."""
    hooks = _hooks(case)
    if not hooks:
        return
    values = Statistics(case, step)
    runs = {run.moment: run for run in values.runs}
    senders = [_by_target(graph) for graph in step.graphs]
    ops: dict[_Function, list[int]] = {}
    differentiating: set[_Function] = set()  # hooks that run a backward of their own, which may be given anything
    known = -1  # the last tensor that was met before the backward: what a hook meets for the first time it was given
    for index, moment in enumerate(step.moments):
        if isinstance(moment, Backward):
            caller = running_hook(case, moment.stack)
            if caller is None:
                known = _last_met(step, index)
            else:
                differentiating.add(caller)
        elif isinstance(moment, OpCall) and moment.phase is Phase.BACKWARD:
            function = running_hook(case, moment.stack)
            if function is not None:
                ops.setdefault(function, []).append(index)
        elif isinstance(moment, NodeRun):
            run = runs[index]
            here = [(hooks[one], inside) for one, inside in ops.items() if one not in differentiating]
            for hook, inside in here or _silent(case, step, run):
                tensor = _tensor_of(run, hook)
                if tensor is not None:
                    read = {t for op in inside for t in _inputs(step, op)}
                    given = frozenset(t for t in read if t > known and _came(step, t, inside))
                    before = _sent(values, senders, run)
                    yield HookRun(step, hook, tensor, inside, given, before, run.incoming.get(0))
            ops = {}


def _tensor_of(run: Run, hook: OpCall) -> int | None:
    """The tensor of a hook that the node which ran fills or made."""
    if run.node.tensor is not None:
        return run.node.tensor
    return next((one for one in run.node.output_tensors if one in hook.inputs), None)


def _silent(case: Case, step: Step, run: Run) -> list[tuple[OpCall, list[int]]]:
    """The hook of a parameter whose node ran without any op of a hook's before it."""
    one = step.tensors[run.node.tensor].parameter if run.node.tensor is not None else None
    hook = _on_parameters(case).get(one) if one is not None else None
    return [(hook, [])] if hook is not None else []


@once_a_case
def _on_parameters(case: Case) -> Mapping[int, OpCall]:
    """The parameters that one hook was registered on, and where."""
    found: dict[int, list[OpCall]] = {}
    for step, _, call in case.calls("register_hook"):
        for one in step.parameters_of(call.inputs):
            found.setdefault(one, []).append(call)
    return {
        one: calls[0] for one, calls in found.items() if len(calls) == 1 and case.place(calls[0].behind) is not None
    }


@once_a_case
def _hooks(case: Case) -> Mapping[_Function, OpCall]:
    """The hooks on tensors that were registered, by their function; the last where one was registered often."""
    found: dict[_Function, OpCall] = {}
    for event in case.calls("register_hook"):
        site = next(iter(case.sites(event.moment.behind)), None)
        if site is not None:
            found[site.file, site.function, site.line if site.function == "<lambda>" else 0] = event.moment
    return found


def running_hook(case: Case, stack: int | None) -> _Function | None:
    """The hook in whose run something happened."""
    hooks = _hooks(case)
    for site in case.sites(stack):
        for line in (0, site.line):
            if (site.file, site.function, line) in hooks:
                return site.file, site.function, line
    return None


def _last_met(step: Step, position: int) -> int:
    """The highest number of a tensor that was met up to a moment."""
    numbers = (
        tensor
        for moment in step.moments[: position + 1]
        if isinstance(moment, OpCall)
        for tensor in (*moment.inputs, *moment.outputs)
    )
    return max(numbers, default=-1)


def _inputs(step: Step, op: int) -> Sequence[int]:
    call = step.op(op)
    return call.inputs if call is not None else ()


def _came(step: Step, tensor: int, inside: Sequence[int]) -> bool:
    """Whether a tensor came from the engine, or from a hook before: no op of the hook made it, and it does not last."""
    one = step.tensors[tensor]
    return one.made_by not in inside and one.parameter is None and not one.carried and one.gradient_of is None


def _sent(values: Statistics, senders: _Senders, run: Run) -> Stats | None:
    """The gradient that the node before sent, where there is one such node."""
    edges = senders[run.graph].get(run.node.index, ())
    sender = values.run_of(run.graph, edges[0].source) if len(edges) == 1 else None
    return sender.outgoing.get(edges[0].index) if sender is not None else None


def _by_target(graph: GradGraph) -> Mapping[int, Sequence[GradEdge]]:
    """The edges that lead to each node."""
    found: dict[int, list[GradEdge]] = {}
    for edge in graph.edges:
        found.setdefault(edge.target, []).append(edge)
    return found
