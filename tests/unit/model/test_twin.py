"""Records made in bulk are the records that their class makes."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, dataclass, field, replace

import pytest

from gradscope.model.graph import EdgeKind, GraphEdge, GraphNode, NodeKind
from gradscope.model.moments import OpCall
from gradscope.model.records import Phase, Tensor
from gradscope.model.twin import maker


def test_what_a_twin_makes_is_the_record_itself() -> None:
    edge, node = maker(GraphEdge), maker(GraphNode)
    assert edge(1, 2, EdgeKind.GRAD, label="3") == GraphEdge(1, 2, EdgeKind.GRAD, 0, "3")
    made, plain = node(7, NodeKind.OP, "mul", op="mul"), GraphNode(7, NodeKind.OP, "mul", op="mul")
    assert type(made) is GraphNode
    assert (made, hash(made), repr(made)) == (plain, hash(plain), repr(plain))
    assert replace(made, label="add") == replace(plain, label="add")


def test_so_it_is_of_a_record_that_inherits_fields() -> None:
    facts: dict[str, object] = {
        "requires_grad": True, "is_leaf": False, "grad_fn": "MulBackward0", "retains_grad": False, "version": 3,
        "device": "cpu", "dtype": "float32", "number": 7, "name": "x", "shape": (2,), "layout": "strided",
        "is_inference": False, "storage": 1, "nbytes": 8,
    }  # fmt: skip
    made, plain = maker(Tensor)(**facts), Tensor(**facts)  # type: ignore[arg-type]
    op, called = maker(OpCall)(Phase.FORWARD, 1, "mul", (1,), (2,)), OpCall(Phase.FORWARD, 1, "mul", (1,), (2,))
    for one, other in ((made, plain), (op, called)):
        assert type(one) is type(other)
        assert (one, hash(one), repr(one)) == (other, hash(other), repr(other))
    for one, name in ((made, "version"), (made, "grad_fn"), (op, "name"), (op, "phase")):
        with pytest.raises(FrozenInstanceError):
            setattr(one, name, None)


def test_it_is_frozen() -> None:
    made = maker(GraphEdge)(1, 2, EdgeKind.GRAD)
    with pytest.raises(FrozenInstanceError):
        made.index = 3


def test_a_record_that_does_more_than_set_its_fields_has_no_twin() -> None:
    @dataclass(frozen=True, slots=True)
    class Listed:
        items: list[int] = field(default_factory=list)

    @dataclass(frozen=True, slots=True)
    class Checked:
        number: int

        def __post_init__(self) -> None:
            assert self.number

    for record in (Listed, Checked):
        with pytest.raises(TypeError, match="does more than set its fields"):
            maker(record)
