"""The leaf table: what one tensor is to autograd, and which of the four cases it falls into.

| case | requires_grad | made by | is_leaf | .grad after backward |
|---|---|---|---|---|
| 1 | True | the user | True | filled |
| 2 | True | an op | False | None, unless retain_grad() asked for it |
| 3 | False | the user | True | None |
| 4 | False | an op | True | None |
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from html import escape
from typing import Any

from ..text import sizes

CASES = {
    1: "needs grad, made by you: a leaf; backward fills its .grad",
    2: "needs grad, a result: not a leaf; its .grad stays None unless retain_grad() asks for it",
    3: "no grad, made by you: a leaf to PyTorch; backward never reaches it",
    4: "no grad, a result: a leaf to PyTorch, with no grad_fn; backward never reaches it",
}


@dataclass(frozen=True, slots=True)
class TensorRow:
    """One row of the leaf table.

    `grad` is the gradient as text (values up to 16 elements, else its shape), None when there is none.
    `version` is None where autograd keeps none (inference tensors). `is_result` says whether an op made
    the tensor; None where PyTorch does not tell (a tensor without grad_fn may be either).
    """

    requires_grad: bool
    is_leaf: bool
    grad_fn: str | None
    grad: str | None
    retains_grad: bool
    version: int | None
    device: str
    dtype: str
    shape: tuple[int, ...]
    is_result: bool | None = None
    name: str | None = None

    @property
    def case(self) -> int:
        """Which of the four cases this is; 3 where PyTorch does not tell 3 from 4."""
        if self.requires_grad:
            return 1 if self.is_leaf else 2
        return 4 if self.is_result else 3

    @property
    def verdict(self) -> str:
        """The case in words."""
        if self.case == 2 and self.retains_grad:
            return "case 2 of 4: needs grad, a result: not a leaf; retain_grad() asked to keep its .grad"
        if self.case == 3 and self.is_result is None:
            return (
                "case 3 or 4 of 4: no grad: a leaf to PyTorch, which does not tell whether you or an op made it; "
                "backward never reaches it"
            )
        return f"case {self.case} of 4: {CASES[self.case]}"

    def items(self) -> tuple[tuple[str, str], ...]:
        """The columns and their text, in the table's order."""
        named = {item.name: getattr(self, item.name) for item in fields(self) if item.name not in ("name", "is_result")}
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
