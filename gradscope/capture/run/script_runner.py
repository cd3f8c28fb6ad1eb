"""Runs a script or a module under a recording exactly as `python` would.

`__main__`, `sys.argv` and `sys.path[0]` become the script's for the rest of the process: its threads, child
processes, pickles and atexit handlers go on to need them. So a process runs one script. torch is imported
when the script imports it, not before, and the recording starts at that moment.
"""

from __future__ import annotations

import builtins
import importlib.util
import os
import re
import runpy
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.machinery import BuiltinImporter, SourceFileLoader
from pathlib import Path
from pkgutil import get_importer, read_code
from types import CodeType, ModuleType
from typing import Any, Protocol

from ...errors import ScriptNotFound
from ..hiding.frames import bottom, strip_traceback
from ..hiding.recursion_depth import RecursionDepth, frames_below
from ..hiding.signals import Signals
from ..hiding.transparency import Transparency
from .excepthook import exit_status, flush_streams, report
from .import_hook import when_imported
from .module_path import has_first, python_path
from .stand_ins import text_for
from .worlds import enter_script


class Recording(Protocol):
    """What runs beside the script. Neither call may raise into it."""

    def start(self) -> None:
        """Called when torch has just been imported."""
        ...

    def stop(self, error: BaseException | None, status: int) -> None:
        """Called when the script's main thread has ended, by `error` if one left it, with this exit status."""
        ...


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a script ended. `status` is what `python` would exit with.

    `interrupted`: by a KeyboardInterrupt; `python` then dies of SIGINT, which shells show as 130.
    `forked`: this process is not the one that began the script, but a child that it forked.
    """

    status: int
    interrupted: bool = False
    forked: bool = False


def check_script(path: str) -> None:
    """Raises ScriptNotFound, in one line, for what is not a script: missing, unreadable, a binary, a plain folder,
    standard input.
    """
    if path == "-":
        raise ScriptNotFound("a script must be a file: standard input has no lines that could be shown later")
    script = Path(path)
    if script.is_dir():
        if not (script / "__main__.py").is_file():
            raise ScriptNotFound(f"{path} is a folder without a __main__.py; name the script inside it")
        return
    try:
        with script.open("rb") as file:
            head = file.read(4096)
    except FileNotFoundError:
        raise ScriptNotFound(f"there is no script {path}") from None
    except OSError as error:
        raise ScriptNotFound(f"cannot read the script {path}: {error.strerror}") from None
    if head.startswith(b"SQLite format 3\0"):
        raise ScriptNotFound(f"{path} is a trace, not a script; try: gradscope info {path}")
    if b"\0" in head and not (_is_compiled(head) or _has_main(path)):
        raise ScriptNotFound(f"{path} is not a Python script: it holds binary data")


def check_module(name: str) -> None:
    """Raises ScriptNotFound when no module of that name can be found from the current folder."""
    top = name.partition(".")[0]
    entry = str(Path.cwd())
    sys.path.insert(0, entry)
    try:
        spec = importlib.util.find_spec(top) if top else None
        found = spec is not None and (top == name or spec.submodule_search_locations is not None)
    except (ImportError, ValueError):
        found = False
    finally:
        sys.path.remove(entry)
    if not found:
        raise ScriptNotFound(f"there is no module {name}" + (": leave out .py" if name.endswith(".py") else ""))


def run_script(path: str, arguments: Sequence[str], recording: Recording) -> Outcome:
    """Run the script, folder or zip at `path` as `python PATH ARGUMENTS…` would.

    Raises ScriptNotFound before anything is run; see `check_script`.
    """
    check_script(path)
    absolute = path if Path(path).is_absolute() else os.path.join(Path.cwd(), path)  # noqa: PTH118  # keeps ./ and ..
    if _has_main(path):
        _become([path, *arguments], [path, *arguments], absolute)
        _new_main()
        return _run(lambda: runpy._run_module_as_main("__main__", False), recording)  # type: ignore[attr-defined]
    _become([path, *arguments], [path, *arguments], str(Path(path).resolve().parent))
    main = _new_main(absolute)
    return _run(lambda: exec(_code(absolute), main.__dict__), recording, main)  # noqa: S102  # this is the script


def run_module(name: str, arguments: Sequence[str], recording: Recording) -> Outcome:
    """Run a module as `python -m NAME ARGUMENTS…` would.

    Raises ScriptNotFound before anything is run; see `check_module`.
    """
    check_module(name)
    _become(["-m", *arguments], ["-m", name, *arguments], str(Path.cwd()))
    _new_main()
    return _run(lambda: runpy._run_module_as_main(name), recording)  # type: ignore[attr-defined]


def _run(program: Callable[[], object], recording: Recording, main: ModuleType | None = None) -> Outcome:
    """Run `program` with nothing of ours in its sight; `main` is a script's module, which loses its `__file__`."""
    process = os.getpid()
    error: BaseException | None = None
    below = frames_below(exec=main is not None)
    with Transparency(), when_imported("torch", recording.start), RecursionDepth(below):
        try:
            with Signals():
                bottom(program)
        except BaseException as caught:  # SystemExit and KeyboardInterrupt too
            error = caught
    if error is not None:
        strip_traceback(error)
    forked = os.getpid() != process
    interrupted = type(error) is KeyboardInterrupt
    if not forked:
        recording.stop(error, 130 if interrupted else exit_status(error))
    if main is not None:
        flush_streams()
    status = report(error)
    if main is not None and not isinstance(error, SystemExit):  # with that, the interpreter exits before it does this
        for name in ("__file__", "__cached__"):
            main.__dict__.pop(name, None)
    return Outcome(130 if interrupted else status, interrupted, forked)


