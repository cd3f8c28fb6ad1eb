from __future__ import annotations

from dataclasses import replace

import pytest

from gradscope.errors import UnknownName, UsageError
from gradscope.model.graph import EdgeKind, Graph, GraphKind, NodeKind
from gradscope.options import ViewOptions
from gradscope.transforms import (
    attach_constants,
    attach_parameters,
    combine,
    fit,
    focus,
    fold_chains,
    fold_modules,
    fold_repeats,
    fold_runs,
    passes,
    prune,
    simplify,
)
from tests.builders import gan_trace, mlp_trace
from tests.unit.render import graphs


def labels(graph: Graph) -> set[str]:
    return {node.label for node in graph.nodes}


def named(graph: Graph, label: str) -> set[NodeKind]:
    return {node.kind for node in graph.nodes if node.label == label}


def test_depth_0_shows_the_outermost_modules_as_nodes() -> None:
    folded = fold_modules(graphs.mlp("forward"), 0)
    assert labels(folded) == {"x", "fc1", "act", "fc2", "labels", "cross_entropy", "loss"}
    fc1 = next(node for node in folded.nodes if node.name == "fc1")
    assert (fc1.kind, fc1.module, fc1.module_type) == (NodeKind.MODULE, None, "Linear")
    assert fc1.notes == ("8,320 parameter elements",)
    assert [folded.by_id[node].label for node in folded.successors(fc1.id)] == ["act"]


def test_depth_1_opens_them() -> None:
    folded = fold_modules(graphs.transformer(2), 1)
    assert {"h.0", "h.1"} <= labels(folded)
    assert {node.module for node in folded.nodes if node.kind is NodeKind.MODULE} == {"h"}
    assert {"embedding", "wte.weight"} <= labels(folded)


def test_forward_and_backward_of_a_module_fold_apart() -> None:
    folded = fold_modules(graphs.mlp("both"), 0)
    halves = [node for node in folded.nodes if node.name == "fc2"]
    assert sorted(node.op or "" for node in halves) == ["", "backward"]
    assert any(edge.kind is EdgeKind.MADE for edge in folded.outgoing[halves[0].id])


def test_expand_keeps_a_module_open_and_folds_what_is_in_it() -> None:
    folded = fold_modules(graphs.transformer(2), 0, ["h.1"])
    assert {"h.0", "h.1.attn", "h.1.mlp", "wte"} <= labels(folded)
    assert "h.1" not in labels(folded)


def test_a_block_to_expand_stays_out_of_the_run_that_its_equals_fold_into() -> None:
    fitted = fit(graphs.transformer(12, kind="both"), 200, ("h.3",))
    counts = {node.module.partition(".attn")[0]: node.count for node in fitted.graph.nodes if node.module}
    own = {path: count for path, count in counts.items() if path.count(".") == 1 and path.startswith("h.")}
    assert own == {"h.0": 3, "h.3": 1, "h.4": 8}


def test_a_module_of_equal_blocks_is_one_however_many_blocks_it_has() -> None:
    folded = fold_modules(fold_repeats(graphs.transformer(12)), 0)
    assert {node.label: node.count for node in folded.nodes if node.kind is NodeKind.MODULE}["h"] == 1
    inside = fold_modules(fold_repeats(graphs.transformer(12)), 1)
    assert {node.label: node.count for node in inside.nodes if node.kind is NodeKind.MODULE}["h.0–11"] == 12


@pytest.mark.parametrize("name", ["D.0.weight", "D.0", "D"])
def test_models_are_focused_on_and_expanded_by_their_own_names(name: str) -> None:
    graph = gan_trace().step(0).graph("forward")
    assert "d_loss" in labels(focus(graph, name))
    if name != "D.0.weight":
        assert "D.0" in labels(fold_modules(graph, 0, ("D",)))


