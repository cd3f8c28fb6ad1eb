"""The interpreter and the process: hooks, paths, streams, signals, threads, files, limits."""

import builtins
import gc
import hashlib
import importlib
import locale
import os
import random
import resource
import signal
import sys
import threading
import types
import warnings
from collections.abc import Iterator
from typing import Any

HERE = os.path.dirname(__file__)
_OF_LIBC = 0b11 << 31  # signals 32 and 33, which the C library catches as soon as there is a thread


def facts() -> dict[str, object]:
    """One text for each fact; a fact that cannot be had is the error's name."""
    found: dict[str, object] = {}
    for group in (_interpreter, _hooks, _streams, _warnings, _signals, _threads, _files, _settings, _deep):
        for name, fact in group():
            found[name] = fact if isinstance(fact, str) else repr(fact)
    return found


def memory() -> dict[str, object]:
    return {"peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss}


def _interpreter() -> Iterator[tuple[str, object]]:
    yield "argv", sys.argv
    yield "original argv", sys.orig_argv[-len(sys.argv) :]
    yield "flags", sys.flags
    yield "path", [entry for entry in sys.path if entry != HERE]
    yield "finders", [described(finder) for finder in sys.meta_path]
    yield "path hooks", [described(hook) for hook in sys.path_hooks]
    yield "recursion limit", sys.getrecursionlimit()
    yield "switch interval", sys.getswitchinterval()
    yield "bytecode", (sys.dont_write_bytecode, sys.pycache_prefix)
    yield "builtins", sorted((name, described(value)) for name, value in vars(builtins).items() if name != "_")
    yield (
        "main",
        sorted(name for name in vars(sys.modules["__main__"]) if name.startswith("__") and name.endswith("__")),
    )
    yield "main's spec", getattr(getattr(sys.modules["__main__"], "__spec__", None), "name", None)
    yield "random", hashlib.sha1(repr(random.getstate()).encode(), usedforsecurity=False).hexdigest()
    yield "last error", (described(getattr(sys, "last_type", None)), str(getattr(sys, "last_value", None)))
    yield "import lock", importlib._bootstrap._module_locks.keys() - {"promise_report"}  # type: ignore[attr-defined]


def _deep() -> Iterator[tuple[str, object]]:
    """Comes last: a trace function is lost where it cannot be called any more."""
    reached = 0

    def down() -> None:
        nonlocal reached
        reached += 1
        down()

    try:
        down()
    except RecursionError:
        pass
    yield "recursion depth", reached


def _hooks() -> Iterator[tuple[str, object]]:
    yield "trace function", described(sys.gettrace())
    yield "profile function", described(sys.getprofile())
    yield "threads' trace function", described(threading.gettrace())
    yield "threads' profile function", described(threading.getprofile())
    for name in ("excepthook", "displayhook", "unraisablehook", "breakpointhook", "getrecursionlimit"):
        yield name, described(getattr(sys, name, None))
    yield "threads' excepthook", described(threading.excepthook)
    yield "async hooks", sys.get_asyncgen_hooks()
    yield "gc", (gc.isenabled(), gc.get_threshold(), gc.get_debug(), gc.get_freeze_count() > 0, len(gc.callbacks))


def _streams() -> Iterator[tuple[str, object]]:
    for name in ("stdin", "stdout", "stderr", "__stdin__", "__stdout__", "__stderr__"):
        stream = getattr(sys, name)
        told = ("closed", "name", "mode", "encoding", "errors", "line_buffering", "write_through")
        yield name, (type(stream).__qualname__, [_told(stream, what) for what in told])


def _told(owner: object, name: str) -> object:
    try:
        return getattr(owner, name, None)
    except Exception as error:
        return type(error).__name__


def _warnings() -> Iterator[tuple[str, object]]:
    yield (
        "warning filters",
        [(kind, str(text), type_.__name__, str(module), line) for kind, text, type_, module, line in warnings.filters],
    )
    yield "showwarning", described(warnings.showwarning)
    yield "warn", described(warnings.warn)
    raised = []
    for name, module in list(sys.modules.items()):
        registry = getattr(module, "__dict__", {}).get("__warningregistry__", {})
        raised += [(name, *map(_text, key)) for key in registry if key != "version" and not name.startswith("promise_")]
    yield "warnings raised", sorted(raised)


def _text(value: object) -> str:
    return value.__name__ if isinstance(value, type) else str(value)


def _signals() -> Iterator[tuple[str, object]]:
    for number in sorted(signal.valid_signals()):
        try:
            yield f"handler of {signal.Signals(number).name}", described(signal.getsignal(number))
        except ValueError:
            continue  # a real-time signal between the named ones
    yield "alarm", signal.getitimer(signal.ITIMER_REAL)
    yield "wakeup descriptor", signal.set_wakeup_fd(signal.set_wakeup_fd(-1))
    with open("/proc/self/status", encoding="ascii") as status:
        masks = [line.split() for line in status if line.startswith(("SigBlk", "SigIgn", "SigCgt"))]
    yield "signal masks", [(name, hex(int(mask, 16) & ~_OF_LIBC)) for name, mask in masks]
    if "faulthandler" in sys.modules:
        yield "faulthandler", sys.modules["faulthandler"].is_enabled()


def _threads() -> Iterator[tuple[str, object]]:
    yield "threads", sorted((thread.name, type(thread).__name__, thread.daemon) for thread in threading.enumerate())
    yield "native threads", len(os.listdir("/proc/self/task"))
    with open(f"/proc/self/task/{os.getpid()}/children", encoding="ascii") as children:
        yield "children", len(children.read().split())
    yield "threads' stack", threading.stack_size()


def _files() -> Iterator[tuple[str, object]]:
    targets = []
    for name in os.listdir("/proc/self/fd"):
        try:
            target = os.readlink(f"/proc/self/fd/{name}")
        except OSError:
            continue  # the listing's own
        targets.append((int(name) if int(name) < 3 else "file", target.partition(":[")[0]))
    yield "open files", sorted(targets, key=repr)


def _settings() -> Iterator[tuple[str, object]]:
    yield "folder", os.getcwd()
    yield "environment", sorted(os.environ.items())
    umask = os.umask(0)
    os.umask(umask)
    yield "umask", umask
    yield "locale", [locale.setlocale(category) for category in (locale.LC_CTYPE, locale.LC_NUMERIC, locale.LC_TIME)]
    limits = [resource.getrlimit(getattr(resource, name)) for name in dir(resource) if name.startswith("RLIMIT_")]
    yield "limits", [[f"_{number}" for number in limit] for limit in limits]  # a bare one may be a process's number
    yield "nice", os.nice(0)
    yield "processors", sorted(os.sched_getaffinity(0))


def described(value: object) -> str:
    """Which function, type or object this is: by its place in the source, never by its address."""
    code = getattr(value, "__code__", None)
    if isinstance(code, types.CodeType):
        return f"{value.__module__}.{value.__qualname__} ({code.co_filename}:{code.co_firstlineno})"  # type: ignore[union-attr]
    if callable(value) and hasattr(value, "__qualname__"):
        return f"{getattr(value, '__module__', None)}.{value.__qualname__}"
    if value is None or isinstance(value, (bool, int, float, str)):
        return repr(value)
    return f"a {type(value).__module__}.{type(value).__qualname__}"


def patches(seen: dict[str, Any]) -> dict[str, object]:
    """Where a module or class holds a function that was written in gradscope. The objects are not asked."""
    found: dict[str, object] = {}
    for name in seen:
        module = sys.modules.get(name)
        if name.partition(".")[0] == "gradscope" or not issubclass(type(module), types.ModuleType):
            continue
        for attribute, value in list(vars(module).items()):
            if _is_ours(value):
                found[f"{name}.{attribute}"] = described(value)
            elif issubclass(type(value), type):
                names = type.__getattribute__(value, "__dict__")
                if names.get("__module__") == name:
                    inside = [(inner, method) for inner, method in list(names.items()) if _is_ours(method)]
                    found.update((f"{name}.{attribute}.{inner}", described(method)) for inner, method in inside)
    return found


_WRAPPED = {classmethod: "__func__", staticmethod: "__func__", property: "fget", types.MethodType: "__func__"}


def _is_ours(value: Any) -> bool:
    while type(value) in _WRAPPED:
        value = getattr(value, _WRAPPED[type(value)])
    return type(value) is types.FunctionType and f"{os.sep}gradscope{os.sep}" in value.__code__.co_filename
