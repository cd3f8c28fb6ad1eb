"""Dtypes that do not fit: where the odd one came in."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from ...model import op_kinds
from ...model.findings import Finding, Place, Severity
from ...model.fixes import said
from ...repair.changes.values import followed_by, only_argument_followed_by
from ...repair.ways import Way
from ..evidence.ancestry import Made
from ..evidence.index import Case
from ..evidence.refusals import Meaning, told
from ..evidence.refused_inputs import Refused, born_as, dtypes, mixed_before, refused_call
from ..evidence.torch_errors import ErrorKind
from ..rules import CERTAIN, SURE, Rule, check, finding_of

DTYPES_MIXED = Rule("GS954", "dtypes-do-not-fit", Severity.ERROR, "An op was given tensors whose dtypes do not fit.")
_CAST = {"float32": ".float()", "float64": ".double()", "int64": ".long()", "bool": ".bool()", "float16": ".half()"}
_REAL = ("float", "bfloat")
# Ops whose index or mask is their second tensor.
_READS_SECOND = ("gather", "scatter", "index_", "take", "masked_", "__getitem__", "__setitem__")
_MEANINGS = {
    ErrorKind.DTYPES_MIXED: Meaning(
        "{call} was given tensors of different dtypes",
        "A layer's input has the dtype of its weights, and a target that of the prediction. numpy arrays are float64, "
        "autocast and half() give float16 or bfloat16.",
        "convert what comes in: x.float() (or x.to(model.dtype)); or move the model: model.double()",
    ),
    ErrorKind.DTYPE_OF_TARGET: Meaning(
        "the target is {given}, and class numbers are needed",
        "cross_entropy and nll_loss take the number of the right class (int64), or one probability for each class "
        "in the "
        "prediction's own shape.",
        "target.long(); for regression another loss (mse_loss), for yes and no binary_cross_entropy_with_logits",
    ),
    ErrorKind.DTYPE_OF_INDEX: Meaning(
        "{call} was given indices that are no whole numbers",
        "An index is a row's or a place's number: int64 (or a mask of bools).",
        "ids.long(), or make them whole where they come from",
    ),
    ErrorKind.DTYPE_OF_MASK: Meaning(
        "{call} was given a mask that is no tensor of bools",
        "A mask says yes or no for each place.",
        "mask.bool(), or a comparison: mask > 0",
    ),
    ErrorKind.DTYPE_OF_RESULT: Meaning(
        "a {given} result cannot be written into a {wanted} tensor in place",
        "An op in place keeps the dtype of what it writes to.",
        "work out of place: x = x + y; or make the tensor float from the start",
    ),
    ErrorKind.DTYPE_OF_MEAN: Meaning(
        "the mean of {given} values is asked for",
        "A mean is seldom whole, and torch keeps the dtype.",
        "x.float().mean()",
    ),
    ErrorKind.DTYPE_HAS_NO_OP: Meaning(
        "{call} is asked of a dtype that torch has no such op for",
        "Scores, norms and activations are computed in floating-point numbers; some ops exist for neither float16 nor "
        "complex numbers.",
        "convert first: x.float()",
    ),
    ErrorKind.MASK_SUBTRACTED: Meaning(
        "a mask of bools is subtracted",
        "Bools are yes and no; torch reckons with them in sums and products only.",
        "invert a mask with ~mask; or mask.float() where numbers are meant",
    ),
}


@check(DTYPES_MIXED)
def refused_dtypes(case: Case) -> Iterator[Finding]:
    """The error that ended the script, if torch refused a dtype: at the line where that came in, if it was seen."""
    words, refused = told(case, _MEANINGS), refused_call(case) or mixed_before(case)
    odd = _odd(case, refused) if words is not None and refused is not None else None
    if words is None or refused is None or odd is None:
        yield from finding_of(case, DTYPES_MIXED, words)
        return
    number, wanted = odd
    born = born_as(case, refused, number)
    delivered = born.op is not None and born.op.behind is not None  # by a DataLoader: the loop's line did not make it
    struck = case.place(refused.event.moment.stack, "the dtypes meet here")
    culprit = case.place(born.stack) if not delivered else None
    name, dtype = case.called(refused.event.step, number), refused.tensor(number).dtype
    fixes = case.fixes(*_ways(born, culprit, struck, wanted))
    yield DTYPES_MIXED.finding(
        f"{name} is {dtype}, and {refused.written} needs {wanted} there: {dtypes(case, refused)}",
        culprit=culprit or struck,
        step=refused.event.step.number,
        confidence=CERTAIN if culprit is None else SURE,
        related=(struck,) if struck is not None and culprit is not None else (),
        explanation=f"{_origin(born, dtype)}{words.why}",
        fix=said(fixes, _fix(name, dtype, wanted)),
        fixes=fixes,
    )


def _odd(case: Case, refused: Refused) -> tuple[int, str] | None:
    """The tensor of the call with another dtype than the rest, and what they have; None where nothing tells which."""
    kind = case.error.kind
    if kind in (ErrorKind.DTYPE_OF_INDEX, ErrorKind.DTYPE_OF_MASK, ErrorKind.DTYPE_OF_TARGET):
        wanted = "bool" if kind is ErrorKind.DTYPE_OF_MASK else "int64"
        place = 1 if kind is ErrorKind.DTYPE_OF_TARGET or refused.op.startswith(_READS_SECOND) else 0
        return (refused.event.moment.inputs[place], wanted) if len(refused.event.moment.inputs) > place else None
    if kind is ErrorKind.DTYPE_OF_RESULT and refused.op in op_kinds.LOSSES:  # it works in place on its target
        return refused.event.moment.inputs[1], refused.tensor(refused.event.moment.inputs[0]).dtype
    if kind is not ErrorKind.DTYPES_MIXED:
        return None
    found = Counter(refused.tensor(one).dtype for one in (*refused.data, *refused.weights))
    real = Counter({dtype: count for dtype, count in found.items() if dtype.startswith(_REAL)})
    among = real if len(real) == 2 else found  # beside them, an op may be given indices
    if len(among) != 2:
        return None
    wanted = refused.tensor(refused.weights[0]).dtype if refused.weights else _usual(among)
    odd = [one for one in refused.data if refused.tensor(one).dtype in set(among) - {wanted}]
    return (odd[0], wanted) if odd else None


def _usual(found: Counter[str]) -> str:
    """The dtype that is meant: torch's own, if one of them has it."""
    return "float32" if "float32" in found else found.most_common(1)[0][0]


