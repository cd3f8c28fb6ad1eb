"""The chain rule in a row: as it is written on paper, from the numbers that were recorded."""

from __future__ import annotations

from gradscope.tui.lanes.chain import chain_rule
from tests import builders
from tests.unit.tui.scenes import scene_of


def rules(moment: int = -2) -> dict[str, tuple[str, ...]]:
    scene = scene_of(builders.ab2_trace(), 0, moment)
    (graph,) = scene.step.graphs
    return {
        scene.step.tensors[node.output_tensors[0]].name if node.output_tensors else node.name: chain_rule(
            scene, 0, node.index
        )
        for node in graph.nodes
    }


def test_a_product_sends_each_factor_times_what_came() -> None:
    assert rules()["F"] == ("2 × B (20) → A 40", "2 × A (10) → B 20")


def test_a_factor_that_no_saved_tensor_has_is_a_number() -> None:
    assert rules()["G"] == ("1 × 2 → F 2",)


def test_a_leaf_only_adds_up() -> None:
    assert rules()["AccumulateGrad"] == ()


def test_before_it_runs_a_node_has_none() -> None:
    assert set(rules(0).values()) == {()}


def test_many_numbers_are_no_line_on_paper() -> None:
    scene = scene_of(builders.mlp_trace(), 1, -2)
    nodes = [node for node in scene.step.graphs[0].nodes if node.name.startswith("Addmm")]
    assert nodes
    assert not any(chain_rule(scene, 0, node.index) for node in nodes)
