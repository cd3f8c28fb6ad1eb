"""The graph of a step: the picture that every autograd tutorial draws by hand, and what makes it hard."""

from __future__ import annotations

import gc
import time
from collections.abc import Iterable
from dataclasses import replace

import pytest

from gradscope.model.build import grad_node_id, op_id, tensor_id
from gradscope.model.graph import EdgeKind, Graph, GraphKind, GraphNode, NodeKind
from gradscope.model.moments import Backward, LeafChange, Mutation, OpCall
from gradscope.model.records import Module, Phase, SavedTensor, StepKind
from gradscope.model.spec import graph_violations
from gradscope.model.trace import Step
from tests import builders
from tests.builders import StepBuilder, TraceBuilder


def names(nodes: Iterable[GraphNode]) -> list[str]:
    return [node.label for node in nodes]


def edges(graph: Graph, *kinds: EdgeKind) -> set[tuple[str, str]]:
    """The edges as (label, label)."""
    return {
        (graph.by_id[edge.source].label, graph.by_id[edge.target].label)
        for edge in graph.edges
        if not kinds or edge.kind in kinds
    }


def one(graph: Graph, label: str) -> GraphNode:
    (found,) = (node for node in graph.nodes if node.label == label)
    return found


def built(step: StepBuilder) -> Step:
    step.done()
    return step.trace.trace().step(step.number)


def script(*lines: str) -> tuple[TraceBuilder, StepBuilder]:
    trace = TraceBuilder("\n".join(lines or ("x",) * 20), "s.py")
    return trace, trace.step(0, StepKind.OTHER)


# -- A * B * 2 -------------------------------------------------------------------------------------


def test_forward_is_tensors_and_ops() -> None:
    graph = builders.ab2_trace().step(0).graph("forward")
    assert names(graph.nodes) == ["A", "B", "mul", "F", "mul", "G"]
    assert edges(graph) == {("A", "mul"), ("B", "mul"), ("mul", "F"), ("F", "mul"), ("mul", "G")}
    assert [edge.index for edge in graph.edges if graph.by_id[edge.source].label in "AB"] == [0, 1]


def test_backward_is_grad_nodes_down_to_the_leaves() -> None:
    graph = builders.ab2_trace().step(0).graph("backward")
    assert sorted(names(graph.nodes)) == ["AccumulateGrad", "AccumulateGrad", "MulBackward0", "MulBackward0"]
    root, inner = (node for node in graph.nodes if node.label == "MulBackward0")
    assert "root" in root.marks
    assert root.grad == (1.0,)
    assert inner.grad == (2.0,)
    assert inner.notes == ("keeps A for its backward (version 0)", "keeps B for its backward (version 0)")
    assert {edge.label for edge in graph.outgoing[inner.id]} == {"40", "20"}
    assert {node.name: node.grad for node in graph.nodes if node.kind is NodeKind.ACCUMULATE_GRAD} == {
        "A": (40.0,),
        "B": (20.0,),
    }
    assert [node.order for node in graph.nodes] == [0, 1, 2, 3]


def test_both_puts_each_tensor_beside_its_grad_node() -> None:
    graph = builders.ab2_trace().step(0).graph("both")
    assert [node.label for node in graph.nodes if node.kind is NodeKind.TENSOR] == ["A", "B", "F", "G"]
    assert not [node for node in graph.nodes if node.kind is NodeKind.OP]
    assert edges(graph, EdgeKind.DATA) == {("A", "F"), ("B", "F"), ("F", "G")}
    made = {
        graph.by_id[edge.source].label: graph.by_id[edge.target] for edge in graph.edges if edge.kind is EdgeKind.MADE
    }
    assert {label: node.label for label, node in made.items()} == {
        "A": "AccumulateGrad",
        "B": "AccumulateGrad",
        "F": "MulBackward0",
        "G": "MulBackward0",
    }
    assert made["F"] is not made["G"]
    assert len([edge for edge in graph.edges if edge.kind is EdgeKind.GRAD]) == 3


def test_the_leaf_table_is_on_the_nodes() -> None:
    graph = builders.ab2_trace().step(0).graph("both")
    facts = {
        label: (
            node.requires_grad,
            node.is_leaf,
            node.grad_fn,
            node.has_grad,
            node.value,
            node.grad,
            node.role,
            node.version,
        )
        for label in "ABFG"
        for node in [one(graph, label)]
    }
    assert facts == {
        "A": (True, True, None, True, (10.0,), (40.0,), "leaf", 0),
        "B": (True, True, None, True, (20.0,), (20.0,), "leaf", 0),
        "F": (True, False, "MulBackward0", False, (200.0,), None, "result", 0),
        "G": (True, False, "MulBackward0", False, (400.0,), None, "result", 0),
    }
    f = one(graph, "F")
    assert (f.op, f.shape, f.dtype, f.device) == ("mul", (1,), "float32", "cpu")
    assert f.source is not None
    assert (f.source.file, f.source.line, f.source.code) == ("ab2.py", 5, "F = A * B")
    assert one(graph, "G").marks == {"root"}


