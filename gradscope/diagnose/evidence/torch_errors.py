"""What torch's errors mean: the one table of their messages. Its test makes the installed torch raise each of them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import Enum
from functools import cached_property, lru_cache
from typing import NamedTuple


class ErrorKind(Enum):
    """What torch refuses, or what a script did not find: a pattern for its message. The first that fits counts."""

    SAVED_TENSOR_MODIFIED = r"modified by an inplace operation(?:.*?Tensor \[(?P<shape>[\d, ]*)\]\])?"
    GRAPH_FREED = "backward through the graph a second time"
    NO_GRAPH = "does not require grad and does not have a grad_fn"
    INPUT_UNUSED = "appears to not have been used in the graph"
    INPUT_WANTS_NO_GRAD = "One of the differentiated Tensors does not require grad"
    WANTS_NO_GRAD = "can't retain_grad on Tensor|register a hook on a tensor that doesn't require"
    NOT_SCALAR = "can be implicitly created only for"
    NUMBER_HAS_NO_BACKWARD = r"'(?:float|int|numpy\.\w+|float\d+)' object has no attribute 'backward'"
    FUNCTION_RETURNED_WRONG = r"[Ff]unction (?P<node>\w+) returned an? (?:incorrect|invalid)"
    INFERENCE_TENSOR = "[Ii]nference tensor"
    LEAF_WRITTEN = "(?P<view>view of a )?leaf Variable that requires grad is being used in an in-place"
    REPEATED_MEMORY_WRITTEN = "more than one element of the written-to tensor"
    VIEW_OF_NO_GRAD_WRITTEN = "view was created in no_grad mode"
    VIEW_OF_FUNCTION_WRITTEN = "is a view and is being modified inplace.*custom Function"
    ONE_OF_VIEWS_WRITTEN = "is a view and is being modified inplace"
    INTEGER_WANTS_GRAD = "nly Tensors of floating point .*dtype can require grad"
    PARAMETER_REPLACED = "cannot assign '[^']*'.* (?:as|to) parameter '(?P<parameter>[^']*)'"
    FLAG_OF_RESULT_SET = "only change requires_grad flags of leaf"
    RESULT_DEEP_COPIED = "support the deepcopy protocol"
    NOTHING_TO_CLIP = r"empty\(\)"
    SCALER_STEPPED_TWICE = r"step\(\) has already been called since the last update"
    SCALER_UNSCALED_TWICE = r"unscale_\(\) has already been called on this optimizer"
    SCALER_UNSCALED_LATE = r"unscale_\(\) is being called after step\(\)"
    SCALER_NEVER_SCALED = "but _scale is None"
    SCALER_FOUND_NO_GRADIENTS = "No inf checks were recorded"
    OPTIMIZER_WITHOUT_PARAMETERS = "optimizer got an empty parameter list"
    PARAMETER_IN_TWO_GROUPS = "some parameters appear in more than one parameter group"
    MODULE_NOT_INITIALISED = r"before Module.__init__\(\) call"
    BATCH_OF_ONE = "more than 1 value per channel"
    DEVICES_MIXED = "(?i:same device|expected device|device type|different devices|found at least two devices)"
    # Python's own words, where None stands in a tensor's place.
    NONE_USED = "NoneType|unsupported operand|can't convert|must be Tensor"

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        return re.compile(self.value, re.DOTALL)


class TorchError(NamedTuple):
    """What a message means, None where it is not known, and the parts of it that tell more."""

    kind: ErrorKind | None
    parts: Mapping[str, str | None]


@lru_cache(maxsize=256)
def torch_error(message: str | None) -> TorchError:
    """What a message of torch's means; None is no message."""
    for kind in ErrorKind if message else ():
        found = kind.pattern.search(message or "")
        if found is not None:
            return TorchError(kind, found.groupdict())
    return TorchError(None, {})
