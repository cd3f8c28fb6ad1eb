"""The verbs of the Python API: draw, inspect, record, step, load.

torch is needed only where a live tensor or a recording is: those imports are deferred into functions, so
looking at a trace stays light.
"""

from __future__ import annotations

import math
import os
import shutil
import sys
import tempfile
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any, Union

from .errors import FindingsError, NothingToDraw, UnknownName, UsageError
from .model.findings import Finding, Severity
from .model.graph import Graph, GraphKind
from .model.leaf import TensorRow
from .model.moments import GradChange
from .model.records import Detail, Parameter
from .model.source import TraceSource
from .model.taking_part import in_use
from .model.trace import Step, Trace
from .model.why import Explanation
from .options import CaptureOptions, ViewOptions, option_fields

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module

    from .render.diagram import Diagram
    from .store import TraceWriter

Target = Union[
    "Tensor", "Module", Sequence["Tensor"], Mapping[str, "Tensor"], Trace, Step, Graph, str, "os.PathLike[str]"
]


class TraceFile(Trace):
    """A trace in a file: it sums itself up, shows itself in notebooks and saves copies of itself."""

    def save(self, path: str | os.PathLike[str], *, overwrite: bool = True) -> Path:
        """Write the trace to `path`. Raises CannotWrite, without `overwrite` also when a file is there."""
        from .store import SqliteSource

        source = self.source
        if not isinstance(source, SqliteSource):
            raise UsageError("only a trace that lies in a file can be saved")
        source.save_copy(path, overwrite=overwrite)
        return Path(path)

    def findings(self, *, select: Sequence[str] = (), ignore: Sequence[str] = ()) -> list[Finding]:
        """What is wrong, the most likely culprit first. Raises UnknownName for a code that no finding has."""
        from .diagnose import all_checks, judge

        return judge(self, select=select, ignore=ignore, checks=all_checks())

    def summary(self) -> str:
        """What was recorded, in a few lines of text."""
        from .render.summary import summary

        return summary(self)

    def __str__(self) -> str:
        return self.summary()

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        """For notebooks: the picture of the last backward and, as text, the summary with it."""
        try:
            picture = draw(self)._repr_mimebundle_()
        except NothingToDraw:
            return {"text/plain": self.summary()}
        return {**picture, "text/plain": f"{self.summary()}\n\n{picture['text/plain']}"}


class Recording(TraceFile):
    """The trace that `record()` yields: readable while it is recorded and afterwards.

    It lies in a temporary file that goes when the recording is closed or forgotten; `save` keeps a copy.
    """

    def __init__(self, writer: TraceWriter, folder: str) -> None:
        self._lent = _Lent(writer.path, folder)
        self._writer: TraceWriter | None = writer
        self.path = str(writer.path)
        self._finalizer = weakref.finalize(self, self._lent.discard)

    @property
    def source(self) -> TraceSource:
        """Where the records come from; what was recorded up to now is in it."""
        if not self._finalizer.alive:
            raise UsageError("this recording was closed, and its file is gone: save it before closing it")
        source = self._lent.open()
        if self._writer is not None:
            self._writer.flush()
            source.refresh()
        return source

    @source.setter
    def source(self, _: TraceSource) -> None:
        raise AttributeError("a recording's source is its own file")

    def finish(self) -> None:
        """Nothing more will be recorded."""
        if self._writer is not None:
            self._writer = None
            self._lent.refresh()

    def close(self) -> None:
        self._finalizer()


class _Lent:
    """The temporary file of a recording and the source that reads it, opened when it is first read."""

    def __init__(self, path: Path, folder: str) -> None:
        self._path, self._folder = path, folder
        self._source: TraceSource | None = None

    def open(self) -> TraceSource:
        if self._source is None:
            from .store import open_trace

            self._source = open_trace(self._path).source
        return self._source

    def refresh(self) -> None:
        if self._source is not None:
            self._source.refresh()

    def discard(self) -> None:
        if self._source is not None:
            self._source.close()
        shutil.rmtree(self._folder, ignore_errors=True)