def test_a_retained_gradient_is_there() -> None:
    graph = builders.ab2_trace(retain=True).step(0).graph("both")
    f = one(graph, "F")
    assert (f.has_grad, f.grad, f.retains_grad) == (True, (2.0,), True)
    assert "retained" in f.marks
    assert any("retain_grad" in note for note in f.notes)


def test_without_a_backward_the_whole_step_is_shown() -> None:
    step = builders.ab2_trace(backward=False).step(0)
    assert names(step.graph("forward").nodes) == ["A", "B", "mul", "F", "mul", "G"]
    assert step.graph("backward").nodes == ()
    assert edges(step.graph("both")) == {("A", "F"), ("B", "F"), ("F", "G")}
    assert one(step.graph("both"), "A").has_grad is False


def test_ids_are_the_same_in_every_kind_and_can_be_told_from_the_records() -> None:
    step = builders.ab2_trace().step(0)
    graphs = {kind: step.graph(kind).by_id for kind in GraphKind}
    shared = graphs[GraphKind.BOTH].keys() & graphs[GraphKind.BACKWARD].keys()
    assert len(shared) == 4
    for kind in GraphKind:
        for node_id, node in graphs[kind].items():
            assert graphs[GraphKind.BOTH].get(node_id, node).label == node.label
    template = step.template
    assert graphs[GraphKind.FORWARD][tensor_id(template, 2)].label == "F"
    assert graphs[GraphKind.FORWARD][op_id(template, 2)].label == "mul"
    assert graphs[GraphKind.BACKWARD][grad_node_id(template, 0, 3)].label == "AccumulateGrad"


def test_unknown_kinds_and_backwards_are_refused() -> None:
    step = builders.ab2_trace().step(0)
    with pytest.raises(ValueError, match="sideways"):
        step.graph("sideways")
    with pytest.raises(ValueError, match="the step has 1 backward calls, there is no number 3"):
        step.graph("both", backward=3)
    with pytest.raises(ValueError, match="there is no number -1"):
        step.graph("both", backward=-1)


# -- a training step -------------------------------------------------------------------------------


def test_a_training_step_shows_the_model_and_neither_data_loading_nor_the_update() -> None:
    graph = builders.mlp_trace().step(1).graph("forward")
    ops = [node.label for node in graph.nodes if node.kind is NodeKind.OP]
    assert ops == ["linear", "relu", "linear", "cross_entropy"]
    assert one(graph, "x").role == "input"
    assert {node.label: node.module for node in graph.nodes if node.module} == {
        "fc1.weight": "fc1",
        "fc1.bias": "fc1",
        "fc2.weight": "fc2",
        "fc2.bias": "fc2",
        "self.fc1(x)": "fc1",
        "linear": "fc2",
        "logits": "fc2",
        "cross_entropy": "criterion",
        "loss": "criterion",
    }
    assert graph.modules == {"fc1": "Linear", "fc2": "Linear", "criterion": "CrossEntropyLoss"}
    assert one(graph, "logits").module_type == "Linear"


def test_versions_of_parameters_are_as_torch_counts_them() -> None:
    trace = builders.mlp_trace(3)
    assert [one(trace.step(step).graph("forward"), "fc1.weight").version for step in range(3)] == [0, 1, 2]
    backward = trace.step(2).graph("backward")
    (saved,) = (node.notes for node in backward.nodes if (node.module, node.label) == ("fc2", "AddmmBackward0"))
    assert saved == (
        "keeps h for its backward (version 0)",
        "keeps fc2.weight for its backward (version 2)",
    )


def test_gradients_are_those_after_the_backward_not_after_the_next_zero_grad() -> None:
    trace = builders.mlp_trace(2)
    bias = one(trace.step(1).graph("both"), "fc2.bias")
    assert bias.has_grad
    assert bias.grad == (0.01, 0.01, 0.01)
    assert bias.grad_stats is not None
    assert bias.stats is not None


def test_a_frozen_layer_is_told_and_not_reached_by_gradients() -> None:
    graph = builders.mlp_trace(frozen=True).step(0).graph("both")
    weight = one(graph, "fc1.weight")
    assert "frozen" in weight.marks
    assert (weight.role, weight.requires_grad, weight.has_grad) == ("parameter", False, False)
    assert "not_reached" not in weight.marks
    assert graph.outgoing[one(graph, "self.fc1(x)").id][0].kind is not EdgeKind.MADE
    assert sorted(node.name or "" for node in graph.nodes if node.kind is NodeKind.ACCUMULATE_GRAD) == [
        "fc2.bias",
        "fc2.weight",
    ]


