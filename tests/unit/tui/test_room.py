"""How panes share the screen."""

from __future__ import annotations

import pytest

from gradscope.tui.room import Room

PANES = ("graph", "parameters", "inspector", "source")


@pytest.mark.parametrize("pane", PANES)
def test_a_pane_grows_and_its_neighbours_give_the_room(pane: str) -> None:
    room, column = Room(), "left" if pane in ("graph", "parameters") else "right"
    width, part = room.widths()[column], room.parts()[pane]
    assert room.grow(pane, 1)
    assert (room.widths()[column], room.parts()[pane]) == (width + 5, part + 5)
    assert sum(room.widths().values()) == 100
    assert room.grow(pane, -1)
    assert room == Room()


@pytest.mark.parametrize("pane", [*PANES, "timeline"])
@pytest.mark.parametrize("by", [1, -1])
def test_there_is_an_end_to_it_and_no_pane_vanishes(pane: str, by: int) -> None:
    room = Room()
    for _ in range(100):
        room.grow(pane, by)
    assert not room.grow(pane, by)
    assert min(*room.widths().values(), *room.parts().values()) >= 20
    assert 0 <= room.rows <= 12
