"""What was made of what, on hand-built steps."""

from __future__ import annotations

from gradscope.diagnose import Case
from gradscope.diagnose.evidence.dataflow import Dataflow
from gradscope.diagnose.evidence.gradient_cuts import first_cuts
from gradscope.diagnose.evidence.writes import op_of, writes
from gradscope.model.trace import Trace
from tests.builders import ab2_trace, cut_trace, inplace_trace


def flow_of(trace: Trace) -> Dataflow:
    return Dataflow.of(Case(trace), trace.step(0))


def named(flow: Dataflow, tensors: set[int]) -> set[str]:
    return {flow.step.tensors[tensor].name for tensor in tensors}


def number(flow: Dataflow, name: str) -> int:
    return next(tensor.number for tensor in flow.step.tensors if tensor.name == name)


def test_both_ways_through_a_product() -> None:
    flow = flow_of(ab2_trace())
    assert named(flow, flow.behind([number(flow, "G")])[0]) == {"A", "B", "F", "G"}
    assert named(flow, flow.ahead([number(flow, "A")])[0]) == {"A", "F", "G"}
    assert flow.differentiated == flow.behind([number(flow, "G")])[0]
    first = min(op for op in flow.ops if flow.ops[op].inputs)
    assert named(flow, flow.behind([number(flow, "G")], before=first)[0]) == {"G"}


def test_a_cut_is_found_from_what_is_behind_it() -> None:
    flow = flow_of(cut_trace())
    (op, *_) = sorted(flow.cuts)
    cut = first_cuts(flow, flow.results(op), len(flow.step.moments))
    assert [one.op for one in cut] == [op]
    assert not any(flow.passes(op, tensor) for tensor in flow.cuts[op])


def test_a_write_has_its_op() -> None:
    trace = inplace_trace()
    step = trace.step(0)
    (group,) = (group for group in writes(Case(trace), step).values() if group)
    for write in group:
        op = step.op(write.op)
        assert op is not None
        assert op.name == write.cause
        assert op_of(step, write.moment) == write.op