def test_an_eval_step_without_gradients_has_no_cuts() -> None:
    trace, step = script()
    weight = step.parameter(trace.parameter("w", (2,)))
    x = step.tensor("x", (2,))
    step.phase = Phase.EVAL
    step.grad_enabled = False
    step.op("mul", (x, weight), "y", line=1, shape=(2,), grad_fn="MulBackward0")
    graph = built(step).graph("forward")
    assert edges(graph) == edges(graph, EdgeKind.DATA) == {("x", "mul"), ("w", "mul"), ("mul", "y")}
    assert not any("cut" in node.marks for node in graph.nodes)


def test_two_models_with_equal_module_names_are_told_apart() -> None:
    trace, step = script()
    source = trace.source
    for number, root in enumerate(("netD", "netG")):
        source.put_module(Module(2 * number, root, "", "Net", None))
        source.put_module(Module(2 * number + 1, root, "fc", "Linear", 2 * number))
    weights = [step.parameter(trace.parameter("fc.weight", (1,), root=root)) for root in ("netD", "netG")]
    loss = step.op("dot", weights, "loss", line=1, grad_fn="DotBackward0", module=1)
    step.backward(loss, line=2)
    graph = built(step).graph("both")
    assert sorted(node.module or "" for node in graph.nodes if node.role == "parameter") == ["netD.fc", "netG.fc"]
    assert graph.modules == {"netD": "Net", "netG": "Net", "netD.fc": "Linear", "netG.fc": "Linear"}


def test_a_grad_node_of_two_backwards_has_one_box_that_each_of_its_ids_leads_to() -> None:
    step = builders.gan_trace().step(0)
    template = step.template
    own = [
        grad_node_id(template, graph, node.index)
        for graph, found in enumerate(template.graphs)
        for node in found.nodes
        if node.tensor is not None and template.tensors[node.tensor].name == "D.0.weight"
    ]
    assert len(set(own)) == 2
    both, forward = step.graph("both"), step.graph("forward")
    assert [both.elsewhere.get(one, one) for one in own] == [own[0]] * 2
    assert own[0] in both.by_id
    assert own[1] not in both.by_id
    assert {forward.by_id[forward.elsewhere[one]].name for one in own} == {"D.0.weight"}


# -- broken paths ----------------------------------------------------------------------------------


def test_cuts_are_shown_to_where_they_were_made() -> None:
    graph = builders.cut_trace().step(0).graph("forward")
    assert edges(graph, EdgeKind.CUT) == {("h", "detach"), ("v", "mul")}
    cuts = {node.label: node.notes[-1] for node in graph.nodes if "cut" in node.marks}
    assert cuts == {
        "detach": "cut: detach() takes its result out of the graph",
        "mul": "cut: mul() ran under no_grad, so no gradient passes",
    }
    assert "not_reached" in one(graph, "v").marks
    assert "not_reached" not in one(graph, "w").marks


def test_cuts_beside_the_grad_nodes_are_on_the_tensors_they_made() -> None:
    graph = builders.cut_trace().step(0).graph("both")
    assert edges(graph, EdgeKind.CUT) == {("h", "d"), ("v", "n")}
    assert {node.label for node in graph.nodes if "cut" in node.marks} == {"d", "n"}
    assert one(graph, "v").has_grad is False


@pytest.mark.parametrize(
    ("name", "facts", "enabled", "reason"),
    [
        ("argmax", {"dtype": "int64"}, True, "the result of argmax() needs no gradient"),
        ("mul", {"is_inference": True, "version": None}, False, "inference_mode"),
        ("mul", {}, False, "no_grad"),
        ("data", {}, True, "out of the graph"),
    ],
)
def test_every_cut_says_why(name: str, facts: dict[str, object], enabled: bool, reason: str) -> None:
    _, step = script()
    x = step.leaf("x", [1.0], 1)
    w = step.leaf("w", [1.0], 1)
    step.grad_enabled = enabled
    y = step.op(name, (x,), "y", line=2, **facts)  # type: ignore[arg-type]
    step.grad_enabled = True
    z = step.op("mul", (y, w), "z", line=3, grad_fn="MulBackward0")
    step.backward(z, line=4)
    node = one(built(step).graph("both"), "y")
    assert "cut" in node.marks
    assert any(reason in note for note in node.notes)


def test_a_value_read_out_as_a_number_is_shown_with_what_led_to_it() -> None:
    trace, step = script()
    x = step.leaf("x", [1.0], 1)
    w = step.leaf("w", [1.0], 1)
    y = step.op("mul", (x,), "y", line=2, grad_fn="MulBackward0")
    step.add(OpCall(step.phase, trace.line(3), "item", (y,), ()))
    loss = step.op("mul", (w,), "loss", line=4, grad_fn="MulBackward0")
    step.add(OpCall(step.phase, trace.line(5), "item", (loss,), ()))  # printing the loss is no broken path
    step.backward(loss, line=6)
    for kind in ("forward", "both"):
        graph = built_graph(step, kind)
        assert [edge for edge in edges(graph, EdgeKind.CUT) if edge[1] == "item"] == [("y", "item")]
        assert "not_reached" in one(graph, "x").marks


