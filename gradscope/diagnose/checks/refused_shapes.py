"""Shapes that do not fit, and places that a tensor does not have: which of the two sides is the wrong one."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from ...model import op_kinds
from ...model.findings import Finding, Place, Severity
from ...model.fixes import said
from ...repair.changes.calls import argument_replaced, renamed
from ...repair.changes.values import only_argument_followed_by
from ...repair.ways import Way
from ..evidence.index import Case, at
from ..evidence.refused_inputs import Refused, layer_line, refused_call, shaped, shapes, source_line
from ..evidence.source_lines import loads_of
from ..evidence.torch_errors import ErrorKind
from ..evidence.wording import module_name
from ..rules import CERTAIN, SURE, Rule, check

SHAPES_DIFFER = Rule(
    "GS907", "shapes-do-not-fit", Severity.ERROR, "A call was given tensors whose shapes do not go together."
)
OUT_OF_RANGE = Rule(
    "GS908", "index-out-of-range", Severity.ERROR, "A place was asked of a tensor that does not have it."
)

# Of a layer's op: the axis of its input that a size of the weight must be equal to, and the weight's axis.
_MEETS = {
    "linear": (-1, -1),
    "conv1d": (1, 1),
    "conv2d": (1, 1),
    "conv3d": (1, 1),
    "conv_transpose1d": (1, 0),
    "conv_transpose2d": (1, 0),
    "conv_transpose3d": (1, 0),
    "batch_norm": (1, 0),
    "layer_norm": (-1, -1),
}
_PAIRED = (
    op_kinds.ADDS
    | op_kinds.SUBTRACTS
    | op_kinds.SCALES
    | frozenset({"where", "pow", "lerp", "gather", "__setitem__", "copy_", "maximum", "minimum"})
)
_PAIRED = (
    op_kinds.ADDS
    | op_kinds.SUBTRACTS
    | op_kinds.SCALES
    | frozenset({"where", "pow", "lerp", "gather", "__setitem__", "copy_", "maximum", "minimum"})
)
_PRODUCTS = frozenset({"matmul", "mm", "bmm", "mv", "addmm", "baddbmm", "rmatmul"})


class _Told(NamedTuple):
    message: str
    why: str
    fix: str
    culprit: Place | None
    related: tuple[Place | None, ...] = ()
    ways: tuple[Way, ...] = ()


@check(SHAPES_DIFFER, OUT_OF_RANGE)
def refused_shapes(case: Case) -> Iterator[Finding]:
    """The error that ended the script, if torch refused a shape or an index."""
    failure, tell = case.failure, _TELL.get(case.error.kind) if case.error.kind is not None else None
    refused = refused_call(case)
    if failure is None or tell is None or (refused is not None and refused.op in op_kinds.LOSSES):
        return
    struck = case.place(failure.moment.stack)
    told = tell(case, refused, struck)
    fixes = case.fixes(*told.ways)
    yield (OUT_OF_RANGE if case.error.kind is ErrorKind.INDEX_OUT_OF_RANGE else SHAPES_DIFFER).finding(
        told.message,
        culprit=told.culprit or struck,
        step=failure.step.number,
        confidence=CERTAIN if told.culprit in (None, struck) else SURE,
        related=[place for place in (_raised(case), *told.related) if place is not None],
        explanation=told.why,
        fix=said(fixes, told.fix),
        fixes=fixes,
    )


def _made(case: Case, refused: Refused | None) -> tuple[Place, ...]:
    """Where the first tensor of the call was made."""
    return source_line(case, refused, refused.data[0], "made here") if refused is not None and refused.data else ()


def _message(case: Case) -> str:
    return case.failure.moment.message.partition("\n")[0].rstrip(".") if case.failure is not None else ""


def _raised(case: Case) -> Place | None:
    return case.place(case.failure.moment.stack, "raises") if case.failure is not None else None


# -- layers --------------------------------------------------------------------------------------------


def _layer(case: Case, refused: Refused | None, struck: Place | None) -> _Told:
    """A layer whose size is not that of what comes in: the data lie otherwise, or the layer was made for other data."""
    axis, weight_axis = _MEETS.get(refused.op, (0, 0)) if refused is not None else (0, 0)
    if refused is None or refused.layer is None or not refused.data or not axis:
        return _differ(case, refused, struck)
    shape, weight = refused.tensor(refused.data[0]).shape, refused.tensor(refused.weights[0]).shape
    wanted = int(case.error.parts.get("wanted") or weight[weight_axis])
    if not -len(shape) <= axis < len(shape) or shape[axis] == wanted or -1 in shape:
        return _differ(case, refused, struck)
    name, what = module_name(case, refused.layer.id), _WHAT.get(refused.op, "channels")
    message = f"{name} takes {wanted} {what}, and {shaped(case, refused, refused.data[0])} has {shape[axis]}"
    came = source_line(case, refused, refused.data[0], "what comes in is made here")
    made = layer_line(case, refused, "the layer is made here")
    around = (made, *came)
    if refused.op == "linear" and len(shape) > 2 and math.prod(shape[1:]) == wanted:
        why = f"One sample has {' × '.join(map(str, shape[1:]))} = {wanted} values, which the layer wants in one row."
        fix = "flatten what comes in: .flatten(1), or nn.Flatten() before the layer"
        return _Told(message, why, fix, None, around, _of_argument(refused, struck, "make it one row", ".flatten(1)"))
    elsewhere = [place for place in range(1, len(shape)) if shape[place] == wanted]
    if elsewhere:
        call = f".permute({', '.join(map(str, _moved(len(shape), elsewhere[-1], axis)))})"
        why = f"Axis {elsewhere[-1]} of what comes in has {wanted}: the layer reads the axes in another order."
        ways = _of_argument(refused, struck, "put the axes in the layer's order", call)
        return _Told(message, why, f"put them in order before the layer: x{call}", None, around, ways)
    why = "The layer was made for another size than what reaches it; what comes in follows from the layers before."
    size = argument_replaced((refused.layer.type,), 0, str(shape[axis]))
    ways = (Way("make the layer for what reaches it", f"it takes {shape[axis]}", layer_line(case, refused), size),)
    fix = f"make {name} for {shape[axis]}, or change what comes in to {wanted}"
    return _Told(message, why, fix, layer_line(case, refused) or struck, came, ways)


_WHAT = {"linear": "features", "layer_norm": "features"}


def _of_argument(refused: Refused, struck: Place | None, words: str, call: str) -> tuple[Way, ...]:
    """The call of the layer with its argument changed; none where a container calls it, whose argument is another."""
    called = refused.written.partition("(")[0].rpartition(".")[2]
    if refused.layer is None or refused.layer.path.rpartition(".")[2] not in ("", called):
        return ()
    return (Way(words, "the values stay as they are", struck, only_argument_followed_by(call)),)


def _moved(count: int, source: int, to: int) -> list[int]:
    """The axes 0 to `count` with one of them in another place."""
    rest = [axis for axis in range(count) if axis != source]
    place = to % count
    return [*rest[:place], source, *rest[place:]]


def _width(case: Case, _refused: Refused | None, struck: Place | None) -> _Told:
    wanted, given = case.error.parts["wanted"], case.error.parts["given"]
    return _Told(
        f"a recurrent layer takes {wanted} features at each position, and was given {given}",
        "Its first argument, input_size, is the last axis of what it reads.",
        f"make the layer for {given}, or give it {wanted}; a sequence of numbers needs a last axis: x.unsqueeze(-1)",
        struck,
    )


def _state(case: Case, _refused: Refused | None, struck: Place | None) -> _Told:
    sites = case.sites(case.failure.moment.stack) if case.failure is not None else ()
    caller = next((site for site in sites if site.function != "forward"), None)
    wanted, given = case.error.parts["wanted"], case.error.parts["given"]
    return _Told(
        f"a recurrent layer is given a state of shape {given}, and needs {wanted} for this batch",
        "A state is (layers × directions, batch, hidden): it was made for a batch of another size, or belongs to "
        "another layer. The last batch of a loader is smaller; without batch_first the batch is the second axis.",
        "make the state for each batch: torch.zeros(layers, x.size(0), hidden), or leave it out for zeros; "
        "DataLoader(..., drop_last=True)",
        at(caller) if caller is not None else struck,
    )


def _kernel(case: Case, refused: Refused | None, struck: Place | None) -> _Told:
    what = shapes(case, refused) if refused is not None else "what comes in"
    return _Told(
        f"what is left of the picture is smaller than the kernel: {what}",
        "Each convolution without padding and each pooling makes it smaller, and here nothing is left.",
        "use larger inputs, padding=1, or one pooling less; nn.AdaptiveAvgPool2d(1) takes any size",
        struck,
        (layer_line(case, refused, "the layer is made here"),) if refused is not None else (),
    )


# -- other calls ---------------------------------------------------------------------------------------


def _differ(case: Case, refused: Refused | None, struck: Place | None) -> _Told:
    """Two tensors of a call whose shapes do not fit."""
    if refused is None and struck is not None and struck.expression.endswith(".step()"):
        owner = struck.expression.removesuffix(".step()")
        return _Told(
            f"what {owner} remembers has other shapes than its parameters",
            "An optimizer's state belongs to parameters by their place in its groups: it was saved for other ones, or "
            "for the same in another order.",
            "give the optimizer its parameters in the order in which they were when the state was saved; or begin it "
            "anew, without load_state_dict",
            loads_of(case, struck.file, owner),
        )
    if refused is None or case.failure is None:
        return _Told(
            f"the shapes do not fit: {_message(case)}",
            "torch refused the call.",
            "print the shapes at this line",
            struck,
        )
    message = f"{refused.written}: the shapes do not fit: {shapes(case, refused)}"
    related = [place for number in refused.data[:3] for place in source_line(case, refused, number, "made here")]
    why, fix = _hint(case, refused)
    return _Told(message, why, fix, struck, tuple(related))


def _hint(case: Case, refused: Refused) -> tuple[str, str]:
    """Why two shapes do not fit a call of this kind, and what most likely would."""
    own = [refused.tensor(number).shape for number in (*refused.data, *refused.weights[:1])]
    names = [case.called(refused.event.step, number) for number in (*refused.data, *refused.weights[:1])]
    if refused.op in _PRODUCTS and len(own) >= 2:
        why = "The last axis of the first and the last but one of the second have one size."
        first, second = own[-2], own[-1]
        if len(first) > 1 and len(second) > 1 and first[-1] == second[-1]:
            return why, f"transpose the second: {names[-1]}.transpose(-2, -1)"
        if len(first) > 1 and first[-2] == second[-2 if len(second) > 1 else 0]:
            return why, f"transpose the first: {names[-2]}.transpose(-2, -1)"
        return why, "follow both shapes back to where they differ"
    if refused.op in op_kinds.JOINS:
        why = "cat joins along one axis, and all the others have one size; stack wants all sizes the same."
        fix = "cut or pad them to one size first: pad_sequence for sequences, padding=1 or F.interpolate for pictures"
        return why, fix
    if len(own) < 2 or refused.op not in _PAIRED:
        return f"torch says: {_message(case)}.", "print the shapes at this line, and follow the odd one back"
    why = "Sizes are compared from the last axis on, and each pair is equal, or one of it is 1."
    short, long = sorted(own[:2], key=len)
    if len(short) < len(long) and tuple(long[: len(short)]) == tuple(short):
        missing = "None, " * (len(long) - len(short))
        return why, f"give {names[own.index(short)]} its missing last axes: [..., {missing.rstrip(', ')}]"
    if len(short) == len(long) and tuple(short[1:]) == tuple(long[1:]):
        return why, "take both from the same batch: they differ in their number of rows alone"
    return why, "follow both shapes back to where they begin to differ: a stride, a size, an axis that was summed away"


def _dimensions(case: Case, refused: Refused | None, struck: Place | None) -> _Told:
    what = f": {shapes(case, refused)}" if refused is not None else ""
    call = refused.written if refused is not None else "the call"
    return _Told(
        f"{call} wants another number of axes{what}",
        f"torch says: {_message(case)}. An axis was summed or indexed away, or a batch axis is missing.",
        "give it the axis that is missing: x.unsqueeze(0) for a batch of one, keepdim=True in the reduction; "
        "or name an axis that it has",
        struck,
        _made(case, refused),
    )


def _count(case: Case, refused: Refused | None, struck: Place | None) -> _Told:
    what = shapes(case, refused) if refused is not None else "the tensor"
    split = refused is not None and refused.op.startswith("split")
    return _Told(
        f"the sizes that are asked for do not make up what is there: {what}",
        f"A {'split' if split else 'view'} keeps all values: the sizes {'add up' if split else 'multiply'} to what "
        f"there is. torch says: {_message(case)}.",
        "ask for sizes that add up, or for a number of parts: x.chunk(2, dim=1)"
        if split
        else "keep the batch and let torch count the rest: x.flatten(1), x.view(len(x), -1)",
        struck,
        _made(case, refused),
    )


def _copy(case: Case, refused: Refused | None, struck: Place | None) -> _Told:
    what = shapes(case, refused) if refused is not None else "the tensor"
    way = Way("let it copy where it must", "the values are the same", struck, renamed(("view",), "reshape"))
    return _Told(
        f"view() cannot show {what} in that shape: its values do not lie in that order in memory",
        "After transpose, permute or a slice the values lie elsewhere; a view needs them in a row.",
        "use reshape() in place of view(), or .contiguous() before it",
        struck,
        _made(case, refused),
        (way,),
    )


def _smaller(case: Case, refused: Refused | None, struck: Place | None) -> _Told:
    what = shapes(case, refused) if refused is not None else "the tensors"
    if case.failure is not None and case.failure.moment.behind is not None:
        return _Told(
            f"inside a function transform, one value for each of the batch is written into what is there once: {what}",
            "The tensor was made without the batch, so it has no room for one value for each of its members.",
            "work out of place: torch.stack or torch.cat the parts; or make it from the input: torch.zeros_like(x)",
            struck,
        )
    return _Told(
        f"the result is larger than the tensor that it is written to in place: {what}",
        "An op in place keeps the shape of what it writes to; it cannot grow.",
        "work out of place: x = x + y; or begin with a tensor of the full shape",
        struck,
    )


def _index(case: Case, refused: Refused | None, struck: Place | None) -> _Told:
    """An index that lies behind the end, of a table or of an axis."""
    why = "Indices go from 0 to the size less one; a -1 as filler, and labels that begin at 1, fall out."
    if refused is None or case.failure is None:
        return _Told("an index lies outside of the tensor", why, "print its smallest and largest value here", struck)
    index = next((one for one in refused.data if not refused.tensor(one).dtype.startswith(("float", "bfloat"))), None)
    came = source_line(case, refused, index, "the indices are made here") if index is not None else ()
    named = case.called(refused.event.step, index) if index is not None else "the index"
    if refused.layer is not None and refused.weights:
        rows = refused.tensor(refused.weights[0]).shape[0]
        name = module_name(case, refused.layer.id)
        return _Told(
            f"{named} holds an index that {name} does not have: it has {rows} rows, 0 to {rows - 1}",
            why,
            f"make the table as large as the largest index + 1 (print({named}.max())), or correct the indices",
            struck,
            (layer_line(case, refused, "the table is made here"), *came),
        )
    return _Told(
        f"{refused.written}: {_message(case)}",
        why,
        f"look at where {named} comes from; make the other axis longer, or the indices smaller",
        struck,
        came,
    )


_TELL: Mapping[ErrorKind, Callable[[Case, Refused | None, Place | None], _Told]] = {
    ErrorKind.LAYER_HAS_OTHER_SIZE: _layer,
    ErrorKind.INPUT_OF_OTHER_WIDTH: _width,
    ErrorKind.STATE_OF_OTHER_BATCH: _state,
    ErrorKind.TOO_SMALL_FOR_KERNEL: _kernel,
    ErrorKind.SHAPES_DIFFER: _differ,
    ErrorKind.DIMENSIONS_DIFFER: _dimensions,
    ErrorKind.VIEW_OF_OTHER_COUNT: _count,
    ErrorKind.VIEW_NEEDS_COPY: _copy,
    ErrorKind.WRITTEN_IS_SMALLER: _smaller,
    ErrorKind.INDEX_OUT_OF_RANGE: _index,
}

CHECKS = (refused_shapes,)
