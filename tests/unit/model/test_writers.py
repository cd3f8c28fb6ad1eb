"""Which op a mutation was made by: told by the trace, or in an older one read from what stands before it."""

from __future__ import annotations

import pytest

from gradscope.model.moments import NOT_TOLD, Moment, Mutation, Note, OpCall
from gradscope.model.records import Phase
from gradscope.model.writers import op_of


def call(name: str, stack: int) -> OpCall:
    return OpCall(Phase.OTHER, stack, name, (0,), (0,))


def write(name: str, stack: int | None, op: int | None = NOT_TOLD) -> Mutation:
    return Mutation(Phase.OTHER, stack, 0, 0, 1, name, op=op)


@pytest.mark.parametrize(
    ("moments", "op"),
    [
        ([call("add_", 1), call("mul_", 1), write("add_", 1, op=0)], 0),  # told, whatever lies between
        ([call("add_", 1), write("add_", 1, op=None)], None),  # told that none did
        ([call("add_", 1), write("add_", 1)], 0),
        ([call("add_", 1), write("other", 1, op=None), write("add_", 1)], 0),  # one call, two operands
        ([call("add_", 1), call("mul_", 1), write("add_", 1)], None),  # not told, and another op came between
        ([call("add_", 1), write("add_", 2)], None),
        ([call("add_", 1), write("mul_", 1)], None),
        ([write("add_", 1)], None),
        ([Note(Phase.OTHER, 1, "what is here could not be written: op"), write("add_", 1, op=0)], None),
        ([call("add_", 1)], None),  # no mutation
    ],
)
def test_the_op_of_a_mutation(moments: list[Moment], op: int | None) -> None:
    assert op_of(moments, len(moments) - 1) == op