def built_graph(step: StepBuilder, kind: str) -> Graph:
    graph = built(step).graph(kind)
    assert graph_violations(graph) == []
    return graph


def test_a_detached_tensor_that_is_tracked_again_is_still_cut_off() -> None:
    trace, step = script()
    x = step.leaf("x", [1.0], 1)
    y = step.op("mul", (x,), "y", line=2, grad_fn="MulBackward0")
    d = step.op("detach", (y,), "d", line=3)
    step.add(LeafChange(step.phase, trace.line(3), d, None, "requires_grad_", True, True, None, False))
    z = step.tensor(
        "z", requires_grad=True, is_leaf=False, grad_fn="MulBackward0", made_by=step.moment_count, role="tensor"
    )
    step.add(OpCall(step.phase, trace.line(4), "mul", (d,), (z,), grad_nodes=1))
    graph = built(step).graph("forward")
    assert ("y", "detach") in edges(graph, EdgeKind.CUT)
    assert one(graph, "d").requires_grad
    assert any("requires_grad_ at s.py:3" in note for note in one(graph, "d").notes)


def test_data_without_a_call_is_cut_at_its_source() -> None:
    """`x.data` recorded as a change of status only."""
    trace, step = script()
    x = step.leaf("x", [1.0], 1)
    w = step.leaf("w", [1.0], 1)
    y = step.tensor("x.data", storage=x)
    step.add(LeafChange(step.phase, trace.line(2), y, x, "data", False, True, None, False))
    z = step.op("mul", (y, w), "z", line=3, grad_fn="MulBackward0")
    step.backward(z, line=4)
    assert edges(built_graph(step, "both"), EdgeKind.CUT) == {("x", "x.data")}


# -- writes in place -------------------------------------------------------------------------------


def test_a_stale_saved_tensor_is_marked_on_both_sides() -> None:
    graph = builders.inplace_trace().step(0).graph("both")
    y = one(graph, "y")
    assert {"mutated", "stale"} <= y.marks
    assert y.notes == ("version 0 -> 1 by mul_ at inplace.py:6",)
    assert (y.version, y.value) == (0, (2.0,))
    node = one(graph, "PowBackward0")
    assert "stale" in node.marks
    assert node.notes == ("keeps y for its backward as of version 0, but it was changed since",)


def test_a_tensor_written_in_place_is_two_nodes() -> None:
    trace, step = script()
    x = step.leaf("x", [1.0], 1)
    w = step.leaf("w", [3.0], 1)
    y = step.op("mul", (x,), "y", line=2, grad_fn="MulBackward0", values=[2.0])
    moment = step.mutate(y, "add_", (w,), line=3, before=0, after=1)
    step.sample(y, "value", moment, values=[5.0])
    step.add(LeafChange(step.phase, trace.line(3), y, None, "in-place", True, False, "AddBackward0", False))
    add = step._node(builders._Node("AddBackward0", moment, outputs=(y,)))
    step._nodes[add].targets += [(step._grad_fn[y], 0, 0), (step._function_of(w), 1, 0)]
    step._grad_fn[y] = add
    z = step.op("pow", (y,), "z", line=4, grad_fn="PowBackward0")
    step.backward(z, line=5)
    forward = built_graph(step, "forward")
    first, second = (node for node in forward.nodes if node.label == "y")
    assert (first.version, first.value, first.op, "mutated" in first.marks) == (0, (2.0,), "mul", True)
    assert (second.version, second.value, second.op, "mutated" in second.marks) == (1, (5.0,), "add_", False)
    assert (first.grad_fn, second.grad_fn) == ("MulBackward0", "AddBackward0")
    assert edges(forward) >= {("y", "add_"), ("w", "add_"), ("add_", "y"), ("y", "pow")}
    assert forward.successors(second.id) == (one(forward, "pow").id,)
    both = built_graph(step, "both")
    made = {edge.source: both.by_id[edge.target].label for edge in both.edges if edge.kind is EdgeKind.MADE}
    assert made[first.id] == "MulBackward0"
    assert made[second.id] == "AddBackward0"


def test_a_write_through_a_view_reaches_the_base() -> None:
    _, step = script()
    x = step.leaf("x", [1.0, 2.0], 1)
    base = step.op("mul", (x,), "base", line=2, shape=(2,), grad_fn="MulBackward0")
    view = step.op("select", (base,), "view", line=3, storage=base, is_view=True, base=base, grad_fn="SelectBackward0")
    step.mutate(view, "mul_", line=4, before=0, after=1)
    total = step.op("sum", (base,), "total", line=5, shape=(), grad_fn="SumBackward0")
    step.backward(total, line=6)
    graph = built_graph(step, "forward")
    first, second = (node for node in graph.nodes if node.label == "base")
    assert graph.predecessors(second.id) == (one(graph, "mul_").id,)
    assert "version 0 -> 1 by mul_ at s.py:4" in first.notes
    assert second.version == 1
    assert graph.predecessors(one(graph, "sum").id) == (second.id,)
    assert next(node for node in graph.nodes if node.label == "view").notes[0] == "version 0 -> 1 by mul_ at s.py:4"


