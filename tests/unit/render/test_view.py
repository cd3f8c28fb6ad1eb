from __future__ import annotations

import math
from dataclasses import replace

from gradscope.model.graph import EdgeKind, Graph, GraphKind, GraphNode, NodeKind, SourceLine
from gradscope.model.records import Stats
from gradscope.render.pieces import NodeView
from gradscope.render.view import Density, GraphView
from gradscope.render.words import Role
from gradscope.transforms import attach_parameters, combine, fold_modules, fold_repeats
from tests.builders import ab2_trace, cut_trace, inplace_trace, mlp_trace, move_trace
from tests.unit.render import graphs


def node(view: GraphView, title: str) -> NodeView:
    return next(one for one in view.nodes if one.title == title)


def test_a_leaf_reads_as_its_row_of_the_leaf_table() -> None:
    a = node(GraphView(ab2_trace().step(0).graph("both")), "A")
    assert a.role is Role.LEAF
    assert a.type_line == "float32[1] · cpu · version 0"
    assert a.rows == (
        ("data", "[10.]"),
        ("grad", "[40.]"),
        ("is_leaf", "True"),
        ("requires_grad", "True"),
        ("grad_fn", "None"),
    )


def test_a_result_says_which_op_made_it_where_ops_have_no_box() -> None:
    f = node(GraphView(ab2_trace().step(0).graph("both")), "F")
    assert f.role is Role.RESULT
    assert f.rows[0] == ("op", "mul")
    assert dict(f.rows)["grad"] == "None"
    assert "op" not in dict(node(GraphView(ab2_trace().step(0).graph("forward")), "F").rows)


def test_the_forward_picture_says_nothing_of_gradients_that_came_later() -> None:
    assert "grad" not in dict(node(GraphView(ab2_trace().step(0).graph("forward")), "A").rows)


def test_grad_nodes_say_what_they_received_and_when_they_ran() -> None:
    view = GraphView(ab2_trace().step(0).graph("backward"))
    first = next(one for one in view.nodes if one.marks == ("root",))
    assert first.rows == (("receives", "[1.]"), ("runs", "1st"))
    fills = {dict(one.rows)["fills"] for one in view.nodes if one.role is Role.ACCUMULATE_GRAD}
    assert fills == {"A.grad", "B.grad"}


def test_where_backward_starts_is_said_once() -> None:
    view = GraphView(ab2_trace().step(0).graph("both"))
    assert [one.title for one in view.nodes if "root" in one.marks] == ["G"]


def test_roles_of_parameters_and_of_tensors_without_gradient() -> None:
    frozen = GraphView(mlp_trace(frozen=True).step(1).graph("forward"))
    assert node(frozen, "fc1.weight").role is Role.FROZEN
    assert node(frozen, "fc2.weight").role is Role.PARAMETER
    assert node(frozen, "h").role is Role.NO_GRAD
    assert node(frozen, "x").role is Role.INPUT
    buffer = GraphNode(0, NodeKind.TENSOR, "running_mean", role="buffer", status=graphs.status(requires_grad=False))
    assert GraphView(Graph(GraphKind.FORWARD, (buffer,), ())).nodes[0].role is Role.BUFFER


def test_marks_become_badges_gravest_first() -> None:
    y = node(GraphView(inplace_trace().step(0).graph("both")), "y")
    assert y.badges == ("changed since saved", "changed in place")
    copy = node(GraphView(move_trace().step(0).graph("both")), "a_cuda")
    assert copy.badges == ("moved",)
    assert "cuda:0" in copy.type_line


def test_a_cut_says_why() -> None:
    view = GraphView(cut_trace().step(0).graph("both"))
    cuts = {edge.label for edge in view.edges if edge.kind.value == "cut"}
    assert cuts == {"detach", "cut"}
    assert any("no_grad" in note for note in node(view, "n").notes)


def test_many_tensors_are_written_briefly_and_tooltips_keep_everything() -> None:
    view = GraphView(graphs.resnet(2))
    weight = next(one for one in view.nodes if one.group == "layer1.0.conv1" and one.role is Role.PARAMETER)
    assert (weight.title, weight.type_line, weight.rows) == ("weight", "float32[16, 16, 3, 3]", ())
    assert "layer1.0.conv1.weight" in weight.tooltip
    assert "requires_grad: True" in weight.tooltip
    assert "resnet.py:" in weight.tooltip
    full = GraphView(graphs.resnet(2), density=Density.FULL)
    assert node(full, "layer1.0.conv1.weight").rows


