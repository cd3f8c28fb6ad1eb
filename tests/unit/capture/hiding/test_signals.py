"""A signal that strikes in our code waits; the script sees each exactly once, and the recording goes on in order."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
import torch

from gradscope.capture.hiding import frames, signals
from gradscope.capture.hiding.signals import Signals, at_work, is_the_scripts
from tests.capturing import new_recording, recording


class Late(Exception):
    """What a watchdog raises."""


@pytest.fixture
def alarm() -> Iterator[Callable[[Callable[[], object]], list[str]]]:
    """Installs a handler of SIGVTALRM that calls `then`; returns the list to which it adds the files that it struck.

    The callbacks of the garbage collector (hypothesis has one) are away meanwhile: Python itself swallows what is
    raised in them.
    """
    before = signal.getsignal(signal.SIGVTALRM)
    callbacks, gc.callbacks[:] = gc.callbacks[:], []

    def install(then: Callable[[], object]) -> list[str]:
        struck: list[str] = []

        def handler(number: int, frame: FrameType | None) -> None:
            assert frame is not None
            struck.append(frame.f_code.co_filename)
            then()

        signal.signal(signal.SIGVTALRM, handler)
        return struck

    yield install
    signal.setitimer(signal.ITIMER_VIRTUAL, 0)
    signal.signal(signal.SIGVTALRM, before)
    gc.callbacks[:] = callbacks


def _raise_late() -> None:
    raise Late


def _ours(source: str, **names: Any) -> Callable[..., Any]:
    """A function `f` of a file of our package."""
    found: dict[str, Any] = dict(names)
    exec(compile(source, str(Path(frames.__file__).with_name("stand_in.py")), "exec"), found)
    return found["f"]


class Model:
    """A training step as scripts have it: modules, ops, a backward, an optimizer."""

    def __init__(self) -> None:
        self.net = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 2))
        self.optimizer = torch.optim.Adam(self.net.parameters(), lr=0.01)

    def step(self) -> None:
        self.optimizer.zero_grad()
        torch.sin(self.net(torch.ones(3, 4))).pow(2).mean().backward()
        self.optimizer.step()


def _forever(step: Callable[[], None]) -> None:
    end = time.monotonic() + 60
    while time.monotonic() < end:
        step()


@pytest.mark.parametrize("detail", ["auto", "full"])
def test_signals_at_random_moments(
    detail: str, alarm: Callable[..., list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each alarm ends the script's loop at once and once, and what comes after it is recorded."""
    monkeypatch.setattr(signals, "PATIENCE", 30.0)  # of a machine that has other work
    model, trials = Model(), 40
    model.step()
    struck = alarm(_raise_late)
    with recording(detail) as made:
        for trial in range(trials):
            done = len(made.recorder.journal.faults)
            signal.setitimer(signal.ITIMER_VIRTUAL, 0.004 + 0.00037 * trial)
            with pytest.raises(Late):
                _forever(model.step)
            torch.set_grad_enabled(True)  # one that strikes between torch's own lines leaves them half done
            assert len(struck) == trial + 1
            assert len(made.recorder.journal.faults) == done
        before = made.recorder._next
        for _ in range(5):
            model.step()
    package = str(Path(frames.__file__).parent)
    assert not [file for file in struck if file.startswith(package)]
    assert made.faults == ()
    assert made.recorder._next >= before + 5
    assert made.steps[-1].moments[-1].kind == "optimizer"


