"""What can be reached in a graph, and the order in which its nodes can be walked."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gradscope.model.order import reached, topological


@given(st.data(), st.integers(0, 12))
def test_each_node_comes_once_and_after_all_that_lead_to_it(data: st.DataObject, count: int) -> None:
    pairs = [(source, target) for source in range(count) for target in range(source + 1, count)]
    edges = data.draw(st.lists(st.sampled_from(pairs), max_size=30)) if pairs else []
    nodes = data.draw(st.permutations(range(count)))
    targets = {node: [end for start, end in edges if start == node] for node in nodes}
    order = topological(nodes, targets)
    assert sorted(order) == list(range(count))
    assert all(order.index(source) < order.index(target) for source, target in edges)


def test_ties_keep_the_order_given() -> None:
    assert topological([3, 1, 2], {}) == [3, 1, 2]


def test_what_lies_on_a_cycle_or_behind_one_is_left_out() -> None:
    assert topological([0, 1, 2, 3], {0: [1], 1: [2], 2: [1, 3]}) == [0]


@given(st.data(), st.integers(1, 10))
def test_all_that_a_walk_leads_to_is_reached_once(data: st.DataObject, count: int) -> None:
    nodes = st.integers(0, count - 1)
    edges = data.draw(st.sets(st.tuples(nodes, nodes), max_size=30))
    starts = data.draw(st.lists(nodes, max_size=3))
    found = reached(starts, lambda node: (end for start, end in edges if start == node))
    assert len(found) == len(set(found))
    expected = set(starts)
    for _ in range(count):
        expected |= {end for start, end in edges if start in expected}
    assert set(found) == expected


def test_the_nearest_comes_first_and_a_walk_may_be_bounded() -> None:
    line = {0: [1, 2], 1: [3], 2: [4], 3: [5]}
    assert reached([0], lambda node: line.get(node, ())) == [0, 1, 2, 3, 4, 5]
    assert reached([0], lambda node: line.get(node, ()), most=3) == [0, 1, 2]
