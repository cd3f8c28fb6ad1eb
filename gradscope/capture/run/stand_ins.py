"""A copy that stands in for one of the script's files: its text runs under the name and in the place of the other.

So a change of a file is tried where the file lies: what it finds beside itself, imports and opens is as ever, and
tracebacks and traces tell of it by its own name, with the lines of the copy. Nothing is written beside the file.
"""

from __future__ import annotations

import io
import linecache
import os
import sys
import tokenize
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType

from ...errors import ScriptNotFound

_texts: dict[str, bytes] = {}  # by the real path of the file that is stood in for


def stand_in(file: str, copy: str) -> None:
    """From here on, `file` has the text of `copy` wherever this process runs or imports it."""
    try:
        _texts[os.path.realpath(file)] = Path(copy).read_bytes()
    except OSError as error:
        raise ScriptNotFound(f"cannot read {copy}: {error.strerror}") from None
    if _FINDER not in sys.meta_path:
        sys.meta_path.insert(0, _FINDER)


def text_for(path: str) -> bytes | None:
    """The text that stands in for a file, None where none does; tracebacks show its lines from now on."""
    text = _texts.get(os.path.realpath(path)) if _texts else None
    if text is not None:
        encoding, _ = tokenize.detect_encoding(io.BytesIO(text).readline)
        lines = io.StringIO(text.decode(encoding), newline=None).readlines()
        linecache.cache[path] = (len(text), None, lines, path)  # without a time, it is not looked up on the disk
    return text


class _Finder:
    """Finds the modules that come from such a file; the others find the rest."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        spec = PathFinder.find_spec(name, path, target)
        if spec is None or not isinstance(spec.loader, SourceFileLoader):
            return None
        if os.path.realpath(spec.loader.path) not in _texts:
            return None
        spec.loader = _Loader(spec.loader.name, spec.loader.path)
        spec.cached = None
        return spec


class _Loader(SourceFileLoader):
    """Compiles the text that stands in; no compiled file is read or written."""

    def get_code(self, fullname: str) -> CodeType:  # noqa: ARG002  # the name is the loader's own
        text = text_for(self.path)
        assert text is not None
        return compile(text, self.path, "exec", dont_inherit=True)


_FINDER = _Finder()
