"""The source of an expression, told without splitting its file."""

from __future__ import annotations

import ast
import linecache
import textwrap
from pathlib import Path

import executing
import pytest
import torch

from gradscope.capture.sites.ast_names import read_node

ODD = 'é = "ß"; y = f("ä", é)[0]\nz = (é +\n  y  # \x0c not a line\n)\n\x0cw = [é, "\\\n"]\n'


@pytest.mark.parametrize("name", ["odd", "crlf", "torch.optim.adam", "torch.nn.functional"])
def test_an_expression_is_what_python_says_it_is(name: str, tmp_path: Path) -> None:
    path = tmp_path / "source.py"
    if name in ("odd", "crlf"):
        path.write_bytes(ODD.replace("\n", "\r\n" if name == "crlf" else "\n").encode())
    else:
        path = Path(str(torch.__file__)).parent / f"{name.removeprefix('torch.').replace('.', '/')}.py"
    source = executing.Source.for_filename(path)
    lines, text = [line.rstrip("\r\n") for line in linecache.getlines(str(path))], source.text
    assert source.tree is not None
    found = [node for node in ast.walk(source.tree) if isinstance(node, ast.expr) and hasattr(node, "lineno")]
    assert len(found) > 5
    step = max(1, len(found) // 60)  # Python takes its time
    for node in found[::step]:
        said = " ".join((ast.get_source_segment(text, node) or "").split())[:200]
        assert read_node(node, lines).expression == said, textwrap.shorten(said, 60)
