"""`Way`: one way to mend a place of the source, in words and as a change; and the fixes that ways become."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from ..model.findings import Place
from ..model.fixes import Fix
from .rewrite import Rewrite
from .source import Sources
from .spot import Spot

Change = Callable[[Spot], "Rewrite | None"]  # None where it cannot be said in code at that spot


class Way(NamedTuple):
    """What to do at `place`, what it means for the training, and the change of the source that does it."""

    words: str
    meaning: str
    place: Place | None
    change: Change


def fixes(sources: Sources, ways: Iterable[Way]) -> Iterator[Fix]:
    """The ways that can be said in code, each with its patch, in their order."""
    seen = set()
    for way in ways:
        source = sources.of(way.place.file) if way.place is not None else None
        if source is None or way.place is None:
            continue
        rewrite = way.change(Spot(source, way.place))
        patch = rewrite.patch() if rewrite is not None else None
        if patch is not None and patch.edits not in seen:
            seen.add(patch.edits)
            yield Fix(way.words, way.meaning, patch)
