"""How large gradients and activations are from layer to layer: exploding, vanishing, dead, saturated."""

from __future__ import annotations

import itertools
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from ...model import op_kinds
from ...model.build import grad_node_id
from ...model.findings import Finding, Place, Severity
from ...model.moments import LeafChange, Mutation, OpCall
from ...model.order import reached
from ...model.records import Detail, Stats
from ...model.trace import Step
from ...repair.changes.calls import argument_replaced
from ...repair.ways import Way
from ..evidence.index import Case
from ..evidence.statistics import Run, Statistics, backwards, main_line, size
from ..rules import LIKELY, SURE, Rule, check

_BAD_NUMBERS = frozenset({"GS801", "GS802", "GS803", "GS805"})
EXPLODING = Rule(
    "GS821",
    "exploding-gradient",
    Severity.WARNING,
    "The gradient grows from layer to layer on its way back.",
    _BAD_NUMBERS,
)
VANISHING = Rule(
    "GS822", "vanishing-gradient", Severity.WARNING, "The gradient shrinks from layer to layer until little is left."
)
DEAD = Rule("GS823", "dead-units", Severity.WARNING, "A whole layer of ReLUs gives zero for every input.")
SATURATED = Rule(
    "GS824", "saturated-units", Severity.WARNING, "A sigmoid or tanh layer is flat at its ends for nearly all inputs."
)

_GROWTH = 1e4  # from the first layer of a line to its last
_LAYERS = 6
_BESIDE = 100  # times the gradient at the end of a line, beside it
_LEAST_RESCALED = 1e-6  # of a gradient's norm: below it the eps of Adam is no longer small
# What optimizers remember of a parameter's gradients to divide by their size.
_SQUARES = frozenset({"exp_avg_sq", "max_exp_avg_sq", "exp_inf", "square_avg", "sum", "acc_delta"})
_LOOKED_AT = 3  # training steps with statistics of every node


class Layer(NamedTuple):
    """A node with weights on the main line of a backward: its run and the norm of the gradient that came in."""

    run: Run
    norm: float


def _steps(case: Case) -> Iterator[Statistics]:
    """The first training steps with statistics of every node."""
    full = [step for step in case.training() if step.detail is Detail.FULL and step.graphs]
    return (Statistics(case, step) for step in full[:_LOOKED_AT])


def _layers(values: Statistics, graph: int) -> list[Layer]:
    runs = values.runs_of(graph)
    nodes = values.step.graphs[graph].nodes
    line = [
        index for index in main_line(values.step.graphs[graph]) if nodes[index].name.startswith(op_kinds.WEIGHT_NODES)
    ]
    return [Layer(runs[index], size(runs[index].incoming)) for index in line if index in runs and runs[index].incoming]


@check(EXPLODING, VANISHING)
def gradient_along_layers(case: Case) -> Iterator[Finding]:
    """The norms of the gradient at each layer with weights, along the longest line of a backward."""
    for values in _steps(case):
        for _, backward in backwards(case, values.step):
            layers = _layers(values, backward.graph)
            norms = [layer.norm for layer in layers]
            if len(layers) < _LAYERS or not all(0 < norm < math.inf for norm in norms):
                continue
            ratio = norms[-1] / norms[0]
            rising = sum(after > before for before, after in itertools.pairwise(norms)) / (len(norms) - 1)
            if ratio >= _GROWTH and rising >= 0.8:
                yield _exploding(case, values, layers)
            elif (
                ratio <= 1 / _GROWTH
                and rising <= 0.2
                and _distinct(values.step, layers)
                and not _goes_another_way(values, backward.graph, layers)
            ):
                yield _vanishing(case, values, backward.graph, layers)


