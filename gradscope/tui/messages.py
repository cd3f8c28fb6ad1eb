"""What panes tell the application. Panes never change the scene themselves: the application's handlers do."""

from __future__ import annotations

from typing import Literal

from textual.message import Message

Severity = Literal["information", "warning", "error"]


class Travel(Message):
    """The user asked to be at `moment` (-1: the start) of step `step`; `drags` on from where a drag has led to."""

    def __init__(self, step: int, moment: int, *, drags: bool = False) -> None:
        super().__init__()
        self.drags = drags
        self.step = step
        self.moment = moment


class ToLine(Message):
    """The user asked for the next moment of a line of a file."""

    def __init__(self, file: str, line: int) -> None:
        super().__init__()
        self.file = file
        self.line = line


class Select(Message):
    """The user selected a node of the scene's graph, or none."""

    def __init__(self, node: int | None) -> None:
        super().__init__()
        self.node = node


class Notice(Message):
    """A line for the user."""

    def __init__(self, text: str, severity: Severity = "information") -> None:
        super().__init__()
        self.text = text
        self.severity = severity