def draw(
    target: Target,
    *inputs: Any,
    kind: str = "both",
    step: int | None = None,
    depth: int | None = None,
    expand: tuple[str, ...] = (),
    focus: str | None = None,
    theme: str = "auto",
    legend: bool = True,
    engine: str | None = None,
    names: Mapping[str, Tensor] | None = None,
) -> Diagram:
    """The autograd graph of `target`: a tensor, a trace, a step, a graph, or the path of a trace file.

    Several tensors in a list, tuple or dict have one picture. `draw(model, x)` runs a model on its `inputs` and draws
    what it returns.
    `kind` is forward, backward or both. `step` picks a step of a trace (default: the last with a backward).
    `depth`, `expand` and `focus` fold modules and narrow the picture, `legend=False` leaves its legend out. A live
    tensor's graph names the tensors that the caller's variables and modules hold; `names` adds to them.

    Raises NothingToDraw for what has no graph, UnknownName for a wrong kind, NoSuchStep, UsageError for a
    target of another type, and TraceFileError for a file that cannot be read.
    """
    from .render.diagram import Diagram

    if kind not in {item.value for item in GraphKind}:
        raise UnknownName("kind of graph", kind, (item.value for item in GraphKind))
    options = ViewOptions(step, kind, depth, expand, focus, theme, engine, legend)
    graph, found = _graph_of(target, options, names, inputs)
    return Diagram(graph, options, findings=found)


def _graph_of(
    target: Target, options: ViewOptions, names: Mapping[str, Tensor] | None, inputs: Sequence[Any] = ()
) -> tuple[Graph, Sequence[Finding]]:
    """The graph, and the findings to mark in it: those of its trace, if it has one."""
    if isinstance(target, Graph):
        return target, ()
    if isinstance(target, Step):
        return _graph_of_step(target, options.kind), _findings_in(target)
    if isinstance(target, Trace):
        step = _step_of(target, options.step)
        return _graph_of_step(step, options.kind), _findings_in(step)
    if isinstance(target, (str, os.PathLike)):
        with load(target) as trace:
            return _graph_of(trace, options, names)
    from .capture.live_tensors import graph_of

    return graph_of(target, options.kind, names, inputs), ()


def _findings_in(step: Step) -> list[Finding]:
    """What was found in this very step, errors and warnings."""
    from .diagnose import judge

    return [one for one in judge(step.trace) if one.step == step.number and one.severity is not Severity.NOTE]


def _step_of(trace: Trace, number: int | None) -> Step:
    """Step `number`, or the last with a backward, or the last of all."""
    if number is not None:
        return trace.step(number)
    step = trace.last_backward() or (trace.step(trace.steps[-1]) if trace.steps else trace.setup)
    if step is None:
        raise NothingToDraw("nothing of torch ran while this was recorded, so there is no graph")
    return step


def _graph_of_step(step: Step, kind: str) -> Graph:
    graph = step.graph(kind)
    if step.detail is Detail.STEPS or not graph.nodes:
        where = "before the first step" if step.number < 0 else f"in step {step.number}"
        why = "no op or backward ran" if step.unwatched is None else str(step.unwatched)
        why = why if step.broken is None else f"what it did is damaged ({step.broken})"
        raise NothingToDraw(f"there is no {kind} graph {where}: {why}")
    return graph


def inspect(tensor: Tensor) -> TensorRow:
    """One row of the leaf table: what autograd knows about `tensor`, and which of the four cases it is.

    Raises UsageError for anything but a tensor.
    """
    from .capture.live_tensors import tensor_facts

    return tensor_facts(tensor)


def explain(tensor: Tensor) -> Explanation:
    """Why `tensor.grad` is None, why it is no leaf, or what its gradient passes through: a walk to the cause.

    Inside a recording (`record()`, `gradscope trace`) the walk goes through the recorded ops and has their
    lines; outside, only what the tensor itself still knows. Raises UsageError for anything but a tensor.
    """
    from .capture.live_tensors import explanation_of, tensor_facts
    from .capture.recorder import active_recorders

    tensor_facts(tensor)
    from .model.why import explain as walk
    from .store import TraceWriter, open_trace

    for recorder in reversed(active_recorders()):
        place = recorder.place_of(tensor)
        if place is not None and isinstance(recorder.sink, TraceWriter):
            recorder.sink.flush()
            with open_trace(recorder.sink.path) as trace:
                return walk(trace.step(place[0]), place[1])
    return explanation_of(tensor)


@contextmanager
def expect_clean(
    *, select: Sequence[str] = (), ignore: Sequence[str] = (), fail_on: str = "warning"
) -> Iterator[Recording]:
    """Record the block, judge it, and raise FindingsError when something is wrong.

    `select` and `ignore` are codes or their beginnings; `fail_on` is the severity from which on it fails:
    error, warning or note. An exception of the block goes on as it is. Raises UnknownName for a severity or
    code that is not there.
    """
    if fail_on not in {severity.value for severity in Severity}:
        raise UnknownName("severity", fail_on, (severity.value for severity in Severity))
    with record(detail="full") as trace:
        yield trace
    found = trace.findings(select=select, ignore=ignore)
    grave = [finding for finding in found if finding.severity.reaches(Severity(fail_on))]
    if grave:
        from .render.findings import Look, report

        raise FindingsError(report("the recorded block", grave, "text", Look()), grave)


