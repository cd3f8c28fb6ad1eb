"""`Listing`: the keys that ask where to go, or list places to pick from."""

from __future__ import annotations

from collections.abc import Sequence

from textual import work
from textual.content import Content

from ...errors import GradscopeError
from ...model.findings import Finding, Severity
from ...text import printable
from .. import cursor, jumps
from ..cursor import Place
from ..finding_lines import CodeLine, FindingLine, lines_of
from ..themes import MUTED
from ..touches import Event, Touch
from ..words import line_word, moment_words, node_word, step_word, tensor_word
from .asking import Choice, Picker, Prompt
from .seeking import Seeking

_SIGNS = {Severity.ERROR: "E", Severity.WARNING: "W", Severity.NOTE: "N"}
_Lead = tuple[int, CodeLine | None]  # which finding, and which line of it


class Listing(Seeking):
    """Go to a step, the moments of a tensor, the findings."""

    def action_go_to(self) -> None:
        if self.aim is None:
            return
        here = self.aim

        def check(text: str) -> str | None:
            try:
                place = cursor.parse_place(text, here)
            except ValueError as error:
                return str(error)
            if place.step not in self.steps:
                near = min(self.steps, key=lambda step: abs(step - place.step))
                return f"there is no {step_word(place.step)}; the nearest is {near}"
            return None

        def go(text: str | None) -> None:
            if text is not None:
                self.jump(cursor.parse_place(text, here))

        last = self.steps[-1] if self.steps else 0
        hint = f"12 is step 12 (up to {last}), 12:40 its moment 40, :40 moment 40 of this step"
        self.app.push_screen(Prompt("Go to", hint, check=check), go)

    def action_when(self) -> None:
        """Every moment that concerns what the user looks at, the current one marked."""
        scene, tensor, subject = self.scene, self.tensor(), self.subject()
        if scene is None:
            return
        found: Sequence[Event] = ()
        name = "this"
        if tensor is not None:
            found, name = scene.touches.of(tensor), tensor_word(scene.step.tensors[tensor])
        elif subject.grad is not None:
            found = [Event(moment, Touch.RAN) for moment in scene.touches.runs(*subject.grad)]
            name = node_word(scene.step, scene.step.graphs[subject.grad[0]].nodes[subject.grad[1]])
        if not found:
            self.notify(f"No moment of this step concerns {name}.", markup=False)
            return
        at = max((place for place, event in enumerate(found) if event.moment <= scene.moment), default=0)
        choices = [Choice(self._event_line(event), event.moment) for event in found]
        self._pick(f"{name} in {step_word(scene.step.number)}: when and why", choices, at)

    def _event_line(self, event: Event) -> Content:
        assert self.scene is not None
        scene = self.scene
        where = line_word(next(iter(scene.trace.source_lines(scene.step.moments[event.moment].stack)), None))
        style = MUTED if event.moment > scene.moment else ""
        head = f"{event.moment + 1:>5}  {event.touch.value:<8}  {where:<20}  "
        return Content.assemble((head, style), (moment_words(scene.step, event.moment), style))

    def _pick(self, title: str, choices: Sequence[Choice[int]], at: int) -> None:
        step = self.scene.step.number if self.scene is not None else 0

        def go(moment: int | None) -> None:
            if moment is not None:
                self.jump(Place(step, moment))

        self.app.push_screen(Picker(title, choices, at), go)

    def action_findings(self) -> None:
        """All findings, line by line; each line leads to its own moment."""
        if not self.found:
            self.notify(self.no_findings, markup=False)
            return
        choices: list[Choice[_Lead]] = []
        for place, finding in enumerate(self.found):
            choices.append(Choice(_headline(finding), (place, None)))
            choices += [Choice(_detail(line), (place, line.place)) for line in lines_of(finding)]

        def go(lead: _Lead | None) -> None:
            if lead is not None:
                self.to_finding(*lead)

        self.app.push_screen(Picker("Findings, the most likely culprit first", choices), go)

    def to_finding(self, position: int, line: CodeLine | None = None) -> None:
        """Go to what a finding speaks of, or to a line that has to do with it."""
        finding = self.found[position]
        number = finding.step if finding.step is not None else self.aim.step if self.aim is not None else self.steps[0]
        if line is not None:
            self.to_line(line, Place(number, cursor.START))
        else:
            self._to_finding(finding, number)

    @work(thread=True, exclusive=True, group="read", description="finding")
    def _to_finding(self, finding: Finding, number: int) -> None:
        try:
            loaded = self.session.load(number)
        except GradscopeError as error:
            self.tell(self.complain, error)
            return
        place = Place(number, jumps.finding_moment(loaded.step, finding))
        self.tell(self._at_finding, finding, place)

    def _at_finding(self, finding: Finding, place: Place) -> None:
        self.jump(place, unfold=True)
        text = "\n".join(printable(part) for part in (finding.message, finding.fix) if part)
        self.notify(text, title=finding.code, timeout=10, markup=False)


def _headline(finding: Finding) -> Content:
    culprit = finding.culprit
    where = str(CodeLine(culprit.file, culprit.line)) if culprit is not None else "no line"
    head = f"{_SIGNS[finding.severity]} {finding.code}  {where:<18}  "
    style = "bold $text-error" if finding.severity is Severity.ERROR else "bold"
    return Content.assemble((head, style), (printable(finding.message), style))


def _detail(line: FindingLine) -> Content:
    head = f"    {line.label + '  ' if line.label else ''}"
    return Content.assemble((head, MUTED), line.text)