def _origin(born: Made, dtype: str) -> str:
    if born.op is not None and born.op.autocast and dtype in ("bfloat16", "float16"):
        return f"{born.op.name} ran under autocast, which gives {dtype}. "
    return f"It became {dtype} in {born.op.name}. " if born.op is not None else ""


def _fix(name: str, dtype: str, wanted: str) -> str:
    if dtype.startswith("complex"):
        return f"take real numbers of it: .abs(), .real, torch.view_as_real; or make the layer with dtype=torch.{dtype}"
    return f"make {name} with dtype=torch.{wanted} from the start, or use {_cast(wanted)} of it here"


def _cast(wanted: str) -> str:
    return _CAST.get(wanted, f".to(torch.{wanted})")


def _ways(born: Made, place: Place | None, struck: Place | None, wanted: str) -> Iterator[Way]:
    """The cast where the dtype comes in; not of a leaf, which would be none any more, nor of what loses half of it."""
    if not born.tensor.requires_grad and not born.tensor.dtype.startswith("complex"):
        words = f"make it {wanted} where it comes in"
        yield Way(words, "all that follows has one dtype", place, followed_by(_cast(wanted)))
        yield Way(
            "convert what comes in", "it is computed in that dtype", struck, only_argument_followed_by(_cast(wanted))
        )


CHECKS = (refused_dtypes,)