@pytest.mark.parametrize("name", ["0.weight", "0"])
def test_a_name_that_several_models_have_is_an_error_that_names_them(name: str) -> None:
    graph = gan_trace().step(0).graph("both")
    with pytest.raises(UsageError, match=f"several models .* '{name}': name G.{name} or D.{name}$"):
        focus(graph, name)
    alone = gan_trace().step(0).graph("backward", backward=0)
    assert labels(focus(alone, name)) == labels(focus(alone, f"D.{name}")), "no other model is in this graph"
    with pytest.raises(UsageError, match=r"^several models have a module called '0': name G\.0 or D\.0$"):
        fold_modules(graph, 0, ("0",))


def test_a_model_that_shares_no_name_may_be_said_or_not() -> None:
    graph = mlp_trace().step(1).graph("forward")
    assert focus(graph, "model.fc1.weight") == focus(graph, "fc1.weight")
    assert fold_modules(graph, 0, ("model.fc1",)) == fold_modules(graph, 0, ("fc1",))
    with pytest.raises(UnknownName, match=r"did you mean 'fc1.weight'"):
        focus(graph, "other.fc1.weight")


def test_an_unknown_module_to_expand_names_the_nearest() -> None:
    with pytest.raises(UnknownName, match=r"no module is called 'fc3': did you mean 'fc[12]'"):
        fold_modules(graphs.mlp(), 0, ["fc3"])


def test_a_negative_depth_is_refused() -> None:
    with pytest.raises(UsageError, match="it must be 0 or more"):
        fold_modules(graphs.mlp(), -1)


def test_a_cell_in_a_loop_folds_into_one_node_per_visit() -> None:
    sketch = graphs.Sketch()
    x = sketch.tensor("x")
    weight = sketch.param("cell.weight", (1,))
    for _ in range(3):
        x = sketch.op("mul", x, weight, module="cell")
        x = sketch.op("tanh", x)
    folded = fold_modules(sketch.graph("forward"), 0)
    folded.topological()
    assert sum(node.name == "cell" for node in folded.nodes) == 3
    assert sum(node.op == "tanh" and node.kind is NodeKind.OP for node in folded.nodes) == 3


def test_a_shared_module_folds_whole_when_nothing_lies_between_its_visits() -> None:
    sketch = graphs.Sketch()
    x, y = sketch.tensor("x"), sketch.tensor("y")
    weight = sketch.param("twin.weight", (1,))
    pair = [sketch.op("mul", one, weight, module="twin") for one in (x, y)]
    sketch.op("sub", *pair)
    folded = fold_modules(sketch.graph("forward"), 0)
    assert sum(node.name == "twin" for node in folded.nodes) == 1


def test_equal_blocks_are_drawn_once() -> None:
    whole = graphs.transformer(12)
    folded = fold_repeats(whole)
    blocks = {node.module.split(".")[1] for node in folded.nodes if node.module and node.module.startswith("h.")}
    assert blocks == {"0"}
    assert {node.count for node in folded.nodes if (node.module or "").startswith("h.")} == {12}
    assert sum(len(node.members or (0,)) for node in folded.nodes) == len(whole.nodes)
    assert [node.label for node in fold_modules(folded, 1).nodes if node.count == 12] == ["h.0–11"]


def test_both_directions_of_equal_blocks_fold() -> None:
    folded = fold_repeats(graphs.transformer(4, kind="both"))
    kinds = {node.kind for node in folded.nodes if node.count == 4}
    assert kinds == {NodeKind.TENSOR, NodeKind.GRAD_FN, NodeKind.ACCUMULATE_GRAD}


def test_a_block_with_a_nan_is_not_hidden_among_its_siblings() -> None:
    whole = graphs.transformer(5)
    sick = next(node for node in whole.nodes if node.module == "h.2.mlp.act" and node.kind is NodeKind.TENSOR)
    nodes = tuple(replace(node, marks=frozenset({"nan"})) if node.id == sick.id else node for node in whole.nodes)
    folded = fold_repeats(replace(whole, nodes=nodes))
    blocks = {node.module.split(".")[1] for node in folded.nodes if (node.module or "").startswith("h.")}
    assert blocks == {"0", "2", "3"}


