"""The source around a line, if the file still is what ran."""

from __future__ import annotations

from pathlib import Path

from ...model.findings import Place

_MOST_BYTES = 4 << 20


class Sources:
    """Reads files once. Paths are as the user gave them, relative to the folder that the script was started in."""

    def __init__(self) -> None:
        self._lines: dict[str, list[str]] = {}

    def around(self, place: Place, before: int = 2, after: int = 0) -> list[tuple[int, str]]:
        """(number, text) of the lines around a place; only its own, as recorded, when the file is not what ran."""
        lines = self._read(place.file)
        if not 0 < place.line <= len(lines) or lines[place.line - 1].strip() != place.code:
            return [(place.line, place.code)]
        first = max(1, place.line - before)
        return [(number, lines[number - 1]) for number in range(first, min(place.line + after, len(lines)) + 1)]

    def _read(self, file: str) -> list[str]:
        if file not in self._lines:
            path = Path(file)
            try:
                small = path.is_file() and path.stat().st_size <= _MOST_BYTES
                self._lines[file] = path.read_text(encoding="utf-8", errors="replace").splitlines() if small else []
            except (OSError, ValueError):  # the recorded line must do
                self._lines[file] = []
        return self._lines[file]
