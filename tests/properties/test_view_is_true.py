"""At every moment the terminal UI shows what plain torch has when the same program is stopped there, or says unknown.

The program runs once under a line tracer that reads torch after each of its lines, and once recorded. What is compared
is what the panes show: the inspector's facts, the parameters' figures and the state line.
"""

from __future__ import annotations

import math
import re
import sys
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings

from gradscope.model.graph import GraphKind
from gradscope.model.trace import Trace
from gradscope.tui.figures import KNOWN, NONE, ZERO, StepFigures
from gradscope.tui.inspection.sheet import sheet
from gradscope.tui.own_leaves import own_leaves
from gradscope.tui.scene import Scene
from gradscope.tui.session import Loaded, Session
from gradscope.tui.standing import standing
from gradscope.tui.subject import Subject
from tests.capturing import record_script
from tests.properties.random_scripts import scripts

_NAME = re.compile(r"x\d+_?")


@dataclass(frozen=True)
class Fact:
    """What torch says of one tensor."""

    requires_grad: bool
    is_leaf: bool
    grad_fn: str
    retains_grad: bool
    version: int | None
    grad: torch.Tensor | None
    value: torch.Tensor


@dataclass(frozen=True)
class Look:
    """What torch says once a line has run."""

    line: int
    tensors: Mapping[str, Fact | None]
    grad: bool
    inference: bool
    autocast: bool


def fact(tensor: torch.Tensor) -> Fact | None:
    """None for a view that torch will not tell of: it was written in place where that is forbidden."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of reading the .grad of what is no leaf
        grad = tensor.grad
    try:
        grad_fn = type(tensor.grad_fn).__name__ if tensor.grad_fn is not None else "None"
    except RuntimeError:
        return None
    return Fact(
        tensor.requires_grad,
        tensor.is_leaf,
        grad_fn,
        tensor.retains_grad,
        None if tensor.is_inference() else tensor._version,
        None if grad is None else grad.detach().clone(),
        tensor.detach().clone(),
    )


def looks_at(text: str, path: Path) -> list[Look]:
    """Runs a program plainly, and looks after each of its lines."""
    looks: list[Look] = []
    before = 0

    def look(frame: FrameType) -> None:
        modes = torch.is_grad_enabled(), torch.is_inference_mode_enabled(), torch.is_autocast_enabled("cpu")
        names = [name for name in frame.f_globals if _NAME.fullmatch(name)]
        tensors = {name: fact(one) for name in names if isinstance(one := frame.f_globals[name], torch.Tensor)}
        looks.append(Look(before, tensors, *modes))

    def trace(frame: FrameType, event: str, _: object) -> Any:
        nonlocal before
        if frame.f_code.co_filename != str(path) or frame.f_code.co_name != "<module>":
            return None
        if event in ("line", "return"):
            if before:
                look(frame)
            before = frame.f_lineno
        return trace

    outer = sys.gettrace()
    sys.settrace(trace)
    try:
        exec(compile(text, str(path), "exec"), {"__name__": "__main__"})
    finally:
        sys.settrace(outer)
    return looks


def places(trace: Trace, session: Session, looks: Sequence[Look], path: Path) -> Iterator[tuple[Look, Loaded, int]]:
    """Each look with the moment that is the last of its line, as far as that is sure."""
    unsure = unsure_lines(path.read_text().splitlines())
    moments: list[tuple[int, int, int | None]] = []
    for number in trace.source.step_numbers():
        for index, moment in enumerate(trace.step(number).moments):
            lines = [line.line for line in trace.source_lines(moment.stack) if line.file == str(path)]
            moments.append((number, index, lines[-1] if lines else None))
    place = -1
    for at, one in enumerate(looks):
        first = place
        while place + 1 < len(moments) and moments[place + 1][2] in (one.line, None):
            place += 1
        following = looks[at + 1].line if at + 1 < len(looks) else None
        if one.line in unsure:
            continue
        if place >= 0 and place > first and following != one.line:
            yield one, session.load(moments[place][0]), moments[place][1]


def not_told(text: str) -> set[str]:
    """The tensors of which the recording is known to miss something, which no reader can mend.

    What inference mode does to tensors made outside of it, the retained gradient that `backward(inputs=[result])`
    leaves, and `detach_` of what only a write in place gave a history.
    """
    names, block = {"".join(found) for found in re.findall(r"inputs=\[(x\d+)\]|(x\d+)\.detach_\(", text)}, False
    for line in text.splitlines():
        deeper = line.startswith(" " * 8)
        block = (block and deeper) or "with torch.inference_mode" in line
        names |= set(_NAME.findall(line)) if block else set()
    return names


def unsure_lines(code: Sequence[str]) -> set[int]:
    """The lines that run several times: of a loop, and of a `with`, whose start and end are moments."""
    found, loop = set(), None
    for number, line in enumerate(code, 1):
        indent = len(line) - len(line.lstrip())
        if loop is not None and indent <= loop:
            loop = None
        if line.lstrip().startswith("for "):
            loop = indent
        if loop is not None or line.rstrip().endswith(":"):
            found.add(number)
    return found


def scene_at(trace: Trace, session: Session, loaded: Loaded, moment: int) -> Scene:
    graph = session.build(loaded, GraphKind.BOTH)
    state = loaded.history.at(moment)
    return Scene(
        trace, loaded.step, moment, state, GraphKind.BOTH, graph, None,
        samples=loaded.samples, touches=loaded.touches, beside=loaded.beside,
    )  # fmt: skip


def wrong_facts(scene: Scene, number: int, truth: Fact) -> Iterator[str]:
    """What the inspector says of a tensor that is not so."""
    shown = sheet(scene, Subject(tensor=number))
    said = {fact.label: fact.text for fact in shown.sections[0].facts}
    renewed = any(fact.text.startswith("a view whose memory") for fact in shown.sections[0].facts)
    wanted = {
        "requires_grad": str(truth.requires_grad),
        "is_leaf": str(truth.is_leaf),
        "grad_fn": truth.grad_fn,
        "retains_grad": str(truth.retains_grad),
        "version": "untracked" if truth.version is None else str(truth.version),
    }
    for label, text in wanted.items():
        if said[label] != text and not renewed:
            yield f"{label} is {text}, not {said[label]}"
    # What a script assigns to the .grad of a result that does not retain it is not recorded: reading it would warn.
    known = not said[".grad"].startswith("Not known") and (truth.is_leaf or truth.retains_grad)
    if known and said[".grad"].startswith("None") != (truth.grad is None):
        yield f".grad is {truth.grad}, not: {said['.grad']}"
    facts = [fact for section in shown.sections if section.title == "value" for fact in section.facts]
    norms = [dict(fact.figures)["norm"] for fact in facts if "norm" in dict(fact.figures)]
    stale = any(fact.text.startswith(("as it was before", "unless it was written")) for fact in facts)
    if norms and not stale and not alike(norms[0], truth.value):
        yield f"its norm is {truth.value.norm()}, not {norms[0]}"


def wrong_figures(scene: Scene, number: int, truth: Fact) -> Iterator[str]:
    """What the parameters' table says of a leaf that is not so."""
    figures = StepFigures(scene.step, scene.samples, scene.beside)
    owner = figures.owners.get(number)
    every = {**scene.trace.names.parameters, **{one.id: one for one in own_leaves(scene.step).values()}}
    if owner is None or owner not in every:
        return
    row = figures.of(every[owner], scene.state)
    if row.gradient.kind == NONE and truth.grad is not None:
        yield "the table has no gradient"
    if row.gradient.kind == ZERO and (truth.grad is None or bool(truth.grad.any())):
        yield "the table has a gradient of zeros"
    if row.gradient.kind == KNOWN and truth.grad is None:
        yield "the table has a gradient, and there is none"
    if truth.grad is not None and row.gradient.norm is not None and not alike(row.gradient.norm, truth.grad):
        yield f"the table's |grad| is {row.gradient.norm}, not {truth.grad.norm()}"
    if row.norm is not None and not alike(row.norm, truth.value):
        yield f"the table's |p| is {row.norm}, not {truth.value.norm()}"
    if "no grad" in row.status and truth.grad is not None:
        yield "the table says: no grad"


