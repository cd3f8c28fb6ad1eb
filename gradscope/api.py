"""The verbs of the Python API: draw, inspect, record, step, load.

torch is needed only where a live tensor or a recording is: those imports are deferred into functions, so
looking at a trace stays light.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import weakref
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Union

from .errors import CannotWrite, GradscopeError, MissingEngine, NothingToDraw, UnknownName, UsageError
from .model.graph import Graph, GraphKind
from .model.leaf import TensorRow
from .model.trace import Step, Trace, TraceSource
from .options import CaptureOptions, ViewOptions, option_fields

if TYPE_CHECKING:
    from torch import Tensor

Target = Union["Tensor", Trace, Step, Graph, str, "os.PathLike[str]"]


@dataclass(frozen=True)
class Diagram:
    """A picture of one graph. It shows itself in notebooks, `save` writes it, `str()` draws it as text."""

    graph: Graph
    options: ViewOptions = field(default_factory=ViewOptions)

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the picture; the suffix picks the format (svg png pdf dot json graphml mmd).

        Raises UnknownName for another suffix, MissingEngine where no program can lay it out, CannotWrite.
        """
        from .render.registry import write

        return write(self.graph, Path(path), self.options)

    def svg(self) -> str:
        """The picture as one SVG element that is never wider than the cell or page it lies in.

        Raises MissingEngine where no program can lay it out.
        """
        from .render.registry import render

        return fit_width(render(self.graph, "svg", self.options).decode())

    def text(self) -> str:
        """The graph as lines of text, without colour."""
        from .render.registry import render

        return render(self.graph, "text", self.options).decode()

    def __str__(self) -> str:
        return self.text()

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        bundle = {"text/plain": self.text()}
        try:
            bundle["image/svg+xml"] = self.svg()
        except MissingEngine as missing:
            bundle["text/plain"] += f"\n({missing})"
        return bundle


def fit_width(svg: str) -> str:
    """The SVG element alone, styled to shrink with its container and to keep its proportions."""
    start = svg.index("<svg")
    return svg[start:].replace("<svg", '<svg style="max-width:100%;height:auto"', 1)


class Recording(Trace):
    """A trace in this process: readable while it is recorded and afterwards, and savable.

    It lives in a temporary file that goes when the recording is closed or forgotten.
    """

    def __init__(self, source: TraceSource, path: Path, folder: Path | None = None) -> None:
        super().__init__(source, str(path))
        self._file = path
        self._finalizer = weakref.finalize(self, _discard, source, folder)

    def save(self, path: str | os.PathLike[str], *, force: bool = True) -> Path:
        """Write the trace to `path`. Raises CannotWrite; with `force=False` also when the file is there."""
        raise NotImplementedError

    def summary(self) -> str:
        """What was recorded, in a few lines of text."""
        raise NotImplementedError

    def close(self) -> None:
        self._finalizer()

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        try:
            picture = draw(self)._repr_mimebundle_()
        except NothingToDraw:
            return {"text/plain": self.summary()}
        return {**picture, "text/plain": f"{self.summary()}\n\n{picture['text/plain']}"}


def _discard(source: TraceSource, folder: Path | None) -> None:
    source.close()
    if folder is not None:
        shutil.rmtree(folder, ignore_errors=True)


def draw(
    target: Target,
    *,
    kind: str = "both",
    step: int | None = None,
    depth: int | None = None,
    expand: tuple[str, ...] = (),
    focus: str | None = None,
    theme: str = "light",
    engine: str | None = None,
    names: Mapping[str, Tensor] | None = None,
) -> Diagram:
    """The autograd graph of `target`: a tensor, a trace, a step, a graph, or the path of a trace file.

    `kind` is forward, backward or both. `step` picks a step of a trace (default: the last with a backward).
    `names` names live tensors, such as `dict(model.named_parameters())`; the caller's variables are named
    by themselves. `depth`, `expand` and `focus` fold modules and narrow the picture.

    Raises NothingToDraw for a tensor or trace without a graph, UnknownName for a wrong kind, theme or focus,
    NoSuchStep, and TraceFileError for a file that cannot be read.
    """
    if kind not in {item.value for item in GraphKind}:
        raise UnknownName("kind of graph", kind, (item.value for item in GraphKind))
    options = ViewOptions(step=step, kind=kind, depth=depth, expand=expand, focus=focus, theme=theme, engine=engine)
    return Diagram(_graph_of(target, options, names), options)


def _graph_of(target: Target, options: ViewOptions, names: Mapping[str, Tensor] | None) -> Graph:
    if isinstance(target, Graph):
        return target
    if isinstance(target, Step):
        return target.graph(options.kind)
    if isinstance(target, Trace):
        return _step_of(target, options.step).graph(options.kind)
    if isinstance(target, (str, os.PathLike)):
        with load(target) as trace:
            return _step_of(trace, options.step).graph(options.kind)
    from .capture.live import graph_of

    return graph_of(target, options.kind, names)


def _step_of(trace: Trace, number: int | None) -> Step:
    if number is not None:
        return trace.step(number)
    step = trace.last_backward() or (trace.step(trace.steps[-1]) if trace.steps else trace.setup)
    if step is None or not step.moments:
        raise NothingToDraw(
            "nothing was recorded that a graph could show: no op of torch ran, or --detail steps was asked for"
        )
    return step


def inspect(tensor: Tensor) -> TensorRow:
    """One row of the leaf table: what autograd knows about `tensor`, and which of the four cases it is.

    Raises UsageError for anything but a tensor.
    """
    from .capture.live import tensor_facts

    return tensor_facts(tensor)


@contextmanager
def record(**options: Any) -> Iterator[Recording]:
    """Record what autograd does inside the block: `with gradscope.record() as trace: ...`.

    Options are the fields of `CaptureOptions` (`detail="full"`, `every=10`, ...). The trace can be read during
    the block and after it, also when the block ends with an exception.

    Raises UnknownName for an option that is not there, AlreadyRecording inside another recording.
    """
    raise NotImplementedError
    yield


def step() -> None:
    """Mark the end of a step by hand, for loops that nothing else marks. Does nothing where nothing records."""
    recorder = sys.modules.get("gradscope.capture.recorder")
    if recorder is not None:
        recorder.mark_step()


def load(path: str | os.PathLike[str]) -> Trace:
    """Open a trace file. Nothing in it is executed, and torch is not imported.

    Raises NotATrace, NewerTrace, DamagedTrace or another TraceFileError, each with one clear line.
    """
    raise NotImplementedError
