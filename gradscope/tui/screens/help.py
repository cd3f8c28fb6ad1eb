"""The help: what the screen shows in six sentences, every key, and what the signs of the graph mean."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widget import Widget
from textual.widgets import Label, Static

from ...render.signs import role_sign
from ...render.theme import THEMES
from ...render.words import BADGES, Role
from ..keys import Key
from ..themes import MUTED

_IDEA = """\
A training loop is recorded as steps, and a step as moments: one call, one grad node's run, one change at a time.
You are at one moment. Every pane shows what held right then; nothing runs again, so back is as quick as on.

Graph: what was computed, and the way gradients take back. What has not happened yet is dim.
Inspector: everything about one tensor or grad node: is it a leaf, why is its .grad None, what did it receive.
Source: your line. ▶ is running now; ◂ is the forward line whose gradient is computed; enter goes to what a line did.
Parameters: norms, gradients, how far the update moved each, and what no optimizer trains.
Timeline: the phases of this step, and the loss over all steps; click or drag to travel.

Try: ] to reach the backward, → a few times to watch gradients flow back, then ← to undo time.
Up and down in the graph select a node, enter goes to where it ran; . and , travel to where it changes, and w lists
all its moments. C is the chart of a parameter: its gradient and itself at each phase of the step.
"""


class Help(ModalScreen[None]):
    """Closes on escape, ? and q."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,question_mark,q", "dismiss(None)", "close")]

    def __init__(self, panes: Iterable[Widget], keys: Mapping[str, Sequence[Key]]) -> None:
        super().__init__()
        self._keys = keys
        self._panes = tuple(panes)

    def compose(self) -> ComposeResult:
        with Vertical(classes="window tall"):
            yield Label(Content.styled("gradscope view: step through a training loop", "bold"))
            with VerticalScroll():
                yield Static(Content("\n").join(self._lines()))
            yield Label(Content.styled("up and down scroll   escape closes", MUTED))

    def _lines(self) -> Iterator[Content]:
        yield Content(_IDEA)
        for group, keys in self._keys.items():
            yield Content.styled(group, "bold $text-accent")
            for key in keys:
                yield _line(key.shown, key.about)
            yield Content("")
        for pane in self._panes:
            own = [one for one in type(pane).BINDINGS if isinstance(one, Binding)]
            title = str(pane.border_title or pane.id).split(":")[0].split("  ")[0]
            if own:
                yield Content.styled(f"In the pane {title}", "bold $text-accent")
                for one in own:
                    yield _line(one.key_display or one.key.replace("slash", "/"), one.tooltip or one.description)
                yield Content("")
        yield Content.styled("Signs in the graph", "bold $text-accent")
        yield from (_line(sign, words) for sign, words in _signs())


def _signs() -> Iterator[tuple[str, str]]:
    """Each sign of the lane view and what it means."""
    yield "·", "not reached yet"
    yield "▸", "reached last"
    yield from ((role_sign(role), role.value) for role in Role if role is not Role.MODULE_BACKWARD)
    look = THEMES["light"]
    yield from ((look.badge(mark).sign, word) for mark, word in BADGES.items())


def _line(key: str, about: str) -> Content:
    return Content.assemble((f"  {key:<10}", "bold"), about)
