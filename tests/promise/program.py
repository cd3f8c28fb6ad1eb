"""`Program`: what is run plain and traced, and how."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .running import Outcome

Act = Callable[["Running"], None]


@dataclass(frozen=True)
class Running:
    """A program that runs: its process and where its output goes. What an `Act` is given."""

    process: subprocess.Popen[bytes]
    folder: Path
    stdout: Path
    trace: Path | None  # None: it runs plain

    def wait_for(self, text: str, seconds: float = 60.0, *, of_child: bool = False) -> None:
        """Until it has said so, or has ended; `of_child`: until one that outlives it has said so."""
        end = time.monotonic() + seconds
        while text not in self.stdout.read_text(errors="replace"):
            if (self.process.poll() is not None and not of_child) or time.monotonic() > end:
                return
            time.sleep(0.01)


@dataclass(frozen=True)
class Program:
    """One program of a kind. `files` are laid into the folder in which it runs: a text, bytes, or a file to copy."""

    kind: str
    name: str
    files: Mapping[str, str | bytes | Path]
    target: tuple[str, ...]  # what follows `python`: a script or -m MODULE, and arguments
    python: tuple[str, ...] = ()  # options of `python` itself
    trace: tuple[str, ...] = ()  # options of `gradscope trace`
    gradscope: tuple[str, ...] = ()  # what stands in for the interpreter's own `gradscope`
    environment: Mapping[str, str] = field(default_factory=dict)
    stdin: bytes | None = b""  # None: closed
    interpreter: str = sys.executable
    wrapper: tuple[str, ...] = ()  # a command that starts `python`, plain and traced: a shell, a launcher, a terminal
    prepare: Callable[[], None] | None = None  # in the child, before it becomes `python`: limits, closed descriptors
    before: Callable[[Path, Path], None] | None = None  # with the program's folder and the trace's, before the run
    after: Callable[[Path, Path], None] | None = None  # the same, when it has run and the trace was looked at
    act: Act | None = None  # meanwhile
    aside: frozenset[str] = frozenset()  # facts that two plain runs need not share; the names are in `comparing`
    complains: bool = False  # gradscope may say, in lines that begin with its name, what the trace lacks
    trace_kept: bool = True  # a trace is there afterwards; False: it need not be, but what is there can be read
    readable: bool = True  # False: others than gradscope have written into the trace
    hows: tuple[str, ...] = ("quiet", "loud")  # the ways to trace that make sense for it
    judge: Callable[[Outcome, Outcome], list[str]] | None = None  # instead of comparing all facts
    limit: float = 120.0  # seconds

    @property
    def id(self) -> str:
        return f"{self.kind}/{self.name}"
