"""Words for what a node is to autograd and for what is marked on it: roles, badges, kinds of edges."""

from __future__ import annotations

from enum import Enum

from .. import text
from ..model.findings import Finding, Severity
from ..model.graph import EdgeKind


class Role(str, Enum):
    """What a node is to autograd. The value is the word that a reader sees."""

    PARAMETER = "parameter"
    LEAF = "leaf"
    FROZEN = "frozen parameter"
    RESULT = "non-leaf"
    INPUT = "input, no grad"
    NO_GRAD = "result, no grad"
    BUFFER = "buffer"
    OP = "op"
    GRAD_FN = "grad_fn"
    ACCUMULATE_GRAD = "AccumulateGrad"
    MODULE = "folded"
    MODULE_BACKWARD = "folded backward"


MEANING = {
    Role.PARAMETER: "a leaf that belongs to a module: backward adds into its .grad",
    Role.LEAF: "made by you with requires_grad: backward adds into its .grad",
    Role.FROZEN: "requires_grad is False: backward never reaches it",
    Role.RESULT: "made by an op: its .grad stays None unless retain_grad() asks for it",
    Role.INPUT: "made by you without requires_grad: backward never reaches it",
    Role.NO_GRAD: "made by an op from what needs no gradient, or where none was recorded: backward never reaches it",
    Role.BUFFER: "belongs to a module, is not trained",
    Role.OP: "an operation of the forward pass",
    Role.GRAD_FN: "sends the gradient of an op's result on to its inputs",
    Role.ACCUMULATE_GRAD: "adds the gradient that arrives into a leaf's .grad",
    Role.MODULE: "stands for the nodes inside it",
    Role.MODULE_BACKWARD: "stands for the grad nodes inside it",
}

# Marks as words, the gravest first. `frozen` is a role, not a badge.
BADGES = {
    Severity.ERROR.value: "finding: error",
    Severity.WARNING.value: "finding: warning",
    Severity.NOTE.value: "finding: note",
    "nan": "NaN",
    "inf": "Inf",
    "stale": "changed since saved",
    "mutated": "changed in place",
    "cut": "cut off",
    "not_reached": "not reached",
    "moved": "moved",
    "retained": "grad retained",
    "root": "backward starts here",
}
EDGE_WORDS = {
    EdgeKind.DATA: "data",
    EdgeKind.GRAD: "gradient",
    EdgeKind.MADE: "grad_fn",
    EdgeKind.CUT: "cut",
}


def badge_word(mark: str) -> str:
    """A mark in words; a mark that is not among `BADGES` is its own word."""
    return BADGES.get(mark) or text.printable(mark)


def finding_name(finding: Finding) -> str:
    """Its code and name: `GS101 saved-tensor-modified`."""
    return text.printable(f"{finding.code} {finding.name}")
