"""Live tensors, without a recording: the leaf table's row, and the graph behind one tensor.

The graph is told as a trace of one step (an op for each grad node, then the backward), so it is built
and drawn by what builds and draws every other graph.
"""

from __future__ import annotations

import platform
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import datetime, timezone
from types import FrameType
from typing import Any

import torch

from ..errors import NothingToDraw, UsageError
from ..model import moments, records
from ..model.graph import Graph
from ..model.leaf import TensorRow
from ..model.memory import MemorySource
from ..model.moments import Template
from ..model.names import sharing
from ..model.records import Detail, Phase, StepKind, StepRow, TraceInfo
from ..model.trace import Trace
from ..model.why import Explanation, explain
from ..text import tensor_type
from .emit.to_records import tensor_of
from .hiding.frames import is_ours
from .hiding.no_torch_function import Unseen
from .measure.askable import dense
from .measure.grad_graph import root_node, walk
from .measure.stats import of_values, values
from .measure.tensor_facts import device_name, dtype_name, known_sizes, read_facts, storage_key, version_of


def tensor_facts(tensor: torch.Tensor) -> TensorRow:
    """The tensor's row of the leaf table. Raises UsageError for anything but a tensor."""
    _must_be_tensor(tensor)
    with Unseen():
        return _row(tensor)


def _row(tensor: torch.Tensor) -> TensorRow:
    facts = read_facts(tensor)
    grad = tensor.grad if facts.is_leaf or facts.retains_grad else None
    return TensorRow(
        requires_grad=facts.requires_grad,
        is_leaf=facts.is_leaf,
        grad_fn=facts.grad_fn,
        grad=None if grad is None else _shown(grad),
        retains_grad=facts.retains_grad,
        version=None if facts.is_inference else version_of(tensor),
        device=facts.device,
        dtype=facts.dtype,
        shape=facts.shape,
        is_result=True if not facts.is_leaf else (False if facts.requires_grad else None),
        name=_names(None).get(id(tensor)),
    )


def graph_of(tensor: torch.Tensor, kind: str, names: Mapping[str, torch.Tensor] | None = None) -> Graph:
    """The graph that a backward from `tensor` would run through.

    Tensors are called by the caller's variables, its modules' parameters, and `names`. Raises UsageError
    for anything but a tensor, NothingToDraw for one without a graph.
    """
    _must_be_tensor(tensor)
    if not tensor.requires_grad:
        raise NothingToDraw(
            "this tensor has no graph: it does not require a gradient"
            + (" (it was made where gradients were off, or detached)" if tensor.is_leaf else "")
            + ". Ask for one with requires_grad_() before computing with it"
        )
    with Unseen():
        told = _Telling(tensor, _names(names), _tensors(names)).trace()
    return told.step(0).graph(kind)


def explanation_of(tensor: torch.Tensor) -> Explanation:
    """What the live tensor alone tells, without a recording: no lines. Raises UsageError for anything but a tensor."""
    _must_be_tensor(tensor)
    with Unseen():
        row = _row(tensor)
        grad = f"{row.name}.grad" if row.name else "the .grad of this tensor"
        if row.grad is not None:
            return Explanation(f"{grad} is there: {row.grad}.")
        if row.requires_grad and not row.is_leaf:
            telling = _Telling(tensor, _names(None), _tensors(None))
            told = telling.trace()
            return explain(told.step(0), telling.root)
    if row.requires_grad:
        answer, fix = "no backward has filled it, or it was cleared since", "call backward() on what was made from it"
    else:
        answer = "it does not require a gradient: it was made so, or where gradients were off, or detached"
        fix = "ask for it with requires_grad_() before computing with it"
    record = "record it to know the line: with gradscope.record(): ..., or gradscope trace SCRIPT"
    return Explanation(f"{grad} is None: {answer}.", (), f"{fix}; {record}")


def _must_be_tensor(tensor: object) -> None:
    if not isinstance(tensor, torch.Tensor):
        raise UsageError(f"a tensor is wanted here, not {type(tensor).__name__}")


def _shown(grad: torch.Tensor) -> str:
    facts = read_facts(grad)
    if values(grad) is None:
        return tensor_type(facts.dtype, facts.shape)
    return str(dense(grad).tolist())


