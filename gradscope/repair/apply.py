"""Patches on files: what a file becomes, and how it is written so that nothing is lost."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import tempfile
import tokenize
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path

from ..errors import PatchRefused
from ..model.fixes import Edit, Patch
from .source import bare_lines, whole_lines


def patched(data: bytes, patch: Patch) -> bytes:
    """What a file's content becomes. Raises PatchRefused where it is not what the patch was made for."""
    if hashlib.sha256(data).hexdigest() != patch.sha256:
        raise PatchRefused(f"{patch.file} has changed since it ran: check it again")
    encoding, _ = tokenize.detect_encoding(io.BytesIO(data).readline)
    lines = whole_lines(data.decode(encoding))
    ends = lines[0][len(lines[0].rstrip("\r\n")) :] if lines else "\n"
    for edit in reversed(patch.edits):
        first, last = edit.line - 1, edit.line - 1 + len(edit.old)
        if bare_lines("".join(lines[first:last])) != list(edit.old):
            raise PatchRefused(f"{patch.file}:{edit.line} is not the line that the patch was made for")
        if first and not lines[first - 1].endswith(("\n", "\r")):
            lines[first - 1] += ends
        lines[first:last] = [f"{line}{ends}" for line in edit.new]
    text = "".join(lines)
    if not data.endswith((b"\n", b"\r")):
        text = text.removesuffix(ends)
    return text.encode(encoding)


def combined(patches: Iterable[Patch]) -> Patch:
    """Patches of one file as one. Raises PatchRefused where two of them change the same lines."""
    several = list(patches)
    edits = sorted({edit for patch in several for edit in patch.edits}, key=lambda edit: (edit.line, len(edit.old)))
    if len({(patch.file, patch.sha256) for patch in several}) != 1 or any(
        _last(before) >= after.line for before, after in pairwise(edits)
    ):
        raise PatchRefused(f"two fixes change the same lines of {several[0].file}: write one, and check again")
    return Patch(several[0].file, several[0].sha256, tuple(edits))


def write_patch(patch: Patch) -> Path:
    """Write a patch into its file at one stroke; returns the backup of what was there.

    Raises PatchRefused where that cannot be done; then the file is as it was.
    """
    path = Path(os.path.realpath(patch.file))  # a link stays one
    try:
        data = path.read_bytes()
        changed = patched(data, patch)
        backup = _backup(path, data)
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
            try:
                file.write(changed)
                file.flush()
                os.fsync(file.fileno())
                shutil.copymode(path, file.name)
                os.replace(file.name, path)  # noqa: PTH105  # of a name, not of a path
            except BaseException:
                Path(file.name).unlink(missing_ok=True)
                raise
    except OSError as error:
        raise PatchRefused(f"cannot write {patch.file}: {error.strerror}") from error
    return backup


def _backup(path: Path, data: bytes) -> Path:
    """A copy beside the file, under a name that was free."""
    number = 0
    while True:
        name = path.with_name(f"{path.name}.orig{f'.{number}' if number else ''}")
        try:
            with name.open("xb") as file:
                file.write(data)
        except FileExistsError:
            number += 1
            continue
        shutil.copystat(path, name)
        return name


def _last(edit: Edit) -> int:
    """The last line that an edit has a part in."""
    return edit.line + max(len(edit.old), 1) - 1
