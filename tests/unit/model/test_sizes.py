from __future__ import annotations

from gradscope.model.sizes import UNKNOWN, all_known, elements


def test_elements_are_counted_where_each_size_is_known() -> None:
    assert (elements((3, 4)), elements(()), elements((2, 0))) == (12, 1, 0)
    assert elements((3, UNKNOWN, 4)) == elements((UNKNOWN, UNKNOWN)) == 0
    assert all_known(())
    assert not all_known((3, UNKNOWN))
