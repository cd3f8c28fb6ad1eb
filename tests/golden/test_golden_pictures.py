"""Each output of the seeds' example, frozen with its real suffix.

`UPDATE_GOLDEN=1 pytest tests/golden` rewrites them.
"""

from __future__ import annotations

import os
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from gradscope.model.graph import GraphKind
from gradscope.options import ViewOptions
from gradscope.render.registry import by_suffix, render
from tests.builders import ab2_trace, cut_trace, mlp_trace, move_trace

HERE = Path(__file__).parent
CASES = {
    **{f"ab2.{kind.value}": (ab2_trace, kind) for kind in GraphKind},
    "cut.both": (cut_trace, GraphKind.BOTH),
    "move.both": (move_trace, GraphKind.BOTH),
    "mlp.forward": (mlp_trace, GraphKind.FORWARD),
}
SUFFIXES = (".txt", ".dot", ".json", ".mmd", ".graphml", ".svg")
FILES = [
    (name, suffix) for name in CASES for suffix in SUFFIXES if name.startswith("ab2") or suffix in (".txt", ".svg")
]


def structure(svg: str) -> list[tuple[str, str, str, str]]:
    """What an SVG shows, without the coordinates, which are the engine's and differ from version to version."""
    found = []
    for element in ET.fromstring(svg).iter():
        look = " ".join(
            f"{key}={element.get(key)}" for key in ("fill", "stroke", "stroke-dasharray") if element.get(key)
        )
        found.append((element.tag.rpartition("}")[2], element.get("class", ""), look, (element.text or "").strip()))
    return sorted(found)  # engines also differ in what they draw first


@pytest.mark.parametrize(("name", "suffix"), FILES, ids=[name + suffix for name, suffix in FILES])
def test_output_is_as_it_was(name: str, suffix: str) -> None:
    trace, kind = CASES[name]
    step = 1 if name.startswith("mlp") else 0
    graph = trace().step(step).graph(kind)
    drawn = render(graph, by_suffix(f"x{suffix}").name, ViewOptions(engine="graphviz-pure")).decode()
    frozen = HERE / f"{name}{suffix}"
    if os.environ.get("UPDATE_GOLDEN"):
        frozen.write_text(drawn, encoding="utf-8")
    expected = frozen.read_text(encoding="utf-8")
    if suffix == ".svg":
        assert structure(drawn) == structure(expected)
    else:
        assert drawn == expected


def test_every_golden_file_is_somebodys() -> None:
    ours = {name + suffix for name, suffix in FILES}
    assert {path.name for path in HERE.iterdir() if path.name.startswith(tuple(CASES))} == ours
