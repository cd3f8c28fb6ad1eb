"""`Overview`: a whole trace in a few facts, counted from templates, so that equal steps are read once."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from enum import Enum
from typing import Any, cast

from .json_values import encode_float
from .moments import Backward, Failure, GradChange, Move, Mutation, OptimizerStep, Template
from .records import Json, Parameter, StepKind, StepRow, TraceInfo
from .sizes import elements
from .taking_part import in_use, only_evaluated
from .trace import Trace
from .watching import Watched, count_watched


@dataclass(frozen=True, slots=True)
class Moves:
    """Copies of one kind: from one device and dtype to another. `leaves` of the results were leaves."""

    from_device: str
    to_device: str
    from_dtype: str
    to_dtype: str
    count: int
    nbytes: int
    leaves: int


@dataclass(frozen=True, slots=True)
class Mutations:
    """In-place writes; `uncounted` of them went past the version counter."""

    count: int
    uncounted: int


@dataclass(frozen=True, slots=True)
class GraphSize:
    """The graph of one step's backward calls, of which there are `backwards`."""

    step: int
    nodes: int
    edges: int
    backwards: int = 1


@dataclass(frozen=True, slots=True)
class Fault:
    """An exception that left the script, or that a torch call raised and the script caught."""

    step: int
    type: str
    message: str
    caught: bool
    file: str | None
    line: int | None


@dataclass(frozen=True, slots=True)
class Damage:
    """What these steps did, all alike, cannot be read, and why."""

    steps: tuple[int, ...]
    why: str


@dataclass(frozen=True, slots=True)
class Overview:
    """What a trace holds. Names of parameters are qualified; seconds are summed over the recorded steps."""

    info: TraceInfo
    steps: Mapping[str, int]  # kind -> how many
    first_step: int | None
    last_step: int | None
    distinct_steps: int
    repeats: int  # steps that repeat an earlier one op by op
    detail: Mapping[str, int]  # detail -> how many steps
    watched: Watched
    died: str  # where the script failed in a step whose ops were not watched: what is to be said of it
    phases: Mapping[str, float]  # phase -> seconds
    ops: int
    backwards: int
    early_backwards: int  # of these, how many ran before the first step
    last_graph: GraphSize | None
    largest_graph: GraphSize | None
    loss: tuple[float, float] | None  # of the first and of the last step that has one
    update_ratio: tuple[float, float] | None  # how far the updates moved all parameters, by their norm; the same steps
    unmeasured_updates: int  # steps whose updates moved parameters, not all by a known distance
    parameters: tuple[str, ...]
    elements: int
    nbytes: int
    with_gradient: tuple[str, ...]
    without_gradient: tuple[str, ...]  # they require one, and never got one
    evaluated: tuple[str, ...]  # they require one, and belong to a model that was not trained
    filled: tuple[str, ...]  # leaves that the last backward gave a gradient to
    frozen: tuple[str, ...]
    buffers: int
    leaves: int
    optimizers: tuple[str, ...]
    moves: tuple[Moves, ...]
    mutations: Mutations
    failures: tuple[Fault, ...]
    damaged: tuple[Damage, ...] = ()