def test_a_write_past_the_version_counter_is_told_and_raises_no_version() -> None:
    trace, step = script()
    x = step.leaf("x", [1.0], 1)
    y = step.op("mul", (x,), "y", line=2, grad_fn="MulBackward0")
    alias = step.op("data", (y,), "y.data", line=3, storage=y)
    stack = trace.line(3)
    step.add(OpCall(step.phase, stack, "mul_", (alias,), (alias,)))
    step.add(Mutation(step.phase, stack, alias, 0, 1, "mul_", counted=False))
    z = step.op("pow", (y,), "z", line=4, grad_fn="PowBackward0")
    step.backward(z, line=5)
    graph = built_graph(step, "forward")
    node = one(graph, "y")
    assert node.notes == ("written by mul_ at s.py:3, unseen by autograd: no version counts it",)
    assert "mutated" in node.marks
    assert node.version == 0
    assert graph.predecessors(one(graph, "pow").id) == (node.id,)


def test_a_detached_alias_tells_of_a_write_to_the_tensor_it_shares_memory_with() -> None:
    _, step = script()
    x = step.leaf("x", [1.0], 1)
    y = step.op("mul", (x,), "y", line=2, grad_fn="MulBackward0")
    alias = step.op("detach", (y,), "d", line=3)
    step.mutate(y, "mul_", line=4, before=0, after=1)
    step.add(Mutation(step.phase, None, alias, 0, 1, "a write that was not seen"))
    z = step.op("mul", (alias, x), "z", line=5, grad_fn="MulBackward0")
    step.backward(z, line=6)
    graph = built_graph(step, "both")
    node = one(graph, "d")
    assert node.notes[0] == "version 0 -> 1 by mul_ at s.py:4"
    assert len([note for note in node.notes if "version" in note]) == 1
    assert node.version == 1
    assert edges(graph, EdgeKind.CUT) == {("y", "d")}


def test_an_op_that_returns_its_input_is_no_write() -> None:
    trace, step = script()
    x = step.leaf("x", [1.0], 1)
    y = step.op("mul", (x,), "y", line=2, grad_fn="MulBackward0")
    step.add(OpCall(step.phase, trace.line(3), "contiguous", (y,), (y,)))
    z = step.op("pow", (y,), "z", line=4, grad_fn="PowBackward0")
    step.backward(z, line=5)
    assert [node.label for node in built_graph(step, "forward").nodes if node.kind is NodeKind.OP] == ["mul", "pow"]


def test_parameters_and_buffers_stay_one_node_with_notes() -> None:
    trace, step = script()
    parameter = trace.parameter("w", (1,))
    trace.source.put_step(builders.ab2_trace().step(0).row._replace(number=-1, versions=((parameter, 7),), template=0))
    w = step.parameter(parameter)
    step.grad_enabled = False
    step.mutate(w, "mul_", line=1, before=0, after=1)
    step.grad_enabled = True
    y = step.op("pow", (w,), "y", line=2, grad_fn="PowBackward0")
    step.backward(y, line=3)
    step.done(versions=((parameter, 7),))
    trace.source.put_template(replace(trace.source.template(0), version_bumps=()))
    node = one(trace.trace().step(0).graph("both"), "w")
    assert node.notes == ("version 7 -> 8 by mul_ at s.py:1",)
    assert node.version == 8


def test_filling_new_memory_is_no_change_in_place() -> None:
    trace, step = script()
    w = step.parameter(trace.parameter("w", (1,)))
    step.mutate(w, "kaiming_uniform_", line=1, before=0, after=1)
    step.mutate(w, "mul_", line=1, before=1, after=2)
    x = step.op("empty", (), "x", line=2, values=[9.0])
    filled = step.mutate(x, "uniform_", line=2, before=0, after=1)
    step.sample(x, "value", filled, values=[0.5])
    y = step.op("mul", (w, x), "y", line=3, grad_fn="MulBackward0")
    step.backward(y, line=4)
    graph = built_graph(step, "both")
    assert [(node.label, node.version, node.notes) for node in graph.nodes if node.label in "wx"] == [
        ("w", 2, ()),
        ("x", 1, ()),
    ]
    assert one(graph, "x").value == (0.5,)
    assert not any("mutated" in node.marks for node in graph.nodes)


