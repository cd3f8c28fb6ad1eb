"""`Comparing`: the keys that bring another step beside every one, and list what only one of the two has."""

from __future__ import annotations

from pathlib import Path

from textual import work
from textual.content import Content

from ...errors import GradscopeError
from ...model.graph import Graph
from ...text import plural, printable
from .. import cursor
from ..cursor import Place
from ..pin import Pin
from ..themes import MUTED
from ..words import step_word
from .asking import Choice, Picker, Prompt
from .listing import Listing


class Comparing(Listing):
    """Pin a step, or the same step of another trace; unpin it."""

    def compare_with(self, pin: Pin | None) -> None:
        """From now on every step is shown beside what `pin` says; None: by itself."""
        if self.pin is not None:
            self.pin.close()
        self.pin = pin
        if self.aim is not None:
            self.go(self.aim)

    def action_pin(self) -> None:
        """Compare with the step at hand; again: no more."""
        if self.pin is not None:
            self.compare_with(None)
            self.notify("Nothing is compared any more.")
        elif self.scene is not None:
            number = self.scene.step.number
            self.compare_with(Pin(self.session, number))
            self.notify(f"Every step is now compared with {step_word(number)}; the same key ends it.")

    def action_compare(self) -> None:
        """Ask for another trace, whose same step everything is compared with."""

        def check(name: str) -> str | None:
            return None if Path(name.strip()).expanduser().is_file() else f"there is no file {name.strip()!r}"

        def begin(name: str | None) -> None:
            if name is not None:
                self._open_other(str(Path(name.strip()).expanduser()))

        hint = "a .gradscope file: each step is compared with the step of that number in it"
        self.app.push_screen(Prompt("Compare with the trace", hint, check=check), begin)

    @work(thread=True, exclusive=True, group="compare", description="compare")
    def _open_other(self, path: str) -> None:
        try:
            pin = Pin.of_file(path)
        except GradscopeError as error:
            self.tell(self.complain, error)
            return
        self.tell(self.compare_with, pin)

    def action_only(self) -> None:
        """List what only one of the two steps has."""
        scene = self.scene
        against = scene.against if scene is not None else None
        if scene is None or against is None or against.pairing is None or against.scene is None:
            self.notify("Nothing is compared: pin a step, or ask for another trace.")
            return
        here, there = against.pairing.only_mine, against.pairing.only_other
        own = [Choice(_line("+", scene.graph, node), (True, node)) for node in here]
        others = [Choice(_line("-", against.scene.graph, node), (False, node)) for node in there]
        if not own and not others:
            self.notify(f"This step and {against.title} have the same nodes.")
            return
        other = against.scene

        def go(chosen: tuple[bool, int] | None) -> None:
            if chosen is None:
                return
            mine, node = chosen
            if mine:
                self.show_node(node)
            elif self.pin is not None and self.pin.session is self.session:
                moment = other.graph.by_id[node].moment
                self.jump(Place(other.step.number, cursor.START if moment is None else moment))
            else:
                self.notify(f"It is in {against.title} only.", markup=False)

        title = f"+ only here: {plural(len(own), 'node')}   - only in {against.title}: {plural(len(others), 'node')}"
        self.app.push_screen(Picker(title, [*own, *others]), go)

    def show_node(self, node: int) -> None:
        """Select a node, and draw it by itself."""
        raise NotImplementedError


def _line(sign: str, graph: Graph, number: int) -> Content:
    node = graph.by_id[number]
    name = printable(node.name or node.op or node.label)
    where = printable(" ".join(part for part in (node.label if node.label != name else "", node.module) if part))
    return Content.assemble((f"{sign} ", "bold"), f"{name}  ", (where, MUTED))