def test_blocks_of_other_shapes_stay_apart() -> None:
    sketch = graphs.Sketch()
    x = sketch.tensor("x", (1, 8))
    for number, size in enumerate((8, 8, 16, 16)):
        x = graphs._linear(sketch, x, f"net.{number}", 8, size)
    folded = fold_repeats(sketch.graph("forward"))
    counts = {node.module: node.count for node in folded.nodes if node.module}
    assert counts == {"net.0": 2, "net.2": 2}


def test_blocks_with_something_between_them_stay_apart() -> None:
    sketch = graphs.Sketch()
    x = sketch.tensor("x")
    for number in range(3):
        x = sketch.op("neg", sketch.op("mul", x, module=f"net.{number}"))
    whole = sketch.graph("forward")
    assert fold_repeats(whole) == whole


def test_one_block_is_no_run() -> None:
    with pytest.raises(UsageError, match="at least 2 blocks"):
        fold_repeats(graphs.transformer(2), 1)


def test_a_chain_becomes_one_node_in_each_direction() -> None:
    folded = fold_chains(graphs.chain(100))
    assert {"mul ×99", "MulBackward0 ×99"} <= labels(folded)
    assert len(folded.nodes) == 6


def test_a_call_its_result_and_its_grad_nodes_are_one_node() -> None:
    combined = combine(graphs.ab2())
    assert [node.label for node in combined.nodes] == ["A", "B", "F", "G"]
    assert [part.label for node in combined.nodes for part in node.parts] == [
        *("AccumulateGrad", "AccumulateGrad", "MulBackward0", "MulBackward0")
    ]
    assert {(edge.source, edge.target) for edge in combined.edges} == {
        (combined.nodes[start].id, combined.nodes[end].id) for start, end in ((0, 2), (1, 2), (2, 3))
    }
    assert {edge.kind for edge in combined.edges} == {EdgeKind.DATA}, "one edge for data down and the gradient up"


def test_in_a_forward_picture_a_call_and_its_result_are_one_node() -> None:
    combined = combine(graphs.ab2("forward"))
    assert [(node.label, node.op) for node in combined.nodes if node.role == "result"] == [("F", "mul"), ("G", "mul")]
    assert len(combined.nodes) == 4


@pytest.mark.parametrize("kind", ["forward", "both"])
def test_both_has_no_more_nodes_than_forward(kind: str) -> None:
    assert len(combine(graphs.transformer(2, kind=kind)).nodes) == len(combine(graphs.transformer(2)).nodes)


def test_a_backward_alone_is_not_combined() -> None:
    graph = graphs.mlp("backward")
    assert combine(graph) is graph


def test_parameters_lie_in_their_reader() -> None:
    attached = attach_parameters(combine(graphs.mlp("both")))
    assert not any(node.role == "parameter" for node in attached.nodes)
    linear = next(node for node in attached.nodes if node.op == "linear" and node.module == "fc1")
    assert [part.label for part in linear.parts] == ["fc1.weight", "fc1.bias", "AddmmBackward0"]
    backward = attach_parameters(graphs.mlp("backward"))
    grad = next(node for node in backward.nodes if node.label == "AddmmBackward0" and node.module == "fc1")
    assert [part.name for part in grad.parts] == ["fc1.weight", "fc1.bias"]


def test_a_parameter_of_two_readers_stays_a_node() -> None:
    sketch = graphs.Sketch()
    weight = sketch.param("wte.weight", (4, 4))
    sketch.op("linear", sketch.op("embedding", weight), weight)
    assert "wte.weight" in labels(attach_parameters(combine(sketch.graph())))


def test_a_leaf_of_the_users_own_is_never_drawn_inside_another_node() -> None:
    for kind in (GraphKind.FORWARD, GraphKind.BOTH):
        assert {"A", "B"} <= labels(attach_constants(attach_parameters(combine(graphs.ab2(kind)))))


