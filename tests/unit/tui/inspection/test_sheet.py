"""What the inspector says of tensors, grad nodes, ops and moments."""

from __future__ import annotations

from dataclasses import replace

from gradscope.model.findings import Finding, Place, Severity
from gradscope.model.graph import GraphKind
from gradscope.model.memory import MemorySource
from gradscope.model.records import Detail
from gradscope.model.trace import Trace
from gradscope.tui.inspection.facts import Sheet, Tone
from gradscope.tui.inspection.sheet import sheet
from gradscope.tui.subject import Subject, subject_at
from tests import builders
from tests.unit.tui.scenes import moment_of, scene_of


def named(trace: Trace, name: str, moment: int, step: int = 0) -> Sheet:
    scene = scene_of(trace, step, moment)
    return sheet(scene, Subject(tensor=next(one.number for one in scene.step.tensors if one.name == name)))


def facts(found: Sheet, title: str) -> dict[str, str]:
    return next(({fact.label: fact.text for fact in one.facts} for one in found.sections if one.title == title), {})


def test_a_leafs_row_of_the_leaf_table_and_its_verdict() -> None:
    found = named(builders.ab2_trace(), "A", -2)
    assert found.title == "A  float32[1]"
    assert found.verdict.startswith("case 1 of 4: needs grad, made by you: a leaf")
    row = facts(found, "autograd")
    assert (row["requires_grad"], row["is_leaf"], row["grad_fn"], row["retains_grad"]) == (
        "True", "True", "None", "False",
    )  # fmt: skip
    assert row["version"] == "0"
    assert facts(found, "value") == {"values": "[10.]"}
    assert facts(found, "gradient") == {"values": "[40.]"}
    assert found.value == "[10.]"


def test_the_verdict_follows_the_moment() -> None:
    trace = builders.ab2_trace()
    assert named(trace, "F", -1).verdict == "not made yet at this moment"
    assert named(trace, "F", 2).verdict.startswith("case 2 of 4")
    retained = named(builders.ab2_trace(retain=True), "F", -2)
    assert retained.verdict.endswith("retain_grad() asked to keep its .grad")


def test_a_result_says_which_gradient_arrived() -> None:
    trace = builders.ab2_trace()
    assert facts(named(trace, "F", moment_of(trace, "backward")), "gradient") == {}
    assert facts(named(trace, "F", -2), "gradient") == {"arriving": "[2.]"}


def test_a_value_changed_in_place_is_told_with_its_versions() -> None:
    trace = builders.inplace_trace()
    mutated = moment_of(trace, "mutation")
    found = named(trace, "y", mutated)
    assert facts(found, "autograd")["version"] == "1"
    kept = facts(found, "kept for backward")["by PowBackward0"]
    assert kept.startswith("at version 0, it is 1 now: changed since it was saved, so its backward fails")
    history = next(section for section in found.sections if section.title == "history in this step").facts
    assert [fact.label for fact in history] == ["made", "read", "read", "changed"]
    assert history[-1].text == f"{mutated + 1}  inplace.py:6  y was changed in place by mul_: version 0 → 1"
    assert facts(named(trace, "y", mutated - 1), "kept for backward")["by PowBackward0"] == "at version 0, 4 B"


def test_what_is_to_come_is_dim() -> None:
    trace = builders.inplace_trace()
    found = named(trace, "y", moment_of(trace, "mutation") - 1)
    history = next(section for section in found.sections if section.title == "history in this step").facts
    assert [fact.tone for fact in history] == [Tone.PLAIN, Tone.PLAIN, Tone.PLAIN, Tone.DIM]


def test_a_grad_node_before_during_and_after_its_run() -> None:
    trace = builders.ab2_trace()
    ran = moment_of(trace, "node")
    subject = subject_at(trace.step(0).template, ran)
    before, now, after = (sheet(scene_of(trace, 0, moment), subject) for moment in (ran - 1, ran, ran + 1))
    assert [facts(one, "execution")["state"] for one in (before, now, after)] == [
        "has not run yet",
        "runs now",
        "has run",
    ]
    assert facts(now, "execution")["order"] == "1st of 4 that ran"
    assert facts(before, "gradient in") == {}
    assert facts(now, "gradient in") == {"values": "[1.]"}
    assert "MulBackward0" in facts(now, "gradient out")["to"]
    assert facts(now, "made by")["grad_fn of"] == "G"


def test_an_accumulate_grad_names_the_leaf() -> None:
    trace = builders.ab2_trace()
    step = trace.step(0)
    index = next(node.index for node in step.graphs[0].nodes if node.tensor == 0)
    found = sheet(scene_of(trace), Subject(grad=(0, index)))
    assert found.title == "AccumulateGrad of A"
    assert found.verdict == "adds the gradient that arrives into A.grad"


