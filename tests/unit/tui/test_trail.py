"""The history of jumps: back to where they began, and forward again."""

from __future__ import annotations

from gradscope.tui.cursor import Place
from gradscope.tui.trail import Trail

A, B, C, D = (Place(step, 5) for step in range(4))


def test_back_and_forward_undo_each_other() -> None:
    trail = Trail()
    trail.leave(A)
    trail.leave(B)
    assert trail.back(C) == B
    assert trail.back(B) == A
    assert trail.back(A) is None
    assert trail.forward(A) == B
    assert trail.forward(B) == C
    assert trail.forward(C) is None


def test_who_walked_on_comes_back_to_where_the_jump_began_and_forward_to_where_they_were() -> None:
    trail = Trail()
    trail.leave(A)
    assert trail.back(D) == A
    assert trail.forward(B) == D, "A walk to B after going back does not forget what lies ahead"
    assert trail.back(D) == B


def test_a_new_jump_forgets_what_lay_ahead() -> None:
    trail = Trail()
    trail.leave(A)
    assert trail.back(B) == A
    trail.leave(A)
    assert trail.forward(C) is None
    assert trail.back(C) == A


def test_a_place_where_one_is_already_is_no_way_back() -> None:
    trail = Trail()
    trail.leave(A)
    trail.leave(B)
    trail.leave(B)
    assert trail.back(B) == A, "B was walked back to"


def test_the_oldest_places_are_forgotten() -> None:
    trail = Trail()
    for step in range(1000):
        trail.leave(Place(step, 0))
    seen = 0
    here: Place | None = Place(1000, 0)
    while here is not None and (here := trail.back(here)) is not None:
        seen += 1
    assert seen == 200
