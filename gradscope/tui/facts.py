"""What the inspector says: a title, a verdict, and sections of facts about one subject at one moment. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from enum import Enum

from ..model.records import GradNode, OpCall, OptimizerStep, Sample, SavedTensor, Tensor
from ..model.state import leaf_case
from ..text import byte_count, elide_list, number, ordinal, plural, printable, tensor_type, values
from .scene import Scene
from .subject import Subject, node_of
from .touches import Event, Touch, changes_of
from .why import why_grad
from .words import line_word, moment_words, node_word, tensor_word

_EVENTS = 40  # of a tensor's history, how many lines are written
_NAMES = 4


class Tone(str, Enum):
    """How a fact is meant. Each has a sign of its own where it is shown, never a colour alone."""

    PLAIN = ""
    GOOD = "good"
    BAD = "bad"
    DIM = "dim"


@dataclass(frozen=True, slots=True)
class Fact:
    """`label` and what is so; `moment` is where in the step it can be seen, for who wants to go there."""

    label: str
    text: str
    tone: Tone = Tone.PLAIN
    moment: int | None = None


@dataclass(frozen=True, slots=True)
class Section:
    title: str
    facts: tuple[Fact, ...]


@dataclass(frozen=True, slots=True)
class Sheet:
    """Everything about one subject. `value` is what copying it gives."""

    title: str
    kind: str
    verdict: str
    sections: tuple[Section, ...]
    value: str = ""


def sheet(scene: Scene, subject: Subject) -> Sheet:
    """What is known of `subject` at the scene's moment; what is wrong with it comes first."""
    found = _sheet(scene, subject)
    wrong = tuple(_findings(scene, subject))
    return replace(found, sections=(Section("finding", wrong), *found.sections)) if wrong else found


def _findings(scene: Scene, subject: Subject) -> Iterator[Fact]:
    """The findings that name this moment's line, or the node that stands for the subject."""
    node = node_of(scene.step.template, scene.graph, subject)
    line = None
    if scene.moment >= 0:
        line = next(iter(scene.trace.source_lines(scene.step.moments[scene.moment].stack)), None)
    for finding in scene.findings:
        if finding.step not in (None, scene.step.number):
            continue
        culprit = finding.culprit
        here = line is not None and culprit is not None and (culprit.file, culprit.line) == (line.file, line.line)
        if here or any(scene.graph.elsewhere.get(one, one) == node for one in finding.nodes):
            yield Fact(finding.code, printable(finding.message), Tone.BAD)
            if finding.fix:
                yield Fact("fix", printable(finding.fix))


def _sheet(scene: Scene, subject: Subject) -> Sheet:
    if subject.tensor is not None:
        return _tensor_sheet(scene, scene.step.tensors[subject.tensor])
    if subject.grad is not None:
        return _grad_sheet(scene, *subject.grad)
    if subject.op is not None:
        return _op_sheet(scene, subject.op)
    return _moment_sheet(scene)


# -- tensors -----------------------------------------------------------------------------------------


def _tensor_sheet(scene: Scene, tensor: Tensor) -> Sheet:
    now = scene.state.tensors[tensor.number]
    case, words = leaf_case(tensor, now)
    verdict = f"case {case} of 4: {words}"
    if case == 2 and now.retains_grad:
        verdict = "case 2 of 4: needs grad, a result: not a leaf; retain_grad() asked to keep its .grad"
    if not now.exists:
        verdict = "not made yet at this moment"
    sample = _latest(scene, tensor, "value")
    sections = (
        Section("autograd", tuple(_autograd(scene, tensor))),
        Section("value", tuple(_value(scene, tensor, sample))),
        Section("gradient", tuple(_gradient(scene, tensor))),
        Section("memory", tuple(_memory(scene, tensor))),
        Section("kept for backward", tuple(_kept(scene, tensor))),
        Section("history in this step", tuple(_history(scene, scene.touches.of(tensor.number)))),
    )
    kind = {"parameter": "parameter", "buffer": "buffer"}.get(tensor.role, "tensor")
    title = f"{tensor_word(tensor)}  {tensor_type(now.dtype, tensor.shape)}" if tensor.name else tensor_word(tensor)
    return Sheet(title, kind, verdict, _filled(sections), _copied(tensor, sample))


def _filled(sections: Sequence[Section]) -> tuple[Section, ...]:
    return tuple(section for section in sections if section.facts)


