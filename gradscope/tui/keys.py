"""Every key of the instrument, once: the bindings, the help and the command palette are made from this table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from textual.binding import Binding

_MOMENT, _PHASE, _STEP = Binding.Group("moment", True), Binding.Group("phase", True), Binding.Group("step", True)


@dataclass(frozen=True, slots=True)
class Key:
    """`key` as Textual names it, or several, the first of which hints press; `shown` as it stands on the keyboard.

    `about` is a sentence for help and palette. `footer` is the word at the bottom of the screen, "" for keys that are
    not shown there; a narrow screen shows the first ones only.
    """

    key: str
    shown: str
    action: str
    about: str
    footer: str = ""
    group: Binding.Group | None = None
    over_panes: bool = False  # taken before the focused pane sees it
    at_once: bool = False  # also while a step is read, which other keys wait for

    def binding(self) -> Binding:
        return Binding(
            self.key,
            self.action,
            self.footer or self.about,
            show=bool(self.footer),
            key_display=self.shown,
            priority=self.over_panes,
            id=self.action,
            group=self.group,
        )


KEYS: dict[str, tuple[Key, ...]] = {
    "First of all": (
        Key("question_mark", "?", "help", "What all of this means, and every key", "help"),
        Key("q", "q", "app.quit", "Leave", "quit", at_once=True),
        Key("ctrl+p", "^p", "app.command_palette", "Everything by name"),
    ),
    "Travel in time": (
        Key("left", "←", "moment(-1)", "Back by one moment", "moment", _MOMENT, over_panes=True),
        Key("right", "→", "moment(1)", "On by one moment", "moment", _MOMENT, over_panes=True),
        Key(
            "left_square_bracket",
            "[",
            "phase(-1)",
            "Back to where this phase began, or the one before",
            "phase",
            _PHASE,
        ),
        Key("right_square_bracket", "]", "phase(1)", "On to the next phase: forward, backward, …", "phase", _PHASE),
        Key("left_curly_bracket", "{", "step(-1)", "Back by one step", "step", _STEP, at_once=True),
        Key("right_curly_bracket", "}", "step(1)", "On by one step", "step", _STEP, at_once=True),
        Key("home", "home", "edge(-1)", "The start of this step", over_panes=True),
        Key("end", "end", "edge(1)", "The end of this step", over_panes=True),
        Key("left_parenthesis,alt+left,ctrl+o", "(", "back", "Back to where the last jump began (also alt+←, ctrl+o)"),
        Key(
            "right_parenthesis,alt+right,ctrl+i",
            ")",
            "forward",
            "Forward again (also alt+→; ctrl+i where it is no tab)",
        ),
        Key("g", "g", "go_to", "Go to a step, or to a moment of it"),
        Key("L", "L", "follow", "With --follow: stay here, or go on with the newest step"),
    ),
    "Jump to what matters": (
        Key("d", "d", "findings", "Findings: what is wrong, with its line", "findings"),
        Key("f", "f", "seek('finding', 1)", "The next finding"),
        Key("F", "F", "seek('finding', -1)", "The finding before"),
        Key("b", "b", "seek('bad', 1)", "The next bad number: NaN or Inf"),
        Key("B", "B", "seek('bad', -1)", "The bad number before: NaN or Inf"),
        Key("i", "i", "seek('mutation', 1)", "The next in-place change"),
        Key("I", "I", "seek('mutation', -1)", "The in-place change before"),
        Key("o", "o", "seek('move', 1)", "The next move to another device or dtype"),
        Key("O", "O", "seek('move', -1)", "The move to another device or dtype before"),
    ),
    "Follow the selected tensor": (
        Key("full_stop", ".", "seek('change', 1)", "Where its value, gradient or status changes next"),
        Key("comma", ",", "seek('change', -1)", "Where its value, gradient or status last changed"),
        Key("less_than_sign", "<", "origin", "Where it was made"),
        Key("greater_than_sign", ">", "first_use", "Where this step first used it"),
        Key("w", "w", "when", "When and why: every moment of it, to pick one", "when"),
        Key("c", "c", "select_current", "Select what this moment is about, to watch it while travelling"),
        Key("escape", "esc", "unselect", "End a search that runs; select nothing: the inspector follows the cursor"),
    ),
    "Compare": (
        Key("D", "D", "pin", "Pin this step: every number shows its difference to it; again: no more"),
        Key("A", "A", "compare", "Compare with the same step of another trace"),
        Key("U", "U", "only", "What only one of the two steps has"),
    ),
    "Look": (
        Key("v", "v", "kind", "Show the forward graph, the backward graph, or both"),
        Key("G", "G", "depth", "Gradient norms as bars along the depth of the network; again: the table"),
        Key("C", "C", "chart", "Chart of a parameter: it and its gradient at each phase, and over the steps"),
        Key("s", "s", "stack", "The call stack instead of the file, and back"),
        Key("1", "1", "pane('graph')", "Go to the graph"),
        Key("2", "2", "pane('inspector')", "Go to the inspector"),
        Key("3", "3", "pane('source')", "Go to the source"),
        Key("4", "4", "pane('parameters')", "Go to the parameters"),
        Key("5", "5", "pane('timeline')", "Go to the timeline"),
        Key("tab", "tab", "next_pane(1)", "The next pane", over_panes=True),
        Key("shift+tab", "shift+tab", "next_pane(-1)", "The pane before", over_panes=True),
        Key("Z", "Z", "zoom", "All the room for this pane; again: back"),
        Key("plus", "+", "grow(1)", "More room for this pane"),
        Key("minus", "-", "grow(-1)", "Less room for this pane"),
        Key("T", "T", "theme", "Light or dark"),
    ),
    "Take with you": (
        Key("x", "x", "export", "Export the graph: svg png pdf dot json graphml mmd txt"),
        Key("X", "X", "export_screen", "Save this screen as a picture: svg"),
        Key("y", "y", "copy_line", "Copy path:line"),
        Key("Y", "Y", "copy_value", "Copy the value, or the name, of what the inspector shows"),
        Key("e", "e", "edit", "Open the line in $EDITOR"),
    ),
}


def rebound(keys: Mapping[str, str]) -> Mapping[str, tuple[Key, ...]]:
    """The same table with other keys for some actions."""

    def own(key: Key) -> Key:
        new = keys.get(key.action)
        return replace(key, key=new, shown=new) if new is not None else key

    return {group: tuple(own(key) for key in table) for group, table in KEYS.items()}
