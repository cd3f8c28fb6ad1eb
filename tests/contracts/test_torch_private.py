"""Torch's private names stand in one module, each with what happens where it is missing."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import gradscope
from gradscope.capture.hiding import torch_private

CAPTURE = Path(gradscope.__file__).parent / "capture"
HOME = Path(torch_private.__file__)
# What named tuples and enums have, and modules of Python's own that capture knows private names of.
PYTHONS = {"_replace", "_asdict", "_value_"}
NOT_TORCHS = {"logging", "threading", "runpy", "sys"}


def private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


def defined_in(tree: ast.AST) -> Iterator[str]:
    """The private names that a module's own classes and functions have."""
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            yield node.name
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.attr
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            yield node.target.id


def found_in(source: str, own: set[str]) -> list[str]:
    """Private names of torch's that `source` reads, imports or words; `own` are capture's."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and not node.level and (node.module or "").startswith("torch"):
            parts = [*(node.module or "").split("."), *(alias.name for alias in node.names)]
            found += [f"{node.lineno}: {part}" for part in parts if private(part)]
        elif isinstance(node, ast.Attribute) and private(node.attr):
            of = node.value.id if isinstance(node.value, ast.Name) else ""
            if of not in ("self", "cls", *NOT_TORCHS) and node.attr not in own:
                found.append(f"{node.lineno}: {node.attr}")
    return found


def test_only_one_module_has_private_names_of_torch() -> None:
    files = sorted(set(CAPTURE.rglob("*.py")) - {HOME})
    trees = [ast.parse(file.read_text()) for file in files]
    own = PYTHONS | {name for tree in trees for name in defined_in(tree) if private(name)}
    known = own | set(torch_private.ATTRIBUTES)
    assert {file.name: found for file in files if (found := found_in(file.read_text(), known))} == {}


def test_the_guard_can_fail() -> None:
    source = "from torch.overrides import _push_mode\ntop = torch._C._len_stack\nself._ours = tensor._theirs"
    assert sorted(found_in(source, {"_ours"})) == ["1: _push_mode", "2: _C", "2: _len_stack", "3: _theirs"]


def test_each_name_says_where_it_was_seen_and_what_happens_without_it() -> None:
    said = re.compile(r"Seen in 2\.\d+; (needed\.|missing: )")
    comment, names, without = "", 0, []
    for line in HOME.read_text().partition("_C: Any")[2].splitlines()[1:]:
        if line.startswith("#"):
            comment += line.removeprefix("#")
        elif line and not line.startswith((" ", "}", "]")):
            names += 1
            if not said.search(comment):
                without.append(line)
        else:
            comment = ""
    assert names > 30
    assert without == []
