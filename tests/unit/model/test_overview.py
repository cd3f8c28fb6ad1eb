"""A whole trace in a few facts."""

from __future__ import annotations

import json
from dataclasses import fields

import pytest

from gradscope.model.codec import dumps, from_json, loads
from gradscope.model.document import trace_json
from gradscope.model.moments import Failure, Mutation, Template
from gradscope.model.overview import Overview, overview, overview_json
from gradscope.model.records import Phase, Sample, StepRow, TraceInfo
from gradscope.model.trace import Trace
from tests.builders import (
    INFO,
    MemorySource,
    TraceBuilder,
    ab2_trace,
    cut_trace,
    deep_trace,
    inplace_trace,
    mlp_trace,
    move_trace,
)


def test_a_training_loop() -> None:
    facts = overview(mlp_trace(5))
    assert facts.steps == {"train": 5}
    assert (facts.first_step, facts.last_step, facts.distinct_steps) == (0, 4, 2)
    assert facts.detail == {"full": 5}
    assert facts.backwards == 5
    assert facts.last_graph is not None
    assert (facts.last_graph.step, facts.last_graph.nodes) == (4, 11)
    assert facts.loss is not None
    assert facts.loss[0] > facts.loss[1]
    assert (len(facts.parameters), facts.elements, facts.nbytes) == (4, 67, 268)
    assert (len(facts.with_gradient), facts.without_gradient, facts.frozen) == (4, (), ())
    assert facts.optimizers == ("Adam",)
    assert set(facts.phases) >= {"forward", "backward", "optimizer_step"}
    assert list(facts.phases.values()) == sorted(facts.phases.values(), reverse=True)


def test_frozen_parameters_are_not_missing_a_gradient() -> None:
    facts = overview(mlp_trace(2, frozen=True))
    assert facts.frozen == ("fc1.weight", "fc1.bias")
    assert facts.with_gradient == ("fc2.weight", "fc2.bias")
    assert facts.without_gradient == ()


def test_a_parameter_without_a_gradient_is_named() -> None:
    builder = TraceBuilder("x\n")
    builder.parameter("unused.weight", (2,))
    step = builder.step()
    builder.source.put_step(step.done()._replace(norms=((0, 1.0, None),)))
    assert overview(builder.trace()).without_gradient == ("unused.weight",)


def test_how_far_updates_moved_the_parameters_together() -> None:
    trace = mlp_trace(3)
    last = trace.step(2).row
    trace.source.put_step(last._replace(distances=tuple((one, 2 * far) for one, far in last.distances)))  # type: ignore[attr-defined]
    assert overview(trace).update_ratio == (pytest.approx(0.25), pytest.approx(0.5))
    assert overview(trace).unmeasured_updates == 0
    assert overview(ab2_trace()).update_ratio is None


def test_steps_of_which_some_distance_is_not_known_are_counted() -> None:
    trace = mlp_trace(3)
    for number in (0, 2):
        row = trace.step(number).row
        trace.source.put_step(row._replace(distances=row.distances[1:]))  # type: ignore[attr-defined]
    facts = overview(trace)
    assert (facts.update_ratio, facts.unmeasured_updates) == ((pytest.approx(0.25),) * 2, 2)


def test_leaves_of_a_script_without_modules() -> None:
    facts = overview(ab2_trace())
    assert sorted(facts.filled) == ["A", "B"]
    assert facts.parameters == ()


def test_moves_and_writes() -> None:
    (move,) = overview(move_trace()).moves
    assert (move.from_device, move.to_device, move.count, move.leaves) == ("cpu", "cuda:0", 2, 0)
    assert overview(inplace_trace()).mutations.count == 1
    assert overview(inplace_trace()).mutations.uncounted == 0


def test_repeated_steps_count_as_often_as_they_ran() -> None:
    builder = TraceBuilder("y.data.mul_(2)\n")
    for number in range(7):
        step = builder.step(number)
        tensor = step.tensor("y")
        step.add(Mutation(Phase.OTHER, builder.line(1), tensor, 0, 0, "mul_", counted=False))
        step.done()
    facts = overview(builder.trace())
    assert (facts.mutations.count, facts.mutations.uncounted, facts.distinct_steps) == (7, 7, 1)


def test_failures_have_their_place() -> None:
    builder = TraceBuilder("a\nraise ValueError\n")
    step = builder.step(3)
    step.add(Failure(Phase.OTHER, builder.line(2), "ValueError", "no", caught=False))
    step.done()
    (fault,) = overview(builder.trace()).failures
    assert (fault.step, fault.type, fault.file, fault.line, fault.caught) == (3, "ValueError", "script.py", 2, False)


def test_an_empty_trace() -> None:
    facts = overview(Trace(MemorySource(INFO)))
    assert facts.steps == {}
    assert facts.last_graph is None
    assert facts.first_step is None


def test_each_template_is_read_once() -> None:
    trace = mlp_trace(50)
    read: list[int] = []
    original = trace.source.template

    def counting(number: int) -> Template:
        read.append(number)
        return original(number)

    trace.source.template = counting  # type: ignore[method-assign]
    overview(trace)
    assert len(read) <= 4


def test_a_deep_graph_is_counted() -> None:
    size = overview(deep_trace(20_000)).last_graph
    assert size is not None
    assert size.nodes == 20_001


@pytest.mark.parametrize("make", [ab2_trace, mlp_trace, cut_trace, move_trace, inplace_trace])
def test_json_has_every_fact(make: object) -> None:
    assert callable(make)
    data = json.loads(dumps(overview_json(overview(make()))))
    assert set(data) == {item.name for item in fields(Overview)}
    assert set(data["info"]) == {item.name for item in fields(TraceInfo)}


@pytest.mark.parametrize("make", [ab2_trace, mlp_trace, cut_trace, move_trace, inplace_trace])
def test_the_document_holds_every_record(make: object) -> None:
    assert callable(make)
    trace = make()
    data = loads("".join(trace_json(trace)))
    assert isinstance(data, dict)
    source = trace.source
    assert from_json(TraceInfo, data["info"]) == trace.info
    assert [from_json(StepRow, row) for row in data["steps"]] == list(source.step_rows())  # type: ignore[union-attr]
    templates = [from_json(Template, item) for item in data["templates"]]  # type: ignore[union-attr]
    assert templates == [source.template(item.id) for item in templates]
    samples = [from_json(Sample, item) for item in data["samples"]]  # type: ignore[union-attr]
    assert samples == [sample for number in source.step_numbers() for sample in source.samples(number)]