def expect_gradients(trace: Trace, *, ignore: Sequence[str] = ()) -> None:
    """Every parameter that requires a gradient got one in `trace`, at least once.

    `ignore` are shell-style patterns of qualified names (`head.*`, and `D.head.*` where several models have a head).
    Raises FindingsError, which names the parameters without one.
    """
    got = {number for row in trace.source.step_rows() for number, _, gradient in row.norms if gradient is not None}
    for number in trace.source.step_numbers():
        step = trace.step(number)
        for moment in step.moments:
            if isinstance(moment, GradChange) and moment.has_grad:
                got.update(p for t in moment.tensors if (p := step.tensors[t].parameter) is not None)
    templates = (trace.step(number).template for number in trace.source.step_numbers())
    known = in_use(trace.parameters(), templates, got)
    wanted = [one for one in known if one.requires_grad and one.role != "buffer"]
    without = [one.name for one in wanted if one.id not in got and not _matches(trace, one, ignore)]
    if not wanted:
        raise FindingsError("no parameter that requires a gradient was used in this recording")
    if without:
        raise FindingsError(f"{len(without)} of {len(wanted)} parameters got no gradient: {', '.join(without)}")


def _matches(trace: Trace, parameter: Parameter, patterns: Sequence[str]) -> bool:
    names = {parameter.name, trace.names.path(parameter.id)}
    return any(fnmatchcase(name, pattern) for name in names for pattern in patterns)


@contextmanager
def record(**options: Any) -> Iterator[Recording]:
    """Record what autograd does inside the block: `with gradscope.record() as trace: ...`.

    Options are the fields of `CaptureOptions` (`detail="full"`, `every=10`, ...). The trace can be read during
    the block and after it, also when the block ends with an exception, which is recorded and goes on.
    Inside another recording, `gradscope trace` too, the block is recorded by both.

    Raises UnknownName for an option or detail level that is not there, UsageError for a value out of range.
    """
    chosen = _capture_options(options)
    from .capture.run.import_hook import import_first

    import_first("torch")
    from .capture.recorder import Recorder
    from .store import TraceWriter

    folder = tempfile.mkdtemp(prefix="gradscope-")
    writer = TraceWriter(Path(folder) / "recording.gradscope")
    trace = Recording(writer, folder)
    recorder = Recorder(writer, chosen)
    try:
        recorder.start()
    except BaseException:
        writer.close()
        trace.close()
        raise
    try:
        yield trace
    except BaseException as error:
        recorder.stop(error)
        raise
    else:
        recorder.stop()
    finally:
        trace.finish()


def _capture_options(options: Mapping[str, Any]) -> CaptureOptions:
    known = option_fields(CaptureOptions)
    for name in options:
        if name not in known:
            raise UnknownName("option of record()", name, known)
    chosen = CaptureOptions(**options)
    levels = [level.value for level in Detail if level is not Detail.MATCHED]
    if chosen.detail not in levels:
        raise UnknownName("detail level", str(chosen.detail), levels)
    share: Any = chosen.budget
    if share == "none":
        chosen = replace(chosen, budget=math.inf)
    elif not isinstance(share, (int, float)) or not share > 0:
        raise UsageError(f'record(budget={share!r}): it must be a share in percent, such as 25, or "none"')
    for name, value in (("every", chosen.every), ("last", chosen.last)):
        if value is not None and value < 1:
            raise UsageError(f"record({name}={value}): it must be 1 or more")
    return chosen


def step() -> None:
    """Mark the end of a step by hand, for loops that nothing else marks. Does nothing where nothing records."""
    capture = sys.modules.get("gradscope.capture.recorder")
    for recorder in capture.active_recorders() if capture is not None else ():
        recorder.mark_step()


def load(path: str | os.PathLike[str]) -> TraceFile:
    """Open a trace file. Nothing in it is executed, and torch is not imported.

    Raises NotATrace, NewerTrace, OlderTrace, DamagedTrace or another TraceFileError, each with one clear line.
    """
    from .store import open_trace

    return TraceFile(open_trace(path).source, str(path))
