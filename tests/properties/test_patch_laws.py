"""Patches of any source: what comes out is Python, differs in the lines that are named only, and keeps comments."""

from __future__ import annotations

import ast
import io
import re
import tokenize

from hypothesis import given
from hypothesis import strategies as st

from gradscope.model.findings import Place
from gradscope.repair.apply import patched
from gradscope.repair.changes.heads import without_grad
from gradscope.repair.changes.statements import inserted, removed
from gradscope.repair.changes.values import assigned_followed_by, named_followed_by, rebound
from gradscope.repair.changes.writes import out_of_place
from gradscope.repair.source import Source, bare_lines
from gradscope.repair.spot import Spot

CHANGES = (
    named_followed_by("h", ".detach()"),
    assigned_followed_by(".detach()"),
    rebound("h", ".detach()", before=True),
    rebound("h", ".detach()", before=False),
    inserted("h.zero_()", before=False),
    removed(),
    without_grad(),
    out_of_place(attributes=True),
)
names = st.sampled_from(["h", "w", "größe", "self.h", "d['#']", "h[0]"])
values = st.recursive(
    names | st.sampled_from(["1", "'# no comment'", '"""a\n# b"""', "(h)", "-w", "lambda: h", "f'{h}#'"]),
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from(["+", "*", "@", "if w else", "\n  ,", "-"]), inner).map(
            lambda parts: f"({parts[0]} {parts[1]} {parts[2]})"
        ),
        st.tuples(st.sampled_from(["f", "torch.exp", "h.mul_", "w.add"]), inner).map(lambda p: f"{p[0]}({p[1]})"),
        inner.map(lambda one: f"f(  # why ) not\n    {one},\n)"),
    ),
    max_leaves=6,
)
statements = st.one_of(
    st.tuples(names, st.sampled_from(["=", "+=", "*="]), values).map(" ".join),
    st.tuples(names, names, values).map(lambda parts: f"{parts[0]} = {parts[1]} = {parts[2]}"),
    values.map(lambda value: f"f({value})"),
    st.tuples(values, values).map(lambda parts: f"f({parts[0]}); w = {parts[1]}"),
    values.map(lambda value: f"if (n := {value}): pass"),
)
tails = st.sampled_from(["", "  # a comment", "  # h = 1"])
ends = st.sampled_from(["\n", "\r\n"])


@st.composite
def programs(draw: st.DrawFn) -> str:
    indent = draw(st.sampled_from(["    ", "\t", " "]))
    lines = draw(st.lists(st.tuples(statements, tails), min_size=1, max_size=4))
    body = "\n".join(f"{one}{tail}" for one, tail in lines)
    body = "\n".join(indent + line for line in body.split("\n"))
    text = f"import torch\n@wrap  # decorator\ndef f(self, h, w, d):\n{indent}größe = 1\n{body}\n{indent}return h\n"
    return text.replace("\n", draw(ends))


def comments(text: str) -> list[str]:
    tokens = tokenize.generate_tokens(io.StringIO(text, newline="").readline)
    return [token.string for token in tokens if token.type == tokenize.COMMENT]


@given(programs(), st.integers(5, 16), st.sampled_from(CHANGES), st.data())
def test_a_patch_changes_its_lines_only(text: str, line: int, change: object, data: st.DataObject) -> None:
    try:
        ast.parse(text)
    except SyntaxError:
        return  # a text of several lines in an f-string, before Python 3.12
    source = Source("a.py", text.encode())
    line = min(line, len(source.lines))
    expressions = sorted({source.segment(one) for one in source.expressions_on(line)})
    expression = data.draw(st.sampled_from(["", *expressions]))
    place = Place("a.py", line, source.line(line).strip(), expression=" ".join(expression.split())[:200])
    rewrite = change(Spot(source, place))  # type: ignore[operator]
    patch = rewrite.patch() if rewrite is not None else None
    if patch is None:
        return
    after = patched(text.encode(), patch).decode()
    assert after != text
    ast.parse(after)
    assert comments(after) == comments(text)
    assert bool(re.search("\r\n", after)) == bool(re.search("\r\n", text))
    old, new = bare_lines(text), bare_lines(after)
    for edit in reversed(patch.edits):
        first = edit.line - 1
        assert tuple(old[first : first + len(edit.old)]) == edit.old
        old[first : first + len(edit.old)] = edit.new
    assert old == new
    assert sum(len(edit.old) + len(edit.new) for edit in patch.edits) <= 16
