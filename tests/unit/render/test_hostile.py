"""Whatever a program calls its tensors, files and modules, a picture is only a picture."""

from __future__ import annotations

import json
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gradscope.model.graph import GraphKind
from gradscope.options import ViewOptions
from gradscope.render import engine
from gradscope.render.base import RenderOptions
from gradscope.render.registry import render
from tests.unit.render import graphs

NAMES = [
    "quote \" and ' here",
    '"];evil [label="x"',
    "</title><script>alert(1)</script>",
    '"><a href="javascript:alert(1)">',
    "<b>bold</b>",
    "<>",
    "&lt;&amp;&#0;&bogus;",
    "back\\slash\\N\\G\\E\\",
    "two\nlines\r\n\ttab",
    "\x00\x07\x1b[31mred\x1b[0m",
    "\u202eright to left\u2028",
    "\ud800 lone",
    "--> ==> subgraph end",
    "%% comment; #quot; [x](y){z}",
    "digraph { a -> b }",
    "]]>",
    "<!-- -->",
    "한글 변수 名前 🎉",
    " ",
    "x" * 5_000,
    "a..b",
    "javascript:alert(1)",
]
WHOLE = RenderOptions(limit=None)  # however wide the names make it
ELEMENTS = {"svg", "g", "a", "path", "polygon", "polyline", "ellipse", "text", "title", "style"}


def check_svg(picture: bytes) -> None:
    root = ET.fromstring(picture)
    for element in root.iter():
        assert element.tag.rpartition("}")[2] in ELEMENTS
        for key, value in element.items():
            assert not key.startswith("on")
            if key.rpartition("}")[2] == "href":
                assert value.startswith(("./", "../", "file:///"))
    assert len(root.findall(".//{*}g[@data-id]")) == len(graphs.hostile("x").nodes)


@pytest.mark.parametrize("name", NAMES, ids=[repr(name)[:24] for name in NAMES])
@pytest.mark.parametrize("program", engine.ENGINES)
def test_svg_has_shapes_and_text_only(name: str, program: str) -> None:
    if engine.find(program) is None:
        pytest.skip(f"needs {program}")
    check_svg(render(graphs.hostile(name), "svg", ViewOptions(engine=program), WHOLE))


@pytest.mark.parametrize("name", NAMES, ids=[repr(name)[:24] for name in NAMES])
def test_other_outputs_stay_whole(name: str) -> None:
    for kind in GraphKind:
        graph = graphs.hostile(name, kind)
        document = json.loads(render(graph, "json"))
        assert len(document["nodes"]) == len(graph.nodes)
        body = ET.fromstring(render(graph, "graphml"))
        assert len(body.findall(".//{*}node")) == len(graph.nodes)
        drawn = render(graph, "text").decode()
        assert not any(ord(char) < 32 and char != "\n" for char in drawn)
        assert len(render(graph, "dot")) > 0
        lines = render(graph, "mermaid").decode().splitlines()
        assert sum(line.strip().startswith("n") and ":::" in line for line in lines) == len(graph.nodes)
        assert sum(line.strip() == "end" for line in lines) == sum("subgraph m" in line for line in lines)


def test_a_name_is_shown_as_it_is() -> None:
    texts = {element.text for element in ET.fromstring(render(graphs.hostile("<b> & \\N"), "svg")).iter()}
    assert "<b> & \\N" in texts
    assert "<b> & \\N ×2" not in texts


@given(st.text(st.characters(exclude_categories=()), min_size=1, max_size=30))
@settings(max_examples=60, deadline=None)
def test_any_name_at_all(name: str) -> None:
    check_svg(render(graphs.hostile(name), "svg", ViewOptions(engine="graphviz-pure"), WHOLE))
