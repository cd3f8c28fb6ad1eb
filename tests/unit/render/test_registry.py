from __future__ import annotations

import json
import subprocess
import sys
import zlib
from importlib import resources
from pathlib import Path
from xml.etree import ElementTree as ET

import jsonschema
import pytest

from gradscope.errors import CannotWrite, LayoutFailed, MissingEngine, UnknownName
from gradscope.model.graph import Graph, GraphKind, GraphNode, NodeKind
from gradscope.options import ViewOptions
from gradscope.render import engine
from gradscope.render.base import RenderOptions
from gradscope.render.diagram import Diagram
from gradscope.render.registry import by_suffix, formats, render, write
from tests.builders import ab2_trace, mlp_trace
from tests.unit.render import graphs

SCHEMA = json.loads(resources.files("gradscope.render").joinpath("graph.schema.json").read_text())
EMPTY = Graph(GraphKind.BOTH, (), ())


@pytest.fixture
def no_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "find", lambda name: None)


@pytest.fixture
def only_pure(monkeypatch: pytest.MonkeyPatch) -> None:
    find = engine.find
    monkeypatch.setattr(engine, "find", lambda name: find(name) if name == "graphviz-pure" else None)


def test_every_format_says_what_it_is() -> None:
    names = [one.name for one in formats()]
    assert names == ["svg", "png", "pdf", "dot", "json", "graphml", "mermaid", "text"]
    suffixes = [suffix for one in formats() for suffix in one.suffixes]
    assert len(set(suffixes)) == len(suffixes)
    assert all(one.description for one in formats())


def test_an_unknown_suffix_lists_the_known_ones() -> None:
    with pytest.raises(UnknownName, match=r"'\.svgg': did you mean '\.svg'.*\.graphml.*\.json"):
        by_suffix("picture.svgg")
    with pytest.raises(UnknownName, match=r"no picture suffix is called 'picture'"):
        by_suffix("picture")
    assert by_suffix("A.SVG").name == "svg"


# -- data ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", list(GraphKind))
def test_json_is_what_its_schema_says(kind: GraphKind) -> None:
    for graph in (ab2_trace().step(0).graph(kind), mlp_trace().step(1).graph(kind), graphs.frozen(kind), EMPTY):
        jsonschema.validate(json.loads(render(graph, "json")), SCHEMA)


def test_the_schema_catches_a_wrong_document() -> None:
    document = json.loads(render(graphs.ab2(), "json"))
    document["nodes"][0]["is_leaf"] = "yes"
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(document, SCHEMA)


def test_json_has_the_contracts_keys() -> None:
    document = json.loads(render(ab2_trace().step(0).graph("both"), "json"))
    assert document["schema"] == "gradscope.graph/1"
    assert (document["kind"], document["step"]) == ("both", 0)
    f = next(node for node in document["nodes"] if node["name"] == "F")
    expected = {
        "kind": "tensor",
        "label": "F",
        "op": "mul",
        "shape": [1],
        "dtype": "float32",
        "device": "cpu",
        "requires_grad": True,
        "is_leaf": False,
        "retains_grad": False,
        "grad_fn": "MulBackward0",
        "version": 0,
        "has_grad": False,
        "module": None,
        "value": [200.0],
        "source": {"file": "ab2.py", "line": 5, "code": "F = A * B"},
    }
    assert {key: f[key] for key in expected} == expected
    assert {"from", "to", "kind", "index"} <= document["edges"][0].keys()


