from __future__ import annotations

from collections import defaultdict

from hypothesis import given, settings
from hypothesis import strategies as st

from gradscope.render.lanes import Lanes, order

Edges = list[tuple[int, int]]

CONNECTS = {  # up, down, left, right
    "│": (True, True, False, False),
    "─": (False, False, True, True),
    "├": (True, True, False, True),
    "┤": (True, True, True, False),
    "┼": (True, True, True, True),
    "┬": (False, True, True, True),
    "┴": (True, False, True, True),
    "╭": (False, True, False, True),
    "╮": (False, True, True, False),
    "╰": (True, False, False, True),
    "╯": (True, False, True, False),
    "o": (True, True, True, True),
}
CONNECTS |= {"┆": CONNECTS["│"], "╌": CONNECTS["─"]}


def laid_out(nodes: list[int], edges: Edges, dashed: bool = False) -> Lanes:
    return Lanes(ordered(nodes, edges), [(*edge, dashed) for edge in edges])


def ordered(nodes: list[int], edges: Edges) -> list[int]:
    return order(nodes, targets_of(edges))


def targets_of(edges: Edges) -> dict[int, list[int]]:
    targets: dict[int, list[int]] = defaultdict(list)
    for source, target in edges:
        targets[source].append(target)
    return dict(targets)


def drawn(nodes: list[int], edges: Edges, dashed: bool = False) -> list[str]:
    lanes = laid_out(nodes, edges, dashed)
    return [lanes.draw(row, str(node)) for row, node in enumerate(lanes.order)]


def test_a_chain_is_one_lane() -> None:
    assert drawn([1, 2, 3], [(1, 2), (2, 3)]) == ["1", "2", "3"]


def test_what_one_node_reads_runs_down_to_it_and_never_looks_like_what_follows_from_another() -> None:
    assert drawn([1, 2, 3, 4], [(1, 4), (2, 4), (3, 4)]) == ["1", "│ 2", "│ │ 3", "4─┴─╯"]


def test_what_alone_feeds_a_node_of_many_shares_a_lane() -> None:
    assert drawn([1, 2, 3, 4, 5, 6], [(one, 6) for one in range(1, 6)]) == ["1", "├─2", "├─3", "├─4", "├─5", "6"]


def test_what_ends_hangs_on_its_feeder() -> None:
    assert drawn([1, 2, 3, 4], [(1, 2), (1, 3), (1, 4)]) == ["1", "├─2", "├─3", "4"]


def test_a_residual_is_a_lane_beside_what_it_goes_around() -> None:
    assert drawn([1, 2, 3, 4], [(1, 2), (1, 4), (2, 3), (3, 4)]) == ["1", "├─2", "│ 3", "4─╯"]


def test_a_bar_bridges_the_lanes_that_it_crosses() -> None:
    edges = [(1, 2), (1, 5), (2, 3), (2, 5), (3, 5), (1, 4)]
    assert Lanes([1, 2, 3, 4, 5], [(*edge, False) for edge in edges]).draw(3, "4") == "├─│─│─4"


def test_a_chain_whose_links_hang_on_one_lane_is_no_row_of_siblings() -> None:
    siblings = [(1, 2, False), (1, 3, False), (1, 4, False)]
    for edges, third in ((siblings, "├─3"), ([*siblings, (2, 3, False)], "├─┴─3")):
        lanes = Lanes([1, 2, 3, 4], edges)
        assert [lanes.draw(row, str(row + 1)) for row in range(4)] == ["1", "├─2", third, "4"]


def test_a_cut_is_dashed_along_its_lane_and_bar() -> None:
    assert drawn([1, 2, 3], [(1, 3), (2, 3)], dashed=True) == ["1", "┆ 2", "3╌╯"]
    assert drawn([1, 2, 3], [(1, 2), (1, 3), (2, 3)], dashed=True) == ["1", "├╌2", "3╌╯"]


def test_cut_and_uncut_ways_have_lanes_of_their_own() -> None:
    lanes = Lanes([1, 2, 3], [(1, 2, False), (1, 3, True)])
    assert [lanes.draw(row, "o") for row in range(3)] == ["o╌╮", "o ┆", "  o"]


def test_parts_that_do_not_touch_stand_below_each_other() -> None:
    assert drawn([1, 2, 3, 4], [(1, 2), (3, 4)]) == ["1", "2", "  3", "  4"]


def test_what_goes_on_below_a_row() -> None:
    lanes = laid_out([1, 2, 3, 4], [(1, 2), (1, 4), (2, 3), (3, 4)])
    assert [lanes.below(row) for row in range(4)] == ["│", "│ │", "│ │", ""]


def test_a_part_of_the_columns() -> None:
    lanes = laid_out([1, 2, 3, 4], [(1, 2), (1, 4), (2, 3), (3, 4)])
    assert lanes.draw(1, "o", first=1) == "o"
    assert lanes.draw(1, "o", count=1) == "├─"


def test_a_source_starts_where_it_is_read() -> None:
    assert order([1, 2, 3, 4], {1: [3], 2: [4], 3: [4]}) == [1, 3, 2, 4]


