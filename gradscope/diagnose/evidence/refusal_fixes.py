"""How what torch refused is done instead, for each kind of refusal whose mend code can say."""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from ...model.findings import Place
from ...repair.changes.blocks import closed_over, given_closure
from ...repair.changes.calls import (
    receiver,
    with_keyword,
    without_arguments,
    without_call,
    without_keyword,
)
from ...repair.changes.elsewhere import at_call, at_keyword, class_says, undecorated
from ...repair.changes.functions import applied, saved_apart, summed
from ...repair.changes.heads import decorated, under
from ...repair.changes.results import (
    chosen,
    fitted,
    given_joined,
    given_listed,
    gradient_fitted,
    made_new,
    mask_multiplied,
    result_bound,
)
from ...repair.changes.statements import inserted, removed_call, removed_flag
from ...repair.changes.values import (
    argument_followed_by,
    only_argument_followed_by,
    receiver_followed_by,
    side_followed_by,
)
from ...repair.changes.writes import out_of_place
from ...repair.ways import Change, Way
from .torch_errors import ErrorKind

_HOOKS = ("register_hook", "retain_grad")
_PARALLEL = ("DistributedDataParallel", "DDP")
_ATTENTION = "with {torch}.nn.attention.sdpa_kernel({torch}.nn.attention.SDPBackend.MATH):"
_CONVERTED = {"Float": ".float()", "Double": ".double()", "Half": ".half()", "BFloat16": ".bfloat16()"}


class Refusal(NamedTuple):
    """What was refused: the parts of the error's message, what it is about, the line behind it, and where it struck."""

    parts: Mapping[str, str | None]
    name: str
    cause: Place | None
    struck: Place | None
    worked_before: bool  # whether the same line did the same in another step
    detached: bool  # whether the tensor was cut off on purpose

    def part(self, name: str) -> str:
        return self.parts.get(name) or ""


_Ways = Callable[[Refusal], Iterator[Way]]


def mends(kind: ErrorKind | None, refusal: Refusal) -> Iterator[Way]:
    """The ways to do what was refused."""
    ways = _MENDS.get(kind) if kind is not None else None
    return ways(refusal) if ways is not None else iter(())


def _where_it_struck(words: str, meaning: str, *changes: Change) -> _Ways:
    """The same ways for each refusal of a kind, on the line where it struck."""

    def ways(refusal: Refusal) -> Iterator[Way]:
        for change in changes:
            yield Way(words, meaning, refusal.struck, change)

    return ways


def _at_its_cause(words: str, meaning: str, *changes: Change) -> _Ways:
    """The same, on the line behind the refusal."""

    def ways(refusal: Refusal) -> Iterator[Way]:
        for change in changes:
            yield Way(words, meaning, refusal.cause, change)

    return ways


# -- derivatives and gradients -----------------------------------------------------------------------


def _differentiable(refusal: Refusal) -> Iterator[Way]:
    op = refusal.part("op")
    if "attention" in op:
        slower = "the same values; it takes more memory and time"
        yield Way("compute it by the plain formula", slower, refusal.cause, under(_ATTENTION))
    elif "cdist" in op and not _of_itself(refusal.cause):  # there the distance 0 has no slope
        mode = with_keyword(("cdist",), "compute_mode", '"use_mm_for_euclid_dist"')
        yield Way("let it be made of ops that have one", "the same distances, a little rounded", refusal.cause, mode)


def _of_itself(cause: Place | None) -> bool:
    """Whether a call is given the same twice: `torch.cdist(x, x)`."""
    try:
        call = ast.parse(cause.expression if cause is not None else "", mode="eval").body
    except SyntaxError:
        return False
    return isinstance(call, ast.Call) and len({ast.unparse(one) for one in call.args[:2]}) == 1