# -- what `python` sets up before it runs a script -------------------------------------------------


def _become(argv: list[str], original: list[str], first_path: str) -> None:
    sys.argv = argv
    sys.orig_argv = [sys.executable, *original]
    path = python_path(first_path)
    if not has_first() and _has_main(argv[0]):
        path.insert(0, first_path)
    enter_script(path)


def _new_main(file: str | None = None) -> ModuleType:
    main = ModuleType("__main__")
    namespace: dict[str, Any] = main.__dict__
    namespace["__loader__"] = BuiltinImporter if file is None else SourceFileLoader("__main__", file)
    if sys.version_info < (3, 14):
        namespace["__annotations__"] = {}
    namespace["__builtins__"] = builtins
    if file is not None:
        namespace["__file__"] = file
        namespace["__cached__"] = None
    _replaced.append(sys.modules["__main__"])
    sys.modules["__main__"] = main
    return main


_replaced: list[ModuleType] = []  # a module that dies takes the names of functions still running with it


def _has_main(path: str) -> bool:
    """Whether this is a folder or an archive, whose `__main__` is run."""
    return get_importer(path) is not None


def _is_compiled(head: bytes) -> bool:
    return head.startswith(importlib.util.MAGIC_NUMBER)


def _code(path: str) -> CodeType:
    """The script's code. Raises what `python` shows for a file that does not compile."""
    instead = text_for(path)
    if instead is not None:
        return compile(instead, path, "exec", dont_inherit=True)
    with Path(path).open("rb") as file:
        compiled: CodeType | None = read_code(file)
        if compiled is not None:
            return compiled
        file.seek(0)
        source = file.read()
    try:
        return compile(source, path, "exec", dont_inherit=True)
    except SyntaxError as error:
        refused: SyntaxError = error
    raise _undecodable(source, path) or refused


def _undecodable(source: bytes, path: str) -> SyntaxError | None:
    """What `python` says of a file that it cannot decode; `compile` says it otherwise."""
    cookie = re.match(rb"(?:[ \t\f]*(?:#[^\r\n]*)?\r?\n)?[ \t\f]*#.*?coding[:=][ \t]*([-\w.]+)", source)
    encoding = cookie[1].decode() if cookie else "utf-8"
    try:
        source.decode(encoding)
    except LookupError:
        return SyntaxError(f"encoding problem: {encoding}")
    except UnicodeDecodeError as error:
        if cookie:
            return SyntaxError(f"encoding problem: {encoding}")
        line, page = source.count(b"\n", 0, error.start) + 1, "peps.python.org"
        if sys.version_info < (3, 11):
            line, page = line + 1, "python.org/dev/peps"  # it names the line after
        return SyntaxError(
            f"Non-UTF-8 code starting with '\\x{source[error.start]:02x}' in file {path} on line {line}, "
            f"but no encoding declared; see https://{page}/pep-0263/ for details"
        )
    return None
