"""Which command opens an editor at a line, and what is written to files."""

from __future__ import annotations

from pathlib import Path

import pytest

from gradscope.errors import CannotWrite, GradscopeError
from gradscope.tui import export
from gradscope.tui.outside import editor_command
from tests import builders

FILE = Path("/x/train.py")


@pytest.mark.parametrize(
    ("environment", "command"),
    [
        ({"EDITOR": "vim"}, ["vim", "+7", "/x/train.py"]),
        ({"EDITOR": "emacs -nw"}, ["emacs", "-nw", "+7", "/x/train.py"]),
        ({"EDITOR": "nano", "VISUAL": "code"}, ["code", "--wait", "--goto", "/x/train.py:7"]),
        ({"EDITOR": "/usr/bin/hx"}, ["/usr/bin/hx", "/x/train.py:7"]),
    ],
)
def test_editors_are_given_the_line_in_their_way(environment: dict[str, str], command: list[str]) -> None:
    assert editor_command(FILE, 7, environment) == command


@pytest.mark.parametrize("environment", [{}, {"EDITOR": ""}, {"EDITOR": "  "}])
def test_without_an_editor_it_says_what_to_set(environment: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="EDITOR"):
        editor_command(FILE, 7, environment)


@pytest.mark.parametrize("name", ["g.json", "g.dot", "g.mmd", "g.graphml", "g.txt", "g.svg"])
def test_a_graph_is_exported_by_suffix(name: str, tmp_path: Path) -> None:
    graph = builders.ab2_trace().step(0).graph("both")
    path = tmp_path / name
    assert export.wrong_name(str(path)) is None
    assert export.export_graph(graph, path, theme="dark", ascii=False, cancelled=lambda: False)
    assert "MulBackward0" in path.read_text(encoding="utf-8")


def test_a_cancelled_export_writes_nothing(tmp_path: Path) -> None:
    graph = builders.ab2_trace().step(0).graph("both")
    assert not export.export_graph(graph, tmp_path / "g.json", theme="dark", ascii=False, cancelled=lambda: True)
    assert list(tmp_path.iterdir()) == []


def test_wrong_names_are_told_before_anything_is_drawn(tmp_path: Path) -> None:
    assert "type the name" in str(export.wrong_name("  "))
    assert "known are" in str(export.wrong_name("g.xyz"))
    assert "there is no folder" in str(export.wrong_name(str(tmp_path / "none" / "g.svg")))


def test_what_cannot_be_written_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "g.svg").mkdir()
    with pytest.raises(CannotWrite):
        export.save_text("x", tmp_path / "g.svg")
    assert issubclass(CannotWrite, GradscopeError)


def test_a_plain_svg_loads_nothing() -> None:
    svg = "<svg><style>@font-face {\n src: url('https://x/y.woff')\n}\n .a { fill: red }</style></svg>"
    assert export.plain_svg(svg) == "<svg><style>.a { fill: red }</style></svg>"
