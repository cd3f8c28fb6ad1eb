"""Ops that give NaN or Inf for some inputs, or whose derivative does: why, and how to keep away from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Trap:
    """Why an op gives NaN or Inf, in the forward or its derivative, as a sentence; and how to keep away from it."""

    why: str
    fix: str


_ROOT = Trap(
    "The square root of a negative number is NaN, and its derivative 1 / (2·sqrt(x)) is infinite at 0.",
    "keep its input above 0: torch.sqrt(x.clamp(min=1e-12)), or torch.where(x > 0, x, 1) before it, not after",
)
_LOG = Trap(
    "The logarithm of 0 is -inf, that of a negative number NaN, and its derivative 1 / x is infinite at 0.",
    "keep its input above 0 (x.clamp(min=1e-8)), or use the stable whole: log_softmax, logsigmoid, "
    "binary_cross_entropy_with_logits",
)
_ARC = Trap(
    "Its derivative is infinite at -1 and 1, and outside of them it is NaN.",
    "clamp its input inside: x.clamp(-1 + 1e-6, 1 - 1e-6), or use torch.atan2",
)
_NORM = Trap(
    "The derivative of a norm is x / |x|, which is 0 / 0 where x is zero.",
    "add a small number inside: torch.sqrt((x * x).sum(-1) + 1e-12)",
)
_SPREAD = Trap(
    "The standard deviation of one element divides by n - 1 = 0, and its derivative is infinite where all are equal.",
    "skip it for one element, use unbiased=False, and add a small number under the root: (x.var() + 1e-8).sqrt()",
)
_EXP = Trap(
    "The exponential overflows: above 88.7 in float32, above 11 in float16.",
    "subtract the largest value first, or use logsumexp, softmax, sigmoid, softplus, which do",
)
_DIVISION = Trap(
    "Dividing by 0 gives inf, and 0 / 0 NaN.", "add a small number to the divisor, or mask it before dividing"
)
_POWER = Trap(
    "A power overflows, is NaN for a negative base with a fractional exponent, and has an infinite derivative at 0 "
    "for exponents below 1.",
    "keep the base away from 0 and below overflow, for instance with clamp",
)
_SOFTMAX = Trap(
    "A softmax over nothing but -inf is 0 / 0.",
    "leave at least one place of each row unmasked, or mask with a large finite number such as -1e9",
)
_MEAN = Trap("The mean of no elements is 0 / 0.", "skip the empty selection before taking its mean")
TRAPS: Mapping[str, Trap] = {
    **dict.fromkeys(("sqrt", "sqrt_", "rsqrt", "rsqrt_"), _ROOT),
    **dict.fromkeys(
        ("log", "log_", "log2", "log10", "log1p", "logit", "xlogy", "binary_cross_entropy", "digamma"), _LOG
    ),
    **dict.fromkeys(("acos", "arccos", "asin", "arcsin", "acosh", "atanh", "arctanh", "erfinv"), _ARC),
    **dict.fromkeys(
        ("norm", "vector_norm", "linalg_norm", "linalg_vector_norm", "cdist", "dist", "pdist", "hypot"), _NORM
    ),
    **dict.fromkeys(("normalize", "cosine_similarity", "pairwise_distance"), _NORM),
    **dict.fromkeys(("std", "var", "std_mean", "var_mean"), _SPREAD),
    **dict.fromkeys(("exp", "exp_", "exp2", "expm1", "cosh", "sinh"), _EXP),
    **dict.fromkeys(("div", "div_", "true_divide", "divide", "reciprocal", "rdiv", "remainder", "fmod"), _DIVISION),
    **dict.fromkeys(("pow", "pow_", "rpow", "float_power", "square"), _POWER),
    **dict.fromkeys(("softmax", "log_softmax", "scaled_dot_product_attention"), _SOFTMAX),
    **dict.fromkeys(("mean", "nanmean"), _MEAN),
    **dict.fromkeys(
        ("atan2", "arctan2"), Trap("Its derivative is 0 / 0 where both are 0.", "keep one of them away from 0")
    ),
}
