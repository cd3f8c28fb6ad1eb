"""Recording's frames are not seen: in tracebacks, in stacks, in the places of warnings."""

from __future__ import annotations

import contextlib
import gc
import inspect
import io
import linecache
import sys
import traceback
import types
import warnings
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.overrides import TorchFunctionMode

from gradscope.capture.hiding import frames
from gradscope.capture.hiding.frames import (
    bottom,
    hidden,
    is_ours,
    release,
    shown,
    stack_of,
    strip_traceback,
    trampoline,
)
from gradscope.capture.hiding.transparency import Transparency
from tests.capturing import recording

# A handler as the recorder's is, in a file of its package.
_HANDLER = """
class Mode(TorchFunctionMode):
    def __torch_function__(self, func, types, args=(), kwargs=None):
        return trampoline(sys._getframe(1))(func, args, kwargs)
"""
_names: dict[str, Any] = {"sys": sys, "trampoline": trampoline, "TorchFunctionMode": TorchFunctionMode}
_names["__name__"] = "gradscope.capture.hiding.stand_in"
exec(compile(_HANDLER, str(Path(frames.__file__).with_name("stand_in.py")), "exec"), _names)
Mode: Callable[[], TorchFunctionMode] = _names["Mode"]


def _show(message: Warning | str, category: type[Warning], filename: str, lineno: int, *_: Any) -> None:
    sys.stderr.write(warnings.formatwarning(message, category, filename, lineno))


class Said:
    """What a script wrote to stdout and stderr, and the names that it defined."""

    def __init__(self, text: str, names: dict[str, Any]) -> None:
        self.text = text
        self.names = names


@pytest.fixture
def script(tmp_path: Path) -> Iterator[Callable[..., Said]]:
    """Runs source text, plain or under the handler."""
    path = tmp_path / "script.py"

    def run(source: str, recorded: bool, action: str = "default") -> Said:
        path.write_text(source)
        linecache.checkcache(str(path))
        names: dict[str, Any] = {"__name__": "__main__"}
        text = io.StringIO()
        with contextlib.ExitStack() as stack:
            stack.enter_context(contextlib.redirect_stdout(text))
            stack.enter_context(contextlib.redirect_stderr(text))
            stack.enter_context(warnings.catch_warnings())
            warnings.resetwarnings()
            warnings.simplefilter(action)  # type: ignore[arg-type]
            warnings.showwarning = _show  # pytest collects warnings; here they are printed
            stack.enter_context(Transparency())  # also when plain, so that both stacks end at `bottom`
            if recorded:
                stack.enter_context(Mode())
            bottom(exec, compile(source, str(path), "exec"), names)
        return Said(text.getvalue(), names)

    yield run
    linecache.checkcache()


