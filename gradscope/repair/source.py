"""One file of the user's: its text as it is, its syntax tree, and where the tree's nodes stand in the text."""

from __future__ import annotations

import ast
import hashlib
import io
import re
import tokenize
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from pathlib import Path

_MOST_BYTES = 4 << 20
_LINES = re.compile(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+")  # as Python counts them: str.splitlines knows other ends, too
_INSTALLED = ("site-packages", "dist-packages")


class Source:
    """A file's text, its ends of lines untouched, and its tree. Raises SyntaxError or ValueError for no Python."""

    def __init__(self, file: str, data: bytes) -> None:
        self.file = file
        self.sha256 = hashlib.sha256(data).hexdigest()
        self.encoding, _ = tokenize.detect_encoding(io.BytesIO(data).readline)
        self.text = data.decode(self.encoding)
        self.lines = whole_lines(self.text)
        self.tree = ast.parse(self.text)
        self._starts = [0]
        for line in self.lines:
            self._starts.append(self._starts[-1] + len(line))

    # -- lines and offsets -----------------------------------------------------------------------

    def line(self, number: int) -> str:
        """The text of a line without its end; "" for one that is not there."""
        return self.lines[number - 1].rstrip("\r\n") if 0 < number <= len(self.lines) else ""

    @cached_property
    def newline(self) -> str:
        """The end of its lines."""
        first = self.lines[0] if self.lines else ""
        return first[len(first.rstrip("\r\n")) :] or "\n"

    def line_start(self, number: int) -> int:
        """Where a line begins in the text; the end of the text for the one after the last."""
        return self._starts[number - 1]

    def line_of(self, offset: int) -> int:
        """The number of the line that has an offset."""
        return min(bisect_right(self._starts, offset), max(1, len(self.lines)))

    def start(self, node: ast.expr | ast.stmt) -> int:
        """Where a node begins in the text, its decorators included."""
        first = min(getattr(node, "decorator_list", ()), key=lambda one: one.lineno, default=None)
        if first is not None and first.lineno < node.lineno:
            return self.text.rindex("@", 0, self._offset(first.lineno, first.col_offset))
        return self._offset(node.lineno, node.col_offset)

    def start_of_keyword(self, keyword: ast.keyword) -> int:
        """Where `name=value` begins."""
        return self._offset(keyword.lineno, keyword.col_offset)

    def end(self, node: ast.expr | ast.stmt) -> int:
        """Where a node ends in the text."""
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        return self._offset(node.end_lineno, node.end_col_offset)

    def segment(self, node: ast.expr | ast.stmt) -> str:
        """A node's text."""
        return self.text[self.start(node) : self.end(node)]

    def _offset(self, line: int, column: int) -> int:
        """The tree counts bytes of UTF-8."""
        return self._starts[line - 1] + len(self.lines[line - 1].encode()[:column].decode())

    # -- the tree --------------------------------------------------------------------------------

    @cached_property
    def parents(self) -> Mapping[ast.AST, ast.AST]:
        """What each node stands in."""
        return {child: node for node in ast.walk(self.tree) for child in ast.iter_child_nodes(node)}

    def around(self, node: ast.AST) -> Iterator[ast.AST]:
        """What a node stands in, innermost first, up to the module."""
        while (parent := self.parents.get(node)) is not None:
            yield parent
            node = parent

    def statement_of(self, node: ast.AST) -> ast.stmt | None:
        """The innermost statement that a node is or stands in."""
        return next((one for one in (node, *self.around(node)) if isinstance(one, ast.stmt)), None)

    def function_of(self, node: ast.AST) -> ast.AST:
        """The innermost function, lambda or module that a node stands in."""
        kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.Module)
        return next((one for one in self.around(node) if isinstance(one, kinds)), self.tree)

    def statements_on(self, line: int) -> list[ast.stmt]:
        """The statements that have a part of their own on a line: of a compound one, that is what precedes its body."""
        nodes = (node for node in ast.walk(self.tree) if isinstance(node, ast.stmt))
        return [node for node in nodes if first_line(node) <= line <= heads_end(node)]

    def expressions_on(self, line: int) -> Iterator[ast.expr]:
        """The expressions that reach over a line, outer ones first."""
        for statement in self.statements_on(line):
            for node in ast.walk(statement):
                if isinstance(node, ast.expr) and node.lineno <= line <= (node.end_lineno or node.lineno):
                    yield node


def whole_lines(text: str) -> list[str]:
    """The lines of a text, as Python counts them, with their ends."""
    return _LINES.findall(text)


def bare_lines(text: str) -> list[str]:
    """The lines of a text, as Python counts them, without their ends."""
    return [line.rstrip("\r\n") for line in whole_lines(text)]


def heads_end(statement: ast.stmt) -> int:
    """The last line of a statement that is not one of its body's."""
    body = getattr(statement, "body", None) or getattr(statement, "cases", None)
    last = statement.end_lineno or statement.lineno
    if not isinstance(body, list) or not body:
        return last
    first: ast.stmt | ast.match_case = body[0]
    begin = first_line(first) if isinstance(first, ast.stmt) else first.pattern.lineno
    return max(statement.lineno, begin - 1)


def first_line(statement: ast.stmt) -> int:
    """The line that a statement begins on, its decorators included."""
    decorators: list[ast.expr] = getattr(statement, "decorator_list", [])
    return min([statement.lineno, *(one.lineno for one in decorators)])


class Sources:
    """The files of a trace, each read and parsed once, if it still is what ran.

    `recorded` are (file, line, text of the line) of all places that were recorded.
    """

    def __init__(self, recorded: Iterable[tuple[str, int, str]]) -> None:
        self._recorded: dict[str, dict[int, str]] = {}
        for file, line, code in recorded:
            self._recorded.setdefault(file, {})[line] = code
        self._files: dict[str, Source | None] = {}

    def of(self, file: str) -> Source | None:
        """The source of a file; None where it is not there, not the user's own, or not what was recorded."""
        if file not in self._files:
            source = read_source(file)
            same = source is not None and all(
                source.line(line).strip() == code for line, code in self._recorded.get(file, {}).items()
            )
            self._files[file] = source if same else None
        return self._files[file]


def read_source(file: str) -> Source | None:
    """The source of a file; None where there is none that could be read, or where it belongs to a package."""
    path = Path(file)
    if any(part in _INSTALLED for part in path.parts):
        return None
    try:
        if not path.is_file() or path.stat().st_size > _MOST_BYTES:
            return None
        return Source(file, path.read_bytes())
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):
        return None
