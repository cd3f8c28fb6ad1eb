"""Rows become records; equal ones are read once."""

from __future__ import annotations

import pytest

from gradscope.store.rows import edge_of, moment_of, moment_row
from tests.builders import mlp_trace


def test_equal_rows_are_one_record() -> None:
    for moment in mlp_trace().step(1).moments:
        row = moment_row(moment)
        assert moment_of(row) == moment
        assert moment_of(moment_row(moment)) is moment_of(row)


def test_a_row_that_only_looks_equal_is_read_for_itself() -> None:
    edge = edge_of((1, 2, 0, 0))
    assert edge.source == 1
    for other in ((1.0, 2, 0, 0), (True, 2, 0, 0), (1, 2, False, 0)):
        with pytest.raises(ValueError, match="whole number"):
            edge_of(other)
