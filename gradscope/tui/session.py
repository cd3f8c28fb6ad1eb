"""`Session`: an open trace and what was read of it. Worker threads read; the UI thread takes what is there."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

from ..model.graph import Graph, GraphKind
from ..model.history import History
from ..model.samples import SampleIndex
from ..model.trace import Step, Trace
from .cursor import Landmarks, landmarks
from .figures import Beside
from .memory import kept
from .touches import Touches

V = TypeVar("V")
_STEPS, _GRAPHS = 8, 6  # how many are kept


@dataclass(frozen=True, slots=True)
class Loaded:
    """One step, read: nothing asked of it reads the file again. `beside`: what the steps before and after tell."""

    step: Step
    history: History
    samples: SampleIndex
    landmarks: Landmarks
    touches: Touches
    beside: Beside

    @property
    def template(self) -> int:
        return self.step.row.template

    def __len__(self) -> int:
        return len(self.history)


class Session:
    """Steps and graphs of a trace. `load` and `build` read and may take long; `step` and `graph` never wait."""

    def __init__(self, trace: Trace) -> None:
        self.trace = trace
        self._steps: Kept[int, Loaded] = Kept(_STEPS)
        self._graphs: Kept[tuple[int, int, GraphKind], Graph] = Kept(_GRAPHS)
        self._reading = threading.Lock()

    def step(self, number: int) -> Loaded | None:
        """Step `number` if it was read."""
        return self._steps.get(number)

    def graph(self, loaded: Loaded, kind: GraphKind) -> Graph | None:
        """The graph of a step, or of a step that did the same, if it was built."""
        return self._graphs.get(_key(loaded, kind))

    def load(self, number: int) -> Loaded:
        """Read step `number`. Raises NoSuchStep and TraceFileError."""
        with self._reading:
            found = self._steps.get(number)
            if found is None:
                with kept():
                    found = self._load(number)
                self._steps.put(number, found)
            return found

    def build(self, loaded: Loaded, kind: GraphKind) -> Graph:
        """Build the graph of a step. Raises TraceFileError."""
        with self._reading:
            found = self._graphs.get(_key(loaded, kind))
            if found is None:
                with kept():
                    found = loaded.step.graph(kind)
                self._graphs.put(_key(loaded, kind), found)
            return found

    def renew(self, trace: Trace) -> None:
        """Go on with a newer reading of the same file; steps that were still open are read again."""
        with self._reading:
            renamed = not trace.names.keeps(self.trace.names)
            self.trace = trace
            self._steps.drop(lambda loaded: renamed or loaded.step.row.open)
            if renamed:
                self._graphs.drop(lambda _: True)

    def _load(self, number: int) -> Loaded:
        read_tables(self.trace)
        step = self.trace.step(number)
        history = History(step)
        beside = Beside.of(self.trace, number)
        return Loaded(step, history, SampleIndex(step.samples), landmarks(step), Touches(step.template), beside)


def _key(loaded: Loaded, kind: GraphKind) -> tuple[int, int, GraphKind]:
    """Steps with equal keys have equal graphs; a step that still runs may grow."""
    return (loaded.template, len(loaded), kind)


def read_tables(trace: Trace) -> None:
    """Read what all panes look things up in, so that no look-up reads the file."""
    source = trace.source
    for table in (source.info, source.sites, source.stacks, source.modules, source.parameters, source.optimizers):
        table()
    _ = trace.names


K = TypeVar("K", bound=Hashable)


class Kept(Generic[K, V]):
    """The last few values by key, safe to use from several threads."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._values: OrderedDict[K, V] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: K) -> V | None:
        with self._lock:
            if key in self._values:
                self._values.move_to_end(key)
            return self._values.get(key)

    def put(self, key: K, value: V) -> None:
        with self._lock:
            self._values[key] = value
            if len(self._values) > self._size:
                self._values.popitem(last=False)

    def drop(self, unwanted: object) -> None:
        assert callable(unwanted)
        with self._lock:
            for key in [key for key, value in self._values.items() if unwanted(value)]:
                del self._values[key]
