"""What a row says at one moment: sign, name, op, shape, gradient norm and marks. Words only; no colour."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ...model.graph import GraphNode, NodeKind
from ...render.pieces import NodeView
from ...render.signs import role_sign
from ...render.theme import THEMES
from ...render.words import BADGES, Role
from ...text import number, plural, printable, sizes
from ..scene import Scene
from ..subject import Subject, grad_node, subject_of
from .chain import chain_rule
from .picture import Picture

AHEAD, NOW, DONE = "ahead", "now", "done"
_STEP_MARKS = frozenset({"nan", "inf"})  # told by each step's own samples, not by the template's graph
_PATH = 2  # parts of a module's path that stand before an op
_LATER = frozenset({"mutated", "stale", "not_reached", "retained"})  # hold from some later moment on


@dataclass(frozen=True, slots=True)
class RowWords:
    """One row. `state` is AHEAD before its node is reached, NOW while it is the latest, DONE after.

    `norm` is the gradient's norm in digits, `None` for a leaf without a gradient, "" where none is known. `rule` is the
    chain rule at a grad node that ran, one way out each, where its numbers are single.
    """

    role: Role
    sign: str
    name: str
    what: str
    shape: str
    norm: str
    marks: tuple[str, ...]
    findings: tuple[str, ...]
    state: str
    rule: tuple[str, ...] = ()


class Reader:
    """Words the rows of one picture for one scene."""

    def __init__(
        self,
        picture: Picture,
        scene: Scene,
        bad: Mapping[int, Mapping[str, int]],
        findings: Mapping[int, tuple[str, ...]],
    ) -> None:
        self.picture = picture
        self.scene = scene
        self.bad = bad
        self.findings = findings
        self.latest = picture.latest(scene.moment)

    def state(self, row: int) -> str:
        span, moment = self.picture.spans[row], self.scene.moment
        if span is None or span.first > moment:
            return AHEAD
        latest = self.latest
        inside = span.first >= 0 and latest is not None and (span.first <= latest <= span.last)
        again = latest is not None and latest in self.picture.again.get(row, ())
        return NOW if inside or again or span.first == latest else DONE

    def words(self, row: int, view: NodeView) -> RowWords:
        node = self.picture.nodes[row]
        subject = subject_of(self.scene.step.template, node)
        return RowWords(
            role=view.role,
            sign=role_sign(view.role, ascii=self.scene.ascii),
            name=self._name(node, view),
            what=self._what(node, view),
            shape="" if node.shape is None else f"[{sizes(node.shape, ',')}]",
            norm=self._norm(node, subject),
            marks=self._marks(row, node, subject),
            findings=self.findings.get(row, ()),
            state=self.state(row),
            rule=chain_rule(self.scene, *subject.grad) if subject.grad is not None and node.count == 1 else (),
        )

    def _name(self, node: GraphNode, view: NodeView) -> str:
        if node.kind is NodeKind.ACCUMULATE_GRAD:
            title = node.name or "a leaf"
        elif node.kind is NodeKind.GRAD_FN:
            owner = self.picture.reach.owners.get(node.id)
            name = self.scene.step.tensors[owner].name if owner is not None else ""
            title = name or _unnamed(node, node.op or node.label)
        elif node.kind is NodeKind.TENSOR:
            title = node.name or _unnamed(node, node.label)
        else:
            title = view.title
        return f"{printable(title)} ×{node.count}" if node.count > 1 else printable(title)

    def _what(self, node: GraphNode, view: NodeView) -> str:
        if node.kind is NodeKind.MODULE:
            inside = plural(len(node.members), "node")
            return f"{printable(node.module_type)} · {inside}" if node.module_type else inside
        if node.kind in (NodeKind.GRAD_FN, NodeKind.ACCUMULATE_GRAD):
            return printable(node.label)
        if node.kind is NodeKind.OP:
            return printable(node.module) if node.module else "op"
        return printable(node.grad_fn or (node.op if view.role is Role.NO_GRAD and node.op else view.role.value))

    def _norm(self, node: GraphNode, subject: Subject) -> str:
        scene = self.scene
        if node.kind is NodeKind.MODULE or node.count > 1:
            return ""
        found = self.picture.reach.gradient(node.id, subject.tensor, scene.moment, scene.samples)
        if subject.tensor is None:
            return _digits(found)
        now = scene.state.tensors.get(subject.tensor)
        tensor = scene.step.tensors[subject.tensor]
        if now is None or not (now.requires_grad and now.is_leaf):
            return _digits(found)
        if now.has_grad is False:
            return "None"
        if now.has_grad and tensor.parameter is not None and found is None:
            found = next((grad for owner, _, grad in scene.step.row.norms if owner == tensor.parameter), None)
        return _digits(found)

    def _marks(self, row: int, node: GraphNode, subject: Subject) -> tuple[str, ...]:
        moment = self.scene.moment
        held = {mark for mark, since in self.bad.get(row, {}).items() if since <= moment}
        for mark in node.marks - _STEP_MARKS - {"frozen"}:
            if mark not in _LATER or self._holds(mark, subject):
                held.add(mark)
        return tuple(mark for mark in BADGES if mark in held)

    def _holds(self, mark: str, subject: Subject) -> bool:
        """Whether a mark that comes with time holds by now; where that is not known, it does."""
        moment, reach = self.scene.moment, self.picture.reach
        if mark == "not_reached":
            return reach.backward is None or reach.backward <= moment
        if mark == "retained":
            now = self.scene.state.tensors.get(subject.tensor) if subject.tensor is not None else None
            return now is None or now.retains_grad
        record = grad_node(self.scene.step.template, subject)
        written = [saved.tensor for saved in record.saved if saved.stale] if record else [subject.tensor]
        known = [reach.changes[tensor] for tensor in written if tensor is not None and tensor in reach.changes]
        return not known or min(known) <= moment


def _unnamed(node: GraphNode, op: str) -> str:
    """A result without a name: `attn.c_attn · addmm`, the op behind the end of its module's path."""
    path = ".".join((node.module or "").split(".")[-_PATH:])
    return f"{path} · {op}" if path else op


def _digits(norm: float | None) -> str:
    return "" if norm is None else number(norm, 3)


def mark_sign(mark: str) -> str:
    return THEMES["light"].badge(mark).sign
