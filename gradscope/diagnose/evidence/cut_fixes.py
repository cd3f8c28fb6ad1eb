"""How a gradient path that was cut is joined again."""

from __future__ import annotations

from collections.abc import Iterator

from ...model.fixes import Fix
from ...repair.changes.calls import with_keyword, without_call, without_op
from ...repair.changes.heads import unwrapped
from ...repair.changes.rebuilt import not_rebuilt
from ...repair.changes.statements import removed_call
from ...repair.changes.values import compared_straight_through, without_attribute
from ...repair.ways import Way
from .dataflow import Dataflow
from .gradient_cuts import Cut, condition_of, one_of_several, place_of

_MEANING = "what lies before it is trained"


def rejoined(flow: Dataflow, cut: Cut) -> tuple[Fix, ...]:
    """The ways to undo a cut, where code can say them: not for what has no derivative."""
    return flow.case.fixes(*_ways(flow, cut))


def _ways(flow: Dataflow, cut: Cut) -> Iterator[Way]:
    place = place_of(flow, cut)
    op = flow.ops[cut.op]
    if cut.kind == "mode" and condition_of(flow, cut) is None:
        yield Way("leave gradients on here", _MEANING, place, unwrapped())
        yield Way("leave gradients on here", _MEANING, place, removed_call("set_grad_enabled"))
    elif cut.kind == "detach" and not one_of_several(flow, cut):
        yield Way("pass the tensor on as it is", _MEANING, place, without_call("detach"))
        yield Way("pass the tensor on as it is", _MEANING, place, without_attribute("data"))
    elif cut.kind == "integer":
        soft = "the values stay; the gradient is that of what is compared"
        yield Way("let the gradient pass straight through", soft, place, compared_straight_through())
    elif cut.kind == "copy":
        yield Way("put the tensors themselves together", _MEANING, place, not_rebuilt())
    elif cut.kind == "grad":
        yield Way("keep the graph of the gradient", _MEANING, place, with_keyword(("grad",), "create_graph", "True"))
    elif cut.kind == "number" and _taken_out_here(flow, cut):
        yield Way("compute with the tensors themselves", _MEANING, flow.case.place(op.stack), not_rebuilt())
        yield Way("compute with the tensor itself", _MEANING, flow.case.place(op.stack), without_call("item"))
        yield Way("compute with the tensor itself", _MEANING, flow.case.place(op.stack), without_op(("float",)))


def _taken_out_here(flow: Dataflow, cut: Cut) -> bool:
    """Whether the numbers leave torch on the line of the cut: of what comes as numbers, no tensor can be made there."""
    lines = {
        (place.file, place.line) for op in flow.exits if (place := flow.case.place(flow.ops[op].stack)) is not None
    }
    here = flow.case.place(flow.ops[cut.op].stack)
    return here is not None and (here.file, here.line) in lines
