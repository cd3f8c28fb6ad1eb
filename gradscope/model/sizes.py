"""Sizes of tensors that are not all known: of a jagged tensor's rows, or of a shape that is traced as symbols."""

from __future__ import annotations

import math
from collections.abc import Sequence

UNKNOWN = -1  # in the place of a size


def all_known(shape: Sequence[int]) -> bool:
    """Whether each size is known."""
    return UNKNOWN not in shape


def elements(shape: Sequence[int]) -> int:
    """How many elements a tensor of this shape has, 0 where that is not known."""
    return math.prod(shape) if all_known(shape) else 0
