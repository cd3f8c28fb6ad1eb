"""What a sheet is made of, and the facts that subjects of several kinds have. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum

from ...model.records import Sample, SavedTensor
from ...text import byte_count, number, values
from ..scene import Scene

NAMES = 4  # of a list of names, how many are written out


class Tone(str, Enum):
    """How a fact is meant. Each has a sign of its own where it is shown, never a colour alone."""

    PLAIN = ""
    GOOD = "good"
    BAD = "bad"
    DIM = "dim"


@dataclass(frozen=True, slots=True)
class Fact:
    """`label` and what is so; `moment` is where in the step it can be seen, for who wants to go there.

    `figures` are the numbers in the text, each with its name, for who compares it with another.
    """

    label: str
    text: str
    tone: Tone = Tone.PLAIN
    moment: int | None = None
    figures: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Section:
    """`steps_own`: it tells of this step alone, and is compared with no other one's."""

    title: str
    facts: tuple[Fact, ...]
    steps_own: bool = False


@dataclass(frozen=True, slots=True)
class Sheet:
    """Everything about one subject. `value` is what copying it gives."""

    title: str
    kind: str
    verdict: str
    sections: tuple[Section, ...]
    value: str = ""


def filled(sections: Sequence[Section]) -> tuple[Section, ...]:
    """The sections that have something to say."""
    return tuple(section for section in sections if section.facts)


def sampled(sample: Sample, dtype: str | None = None, label: str = "", moment: int | None = None) -> Iterator[Fact]:
    """A sample in words: the values of a tiny tensor, else its statistics. NaN and Inf come first."""
    stats = sample.stats
    if stats is not None and (stats.nans or stats.infs):
        bad = [f"{count:,} {word}" for count, word in ((stats.nans, "NaN"), (stats.infs, "Inf")) if count]
        counts = (("NaN", float(stats.nans)), ("Inf", float(stats.infs)))
        yield Fact(label or "not finite", f"{' and '.join(bad)} of {stats.numel:,}", Tone.BAD, moment, counts)
        label = ""
    if sample.values is not None:
        figures = tuple(("", value) for value in sample.values)
        yield Fact(label or "values", values(sample.values, sample.shape, dtype), moment=moment, figures=figures)
    if stats is None or (sample.values is not None and stats.numel == 1):
        return
    facts = [f"norm {number(stats.norm)}", f"sum {number(stats.sum)}", f"mean {number(stats.mean, 3)}"]
    facts.append(f"from {number(stats.min, 3)} to {number(stats.max, 3)}")
    if stats.zeros:
        facts.append(f"{stats.zeros:,} of {stats.numel:,} are zero")
    names = (("norm", stats.norm), ("sum", stats.sum), ("mean", stats.mean), ("from", stats.min), ("to", stats.max))
    title = ("" if sample.values is not None else label) or "statistics"
    yield Fact(title, ", ".join(facts), moment=moment, figures=(*names, ("zeros", float(stats.zeros))))


def saved_fact(scene: Scene, saved: SavedTensor, label: str, moment: int | None) -> Fact:
    """A saved tensor: its version then, and whether it was changed since, which makes the backward fail."""
    parts = [byte_count(saved.nbytes)]
    tone = Tone.PLAIN
    then = None if saved.tensor is None else scene.step.absolute(saved.tensor, saved.version)
    if saved.tensor is not None and then is not None:
        now = scene.state.tensors[saved.tensor].version
        parts.insert(0, f"at version {then}")
        made = moment is None or moment <= scene.moment
        if made and now is not None and now > then and not _is_over(scene, saved):
            parts.insert(1, f"it is {now} now: changed since it was saved, so its backward fails")
            tone = Tone.BAD
    return Fact(label, ", ".join(parts), tone, moment)


def _is_over(scene: Scene, saved: SavedTensor) -> bool:
    """Whether the backward that needed the saved tensor has run, and found it as it was saved."""
    if saved.stale or saved.tensor is None:
        return False
    graphs = {graph for graph, _ in scene.touches.saved_by(saved.tensor)}
    return any((start := scene.touches.backward(graph)) is not None and start <= scene.moment for graph in graphs)