def _autograd(scene: Scene, tensor: Tensor) -> Iterator[Fact]:
    now = scene.state.tensors[tensor.number]
    yield Fact("requires_grad", str(now.requires_grad))
    yield Fact("is_leaf", str(now.is_leaf))
    yield Fact("grad_fn", printable(now.grad_fn or "None"))
    yield Fact("retains_grad", str(now.retains_grad))
    yield Fact("version", "untracked" if now.version is None else str(now.version))
    because = why_grad(scene, tensor)
    tone = Tone.GOOD if now.has_grad else Tone.DIM if not now.requires_grad else Tone.PLAIN
    yield Fact(".grad", because.sentence, tone, because.moment)
    if tensor.role == "parameter":
        yield _optimizers(scene, tensor)


def _optimizers(scene: Scene, tensor: Tensor) -> Fact:
    known = scene.trace.source.optimizers()
    owners = [one for one in known.values() if any(tensor.parameter in group for group in one.groups)]
    if owners:
        names = [scene.trace.optimizer_name(one.id) for one in owners]
        words = [name if name.startswith(one.type) else f"{name} ({one.type})" for name, one in zip(names, owners)]
        return Fact("optimizer", printable(elide_list(words, _NAMES)))
    return Fact("optimizer", "in none: no step() will change it", Tone.BAD if tensor.requires_grad else Tone.DIM)


def _value(scene: Scene, tensor: Tensor, sample: Sample | None) -> Iterator[Fact]:
    if sample is None:
        return
    yield from sampled(sample, tensor.dtype)
    written = [moment for moment in changes_of(scene.touches.of(tensor.number)) if sample.moment < moment]
    if any(moment <= scene.moment and _writes(scene, tensor, moment) for moment in written):
        yield Fact("", "as it was before the last change in place", Tone.DIM)


def _writes(scene: Scene, tensor: Tensor, moment: int) -> bool:
    return any(event.moment == moment and event.touch is Touch.WRITTEN for event in scene.touches.of(tensor.number))


def _gradient(scene: Scene, tensor: Tensor) -> Iterator[Fact]:
    if scene.state.tensors[tensor.number].has_grad:
        sample = _latest(scene, tensor, "grad")
        if sample is not None:
            yield from sampled(sample, tensor.dtype)
        elif (norm := _norm_of(scene, tensor)) is not None:
            yield Fact("norm", f"{number(norm)} after the backward")
    key = scene.touches.made_by(tensor.number)
    if key is not None and not scene.state.tensors[tensor.number].is_leaf:
        runs = [moment for moment in scene.touches.runs(*key) if moment <= scene.moment]
        arrived = scene.samples.of_node(runs[-1], "grad_in") if runs else None
        if arrived is not None:
            yield from sampled(arrived, tensor.dtype, "arriving", runs[-1])


def _norm_of(scene: Scene, tensor: Tensor) -> float | None:
    return next((grad for owner, _, grad in scene.step.row.norms if owner == tensor.parameter), None)


def sampled(sample: Sample, dtype: str | None = None, label: str = "", moment: int | None = None) -> Iterator[Fact]:
    """A sample in words: the values of a tiny tensor, else its statistics. NaN and Inf come first."""
    stats = sample.stats
    if stats is not None and (stats.nans or stats.infs):
        bad = [f"{count:,} {word}" for count, word in ((stats.nans, "NaN"), (stats.infs, "Inf")) if count]
        yield Fact(label or "not finite", f"{' and '.join(bad)} of {stats.numel:,}", Tone.BAD, moment)
        label = ""
    if sample.values is not None:
        yield Fact(label or "values", values(sample.values, sample.shape, dtype), moment=moment)
    if stats is None or (sample.values is not None and stats.numel == 1):
        return
    facts = [f"norm {number(stats.norm)}", f"sum {number(stats.sum)}", f"mean {number(stats.mean, 3)}"]
    facts.append(f"from {number(stats.min, 3)} to {number(stats.max, 3)}")
    if stats.zeros:
        facts.append(f"{stats.zeros:,} of {stats.numel:,} are zero")
    yield Fact(("" if sample.values is not None else label) or "statistics", ", ".join(facts), moment=moment)


def _latest(scene: Scene, tensor: Tensor, what: str) -> Sample | None:
    """The last sample that was taken up to now."""
    found = None
    for sample in scene.samples.of(tensor, what):
        if sample.moment > scene.moment:
            break
        found = sample
    return found


def _copied(tensor: Tensor, sample: Sample | None) -> str:
    if sample is not None and sample.values is not None:
        return values(sample.values, sample.shape, tensor.dtype)
    return printable(tensor.name)


