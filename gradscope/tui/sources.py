"""The user's source files as they are now, beside the lines as they were recorded. Reads files: for worker threads."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ..model.records import Site
from ..text import byte_count, printable

_LARGEST = 2_000_000  # bytes; a larger file is no script


@dataclass(frozen=True, slots=True)
class SourceText:
    """The lines of a file. `problem` says why these are only the recorded ones.

    `numbers` are the lines' numbers, rising by one where the file is as it was; `found` says that it is.
    """

    file: str
    lines: tuple[str, ...]
    numbers: tuple[int, ...]
    found: bool
    problem: str = ""
    path: Path | None = None

    def place(self, number: int) -> int | None:
        """The position among `lines` of line `number`, None when it is not there."""
        if self.found:
            return number - 1 if 0 < number <= len(self.lines) else None
        return self.numbers.index(number) if number in self.numbers else None


def read_source(file: str, sites: Iterable[Site], folders: Iterable[Path]) -> SourceText:
    """The file, sought in `folders` where its name is relative; else the lines of it that were recorded."""
    recorded = {site.line: site.code for site in sites if site.file == file}
    try:
        path = _find(file, folders)
        if path is None:
            return _only_recorded(file, recorded, "is not here: these are the recorded lines")
        size = path.stat().st_size
        if size > _LARGEST:
            return _only_recorded(file, recorded, f"has {byte_count(size)}: these are the recorded lines")
        text = path.read_text(encoding="utf-8", errors="replace")
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the name
        reason = error.strerror if isinstance(error, OSError) else error
        return _only_recorded(file, recorded, f"cannot be read ({reason}): these are the recorded lines")
    lines = tuple(printable(line.expandtabs(4)) for line in text.splitlines())
    changed = _changed(lines, recorded)
    if changed:
        return _only_recorded(file, recorded, f"{changed}: these are the recorded lines", path)
    return SourceText(file, lines, tuple(range(1, len(lines) + 1)), True, "", path)


def _find(file: str, folders: Iterable[Path]) -> Path | None:
    path = Path(file)
    tries = [path] if path.is_absolute() else [path, *(folder / path for folder in folders)]
    return next((one for one in tries if one.is_file()), None)


def _only_recorded(file: str, recorded: Mapping[int, str], problem: str, path: Path | None = None) -> SourceText:
    numbers = tuple(sorted(recorded))
    lines = tuple(printable(recorded[number].strip()) for number in numbers)
    return SourceText(file, lines, numbers, False, problem, path)


def _changed(lines: tuple[str, ...], recorded: Mapping[int, str]) -> str:
    wrong = [number for number, code in recorded.items() if not _same(lines, number, code)]
    return f"has changed since the recording (line {min(wrong)})" if wrong else ""


def _same(lines: tuple[str, ...], number: int, code: str) -> bool:
    """Whether the file still has the recorded code at that line. Nothing was recorded of generated code."""
    first = code.strip().splitlines()[:1]
    if not first:
        return True
    return number <= len(lines) and printable(first[0].expandtabs(4)).strip() == lines[number - 1].strip()
