"""The boxes of grad nodes: what made each, what it keeps for its backward, which gradients it got and sent."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from ..text import number, plural
from .boxes import Boxes
from .gradients import ACCUMULATE, Gradients
from .graph import EdgeKind, GraphEdge, GraphNode, NodeKind
from .moments import OpCall
from .records import GradNode, SavedTensor
from .twin import maker

_NONE: frozenset[str] = frozenset()
_node = maker(GraphNode)
_edge = maker(GraphEdge)

# What torch calls a kept tensor that the program has no name for, in words.
_KEPT = {
    "self": "its input",
    "other": "its second operand",
    "result": "its result",
    "output": "its result",
    "mat1": "its first matrix",
    "mat2": "its second matrix",
    "result1": "a part of its result",
    "result2": "a part of its result",
    "indices": "the indices it picked",
}
# Grad nodes of calls that the program did not write itself, by the calls that it would have written.
_UNDOES = {
    "TBackward0": (("t", "T", "transpose"), "turns the gradient back: {op} works with the transposed weight"),
    "ExpandBackward0": (("expand", "expand_as"), "sums the gradient over what {op} repeated"),
    "UnsafeViewBackward0": ((), "gives the gradient the shape it had inside {op}"),
}


class GradBoxes:
    """Makes the nodes and edges of a step's backwards. `boxes` knows the step's tensors."""

    def __init__(self, boxes: Boxes, gradients: Gradients) -> None:
        self.boxes = boxes
        self.gradients = gradients
        self._earlier = self._made_earlier()

    def nodes(self) -> list[GraphNode]:
        """A box for each grad node, in the order of their records."""
        box = self._box
        return [box(place, node) for place, node in self.gradients.nodes.items()]

    def edges(self) -> list[GraphEdge]:
        """An edge for each way that a gradient went, with that gradient where it was sampled."""
        grad, found = EdgeKind.GRAD, self.gradients.edges()
        if not self.gradients.runs:
            return [_edge(source, target, grad, index) for source, target, index in found]
        return [_edge(source, target, grad, index, self._label(source, index)) for source, target, index in found]

    def _label(self, place: int, index: int) -> str:
        """The gradient that a node sent along its edge `index`: the number itself, or its norm; "" if not sampled."""
        runs = self.gradients.runs.get(place)
        sample = self.boxes.samples.of_node(runs[-1], "grad_out", index) if runs else None
        if sample is None:
            return ""
        if sample.values is not None and len(sample.values) == 1:
            return number(sample.values[0])
        return f"|g| {number(sample.stats.norm)}" if sample.stats is not None else ""

    def _box(self, place: int, node: GradNode) -> GraphNode:
        """A grad node's box: what made it, what it keeps, the gradient that came in where it was sampled."""
        boxes = self.boxes
        made = boxes.moments[node.op] if node.op is not None else None
        name = has_grad = tensor = None
        stack = node.stack if node.stack is not None or made is None else made.stack
        if node.tensor is not None:
            tensor = boxes.tensors[node.tensor]
            kind, name, stack = NodeKind.ACCUMULATE_GRAD, tensor.name or None, tensor.first_use
            has_grad = boxes.has_grad(tensor, requires_grad=True, retains=False)
            module = boxes.module_of(tensor, None)
        else:
            if node.output_tensors:
                tensor = boxes.tensors[node.output_tensors[0]]
            kind = NodeKind.ACCUMULATE_GRAD if node.name == ACCUMULATE else NodeKind.GRAD_FN
            module = boxes.names.box(node.module)
            if module is None and isinstance(made, OpCall):
                module = boxes.names.box(made.module)
        within = (made.module, made.module_call) if isinstance(made, OpCall) else (node.module, None)
        runs = self.gradients.runs.get(place, ())
        arrived = boxes.samples.of_node(runs[-1], "grad_in") if runs else None
        return _node(
            place,
            kind,
            node.name,
            name,
            made.name if isinstance(made, OpCall) else None,
            *((tensor.shape, tensor.dtype, tensor.device) if tensor is not None else (None, None, None)),
            None,  # status
            None,  # version
            has_grad,
            "",
            module,
            boxes.names.types.get(module) if module is not None else None,
            boxes.lines.line(stack),
            None,  # value
            arrived.values if arrived else None,
            None,  # stats
            arrived.stats if arrived else None,
            self._marks(place, node, runs),
            self._notes(place, node, runs),
            runs[0] if runs else None,
            self.gradients.order.get(place),
            call=boxes.calls.key(*within),
            made_at=node.op,
            keeps=tuple([self._what(node, saved) for saved in node.saved]) if node.saved else (),
        )

    def _marks(self, place: int, node: GradNode, runs: Sequence[int]) -> frozenset[str]:
        marks = _NONE
        for run in runs:
            marks |= self.boxes.samples.bad_gradients(run)
        if place in self.gradients.roots:
            marks |= {"root"}
        if node.saved and any(saved.stale for saved in node.saved):
            marks |= {"stale"}
        return marks

    # -- notes -------------------------------------------------------------------------------------

    def _notes(self, place: int, node: GradNode, runs: Sequence[int]) -> tuple[str, ...]:
        notes = tuple([self._kept(node, saved) for saved in node.saved]) if node.saved else ()
        if node.name in _UNDOES:
            notes += self._undoes(node)
        if node.carried and node.tensor is None:
            notes += ("made in an earlier step" if place in self._earlier else "what made it was not recorded",)
        if node.hooks:
            notes += (plural(node.hooks, "hook"),)
        if len(runs) > 1:
            notes += (f"ran {len(runs)} times",)
        return notes

    def _undoes(self, node: GradNode) -> tuple[str, ...]:
        """What a grad node is for that undoes something which an op did on its own account."""
        written, words = _UNDOES[node.name]
        made = self.boxes.moments[node.op] if node.op is not None else None
        return (words.format(op=made.name),) if isinstance(made, OpCall) and made.name not in written else ()

    def _what(self, node: GradNode, saved: SavedTensor) -> str:
        """What a kept tensor is called."""
        name = self.boxes.tensors[saved.tensor].name if saved.tensor is not None else ""
        if not name:
            return _KEPT.get(saved.name, f"its {saved.name.replace('_', ' ')}")
        return f"its result {name}" if saved.tensor in node.output_tensors else name

    def _kept(self, node: GradNode, saved: SavedTensor) -> str:
        tensor = self.boxes.tensors[saved.tensor] if saved.tensor is not None else None
        what = self._what(node, saved)
        version = ""
        if saved.version is not None and tensor is not None and tensor.name:
            version = f"version {self.boxes.step.absolute(tensor.number, saved.version)}"
        if saved.stale:
            return f"keeps {what} for its backward{f' as of {version}' * bool(version)}, but it was changed since"
        return f"keeps {what} for its backward{f' ({version})' * bool(version)}"

    def _made_earlier(self) -> frozenset[int]:
        """The grad nodes of earlier steps: those of tensors that came from there, and all that these lead to."""
        tensors, nodes = self.boxes.tensors, self.gradients.nodes
        carried = [place for place, node in nodes.items() if node.carried]
        if not carried:
            return frozenset()
        targets: dict[int, list[int]] = defaultdict(list)
        for source, target, _ in self.gradients.edges():
            targets[source].append(target)
        found = [place for place in carried if any(tensors[number].carried for number in nodes[place].output_tensors)]
        for place, node in nodes.items():
            if not node.carried and self._reads_earlier(node):
                found += [target for target in targets[place] if nodes[target].carried]
        seen = set(found)
        while found:
            fresh = [target for target in targets[found.pop()] if target not in seen]
            seen.update(fresh)
            found.extend(fresh)
        return frozenset(seen)

    def _reads_earlier(self, node: GradNode) -> bool:
        """Whether the op that made a grad node read a result of an earlier step."""
        op = self.boxes.moments[node.op] if node.op is not None else None
        inputs = (self.boxes.tensors[number] for number in op.inputs) if isinstance(op, OpCall) else ()
        return any(tensor.carried and tensor.grad_fn is not None for tensor in inputs)
