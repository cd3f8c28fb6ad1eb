"""`Taking`: what the user takes away: pictures, lines, values, and the line in an editor."""

from __future__ import annotations

import subprocess
from pathlib import Path

from textual import work
from textual.app import SuspendNotSupported
from textual.worker import Worker, get_current_worker

from ...errors import GradscopeError
from ...model.graph import Graph
from .. import export
from ..outside import editor_command, startable
from ..widgets.graph import GraphPane
from ..widgets.inspector import InspectorPane
from ..widgets.source import SourcePane
from ..words import step_word
from .asking import Prompt
from .comparing import Comparing


class Taking(Comparing):
    """Export, copy, edit."""

    script: str
    _export: Worker[None] | None = None

    def _file_name(self, suffix: str) -> str:
        stem = Path(self.script).stem or "trace"
        number = self.scene.step.number if self.scene is not None else 0
        return f"{stem}-{step_word(number).replace(' ', '')}{suffix}"

    def action_export(self) -> None:
        if self._export is not None and self._export.is_running:
            self._export.cancel()
            self.say("")
            self.notify("The export was cancelled; nothing was written.")
            return
        if self.scene is None:
            return
        graph = self.shown_graph()

        def write(name: str | None) -> None:
            if name is not None:
                self.say(f"exporting {name.strip()}… x cancels")
                self._export = self._write(graph, Path(name.strip()).expanduser())

        hint = f"the suffix picks the format: {export.suffixes()}"
        title = f"Export this graph ({len(graph.nodes):,} nodes) to"
        self.app.push_screen(Prompt(title, hint, self._file_name(".svg"), export.wrong_name), write)

    def shown_graph(self) -> Graph:
        """The graph as the graph pane shows it: folded and focused."""
        assert self.scene is not None
        picture = self.query_one("#graph", GraphPane).picture
        return picture.shown if picture is not None else self.scene.graph

    @work(thread=True, exclusive=True, group="export", description="export")  # else the graph's repr
    def _write(self, graph: Graph, path: Path) -> None:
        worker = get_current_worker()
        theme = "dark" if self.app.current_theme.dark else "light"
        try:
            written = export.export_graph(
                graph, path, theme=theme, ascii=self.ascii, cancelled=lambda: worker.is_cancelled
            )
        except GradscopeError as error:
            self.tell(self.complain, error)
            return
        if written:
            self.tell(self._written, path)

    def _written(self, path: Path) -> None:
        self.say("")
        self.notify(f"Wrote {path}", markup=False)

    def action_export_screen(self) -> None:
        picture = export.plain_svg(self.app.export_screenshot(title=self.script))

        def check(name: str) -> str | None:
            return None if name.strip().endswith(".svg") else "a screen is saved as .svg"

        def write(name: str | None) -> None:
            if name is not None:
                self._write_text(picture, Path(name.strip()).expanduser())

        self.app.push_screen(Prompt("Save this screen to", "an .svg file", self._file_name("-ui.svg"), check), write)

    @work(thread=True, group="export")
    def _write_text(self, text: str, path: Path) -> None:
        try:
            export.save_text(text, path)
        except GradscopeError as error:
            self.tell(self.complain, error)
            return
        self.tell(self._written, path)

    def action_copy_line(self) -> None:
        line = self.query_one("#source", SourcePane).line
        if line is None:
            self.notify("This moment has no line.")
            return
        self._copy(f"{line.file}:{line.line}")

    def action_copy_value(self) -> None:
        sheet = self.query_one("#inspector", InspectorPane).sheet
        if sheet is not None and (sheet.value or sheet.title):
            self._copy(sheet.value or sheet.title)

    def _copy(self, text: str) -> None:
        self.app.copy_to_clipboard(text)
        self.notify(f"Copied {text[:200]}", markup=False)

    def action_edit(self) -> None:
        """Hand the terminal to the user's editor, and take it back."""
        source = self.query_one("#source", SourcePane)
        path = source.path()
        if source.line is None or path is None:
            self.notify("The file of this line is not here.", severity="warning")
            return
        try:
            command = startable(editor_command(path, source.line.line))
            with self.app.suspend():
                subprocess.run(command, check=False)
        except (ValueError, OSError) as error:
            self.notify(f"The editor did not start: {error}", severity="error", markup=False)
        except SuspendNotSupported:
            self.notify("This terminal cannot be handed to an editor.", severity="error")
        source.forget()
