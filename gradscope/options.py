"""Options, each declared once. Command-line flags and keywords are made from these fields."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import Field, dataclass, field, fields
from typing import Any


def option(default: Any, help: str, *, flag: str | None = None, metavar: str | None = None) -> Any:
    """A dataclass field that carries its help text, flag and metavar."""
    return field(default=default, metadata={"help": help, "flag": flag, "metavar": metavar})


def option_fields(options: type) -> Mapping[str, Field[Any]]:
    """The option fields of a dataclass made with `option`, by name."""
    return {item.name: item for item in fields(options) if "help" in item.metadata}


@dataclass(frozen=True, slots=True)
class CaptureOptions:
    """What a recorder records. `keep` selects steps when they are written, never what runs."""

    detail: str = option("auto", "how much is recorded: auto, steps, graph or full", flag="--detail", metavar="LEVEL")
    steps: tuple[int | None, int | None] = option(
        (None, None), "keep steps A to B-1 only", flag="--steps", metavar="A:B"
    )
    every: int = option(1, "keep every N-th step", flag="--every", metavar="N")
    last: int | None = option(None, "keep only the last N steps", flag="--last", metavar="N")
    budget: float = option(
        25.0,
        "how much longer steps may take for being recorded, in percent; none: see each op of each step",
        flag="--budget",
        metavar="P",
    )

    def keeps(self, number: int) -> bool:
        """Whether step `number` is to be kept (`last` is applied by the recorder as steps close)."""
        first, end = self.steps
        inside = number >= (first or 0) and (end is None or number < end)
        return inside and (number - (first or 0)) % self.every == 0


@dataclass(frozen=True, slots=True)
class ViewOptions:
    """What a graph reader shows."""

    step: int | None = option(None, "the step to show (default: the last with a backward)", flag="--step", metavar="N")
    kind: str = option("both", "forward, backward or both", flag="--kind", metavar="KIND")
    depth: int | None = option(None, "fold modules deeper than N levels", flag="--depth", metavar="N")
    expand: tuple[str, ...] = option((), "modules to keep unfolded", flag="--expand", metavar="NAME")
    focus: str | None = option(None, "only what leads to or from this tensor or module", flag="--focus", metavar="NAME")
    theme: str = option("auto", "auto, light or dark; auto is as the page is", flag="--theme", metavar="THEME")
    engine: str | None = option(None, "the layout program: graphviz-pure or dot", flag="--engine", metavar="NAME")
    legend: bool = option(True, "on or off: say what borders, signs and lines mean", flag="--legend", metavar="on|off")
