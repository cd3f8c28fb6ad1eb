"""What may happen to a program: signals, ends of all kinds, forks, threads; and what `resources` has."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from typing import Any

from . import resources
from .comparing import ALIVE, CHILDREN, COUNTERS, MAIN, STRUCK
from .program import Act, Program, Running
from .running import Outcome
from .snippets import snippets

KIND = "faults"
ANY_MOMENT = frozenset({STRUCK, MAIN, ALIVE, COUNTERS})  # it may be struck in any step, in any line
NOT_ALONE = frozenset({ALIVE, COUNTERS})  # other threads go on meanwhile


def programs() -> Iterator[Program]:
    for found in (_killed, _signals, _handlers, _finishing, resources.programs, _ends, _forks, _threads):
        yield from found()


def _one(name: str, source: str, **more: Any) -> Program:
    return Program(KIND, name, {"train.py": source}, ("train.py",), **more)


def _sends(*moments: tuple[str, int], pause: float = 0.2) -> Act:
    """Each signal when the program has said its word, and a moment later."""

    def act(running: Running) -> None:
        for word, number in moments:
            running.wait_for(word)
            time.sleep(pause)
            running.process.send_signal(number)

    return act


def _killed() -> Iterator[Program]:
    training = snippets("signals")["training"]
    for name in ("SIGKILL", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGABRT", "SIGALRM", "SIGINT"):
        act = _sends(("ready", getattr(signal, name)), pause=0.7)
        yield _one(f"{name} while it trains", training, act=act, aside=ANY_MOMENT)


def _signals() -> Iterator[Program]:
    once = _sends(("ready", signal.SIGINT))
    twice = _sends(("ready", signal.SIGINT), ("again", signal.SIGINT))
    other = {
        "SIGKILL in a long step": _sends(("ready", signal.SIGKILL), pause=1.0),
        "SIGINT twice, the second not caught": twice,
        "SIGINT twice at once": twice,
        "stopped and continued": _sends(("ready", signal.SIGSTOP), ("ready", signal.SIGCONT)),
    }
    for name, source in snippets("signals").items():
        if name != "training":
            yield _one(name, source, act=other.get(name, once), aside=ANY_MOMENT)


def _handlers() -> Iterator[Program]:
    """Handlers of the program's own: each signal reaches it once, wherever it strikes."""
    acts = {
        "a handler of SIGTERM exits": _sends(("ready", signal.SIGTERM)),
        "a handler that notes it": _sends(("ready", signal.SIGUSR1)),
    }
    for name, source in snippets("handlers").items():
        yield _one(name, source, act=acts.get(name), aside=ANY_MOMENT)


def _finishing() -> Iterator[Program]:
    """Signals that come when the program has said its last word: it has ended well, whatever happens to the trace."""
    source = snippets("finishing")["finishing"]
    for name in ("SIGINT", "SIGTERM", "SIGKILL"):
        number = getattr(signal, name)
        for pause in (0.0, 0.02, 0.1):
            act = _sends(("ready", number), pause=pause)
            told = f"{name} at its end, after {pause} s"
            yield _one(told, source, act=act, judge=_ended_by(number), trace_kept=False)
    act = _sends(*[("ready", signal.SIGINT)] * 3, pause=0.03)
    yield _one("SIGINT three times at its end", source, act=act, judge=_ended_by(signal.SIGINT), trace_kept=False)


def _ended_by(number: int) -> Callable[[Outcome, Outcome], list[str]]:
    """It has its own status or the signal's, and all of its own output; nothing of ours is in a traceback."""

    def judge(plain: Outcome, traced: Outcome) -> list[str]:
        found = [] if traced.status in (0, -number, 128 + number) else [f"exit status {traced.status}"]
        if traced.stdout != plain.stdout:
            found.append(f"stdout {plain.stdout!r} became {traced.stdout!r}")
        if "gradscope/" in traced.stderr or "internal error" in traced.stderr:
            found.append(f"our own frames on stderr: {traced.stderr[-500:]!r}")
        return found

    return judge


def _ends() -> Iterator[Program]:
    for name, source in snippets("ends").items():
        yield _one(name, source, trace_kept=name != "os.execv")


def _forks() -> Iterator[Program]:
    other: dict[str, dict[str, Any]] = {
        "a parent that ends before its child": {"aside": frozenset({CHILDREN})},
        "it becomes a daemon": {
            "act": lambda running: running.wait_for("daemon", of_child=True),
            "aside": frozenset({CHILDREN}),
            "trace_kept": False,
        },
        "processes that exit by a number": {"aside": frozenset({CHILDREN})},
        **{f"a pool by {how}": {"aside": frozenset({CHILDREN, MAIN})} for how in ("fork", "spawn", "forkserver")},
    }
    for name, source in snippets("forks").items():
        yield _one(name, source, **other.get(name, {}))


def _threads() -> Iterator[Program]:
    aside = {
        "threads train": frozenset({COUNTERS}),
        "a thread that outlives the program": NOT_ALONE,
        "a daemon that trains to the end": NOT_ALONE,
        "KeyboardInterrupt from a thread": ANY_MOMENT,
    }
    for name, source in snippets("threads").items():
        yield _one(name, source, aside=aside.get(name, frozenset()))
