"""Links to the lines of source files."""

from __future__ import annotations

import ntpath
import posixpath
from urllib.parse import quote


def source_link(file: str, line: int, folder: str = "") -> str | None:
    """A link to a line of a source file that can only ever be a file: relative, or `file://`.

    None for what is no file (`<stdin>`, a notebook cell). `folder` is where the link will be used.
    """
    if not file or file.startswith("<"):
        return None
    if ntpath.splitdrive(file)[0] or "\\" in file:
        path = file.replace("\\", "/")
        prefix = "file:///" if ntpath.isabs(file) else "./"
    elif posixpath.isabs(file):
        path, prefix = file, "file://"
    else:
        path = posixpath.relpath(file, folder) if folder else posixpath.normpath(file)
        prefix = "" if path.startswith("../") else "./"
    safe = quote(path.encode("utf-8", "replace"), safe="/")
    return f"{prefix}{safe}#L{line}"