def test_json_writes_what_is_no_number_as_text() -> None:
    values = (float("nan"), float("inf"), float("-inf"), 0.5)
    graph = Graph(GraphKind.BOTH, (GraphNode(0, NodeKind.TENSOR, "x", value=values),), ())
    document = json.loads(render(graph, "json"), parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert document["nodes"][0]["value"] == ["NaN", "Infinity", "-Infinity", 0.5]


def test_data_formats_have_every_node() -> None:
    graph = graphs.chain(2_000)
    assert len(json.loads(render(graph, "json"))["nodes"]) == len(graph.nodes)
    body = ET.fromstring(render(graph, "graphml"))
    assert len(body.findall(".//{*}node")) == len(graph.nodes)
    assert len(body.findall(".//{*}edge")) == len(graph.edges)


def test_graphml_declares_every_key_it_uses() -> None:
    body = ET.fromstring(render(graphs.frozen(), "graphml"))
    declared = {key.get("id") for key in body.findall("{*}key")}
    assert {data.get("key") for data in body.findall(".//{*}data")} <= declared


def test_networkx_reads_our_graphml(tmp_path: Path) -> None:
    networkx = pytest.importorskip("networkx")
    read = networkx.read_graphml(write(graphs.ab2(), tmp_path / "g.graphml"))
    assert read.number_of_nodes() == len(graphs.ab2().nodes)
    assert {data["label"] for _, data in read.nodes(data=True)} >= {"A", "F", "MulBackward0"}


# -- pictures ------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", list(GraphKind))
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_svg_shows_every_node_and_edge(kind: GraphKind, theme: str) -> None:
    graph = ab2_trace().step(0).graph(kind)
    root = ET.fromstring(render(graph, "svg", ViewOptions(theme=theme)))
    drawn = root.findall(".//{*}g[@data-id]")
    assert sorted(int(group.get("data-id", "")) for group in drawn) == sorted(graph.by_id)
    edges = [group for group in root.iter() if (group.get("class") or "").startswith("edge")]
    assert len(edges) == len(graph.edges)
    assert all(group.find("{*}title") is not None for group in (*drawn, *edges))


def test_svg_fits_its_page_and_fetches_nothing() -> None:
    picture = render(graphs.mlp(), "svg").decode()
    root = ET.fromstring(picture)
    assert root.get("viewBox")
    assert "max-width:100%" in picture
    assert all(value.startswith(("./", "../", "file:///")) for value in _links(root))
    assert picture.count("http") == picture.count("http://www.w3.org/2000/svg") == 1
    assert not {"script", "image", "use", "foreignObject"} & {element.tag.rpartition("}")[2] for element in root.iter()}


def _links(root: ET.Element) -> list[str]:
    return [value for element in root.iter() for key, value in element.items() if key.rpartition("}")[2] == "href"]


def test_svg_tooltips_and_links_tell_of_the_node() -> None:
    root = ET.fromstring(render(ab2_trace().step(0).graph("both"), "svg"))
    group = next(group for group in root.iter() if group.get("data-id") == "2")
    title = group.find("{*}title")
    assert title is not None
    assert "non-leaf: made by an op" in (title.text or "")
    assert [link.get("href") for link in group.findall("{*}a")] == ["./ab2.py#L5"]


def test_links_are_relative_to_where_the_picture_lies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "out").mkdir()
    picture = write(ab2_trace().step(0).graph("both"), "out/g.svg").read_text()
    assert "../ab2.py#L5" in picture


def test_png_is_a_png_of_some_size() -> None:
    png = render(graphs.ab2(), "png")
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    width, height = (int.from_bytes(png[start : start + 4], "big") for start in (16, 20))
    assert min(width, height) > 400
    assert zlib.crc32(png[12:29]) == int.from_bytes(png[29:33], "big")


@pytest.mark.parametrize("graph", [EMPTY, graphs.ab2(), graphs.grid(30), graphs.transformer(6, kind="both")])
def test_every_engine_free_format_draws_every_graph(graph: Graph, no_engine: None) -> None:
    for name in ("dot", "json", "graphml", "mermaid", "text"):
        assert render(graph, name)