def _caller() -> FrameType | None:
    """The innermost frame that is not gradscope's."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and (is_ours(frame.f_code) or frame.f_globals.get("__name__", "").startswith("gradscope.")):
        frame = frame.f_back
    return frame


def _tensors(names: Mapping[str, torch.Tensor] | None) -> dict[str, torch.Tensor]:
    """Every tensor in the caller's sight, by name: modules' parameters, then variables, then `names`."""
    frame = _caller()
    variables = {**frame.f_globals, **frame.f_locals} if frame is not None else {}
    found: dict[str, torch.Tensor] = {}
    modules: dict[tuple[int, ...], tuple[str, dict[str, torch.Tensor]]] = {}  # by what they hold: two names, one model
    for name, value in variables.items():
        if name.startswith("_") or not name.isidentifier():  # a notebook's history, a variable of pytest's
            continue
        if isinstance(value, torch.Tensor):
            found[name] = value
        elif isinstance(value, torch.nn.Module):
            held: dict[str, torch.Tensor] = dict(value.named_parameters())
            modules.setdefault(tuple(id(tensor) for tensor in held.values()), (name, held))
    inside = {identity for tensors in modules for identity in tensors}
    free = [name for name, tensor in found.items() if id(tensor) not in inside]
    qualified = sharing({**dict(modules.values()), "": free})
    for model, own in modules.values():
        found = {f"{model}.{name}" if model in qualified else name: own[name] for name in own} | found
    return found | dict(names or {})


def _names(names: Mapping[str, torch.Tensor] | None) -> dict[int, str]:
    return {id(tensor): name for name, tensor in _tensors(names).items()}


class _Telling:
    """Tells a live graph as one step."""

    def __init__(self, root: torch.Tensor, names: dict[int, str], known: dict[str, torch.Tensor]) -> None:
        self._names = names
        self._root = root
        self._tensors: list[records.Tensor] = []
        self._moments: list[moments.Moment] = []
        self._samples: list[records.Sample] = []
        self._with_grad: list[int] = []
        self._of_node: dict[tuple[int, int], int] = {}
        self._storages: dict[int, int] = {}
        self._nodes, self._edges, _ = walk([root_node(root)])
        index = {node: position for position, node in enumerate(self._nodes)}
        self._live: dict[tuple[int, int], torch.Tensor] = {}
        for tensor in (*known.values(), root):
            node = tensor.grad_fn
            if node is not None and node in index:
                self._live[index[node], tensor.output_nr] = tensor

    @property
    def root(self) -> int:
        """The number of the tensor that was asked for."""
        return self._of_node[0, self._root.output_nr if self._root.grad_fn is not None else 0]

    def trace(self) -> Trace:
        inputs: dict[int, list[tuple[int, int]]] = {}
        wanted: dict[int, set[int]] = {0: {self._root.output_nr}}
        for source, target, _, input_nr in self._edges:
            inputs.setdefault(source, []).append((target, input_nr))
            wanted.setdefault(target, set()).add(input_nr)
        made: dict[int, int] = {}
        for position in self._leaves_first(inputs):
            node = self._nodes[position]
            leaf = getattr(node, "variable", None)
            if leaf is not None and type(node).__name__ == "AccumulateGrad":
                self._of_node[position, 0] = self._tensor(leaf, self._names.get(id(leaf), ""), None)
                continue
            made[position] = len(self._moments)
            outputs = tuple(self._output(position, number, node) for number in sorted(wanted.get(position, {0})))
            read = tuple(self._of_node[pair] for pair in inputs.get(position, ()))
            self._moments.append(
                moments.OpCall(Phase.FORWARD, None, op_name(type(node).__name__), read, outputs, grad_nodes=1)
            )
        outputs_of: dict[int, list[int]] = {}
        for (position, _), number in sorted(self._of_node.items()):
            outputs_of.setdefault(position, []).append(number)
        graph = records.GradGraph(
            tuple(
                _grad_node(position, type(node).__name__, made.get(position), tuple(outputs_of[position]))
                for position, node in enumerate(self._nodes)
            ),
            tuple(records.GradEdge(*edge) for edge in self._edges),
            (0,),
        )
        root = self.root
        self._moments.append(moments.Backward(Phase.BACKWARD, None, "backward", 0, (root,)))
        if self._with_grad:
            self._moments.append(moments.GradChange(Phase.BACKWARD, None, tuple(self._with_grad), "created", True))
        return self._written(Template(0, tuple(self._tensors), tuple(self._moments), (graph,)))

    def _leaves_first(self, inputs: Mapping[int, list[tuple[int, int]]]) -> Iterator[int]:
        """Positions of the nodes, each after those it sends gradients to."""
        waiting = {position: len({t for t, _ in inputs.get(position, ())}) for position in range(len(self._nodes))}
        readers: dict[int, set[int]] = {}
        for source, pairs in inputs.items():
            for target, _ in pairs:
                readers.setdefault(target, set()).add(source)
        ready = [position for position, count in waiting.items() if not count]
        while ready:
            position = ready.pop()
            yield position
            for reader in sorted(readers.get(position, ())):
                waiting[reader] -= 1
                if not waiting[reader]:
                    ready.append(reader)

    def _output(self, position: int, number: int, node: Any) -> int:
        live = self._live.get((position, number))
        if live is not None:
            index = self._tensor(live, self._names.get(id(live), ""), len(self._moments))
        else:
            index = self._described(node, number)
        self._of_node[position, number] = index
        return index

    def _described(self, node: Any, number: int) -> int:
        """A result that no variable holds any more, from what its node remembers of it."""
        metadata = node._input_metadata if hasattr(node, "_input_metadata") else ()
        known = metadata[number] if number < len(metadata) else None
        index = len(self._tensors)
        self._tensors.append(
            records.Tensor(
                number=index,
                name="",
                shape=known_sizes(known.shape) if known is not None else (),
                dtype=dtype_name(known.dtype) if known is not None else "",
                device=device_name(known.device) if known is not None else "",
                layout="strided",
                requires_grad=True,
                is_leaf=False,
                grad_fn=type(node).__name__,
                retains_grad=False,
                is_inference=False,
                version=None,
                storage=10**9 + index,
                nbytes=0,
                made_by=len(self._moments),
                output=number,
            )
        )
        return index

    def _tensor(self, tensor: torch.Tensor, name: str, made_by: int | None) -> int:
        facts = read_facts(tensor)
        index = len(self._tensors)
        key = storage_key(tensor)
        self._tensors.append(
            tensor_of(
                facts,
                number=index,
                name=name,
                version=None if facts.is_inference else version_of(tensor),
                storage=self._storages.setdefault(key, index) if key is not None else index,
                made_by=made_by,
                output=tensor.output_nr,
                role="parameter" if isinstance(tensor, torch.nn.Parameter) else "leaf" if facts.is_leaf else "tensor",
            )
        )
        moment = made_by if made_by is not None else -1
        self._sample(tensor, index, moment, "value")
        grad = tensor.grad if facts.is_leaf or facts.retains_grad else None
        if grad is not None:
            self._with_grad.append(index)
            self._sample(grad, index, 10**9, "grad")  # after the backward: the last moment
        return index

    def _sample(self, tensor: torch.Tensor, subject: int, moment: int, what: str) -> None:
        numbers = values(tensor)
        if numbers:
            self._samples.append(
                records.Sample(0, moment, subject, False, what, of_values(numbers), numbers, tuple(tensor.shape))
            )

    def _written(self, template: Template) -> Trace:
        info = TraceInfo(
            "", (), "", platform.python_version(), str(torch.__version__),
            datetime.now(timezone.utc).isoformat(timespec="seconds"), Detail.FULL, "done",
        )  # fmt: skip
        source = MemorySource(info)
        source.put_template(template)
        source.put_step(StepRow(0, StepKind.TRAIN, Detail.FULL, 0, 0.0, 0.0))
        last = len(template.moments) - 1
        source.put_samples([replace(sample, moment=min(sample.moment, last)) for sample in self._samples])
        return Trace(source)


def _grad_node(position: int, name: str, op: int | None, tensors: tuple[int, ...]) -> records.GradNode:
    if op is None:
        return records.GradNode(position, name, tensor=tensors[0])
    return records.GradNode(position, name, op=op, output_tensors=tensors)


def op_name(node: str) -> str:
    """The op that makes a grad node, from the node's name: MulBackward0 -> mul."""
    stem = node.partition("Backward")[0] or node
    letters = []
    for position, letter in enumerate(stem):
        if letter.isupper() and position and not stem[position - 1].isupper():
            letters.append("_")
        letters.append(letter.lower())
    return "".join(letters)