START = """
import logging, traceback, warnings
import torch, torch.nn as nn, torch.nn.functional as F
x = torch.ones(3, requires_grad=True)
y = x * 2
"""
CASES = {
    "a C function": "try: x + torch.ones(2)\nexcept RuntimeError: traceback.print_exc()",
    "a method": "try: x.view(4)\nexcept RuntimeError: traceback.print_exc()",
    "a Python function": "try: F.softmax(x, dim=7)\nexcept IndexError: traceback.print_exc()",
    "a dispatched Python function": "try: F.max_pool2d(x, 2)\nexcept RuntimeError: traceback.print_exc()",
    "a reflected operator": "try: 3 - x.reshape(4)\nexcept RuntimeError: traceback.print_exc()",
    "a wrapped method": "try: 'a' - x\nexcept TypeError: traceback.print_exc()",
    "a property": "try: x.grad = 3\nexcept TypeError: traceback.print_exc()",
    "backward": "try: (y * 2).backward()\nexcept RuntimeError: traceback.print_exc()",
    "autograd.grad": "try: torch.autograd.grad(y, x)\nexcept RuntimeError: traceback.print_exc()",
    "a module": "try: nn.Linear(4, 4)(x)\nexcept RuntimeError: traceback.print_exc()",
    "an initialiser": "try: nn.init.eye_(x)\nexcept ValueError: traceback.print_exc()",
    "logging": (
        "log = logging.Logger('local')\nlog.addHandler(logging.StreamHandler())\n"
        "try: x.view(4)\nexcept RuntimeError: log.exception('no')"
    ),
    "format_exc": "try: F.softmax(x, dim=7)\nexcept IndexError: print(traceback.format_exc())",
    "extract_tb": "try: F.softmax(x, dim=7)\nexcept IndexError as e:\n    print(traceback.extract_tb(e.__traceback__))",
    "walk_tb": (
        "try: F.softmax(x, dim=7)\nexcept IndexError as e:\n"
        "    print([(f.f_code.co_name, line) for f, line in traceback.walk_tb(e.__traceback__)])"
    ),
    "TracebackException": (
        "try: F.softmax(x, dim=7)\nexcept IndexError as e:\n"
        "    print(*traceback.TracebackException.from_exception(e, capture_locals=False).format())"
    ),
    "a chain": (
        "try:\n    try: x.view(4)\n    except RuntimeError as e: raise ValueError('x') from e\n"
        "except ValueError: traceback.print_exc()"
    ),
    "a context": (
        "try:\n    try: x.view(4)\n    except RuntimeError: F.softmax(x, dim=9)\n"
        "except IndexError: traceback.print_exc()"
    ),
    "the stack in a hook": "x.register_hook(lambda g: traceback.print_stack())\n(x * 2).sum().backward()",
    "format_stack in a hook": ("x.register_hook(lambda g: print(*traceback.format_stack()))\n(x * 2).sum().backward()"),
    "inspect.stack in a hook": (
        "import inspect\nx.register_hook(lambda g: print([i.function for i in inspect.stack()]))\ny.sum().backward()"
    ),
    "inspect.trace": (
        "import inspect\ntry: x.view(4)\nexcept RuntimeError: print([i.function for i in inspect.trace()])"
    ),
    "grad of a non-leaf": "for i in range(3):\n    y.grad",
    "grad of a non-leaf at two lines": "y.grad\ny.grad\nfor i in range(2): y.grad",
    "an implicit dimension": "F.softmax(x)",
    "an implicit dimension in a module": "for i in range(2): nn.Softmax()(x)",
    "a warning of a module's forward": (
        "class M(nn.Module):\n    def forward(self, x):\n        warnings.warn('m', stacklevel=2)\n"
        "        return x * 2\nM()(x)"
    ),
    "levels in a hook": (
        "def hook(g):\n    for level in range(0, 12): warnings.warn(f'at {level}', stacklevel=level)\n"
        "x.register_hook(hook)\ny.sum().backward()"
    ),
    "a thread that fails": (
        "import threading\nhook, threading.excepthook = threading.excepthook, threading.__excepthook__\n"
        "thread = threading.Thread(target=lambda: nn.Linear(4, 4)(x), name='one')\n"
        "thread.start()\nthread.join()\nthreading.excepthook = hook"
    ),
    "levels at the top": "for level in range(5): warnings.warn(f'at {level}', stacklevel=level)",
}


@pytest.mark.parametrize("case", CASES)
def test_what_a_script_prints_is_the_same(case: str, script: Callable[..., Said]) -> None:
    plain = script(START + CASES[case], recorded=False)
    recorded = script(START + CASES[case], recorded=True)
    assert plain.text
    assert recorded.text == plain.text


@pytest.mark.parametrize("action", ["error", "ignore", "always", "module", "once"])
def test_filters_of_warnings_work_as_without_us(action: str, script: Callable[..., Said]) -> None:
    source = START + (
        "for act in (lambda: y.grad, lambda: F.softmax(x), lambda: nn.Softmax()(x)):\n"
        "    for i in range(2):\n"
        "        try: act()\n"
        "        except UserWarning: traceback.print_exc()\n"
        "print('end')\n"
    )
    assert script(source, True, action).text == script(source, False, action).text


def test_the_once_per_location_registry_is_the_scripts(script: Callable[..., Said]) -> None:
    registry = script(START + "for i in range(2): y.grad", recorded=True).names["__warningregistry__"]
    assert [key[2] for key in registry if isinstance(key, tuple)] == [6]


def test_the_naive_handler_would_be_seen(script: Callable[..., Said], monkeypatch: pytest.MonkeyPatch) -> None:
    """The guard of the guard: without the rules, the outputs differ."""
    plain = script(START + CASES["a Python function"], recorded=False)
    monkeypatch.setattr(frames, "_CAPTURE", "nowhere")
    monkeypatch.setattr(frames, "TRAMPOLINE", "nothing")
    monkeypatch.setattr(frames, "_codes", {})
    assert script(START + CASES["a Python function"], recorded=True).text != plain.text