@pytest.mark.parametrize("graph", [EMPTY, graphs.grid(70), graphs.chain(5_000), graphs.resnet(8, "both")])
def test_large_and_empty_graphs_come_out_as_readable_svg(graph: Graph) -> None:
    root = ET.fromstring(render(graph, "svg"))
    assert len(root.findall(".//{*}g[@data-id]")) <= 200
    shown = " ".join(element.text or "" for element in root.iter() if element.tag.endswith("text"))
    assert (f"of {len(graph.nodes):,} nodes" in shown) == (len(graph.nodes) > 60)


def test_modules_are_clusters_and_runs_are_counted() -> None:
    picture = render(graphs.transformer(12), "svg").decode()
    assert picture.count('class="cluster"') > 3
    assert "×12" in picture
    dot = render(graphs.transformer(12), "dot").decode()
    assert dot.count("subgraph cluster_") == picture.count('class="cluster"')


def test_a_cut_is_dashed_and_named() -> None:
    picture = ET.fromstring(render(graphs.frozen(), "svg"))
    cut = next(group for group in picture.iter() if "edge-cut" in (group.get("class") or ""))
    assert cut.find(".//{*}path[@stroke-dasharray]") is not None
    assert "detach" in "".join(text.text or "" for text in cut.iter())


def test_depth_expand_and_focus_reach_the_picture() -> None:
    options = ViewOptions(depth=0, expand=("fc2",), focus="fc2")
    nodes = json.loads(render(graphs.mlp("forward"), "json", options))["nodes"]
    assert {"fc1", "fc2.weight"} <= {node["label"] for node in nodes}
    with pytest.raises(UnknownName, match="fc9"):
        render(graphs.mlp(), "text", ViewOptions(focus="fc9"))


@pytest.mark.parametrize("name", ["dot", "svg", "mermaid", "json", "graphml", "text"])
def test_output_is_the_same_from_run_to_run(name: str) -> None:
    code = "import sys; sys.path.insert(0, '.')\nfrom tests.unit.render import graphs\n"
    code += "from gradscope.render.registry import render\n"
    code += f"sys.stdout.buffer.write(render(graphs.transformer(4, kind='both'), {name!r}))"
    runs = {
        subprocess.run(
            [sys.executable, "-c", code], env={"PYTHONHASHSEED": seed, "PATH": ""}, capture_output=True, check=True
        ).stdout
        for seed in ("1", "2")
    }
    assert len(runs) == 1
    assert runs.pop() == render(graphs.transformer(4, kind="both"), name)


# -- engines -------------------------------------------------------------------------------------


def test_without_an_engine_a_picture_says_what_to_install(no_engine: None) -> None:
    with pytest.raises(
        MissingEngine, match=r"pip install graphviz-pure.*dot, json, graphml, mermaid and text need none"
    ):
        render(graphs.ab2(), "svg")


def test_pdf_without_dot_says_that_only_dot_can(only_pure: None) -> None:
    with pytest.raises(MissingEngine, match=r"no program to lay out pdf with: install Graphviz") as caught:
        render(graphs.ab2(), "pdf")
    assert "pip install" not in str(caught.value)
    with pytest.raises(MissingEngine, match="graphviz-pure cannot write pdf"):
        render(graphs.ab2(), "pdf", ViewOptions(engine="graphviz-pure"))
    with pytest.raises(MissingEngine, match="dot is not installed"):
        render(graphs.ab2(), "svg", ViewOptions(engine="dot"))


@pytest.mark.skipif(engine.find("dot") is None, reason="needs the system's Graphviz")
def test_dot_draws_pdf_and_svg_when_it_is_there() -> None:
    assert render(graphs.ab2(), "pdf")[:5] == b"%PDF-"
    root = ET.fromstring(render(graphs.frozen(), "svg", ViewOptions(engine="dot")))
    assert len(root.findall(".//{*}g[@data-id]")) == len(graphs.frozen().nodes)


def test_the_wheels_engine_is_found_without_a_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    found = {one.name: one for one in engine.available()}
    assert "graphviz-pure" in found["graphviz-pure"].version()


