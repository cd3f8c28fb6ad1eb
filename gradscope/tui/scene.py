"""`Scene`: what all panes show, and `Pane`: what every widget of the instrument can do with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from ..model.findings import Finding
from ..model.graph import Graph, GraphKind
from ..model.samples import SampleIndex
from ..model.state import State
from ..model.trace import Step, Trace
from .figures import Beside
from .pairing import Pairing
from .touches import Touches


@dataclass(frozen=True, slots=True, repr=False)  # a worker's description has its arguments' repr: not a graph's
class Scene:
    """One moment of one step, and what is selected.

    `state` is what held right after `moment`; moment -1 is the step's start. `graph` is the step's whole
    graph of that `kind`, the same object for every step that shares a template: its shape is this step's, its
    values, statistics and versions are those of the step it was first built from, so panes take these from
    `step.samples` (or `samples`, the same by subject) and `state`. `selected` is the id of one of its nodes.
    `step_numbers` are the recorded steps, rising; the setup before the first loop is -1. `touches` knows which
    moments concern a tensor; `beside` is what the steps before and after tell; `against` is what all is compared with.
    """

    trace: Trace
    step: Step
    moment: int
    state: State
    kind: GraphKind
    graph: Graph
    selected: int | None
    findings: tuple[Finding, ...] = ()
    ascii: bool = False
    step_numbers: Sequence[int] = ()
    samples: SampleIndex = field(default_factory=lambda: SampleIndex(()))
    touches: Touches = field(default_factory=Touches)
    beside: Beside | None = None
    against: Against | None = None

    @property
    def other(self) -> Scene | None:
        """The other side of a comparison, if there is one."""
        return self.against.scene if self.against is not None else None


@dataclass(frozen=True, slots=True, repr=False)
class Against:
    """The other side of a comparison: its `scene` is at the moment that is the same as this one.

    Without such a step there is no `scene` and no `pairing`. `exact`: the same happens at both moments; else the
    other scene is at the last one before it that does.
    """

    title: str
    scene: Scene | None
    pairing: Pairing | None
    exact: bool


class Pane(Protocol):
    """A part of the screen. `show` is called on the UI thread with every new scene, and must be quick."""

    def show(self, scene: Scene) -> None: ...