def test_where_execution_is_not_recorded_it_says_so() -> None:
    trace = builders.mlp_trace(detail=builders.Detail.GRAPH)
    start = moment_of(trace, "backward")
    for moment, state in ((start - 1, "has not run yet"), (start, "has run")):
        execution = facts(sheet(scene_of(trace, 0, moment), Subject(grad=(0, 0))), "execution")
        assert execution["state"] == state
        assert "--detail full" in execution["order"]


def test_an_op_shows_what_it_read_and_made() -> None:
    trace = builders.mlp_trace()
    moment = moment_of(trace, "op", nth=2)
    found = sheet(scene_of(trace, 0, moment), Subject(op=moment))
    assert found.kind == "op"
    call = facts(found, "call")
    assert call["module"] == "fc1 (Linear)"
    assert call["line"] == "train.py:12"
    assert facts(found, "tensors")["makes"].startswith("self.fc1(x)  float32[16, 8]  needs grad")


def test_a_moment_about_nothing_teaches_what_it_does() -> None:
    trace = builders.mlp_trace()
    found = sheet(scene_of(trace, 0, moment_of(trace, "zero_grad")), Subject())
    assert "forgets the gradients" in found.verdict
    assert sheet(scene_of(trace), Subject()).title == "before the first moment"


def test_a_parameter_in_no_optimizer_is_pointed_out() -> None:
    trace = builders.mlp_trace(frozen=True)
    fact = next(fact for fact in named(trace, "fc1.weight", -1).sections[0].facts if fact.label == "optimizer")
    assert fact.text.startswith("in none")
    assert facts(named(trace, "fc2.weight", -1), "autograd")["optimizer"] == "Adam"


def test_nan_comes_first_and_is_marked() -> None:
    trace = builders.TraceBuilder("x\ny\n", "bad.py")
    step = trace.step(0)
    x = step.leaf("x", [1.0, 2.0], 1)
    step.op("log", (x,), "y", line=2, shape=(2,), values=[float("nan"), 1.0])
    step.done()
    found = named(trace.trace(), "y", -2)
    value = next(section for section in found.sections if section.title == "value").facts
    assert (value[0].text, value[0].tone) == ("1 NaN of 2", Tone.BAD)


def test_a_finding_of_this_line_or_node_comes_first() -> None:
    trace = builders.inplace_trace()
    finding = Finding(
        "GS101", "saved-tensor-modified", Severity.ERROR, "y was changed", 0.9, 0,
        Place("inplace.py", 6, "y.mul_(2)"), fix="use y * 2", nodes=(2,),
    )  # fmt: skip
    at_line = scene_of(trace, 0, moment_of(trace, "mutation"), findings=(finding,))
    assert facts(sheet(at_line, Subject()), "finding") == {"GS101": "y was changed", "fix": "use y * 2"}
    elsewhere = scene_of(trace, 0, 0, findings=(finding,))
    assert facts(sheet(elsewhere, Subject(tensor=0)), "finding") == {}
    assert facts(sheet(elsewhere, Subject(tensor=2)), "finding")["GS101"] == "y was changed"
    other_step = replace(finding, step=7)
    assert facts(sheet(replace(elsewhere, findings=(other_step,)), Subject(tensor=2)), "finding") == {}


def test_every_moment_of_the_built_traces_has_a_sheet() -> None:
    for make in (
        builders.ab2_trace,
        builders.mlp_trace,
        builders.cut_trace,
        builders.move_trace,
        builders.inplace_trace,
    ):
        trace = make()
        for number in trace.steps:
            step = trace.step(number)
            for moment in range(-1, len(step.moments)):
                scene = scene_of(trace, number, moment, GraphKind.BOTH)
                found = sheet(scene, subject_at(step.template, moment))
                assert found.title
                assert found.verdict
                for tensor in step.tensors:
                    assert sheet(scene, Subject(tensor=tensor.number)).sections


def test_a_moment_of_a_matched_step_says_what_was_not_watched() -> None:
    trace = builders.mlp_trace(3)
    source = trace.source
    assert isinstance(source, MemorySource)
    source.put_step(source.step_row(2)._replace(detail=Detail.MATCHED))
    found = sheet(scene_of(trace, 2, -1), Subject())
    assert facts(found, "step")["detail"].startswith("as step 1; its single ops were not watched (gradscope trace")
    assert facts(sheet(scene_of(trace, 1, -1), Subject()), "step")["detail"] == "full"