def test_a_constant_without_a_name_lies_in_its_reader_and_a_named_input_does_not() -> None:
    sketch = graphs.Sketch()
    w = sketch.tensor("w")
    ones = sketch.tensor("torch.ones(1)", requires_grad=False, role="input")
    x = sketch.tensor("x", requires_grad=False, role="input")
    sketch.op("mul", sketch.op("add", w, ones), x, name="loss")
    attached = attach_constants(combine(sketch.graph()))
    assert labels(attached) == {"w", "x", "add", "loss"}


def test_focus_on_a_tensor_keeps_its_past_and_future() -> None:
    sketch = graphs.Sketch()
    a, b = sketch.tensor("a"), sketch.tensor("b")
    c = sketch.op("exp", a, name="c")
    sketch.op("exp", b, name="d")
    sketch.op("neg", c, name="e")
    assert labels(focus(sketch.graph("forward"), "c")) == {"a", "exp", "c", "neg", "e"}


def test_focus_in_a_picture_of_both_does_not_take_in_the_backward_of_everything() -> None:
    sketch = graphs.Sketch()
    a, b = sketch.tensor("a"), sketch.tensor("b")
    c = sketch.op("exp", a, name="c")
    d = sketch.op("sin", b, name="d")
    sketch.op("mul", c, d, name="e")
    graph = sketch.graph("both")
    focused = focus(graph, "c")
    assert labels(focused) == {"a", "c", "e", "ExpBackward0", "MulBackward0", "AccumulateGrad"}
    (leaf,) = [node for node in focused.nodes if node.kind is NodeKind.ACCUMULATE_GRAD]
    assert leaf.name == "a"
    assert labels(focus(graph, "SinBackward0")) == {"b", "d", "e", "SinBackward0", "MulBackward0", "AccumulateGrad"}


def test_a_module_to_expand_that_is_not_there_is_an_error_without_a_depth_too() -> None:
    with pytest.raises(UnknownName, match=r"no module is called 'h\.1\.mpl': did you mean 'h\.1\.mlp'"):
        simplify(graphs.transformer(2), passes(ViewOptions(expand=("h.1.mpl",))))


def test_a_module_to_expand_stays_open_when_the_rest_is_folded_to_fit() -> None:
    graph = graphs.resnet(16)
    assert "layer1.0.conv1" not in {node.module for node in fit(graph, 15).graph.nodes}
    assert "layer1.0.conv1" in {node.module for node in fit(graph, 15, ("layer1.0",)).graph.nodes}


@pytest.mark.parametrize("kind", [kind.value for kind in GraphKind])
def test_ten_thousand_ops_that_read_one_leaf_are_drawn_once(kind: str) -> None:
    sketch = graphs.Sketch()
    w = sketch.tensor("w")
    y = sketch.op("neg", w, name="y")
    for _ in range(10_000):
        y = sketch.op("add", y, w, name="y")
    sketch.op("sum", y, name="loss")
    fitted = fit(sketch.graph(kind), 200)
    assert len(fitted.graph.nodes) <= 10
    assert "what a loop repeats is drawn once, ×N" in fitted.notes
    assert max(node.count for node in fitted.graph.nodes) == 10_000
    assert {"w"} <= labels(fitted.graph) or kind == "backward"


def test_blocks_that_branch_and_read_their_own_inputs_fold_too() -> None:
    """A residual recurrence over time steps, whose inputs all exist before the loop and whose states are all kept."""
    sketch = graphs.Sketch()
    w = sketch.tensor("w")
    inputs = [sketch.tensor("x", requires_grad=False, role="input") for _ in range(300)]
    h, kept = sketch.tensor("h", requires_grad=False, role="input"), []
    for x in inputs:
        update = sketch.op("tanh", sketch.op("mul", sketch.op("add", h, x), w))
        h = sketch.op("add", h, update, name="h")
        kept.append(h)
    sketch.op("stack", *kept, name="loss")
    folded = fit(sketch.graph("forward"), 200).graph
    assert len(folded.nodes) <= 20
    assert max(node.count for node in folded.nodes) >= 298
    assert len(folded.edges) <= 40


