from __future__ import annotations

import unicodedata
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gradscope import text

ANY = st.text(st.characters(exclude_categories=()), max_size=40)


@given(ANY)
def test_printable_text_is_one_harmless_line_that_xml_accepts(raw: str) -> None:
    safe = text.printable(raw)
    assert safe.splitlines() in ([safe], [])
    assert not any(unicodedata.category(char) in ("Cc", "Cs", "Zl", "Zp") for char in safe)
    element = ET.Element("a")
    element.text = safe
    assert ET.fromstring(ET.tostring(element, "utf-8")).text == (safe or None)
    assert text.printable(safe) == safe


def test_printable_shows_what_it_took_out() -> None:
    assert text.printable("a\nb\x1b[31m\u202ec\ud800") == "a\\nb\\x1b[31m\\u202ec\\ud800"
    assert text.printable("한글 é ∂") == "한글 é ∂"


@given(ANY, st.integers(1, 30))
def test_elided_text_is_never_wider_than_asked(raw: str, width: int) -> None:
    assert text.cells(text.elide(raw, width)) <= max(width, 1)
    assert len(text.elide_middle(raw, width)) <= max(width, 1)


@pytest.mark.parametrize(
    ("path", "width", "shown"),
    [
        ("src/model.py", 20, "src/model.py"),
        ("project/src/deep/er/model.py", 22, "project/…/er/model.py"),
        ("project/src/a_very_long_file_name.py", 20, "a_very…_file_name.py"),
        ("C:\\code\\deep\\er\\model.py", 18, "C:\\…\\er\\model.py"),
    ],
)
def test_paths_lose_their_middle_first(path: str, width: int, shown: str) -> None:
    assert text.elide_path(path, width) == shown
    assert len(shown) <= width


@pytest.mark.parametrize(
    ("size", "shown"),
    [(0, "0 B"), (4, "4 B"), (1023, "1,023 B"), (1536, "1.5 KiB"), (12 * 2**20, "12 MiB"), (2**40, "1 TiB")],
)
def test_bytes(size: int, shown: str) -> None:
    assert text.byte_count(size) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0.0, "0 ns"),
        (8.5e-7, "850 ns"),
        (1.2e-5, "12 µs"),
        (0.0034, "3.4 ms"),
        (0.9999, "1 s"),
        (1.234, "1.23 s"),
        (59.99, "1 min 00 s"),
        (123, "2 min 03 s"),
        (3900, "1 h 05 min"),
        (-2, "-2 s"),
    ],
)
def test_durations(seconds: float, shown: str) -> None:
    assert text.duration(seconds) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (40.0, "40"),
        (0.1, "0.1"),
        (1 / 3, "0.3333"),
        (-0.0, "0"),
        (1e6, "1e+06"),
        (float("nan"), "nan"),
        (-1e400, "-inf"),
    ],
)
def test_numbers(value: float, shown: str) -> None:
    assert text.number(value) == shown


@given(st.floats(-1e300, 1e300))
def test_a_shown_number_is_near_the_number(value: float) -> None:
    assert float(text.number(value)) == pytest.approx(value, rel=1e-3)


@pytest.mark.parametrize(
    ("flat", "shape", "dtype", "shown"),
    [
        ((40.0,), (1,), "float32", "[40.]"),
        ((2.5,), (), "float32", "2.5"),
        ((1, 2, 3, 4), (2, 2), "int64", "[[1, 2], [3, 4]]"),
        ((1, 0), (2,), "bool", "[True, False]"),
        ((), (0,), "float32", "[]"),
        ((1.0, float("nan")), (2, 1), "float32", "[[1.], [nan]]"),
    ],
)
def test_values_read_as_torch_prints_them(
    flat: tuple[float, ...], shape: tuple[int, ...], dtype: str, shown: str
) -> None:
    assert text.values(flat, shape, dtype) == shown


def test_types_lists_and_counts() -> None:
    assert text.tensor_type("torch.float32", (32, 64)) == "float32[32, 64]"
    assert text.tensor_type("float32", ()) == "float32[]"
    assert text.tensor_type(None, None) == ""
    assert text.elide_list("abcde", 2) == "a, b and 3 more"
    assert text.elide_list("ab", 2) == "a, b"
    assert text.raised("ValueError", "no rows") == "ValueError: no rows"
    assert text.raised("StopIteration", "") == "StopIteration"
    assert (text.plural(1, "node"), text.plural(12_000, "node")) == ("1 node", "12,000 nodes")
    assert text.plural(2, "entry", "entries") == "2 entries"
    assert [text.ordinal(number) for number in (1, 2, 3, 4, 11, 12, 21, 112)] == [
        *("1st", "2nd", "3rd", "4th", "11th", "12th", "21st", "112th")
    ]


def test_a_size_that_is_not_known_is_a_question_mark() -> None:
    assert text.sizes((3, -1, 4)) == "3, ?, 4"
    assert text.tensor_type("float32", (3, -1)) == "float32[3, ?]"
    assert text.values([1.0, 2.0], (2, -1)) == "[1., 2.]"
