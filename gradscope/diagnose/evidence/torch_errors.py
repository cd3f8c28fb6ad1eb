"""What torch's errors mean: the one table of their messages. `tests/…/test_torch_errors.py` provokes each of them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import Enum, auto
from functools import lru_cache
from typing import NamedTuple


class ErrorKind(Enum):
    """What torch refuses, or what a script did not find."""

    SAVED_TENSOR_MODIFIED = auto()  # shape: of the tensor, as text
    GRAPH_FREED = auto()
    NO_GRAPH = auto()
    INPUT_UNUSED = auto()
    INPUT_WANTS_NO_GRAD = auto()
    WANTS_NO_GRAD = auto()  # retain_grad() or a hook needs it to
    NOT_SCALAR = auto()
    NUMBER_HAS_NO_BACKWARD = auto()
    FUNCTION_RETURNED_WRONG = auto()  # node: the name of the Function's grad node
    INFERENCE_TENSOR = auto()
    LEAF_WRITTEN = auto()  # view: set if through a view
    REPEATED_MEMORY_WRITTEN = auto()
    VIEW_OF_NO_GRAD_WRITTEN = auto()
    VIEW_OF_FUNCTION_WRITTEN = auto()
    ONE_OF_VIEWS_WRITTEN = auto()
    INTEGER_WANTS_GRAD = auto()
    PARAMETER_REPLACED = auto()  # parameter: its name
    FLAG_OF_RESULT_SET = auto()
    RESULT_DEEP_COPIED = auto()
    NOTHING_TO_CLIP = auto()
    SCALER_STEPPED_TWICE = auto()
    SCALER_UNSCALED_TWICE = auto()
    SCALER_UNSCALED_LATE = auto()
    SCALER_NEVER_SCALED = auto()
    SCALER_FOUND_NO_GRADIENTS = auto()
    OPTIMIZER_WITHOUT_PARAMETERS = auto()
    PARAMETER_IN_TWO_GROUPS = auto()
    MODULE_NOT_INITIALISED = auto()
    BATCH_OF_ONE = auto()
    DEVICES_MIXED = auto()
    NONE_USED = auto()  # Python's own, where None stands in place of a tensor


class TorchError(NamedTuple):
    """What a message means, None where it is not known, and the parts of it that tell more."""

    kind: ErrorKind | None
    parts: Mapping[str, str | None]


# The first that is found in a message counts.
_TABLE = tuple(
    (kind, re.compile(pattern, re.DOTALL))
    for kind, pattern in (
        (
            ErrorKind.SAVED_TENSOR_MODIFIED,
            r"modified by an inplace operation(?:.*?Tensor \[(?P<shape>[\d, ]*)\]\])?",
        ),
        (ErrorKind.GRAPH_FREED, "backward through the graph a second time"),
        (ErrorKind.NO_GRAPH, "does not require grad and does not have a grad_fn"),
        (ErrorKind.INPUT_UNUSED, "appears to not have been used in the graph"),
        (ErrorKind.INPUT_WANTS_NO_GRAD, "One of the differentiated Tensors does not require grad"),
        (ErrorKind.WANTS_NO_GRAD, "can't retain_grad on Tensor|register a hook on a tensor that doesn't require"),
        (ErrorKind.NOT_SCALAR, "can be implicitly created only for"),
        (
            ErrorKind.NUMBER_HAS_NO_BACKWARD,
            r"'(?:float|int|numpy\.\w+|float\d+)' object has no attribute 'backward'",
        ),
        (ErrorKind.FUNCTION_RETURNED_WRONG, r"[Ff]unction (?P<node>\w+) returned an? (?:incorrect|invalid)"),
        (ErrorKind.INFERENCE_TENSOR, "[Ii]nference tensor"),
        (
            ErrorKind.LEAF_WRITTEN,
            "(?P<view>view of a )?leaf Variable that requires grad is being used in an in-place",
        ),
        (ErrorKind.REPEATED_MEMORY_WRITTEN, "more than one element of the written-to tensor"),
        (ErrorKind.VIEW_OF_NO_GRAD_WRITTEN, "view was created in no_grad mode"),
        (ErrorKind.VIEW_OF_FUNCTION_WRITTEN, "is a view and is being modified inplace.*custom Function"),
        (ErrorKind.ONE_OF_VIEWS_WRITTEN, "is a view and is being modified inplace"),
        (ErrorKind.INTEGER_WANTS_GRAD, "nly Tensors of floating point .*dtype can require grad"),
        (
            ErrorKind.PARAMETER_REPLACED,
            r"cannot assign '[^']*'.* (?:as|to) parameter '(?P<parameter>[^']*)'",
        ),
        (ErrorKind.FLAG_OF_RESULT_SET, "only change requires_grad flags of leaf"),
        (ErrorKind.RESULT_DEEP_COPIED, "support the deepcopy protocol"),
        (ErrorKind.NOTHING_TO_CLIP, r"empty\(\)"),
        (ErrorKind.SCALER_STEPPED_TWICE, r"step\(\) has already been called since the last update"),
        (ErrorKind.SCALER_UNSCALED_TWICE, r"unscale_\(\) has already been called on this optimizer"),
        (ErrorKind.SCALER_UNSCALED_LATE, r"unscale_\(\) is being called after step\(\)"),
        (ErrorKind.SCALER_NEVER_SCALED, "but _scale is None"),
        (ErrorKind.SCALER_FOUND_NO_GRADIENTS, "No inf checks were recorded"),
        (ErrorKind.OPTIMIZER_WITHOUT_PARAMETERS, "optimizer got an empty parameter list"),
        (ErrorKind.PARAMETER_IN_TWO_GROUPS, "some parameters appear in more than one parameter group"),
        (ErrorKind.MODULE_NOT_INITIALISED, r"before Module.__init__\(\) call"),
        (ErrorKind.BATCH_OF_ONE, "more than 1 value per channel"),
        (
            ErrorKind.DEVICES_MIXED,
            "(?i:same device|expected device|device type|different devices|found at least two devices)",
        ),
        (ErrorKind.NONE_USED, "NoneType|unsupported operand|can't convert|must be Tensor"),
    )
)
_UNKNOWN = TorchError(None, {})


@lru_cache(maxsize=256)
def torch_error(message: str | None) -> TorchError:
    """What a message of torch's means; None is no message."""
    for kind, pattern in _TABLE if message else ():
        found = pattern.search(message or "")
        if found is not None:
            return TorchError(kind, found.groupdict())
    return _UNKNOWN
