"""A patch on a file: nothing is lost, whatever the file is like."""

from __future__ import annotations

import hashlib
import stat
from pathlib import Path

import pytest

from gradscope.errors import PatchRefused
from gradscope.model.fixes import Edit, Patch
from gradscope.repair.apply import combined, patched, write_patch


def patch(data: bytes, *edits: Edit, file: str = "a.py") -> Patch:
    return Patch(file, hashlib.sha256(data).hexdigest(), edits)


@pytest.mark.parametrize(
    ("data", "edit", "after"),
    [
        (b"a\nb\nc\n", Edit(2, ("b",), ("B", "D")), b"a\nB\nD\nc\n"),
        (b"a\r\nb\r\n", Edit(2, ("b",), ("B",)), b"a\r\nB\r\n"),
        (b"a\nb", Edit(2, ("b",), ("B",)), b"a\nB"),
        (b"a\nb", Edit(3, (), ("c",)), b"a\nb\nc"),
        (b"a\n", Edit(1, (), ("z",)), b"z\na\n"),
        (b"a\nb\n", Edit(1, ("a",), ()), b"b\n"),
        (b"# coding: latin-1\n# \xe9\nb\n", Edit(3, ("b",), ("ü",)), b"# coding: latin-1\n# \xe9\n\xfc\n"),
        (b"\xef\xbb\xbfa\nb\n", Edit(2, ("b",), ("B",)), b"\xef\xbb\xbfa\nB\n"),
        (b"a\x0c\n\xe2\x80\xa8b\nc\n", Edit(3, ("c",), ("C",)), b"a\x0c\n\xe2\x80\xa8b\nC\n"),
    ],
)
def test_lines_become_others(data: bytes, edit: Edit, after: bytes) -> None:
    assert patched(data, patch(data, edit)) == after


def test_a_changed_file_is_refused() -> None:
    with pytest.raises(PatchRefused, match="has changed since it ran"):
        patched(b"a\nb\nc\n", patch(b"a\nb\n", Edit(1, ("a",), ("A",))))
    with pytest.raises(PatchRefused, match=r"a\.py:2"):
        patched(b"a\nb\n", patch(b"a\nb\n", Edit(2, ("x",), ("A",))))


def test_writing_keeps_the_old_file_its_mode_and_a_link(tmp_path: Path) -> None:
    real, link = tmp_path / "real.py", tmp_path / "a.py"
    real.write_bytes(b"a\nb\n")
    real.chmod(0o750)
    link.symlink_to(real)
    (tmp_path / "real.py.orig").write_text("an older one")
    backup = write_patch(patch(b"a\nb\n", Edit(2, ("b",), ("B",)), file=str(link)))
    assert link.is_symlink()
    assert real.read_bytes() == b"a\nB\n"
    assert stat.S_IMODE(real.stat().st_mode) == 0o750
    assert backup.name == "real.py.orig.1"
    assert backup.read_bytes() == b"a\nb\n"
    assert (tmp_path / "real.py.orig").read_text() == "an older one"
    assert len(list(tmp_path.iterdir())) == 4


def test_what_cannot_be_written_is_one_line_and_leaves_all_as_it_was(tmp_path: Path) -> None:
    with pytest.raises(PatchRefused, match=r"cannot write .*gone\.py: No such file"):
        write_patch(patch(b"", Edit(1, (), ("a",)), file=str(tmp_path / "gone.py")))
    assert list(tmp_path.iterdir()) == []


def test_patches_of_one_file_are_written_together_unless_they_meet() -> None:
    data = b"a\nb\nc\nd\n"
    first, second = patch(data, Edit(1, ("a",), ("A",))), patch(data, Edit(3, ("c",), ("C", "E")))
    assert patched(data, combined([second, first])) == b"A\nb\nC\nE\nd\n"
    assert combined([first, first]) == first
    with pytest.raises(PatchRefused, match="two fixes change the same lines"):
        combined([first, patch(data, Edit(1, ("a", "b"), ("Z",)))])
