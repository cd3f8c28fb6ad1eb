"""Small windows over the instrument: one line to type, or one thing to pick from a list."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Generic, TypeVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Input, Label, OptionList
from textual.widgets.option_list import Option

from ..themes import MUTED

T = TypeVar("T")


class Prompt(ModalScreen[str | None]):
    """One line to type. Closes with the line, or None on escape; what `check` says is wrong keeps it open."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "dismiss(None)", "cancel")]

    def __init__(
        self, title: str, hint: str, value: str = "", check: Callable[[str], str | None] | None = None
    ) -> None:
        super().__init__()
        self.prompt_title = title
        self.hint = hint
        self.value = value
        self.check = check or (lambda _: None)

    def compose(self) -> ComposeResult:
        with Vertical(classes="window"):
            yield Label(Content.styled(self.prompt_title, "bold"))
            yield Input(self.value, compact=True, select_on_focus=True)
            yield Label(Content.styled(self.hint, MUTED), id="hint")

    @on(Input.Submitted)
    def _submitted(self, event: Input.Submitted) -> None:
        wrong = self.check(event.value)
        if wrong is None:
            self.dismiss(event.value)
        else:
            self.query_one("#hint", Label).update(Content.styled(f"! {wrong}", "$text-error"))


@dataclass(frozen=True, slots=True)
class Choice(Generic[T]):
    """One line of a list, and what picking it gives."""

    line: Content
    value: T


class Picker(ModalScreen[T | None], Generic[T]):
    """A list to pick from. Closes with the value of the line picked by enter or click, or None on escape."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,q", "dismiss(None)", "close")]

    def __init__(self, title: str, choices: Sequence[Choice[T]], at: int = 0, hint: str = "") -> None:
        super().__init__()
        self.picker_title = title
        self.choices = choices
        self.at = at
        self.hint = hint

    def compose(self) -> ComposeResult:
        with Vertical(classes="window tall"):
            yield Label(Content.styled(self.picker_title, "bold"))
            yield OptionList(*(Option(choice.line) for choice in self.choices), compact=True)
            yield Label(Content.styled(self.hint or "enter: go there   escape: close", MUTED))

    def on_mount(self) -> None:
        choices = self.query_one(OptionList)
        if self.choices:
            choices.highlighted = min(max(self.at, 0), len(self.choices) - 1)

    @on(OptionList.OptionSelected)
    def _picked(self, event: OptionList.OptionSelected) -> None:
        self.dismiss(self.choices[event.option_index].value)