# -- the trampoline --------------------------------------------------------------------------------


def test_a_trampoline_is_at_the_callers_line_and_keeps_no_globals() -> None:
    names: dict[str, Any] = {}
    exec(compile("import sys\n\n\nframe = lambda: sys._getframe()\nheld = frame()", "some.py", "exec"), names)
    seen: list[Any] = []
    look = lambda *args, **kwargs: seen.append((sys._getframe(1), args, kwargs))  # noqa: E731
    trampoline(names["held"])(look, (1, 2), {"key": 3})
    trampoline(names["held"])(look, (), None)
    (frame, args, kwargs), (again, *_) = seen
    assert (args, kwargs) == ((1, 2), {"key": 3})
    assert (frame.f_code.co_filename, frame.f_lineno) == ("some.py", 4)
    assert frame.f_globals is names
    assert frame.f_code is again.f_code, "made once a call site"
    assert is_ours(frame.f_code)

    class Kept:
        pass

    names["kept"] = Kept()
    alive = weakref.ref(names["kept"])
    seen.clear()
    del frame, again
    names.clear()
    gc.collect()
    assert alive() is None


def test_equal_code_in_two_files_has_two_trampolines() -> None:
    for name in ("one.py", "two.py"):
        names: dict[str, Any] = {}
        exec(compile("import sys\nframe = sys._getframe()", name, "exec"), names)
        code = trampoline(names["frame"]).__code__  # type: ignore[attr-defined]
        assert code.co_filename == name


def test_the_cache_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frames, "_CACHE_LIMIT", 5)
    monkeypatch.setattr(frames, "_codes", {})
    for number in range(20):
        names: dict[str, Any] = {}
        exec(compile("import sys\nframe = sys._getframe()", f"{number}.py", "exec"), names)
        trampoline(names["frame"])
        assert len(frames._codes) <= 5


# -- exceptions ------------------------------------------------------------------------------------


def _raise(*args: Any) -> None:
    raise ValueError("raised")


def _error_through_us() -> BaseException:
    try:
        trampoline(sys._getframe())(_raise, (torch.ones(1),), None)
    except ValueError as error:
        return error
    raise AssertionError


def _names_of(error: BaseException) -> list[str]:
    return [frame.f_code.co_name for frame, _ in traceback.walk_tb(error.__traceback__)]


def test_strip_traceback_takes_our_frames_out_of_everything_chained() -> None:
    outer, cause, context = _error_through_us(), _error_through_us(), _error_through_us()
    outer.__cause__, cause.__context__ = cause, context
    context.__context__ = outer  # a cycle
    strip_traceback(outer)
    for error in (outer, cause, context):
        assert _names_of(error) == ["_error_through_us", "_raise"]


@pytest.mark.skipif(sys.version_info < (3, 11), reason="exception groups came with Python 3.11")
def test_strip_traceback_reaches_into_groups() -> None:
    member = _error_through_us()
    group = ExceptionGroup("several", [ExceptionGroup("nested", [member])])  # type: ignore[list-item]  # noqa: F821
    strip_traceback(group)
    assert _names_of(member) == ["_error_through_us", "_raise"]


def test_strip_traceback_of_a_long_chain_does_not_recurse() -> None:
    first = error = _error_through_us()
    for _ in range(5000):
        error.__context__ = _error_through_us()
        error = error.__context__
    strip_traceback(first)
    assert _names_of(error) == ["_error_through_us", "_raise"]
    while first.__context__ is not None:  # taken apart one by one: dropping the chain at once would recurse
        first.__context__, first = None, first.__context__


def test_a_traceback_without_our_frames_is_left_as_it_is() -> None:
    with pytest.raises(ValueError, match="raised") as caught:
        _raise()
    assert shown(caught.value.__traceback__) is caught.value.__traceback__
    assert shown(None) is None


