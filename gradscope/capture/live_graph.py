"""A live graph told as a trace of one step: an op for each grad node, then the backward."""

from __future__ import annotations

import heapq
import platform
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timezone
from typing import Any

import torch

from ..model import moments, records
from ..model.memory import MemorySource
from ..model.moments import Template
from ..model.op_kinds import TRANSPOSES
from ..model.records import Detail, Phase, StepKind, StepRow, TraceInfo
from ..model.trace import Trace
from .emit.to_records import tensor_of
from .measure.grad_graph import root_node, walk
from .measure.stats import of_values, values
from .measure.tensor_facts import device_name, dtype_name, known_sizes, read_facts, storage_key, version_of


class Telling:
    """Tells the graph behind `roots` as one step.

    `known` are tensors by name, `owners` the class of the module at each path that these names begin with.
    """

    def __init__(
        self, roots: Sequence[torch.Tensor], known: Mapping[str, torch.Tensor], owners: Mapping[str, str]
    ) -> None:
        self._names = {id(tensor): name for name, tensor in known.items()}
        self._roots = roots
        self._owners = owners
        self._modules: dict[str, records.Module] = {}
        self._module_of: dict[int, int] = {}  # of the result of an op, the module whose parameter it is made from
        self._tensors: list[records.Tensor] = []
        self._moments: list[moments.Moment] = []
        self._samples: list[records.Sample] = []
        self._with_grad: list[int] = []
        self._of_node: dict[tuple[int, int], int] = {}
        self._storages: dict[int, int] = {}
        self._nodes, self._edges, _ = walk([root_node(root) for root in roots])
        self._index = index = {node: position for position, node in enumerate(self._nodes)}
        self._live: dict[tuple[int, int], torch.Tensor] = {}
        for tensor in (*known.values(), *roots):
            node = tensor.grad_fn
            if node is not None and node in index:
                self._live[index[node], tensor.output_nr] = tensor

    @property
    def root(self) -> int:
        """The number of the first tensor that was asked for."""
        return self._number_of(self._roots[0])

    def _number_of(self, root: torch.Tensor) -> int:
        node, output = self._end(root)
        return self._of_node[node, output]

    def _end(self, root: torch.Tensor) -> tuple[int, int]:
        """The position of a root's node, and which of its results the root is."""
        return self._index[root_node(root)], root.output_nr if root.grad_fn is not None else 0

    def trace(self) -> Trace:
        inputs: dict[int, list[tuple[int, int]]] = {}
        wanted: dict[int, set[int]] = {}
        for node, output in map(self._end, self._roots):
            wanted.setdefault(node, set()).add(output)
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
            name = op_name(type(node).__name__)
            module = self._module(name, read, outputs)
            self._moments.append(
                moments.OpCall(Phase.FORWARD, None, name, read, outputs, module, 0 if module is not None else None, 1)
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
            tuple(dict.fromkeys(self._end(root)[0] for root in self._roots)),
        )
        started = tuple(dict.fromkeys(map(self._number_of, self._roots)))
        self._moments.append(moments.Backward(Phase.BACKWARD, None, "backward", 0, started))
        if self._with_grad:
            self._moments.append(moments.GradChange(Phase.BACKWARD, None, tuple(self._with_grad), "created", True))
        return self._written(
            Template(0, tuple(self._tensors), tuple(self._moments), (graph,), calls=tuple(self._calls()))
        )

    def _module(self, op: str, read: Sequence[int], outputs: Sequence[int]) -> int | None:
        """The module of an op: the owner of the parameters that it reads, as they are or transposed."""
        owners = {self._module_of[tensor] for tensor in read if tensor in self._module_of}
        for tensor in read:
            path = self._tensors[tensor].name.rpartition(".")[0]
            if self._tensors[tensor].role == "parameter" and path in self._owners:
                number = len(self._modules)
                module = records.Module(number, "", path, self._owners[path], None)
                owners.add(self._modules.setdefault(path, module).id)
        if len(owners) != 1:
            return None
        (owner,) = owners
        if op in TRANSPOSES:
            self._module_of.update(dict.fromkeys(outputs, owner))
        return owner

    def _calls(self) -> Iterator[moments.ModuleCall]:
        """A call of each module: how often it was called, a live graph does not tell."""
        first: dict[int, int] = {}
        for place, moment in enumerate(self._moments):
            if isinstance(moment, moments.OpCall) and moment.module is not None:
                first.setdefault(moment.module, place)
        for module, place in first.items():
            yield moments.ModuleCall(module, 0, None, True, place)

    def _leaves_first(self, inputs: Mapping[int, list[tuple[int, int]]]) -> Iterator[int]:
        """Positions of the nodes, each after those it sends gradients to, else in the order they were made in."""
        waiting = {position: len({t for t, _ in inputs.get(position, ())}) for position in range(len(self._nodes))}
        readers: dict[int, set[int]] = {}
        for source, pairs in inputs.items():
            for target, _ in pairs:
                readers.setdefault(target, set()).add(source)
        made = [self._made(node) for node in self._nodes]
        ready = [(made[position], position) for position, count in waiting.items() if not count]
        heapq.heapify(ready)
        while ready:
            _, position = heapq.heappop(ready)
            yield position
            for reader in readers.get(position, ()):
                waiting[reader] -= 1
                if not waiting[reader]:
                    heapq.heappush(ready, (made[reader], reader))

    @staticmethod
    def _made(node: Any) -> int:
        """When a node was made, among others; leaves come first."""
        if type(node).__name__ == "AccumulateGrad" or not hasattr(node, "_sequence_nr"):
            return -1
        return int(node._sequence_nr())

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
        for module in self._modules.values():
            source.put_module(module)
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
    """The op that makes a grad node, from its name: MulBackward0 -> mul, AvgPool2DBackward0 -> avg_pool2d."""
    stem = re.sub(r"(\d)D", r"\1d", node.partition("Backward")[0] or node)
    return re.sub(r"(?<!^)(?<![A-Z])(?=[A-Z])", "_", stem).lower()
