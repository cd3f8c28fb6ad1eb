"""Links to sources: whatever a file is called, a link leads to a file or there is none."""

from __future__ import annotations

import pytest

from gradscope.render.links import source_link


@pytest.mark.parametrize(
    ("file", "folder", "link"),
    [
        ("train.py", "", "./train.py#L7"),
        ("src/../train.py", "", "./train.py#L7"),
        ("train.py", "out/pictures", "../../train.py#L7"),
        ("/home/me/a b.py", "out", "file:///home/me/a%20b.py#L7"),
        ("C:\\code\\a.py", "", "file:///C%3A/code/a.py#L7"),
        ("javascript:alert(1)", "", "./javascript%3Aalert%281%29#L7"),
        ("https://x.y/a.py", "", "./https%3A/x.y/a.py#L7"),
        ('a".py', "", "./a%22.py#L7"),
        ("<stdin>", "", None),
        ("", "", None),
    ],
)
def test_a_source_link_can_only_be_a_file(file: str, folder: str, link: str | None) -> None:
    assert source_link(file, 7, folder) == link
