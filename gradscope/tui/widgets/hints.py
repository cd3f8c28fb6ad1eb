"""The bottom line: what the keys do here, as many whole hints as there is room for."""

from __future__ import annotations

from collections.abc import Iterator

from textual.binding import Binding
from textual.content import Content
from textual.screen import Screen
from textual.widget import Widget

_BETWEEN = Content("  ")


class Hints(Widget):
    """The keys of the screen that are shown, in its order, the most useful first; a click on one presses it."""

    def on_mount(self) -> None:
        self.screen.bindings_updated_signal.subscribe(self, self._changed)

    def on_unmount(self) -> None:
        self.screen.bindings_updated_signal.unsubscribe(self)

    def _changed(self, screen: Screen[object]) -> None:
        if screen is self.screen:
            self.refresh()

    def render(self) -> Content:
        line = Content("")
        for hint in self._hints():
            longer = _BETWEEN.join([line, hint]) if line else hint
            if longer.cell_length > self.size.width:
                break
            line = longer
        return line

    def _hints(self) -> Iterator[Content]:
        """`←→ moment`: keys of one group share a hint, keys of one action the first one's."""
        hints: dict[Binding.Group | str, dict[str, Binding]] = {}
        for _, binding, enabled, _ in self.screen.active_bindings.values():
            if binding.show and enabled:
                hints.setdefault(binding.group or binding.action, {}).setdefault(binding.action, binding)
        for keys in hints.values():
            shown = [self._key(binding) for binding in keys.values()]
            word = next(iter(keys.values())).description
            yield Content.assemble(*shown, (f" {word}", "$footer-description-foreground"))

    def _key(self, binding: Binding) -> Content:
        shown = Content.styled(self.app.get_key_display(binding), "bold $footer-key-foreground")
        return shown.stylize(f"@click=app.simulate_key('{binding.key}')")
