"""What is said of one node alone: its type line, its row of the leaf table, its tooltip."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from .. import text
from ..model.findings import Finding
from ..model.graph import GraphNode, NodeKind
from ..model.records import Stats
from ..transforms import SEVERITY_MARKS
from .words import MEANING, Role, badge_word, finding_name


def type_line(node: GraphNode) -> str:
    """Dtype and shape, device and version; of a folded node its class and how many it stands for."""
    parts = [text.tensor_type(node.dtype, node.shape)] if node.dtype else []
    if node.kind is NodeKind.MODULE:
        inside = f"{text.plural(len(node.members), 'node')} inside"
        parts = [node.module_type or "", inside]
    if node.device and node.kind in (NodeKind.TENSOR, NodeKind.MODULE):
        parts.append(node.device)
    if node.version is not None:
        parts.append(f"version {node.version}")
    elif node.kind is NodeKind.TENSOR and node.requires_grad is False:  # an inference tensor
        parts.append("version untracked")
    return " · ".join(part for part in parts if part)


def brief_line(node: GraphNode, *, alone: bool) -> str:
    """The type line where room is scarce; `alone` tensors name the op that has no box of its own."""
    if node.kind is NodeKind.MODULE:
        return type_line(replace(node, device=None))
    if node.kind is not NodeKind.TENSOR:
        return ""
    op = [node.op] if node.op and alone and node.op != node.label else []
    return " · ".join([*op, text.tensor_type(node.dtype, node.shape)])


def tensor_rows(node: GraphNode, *, with_grad: bool) -> Iterator[tuple[str, str]]:
    """The leaf table's row: data, grad, is_leaf, requires_grad, grad_fn."""
    if node.value is not None:
        yield "data", _values(node, node.value)
    elif node.stats is not None:
        yield "data", _statistics(node.stats)
    if with_grad and node.has_grad is not None:
        yield "grad", gradient(node)
    for key, fact in (("is_leaf", node.is_leaf), ("requires_grad", node.requires_grad)):
        if fact is not None:
            yield key, str(fact)
    if node.grad_fn is not None or node.requires_grad is not None:
        yield "grad_fn", node.grad_fn or "None"


def gradient(node: GraphNode) -> str:
    """The gradient of a tensor, or that which a grad node receives: its values, else its statistics, else `None`."""
    if not node.has_grad:
        return "None"
    if node.grad is not None:
        return _values(node, node.grad)
    return _statistics(node.grad_stats) if node.grad_stats is not None else "not None"


def _values(node: GraphNode, flat: tuple[float, ...]) -> str:
    return text.values(flat, (len(flat),) if node.shape is None else node.shape, node.dtype)


def _statistics(stats: Stats) -> str:
    bad = [f"{count:,} {word}" for count, word in ((stats.nans, "NaN"), (stats.infs, "Inf")) if count]
    return ", ".join([*bad, f"mean {text.number(stats.mean, 3)}", f"norm {text.number(stats.norm, 3)}"])


def of_parts(parts: Iterable[GraphNode], *, with_grad: bool) -> Iterator[str]:
    """Everything that is known of what is drawn inside a node, a part a line: its row of the leaf table, its notes."""
    for part in parts:
        rows = tensor_rows(part, with_grad=with_grad) if part.kind is NodeKind.TENSOR else ()
        facts = (type_line(part), *(f"{key} {value}" for key, value in rows), *part.notes)
        yield text.printable(f"{part.name or part.label}: {' · '.join(filter(None, facts))}")


def tooltip(
    node: GraphNode,
    role: Role,
    words: tuple[str, str, str, str | None],
    rows: tuple[tuple[str, str], ...],
    notes: tuple[str, ...],
    findings: tuple[Finding, ...],
) -> Iterator[str]:
    """Everything that is known, a fact a line."""
    title, type_line, place, source = words
    yield f"{title} ×{node.count:,}" if node.count > 1 else title
    for finding in findings:
        yield f"{finding.severity.value} {finding_name(finding)}: {text.printable(finding.message)}"
    yield f"{role.value}: {MEANING[role]}"
    if type_line:
        yield type_line
    yield from (f"{key}: {value}" for key, value in rows)
    yield from (badge_word(mark) for mark in sorted(node.marks - SEVERITY_MARKS) if mark != "frozen")
    yield from notes
    if place:
        yield f"in {place}"
    if source:
        yield source