def _goes_another_way(values: Statistics, graph: int, layers: Sequence[Layer]) -> bool:
    """Whether layers beside the line, behind its middle, get far more than its end: a residual path leads there."""
    known, runs, line = values.step.graphs[graph], values.runs_of(graph), {layer.run.node.index for layer in layers}
    onward: dict[int, list[int]] = defaultdict(list)
    for edge in known.edges:
        onward[edge.source].append(edge.target)
    behind = reached([layers[len(layers) // 2].run.node.index], lambda node: onward[node])
    beside = (
        runs[index]
        for index in behind
        if index in runs and index not in line and known.nodes[index].name.startswith(op_kinds.WEIGHT_NODES)
    )
    return any(size(run.incoming) > _BESIDE * layers[-1].norm for run in beside)


def _exploding(case: Case, values: Statistics, layers: Sequence[Layer]) -> Finding:
    step, norms = values.step, [layer.norm for layer in layers]
    weight = _shared_weight(step, layers)
    parameter = case.parameter(step, weight) if weight is not None else None
    culprit = _values_made(case, step, layers)
    op = _op(step, layers[-1])
    if parameter is not None:
        word, over = "pass", f"passes through {parameter.name}"
        why = f"{parameter.name} stretches what goes through it, and it is applied again and again."
    else:
        word, over, why = "layer", "layers", "Their weights stretch what goes through them."
    each = (norms[-1] / norms[0]) ** (1 / (len(norms) - 1))
    return EXPLODING.finding(
        f"the gradient grows {norms[-1] / norms[0]:.1e}-fold over {len(norms)} {over}",
        culprit=culprit or (case.place(op.stack) if op is not None else None),
        step=step.number,
        confidence=LIKELY,
        related=case.places((op.stack if op is not None else None, f"the {word} that multiplies by it")),
        explanation=f"Each {word} multiplies the gradient by about {each:.2g}: from {norms[0]:.2g} at the end to "
        f"{norms[-1]:.2g} at the start. {why}",
        fix="start the weights smaller or orthogonal (torch.nn.init.orthogonal_, standard deviation about "
        "1 / sqrt(width)); clip the gradients: torch.nn.utils.clip_grad_norm_(parameters, 1.0) before step()",
        nodes=[grad_node_id(step.template, layer.run.graph, layer.run.node.index) for layer in layers],
    )


def _vanishing(case: Case, values: Statistics, graph: int, layers: Sequence[Layer]) -> Finding:
    step, norms = values.step, [layer.norm for layer in layers]
    squashing = [run for run in values.runs_of(graph).values() if run.node.name.startswith(op_kinds.FLAT_ENDED_NODES)]
    shrinking = [size(run.outgoing) / size(run.incoming) for run in squashing if size(run.incoming) > 0]
    mean = math.exp(sum(math.log(max(ratio, 1e-30)) for ratio in shrinking) / len(shrinking)) if shrinking else 1.0
    each = (norms[-1] / norms[0]) ** (1 / (len(norms) - 1))
    related: tuple[Place, ...] = ()
    if len(squashing) >= len(layers) / 2 and mean < max(0.9, math.sqrt(each)):
        culprit = _layer_made(case, step, squashing[-1])
        kind = Counter(run.node.name.rstrip("0123456789").removesuffix("Backward").lower() for run in squashing)
        why = f"Each {kind.most_common(1)[0][0]} passes on {mean:.2g} of the gradient (its slope is at most "
        why += "0.25)." if "sigmoid" in kind else "1, and far less away from 0)."
        fix = "use ReLU-like activations, residual connections or normalisation between the layers"
    else:
        culprit = _values_made(case, step, layers)
        why = "The weights shrink what goes through them."
        fix = "start them larger: torch.nn.init.kaiming_normal_(w, nonlinearity='relu'), or xavier_uniform_ for tanh"
    op = _op(step, layers[-1])
    if op is not None:
        related = case.places((op.stack, "the layer that gets almost nothing"))
    rescaled = norms[-1] > _LEAST_RESCALED and _is_rescaled(case, step, layers[-1])
    ends = "its optimizer makes up for the size; in plain SGD the first layers would hardly learn."
    return VANISHING.finding(
        f"the gradient shrinks to {norms[-1] / norms[0]:.1e} of its size over {len(norms)} layers",
        culprit=culprit or (case.place(op.stack) if op is not None else None),
        step=step.number,
        confidence=LIKELY,
        related=related,
        explanation=f"{why} From {norms[0]:.2g} at the last layer {norms[-1]:.2g} is left at the first, about "
        f"{each:.2g} of it for each layer: {ends if rescaled else 'the first layers hardly learn.'}",
        fix=fix,
        severity=Severity.NOTE if rescaled else None,
        nodes=[grad_node_id(step.template, layer.run.graph, layer.run.node.index) for layer in layers],
    )


def _is_rescaled(case: Case, step: Step, layer: Layer) -> bool:
    """Whether the layer's weight has an optimizer that divides a gradient by its usual size, as Adam and RMSprop do."""
    weight = _weight(step, layer)
    owner = case.parameter(step, weight) if weight is not None else None
    remembered = [word for number in (owner.optimizers if owner else ()) for word in case.optimizers[number].state]
    return not _SQUARES.isdisjoint(remembered)


def _op(step: Step, layer: Layer) -> OpCall | None:
    return step.op(layer.run.node.op)


def _weight(step: Step, layer: Layer) -> int | None:
    """The parameter that a layer multiplies by; through a transposition, if need be."""
    op = _op(step, layer)
    waiting = list(op.inputs) if op is not None else []
    for _ in range(8):
        found = [t for t in waiting if step.tensors[t].parameter is not None and len(step.tensors[t].shape) > 1]
        if found:
            return found[0]
        views = [op for t in waiting if step.tensors[t].is_view and (op := step.maker(t)) is not None]
        waiting = [tensor for view in views for tensor in view.inputs]
    return None


def _values_made(case: Case, step: Step, layers: Sequence[Layer]) -> Place | None:
    """The line that gave most of the layers' weights their values."""
    weights = [weight for layer in layers if (weight := _weight(step, layer)) is not None]
    places = Counter(place for weight in weights if (place := value_made(case, step, weight)) is not None)
    return places.most_common(1)[0][0] if places else None


def _distinct(step: Step, layers: Sequence[Layer]) -> bool:
    """Whether the layers have weights of their own: a recurrent one also learns from its last passes."""
    weights = {_weight(step, layer) for layer in layers}
    return len(weights) >= 0.8 * len(layers)


def _shared_weight(step: Step, layers: Sequence[Layer]) -> int | None:
    """The parameter that more than half of the layers of the line multiply by, if there is one."""
    weights = Counter(_weight(step, layer) for layer in layers)
    weight, count = weights.most_common(1)[0]
    return weight if count > len(layers) / 2 else None


def value_made(case: Case, step: Step, tensor: int) -> Place | None:
    """The line that gave a parameter the value it has when training begins: its last write before, else its making."""
    number = step.tensors[tensor].parameter
    if number is None:
        return None
    made: int | None = None
    for one in case.distinct:
        if one.number >= 0:
            break
        mine = {record.number for record in one.tensors if record.parameter == number}
        for change in case.events(LeafChange, one):
            if change.moment.tensor in mine and change.moment.cause == "Parameter":
                made = change.moment.stack
        storages = {record.storage for record in one.tensors if record.number in mine}
        for write in case.events(Mutation, one):
            if one.tensors[write.moment.tensor].storage in storages:
                made = write.moment.stack
    return case.place(made)


def _layer_made(case: Case, step: Step, run: Run) -> Place | None:
    """The line to change for a layer: where its module was made, or the call itself."""
    op = step.op(run.node.op)
    if op is None:
        return None
    module = case.modules.get(op.module) if op.module is not None else None
    torchs_own = module is not None and module.type in (
        "Sigmoid",
        "Tanh",
        "Softmax",
        "LogSigmoid",
        "Hardtanh",
        "ReLU",
        "ReLU6",
    )
    made = case.place(module.stack) if module is not None and torchs_own else None
    return made or case.place(op.stack)


# -- activations ---------------------------------------------------------------------------------------


class _Seen(NamedTuple):
    step: Step
    op: OpCall
    moment: int
    output: Stats


def _activations(case: Case, names: Iterable[str]) -> Mapping[object, list[_Seen]]:
    """Results of activations in the first training steps, by line and module."""
    found: dict[object, list[_Seen]] = defaultdict(list)
    for values in _steps(case):
        for event in case.calls(*names, step=values.step):
            op = event.moment
            stats = values.results(event.position).get(op.outputs[0]) if op.outputs else None
            needs = any(values.step.tensors[tensor].requires_grad for tensor in op.outputs)
            if stats is not None and stats.numel >= 16 and needs:
                found[op.stack, op.module].append(_Seen(values.step, op, event.position, stats))
    return found


@check(DEAD)
def dead_units(case: Case) -> Iterator[Finding]:
    """A ReLU whose every result is zero, in each of the first training steps."""
    for seen in _activations(case, op_kinds.RECTIFIES).values():
        if not all(one.output.zeros == one.output.numel for one in seen):
            continue
        first = seen[0]
        step, values = first.step, Statistics(case, first.step)
        blamed, culprit = _pusher(case, values, first)
        shown = case.place(first.op.stack, "every result is 0 here")
        name = case.called(step, blamed) if blamed is not None else "the layer before it"
        least = values.last_before(first.moment).get(blamed) if blamed is not None else None
        numbers = f" (its values lie between {least.min:.3g} and {least.max:.3g})" if least is not None else ""
        yield DEAD.finding(
            f"all {first.output.numel} results of this {first.op.name} are 0 in each of the first {len(seen)} passes",
            culprit=culprit or shown,
            step=step.number,
            confidence=SURE if culprit is not None else LIKELY,
            related=[shown] if shown is not None and culprit is not None else [],
            explanation="What goes into it is negative for every input, so its derivative is 0 too: no gradient passes "
            "it, and what leads to it alone stays as it is until other inputs, or changes from elsewhere, bring it "
            f"above 0. {name} pushes it down{numbers}.",
            fix="start the bias at 0 and the weights at their usual size, or use LeakyReLU / GELU",
            fixes=case.fixes(
                Way(
                    "start it at 0",
                    "about half of the units are on at first",
                    culprit,
                    argument_replaced(("constant_", "fill_"), -1, "0.0"),
                )
            ),
            nodes=(*first.op.outputs,),
        )


def _pusher(case: Case, values: Statistics, seen: _Seen) -> tuple[int | None, Place | None]:
    """What pushes an activation's input below zero, and its line: a bias, the layer's own input, or its weight."""
    step = values.step
    made = step.tensors[seen.op.inputs[0]].made_by if seen.op.inputs else None
    layer = step.op(made)
    if made is None or layer is None:
        return None, None
    known = values.last_before(made)
    mine = [one for one in layer.inputs if step.tensors[one].parameter is not None and one in known]
    bias = next((one for one in mine if len(step.tensors[one].shape) <= 1), None)
    weight = next((one for one in mine if len(step.tensors[one].shape) > 1), None)
    data = next((one for one in layer.inputs if one not in mine and one in known), None)
    if bias is not None and known[bias].mean < 0:
        scale = (
            _rms(known[data]) * _norm_of_a_row(step, weight, known) if data is not None and weight is not None else 0.0
        )
        if abs(known[bias].mean) > scale or weight is None:
            return bias, value_made(case, step, bias)
    if data is not None and weight is not None and known[data].max <= 0 <= known[weight].min:
        return data, case.place(step.stack(step.tensors[data].made_by))
    return weight, value_made(case, step, weight) if weight is not None else None


def _rms(stats: Stats) -> float:
    return stats.norm / math.sqrt(stats.numel)


def _norm_of_a_row(step: Step, weight: int, known: Mapping[int, Stats]) -> float:
    """The typical length of one unit's weights: how far its result spreads for inputs of size 1."""
    return known[weight].norm / math.sqrt(max(1, step.tensors[weight].shape[0]))


@check(SATURATED)
def saturated_units(case: Case) -> Iterator[Finding]:
    """Sigmoids and tanhs whose results lie at their ends: the mean of their slope is next to nothing."""
    for seen in _activations(case, op_kinds.SQUASHES).values():
        slopes = [_mean_slope(one) for one in seen]
        if not slopes or max(slopes) > 0.003:
            continue
        first = seen[0]
        yield SATURATED.finding(
            f"{first.op.name} is saturated: its mean slope over {first.output.numel} results is {max(slopes):.1g}",
            culprit=case.place(first.op.stack),
            step=first.step.number,
            confidence=LIKELY,
            explanation="Nearly all results lie at the ends of its range, where it is flat: the gradient through it is "
            "next to 0. What goes into it is too large.",
            fix="normalise its input (the data, or LayerNorm / BatchNorm before it), or start the weights before it "
            "smaller",
            severity=Severity.NOTE,
            nodes=(*first.op.outputs,),
        )


def _mean_slope(seen: _Seen) -> float:
    """Of sigmoid s·(1 - s), of tanh 1 - t²: both follow from the mean and the norm."""
    square = seen.output.norm**2 / seen.output.numel
    return max(0.0, seen.output.mean - square if seen.op.name in op_kinds.SIGMOIDS else 1 - square)


CHECKS = (gradient_along_layers, dead_units, saturated_units)
