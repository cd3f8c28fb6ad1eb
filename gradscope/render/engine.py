"""Layout: running `graphviz-pure` (from its wheel) or the system's `dot` on DOT text.

`graphviz-pure` is one program without dependencies; `dot` is used for what it lacks (pdf), for PNG
text in scripts its own fonts lack, and when asked for by name.
"""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from ..errors import LayoutFailed, MissingEngine, UnknownName
from ..programs import find_program

TIMEOUT = 60.0  # seconds
ENGINES = ("graphviz-pure", "dot")
_PURE_FORMATS = frozenset({"svg", "png"})
_WITHOUT = "dot, json, graphml, mermaid and text need none"


@dataclass(frozen=True, slots=True)
class Engine:
    name: str
    path: str

    def version(self) -> str:
        """What the program says it is, in one line; raises LayoutFailed when it does not run."""
        done = _start([self.path, "-V"], b"", self)
        return (done.stderr or done.stdout).decode("utf-8", "replace").strip()

    def run(self, source: str, format: str, *, dpi: int | None = None, timeout: float = TIMEOUT) -> bytes:
        """`source` (DOT) laid out and written as `format`. Raises LayoutFailed."""
        command = [self.path, "-Kdot", f"-T{format}"]
        if dpi is not None:
            command.append(f"-Gdpi={dpi}")
        done = _start(command, source.encode("utf-8", "replace"), self, timeout)
        if done.returncode or not done.stdout:
            said = done.stderr.decode("utf-8", "replace").strip().splitlines() or ["no message"]
            raise LayoutFailed(f"{self.name} could not draw this graph (exit {done.returncode}): {said[-1][:300]}")
        return done.stdout


def _start(
    command: list[str], data: bytes, engine: Engine, timeout: float = TIMEOUT
) -> subprocess.CompletedProcess[bytes]:
    try:
        return subprocess.run(command, input=data, capture_output=True, timeout=timeout, check=False)
    except subprocess.TimeoutExpired:
        raise LayoutFailed(
            f"{engine.name} took more than {timeout:g} s to lay this graph out; draw less of it with depth or focus"
        ) from None
    except OSError as error:
        raise LayoutFailed(f"{engine.name} does not start ({engine.path}): {error.strerror or error}") from None


def available() -> tuple[Engine, ...]:
    """The engines on this machine, preferred first."""
    found = ((name, find(name)) for name in ENGINES)
    return tuple(Engine(name, path) for name, path in found if path is not None)


def find(name: str) -> str | None:
    """Where the engine `name` is: what its wheel installed, beside this Python, or on the PATH."""
    if name == "graphviz-pure":
        for place in (
            *_from_wheel(name),
            Path(sys.executable).parent / name,
            Path(sys.executable).parent / f"{name}.exe",
        ):
            if place.is_file():
                return str(place)
    return find_program(name)


def _from_wheel(name: str) -> list[Path]:
    from importlib import metadata  # 30 ms, and data formats need no engine

    try:
        files = metadata.files(name) or []
    except metadata.PackageNotFoundError:
        return []
    return [
        Path(str(file.locate())).resolve()
        for file in files
        if file.stem == name and file.parent.name in ("bin", "Scripts")
    ]


def choose(format: str, wanted: str | None = None, *, prefer: str | None = None) -> Engine:
    """The engine to draw `format` with: `wanted` if given, else `prefer`, else the first that can.

    Raises UnknownName for an engine that does not exist and MissingEngine when none can draw the format.
    """
    if wanted is not None and wanted not in ENGINES:
        raise UnknownName("layout engine", wanted, ENGINES)
    engines = {engine.name: engine for engine in available() if _can(engine.name, format)}
    if wanted is not None:
        if wanted in engines:
            return engines[wanted]
        if not _can(wanted, format):
            raise MissingEngine(f"{wanted} cannot write {format}; leave the engine out or use dot")
        raise MissingEngine(f"{wanted} is not installed: {_install(wanted)}; {_WITHOUT}")
    if prefer in engines:
        return engines[prefer]
    if engines:
        return next(iter(engines.values()))
    wheel = "" if not _can("graphviz-pure", format) else f"{_install('graphviz-pure')}, or "
    raise MissingEngine(f"no program to lay out {format} with: {wheel}{_install('dot')}; {_WITHOUT}")


def _can(engine: str, format: str) -> bool:
    return engine == "dot" or format in _PURE_FORMATS


def _install(engine: str) -> str:
    return (
        "pip install graphviz-pure" if engine == "graphviz-pure" else "install Graphviz (https://graphviz.org/download)"
    )
