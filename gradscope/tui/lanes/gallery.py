"""`Gallery`: the pictures that were made of graphs, and what each step's samples mark in them. Safe between threads.

`make` may take long and belongs in a worker; everything else only looks at what is there.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import Generic, TypeVar

from ...model.graph import Graph
from ...model.moments import Template
from ...model.samples import SampleIndex
from ..scene import Scene
from .picture import Picture, Shape
from .reach import Bad, Reach, bad_nodes, bad_rows
from .rows import Beside, Reader

_PICTURES, _STEPS, _REACHES = 8, 16, 4  # how many are kept
V = TypeVar("V")


class Gallery:
    """Pictures by graph and shape; the nodes with NaN or Inf by step."""

    def __init__(self) -> None:
        self._pictures: _Kept[Picture] = _Kept(_PICTURES)
        self._bad: _Kept[Bad] = _Kept(_STEPS)
        self._reaches: _Kept[Reach] = _Kept(_REACHES)
        self._marks: tuple[tuple[object, ...], Bad, Mapping[int, tuple[str, ...]]] | None = None  # the last reader's

    def picture(self, graph: Graph, shape: Shape) -> Picture | None:
        """The picture of `graph` in `shape`, if it was made."""
        return self._pictures.get(graph, shape)

    def complete(self, scene: Scene, shape: Shape) -> bool:
        """Whether `make` has nothing left to do."""
        other = scene.against.scene if scene.against is not None else None
        beside = other is None or self._known(other.step.template) is not None
        return (
            beside and self.picture(scene.graph, shape) is not None and self._bad.get(scene.samples, None) is not None
        )

    def make(self, scene: Scene, shape: Shape) -> Picture:
        """Make what is missing. Linear in the graph and the step's samples."""
        template = scene.step.template
        picture = self.picture(scene.graph, shape)
        if picture is None:
            picture = Picture(scene.graph, shape, self._reach(template))
            self._pictures.put(scene.graph, shape, picture)
        if self._bad.get(scene.samples, None) is None:
            self._bad.put(scene.samples, None, bad_nodes(template, picture.reach, scene.step.samples))
        if scene.other is not None:
            self._reach(scene.other.step.template)
        return picture

    def _known(self, template: Template) -> Reach | None:
        return self._reaches.get(template, None)

    def _reach(self, template: Template) -> Reach:
        found = self._known(template)
        if found is None:
            found = Reach(template)
            self._reaches.put(template, None, found)
        return found

    def reader(self, picture: Picture, scene: Scene) -> Reader:
        """Words the rows of `picture`, with the marks of the step's samples where these were read."""
        bad = self._bad.get(scene.samples, None)
        wanted = (picture, bad, scene.findings, scene.step.number)
        if self._marks is None or any(one is not other for one, other in zip(self._marks[0], wanted)):
            self._marks = (wanted, bad_rows(bad, picture.row_of) if bad else {}, _findings(picture, scene))
        return Reader(picture, scene, *self._marks[1:], beside=self._beside(scene))

    def _beside(self, scene: Scene) -> Beside | None:
        """The rows' other side, as far as it was made."""
        against = scene.against
        if against is None or against.scene is None or against.pairing is None:
            return None
        reach = self._known(against.scene.step.template)
        return Beside(against.scene, reach, against.pairing) if reach is not None else None


def _findings(picture: Picture, scene: Scene) -> Mapping[int, tuple[str, ...]]:
    """The codes of the findings of this step, by row."""
    rows: dict[int, tuple[str, ...]] = {}
    elsewhere = picture.graph.elsewhere
    for finding in scene.findings:
        if finding.step in (None, scene.step.number):
            homes = (node if node in picture.row_of else elsewhere.get(node, node) for node in finding.nodes)
            for row in dict.fromkeys(picture.row_of.get(node) for node in homes):
                if row is not None and finding.code not in rows.get(row, ()):
                    rows[row] = (*rows.get(row, ()), finding.code)
    return rows


class _Kept(Generic[V]):
    """The last few values of an object (known by identity, and kept) and a key."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._values: OrderedDict[tuple[int, object], tuple[object, V]] = OrderedDict()

    def get(self, owner: Graph | SampleIndex | Template, key: object) -> V | None:
        found = self._values.get((id(owner), key))
        return found[1] if found is not None else None

    def put(self, owner: Graph | SampleIndex | Template, key: object, value: V) -> None:
        self._values[id(owner), key] = (owner, value)
        while len(self._values) > self._size:
            self._values.popitem(last=False)

    def values(self) -> list[V]:
        return [value for _, value in list(self._values.values())]