def _call_with_a_new_tensor() -> tuple[BaseException, weakref.ref[torch.Tensor]]:
    dropped: list[weakref.ref[torch.Tensor]] = []

    def new() -> torch.Tensor:
        tensor = torch.ones(1)
        dropped.append(weakref.ref(tensor))
        return tensor

    try:
        trampoline(sys._getframe())(torch.add, (new(), torch.ones(2)), {"alpha": "no number"})
    except TypeError as error:
        return error, dropped[0]
    raise AssertionError


def test_release_lets_go_of_the_arguments() -> None:
    error, dropped = _call_with_a_new_tensor()
    assert dropped() is not None, "or this test shows nothing"
    release(error)
    assert dropped() is None


def _walked_as_pytest_does(error: BaseException) -> tuple[list[str], list[str]]:
    """The lines of the entries that its walk leaves, and of those that it leaves out."""
    kept, omitted = [], []
    entry = error.__traceback__
    while entry is not None:
        (summary,) = traceback.extract_tb(entry, limit=1)  # pytest takes the first, which must be there
        places = (entry.tb_frame.f_locals, entry.tb_frame.f_globals)
        (omitted if any(place.get("__tracebackhide__") for place in places) else kept).append(summary.name)
        entry = entry.tb_next
    return kept, omitted


def _failure() -> BaseException:
    try:
        torch.nn.Linear(4, 4)(torch.ones(2))
    except RuntimeError as error:
        return error
    raise AssertionError


def test_who_walks_a_traceback_entry_by_entry_can_omit_ours() -> None:
    wanted, nothing = _walked_as_pytest_does(_failure())
    with recording():
        recorded = _failure()
    kept, omitted = _walked_as_pytest_does(recorded)
    assert kept == wanted
    assert not nothing
    assert omitted


# -- patches ---------------------------------------------------------------------------------------


def _patched() -> list[object]:
    owners: list[tuple[types.ModuleType, str]] = [
        (warnings, "warn"),
        (traceback, "walk_tb"),
        (traceback, "walk_stack"),
        (inspect, "getouterframes"),
        (inspect, "getinnerframes"),
    ]
    return [getattr(owner, name) for owner, name in owners]


def test_transparency_restores_everything_also_when_nested() -> None:
    before = _patched()
    outer, inner = Transparency(), Transparency()
    with outer:
        during = _patched()
        assert all(one is not two for one, two in zip(before, during))
        with inner:
            assert _patched() == during
        assert _patched() == during
        inner.close()
        assert _patched() == during
    assert all(one is two for one, two in zip(before, _patched()))


def test_a_patch_of_the_script_is_not_clobbered(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    original = warnings.warn
    with Transparency():
        ours = warnings.warn
        warnings.warn = lambda message, *args, **kwargs: said.append(message)  # type: ignore[assignment]
        mine = warnings.warn
    try:
        assert warnings.warn is mine
        with pytest.warns(UserWarning, match="still works"):
            ours("still works")
    finally:
        warnings.warn = original


def test_warn_refuses_what_it_always_refused() -> None:
    with Transparency():
        with pytest.raises(TypeError):
            warnings.warn("x", int, stacklevel=1)  # type: ignore[arg-type]
        with pytest.raises(TypeError):
            warnings.warn("x", stacklevel="2")  # type: ignore[call-overload]
        with pytest.raises(TypeError):
            warnings.warn("x", stacklevel=1, nothing=2)  # type: ignore[call-overload]
        assert warnings.warn.__name__ == "warn"


@pytest.mark.skipif(sys.version_info < (3, 12), reason="skip_file_prefixes came with Python 3.12")
@pytest.mark.parametrize("prefixes", [("/nowhere",), (str(Path(__file__).parent),), (sys.prefix,)])
@pytest.mark.parametrize("level", [1, 2, 3])
def test_skip_file_prefixes(prefixes: tuple[str, ...], level: int) -> None:
    found = []
    for opened in (contextlib.nullcontext(), Transparency()):
        with opened, warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            warnings.warn("x", stacklevel=level, skip_file_prefixes=prefixes)  # type: ignore[call-overload]
        found.append([(each.filename, each.lineno) for each in caught])
    assert len(found[0]) == 1
    assert found[1] == found[0]


def test_everything_below_bottom_is_hidden() -> None:
    stack: list[Any] = []
    bottom(lambda: stack.extend(stack_of(sys._getframe())))
    flags = hidden(stack[::-1])[::-1]
    assert flags == [False] + [True] * (len(stack) - 1)