def test_a_run_keeps_what_differs_in_it_apart() -> None:
    sketch = graphs.Sketch()
    w = sketch.tensor("w")
    y = w
    for number in range(60):
        y = sketch.op("add", y, w, name="y")
        if number == 30:
            sketch.mark(y, "nan")
    folded = fold_runs(sketch.graph("both"))
    (bad,) = [node for node in folded.nodes if "nan" in node.marks]
    assert bad.count == 1
    assert sorted(node.count for node in folded.nodes if node.count > 1 and node.kind is NodeKind.TENSOR) == [29, 30]


def test_a_plain_chain_and_a_short_run_are_left_alone() -> None:
    chain = graphs.chain(100)
    assert fold_runs(chain) is chain
    assert [node.count for node in fold_runs(chain, straight=True).nodes if node.count > 1]
    sketch = graphs.Sketch()
    w = sketch.tensor("w")
    y = w
    for _ in range(6):
        y = sketch.op("add", y, w, name="y")
    assert fold_runs(sketch.graph("both")) == sketch.graph("both")


def test_focus_on_a_module_takes_what_is_inside_it() -> None:
    focused = focus(graphs.transformer(3), "h.1.attn")
    assert "idx" in labels(focused)
    assert "scaled_dot_product_attention" in labels(focused)
    assert len(focused.nodes) < len(graphs.transformer(3).nodes)  # the other blocks' parameters that come later stay


def test_an_unknown_focus_lists_few_names_of_many() -> None:
    with pytest.raises(UnknownName, match=r"no tensor or module is called 'logit': did you mean 'logits'") as caught:
        focus(graphs.transformer(12), "logit")
    assert len(str(caught.value)) < 600


def test_prune_drops_what_no_gradient_depends_on_and_keeps_the_cut() -> None:
    sketch = graphs.Sketch()
    w = sketch.tensor("w")
    y = sketch.op("exp", w, name="y")
    detached = sketch.op("detach", y, name="detached", no_grad=True)
    sketch.op("argmax", detached, name="accuracy", no_grad=True)
    kept = labels(prune(sketch.graph("forward")))
    assert kept == {"w", "exp", "y", "detach"}
    assert "detached" in labels(prune(sketch.graph("both")))


def test_a_graph_without_gradients_is_not_pruned_away() -> None:
    sketch = graphs.Sketch()
    sketch.op("exp", sketch.tensor("x", requires_grad=False, role="input"))
    assert prune(sketch.graph("forward")) == sketch.graph("forward")


def test_view_options_become_passes() -> None:
    options = ViewOptions(depth=0, expand=("h",), focus="logits")
    simple = simplify(graphs.transformer(2), passes(options))
    assert {"h.0", "h.1", "lm_head"} <= labels(simple)
    assert simplify(simple, passes(ViewOptions())) is simple


@pytest.mark.parametrize(
    ("graph", "most"),
    [
        (graphs.ab2(), 10),
        (graphs.resnet(8), 60),
        (graphs.transformer(12, kind="both"), 60),
        (graphs.chain(5_000), 10),
        (graphs.grid(70), 200),
    ],
    ids=["ab2", "resnet", "gpt", "chain", "grid"],
)
def test_any_graph_fits(graph: Graph, most: int) -> None:
    fitted = fit(graph, 200)
    assert 0 < len(fitted.graph.nodes) <= most
    if fitted.notes:
        assert fitted.notes[0].startswith(
            f"{len(fitted.graph.nodes):,} of {len(graph.nodes):,} nodes, which stand for "
        )


def test_fitting_a_50000_op_chain_does_not_recurse() -> None:
    assert len(fit(graphs.chain(50_000, "backward"), 200).graph.nodes) < 10