def _gradient_of_the_shape(refusal: Refusal) -> Iterator[Way]:
    given, wanted = _count(refusal.part("given")), _count(refusal.part("wanted"))
    if refusal.part("wanted") == "[]":
        yield Way("leave it out", "the loss counts once", refusal.struck, without_arguments("backward"))
    elif given == wanted:
        fit = gradient_fitted(".reshape({result}.shape)")
        yield Way("bring it into the shape of the result", "each value keeps its weight", refusal.struck, fit)
    elif given == 1:
        fit = gradient_fitted(".expand({result}.shape)")
        yield Way("give the weight to each value", "their sum is differentiated", refusal.struck, fit)


def _gradient_that_fits(refusal: Refusal) -> Iterator[Way]:
    meaning = "the values are the same"
    if refusal.part("what") == "size":
        if _count(refusal.part("given")) == _count(refusal.part("wanted")):
            yield Way("bring it into the tensor's shape", meaning, refusal.struck, fitted(".reshape({owner}.shape)"))
        return
    wanted = "dtype" if refusal.part("what") == "dtype" else "device"
    yield Way(f"convert it to the tensor's {wanted}", meaning, refusal.struck, fitted(f".to({{owner}}.{wanted})"))


def _count(shape: str) -> int:
    """How many values a shape has, as a message writes it."""
    return math.prod(int(size) for size in re.findall(r"\d+", shape))


# -- what a graph forbids ----------------------------------------------------------------------------


def _as_data(refusal: Refusal) -> Iterator[Way]:
    meaning = "the values are the same; no gradient comes back through them"
    words = "take the values without their graph"
    if refusal.cause != refusal.struck:  # what was put into a list, there
        put = argument_followed_by(("append", "appendleft"), 0, ".detach()")
        yield Way("put the values in without their graph", meaning, refusal.cause, put)
        return
    yield Way(words, meaning, refusal.struck, receiver_followed_by("numpy", call=".detach()"))
    for takers in (("array", "asarray"), ("float32", "float64"), ("mean", "sum", "abs", "max", "min", "std")):
        yield Way(words, meaning, refusal.struck, argument_followed_by(takers, 0, ".detach()"))


def _bound(refusal: Refusal) -> Iterator[Way]:
    meaning = "the gradient goes through it"
    yield Way("use the result", meaning, refusal.struck, result_bound(refusal.part("op")))


def _branched(refusal: Refusal) -> Iterator[Way]:
    meaning = "each of the batch gets what its own values ask for"
    yield Way("compute both and choose", meaning, refusal.struck, chosen())


def _hooked(refusal: Refusal) -> Iterator[Way]:
    asked = refusal.struck.expression if refusal.struck is not None else ""
    name = next((found for call in _HOOKS if (found := receiver(asked, call))), "")
    if name and refusal.worked_before:
        guard = under(f"if {name}.requires_grad:")
        yield Way("ask only where a gradient comes to it", "elsewhere there is nothing to see", refusal.struck, guard)
    elif name and not refusal.detached:
        meaning = "a gradient comes to it; what lies before stays as it is"
        wanting = inserted(f"{name}.requires_grad_()", before=True)
        yield Way("let it want a gradient first", meaning, refusal.struck, wanting)


# -- optimizers, processes, dtypes -------------------------------------------------------------------


def _kept_apart(refusal: Refusal) -> Iterator[Way]:
    place = int(refusal.part("place") or 0)
    meaning = "the backward reads it from there"
    yield Way("keep it as an attribute", meaning, refusal.cause, saved_apart(place))
    names = ("save_for_backward",)
    yield Way("keep it as an attribute", meaning, refusal.cause, at_call(names, saved_apart(place)))


def _evaluated_anew(refusal: Refusal) -> Iterator[Way]:
    meaning = "the loss is computed as often as the optimizer asks for it"
    yield Way("give it the closure", meaning, refusal.struck, given_closure())
    yield Way("make a closure of what computes the loss", meaning, refusal.struck, closed_over())


