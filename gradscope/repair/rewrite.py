"""`Rewrite`: changes of one source, put together by places in its text, and the patch that they make."""

from __future__ import annotations

import ast
import warnings
from collections.abc import Iterable
from itertools import pairwise

from ..model.fixes import Edit, Patch
from .source import Source, bare_lines

Piece = tuple[int, int, str]  # of the text, from where to where, and what it becomes

_MOST_LINES = 16  # of a patch, removed and added: a larger one is a rewrite for the user to make
_ATOMS = (
    ast.Name,
    ast.Attribute,
    ast.Subscript,
    ast.Call,
    ast.List,
    ast.Dict,
    ast.Set,
    ast.ListComp,
    ast.SetComp,
    ast.DictComp,
)


class Rewrite:
    """Pieces of a source's text that become others. Formatting and comments around them stay."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self._pieces: list[Piece] = []

    # -- expressions -----------------------------------------------------------------------------

    def replace(self, node: ast.expr, code: str) -> Rewrite:
        """Another expression in the place of one, its own parentheses included."""
        start, end = self.span(node)
        return self.piece(start, end, code)

    def span(self, node: ast.expr) -> tuple[int, int]:
        """Where an expression stands, with the parentheses that are around it alone."""
        source, spans = self.source, []
        start, end = source.start(node), source.end(node)
        while True:
            before, after = _before(source.text, start), _after(source.text, end)
            if source.text[before : before + 1] != "(" or source.text[after : after + 1] != ")" or before < 0:
                break
            start, end = before, after + 1
            spans.append((start, end))
        parent = source.parents.get(node)
        if spans and isinstance(parent, ast.Call) and spans[-1][0] == _after(source.text, source.end(parent.func)):
            spans.pop()  # the last pair is the call's own
        return spans[-1] if spans else (source.start(node), source.end(node))

    def primary(self, node: ast.expr) -> str:
        """The text of an expression, so that `.name` can follow it."""
        start, end = self.span(node)
        text = self.source.text[start:end]
        if start < self.source.start(node) or isinstance(node, _ATOMS):
            return text
        return text if text.startswith("(") and isinstance(node, (ast.Tuple, ast.GeneratorExp)) else f"({text})"

    # -- statements ------------------------------------------------------------------------------

    def indent(self, statement: ast.stmt) -> str:
        """The blanks that a statement's line begins with."""
        line = self.source.line(self.source.line_of(self.source.start(statement)))
        return line[: len(line) - len(line.lstrip())]

    def before(self, statement: ast.stmt, code: str) -> Rewrite:
        """A simple statement in front of another: on a line of its own if that begins one."""
        source, start = self.source, self.source.start(statement)
        line = source.line_start(source.line_of(start))
        if source.text[line:start].strip():
            return self.piece(start, start, f"{code}; ")
        return self.piece(line, line, f"{self.indent(statement)}{code}{source.newline}")

    def after(self, statement: ast.stmt, code: str) -> Rewrite:
        """A simple statement after another: on a line of its own if that has its line alone."""
        source, start, end = self.source, self.source.start(statement), self.source.end(statement)
        first, last = source.line_of(start), source.line_of(max(start, end - 1))
        rest = source.text[end : source.line_start(last) + len(source.line(last))].strip()
        alone = not source.text[source.line_start(first) : start].strip() and (not rest or rest.startswith("#"))
        if not alone:
            return self.piece(end, end, f"; {code}")
        behind = source.line_start(last + 1)
        ended = source.text[:behind].endswith(("\n", "\r"))
        text = f"{self.indent(statement)}{code}"
        return self.piece(behind, behind, f"{text}{source.newline}" if ended else f"{source.newline}{text}")

    def delete(self, statement: ast.stmt) -> Rewrite:
        """Without a statement; its lines go with it, if it has them alone. A body never becomes empty."""
        source, start, end = self.source, self.source.start(statement), self.source.end(statement)
        body = body_of(source, statement)
        if body is not None and len(body) == 1:
            return self.piece(start, end, "pass")
        first, last = source.line_of(start), source.line_of(max(start, end - 1))
        line, after = source.line_start(first), source.line_start(last) + len(source.line(last))
        rest = source.text[end:after]
        if rest.strip().startswith(";"):
            skipped = len(rest) - len(rest.lstrip()[1:].lstrip())
            return self.piece(start, end + skipped, "")
        if source.text[line:start].strip():
            ahead = source.text[line:start].rstrip()
            return self.piece(line + len(ahead) - ahead.endswith(";"), end, "")
        comment = rest.strip()
        if comment.startswith("#"):
            return self.piece(start, end + len(rest) - len(rest.lstrip()), "")  # the comment may tell of more
        return self.piece(line, source.line_start(last + 1), "")

    def line_text(self, statement: ast.stmt) -> str | None:
        """A statement's text, where it is one line."""
        text = self.source.segment(statement)
        return None if "\n" in text or "\r" in text else text

    # -- the patch -------------------------------------------------------------------------------

    def piece(self, start: int, end: int, text: str) -> Rewrite:
        """The text from `start` to `end` becomes `text`."""
        self._pieces.append((start, end, text))
        return self

    def insert(self, offset: int, text: str) -> Rewrite:
        """A text more."""
        return self.piece(offset, offset, text)

    def patch(self) -> Patch | None:
        """The patch; None where it would change nothing or too much, or leave what does not compile."""
        self._pieces.sort(key=lambda piece: piece[:2])
        if any(after[0] < before[1] for before, after in pairwise(self._pieces)):
            return None  # two changes of the same place
        source = self.source
        text = self._rewritten(0, len(source.text), self._pieces)
        if text == source.text or not compiles(text):
            return None
        edits = tuple(edit for group in self._groups() if (edit := self._edit(group)) is not None)
        size = sum(len(edit.old) + len(edit.new) for edit in edits)
        return Patch(source.file, source.sha256, edits) if edits and size <= _MOST_LINES else None

    def _groups(self) -> list[list[Piece]]:
        """The pieces, those together that touch the same lines."""
        groups: list[list[Piece]] = []
        last = -1
        for piece in self._pieces:
            if groups and self.source.line_of(piece[0]) <= last:
                groups[-1].append(piece)
            else:
                groups.append([piece])
            last = max(last, self._last_line(piece))
        return groups

    def _last_line(self, piece: Piece) -> int:
        """The last line that a piece has a part in."""
        start, end, _ = piece
        return self.source.line_of(end - 1 if end > start else end)

    def _edit(self, group: list[Piece]) -> Edit | None:
        """The lines that a group of pieces changes."""
        source = self.source
        first, last = source.line_of(group[0][0]), max(self._last_line(piece) for piece in group)
        begin, end = source.line_start(first), source.line_start(min(last, len(source.lines)) + 1)
        old = bare_lines(source.text[begin:end])
        new = bare_lines(self._rewritten(begin, end, group))
        while old and new and old[0] == new[0]:
            first, old, new = first + 1, old[1:], new[1:]
        while old and new and old[-1] == new[-1]:
            old, new = old[:-1], new[:-1]
        return Edit(first, tuple(old), tuple(new)) if old or new else None

    def _rewritten(self, begin: int, end: int, pieces: Iterable[Piece]) -> str:
        parts, done = [], begin
        for start, stop, text in pieces:
            parts += [self.source.text[done:start], text]
            done = stop
        return "".join([*parts, self.source.text[done:end]])


def compiles(text: str) -> bool:
    """Whether a text is a Python program."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the user's own literals
            compile(text, "<patched>", "exec", dont_inherit=True)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return True


def body_of(source: Source, statement: ast.stmt) -> list[ast.stmt] | None:
    """The list of statements that a statement is one of."""
    parent = source.parents.get(statement)
    lists = [getattr(parent, name, None) for name in ("body", "orelse", "finalbody")]
    return next((body for body in lists if isinstance(body, list) and statement in body), None)


def _before(text: str, start: int) -> int:
    """Where the last character before `start` is that is no blank; -1 if there is none."""
    start -= 1
    while start >= 0 and text[start] in " \t\r\n\\":
        start -= 1
    return start


def _after(text: str, end: int) -> int:
    """Where the first character from `end` on is that is no blank."""
    while end < len(text) and text[end] in " \t\r\n\\":
        end += 1
    return end
