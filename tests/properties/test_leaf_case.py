"""Every reader tells the case of the leaf table that torch itself, and the program's text, say a tensor is of."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import gradscope
from gradscope.model.graph import NodeKind
from gradscope.model.trace import Step, Trace
from gradscope.model.why import explain
from gradscope.render.json_ import graph_json
from gradscope.render.view import GraphView
from gradscope.render.words import Role
from gradscope.tui.inspection.sheet import sheet
from gradscope.tui.subject import Subject
from tests.capturing import record_script
from tests.unit.tui.scenes import scene_of

# {a}: a tensor there is, {new}: the one that the statement makes
MADE = (
    "{new} = torch.tensor([2.0, 3.0])",
    "{new} = torch.ones(2, requires_grad=True)",
    "{new} = torch.from_numpy(np.ones(2, dtype='float32'))",
    "{new} = torch.zeros_like({a})",
    "{new} = {a}.new_ones(2)",
    "{new} = torch.empty(2); {new}.uniform_()",
    "{new} = torch.nn.Parameter(torch.ones(2) * 2)",
    "{new} = torch.nn.Parameter({a}.detach() + 1, requires_grad=False)",
    "{new} = torch.randn(2); {new}.requires_grad_()",
    "{new} = torch.ones(2, requires_grad=True); {new}.requires_grad_(False)",
)
RESULTS = (
    "{new} = {a} * 2",
    "{new} = {a} + {a}",
    "{new} = {a}.detach()",
    "{new} = {a}.data",
    "{new} = {a}[:]",
    "{new} = {a}.view(2)",
    "{new} = {a}.clone(); {new}.detach_()",
    "with torch.no_grad(): {new} = {a} * 3",
    "{new} = ({a} * 2).round().to(torch.int64).float()",
    "{new} = torch.where({a} > 0, {a}, torch.zeros(2))",
    "{new} = {a} * 5; {new}.requires_grad and {new}.retain_grad()",
    "{new} = ({a} * 2).detach(); {new}.requires_grad_()",
)
START = """\
import numpy as np
import torch
t0 = torch.tensor([1.0, 2.0], requires_grad=True)
t1 = torch.tensor([3.0, 4.0])
"""
LOOP = "for again in range(2):\n    total = {total}\n    total.sum().backward()\n"


@st.composite
def programs(draw: st.DrawFn) -> tuple[str, dict[str, bool]]:
    """A program, and for each of its tensors whether an op made it."""
    results = {"t0": False, "t1": False}
    lines = []
    for _ in range(draw(st.integers(1, 7))):
        result = draw(st.booleans())
        new = f"t{len(results)}"
        statement = draw(st.sampled_from(RESULTS if result else MADE))
        lines.append(statement.format(new=new, a=draw(st.sampled_from(sorted(results)))) + "\n")
        results[new] = result
    # results with a graph stay out of the second backward: it is freed
    total = " + ".join(f"({name}.detach() if {name}.grad_fn is not None else {name})" for name in results)
    return START + "".join(lines) + LOOP.format(total=total), results


def case_by_torch(tensor: torch.Tensor, result: bool) -> int:
    if tensor.requires_grad:
        return 1 if tensor.is_leaf else 2
    return 4 if result else 3


def cases_in_words(text: str) -> set[int]:
    found = re.match(r"case (\d)(?: or (\d))? of 4", text)
    assert found is not None, text
    return {int(number) for number in found.groups() if number is not None}


def cases_told(trace: Trace, step: Step, number: int) -> dict[str, set[int]]:
    """What each reader of traces says of a tensor at its step's end, as cases."""
    told = {}
    scene = scene_of(trace, step.number, len(step.moments) - 1)
    told["view"] = cases_in_words(sheet(scene, Subject(tensor=number)).verdict)
    graph = step.graph("both")
    nodes = [node for node in graph.nodes if node.kind is NodeKind.TENSOR and node.id == number]
    for node in nodes:
        role = GraphView(graph).node(node).role
        told["picture"] = {
            Role.LEAF: {1}, Role.PARAMETER: {1}, Role.RESULT: {2}, Role.INPUT: {3}, Role.FROZEN: {3}, Role.NO_GRAD: {4},
        }[role]  # fmt: skip
    for plain in graph_json(graph)["nodes"]:
        if plain["id"] == number and plain["kind"] == "tensor":
            cases = {"leaf": {1}, "result": {2, 4}, "input": {3}, "parameter": {1, 3}}[plain["role"]]
            told["JSON"] = cases & ({1, 2} if plain["requires_grad"] else {3, 4})
    answer = str(explain(step, number))
    told["explain"] = {2} if "is not a leaf" in answer else {3, 4} if "does not require a gradient" in answer else {1}
    if told["explain"] == {3, 4} and "made without requires_grad" in answer.splitlines()[1]:
        told["explain"] = {3}
    return told


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(programs())
def test_all_readers_tell_the_case_that_torch_has(program: tuple[str, dict[str, bool]]) -> None:
    text, results = program
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "program.py"
        script.write_text(text)
        recorded = record_script(script, "full")
    assert recorded.namespace["__error__"] is None, text
    assert recorded.faults == ()
    seen = set()
    for step in recorded.steps:
        for record in step.tensors:
            if record.name not in results:
                continue
            seen.add(record.name)
            tensor = recorded.namespace[record.name]
            truth = case_by_torch(tensor, results[record.name])
            told = cases_told(recorded.trace, step, record.number)
            told["inspect"] = cases_in_words(gradscope.inspect(tensor).verdict)
            wrong = {reader: cases for reader, cases in told.items() if truth not in cases}
            assert not wrong, (text, step.number, record.name, truth, wrong)
            assert told["view"] == {truth}, (text, record.name)
    assert seen == set(results)
