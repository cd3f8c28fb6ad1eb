"""The kinds of programs, and where each finds its own."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from . import environment, faults, settings
from .comparing import ALIVE, COUNTERS, MAIN
from .program import Program

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
CASES = ROOT.parent / "shared" / "cases"


def _script(kind: str, path: Path, beside: str = "", name: str | None = None) -> Program:
    """One script in a folder of its own, with the helpers it imports."""
    files = {helper.name: helper for helper in [path, *(path.parent.glob(beside) if beside else ())]}
    return Program(kind, name or path.stem, files, (path.name,))


def demos() -> Iterator[Program]:
    """The lessons of this repository."""
    for path in sorted((ROOT / "demos").glob("*.py")):
        yield _script("demos", path)


UNFILLED = {"public/e66_out_argument"}  # they keep a tensor that nobody has written to


def zoo() -> Iterator[Program]:
    """Real bugs, and the same scripts repaired."""
    for folder in ("open", "fixed", "public", "public_fixed"):
        for path in sorted((ROOT / "tests" / "zoo" / folder).glob("[!_]*.py")):
            program = _script("zoo", path, "_lib*.py", f"{folder}/{path.stem}")
            yield replace(program, aside=frozenset({MAIN})) if program.name in UNFILLED else program


# What a case is to be given where its own default asks for it, or takes long.
ARGUMENTS = {
    "capture/fault_11_replay_buffer": ["3"],
    "capture/fault_13_long_unroll": ["20"],
    "judgement/repro_gs001_unexplained_autograd_errors": [*map(str, range(1, 10))],
    "pictures/fault_05_thousand_layers": ["100"],
}
OF_GRADSCOPE = {  # they start gradscope themselves, kill it, and print what they measure: their own tests run them
    "promise/fault_kill_long_step",
    "pictures/fault_09_notebook_explain",
    "tui/follow_yank",
}
_USES_GRADSCOPE = re.compile(r"^\s*(import|from)\b.*\bgradscope\b", re.M)
BY_CLOCK = {"promise/fault_interrupt_stops_recording", "promise/fault_signal_swallowed"}  # they train for some seconds


def cases() -> Iterator[Program]:
    """Small inputs on which gradscope once fell short, one program for each argument that they take."""
    for path in sorted(CASES.rglob("*.py")):
        name = f"{path.parent.name}/{path.stem}"
        if name in OF_GRADSCOPE:
            continue
        for argument in ARGUMENTS.get(name, [None]):
            program = _script("cases", path, name=name)
            if name in BY_CLOCK:
                program = replace(program, aside=frozenset({ALIVE, COUNTERS, MAIN}))
            elif _USES_GRADSCOPE.search(path.read_text()):  # what it records within a recording, it keeps
                program = replace(program, aside=frozenset({MAIN}))
            if argument is not None:
                program = replace(program, name=f"{name} {argument}", target=(path.name, argument))
            yield program


def programs() -> Iterator[Program]:
    """Small programs in the style of published examples."""
    from .programs import SETTINGS

    for path in sorted((HERE / "programs").glob("[!_]*.py")):
        program = _script("programs", path)
        yield SETTINGS[path.stem](program) if path.stem in SETTINGS else program


def frameworks() -> Iterator[Program]:
    """A few steps of each framework, in the environment that `environment` makes."""
    for path in sorted((HERE / "frameworks").glob("[!_]*.py")):
        program = _script("frameworks", path)
        yield replace(program, interpreter=str(environment.PYTHON), environment=environment.OFFLINE, limit=240.0)


KINDS: dict[str, Callable[[], Iterator[Program]]] = {
    "demos": demos,
    "zoo": zoo,
    "cases": cases,
    "programs": programs,
    "frameworks": frameworks,
    "settings": settings.programs,
    "faults": faults.programs,
}
