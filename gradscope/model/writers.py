"""Which op wrote to a tensor in place: a mutation tells it."""

from __future__ import annotations

from collections.abc import Sequence

from .moments import NOT_TOLD, Moment, Mutation, OpCall


def op_of(moments: Sequence[Moment], place: int) -> int | None:
    """The op that wrote what the mutation at `place` tells; None where none that was seen did.

    Older traces do not tell it: there it is the last op before, if it has the mutation's name and stack.
    """
    write = moments[place]
    if not isinstance(write, Mutation) or write.op is None:
        return None
    if write.op != NOT_TOLD:
        return write.op if isinstance(moments[write.op], OpCall) else None  # one that could not be written is a note
    for before in range(place - 1, -1, -1):
        op = moments[before]
        if isinstance(op, OpCall):
            return before if (op.name, op.stack) == (write.cause, write.stack) else None
    return None