def test_interrupts_are_caught_and_the_recording_goes_on(
    alarm: Callable[..., list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signals, "PATIENCE", 30.0)
    model = Model()
    alarm(lambda: signal.default_int_handler(signal.SIGINT, None))
    for trial in range(20):
        made = new_recording("graph")
        done = 0
        with made.recorder:
            try:
                signal.setitimer(signal.ITIMER_VIRTUAL, 0.006 + 0.0007 * trial)
                while True:
                    model.step()
                    done += 1
            except KeyboardInterrupt:
                torch.set_grad_enabled(True)
            for _ in range(3):
                model.step()
        assert len(made.kinds) >= done + 3
        assert made.faults == ()


def test_a_signal_in_our_code_waits_for_the_scripts(alarm: Callable[..., list[str]]) -> None:
    struck = alarm(lambda: None)
    done: list[int] = []
    with Signals():
        work = _ours(
            "def f():\n    raise_signal(number)\n    done.append(len(struck))\n",
            raise_signal=signal.raise_signal, number=signal.SIGVTALRM, done=done, struck=struck,
        )  # fmt: skip
        work()
        assert done == [0]
        end = time.monotonic() + 5
        while not struck and time.monotonic() < end:
            pass
    assert struck == [__file__]


def test_it_strikes_at_last_where_our_code_does_not_end(
    alarm: Callable[..., list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signals, "PATIENCE", 0.05)
    alarm(_raise_late)
    hang = _ours("def f():\n    strike()\n    while monotonic() < end: pass\n", strike=_strike_from_ours(),
                 monotonic=time.monotonic, end=time.monotonic() + 10)  # fmt: skip
    begin = time.monotonic()
    with Signals(), pytest.raises(Late):
        hang()
    assert time.monotonic() - begin < 5


def _strike_from_ours() -> Callable[[], None]:
    return _ours("def f(): raise_signal(number)\n", raise_signal=signal.raise_signal, number=signal.SIGVTALRM)


def test_one_that_still_waits_strikes_at_the_end(alarm: Callable[..., list[str]]) -> None:
    struck = alarm(_raise_late)
    open_ = Signals()
    open_.__enter__()
    close = _ours("def f():\n    strike()\n    close()\n", strike=_strike_from_ours(), close=open_.close)
    with pytest.raises(Late):
        close()
    assert len(struck) == 1
    assert not signals._waiting


def test_the_script_sees_its_own_handlers(alarm: Callable[..., list[str]]) -> None:
    alarm(lambda: None)
    outer, handler = signal.getsignal(signal.SIGVTALRM), lambda *_: None
    with Signals():
        assert signal.getsignal(signal.SIGVTALRM) is outer
        assert signal.signal(signal.SIGVTALRM, handler) is outer
        assert signal.getsignal(signal.SIGVTALRM) is handler
        assert signal.signal(signal.SIGVTALRM, signal.SIG_IGN) is handler
        assert signal.getsignal(signal.SIGVTALRM) is signal.SIG_IGN
        assert signal.signal(signal.SIGVTALRM, outer) is signal.SIG_IGN
        with pytest.raises(TypeError, match="signal handler must be"):
            signal.signal(signal.SIGVTALRM, "no handler")  # type: ignore[arg-type]
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert signal.getsignal(signal.SIGVTALRM) is outer
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_one_that_waits_strikes_before_its_handler_changes(alarm: Callable[..., list[str]]) -> None:
    struck = alarm(lambda: None)
    change = _ours(
        "def f():\n    strike()\n    signal.signal(signal.SIGVTALRM, signal.SIG_IGN)\n",
        strike=_strike_from_ours(), signal=signal,
    )  # fmt: skip
    with Signals():
        change()
        assert len(struck) == 1
        assert signal.getsignal(signal.SIGVTALRM) is signal.SIG_IGN


@pytest.mark.parametrize("file", ["capture/x.py", "model/x.py", "options.py"])
def test_any_room_of_ours_is_at_work(file: str) -> None:
    found: dict[str, Any] = {"look": lambda: at_work(sys._getframe(1))}
    exec(compile("def f(): return look()\n", str(Path(frames.__file__).parents[2] / file), "exec"), found)
    assert found["f"]()


def test_whose_code_is_at_work() -> None:
    assert not at_work(sys._getframe())
    assert not at_work(None)
    through = _ours("def f(): return act()\n", act=lambda: at_work(sys._getframe()))
    assert not through()  # code of the script's that ours has called
    found: list[bool] = []
    lent = _ours("import json\ndef f(): return json.loads('{}', object_hook=see)\n", see=lambda _: found.append(True))
    lent()
    assert found == [True]


def test_a_callback_of_a_weak_reference_is_not_struck() -> None:
    """Python only shows what such a callback raises: a handler's exception would be lost."""
    found: list[bool] = []

    class Watched(set):  # type: ignore[type-arg]
        def discard(self, item: object) -> None:
            found.append(at_work(sys._getframe(1)))  # called by `WeakSet._remove`
            super().discard(item)

    class Dies:
        pass

    dies = Dies()
    kept = weakref.WeakSet([dies])
    kept.data = Watched(kept.data)
    del dies
    assert found == [True]


def test_a_handler_that_was_installed_unseen_is_let_through() -> None:
    """`from signal import signal` before the recording: its handlers are not wrapped."""
    import _signal

    before = _signal.getsignal(signal.SIGVTALRM)

    def handler(*_: Any) -> None:
        raise Late

    bookkeeping = _ours(
        "def f(fault):\n    try: strike()\n    except Exception as error: fault('a fact', error)\n",
        strike=_strike_from_ours(),
    )
    made = new_recording("graph")
    with made.recorder:
        _signal.signal(signal.SIGVTALRM, handler)
        try:
            with pytest.raises(Late):
                bookkeeping(made.recorder.journal.fault)
        finally:
            _signal.signal(signal.SIGVTALRM, before)


@pytest.mark.parametrize(
    ("error", "theirs"), [(Late(), True), (TimeoutError(), True), (ValueError(), False), (RuntimeError(), False)]
)
def test_what_another_thread_sends_is_let_through(error: Exception, theirs: bool) -> None:
    """An exception that was raised in our code, of a kind that it does not raise."""
    fail = _ours("def f(error): raise error\n")
    with pytest.raises(type(error)) as caught:
        fail(error)
    caught.value.with_traceback(caught.value.__traceback__.tb_next)  # type: ignore[union-attr]  # without this frame
    assert is_the_scripts(caught.value) is theirs


def test_a_fault_of_a_script_that_our_code_calls_stays_a_fault() -> None:
    def theirs() -> None:
        raise Late

    call = _ours("def f(): theirs()\n", theirs=theirs)
    with pytest.raises(Late) as caught:
        call()
    assert not is_the_scripts(caught.value)


def test_another_thread_changes_nothing() -> None:
    done: list[object] = []

    def work() -> None:
        with Signals():
            done.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert done == [signal.default_int_handler]


def test_asyncio_keeps_its_own_handler(tmp_path: Path) -> None:
    """Its loop reads signals from a pipe: reminded twice, it would call twice."""
    script = tmp_path / "loop.py"
    script.write_text(
        "import asyncio, os, signal, torch\n"
        "seen = []\n"
        "async def main():\n"
        "    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, seen.append, 1)\n"
        "    for _ in range(50):\n"
        "        (torch.ones(3, requires_grad=True) * 2).sum().backward()\n"
        "        os.kill(os.getpid(), signal.SIGUSR1)\n"
        "        await asyncio.sleep(0)\n"
        "    await asyncio.sleep(0.1)\n"
        "asyncio.run(main())\n"
        "print(len(seen) <= 50, bool(seen))\n"
    )
    command = [sys.executable, "-m", "gradscope", "trace", "-q", str(script)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout, done.stderr) == (0, "True True\n", "")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_has_no_signal_of_its_parents(alarm: Callable[..., list[str]]) -> None:
    alarm(lambda: None)
    with Signals():
        fork = _ours(
            "def f():\n    strike()\n    return os.fork()\n", strike=_strike_from_ours(), os=os,
        )  # fmt: skip
        child = fork()
        if not child:
            os._exit(0 if not signals._waiting and not signals._reminding else 1)
        _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