def test_an_update_between_two_backwards_is_told_on_the_parameter() -> None:
    trace, step = script()
    trace.optimizer("SGD", (0,))
    w = step.parameter(trace.parameter("w", (1,)))
    first = step.op("mul", (w,), "first", line=1, grad_fn="MulBackward0")
    second = step.op("pow", (w,), "second", line=2, grad_fn="PowBackward0")
    step.backward(first, line=3)
    step.update(0, (w,), line=4)
    step.backward(second, line=5)
    found = built(step)
    node = one(found.graph("both"), "w")
    assert node.notes == ("version 0 -> 1 by SGD.step at s.py:4",)
    assert "mutated" in node.marks
    assert one(found.graph("both", backward=0), "w").notes == ()


# -- devices ---------------------------------------------------------------------------------------


def test_copies_on_another_device_are_results_and_say_where_they_came_from() -> None:
    graph = builders.move_trace().step(0).graph("both")
    copy = one(graph, "a_cuda")
    assert "moved" in copy.marks
    assert copy.notes == ("cpu -> cuda:0 at move.py:5",)
    assert (copy.role, copy.is_leaf, copy.has_grad, copy.device) == ("result", False, False, "cuda:0")
    assert one(graph, "a").grad == (40.0,)
    assert ("a_cuda", "ToCopyBackward0") in edges(graph, EdgeKind.MADE)


# -- several backwards -----------------------------------------------------------------------------


def two_losses() -> StepBuilder:
    """Two losses over one encoder; the second backward goes through the encoder's nodes again."""
    _, step = script()
    w = step.leaf("w", [2.0], 1)
    h = step.op("linear", (w,), "h", line=2, grad_fn="AddmmBackward0", composite=("ViewBackward0", "ViewBackward0"))
    first = step.op("pow", (h,), "first", line=3, grad_fn="PowBackward0")
    second = step.op("mul", (h,), "second", line=4, grad_fn="MulBackward0")
    step.backward(first, line=5)
    step.phase = Phase.LOSS
    step.backward(second, line=6)
    return step


def test_a_grad_node_that_two_backwards_run_through_is_one_node() -> None:
    graph = built_graph(two_losses(), "backward")
    assert sorted(names(graph.nodes)) == [
        "AccumulateGrad",
        "AddmmBackward0",
        "MulBackward0",
        "PowBackward0",
        "ViewBackward0",
        "ViewBackward0",
    ]
    assert [node.label for node in graph.nodes if "root" in node.marks] == ["PowBackward0", "MulBackward0"]
    assert "ran 2 times" in one(graph, "AddmmBackward0").notes
    assert len(graph.edges) == 5


def test_one_of_several_backwards_can_be_picked() -> None:
    step = built(two_losses())
    assert {node.label for node in step.graph("forward", backward=0).nodes} == {"w", "linear", "h", "pow", "first"}
    assert {node.label for node in step.graph("forward", backward=1).nodes} == {"w", "linear", "h", "mul", "second"}
    assert len(step.graph("backward", backward=1).nodes) == 5
    assert graph_violations(step.graph("both", backward=1)) == []


def test_look_alikes_that_do_not_match_are_shown_side_by_side() -> None:
    """Two nodes of one op under one name, met in another order by the second backward."""
    step = two_losses()
    graph = step.graphs[1]
    place = {node.name: [n.index for n in graph.nodes if n.name == node.name] for node in graph.nodes}
    one_view, other_view = place["ViewBackward0"]
    swap = {one_view: other_view, other_view: one_view}
    step.graphs[1] = replace(
        graph,
        edges=tuple(
            replace(edge, source=swap.get(edge.source, edge.source), target=swap.get(edge.target, edge.target))
            for edge in graph.edges
        ),
    )
    found = built_graph(step, "backward")
    assert names(found.nodes).count("ViewBackward0") == 4
    assert names(found.nodes).count("AddmmBackward0") == 1


def test_a_failed_backward_leaves_no_gradient() -> None:
    graph = builders.inplace_trace().step(0).graph("both")
    assert one(graph, "x").has_grad is False
    assert "not_reached" not in one(graph, "x").marks


def test_a_step_without_recorded_graphs_still_draws_its_forward() -> None:
    trace, step = script()
    x = step.leaf("x", [1.0], 1)
    y = step.op("mul", (x,), "y", line=2, grad_fn="MulBackward0")
    step.add(Backward(Phase.BACKWARD, trace.line(3), "backward", -1, (y,)))
    found = built(step)
    assert names(found.graph("forward").nodes) == ["x", "mul", "y"]
    assert found.graph("backward").nodes == ()


def test_a_graph_that_was_made_in_an_earlier_step_says_so() -> None:
    trace, step = script()
    h = step.tensor("h", requires_grad=True, is_leaf=False, grad_fn="TanhBackward0", carried=True, role="tensor")
    step._grad_fn[h] = step._node(builders._Node("TanhBackward0", outputs=(h,)))
    y = step.op("mul", (h,), "y", line=2, grad_fn="MulBackward0")
    step.backward(y, line=3)
    row = step.done()
    template = trace.source.template(row.template)
    nodes = tuple(replace(node, carried=node.op is None) for node in template.graphs[0].nodes)
    trace.source.put_template(replace(template, graphs=(replace(template.graphs[0], nodes=nodes),)))
    trace.source.put_step(row._replace(carried=((h, 4, 17),)))
    graph = trace.trace().step(0).graph("both")
    assert one(graph, "h").notes == ("was there already in step 4",)
    assert one(graph, "h").role == "result"
    assert one(graph, "TanhBackward0").notes == ("made in an earlier step",)