def test_statistics_stand_in_for_values_that_were_not_kept() -> None:
    stats = Stats(32, 1.0, 0.03125, 2.0, -1.0, 1.0, 0, 2, 1)
    big = GraphNode(0, NodeKind.TENSOR, "w", shape=(32,), dtype="float32", stats=stats, has_grad=True, grad_stats=stats)
    rows = dict(GraphView(Graph(GraphKind.BOTH, (big,), ())).nodes[0].rows)
    assert rows["data"] == "2 NaN, 1 Inf, mean 0.0312, norm 2"
    assert rows["grad"] == rows["data"]


def test_a_gradient_that_was_not_sampled_is_not_none() -> None:
    plain = GraphNode(0, NodeKind.TENSOR, "w", shape=(32,), has_grad=True, value=(math.nan,))
    assert dict(GraphView(Graph(GraphKind.BOTH, (plain,), ())).nodes[0].rows)["grad"] == "not None"


def test_an_inference_tensor_has_no_version() -> None:
    plain = GraphNode(0, NodeKind.TENSOR, "t", shape=(1,), dtype="float32", status=graphs.status(requires_grad=False))
    assert GraphView(Graph(GraphKind.BOTH, (plain,), ())).nodes[0].type_line == "float32[1] · version untracked"
    passing = replace(plain, status=graphs.status())  # of a live tensor's history only the grad_fn is known
    assert GraphView(Graph(GraphKind.BOTH, (passing,), ())).nodes[0].type_line == "float32[1]"


def test_a_run_of_equal_blocks_is_counted_once_on_its_module() -> None:
    view = GraphView(fold_repeats(graphs.transformer(12)))
    assert (view.modules["h.0"].heading, view.modules["h.0"].type) == ("0–11 ×12", "Block")
    assert view.modules["h"].count == 1
    assert {one.count for one in view.nodes} == {1}
    folded = GraphView(fold_modules(fold_repeats(graphs.transformer(12)), 1))
    assert [one.heading for one in folded.nodes if one.count > 1] == ["h.0–11 ×12"]


def test_title_and_subtitle() -> None:
    view = GraphView(graphs.mlp())
    assert view.title == "train.py"
    assert view.subtitle == "step 3 · forward and backward · 10 tensors · 8 grad nodes"
    empty = GraphView(Graph(GraphKind.FORWARD, (), ()))
    assert (empty.title, empty.subtitle) == ("autograd graph", "forward · empty")
    assert GraphView(replace(graphs.ab2(), step=-1)).subtitle.startswith("setup · ")


def test_a_node_links_to_its_line() -> None:
    plain = GraphNode(0, NodeKind.OP, "mul", source=SourceLine("a.py", 3, "x * y"))
    view = GraphView(Graph(GraphKind.FORWARD, (plain,), ())).nodes[0]
    assert (view.link, view.source) == ("./a.py#L3", "a.py:3  x * y")


def test_a_call_says_what_it_made_what_it_reads_alone_and_what_its_backward_does() -> None:
    view = GraphView(attach_parameters(combine(mlp_trace().step(1).graph("both"))))
    fc2 = next(one for one in view.nodes if one.title == "fc2")
    assert (fc2.caption, fc2.type_line, fc2.group) == ("Linear", "linear → logits · float32[16, 3]", "")
    assert fc2.parts[0].words == "weight float32[3, 8] · |g| 0.049"
    assert [part.role for part in fc2.parts] == [Role.PARAMETER, Role.PARAMETER, Role.GRAD_FN, Role.GRAD_FN]
    assert fc2.parts[2].words.startswith("AddmmBackward0 +1 · |g| ")
    assert fc2.parts[3].words == "keeps h, weight"
    assert "fc2.weight: float32[3, 8] · cpu · version 1 · data " in fc2.tooltip
    assert "is_leaf True · requires_grad True" in fc2.tooltip, "the leaf table's row is in the tooltip"
    assert view.modules == {}, "a module that is one call has no box around that call's"
    forward = GraphView(attach_parameters(combine(mlp_trace().step(1).graph("forward"))))
    assert [part.words for one in forward.nodes if one.title == "fc2" for part in one.parts] == [
        "weight float32[3, 8]",
        "bias float32[3]",
    ]


def test_edges_between_the_same_two_nodes_are_one_with_a_count() -> None:
    sketch = graphs.Sketch()
    x = sketch.tensor("x")
    sketch.op("mul", x, x, name="y")
    (edge,) = [edge for edge in GraphView(sketch.graph()).edges if edge.kind is EdgeKind.DATA]
    assert edge.label == "×2"