def test_an_end_stands_where_it_is_fed() -> None:
    assert order([1, 2, 3, 4], {1: [2, 4], 2: [3]}) == [1, 4, 2, 3]


def test_a_star_of_many_is_two_columns_wide() -> None:
    many = 20_000
    lanes = laid_out(list(range(many)), [(node, many - 1) for node in range(many - 1)])
    assert lanes.width == 2


def test_a_deep_chain_is_one_column_wide() -> None:
    lanes = laid_out(list(range(50_000)), [(node, node + 1) for node in range(49_999)])
    assert lanes.width == 1
    assert lanes.draw(49_999, "o") == "o"


GRAPHS = st.lists(st.tuples(st.integers(0, 13), st.integers(0, 13)), max_size=40).map(
    lambda pairs: sorted({(min(pair), max(pair)) for pair in pairs if pair[0] != pair[1]})
)


@given(GRAPHS, st.permutations(range(14)))
@settings(max_examples=300, deadline=None)
def test_what_is_drawn_connected_are_the_edges_and_nothing_else(edges: Edges, nodes: list[int]) -> None:
    lanes = laid_out(nodes, edges)
    picture = [lanes.draw(row, "o").ljust(2 * lanes.width) for row in range(len(nodes))]
    assert edges_of_picture(picture, list(lanes.order), set(edges)) == set(edges)


@given(GRAPHS, st.data())
@settings(max_examples=150, deadline=None)
def test_cut_edges_never_share_a_lane_with_others(edges: Edges, data: st.DataObject) -> None:
    cut = set(data.draw(st.lists(st.sampled_from(edges)) if edges else st.just([])))
    lanes = Lanes(ordered(list(range(14)), edges), [(*edge, edge in cut) for edge in edges])
    picture = [lanes.draw(row, "o").ljust(2 * lanes.width) for row in range(14)]
    assert edges_of_picture(picture, list(lanes.order), set(edges)) == set(edges)
    for net in nets_of_picture(picture):
        touched = [lanes.order[row] for row in net]
        from_first = {(touched[0], other) for other in touched[1:]}
        to_last = {(other, touched[-1]) for other in touched[:-1]}
        assert any(way <= cut or way <= set(edges) - cut for way in (from_first, to_last))


@given(GRAPHS)
@settings(max_examples=150, deadline=None)
def test_every_node_has_one_row_after_its_sources(edges: Edges) -> None:
    found = ordered(list(range(14)), edges)
    place = {node: row for row, node in enumerate(found)}
    assert sorted(found) == list(range(14))
    assert all(place[source] < place[target] for source, target in edges)


@given(GRAPHS)
@settings(max_examples=100, deadline=None)
def test_below_agrees_with_the_row_below(edges: Edges) -> None:
    lanes = laid_out(list(range(14)), edges)
    for row in range(13):
        after = lanes.below(row).ljust(2 * lanes.width)
        following = lanes.draw(row + 1, "o").ljust(2 * lanes.width)
        for column in range(0, 2 * lanes.width, 2):
            goes_on = CONNECTS.get(after[column], (False,) * 4)[1]
            arrives = following[column] != "o" and CONNECTS.get(following[column], (False,) * 4)[0]
            assert goes_on == arrives or following[column] == "o"


def edges_of_picture(picture: list[str], nodes: list[int], edges: set[tuple[int, int]]) -> set[tuple[int, int]]:
    """Reads a picture as a person does: what a lane touches is the way of its first node to all others, or of
    all others to its last. A lane that reads neither way shows an edge that is none."""
    found: set[tuple[int, int]] = set()
    for net in nets_of_picture(picture):
        touched = [nodes[row] for row in net]
        ways = [{(touched[0], other) for other in touched[1:]}, {(other, touched[-1]) for other in touched[:-1]}]
        readings = [way for way in ways if way <= edges]
        assert readings, f"{touched} hang together in\n" + "\n".join(picture)
        found.update(*readings)
    return found


def nets_of_picture(picture: list[str]) -> list[list[int]]:
    """The rows that each lane touches, from top to bottom."""
    nets: list[list[int]] = []
    bars = [bar_of(line) for line in picture]
    for column in range(0, max(map(len, picture), default=0), 2):
        net: list[int] = []
        for row, line in enumerate(picture):
            sign = line[column]
            up, down, *_ = CONNECTS.get(sign, (False,) * 4)
            if sign == "o":
                siblings = row > 0 and picture[row - 1][column] == "o" and len(bars[row]) > 1 < len(bars[row - 1])
                if net and not siblings:
                    nets.append([*net, row])
                net = [row]
                continue
            net = net if up else []
            if column in bars[row] and sign not in "│┆─╌":
                net = [*net, row]
            if net and not down:
                nets.append(net)
                net = []
    return [net for net in nets if len(net) > 1]


def bar_of(line: str) -> range:
    """The places of a line that are tied to its node."""
    first = last = line.index("o")
    while line[last + 1 : last + 2] in ("─", "╌"):
        last += 2
    while first > 0 and line[first - 1] in "─╌":
        first -= 2
    return range(first, last + 1)
