"""What `check` finds is marked in pictures, in JSON and in notebooks too."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

import gradscope
from gradscope.api import TraceFile
from tests.scripts import run

BUG = """\
import torch
x = torch.ones(3, requires_grad=True)
y = torch.exp(x)
y += 1
y.sum().backward()
"""


@pytest.fixture
def trace(tmp_path: Path) -> Iterator[TraceFile]:
    (tmp_path / "bug.py").write_text(BUG)
    run(["-m", "gradscope", "trace", "--quiet", "bug.py"], tmp_path)
    with gradscope.load(tmp_path / "bug.gradscope") as trace:
        assert isinstance(trace, TraceFile)
        yield trace


def test_a_picture_marks_the_node(trace: TraceFile) -> None:
    svg = gradscope.draw(trace).svg()
    assert "GS101" in svg
    assert "y was changed in place" in svg
    assert "GS101" in gradscope.draw(trace, kind="backward").svg()


def test_text_and_json_name_it(trace: TraceFile, tmp_path: Path) -> None:
    assert "GS101" in str(gradscope.draw(trace))
    path = gradscope.draw(trace).save(tmp_path / "g.json")
    named = [node for node in json.loads(path.read_text())["nodes"] if node.get("finding")]
    assert named
    assert {one["code"] for node in named for one in node["finding"]} == {"GS101"}


def test_a_notebook_shows_it(trace: TraceFile) -> None:
    bundle = trace._repr_mimebundle_()
    assert "GS101" in bundle["image/svg+xml"]
    assert "GS101" in bundle["text/plain"]


def test_the_command_draws_it(trace: TraceFile, tmp_path: Path) -> None:
    assert trace.path is not None
    ran = run(["-m", "gradscope", "graph", trace.path, "-o", "bug.svg"], tmp_path)
    assert ran.status == 0, ran.stderr
    assert "GS101" in (tmp_path / "bug.svg").read_text(encoding="utf-8")


def test_findings_are_read_from_a_trace(trace: TraceFile) -> None:
    (first, *_) = trace.findings()
    assert (first.code, first.culprit and first.culprit.line) == ("GS101", 4)
    assert [one.code for one in trace.findings(ignore=["GS101"])] == ["GS001"]  # it failed all the same