def _one_number_for_each(refusal: Refusal) -> Iterator[Way]:
    yield Way("stay with the tensor", "each of the batch has its own value", refusal.struck, without_call("item"))
    yield from _branched(refusal)


def _ready_for_vmap(refusal: Refusal) -> Iterator[Way]:
    says = class_says(refusal.part("function"), "generate_vmap_rule = True")
    yield Way("let torch work it out", "it is made of torch's own ops", refusal.struck, says)


def _of_one_dtype(refusal: Refusal) -> Iterator[Way]:
    wanted = next((refusal.part(name) for name in ("other", "wanted", "weight") if refusal.part(name)), "")
    wanted = re.sub("(?:torch)|(?:Type)|(?:Tensor)|[^A-Za-z0-9]|(?:cuda)", "", wanted)
    call = next((code for name, code in _CONVERTED.items() if name.lower() == wanted.lower()), "")
    if call:
        words, meaning = "convert what comes in", "it is computed in the dtype of the weights"
        yield Way(words, meaning, refusal.struck, only_argument_followed_by(call))
        yield Way(words, meaning, refusal.struck, side_followed_by(0, call))


_UNUSED = with_keyword(_PARALLEL, "find_unused_parameters", "True")
_NOT_REENTRANT = at_call(("checkpoint",), with_keyword(("checkpoint",), "use_reentrant", "False"))
_LOSSES = ("cross_entropy", "nll_loss")

