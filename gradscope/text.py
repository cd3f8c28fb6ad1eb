"""How facts read: bytes, shapes, numbers, durations, elisions. Pure functions; no colour, no drawing.

Everything that came from a user's program (names, code, paths) goes through `printable` before it is
shown, so that no name can move the cursor, reorder a line or break an XML document.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Iterable, Sequence

ELLIPSIS = "…"
# Directional overrides reorder what a reader sees; line separators end a line in some terminals.
_UNSAFE = frozenset(
    "\u061c\u200b\u200e\u200f\u2028\u2029\u202a\u202b\u202c\u202d\u202e\u2060\u2066\u2067\u2068\u2069\ufeff"
)
_SHORT_ESCAPES = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}
_BYTE_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")


def printable(text: str) -> str:
    """`text` as one line with every control, override and unpaired surrogate written as an escape."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(_escaped(char) for char in text)


def _escaped(char: str) -> str:
    if char in _SHORT_ESCAPES:
        return _SHORT_ESCAPES[char]
    code = ord(char)
    unsafe = unicodedata.category(char) in ("Cc", "Cs") or char in _UNSAFE or code & 0xFFFE == 0xFFFE
    if not unsafe:
        return char
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def cells(text: str) -> int:
    """How many terminal columns `text` takes: wide East Asian characters two, combining ones none."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text
    )


def elide(text: str, width: int) -> str:
    """`text`, its end replaced by … when it is wider than `width` (at least 1) columns."""
    if cells(text) <= width:
        return text
    kept, room = [], width - 1
    for char in text:
        room -= cells(char)
        if room < 0:
            break
        kept.append(char)
    return "".join(kept).rstrip() + ELLIPSIS


def elide_middle(text: str, width: int) -> str:
    """`text`, its middle replaced by … when it is longer than `width` characters; the end keeps more."""
    if len(text) <= width:
        return text
    if width < 3:
        return text[: max(width - 1, 0)] + ELLIPSIS
    head = (width - 1) // 3
    return text[:head] + ELLIPSIS + text[len(text) - (width - 1 - head) :]


def elide_path(path: str, width: int) -> str:
    """`path` with its middle folders replaced by …; the file's name stays whole where it fits."""
    if len(path) <= width:
        return path
    separator = "\\" if "\\" in path and "/" not in path else "/"
    parts = path.split(separator)
    for dropped in range(1, len(parts) - 1):
        tail = separator.join(parts[1 + dropped :])
        short = f"{parts[0]}{separator}{ELLIPSIS}{separator}{tail}"
        if len(short) <= width:
            return short
    return elide_middle(parts[-1], width)


def elide_list(items: Iterable[str], most: int, separator: str = ", ") -> str:
    """The first `most` items and how many more there are: `a, b, c and 9 more`."""
    every = list(items)
    if len(every) <= most:
        return separator.join(every)
    return f"{separator.join(every[:most])} and {len(every) - most:,} more"


def raised(kind: str, message: object) -> str:
    """An exception as a traceback ends with it: `ValueError: no rows`; only its kind where it says nothing."""
    said = str(message)
    return f"{kind}: {said}" if said else kind


def plural(count: int, one: str, many: str | None = None) -> str:
    """`1 node`, `12,000 nodes`; `many` is the plural where it is not `one` + s."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def ordinal(position: int) -> str:
    """`1st`, `2nd`, `3rd`, `4th`, `11th`, `21st`."""
    teens = position % 100 in (11, 12, 13)
    return f"{position:,}{'th' if teens else {1: 'st', 2: 'nd', 3: 'rd'}.get(position % 10, 'th')}"


def byte_count(size: int) -> str:
    """`size` bytes in binary units with three digits: `40 B`, `1.5 KiB`, `12 MiB`."""
    amount, unit = float(size), 0
    while abs(amount) >= 1023.5 and unit < len(_BYTE_UNITS) - 1:
        amount /= 1024
        unit += 1
    return f"{size:,} B" if unit == 0 else f"{_three_digits(amount)} {_BYTE_UNITS[unit]}"


def duration(seconds: float) -> str:
    """A time in the unit a person would use: `850 ns`, `12 µs`, `3.4 ms`, `1.23 s`, `2 min 03 s`, `1 h 05 min`."""
    if seconds < 0:
        return "-" + duration(-seconds)
    for limit, factor, unit in ((9.995e-7, 1e9, "ns"), (9.995e-4, 1e6, "µs"), (0.9995, 1e3, "ms")):
        if seconds < limit:
            return f"{_three_digits(seconds * factor)} {unit}"
    if seconds < 59.95:
        return f"{_three_digits(seconds)} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    minutes = round(seconds / 60)
    return f"{minutes // 60:,} h {minutes % 60:02d} min"


def _three_digits(amount: float) -> str:
    decimals = 0 if abs(amount) >= 99.95 else 1 if abs(amount) >= 9.995 else 2
    text = f"{amount:.{decimals}f}"
    return text.rstrip("0").rstrip(".") if decimals else text


def number(value: float, digits: int = 4) -> str:
    """`value` with `digits` significant digits, the same text for the same value everywhere.

    Whole numbers below 10^6 stay whole; NaN and infinities are written `nan`, `inf`, `-inf`.
    """
    if math.isnan(value):
        return "nan"
    if math.isinf(value):
        return "inf" if value > 0 else "-inf"
    if value == int(value) and abs(value) < 1e6:
        return str(int(value))
    return f"{value:.{digits}g}"


def element(value: float, dtype: str | None = None, digits: int = 4) -> str:
    """One tensor element as torch prints it: `40.` for floats, `40` for integers, `True` for bool."""
    if dtype == "bool":
        return str(bool(value))
    text = number(value, digits)
    whole = dtype is not None and dtype.startswith(("int", "uint", "long", "short"))
    return text if whole or not text.lstrip("-").isdigit() else text + "."


def values(flat: Sequence[float], shape: Sequence[int], dtype: str | None = None) -> str:
    """Row-major elements in the brackets of `shape`: `[[1., 2.], [3., 4.]]`; a scalar has none."""
    texts = [element(value, dtype) for value in flat]
    for size in reversed(shape):
        if size < 1 or len(texts) % size:  # an empty tensor, or values that do not fill the shape
            return "[" + ", ".join(texts) + "]"
        texts = ["[" + ", ".join(texts[start : start + size]) + "]" for start in range(0, len(texts), size)]
    return ", ".join(texts)


def sizes(shape: Sequence[int], separator: str = ", ") -> str:
    """`32, 64`; a size that is not known (-1) is `?`."""
    return separator.join("?" if size < 0 else str(size) for size in shape)


def tensor_type(dtype: str | None, shape: Sequence[int] | None) -> str:
    """`float32[32, 64]`; a scalar is `float32[]`; unknown parts are left out."""
    name = (dtype or "").removeprefix("torch.")
    return name if shape is None else f"{name}[{sizes(shape)}]"
