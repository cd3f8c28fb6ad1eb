"""The lines inside the box of a call: what it was given, its parameters, and what its backward does."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from .. import text
from ..model.graph import GraphNode, NodeKind
from ..transforms import is_backward
from .words import Role

_LINE = 44  # characters before text is elided
_NAME = 22
_NAMED = re.compile(r"[\w.]+(\[[^\[\]()]*\])*")  # `loss`, `self.h`, `out["cls"]`


@dataclass(frozen=True, slots=True)
class PartView:
    """One line about something that is drawn inside another node. `words` begin without a sign."""

    role: Role
    words: str


def part_lines(node: GraphNode, *, made: bool, shared: Mapping[int, int], with_grad: bool) -> Iterator[PartView]:
    """What stands inside a node, a line each: what it reads alone, and its backward; where a call `made` it, arguments.

    `shared`: how many calls read each of the parts; `with_grad`: the picture is of the backward, too.
    """
    if node.arguments and made:
        yield _line(Role.OP, node.arguments)
    constants: Counter[str] = Counter()
    for part in node.parts:
        if part.role in ("parameter", "buffer"):
            yield _line(_role(part), _parameter(part, node.count, shared.get(part.id, 1), with_grad=with_grad))
        elif part.kind is NodeKind.TENSOR and not is_result(part, node):
            constants[f"{part.name or part.label} {text.tensor_type(part.dtype, part.shape)}"] += part.count
    for words, count in constants.items():
        yield _line(Role.INPUT, f"{words} ×{count:,}" if count > 1 else words)
    undone = [part for part in node.parts if part.kind is NodeKind.GRAD_FN]
    if undone:
        yield from (_line(Role.GRAD_FN, words) for words in _backward(undone))
    filled = [part for part in node.parts if part.kind is NodeKind.ACCUMULATE_GRAD]
    if is_backward(node):
        for part in filled:
            leaf = text.elide_middle(f"{part.name}.grad", _NAME) if part.name else "a leaf's .grad"
            yield _line(Role.ACCUMULATE_GRAD, f"fills {leaf}")
    elif filled and node.kind is NodeKind.TENSOR and not undone:
        yield _line(Role.ACCUMULATE_GRAD, f"AccumulateGrad{_size(node, '.grad')}")


def _line(role: Role, words: str) -> PartView:
    return PartView(role, text.elide(text.printable(words), _LINE))


def is_result(part: GraphNode, node: GraphNode) -> bool:
    """Whether a part is one more result of the call that the node stands for."""
    return part.kind is NodeKind.TENSOR and part.role == "result" and part.moment == node.moment is not None


def results(node: GraphNode) -> str:
    """What a call returned, by the names that the program has for it; an expression is none."""
    tensors = [node, *(part for part in node.parts if is_result(part, node))]
    names = dict.fromkeys(one.name for one in tensors if one.name and _NAMED.fullmatch(one.name))
    return text.elide_list(names, 3)


def _role(part: GraphNode) -> Role:
    if part.role == "buffer":
        return Role.BUFFER
    return Role.FROZEN if part.requires_grad is False or "frozen" in part.marks else Role.PARAMETER


def _parameter(part: GraphNode, blocks: int, shared: int, *, with_grad: bool) -> str:
    name = (part.name or part.label).rpartition(".")[2]
    words = f"{text.elide_middle(name, _NAME)} {text.tensor_type(part.dtype, part.shape)}"
    if _role(part) is Role.FROZEN:
        return f"{words}, frozen"
    one = part.count < blocks or shared > max(part.count, 1)
    return words + (_size(part, "g") if with_grad else "") + (" · shared" if one else "")


def _size(part: GraphNode, what: str) -> str:
    """How large its gradient is, where that was sampled."""
    if part.has_grad and part.grad is not None and len(part.grad) == 1:
        return f" · {what} {text.number(part.grad[0])}"
    return f" · |{what}| {text.number(part.grad_stats.norm, 3)}" if part.has_grad and part.grad_stats else ""


def _backward(parts: Sequence[GraphNode]) -> Iterator[str]:
    """The grad nodes of one call, the gradient that came in, and what they keep; in one line where it fits."""
    first, others = parts[0], len(parts) - 1
    name = f"{first.label} +{others}" if others else first.label
    came = f" · |g| {text.number(first.grad_stats.norm, 3)}" if first.grad_stats is not None else ""
    kept = list(dict.fromkeys(_short(name) for part in parts for name in part.keeps))
    keeps = f"keeps {text.elide_list(kept, 3)}" if kept else ""
    if keeps and len(name + came + keeps) + 3 <= _LINE:
        yield f"{name}{came} · {keeps}"
    else:
        yield name + came
        if keeps:
            yield keeps


def _short(name: str) -> str:
    return text.elide_middle(name.rpartition(".")[2] if name.replace(".", "").isidentifier() else name, _NAME)