def overview(trace: Trace) -> Overview:
    """Count `trace`. Each template is read once, however many steps share it."""
    source = trace.source
    rows = list(source.step_rows())
    uses = Counter(row.template for row in rows)
    templates = {number: trace.template(number) for number in uses}
    updated = {number: _updated(template) for number, template in templates.items()}
    numbered = [row for row in rows if row.number >= 0]
    losses = [row.loss for row in numbered if row.loss is not None]
    updates = [_update_ratio(row, moved) for row in numbered if (moved := updated[row.template])]
    ratios = [ratio for ratio in updates if ratio is not None]
    got = _with_gradient(trace.parameters(), rows, templates)
    known = in_use(trace.parameters(), templates.values(), got | {number for row in rows for number, *_ in row.norms})
    trained = [item for item in known if item.role == "parameter"]
    evaluated = only_evaluated(known, got)
    wanting = [item for item in known if item.role != "buffer" and item.requires_grad and item.root not in evaluated]
    graphs = [size for row in rows if (size := _graph_size(row, templates[row.template])) is not None]
    return Overview(
        info=trace.info,
        steps=_counts(row.kind.value for row in numbered if row.kind is not StepKind.SETUP),
        first_step=numbered[0].number if numbered else None,
        last_step=numbered[-1].number if numbered else None,
        distinct_steps=len({row.template for row in numbered}),
        repeats=sum(row.watched for row in numbered) - len({row.template for row in numbered if row.watched}),
        detail=_counts(row.detail.value for row in numbered),
        watched=count_watched(numbered),
        died=_died(trace, rows),
        phases=_phases(numbered),
        ops=_total(uses, templates, "op"),
        backwards=_total(uses, templates, "backward"),
        early_backwards=_total(Counter(row.template for row in rows if row.number < 0), templates, "backward"),
        last_graph=graphs[-1] if graphs else None,
        largest_graph=max(graphs, key=lambda size: (size.nodes, size.edges, -size.step), default=None),
        loss=(losses[0], losses[-1]) if losses else None,
        update_ratio=(ratios[0], ratios[-1]) if ratios else None,
        unmeasured_updates=len(updates) - len(ratios),
        parameters=tuple(item.name for item in trained),
        elements=sum(elements(item.shape) for item in trained),
        nbytes=sum(item.nbytes for item in trained),
        with_gradient=tuple(item.name for item in wanting if item.id in got),
        without_gradient=tuple(item.name for item in wanting if item.id not in got),
        filled=_filled(trace, graphs[-1].step) if graphs else (),
        evaluated=tuple(item.name for item in trained if item.root in evaluated and item.requires_grad),
        frozen=tuple(item.name for item in trained if not item.requires_grad),
        buffers=sum(item.role == "buffer" for item in known),
        leaves=sum(item.role == "leaf" for item in known),
        optimizers=tuple(item.type for item in source.optimizers().values()),
        moves=_moves(uses, templates),
        mutations=_mutations(Counter(row.template for row in numbered), templates),
        failures=_failures(trace, rows, templates),
        damaged=damage(rows, templates),
    )


def _died(trace: Trace, rows: Sequence[StepRow]) -> str:
    last = trace.step(rows[-1].number) if rows and trace.info.status == "failed" else None
    return f"step {last.number}: {last.unwatched}" if last is not None and last.unwatched is not None else ""


def damage(rows: Iterable[StepRow], templates: Mapping[int, Template]) -> tuple[Damage, ...]:
    """The steps that are damaged, those that are alike together."""
    steps: dict[int, list[int]] = defaultdict(list)
    for row in rows:
        if templates[row.template].broken is not None:
            steps[row.template].append(row.number)
    return tuple(Damage(tuple(numbers), templates[number].broken or "") for number, numbers in steps.items())


def overview_json(facts: Overview) -> dict[str, Json]:
    """Every fact as a JSON value; keys are the fields' names, none is left out."""
    return cast("dict[str, Json]", _plain(facts))


def _plain(value: Any) -> Json:
    if isinstance(value, Watched):
        return cast(Json, value._asdict())
    if is_dataclass(value):
        return {item.name: _plain(getattr(value, item.name)) for item in fields(value)}
    if isinstance(value, Enum):
        return cast(str, value.value)
    if isinstance(value, float):
        return encode_float(value)
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return cast(Json, value)


def _counts(values: Iterable[str]) -> dict[str, int]:
    return dict(Counter(values).most_common())


def _total(uses: Mapping[int, int], templates: Mapping[int, Template], kind: str) -> int:
    return sum(
        count * sum(moment.kind == kind for moment in templates[number].moments) for number, count in uses.items()
    )


def _phases(rows: Iterable[StepRow]) -> dict[str, float]:
    """Seconds of each phase, longest first."""
    spent: dict[str, float] = defaultdict(float)
    for row in rows:
        for span in row.phases:
            spent[span.phase.value] += span.duration
    return dict(sorted(spent.items(), key=lambda item: -item[1]))