def test_an_unknown_engine_names_the_known_ones() -> None:
    with pytest.raises(UnknownName, match="known are dot, graphviz-pure"):
        render(graphs.ab2(), "svg", ViewOptions(engine="neato"))


def test_a_broken_engine_says_so_in_one_line(tmp_path: Path) -> None:
    program = tmp_path / "engine"
    program.write_text("#!/bin/sh\necho first >&2\necho the reason >&2\nexit 3\n")
    program.chmod(0o755)
    with pytest.raises(LayoutFailed, match=r"broken could not draw this graph \(exit 3\): the reason$"):
        engine.Engine("broken", str(program)).run("digraph {}", "svg")
    with pytest.raises(LayoutFailed, match="does not start"):
        engine.Engine("gone", str(tmp_path / "gone")).run("digraph {}", "svg")


def test_an_engine_that_hangs_is_stopped(tmp_path: Path) -> None:
    program = tmp_path / "engine"
    program.write_text("#!/bin/sh\nexec sleep 60\n")
    program.chmod(0o755)
    with pytest.raises(LayoutFailed, match=r"took more than 0\.2 s"):
        engine.Engine("slow", str(program)).run("digraph {}", "svg", timeout=0.2)


# -- files and diagrams --------------------------------------------------------------------------


def test_a_wrong_option_leaves_an_existing_file_as_it_was(tmp_path: Path, no_engine: None) -> None:
    picture = tmp_path / "g.svg"
    picture.write_text("mine")
    with pytest.raises(MissingEngine):
        write(graphs.ab2(), picture)
    assert picture.read_text() == "mine"
    assert list(tmp_path.iterdir()) == [picture]


def test_a_place_that_cannot_be_written_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(CannotWrite, match="there is no such folder"):
        write(graphs.ab2(), tmp_path / "missing" / "g.json")
    (tmp_path / "folder.json").mkdir()
    with pytest.raises(CannotWrite, match="it is a folder"):
        write(graphs.ab2(), tmp_path / "folder.json")
    assert [path.name for path in tmp_path.iterdir()] == ["folder.json"]


def test_a_disk_that_fills_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Path, content: bytes) -> int:
        self.open("wb").close()
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(CannotWrite, match="No space left on device"):
        write(graphs.ab2(), tmp_path / "g.json")
    assert list(tmp_path.iterdir()) == []


def test_a_diagram_shows_itself(tmp_path: Path) -> None:
    diagram = Diagram(graphs.ab2())
    assert "● A leaf" in str(diagram)
    bundle = diagram._repr_mimebundle_()
    assert bundle.keys() == {"text/plain", "image/svg+xml"}
    assert bundle["image/svg+xml"].startswith("<svg")
    assert diagram.save(tmp_path / "g.dot").read_text().startswith("digraph")


def test_a_diagram_without_an_engine_shows_text_and_says_why(no_engine: None) -> None:
    bundle = Diagram(graphs.ab2())._repr_mimebundle_()
    assert bundle.keys() == {"text/plain"}
    assert "pip install graphviz-pure" in bundle["text/plain"]


# -- text ----------------------------------------------------------------------------------------


def test_text_fits_its_width_and_ascii_is_ascii() -> None:
    for graph in (graphs.frozen(), graphs.mlp("forward"), graphs.resnet(4)):
        drawn = render(graph, "text", None, RenderOptions(width=72)).decode()
        assert max(map(len, drawn.splitlines())) <= 72
        assert render(graph, "text", None, RenderOptions(ascii=True)).isascii()


def test_colour_changes_no_words() -> None:
    import re

    coloured = render(graphs.frozen(), "text", None, RenderOptions(colour=True)).decode()
    assert "\x1b[1;32m" in render(graphs.ab2(), "text", None, RenderOptions(colour=True)).decode()
    assert re.sub(r"\x1b\[[0-9;]*m", "", coloured).split() == render(graphs.frozen(), "text").decode().split()
