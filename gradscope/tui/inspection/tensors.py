"""What the inspector says of a tensor: its autograd status, value, gradient, memory and history. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ...model.origin import case_in
from ...model.records import Sample, Tensor
from ...text import byte_count, elide_list, number, printable, tensor_type, values
from ..scene import Scene
from ..touches import Event
from ..why import why_grad
from ..words import line_word, moment_words, node_word, tensor_word
from .facts import NAMES, Fact, Section, Sheet, Tone, filled, sampled, saved_fact

_EVENTS = 40  # of a tensor's history, how many lines are written


def tensor_sheet(scene: Scene, tensor: Tensor) -> Sheet:
    """A tensor of the step; its verdict says which of the four cases it is."""
    now = scene.state.tensors[tensor.number]
    verdict = case_in(scene.step, tensor, now).verdict if now.exists else "not made yet at this moment"
    sample = _latest(scene, tensor, "value")
    sections = (
        Section("autograd", tuple(_autograd(scene, tensor))),
        Section("value", tuple(_value(scene, tensor, sample))),
        Section("gradient", tuple(_gradient(scene, tensor))),
        Section("memory", tuple(_memory(scene, tensor))),
        Section("kept for backward", tuple(_kept(scene, tensor))),
        Section("history in this step", tuple(_history(scene, scene.touches.of(tensor.number))), steps_own=True),
    )
    kind = {"parameter": "parameter", "buffer": "buffer"}.get(tensor.role, "tensor")
    title = f"{tensor_word(tensor)}  {tensor_type(now.dtype, tensor.shape)}" if tensor.name else tensor_word(tensor)
    return Sheet(title, kind, verdict, filled(sections), _copied(tensor, sample))


def _autograd(scene: Scene, tensor: Tensor) -> Iterator[Fact]:
    now = scene.state.tensors[tensor.number]
    yield Fact("requires_grad", str(now.requires_grad))
    yield Fact("is_leaf", str(now.is_leaf))
    yield Fact("grad_fn", printable(now.grad_fn or "None"))
    yield Fact("retains_grad", str(now.retains_grad))
    figures = (("", float(now.version)),) if now.version is not None else ()
    yield Fact("version", "untracked" if now.version is None else str(now.version), figures=figures)
    made = tensor.made_by if tensor.made_by is not None else -1
    if tensor.is_view and scene.touches.measured.written_between(tensor.storage, made, scene.moment):
        yield Fact("", "a view whose memory was written since: torch renews its history when it is next used", Tone.DIM)
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
        return Fact("optimizer", printable(elide_list(words, NAMES)))
    return Fact("optimizer", "in none: no step() will change it", Tone.BAD if tensor.requires_grad else Tone.DIM)


def _value(scene: Scene, tensor: Tensor, sample: Sample | None) -> Iterator[Fact]:
    if sample is None:
        return
    yield from sampled(sample, tensor.dtype)
    if scene.touches.measured.written_between(tensor.storage, sample.moment, scene.moment):
        yield Fact("", "as it was before the last change in place", Tone.DIM)
    elif scene.touches.measured.is_shared(tensor.storage, scene.moment):
        yield Fact("", "unless it was written through the array or buffer that shares its memory", Tone.DIM)


def _gradient(scene: Scene, tensor: Tensor) -> Iterator[Fact]:
    if scene.state.tensors[tensor.number].has_grad:
        sample = _latest(scene, tensor, "grad")
        if sample is not None:
            yield from sampled(sample, tensor.dtype)
        elif (norm := _norm_of(scene, tensor)) is not None:
            yield Fact("norm", f"{number(norm)} after the backward", figures=(("", norm),))
    key = scene.touches.made_by(tensor.number)
    if key is not None and not scene.state.tensors[tensor.number].is_leaf:
        runs = [moment for moment in scene.touches.runs(*key) if moment <= scene.moment]
        arrived = scene.samples.of_node(runs[-1], "grad_in") if runs else None
        if arrived is not None:
            yield from sampled(arrived, tensor.dtype, "arriving", runs[-1])


def _norm_of(scene: Scene, tensor: Tensor) -> float | None:
    """The norm of its gradient, where that is the one which the step's row has."""
    holds = tensor.parameter is not None and scene.touches.measured.row_has_gradient(tensor.number, scene.moment)
    return next((grad for owner, _, grad in scene.step.row.norms if holds and owner == tensor.parameter), None)


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
        names = elide_list(dict.fromkeys(tensor_word(other) for other in others), NAMES)
        yield Fact("shares memory", f"with {names}")
    if tensor.is_view and tensor.base is not None:
        yield Fact("view of", tensor_word(scene.step.tensors[tensor.base]))


def _kept(scene: Scene, tensor: Tensor) -> Iterator[Fact]:
    for graph, index in scene.touches.saved_by(tensor.number)[:NAMES]:
        node = scene.step.graphs[graph].nodes[index]
        for saved in node.saved:
            if saved.tensor == tensor.number:
                yield saved_fact(scene, saved, f"by {node_word(scene.step, node)}", node.op)


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