def _graph_size(row: StepRow, template: Template) -> GraphSize | None:
    called = [moment.graph for moment in template.moments if isinstance(moment, Backward)]
    ran = [template.graphs[graph] for graph in called if graph >= 0]  # -1: not walked, at detail `steps`
    if not ran:
        return None
    nodes, edges = sum(len(graph.nodes) for graph in ran), sum(len(graph.edges) for graph in ran)
    return GraphSize(row.number, nodes, edges, len(called))


def _filled(trace: Trace, number: int) -> tuple[str, ...]:
    step = trace.step(number)
    numbers = (node.tensor for graph in step.graphs for node in graph.nodes)
    return tuple(dict.fromkeys(step.tensors[tensor].name for tensor in numbers if tensor is not None))


def _with_gradient(
    parameters: Iterable[Parameter], rows: Iterable[StepRow], templates: Mapping[int, Template]
) -> frozenset[int]:
    """The parameters whose `.grad` was seen filled, by a norm or by a change."""
    seen = {parameter for row in rows for parameter, _, grad in row.norms if grad is not None}
    for template in templates.values():
        for moment in template.moments:
            if isinstance(moment, GradChange) and moment.has_grad:
                found = (template.tensors[tensor].parameter for tensor in moment.tensors)
                seen.update(parameter for parameter in found if parameter is not None)
    return frozenset(item.id for item in parameters if item.id in seen)


def _updated(template: Template) -> frozenset[int]:
    """The parameters that optimizers moved."""
    tensors = (tensor for moment in template.moments if isinstance(moment, OptimizerStep) for tensor in moment.updated)
    return frozenset(one for tensor in tensors if (one := template.tensors[tensor].parameter) is not None)


def _update_ratio(row: StepRow, moved: Iterable[int]) -> float | None:
    """How far a step's last updates moved these parameters, by their norm; None where that is not known."""
    distances, norms = dict(row.distances), {parameter: norm for parameter, norm, _ in row.norms}
    known = [(distances.get(one), norms.get(one)) for one in moved]
    far = [distance for distance, norm in known if distance is not None and norm is not None]
    if len(far) < len(known):
        return None
    distance, norm = math.hypot(*far), math.hypot(*[norm for _, norm in known if norm is not None])
    return distance / norm if norm else math.inf if distance else 0.0


def _moves(uses: Mapping[int, int], templates: Mapping[int, Template]) -> tuple[Moves, ...]:
    """Copies by what they changed, the most frequent first."""
    totals: dict[tuple[str, str, str, str], list[int]] = defaultdict(lambda: [0, 0, 0])
    for number, times in uses.items():
        for moment in templates[number].moments:
            if isinstance(moment, Move):
                key = (moment.from_device, moment.to_device, moment.from_dtype, moment.to_dtype)
                total = totals[key]
                total[0] += times
                total[1] += times * moment.nbytes
                total[2] += times * moment.is_leaf
    ranked = sorted(totals.items(), key=lambda item: (-item[1][0], item[0]))
    return tuple(Moves(*key, *total) for key, total in ranked)


def _mutations(uses: Mapping[int, int], templates: Mapping[int, Template]) -> Mutations:
    count = uncounted = 0
    for number, times in uses.items():
        for moment in templates[number].moments:
            if isinstance(moment, Mutation):
                count += times
                uncounted += times * (not moment.counted)
    return Mutations(count, uncounted)


def _failures(trace: Trace, rows: Iterable[StepRow], templates: Mapping[int, Template]) -> tuple[Fault, ...]:
    found = []
    for row in rows:
        for moment in templates[row.template].moments:
            if isinstance(moment, Failure):
                line = next(iter(trace.source_lines(moment.stack)), None)
                found.append(
                    Fault(
                        row.number,
                        moment.type,
                        moment.message,
                        moment.caught,
                        line.file if line else None,
                        line.line if line else None,
                    )
                )
    return tuple(found)
