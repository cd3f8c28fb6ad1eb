"""`Pin`: what every step is compared with, and how it is brought beside the one at hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import PurePath

from ..errors import NoSuchStep
from ..model.graph import Graph, GraphKind
from ..store import open_trace
from ..text import printable
from .pairing import Pairing
from .scene import Against, Scene
from .session import Kept, Loaded, Session
from .words import step_word

_PAIRINGS = 8  # how many are kept
_Key = tuple[int, int, int, GraphKind]


class Pin:
    """One step of a trace (`number`), or where that is None the step of the same number.

    `load` reads and may take long; `ready` and `against` never wait.
    """

    def __init__(self, session: Session, number: int | None, name: str = "") -> None:
        self.session = session
        self.number = number
        self.name = name
        self._held: tuple[Loaded, Graph] | None = None  # the step that was brought beside last
        self._pairings: Kept[_Key, Pairing] = Kept(_PAIRINGS)
        self._missing: set[int] = set()

    @classmethod
    def of_file(cls, path: str) -> Pin:
        """The same step of the trace at `path`. Raises GradscopeError."""
        return cls(Session(open_trace(path)), None, printable(PurePath(path).name))

    def close(self) -> None:
        """Close the other trace."""
        if self.number is None:
            self.session.trace.close()

    def title(self, number: int) -> str:
        """What a step is compared with."""
        step = step_word(self._other(number))
        return f"{step} of {self.name}" if self.name else step

    def ready(self, loaded: Loaded, kind: GraphKind) -> bool:
        """Whether `load` has nothing left to do."""
        return loaded.step.number in self._missing or self._found(loaded, kind) is not None

    def load(self, session: Session, loaded: Loaded, graph: Graph) -> None:
        """Read the step that `loaded`, of `session`, is compared with. Raises TraceFileError."""
        if self.ready(loaded, graph.kind):
            return
        try:
            other = self.session.load(self._other(loaded.step.number))
        except NoSuchStep:
            self._missing.add(loaded.step.number)
            return
        held = other, self.session.build(other, graph.kind)
        own = session is self.session
        same = own and (other.template, len(other)) == (loaded.template, len(loaded))
        pairing = Pairing(loaded.step, other.step, (graph, held[1]), own=own, same=same)
        self._pairings.put(_key(loaded, other, graph.kind), pairing)
        self._held = held

    def against(self, loaded: Loaded, scene: Scene) -> Against | None:
        """The other side of `scene`; None until it is read."""
        title = self.title(loaded.step.number)
        found = self._found(loaded, scene.kind)
        if found is None:
            missing = loaded.step.number in self._missing
            return Against(title, None, None, exact=False) if missing else None
        (other, graph), pairing = found
        moment, exact = pairing.moment(scene.moment)
        beside = replace(
            scene,
            trace=other.step.trace,
            step=other.step,
            moment=moment,
            state=other.history.at(moment),
            graph=graph,
            selected=None,
            findings=(),
            samples=other.samples,
            touches=other.touches,
            beside=other.beside,
            against=None,
        )
        return Against(title, beside, pairing, exact=exact)

    def _other(self, number: int) -> int:
        return number if self.number is None else self.number

    def _found(self, loaded: Loaded, kind: GraphKind) -> tuple[tuple[Loaded, Graph], Pairing] | None:
        held = self._held
        if held is None or held[0].step.number != self._other(loaded.step.number) or held[1].kind is not kind:
            return None
        if held[0].step.row.open and held[0] is not self.session.step(held[0].step.number):
            return None  # it has grown
        pairing = self._pairings.get(_key(loaded, held[0], kind))
        return (held, pairing) if pairing is not None else None


def _key(loaded: Loaded, other: Loaded, kind: GraphKind) -> _Key:
    return loaded.template, len(loaded), other.template, kind