def _memory(scene: Scene, tensor: Tensor) -> Iterator[Fact]:
    now = scene.state.tensors[tensor.number]
    yield Fact("device", printable(now.device))
    size = byte_count(tensor.nbytes)
    layout = "" if tensor.layout == "strided" else f", {tensor.layout}"
    yield Fact("bytes", f"{size}{layout}")
    others = [scene.step.tensors[other] for other in scene.touches.aliases(tensor.storage) if other != tensor.number]
    if others:
        names = elide_list(dict.fromkeys(tensor_word(other) for other in others), _NAMES)
        yield Fact("shares memory", f"with {names}")
    if tensor.is_view and tensor.base is not None:
        yield Fact("view of", tensor_word(scene.step.tensors[tensor.base]))


def _kept(scene: Scene, tensor: Tensor) -> Iterator[Fact]:
    for graph, index in scene.touches.saved_by(tensor.number)[:_NAMES]:
        node = scene.step.graphs[graph].nodes[index]
        for saved in node.saved:
            if saved.tensor == tensor.number:
                yield _saved(scene, saved, f"by {node_word(scene.step, node)}", node.op)


def _saved(scene: Scene, saved: SavedTensor, label: str, moment: int | None) -> Fact:
    """A saved tensor: its version then, and whether it was changed since, which makes the backward fail."""
    parts = [byte_count(saved.nbytes)]
    tone = Tone.PLAIN
    if saved.tensor is not None and saved.version is not None:
        tensor = scene.step.tensors[saved.tensor]
        base = scene.step.versions.get(tensor.parameter, 0) if tensor.parameter is not None else 0
        then, now = saved.version + base, scene.state.tensors[saved.tensor].version
        parts.insert(0, f"at version {then}")
        made = moment is None or moment <= scene.moment
        if made and now is not None and now > then and not _is_over(scene, saved):
            parts.insert(1, f"it is {now} now: changed since it was saved, so its backward fails")
            tone = Tone.BAD
    return Fact(label, ", ".join(parts), tone, moment)


def _is_over(scene: Scene, saved: SavedTensor) -> bool:
    """Whether the backward that needed the saved tensor has run, and found it as it was saved."""
    if saved.stale or saved.tensor is None:
        return False
    graphs = {graph for graph, _ in scene.touches.saved_by(saved.tensor)}
    return any((start := scene.touches.backward(graph)) is not None and start <= scene.moment for graph in graphs)


def _history(scene: Scene, events: Sequence[Event]) -> Iterator[Fact]:
    """A line for each moment that concerns the subject; those to come are dim."""
    shown = list(events[:_EVENTS])
    for event in shown:
        yield _event(scene, event)
    if len(events) > len(shown):
        yield Fact("", f"and {len(events) - len(shown):,} more (w lists all)", Tone.DIM)


def _event(scene: Scene, event: Event) -> Fact:
    moment = scene.step.moments[event.moment]
    where = line_word(next(iter(scene.trace.source_lines(moment.stack)), None))
    text = f"{event.moment + 1}  {where}  {moment_words(scene.step, event.moment)}"
    return Fact(event.touch.value, text, Tone.DIM if event.moment > scene.moment else Tone.PLAIN, event.moment)


# -- grad nodes --------------------------------------------------------------------------------------


def _grad_sheet(scene: Scene, graph: int, index: int) -> Sheet:
    node = scene.step.graphs[graph].nodes[index]
    does = "sends the gradient of an op's result on to its inputs"
    if node.tensor is not None:
        does = f"adds the gradient that arrives into {tensor_word(scene.step.tensors[node.tensor])}.grad"
    runs = [moment for moment in scene.touches.runs(graph, index) if moment <= scene.moment]
    sections = (
        Section("execution", tuple(_execution(scene, graph, node))),
        Section("gradient in", tuple(_arrived(scene, node, runs))),
        Section("gradient out", tuple(_sent(scene, graph, node, runs))),
        Section("saved tensors", tuple(_saved_tensors(scene, node))),
        Section("made by", tuple(_made_by(scene, node))),
    )
    return Sheet(node_word(scene.step, node), "grad node", does, _filled(sections), printable(node.name))


