"""What a row says at one moment: sign, name, op, shape, gradient norm and marks. Words only; no colour."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from ...model.graph import GraphNode, NodeKind
from ...render.pieces import NodeView
from ...render.signs import role_sign
from ...render.theme import THEMES
from ...render.words import BADGES, Role
from ...text import number, plural, printable, sizes
from ..differences import SAME, UNKNOWN_DIFFERENCE, UNLIKE, difference
from ..pairing import Pairing
from ..scene import Scene
from ..subject import Subject, grad_node, subject_of
from .chain import chain_rule
from .picture import Picture
from .reach import Reach

AHEAD, NOW, DONE = "ahead", "now", "done"
_STEP_MARKS = frozenset({"nan", "inf"})  # told by each step's own samples, not by the template's graph
_PATH = 2  # parts of a module's path that stand before an op
_Norm = tuple[str, "float | None"]
_LATER = frozenset({"mutated", "stale", "not_reached", "retained"})  # hold from some later moment on


@dataclass(frozen=True, slots=True)
class RowWords:
    """One row. `state` is AHEAD before its node is reached, NOW while it is the latest, DONE after.

    `part` is how many of the nodes that a folded row stands for are reached, while it is in between: `37/6248`.
    `norm` is the gradient's norm in digits, `None` for a leaf without a gradient, "" where none is known. `rule` is the
    chain rule at a grad node that ran, one way out each, where its numbers are single. Where steps are compared,
    `beside` is how much more the norm is here, and `only` has a + for what the other step has not.
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
    beside: str | None = None
    only: str = ""
    part: str = ""


class Beside(NamedTuple):
    """The step that is compared with: its scene, when its nodes are reached, and which of them are which."""

    scene: Scene
    reach: Reach
    pairing: Pairing


class Reader:
    """Words the rows of one picture for one scene."""

    def __init__(
        self,
        picture: Picture,
        scene: Scene,
        bad: Mapping[int, Mapping[str, int]],
        findings: Mapping[int, tuple[str, ...]],
        beside: Beside | None = None,
    ) -> None:
        self.picture = picture
        self.scene = scene
        self.bad = bad
        self.findings = findings
        self.beside = beside
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
        norm = _norm(self.scene, self.picture.reach, node, subject)
        return RowWords(
            role=view.role,
            sign=role_sign(view.role, ascii=self.scene.ascii),
            name=self._name(node, view),
            what=self._what(node, view),
            shape="" if node.shape is None else f"[{sizes(node.shape, ',')}]",
            norm=norm[0],
            marks=self._marks(row, node, subject),
            findings=self.findings.get(row, ()),
            state=self.state(row),
            rule=chain_rule(self.scene, *subject.grad) if subject.grad is not None and node.count == 1 else (),
            beside=self._more(node, norm) if self.beside is not None else None,
            only=self._only(node),
            part=self._part(row, node),
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

    def _more(self, node: GraphNode, norm: _Norm) -> str:
        """How much more a row's norm is than on the other side."""
        assert self.beside is not None
        scene, reach, pairing = self.beside
        twin = scene.graph.by_id.get(pairing.nodes.get(node.id, -1)) if node.count == 1 else None
        if twin is None:
            return ""
        words, value = _norm(scene, reach, twin, subject_of(scene.step.template, twin))
        if "None" in (norm[0], words) and norm[0] and words:
            return SAME if norm[0] == words else UNLIKE
        return UNKNOWN_DIFFERENCE if bool(words) != bool(norm[0]) else difference(norm[1], value)

    def _part(self, row: int, node: GraphNode) -> str:
        """How far a folded row has come, between its first node and its last."""
        if len(node.members) < 2:
            return ""
        reached, total = self.picture.reached(row, self.scene.moment)
        return f"{reached}/{total}" if 0 < reached < total else ""

    def _only(self, node: GraphNode) -> str:
        """`+` for a row that the other side has not, `+3` for a folded one with so many nodes of that kind."""
        if self.beside is None:
            return ""
        members = node.members or (node.id,)
        alone = sum(member not in self.beside.pairing.nodes for member in members)
        return "" if not alone else "+" if alone == len(members) else f"+{alone}"

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


def _norm(scene: Scene, reach: Reach, node: GraphNode, subject: Subject) -> _Norm:
    """The norm of a row's gradient: in words (`None` for a leaf without one, "" where it is not known), and itself."""
    if node.kind is NodeKind.MODULE or node.count > 1:
        return "", None
    found = reach.gradient(node.id, subject.tensor, scene.moment, scene.samples)
    now = scene.state.tensors.get(subject.tensor) if subject.tensor is not None else None
    if now is not None and subject.tensor is not None and now.requires_grad and now.is_leaf:
        if now.has_grad is False:
            return "None", None
        tensor = scene.step.tensors[subject.tensor]
        last = scene.touches.measured.row_has_gradient(tensor.number, scene.moment)
        if now.has_grad and last and tensor.parameter is not None and found is None:
            found = next((grad for owner, _, grad in scene.step.row.norms if owner == tensor.parameter), None)
    return _digits(found), found


def _digits(norm: float | None) -> str:
    return "" if norm is None else number(norm, 3)


def mark_sign(mark: str) -> str:
    return THEMES["light"].badge(mark).sign
