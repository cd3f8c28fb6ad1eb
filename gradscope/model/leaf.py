"""The leaf table: what one tensor is to autograd, and which of the four cases it falls into.

| case | requires_grad | made by | is_leaf | .grad after backward |
|---|---|---|---|---|
| 1 | True | the user | True | filled |
| 2 | True | an op | False | None, unless retain_grad() asked for it |
| 3 | False | the user | True | None |
| 4 | False | an op | True | None |
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from html import escape
from typing import Any

from ..text import sizes

CASES = {
    1: "needs grad, made by you: a leaf; backward fills its .grad",
    2: "needs grad, a result: not a leaf; its .grad stays None unless retain_grad() asks for it",
    3: "no grad, made by you: a leaf to PyTorch; backward never reaches it",
    4: "no grad, a result: a leaf to PyTorch, with no grad_fn; backward never reaches it",
}
_KEPT = "needs grad, a result: not a leaf; retain_grad() asked to keep its .grad"
_UNTOLD = "no grad: a leaf to PyTorch, which does not tell whether you or an op made it; backward never reaches it"
_COLUMNS = ("requires_grad", "is_leaf", "grad_fn", "grad", "retains_grad", "version", "device", "dtype", "shape")


@dataclass(frozen=True, slots=True)
class AutogradStatus:
    """What a tensor is to autograd: the facts that decide its case, and that change together."""

    requires_grad: bool
    is_leaf: bool
    grad_fn: str | None
    retains_grad: bool

    @property
    def status(self) -> AutogradStatus:
        """These facts alone, of a record that has more."""
        return _alone(self.requires_grad, self.is_leaf, self.grad_fn, self.retains_grad)


_alone = lru_cache(maxsize=256)(AutogradStatus)


@dataclass(frozen=True, slots=True)
class LeafCase:
    """Which of the four cases a tensor is: (3, 4) where nobody saw whether an op made it."""

    numbers: tuple[int, ...]
    words: str

    @property
    def verdict(self) -> str:
        return f"case {' or '.join(map(str, self.numbers))} of 4: {self.words}"


def leaf_case(status: AutogradStatus, is_result: bool | None) -> LeafCase:
    """The case of a tensor of this status; `is_result`: an op made it, None where that is not known."""
    if status.requires_grad:
        if status.is_leaf:
            return LeafCase((1,), CASES[1])
        return LeafCase((2,), _KEPT if status.retains_grad else CASES[2])
    if is_result is None:
        return LeafCase((3, 4), _UNTOLD)
    number = 4 if is_result else 3
    return LeafCase((number,), CASES[number])


@dataclass(frozen=True, slots=True)
class TensorRow(AutogradStatus):
    """One row of the leaf table.

    `grad` is the gradient as text (values up to 16 elements, else its shape), None when there is none.
    `version` is None where autograd keeps none (inference tensors).
    `is_result` says whether an op made the tensor; None where PyTorch does not tell (a tensor without
    grad_fn may be either).
    """

    version: int | None
    device: str
    dtype: str
    grad: str | None
    shape: tuple[int, ...]
    is_result: bool | None = None
    name: str | None = None

    @property
    def case(self) -> int:
        """Which of the four cases this is; 3 where PyTorch does not tell 3 from 4."""
        return leaf_case(self, self.is_result).numbers[0]

    @property
    def verdict(self) -> str:
        """The case in words."""
        return leaf_case(self, self.is_result).verdict

    def items(self) -> tuple[tuple[str, str], ...]:
        """The columns and their text, in the table's order."""
        named = {column: getattr(self, column) for column in _COLUMNS}
        if self.version is None:
            named["version"] = "untracked"
        named["shape"] = f"({sizes(self.shape)}{',' if len(self.shape) == 1 else ''})"
        return tuple((column, str(value)) for column, value in named.items())

    def __str__(self) -> str:
        lines = [f"{column:13}  {text}" for column, text in self.items()]
        return "\n".join(([self.name] if self.name else []) + lines + [self.verdict])

    def _repr_pretty_(self, printer: Any, _cycle: bool) -> None:
        """What IPython shows as text."""
        printer.text(str(self))

    def _repr_html_(self) -> str:
        head = "".join(f"<th>{escape(column)}</th>" for column, _ in self.items())
        body = "".join(f"<td>{escape(text)}</td>" for _, text in self.items())
        title = f"<b>{escape(self.name)}</b>: " if self.name else ""
        return f"<div>{title}{escape(self.verdict)}<table><tr>{head}</tr><tr>{body}</tr></table></div>"