def _execution(scene: Scene, graph: int, node: GradNode) -> Iterator[Fact]:
    runs = scene.touches.runs(graph, node.index)
    start = scene.touches.backward(graph)
    if runs:
        done = [moment for moment in runs if moment <= scene.moment]
        if scene.moment in runs:
            yield Fact("state", "runs now", Tone.GOOD, scene.moment)
        else:
            yield Fact("state", "has run" if done else "has not run yet", Tone.PLAIN if done else Tone.DIM, runs[0])
        every = scene.touches.order(graph)
        yield Fact("order", f"{ordinal(every.index(runs[0]) + 1)} of {len(every):,} that ran", moment=runs[0])
    elif scene.touches.records_runs(graph):
        yield Fact("state", "never ran in this backward", Tone.DIM)
    elif start is not None:
        done_now = start <= scene.moment
        yield Fact("state", "has run" if done_now else "has not run yet", Tone.PLAIN if done_now else Tone.DIM, start)
        yield Fact("order", "not recorded in this step: --detail full records it", Tone.DIM)
    if node.carried:
        yield Fact("made", "in an earlier step", Tone.DIM)
    if node.hooks:
        yield Fact("hooks", plural(node.hooks, "hook"))


def _arrived(scene: Scene, node: GradNode, runs: Sequence[int]) -> Iterator[Fact]:
    if not runs:
        return
    position = 0
    while (sample := scene.samples.of_node(runs[-1], "grad_in", position)) is not None:
        label = "" if position == 0 else f"of output {position}"
        dtype = scene.step.tensors[node.output_tensors[0]].dtype if node.output_tensors else None
        yield from sampled(sample, dtype, label)
        position += 1


def _sent(scene: Scene, graph: int, node: GradNode, runs: Sequence[int]) -> Iterator[Fact]:
    records = scene.step.graphs[graph]
    for edge in scene.touches.edges(graph, node.index):
        target = node_word(scene.step, records.nodes[edge.target])
        sample = scene.samples.of_node(runs[-1], "grad_out", edge.index) if runs else None
        if sample is None:
            yield Fact("to", target)
        else:
            facts = list(sampled(sample))
            bad = any(fact.tone is Tone.BAD for fact in facts)
            text = f"{target}: {'; '.join(fact.text for fact in facts)}"
            yield Fact("to", text, Tone.BAD if bad else Tone.PLAIN)


def _saved_tensors(scene: Scene, node: GradNode) -> Iterator[Fact]:
    for saved in node.saved:
        label = printable(saved.name.removeprefix("saved_"))
        fact = _saved(scene, saved, label, node.op)
        if saved.tensor is not None:
            fact = Fact(label, f"{tensor_word(scene.step.tensors[saved.tensor])} {fact.text}", fact.tone, fact.moment)
        yield fact


def _made_by(scene: Scene, node: GradNode) -> Iterator[Fact]:
    if node.op is not None:
        stack = scene.step.moments[node.op].stack
        where = line_word(next(iter(scene.trace.source_lines(stack)), None))
        yield Fact("op", f"{where}  {moment_words(scene.step, node.op)}", moment=node.op)
    if node.output_tensors:
        names = (tensor_word(scene.step.tensors[number]) for number in node.output_tensors)
        yield Fact("grad_fn of", elide_list(names, _NAMES))


# -- ops and other moments ---------------------------------------------------------------------------


def _op_sheet(scene: Scene, index: int) -> Sheet:
    moment = scene.step.moments[index]
    if not isinstance(moment, OpCall):
        return _moment_sheet(scene)
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
    sections = _filled((Section("call", tuple(facts)), Section("tensors", tuple(ends))))
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


def _moment_sheet(scene: Scene) -> Sheet:
    """What can be said where a moment is about no tensor in particular: the step and its modes."""
    modes = scene.state.modes
    facts = [
        Fact("grad mode", "on" if modes.grad and not modes.inference else "off: no history is recorded"),
        *([Fact("autocast", modes.autocast)] if modes.autocast else []),
    ]
    row = scene.step.row
    if row.loss is not None:
        facts.append(Fact("loss", number(row.loss)))
    several = len(scene.trace.source.optimizers()) > 1
    for optimizer, group, rate in row.learning_rates[:_NAMES]:
        of = f"{printable(scene.trace.optimizer_name(optimizer))}, " * several
        facts.append(Fact("lr", f"{number(rate)} ({of}group {group})"))
    facts.append(Fact("detail", row.detail.value))
    kind = scene.step.moments[scene.moment].kind if scene.moment >= 0 else ""
    verdict = _LESSONS.get(kind, "step on with the right arrow; [ and ] travel by phases")
    if scene.moment >= 0 and isinstance(moment := scene.step.moments[scene.moment], OptimizerStep):
        names = (tensor_word(scene.step.tensors[number]) for number in moment.updated)
        facts.append(Fact("updates", elide_list(names, 2 * _NAMES) or "nothing"))
    return Sheet(moment_words(scene.step, scene.moment), "moment", verdict, (Section("step", tuple(facts)),))
