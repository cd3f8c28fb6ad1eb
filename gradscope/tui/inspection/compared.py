"""The sheet on a subject, with what is different of it in the step that is compared with. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

from ...text import elide_list
from ..differences import SAME, difference
from ..scene import Against, Scene
from ..subject import Subject, node_of, subject_at, subject_of
from .facts import Fact, Section, Sheet, Tone
from .sheet import sheet

_FIGURES = 12  # differences that are written out
_Key = tuple[str, str, int]  # section, label, how many facts of that label came before


def compared_sheet(scene: Scene, subject: Subject) -> Sheet:
    """What is known of `subject`; where steps are compared, with the differences."""
    mine, against = sheet(scene, subject), scene.against
    if against is None or against.scene is None:
        return mine
    twin = _twin(scene, against, subject)
    if twin is None:
        lack = Section("compared", (Fact("", f"+ {against.title} has nothing like it"),))
        return replace(mine, sections=(lack, *mine.sections))
    return _merged(mine, sheet(against.scene, twin), against.title)


def _twin(scene: Scene, against: Against, subject: Subject) -> Subject | None:
    """The same subject in the other step: by its node, else by its moment."""
    assert against.scene is not None
    assert against.pairing is not None
    other = against.scene
    node = node_of(scene.step.template, scene.graph, subject)
    if node is not None:
        twin = other.graph.by_id.get(against.pairing.nodes.get(node, -1))
        return subject_of(other.step.template, twin) if twin is not None else None
    if subject == subject_at(scene.step.template, scene.moment) and against.exact:
        return subject_at(other.step.template, other.moment)
    return None


def _merged(mine: Sheet, other: Sheet, title: str) -> Sheet:
    theirs = dict(_keyed(other))
    sections = []
    for section in mine.sections:
        facts: list[Fact] = []
        for (_, _, place), fact in _keyed_facts(section):
            facts.append(fact)
            twin = theirs.pop((section.title, fact.label, place), None)
            if not section.steps_own:
                facts += _beside(fact, twin, title)
        sections.append(replace(section, facts=tuple(facts)))
    lacking = tuple(Fact(fact.label, f"- {fact.text}", Tone.DIM) for (section, _, _), fact in theirs.items() if section)
    return replace(mine, sections=(*sections, Section(f"only in {title}", lacking)) if lacking else tuple(sections))


def _keyed(of: Sheet) -> Iterator[tuple[_Key, Fact]]:
    for section in of.sections:
        if not section.steps_own:
            yield from _keyed_facts(section)


def _keyed_facts(section: Section) -> Iterator[tuple[_Key, Fact]]:
    seen: Counter[str] = Counter()
    for fact in section.facts:
        yield (section.title, fact.label, seen[fact.label]), fact
        seen[fact.label] += 1


def _beside(fact: Fact, twin: Fact | None, title: str) -> Iterator[Fact]:
    """What the other step has in a fact's place, where it is not the same."""
    if twin is None:
        yield Fact("", f"+ {title} has none", Tone.GOOD)
    elif fact.figures and [name for name, _ in fact.figures] == [name for name, _ in twin.figures]:
        pairs = [(name, difference(own, other)) for (name, own), (_, other) in zip(fact.figures, twin.figures)]
        if any(by != SAME for _, by in pairs):
            words = elide_list((f"{name} {by}".strip() for name, by in pairs), _FIGURES)
            yield Fact("  difference", words, Tone.GOOD)
    elif fact.text != twin.text:
        yield Fact(f"  {title}"[:14], twin.text, Tone.GOOD)
