"""Evaluations that build graphs which no backward uses, and whether these are kept."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from ...model.build import tensor_id
from ...model.findings import Finding, Severity
from ...model.records import Site
from ...model.trace import Step
from ...repair.changes.heads import without_grad
from ...repair.ways import Way
from ...text import plural
from ..evidence.dataflow import Dataflow
from ..evidence.index import Case, once_a_case
from ..evidence.index import at as place_of
from ..evidence.model_runs import ModelCall, evaluates, model_calls, trained_modules
from ..evidence.step_links import Lasting, differentiated_later, outlasting, unseen_after
from ..evidence.wording import module_name
from ..rules import POSSIBLE, SURE, Rule, check

GRAPH_IN_EVALUATION = Rule(
    "GS704",
    "evaluation-builds-graph",
    Severity.WARNING,
    "An evaluation builds graphs that no backward uses.",
    frozenset({"GS611"}),
)

_LONGEST = 60  # characters of an expression that a message repeats
_PILE = 3  # graphs at a time, from which on they pile up


class Vain(NamedTuple):
    """A call that built a graph for no backward: in which row, what of it outlived that row, the evaluation's line."""

    row: int
    one: ModelCall
    lasting: Sequence[Lasting]
    site: Site | None


@check(GRAPH_IN_EVALUATION)
def graph_in_evaluation(case: Case) -> Iterator[Finding]:
    """Evaluations with gradients on: whether what they build is kept, or only built in vain."""
    trained = trained_modules(case)
    later = differentiated_later(case)
    lasting = outlasting(case)
    found: dict[object, list[Vain]] = defaultdict(list)
    for step in case.distinct:
        if step.number < 0:
            continue
        for one in model_calls(case, step):
            only_looks = not one.call.training or evaluates(case, step)
            if not one.builds or one.used or not only_looks or not _is_model(case, one.call.module, trained):
                continue
            flow = Dataflow.of(case, step)
            made, _ = flow.ahead(one.results, with_grad=True)
            if not made & flow.differentiated:
                for row in case.repeats(step):
                    used = any((row.number, tensor) in later for tensor in made)
                    if not used and not unseen_after(case, row.number):
                        kept = [lasting[row.number, tensor] for tensor in made if (row.number, tensor) in lasting]
                        site = _own_site(case, one.call.stack)
                        found[site.id if site is not None else one.call.stack].append(Vain(row.number, one, kept, site))
    for calls in found.values():
        yield _graph_in_evaluation(case, calls)


def _is_model(case: Case, module: int, trained: Mapping[int, frozenset[int]]) -> bool:
    """Whether a module has trained parameters of its own: one that is given another's (a constraint) is none."""
    for parameter in trained.get(module, ()):
        home = case.names.module_of(parameter)
        while home is not None and home != module:
            home = case.modules[home].parent if home in case.modules else None
        if home == module:
            return True
    return False


def _own_site(case: Case, stack: int | None) -> Site | None:
    """The innermost line that leads to an evaluation's call and to no call of the training."""
    sites = case.sites(stack)
    shared = _lines_of_training(case)
    return next((site for site in sites if site.id not in shared), sites[0] if sites else None)


@once_a_case
def _lines_of_training(case: Case) -> frozenset[int]:
    calls = (one for step in case.distinct for one in model_calls(case, step) if one.used and one.builds)
    return frozenset(site.id for one in calls for site in case.sites(one.call.stack))


def _expression(site: Site | None) -> str:
    """What runs several modules at once, as the evaluation's line has it."""
    said = site.expression if site is not None else ""
    return said if 0 < len(said) <= _LONGEST else "the model's parts"


def _graph_in_evaluation(case: Case, calls: Sequence[Vain]) -> Finding:
    row, one, _, site = calls[0]
    kept = _kept(case, calls)
    modules = {call.one.call.module for call in calls}
    name = module_name(case, one.call.module) if len(modules) == 1 else _expression(site)
    step = one.step
    together = [call.one for call in calls if call.row == row] if len(modules) > 1 else [one]
    nodes = sum(op.grad_nodes for each in together for index in each.ops if (op := step.op(index)) is not None)
    stays = f" What is made of it is kept beyond its batch in {kept} of {len(calls)} calls, each with its whole graph."
    return GRAPH_IN_EVALUATION.finding(
        f"evaluating {name} builds a graph of {plural(nodes, 'node')} in each {'call' if len(modules) == 1 else 'step'}"
        + (", and the graphs are kept" if kept >= _PILE else ", for no backward"),
        culprit=place_of(site) if site is not None else None,
        step=step.number,
        confidence=SURE if kept >= _PILE else POSSIBLE,
        related=case.places(*((held, "kept here") for held in _holders(case, step)[:1])),
        explanation="Gradients are on, so autograd records every op and saves what its backward would need; no "
        f"backward follows.{stays if kept >= _PILE else ''}",
        fix="run the evaluation under torch.no_grad()",
        fixes=case.fixes(
            Way(
                "evaluate under torch.no_grad()",
                "no graph is built, nothing of it is kept",
                place_of(site) if site is not None else None,
                without_grad(),
            )
        ),
        severity=None if kept >= _PILE else Severity.NOTE,
        nodes=[tensor_id(step.template, tensor) for tensor in sorted(one.results)[:1]],
    )


def _kept(case: Case, calls: Sequence[Vain]) -> int:
    """How many calls' graphs outlive their step, more than the newest one at a time: a variable always has that."""
    used = {call.row for call in calls if any(_piled(case, call, one) for one in call.lasting)}
    there: dict[int, set[int]] = defaultdict(set)
    for call in calls:
        for row in {row for one in call.lasting for row in one.rows}:
            there[row].add(call.row)
    return max(len(used), *(len(rows) for rows in there.values()), 0)


def _piled(case: Case, call: Vain, kept: Lasting) -> bool:
    """Whether a later step took a result over for something else than the same module's input: a sum of losses."""
    for number, tensor in kept.used:
        step = case.like(number)
        flow = Dataflow.of(case, step) if step is not None else None
        readers = flow.ahead([tensor])[1] if flow is not None else ()
        if flow is not None and not any(
            one.module == call.one.call.module for op in readers for one in flow.calls_of(op)
        ):
            return True
    return False


def _holders(case: Case, step: Step) -> list[int]:
    numbers = {row.number for row in case.repeats(step)}
    return [k.stack for row in case.rows for k in row.kept if k.step in numbers and k.stack is not None]


CHECKS = (graph_in_evaluation,)