def alike(norm: float, tensor: torch.Tensor) -> bool:
    own = float(tensor.double().norm())
    return math.isclose(norm, own, rel_tol=1e-4, abs_tol=1e-6) or not math.isfinite(own)


def wrong_modes(scene: Scene, truth: Look) -> Iterator[str]:
    said = standing(scene)
    grad = "inference mode" if truth.inference else "grad on" if truth.grad else "no grad"
    if said and grad not in said:
        yield f"the mode is {grad}, not {said}"
    if said and truth.autocast != any(part.startswith("autocast") for part in said):
        yield f"autocast is {truth.autocast}, not {said}"


def wrong(text: str, detail: str = "full") -> list[str]:
    """All that is shown at some moment of a program and is not so."""
    found = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "program.py"
        path.write_text(text)
        looks = looks_at(text, path)
        recorded = record_script(path, detail)
        assert recorded.faults == ()
        trace, missed = recorded.trace, not_told(text)
        session = Session(trace)
        for truth, loaded, moment in places(trace, session, looks, path):
            scene = scene_at(trace, session, loaded, moment)
            told = list(wrong_modes(scene, truth))
            names = [tensor.name for tensor in loaded.step.tensors]
            for tensor in loaded.step.tensors:
                fact = truth.tensors.get(tensor.name)
                if (
                    fact is None
                    or tensor.name in missed
                    or names.count(tensor.name) > 1
                    or not scene.state.tensors[tensor.number].exists
                ):
                    continue
                parts = (*wrong_facts(scene, tensor.number, fact), *wrong_figures(scene, tensor.number, fact))
                told += [f"{tensor.name}: {part}" for part in parts]
            found += [f"line {truth.line}, step {loaded.step.number} moment {moment}: {part}" for part in told]
    return found


@pytest.mark.parametrize("detail", ["full", "graph"])
@settings(max_examples=40, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
@given(scripts())
def test_what_is_shown_at_each_moment_is_what_torch_has(detail: str, text: str) -> None:
    found = wrong(text, detail)
    assert not found, "\n".join([*found, "", *(f"{n + 1:3} {line}" for n, line in enumerate(text.splitlines()))])
