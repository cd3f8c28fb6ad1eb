from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from gradscope.render.lanes import order, rows


def drawn(nodes: list[int], edges: list[tuple[int, int]], dashed: bool = False) -> list[str]:
    signs = {node: str(node) for node in nodes}
    return [row.drawn.rstrip() for row in rows(nodes, [(*edge, dashed) for edge in edges], signs)]


def test_a_chain_is_one_lane() -> None:
    assert drawn([1, 2, 3], [(1, 2), (2, 3)]) == ["1", "2", "3"]


def test_two_inputs_join() -> None:
    assert drawn([1, 2, 3], [(1, 3), (2, 3)]) == ["1", "│ 2", "├─╯", "3"]


def test_a_residual_forks_and_joins() -> None:
    assert drawn([1, 2, 3], [(1, 2), (1, 3), (2, 3)]) == ["1", "├─╮", "2 │", "╰─┤", "  3"]


def test_three_ways_cross_nothing() -> None:
    assert drawn([1, 2, 3, 4], [(1, 2), (1, 3), (1, 4)]) == ["1", "├─┬─╮", "2 │ │", "  3 │", "    4"]


def test_a_cut_is_dashed() -> None:
    assert drawn([1, 2, 3], [(1, 3), (2, 3)], dashed=True)[1] == "┆ 2"


def test_parts_that_do_not_touch_stand_below_each_other() -> None:
    assert drawn([1, 2, 3, 4], [(1, 2), (3, 4)]) == ["1", "2", "3", "4"]


def test_a_source_starts_where_it_is_read() -> None:
    assert order([1, 2, 3, 4], {1: [3], 2: [4], 3: [4]}) == [1, 3, 2, 4]


@given(st.lists(st.tuples(st.integers(0, 11), st.integers(0, 11)), max_size=25))
@settings(max_examples=150, deadline=None)
def test_every_node_has_one_row_after_its_sources_and_every_lane_ends(pairs: list[tuple[int, int]]) -> None:
    nodes = list(range(12))
    edges = sorted({(min(pair), max(pair)) for pair in pairs if pair[0] != pair[1]})
    found = list(rows(nodes, [(*edge, False) for edge in edges], dict.fromkeys(nodes, "o")))
    place = {row.node: index for index, row in enumerate(found) if row.node is not None}
    assert sorted(place) == nodes
    assert all(place[source] < place[target] for source, target in edges)
    assert sum(row.drawn.count("o") for row in found) == len(nodes)
    assert not found[-1].after.strip()
