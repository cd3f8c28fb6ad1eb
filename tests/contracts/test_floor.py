"""What the oldest Python promised, or a new one, refuses, and neither ruff nor mypy tells."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import gradscope

PACKAGE = Path(gradscope.__file__).parent
ALONE = {"NamedTuple", "TypedDict"}  # before Python 3.11 no other base, and so no Generic, may stand beside these


def run(tree: ast.AST) -> Iterator[ast.AST]:
    """The nodes of what runs: not those that only a type checker reads."""
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        yield node
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            waiting += node.orelse
        else:
            waiting += ast.iter_child_nodes(node)


def refused(source: str) -> list[int]:
    """The lines of classes that Python 3.10 will not make."""
    return [
        node.lineno
        for node in run(ast.parse(source, feature_version=(3, 10)))
        if isinstance(node, ast.ClassDef)
        and len(node.bases) > 1
        and any(isinstance(base, ast.Name) and base.id in ALONE for base in node.bases)
    ]


def test_python_3_10_makes_every_class() -> None:
    files = sorted(PACKAGE.rglob("*.py"))
    assert len(files) > 100
    assert {str(file): found for file in files if (found := refused(file.read_text()))} == {}


def test_the_guard_can_fail() -> None:
    generic = "class Event(NamedTuple, Generic[M]): ..."
    assert refused(generic) == [1]
    assert refused(f"if TYPE_CHECKING:\n    {generic}\nelse:\n    {generic}") == [4]
    assert refused("class Event(NamedTuple): ...") == []


def test_no_sql_has_numbered_placeholders() -> None:
    """Python 3.12 warns where `?1` is given a sequence, 3.14 refuses it."""
    texts = [
        node.value
        for file in sorted((PACKAGE / "store").glob("*.py"))
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]
    assert any("WHERE step = ?" in text for text in texts)
    assert [text for text in texts if re.search(r"\?\d", text)] == []
