"""The inspector's sheet on one subject at one moment. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from ...render.findings.trial import changed_lines, headline
from ...text import printable
from ..scene import Scene
from ..subject import Subject, node_of
from .facts import Fact, Section, Sheet, Tone
from .moments import moment_sheet, op_sheet
from .nodes import node_sheet
from .tensors import tensor_sheet


def sheet(scene: Scene, subject: Subject) -> Sheet:
    """What is known of `subject` at the scene's moment; what is wrong with it comes first."""
    found = _sheet(scene, subject)
    wrong = tuple(_findings(scene, subject))
    return replace(found, sections=(Section("finding", wrong, steps_own=True), *found.sections)) if wrong else found


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
            if finding.patched is not None:
                yield Fact("patch", printable(headline(finding.patched)), Tone.GOOD)
                for number, sign, code in changed_lines(finding.patched):
                    yield Fact(f"{number} {sign}".strip(), printable(code.strip()))


def _sheet(scene: Scene, subject: Subject) -> Sheet:
    if subject.tensor is not None:
        return tensor_sheet(scene, scene.step.tensors[subject.tensor])
    if subject.grad is not None:
        return node_sheet(scene, *subject.grad)
    if subject.op is not None:
        return op_sheet(scene, subject.op)
    return moment_sheet(scene)
