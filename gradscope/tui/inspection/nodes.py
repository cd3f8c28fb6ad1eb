"""What the inspector says of a grad node: when it ran, what it received and sent on, what it keeps. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ...model.records import GradNode
from ...text import elide_list, ordinal, plural, printable
from ..scene import Scene
from ..words import line_word, moment_words, node_word, tensor_word
from .facts import NAMES, Fact, Section, Sheet, Tone, filled, sampled, saved_fact


def node_sheet(scene: Scene, graph: int, index: int) -> Sheet:
    """Node `index` of the step's graph number `graph`."""
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
    return Sheet(node_word(scene.step, node), "grad node", does, filled(sections), printable(node.name))


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
            figures = tuple(figure for fact in facts for figure in fact.figures)
            yield Fact("to", text, Tone.BAD if bad else Tone.PLAIN, figures=figures)


def _saved_tensors(scene: Scene, node: GradNode) -> Iterator[Fact]:
    for saved in node.saved:
        label = printable(saved.name.removeprefix("saved_"))
        fact = saved_fact(scene, saved, label, node.op)
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
        yield Fact("grad_fn of", elide_list(names, NAMES))