_MENDS: Mapping[ErrorKind, _Ways] = {
    ErrorKind.NO_DERIVATIVE: _differentiable,
    ErrorKind.NOT_TWICE: _where_it_struck(
        "take the mark away", "its backward is recorded, too", undecorated("once_differentiable")
    ),
    ErrorKind.GRADIENT_HAS_OTHER_SHAPE: _gradient_of_the_shape,
    ErrorKind.GRADIENT_IS_NO_TENSOR: _where_it_struck(
        "leave it out", "the loss counts once", without_arguments("backward")
    ),
    ErrorKind.GRADIENT_ASSIGNED: _gradient_that_fits,
    ErrorKind.MANY_AS_ONE_NUMBER: _where_it_struck(
        "take the mean of them",
        "one number for all",
        receiver_followed_by("item", call=".mean()"),
        argument_followed_by(("float", "int"), 0, ".mean()"),
    ),
    ErrorKind.NUMPY_OF_GRAPH: _as_data,
    ErrorKind.OUT_OF_GRAPH: _bound,
    ErrorKind.RESIZED: _where_it_struck(
        "make a tensor of the new shape", "the values are the same", made_new("resize_", "reshape")
    ),
    ErrorKind.VIEW_DETACHED: _where_it_struck(
        "use the result of detach()", "what it is a view of keeps its graph", made_new("detach_", "detach")
    ),
    ErrorKind.DATA_WITHOUT_GRADIENT: _where_it_struck(
        "convert them first", "the tensor keeps its dtype", fitted(".to({owner}.dtype)")
    ),
    ErrorKind.FUNCTION_SAVES_NO_TENSOR: _kept_apart,
    ErrorKind.FUNCTION_WITHOUT_VMAP: _ready_for_vmap,
    ErrorKind.WANTS_NO_GRAD: _hooked,
    ErrorKind.HOOKED_MODULE_WRITTEN: _where_it_struck(
        "work out of place",
        "the same values; takes the memory of one more result",
        out_of_place(attributes=False),
        at_keyword("inplace", without_keyword("inplace")),
    ),
    ErrorKind.VMAP_RANDOM: _at_its_cause(
        "draw other numbers for each",
        "as a loop over the batch would",
        at_call(("vmap",), with_keyword(("vmap",), "randomness", '"different"')),
    ),
    ErrorKind.VMAP_ITEM: _one_number_for_each,
    ErrorKind.VMAP_BRANCHES: _branched,
    ErrorKind.VMAP_SHAPE_OF_VALUES: _where_it_struck(
        "keep the size", "what the mask leaves out adds 0", mask_multiplied()
    ),
    ErrorKind.VMAP_BATCH_NORM: _where_it_struck(
        "keep no running statistics",
        "it always uses those of what it is given",
        *(
            at_call((name,), with_keyword((name,), "track_running_stats", "False"))
            for name in ("BatchNorm1d", "BatchNorm2d")
        ),
    ),
    ErrorKind.FUNCTION_IS_OLD: _where_it_struck("use its apply", "its backward is recorded", applied()),
    ErrorKind.TRANSFORM_WANTS_SCALAR: _at_its_cause(
        "take the sum of what it returns",
        "where each value depends on its own input alone, each gets its own derivative",
        at_call(("grad",), summed("grad")),
        at_call(("grad_and_value",), summed("grad_and_value")),
    ),
    ErrorKind.TRANSFORM_SETS_FLAG: _where_it_struck(
        "leave it to the transform",
        "the gradient is that of its argument",
        removed_flag("requires_grad"),
        removed_call("requires_grad_"),
        without_call("requires_grad_"),
    ),
    ErrorKind.CHECKPOINT_WITHOUT_INPUTS: _where_it_struck(
        "run the checkpoint in the same graph", "its values and gradients are the same", _NOT_REENTRANT
    ),
    ErrorKind.PARALLEL_UNUSED: _at_its_cause(
        "let it look for what is not used",
        "these get no gradient in such a step; each step takes a little longer",
        _UNUSED,
    ),
    ErrorKind.PARALLEL_TWICE: _at_its_cause(
        "run checkpoints in the same graph", "their values and gradients are the same", _NOT_REENTRANT
    ),
    ErrorKind.PARALLEL_GRAPH_CHANGED: _at_its_cause(
        "let the graph change", "each step tells what it uses", with_keyword(_PARALLEL, "static_graph", "False")
    ),
    ErrorKind.WORKER_SENDS_GRAPH: _at_its_cause(
        "make it without a graph", "the values are the same; nothing that makes them is trained", decorated("no_grad()")
    ),
    ErrorKind.OPTIMIZER_WANTS_LIST: _where_it_struck("put it in a list", "it is the one that trains", given_listed()),
    ErrorKind.OPTIMIZER_WANTS_TENSORS: _where_it_struck("give it all of them", "all of them train", given_joined()),
    ErrorKind.OPTIMIZER_SPARSE: _where_it_struck(
        "let the gradients be dense",
        "the same values; takes more memory",
        at_keyword("sparse", without_keyword("sparse")),
    ),
    ErrorKind.OPTIMIZER_WANTS_CLOSURE: _evaluated_anew,
    ErrorKind.SCHEDULER_WANTS_MOMENTUM: _where_it_struck(
        "leave the momentum alone",
        "the rate alone is scheduled",
        *(with_keyword((name,), "cycle_momentum", "False") for name in ("OneCycleLR", "CyclicLR")),
    ),
    ErrorKind.DTYPES_MIXED: _of_one_dtype,
    ErrorKind.DTYPE_OF_TARGET: _where_it_struck(
        "make them whole numbers", "they are the numbers of classes", argument_followed_by(_LOSSES, 1, ".long()")
    ),
    ErrorKind.DTYPE_OF_INDEX: _where_it_struck(
        "make them whole numbers", "they are the numbers of rows", only_argument_followed_by(".long()")
    ),
    ErrorKind.DTYPE_OF_RESULT: _where_it_struck(
        "work out of place", "the result has the dtype that holds it", out_of_place(attributes=True)
    ),
    ErrorKind.DTYPE_OF_MEAN: _where_it_struck(
        "take the mean of real numbers",
        "it need not be whole",
        receiver_followed_by("mean", "std", "var", call=".float()"),
        argument_followed_by(("mean", "std", "var"), 0, ".float()"),
    ),
}