@pytest.mark.parametrize(("met_in", "note"), [(-1, "made before the first step"), (6, "was there already in step 6")])
def test_data_made_once_before_the_loop_stays_an_input_in_every_step(met_in: int, note: str) -> None:
    trace, step = script()
    x = step.tensor("x", carried=True, role="tensor")
    w = step.leaf("w", [1.0], 1)
    y = step.op("mul", (w, x), "y", line=2, grad_fn="MulBackward0")
    step.backward(y, line=3)
    trace.source.put_step(step.done()._replace(carried=((x, met_in, 4),)))
    found = one(trace.trace().step(0).graph("both"), "x")
    assert (found.role, found.notes) == ("input", (note,))


def test_a_step_and_a_graph_introduce_themselves_in_one_line() -> None:
    step = builders.ab2_trace().step(0)
    graph = step.graph("backward")
    assert repr(step) == "<Step 0: other, recorded at full>"
    assert repr(graph) == f"<Graph backward of step 0: {len(graph.nodes)} nodes, {len(graph.edges)} edges>"


def test_a_nan_is_marked_where_it_is() -> None:
    _, step = script()
    x = step.leaf("x", [0.0], 1)
    y = step.op("log", (x,), "y", line=2, grad_fn="LogBackward0", values=[float("-inf")])
    step.backward(y, line=3, grads={x: [float("nan")]})
    graph = built_graph(step, "both")
    assert "inf" in one(graph, "y").marks
    assert "nan" in one(graph, "x").marks
    assert "nan" in one(graph, "LogBackward0").marks
    assert "nan" in one(graph, "AccumulateGrad").marks


def test_an_op_with_several_inputs_and_outputs_keeps_its_box() -> None:
    trace, step = script()
    x, w = step.leaf("x", [1.0], 1), step.leaf("w", [1.0], 1)
    moment = step.moment_count
    outputs = [
        step.tensor(
            name, requires_grad=True, is_leaf=False, grad_fn="LstmBackward0", made_by=moment, role="tensor", output=i
        )
        for i, name in enumerate(("out", "hidden"))
    ]
    step.add(OpCall(step.phase, trace.line(2), "lstm", (x, w), tuple(outputs), grad_nodes=1))
    step._grad_fn.update(
        dict.fromkeys(outputs, step._node(builders._Node("LstmBackward0", moment, outputs=tuple(outputs))))
    )
    for leaf in (x, w):
        step._nodes[step._grad_fn[outputs[0]]].targets.append((step._function_of(leaf), leaf, 0))
    y = step.op("mul", outputs, "y", line=3, grad_fn="MulBackward0")
    step.backward(y, line=4)
    graph = built_graph(step, "both")
    assert edges(graph, EdgeKind.DATA) == {
        ("x", "lstm"), ("w", "lstm"), ("lstm", "out"), ("lstm", "hidden"), ("out", "y"), ("hidden", "y")
    }  # fmt: skip
    assert edges(graph, EdgeKind.MADE) >= {("out", "LstmBackward0"), ("hidden", "LstmBackward0")}


# -- size ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", list(GraphKind))
def test_the_work_grows_with_the_graph_and_depth_is_no_matter(kind: GraphKind) -> None:
    def seconds(n: int) -> float:
        step = builders.deep_trace(n).step(0)
        best = []
        for _ in range(3):
            gc.collect()
            begin = time.process_time()
            graph = step.graph(kind)
            best.append(time.process_time() - begin)
            assert len(graph.nodes) >= n
        return min(best)

    assert seconds(10_000) < 12 * seconds(2_000) + 0.05  # five times the work, with room for a busy machine


def test_a_chain_of_fifty_thousand_ops_has_a_graph() -> None:
    graph = builders.deep_trace(50_000).step(0).graph("both")
    assert len(graph.nodes) == 100_002
    assert len(graph.topological()) == len(graph.nodes)


def test_a_foreach_op_costs_its_inputs_and_outputs_not_their_product() -> None:
    trace, step = script()
    inputs = [step.leaf(f"x{i}", [1.0], 1) for i in range(400)]
    moment = step.moment_count
    outputs = [step.tensor(f"y{i}", requires_grad=True, is_leaf=False, grad_fn="A", made_by=moment) for i in range(400)]
    step.add(OpCall(step.phase, trace.line(2), "_foreach_add", tuple(inputs), tuple(outputs)))
    assert len(built(step).graph("both").edges) == 800


