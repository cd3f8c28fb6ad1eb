"""`GraphView`: nodes, edges and modules in words, made here and nowhere else. Every output shows these words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from enum import Enum
from functools import cached_property

from .. import text
from ..model.findings import Finding
from ..model.graph import EdgeKind, Graph, GraphEdge, GraphKind, GraphNode, NodeKind
from ..model.leaf import leaf_case
from ..transforms import Blocks, by_node, is_backward, mark_findings
from .facts import brief_line, gradient, of_parts, tensor_rows, tooltip, type_line
from .links import source_link
from .parts import PartView, part_lines, results
from .pieces import EdgeView, ModuleView, NodeView
from .words import BADGES, EDGE_WORDS, Role, finding_name

_FULL_TENSORS = 16  # up to this many tensors, each shows its whole row of the leaf table
_MOST_NOTES = 4
_CALL, _TITLE, _LINE, _VALUE, _MESSAGE = 30, 40, 48, 36, 200  # characters before text is elided
_ROLES = {1: Role.LEAF, 2: Role.RESULT, 3: Role.INPUT, 4: Role.NO_GRAD}  # of the cases of the leaf table
_KINDS = {GraphKind.FORWARD: "forward", GraphKind.BACKWARD: "backward", GraphKind.BOTH: "forward and backward"}


class Density(str, Enum):
    """How much of a node is written on it; tooltips always have everything."""

    AUTO = "auto"
    FULL = "full"
    BRIEF = "brief"


class GraphView:
    """A graph in words. `notes` say what was done to the graph before it came here.

    `findings` are marked on the nodes that they name; those of other steps have no place here.

    `folder` is where a picture will lie, relative to the folder that source paths are relative to; links
    are made from there.
    """

    def __init__(
        self,
        graph: Graph,
        *,
        notes: tuple[str, ...] = (),
        density: Density = Density.AUTO,
        folder: str = "",
        findings: Sequence[Finding] = (),
    ) -> None:
        self.graph = graph = mark_findings(graph, findings)
        self.findings = by_node(graph, findings)
        told = (text.elide(text.printable(note), _MESSAGE) for note in graph.notes)
        self.notes = (*told, *notes, *_unplaced(findings, self.findings, graph.step))
        self.folder = folder
        if density is Density.AUTO:
            tensors = sum(node.kind is NodeKind.TENSOR for node in graph.nodes)
            density = Density.FULL if tensors <= _FULL_TENSORS else Density.BRIEF
        self.density = density

    @property
    def title(self) -> str:
        return text.elide(text.printable(self.graph.title), 2 * _TITLE) or "autograd graph"

    @property
    def subtitle(self) -> str:
        """The step, the kind and the sizes: `step 3 · forward and backward · 4 tensors · 2 ops`."""
        kinds = Counter(node.kind for node in self.graph.nodes)
        calls = sum(map(self._is_made, self.graph.nodes)) - kinds[NodeKind.MODULE] if self.graph.combined else 0
        counted = (
            ("call", calls),
            ("tensor", kinds[NodeKind.TENSOR] + kinds[NodeKind.OP] * self.graph.combined - calls),
            ("op", kinds[NodeKind.OP] * (not self.graph.combined)),
            ("grad node", kinds[NodeKind.GRAD_FN] + kinds[NodeKind.ACCUMULATE_GRAD]),
            ("folded node", kinds[NodeKind.MODULE]),
        )
        step = [] if self.graph.step is None else ["setup" if self.graph.step < 0 else f"step {self.graph.step}"]
        sizes = [text.plural(count, what) for what, count in counted if count] or ["empty"]
        return " · ".join([*step, _KINDS[self.graph.kind], *sizes])

    @cached_property
    def nodes(self) -> tuple[NodeView, ...]:
        return tuple(self.node(node) for node in self.graph.nodes)

    @cached_property
    def edges(self) -> tuple[EdgeView, ...]:
        """Those between the same two nodes are one, with how many they are."""
        found: dict[tuple[int, int, EdgeKind], list[GraphEdge]] = {}
        for edge in self.graph.edges:
            found.setdefault((edge.source, edge.target, edge.kind), []).append(edge)
        loops = (replace(self._edge([edge]), loops=True, label="") for edge in self.graph.loops)
        return (*(self._edge(edges) for edges in found.values()), *loops)

    @cached_property
    def modules(self) -> Mapping[str, ModuleView]:
        """Every module that some node lies in, by path, outer modules first; without those that one node stands for."""
        found: dict[str, ModuleView] = {}
        alone = {module for modules in self._alone.values() for module in modules}
        for path in sorted(self._blocks.counts, key=lambda path: len(self.graph.around(path))):
            if path not in alone:
                found[path] = self._module(path)
        return found

    def _module(self, path: str) -> ModuleView:
        called = self.graph.called(path)
        name = text.elide_middle(text.printable(self._blocks.name(path)), _TITLE)
        kind = text.elide(text.printable(self.graph.modules.get(called.module, "")), _TITLE)
        return ModuleView(path, called.parent, name, kind, self._blocks.own(path))

    @cached_property
    def _blocks(self) -> Blocks:
        return Blocks(self.graph)

    @cached_property
    def _shared(self) -> Mapping[int, int]:
        """How many calls read each parameter that is drawn inside of them."""
        found: Counter[int] = Counter()
        for node in self.graph.nodes:
            for part in node.parts:
                found[part.id] += node.count
        return found

    @cached_property
    def _alone(self) -> Mapping[int, Sequence[str]]:
        """The nodes that are all there is in a module, with that module and those around it of which this is true.

        Where a node stands for a call, its box is theirs too.
        """
        inside: dict[str, list[int]] = {}
        for node in self.graph.nodes if self.graph.combined else ():
            for module in self.graph.around(node.module):
                inside.setdefault(module, []).append(node.id)
        found: dict[int, list[str]] = {}
        for node in self.graph.nodes:
            modules = self.graph.around(node.module)
            if alone := [module for module in modules if len(inside.get(module, ())) == 1]:
                found[node.id] = alone
        return found

    @property
    def roles(self) -> tuple[Role, ...]:
        """The roles that are present, in the legend's order."""
        present = {node.role for node in self.nodes}
        present |= {part.role for node in self.nodes for part in node.parts if part.role is not Role.OP}
        return tuple(role for role in Role if role in present)

    @property
    def marks(self) -> tuple[str, ...]:
        """The marks that are present, gravest first."""
        present = {mark for node in self.nodes for mark in node.marks}
        return (*(mark for mark in BADGES if mark in present), *sorted(present - BADGES.keys()))

    @property
    def edge_kinds(self) -> tuple[EdgeKind, ...]:
        present = {edge.kind for edge in self.graph.edges}
        return tuple(kind for kind in EdgeKind if kind in present)

    # -- nodes -----------------------------------------------------------------------------------

    def node(self, node: GraphNode) -> NodeView:
        """One of the graph's nodes in words; for readers that show a few of many."""
        role, full = self._role(node), self.density is Density.FULL and not self.graph.combined
        title, caption, line = self._heading(node, role, full)
        rows = tuple((key, text.printable(value)) for key, value in self._rows(node))
        notes = tuple(text.printable(note) for note in self._notes(node))
        findings = self.findings.get(node.id, ())
        whole_title, whole_line = text.printable(self._title(node)), text.printable(type_line(node))
        place, blocks = self._place(node), self._blocks.enclosing(node.module)
        parts = self._parts(node) if self.graph.combined or node.parts else ()
        with_grad = self.graph.kind is not GraphKind.FORWARD
        everything = (*notes, *of_parts(node.parts, with_grad=with_grad))
        told = notes if full or not self.graph.combined else notes[:1]
        source = None
        if node.source is not None:
            where = f"{text.elide_path(text.printable(node.source.file), _LINE)}:{node.source.line}"
            source = f"{where}  {text.printable(node.source.code.strip())}".rstrip()
        return NodeView(
            id=node.id,
            role=role,
            title=text.elide_middle(title, _CALL if self.graph.combined else _TITLE),
            caption=caption,
            type_line=text.elide(line, _TITLE if self.graph.combined else _LINE),
            rows=tuple((key, text.elide(value, _VALUE)) for key, value in rows) if full else (),
            notes=tuple(text.elide(note, 2 * _LINE) for note in told[:_MOST_NOTES]),
            marks=self._marks(node),
            count=node.count // blocks,
            group=self._group(node),
            place=place,
            tooltip="\n".join(
                tooltip(node, role, (whole_title, whole_line, place, source), rows, everything, findings)
            ),
            source=source,
            link=self._link(node),
            backward=is_backward(node),
            findings=findings,
            parts=parts,
        )

    def _parts(self, node: GraphNode) -> tuple[PartView, ...]:
        with_grad = self.graph.kind is not GraphKind.FORWARD
        return tuple(part_lines(node, made=self._is_made(node), shared=self._shared, with_grad=with_grad))

    def _heading(self, node: GraphNode, role: Role, full: bool) -> tuple[str, str, str]:
        """The title, the caption beside it and the line below.

        A call that is all of a module's goes by the module's name, another by its op.
        """
        title = text.printable(self._title(node))
        if not self.graph.combined or node.kind is NodeKind.MODULE:
            around = text.printable(self.graph.called(self._group(node)).module)
            shown = title if full else title.removeprefix(f"{around}.")
            line = type_line(node) if full else brief_line(node, alone=self._is_result_without_op(node))
            return shown, role.value if full and role.value != title else "", text.printable(line)
        line = text.printable(text.tensor_type(node.dtype, node.shape))
        if not self._is_made(node) or not node.op:
            return title, "", line
        op, named = node.op.strip("_") or node.op, results(node)
        call = f"{op} → {named}" if named else op
        if node.id not in self._alone:
            if len(call) > _CALL and named:
                return text.printable(op), "", text.printable(f"→ {text.elide_middle(named, _CALL)} · {line}")
            return text.printable(call), "", line
        modules = self._alone[node.id]
        outer, inner = self.graph.called(modules[0]), modules[-1]
        around = self.graph.called(outer.parent).module if outer.parent else ""
        name = self._blocks.label(inner).removeprefix(f"{around}." if around else "")
        kind = self.graph.modules.get(self.graph.called(inner).module, "")
        return (
            text.printable(name),
            text.elide(text.printable(kind), _CALL),
            text.printable(" · ".join(filter(None, (call, line)))),
        )

    def _is_made(self, node: GraphNode) -> bool:
        """Whether a call that is in the picture made it."""
        reads = self.graph.incoming.get(node.id) or any(part.kind is NodeKind.TENSOR for part in node.parts)
        return node.kind is NodeKind.OP or bool(reads)

    def _place(self, node: GraphNode) -> str:
        called, blocks = self.graph.called(node.module or ""), self._blocks.enclosing(node.module)
        number = f", call {called.number} of it" if called.number else ""
        return text.printable(called.module) + number + (f", one of {blocks} equal blocks" if blocks > 1 else "")

    def _group(self, node: GraphNode) -> str:
        alone = self._alone.get(node.id)
        return self.graph.called(alone[0]).parent if alone else node.module or ""

    def _notes(self, node: GraphNode) -> Iterator[str]:
        if node.arguments and not self.graph.combined and node.kind is NodeKind.OP:
            yield f"arguments: {node.arguments}"
        yield from node.notes

    def _role(self, node: GraphNode) -> Role:
        if node.kind is not NodeKind.TENSOR:
            if node.kind is NodeKind.MODULE:
                return Role.MODULE_BACKWARD if is_backward(node) else Role.MODULE
            return Role(
                {NodeKind.OP: "op", NodeKind.GRAD_FN: "grad_fn", NodeKind.ACCUMULATE_GRAD: "AccumulateGrad"}[node.kind]
            )
        if node.role == "parameter":
            return Role.FROZEN if node.requires_grad is False or "frozen" in node.marks else Role.PARAMETER
        if node.role == "buffer":
            return Role.BUFFER
        if node.status is None:
            return Role.RESULT
        return _ROLES[leaf_case(node.status, node.role == "result").numbers[0]]

    def _title(self, node: GraphNode) -> str:
        if node.kind is NodeKind.ACCUMULATE_GRAD or node.kind is NodeKind.GRAD_FN:
            return node.label
        if node.kind is NodeKind.TENSOR:
            return node.name or node.label or f"tensor {node.id}"
        return node.label or node.op or node.kind.value

    def _rows(self, node: GraphNode) -> Iterator[tuple[str, str]]:
        if node.kind is NodeKind.TENSOR:
            if node.op and self._is_result_without_op(node):
                yield "op", node.op
            yield from tensor_rows(node, with_grad=self.graph.kind is not GraphKind.FORWARD)
        elif node.kind is NodeKind.ACCUMULATE_GRAD:
            leaf = node.name or self._leaf_of(node)
            if leaf:
                yield "fills", f"{leaf}.grad"
        if is_backward(node) and (node.grad is not None or node.grad_stats is not None):
            yield "receives", gradient(replace(node, has_grad=True))
        if node.order is not None:
            yield "runs", text.ordinal(node.order + 1)

    def _is_result_without_op(self, node: GraphNode) -> bool:
        """Whether the op that made this tensor has no box of its own, as in `both`."""
        before = (self.graph.by_id[edge.source] for edge in self.graph.incoming.get(node.id, ()))
        return any(source.kind is NodeKind.TENSOR for source in before)

    def _marks(self, node: GraphNode) -> tuple[str, ...]:
        """The node's marks, gravest first. A grad node does not repeat what its tensor says of the start."""
        marks = node.marks - {"frozen"}
        if "root" in marks and is_backward(node):
            owners = (self.graph.by_id[edge.source] for edge in self.graph.incoming.get(node.id, ()))
            if any("root" in owner.marks for owner in owners if not is_backward(owner)):
                marks -= {"root"}
        return (*(mark for mark in BADGES if mark in marks), *sorted(marks - BADGES.keys()))

    def _leaf_of(self, node: GraphNode) -> str | None:
        leaves = [edge.source for edge in self.graph.incoming.get(node.id, ()) if edge.kind is EdgeKind.MADE]
        return self._title(self.graph.by_id[leaves[0]]) if leaves else None

    def _link(self, node: GraphNode) -> str | None:
        return source_link(node.source.file, node.source.line, self.folder) if node.source else None

    # -- edges -----------------------------------------------------------------------------------

    def _edge(self, edges: Sequence[GraphEdge]) -> EdgeView:
        """Edges of one kind between the same two nodes."""
        edge = edges[0]
        nodes = [self.graph.by_id[end] for end in (edge.source, edge.target)]
        ends = [text.printable(self._title(node)) for node in nodes]
        labels = list(dict.fromkeys(text.printable(edge.label) for edge in edges if edge.label))
        word = ", ".join(labels) or EDGE_WORDS[edge.kind]
        if edge.kind is EdgeKind.CUT and not labels and nodes[1].op == "detach":
            word = "detach"
        shown = word if edge.kind is EdgeKind.CUT else ", ".join(labels)
        times = f"×{len(edges):,}" if len(edges) > 1 else ""
        return EdgeView(
            source=edge.source,
            target=edge.target,
            kind=edge.kind,
            label=text.elide(" ".join(filter(None, (times, shown))), _CALL if self.graph.combined else _VALUE),
            tooltip=f"{ends[0]} → {ends[1]}: {word}" + (f", {times}" if times else ""),
        )


def _unplaced(findings: Sequence[Finding], placed: Mapping[int, Sequence[Finding]], step: int | None) -> Iterator[str]:
    """The step's findings whose nodes are not in the picture."""
    shown = {finding for found in placed.values() for finding in found}
    hidden = [one for one in findings if one.nodes and one.step == step and one not in shown]
    if hidden:
        yield f"outside this picture: {text.elide_list(dict.fromkeys(map(finding_name, hidden)), 3)}"