def test_a_grad_node_whose_op_was_not_recorded_is_not_said_to_be_of_an_earlier_step() -> None:
    trace, step = script()
    x = step.leaf("x", [1.0], 1)
    y = step.op("mul", (x,), "y", line=2, grad_fn="MulBackward0")
    step.backward(y, line=3)
    row = step.done()
    template = trace.source.template(row.template)
    nodes = tuple(replace(node, op=None, carried=node.tensor is None) for node in template.graphs[0].nodes)
    trace.source.put_template(replace(template, graphs=(replace(template.graphs[0], nodes=nodes),)))
    graph = trace.trace().step(0).graph("backward")
    assert one(graph, "MulBackward0").notes == ("what made it was not recorded",)
    assert one(graph, "AccumulateGrad").notes == ()


@pytest.mark.parametrize(
    ("saved", "words"),
    [
        (SavedTensor("other", None, None, 4), "keeps its second operand for its backward"),
        (SavedTensor("total_weight", None, None, 4), "keeps its total weight for its backward"),
        (SavedTensor("result", 1, 0, 4), "keeps its result y for its backward (version 0)"),
        (SavedTensor("self", 0, 0, 4), "keeps x for its backward (version 0)"),
        (SavedTensor("self", 0, 0, 4, True), "keeps x for its backward as of version 0, but it was changed since"),
    ],
)
def test_what_a_grad_node_keeps_is_told_by_the_users_name(saved: SavedTensor, words: str) -> None:
    trace, step = script()
    x = step.leaf("x", [1.0], 1)
    y = step.op("exp", (x,), "y", line=2, grad_fn="ExpBackward0")
    assert (x, y) == (0, 1)
    step.backward(y, line=3)
    row = step.done()
    template = trace.source.template(row.template)
    nodes = tuple(replace(node, saved=(saved,) if node.tensor is None else ()) for node in template.graphs[0].nodes)
    trace.source.put_template(replace(template, graphs=(replace(template.graphs[0], nodes=nodes),)))
    assert one(trace.trace().step(0).graph("backward"), "ExpBackward0").notes == (words,)


@pytest.mark.parametrize(("op", "said"), [("linear", True), ("t", False)])
def test_a_transposition_that_linear_made_is_explained(op: str, said: bool) -> None:
    _, step = script()
    x = step.leaf("x", [1.0], 1)
    y = step.op(op, (x,), "y", line=2, grad_fn="TBackward0")
    step.backward(y, line=3)
    notes = one(built(step).graph("backward"), "TBackward0").notes
    assert any("works with the transposed weight" in note for note in notes) is said


@pytest.mark.parametrize("kind", ["backward", "both", "forward"])
def test_the_roots_of_several_backwards_are_numbered(kind: str) -> None:
    _, step = script()
    w = step.leaf("w", [1.0], 1)
    for _ in range(2):
        loss = step.op("mul", (w,), "loss", line=2, grad_fn="MulBackward0")
        step.backward(loss, line=3)
    graph = built(step).graph(kind)
    assert [node.notes[0] for node in graph.nodes if "root" in node.marks and node.kind is not NodeKind.TENSOR] == (
        ["backward 1 of 2", "backward 2 of 2"] if kind != "forward" else []
    )
    roots = [node.notes[0] for node in graph.nodes if node.name == "loss"]
    assert roots == (["backward 1 of 2", "backward 2 of 2"] if kind != "backward" else [])
    alone = built(step).graph(kind, backward=1)
    assert not any("backward" in note for node in alone.nodes for note in node.notes if "of 2" in note)


def test_a_backward_that_failed_is_told_of_the_whole_picture() -> None:
    trace, step = script()
    x = step.leaf("x", [1.0], 1)
    y = step.op("mul", (x,), "y", line=2, grad_fn="MulBackward0")
    step.add(Backward(Phase.BACKWARD, trace.line(3), "backward", -1, (y,), error="RuntimeError: no"))
    for kind in GraphKind:
        assert built(step).graph(kind).notes == ("backward at s.py:3 failed: RuntimeError: no",)


@pytest.mark.parametrize(("name", "drawn"), [("torch.empty(2)", False), ("", False), ("x", True)])
def test_fresh_memory_of_a_parameter_is_drawn_only_where_it_has_a_name(name: str, drawn: bool) -> None:
    _, step = script()
    memory = step.tensor(name, role="tensor")
    w = step.tensor("w", requires_grad=True, is_leaf=True, role="parameter", parameter=None)
    step.add(LeafChange(Phase.OTHER, None, w, memory, "Parameter", True, True, None, False))
    y = step.op("mul", (w,), "y", line=2, grad_fn="MulBackward0")
    step.backward(y, line=3)
    graph = built(step).graph("both")
    assert {node.id for node in graph.nodes if node.kind is NodeKind.TENSOR} == {w, y} | ({memory} if drawn else set())
