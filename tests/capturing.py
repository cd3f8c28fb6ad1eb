"""Recording in memory, for tests of capture: a script or a block in, a `Trace` out.

`bits` makes a tensor comparable to the last bit; `matches_walk` compares a recorded backward graph with
the `grad_fn`s themselves.
"""

from __future__ import annotations

import linecache
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import torch._dynamo

from gradscope.capture.recorder import Recorder
from gradscope.model.memory import MemorySource
from gradscope.model.moments import Moment
from gradscope.model.records import GradGraph, Site, StepKind, Tensor
from gradscope.model.trace import Step, Trace
from gradscope.options import CaptureOptions

from .builders import INFO

# What torch replaces by itself, at its first use, is in place before a test looks for what was left behind:
# importing torch._dynamo replaces torch.manual_seed, and an optimizer's first instance its class's step.
for _kind in (torch.optim.SGD, torch.optim.Adam, torch.optim.LBFGS):
    _kind([torch.zeros(1, requires_grad=True)])


@dataclass
class Recording:
    """A recording in progress, and its trace."""

    recorder: Recorder
    source: MemorySource
    namespace: dict[str, Any] = field(default_factory=dict)
    error: BaseException | None = None

    @property
    def trace(self) -> Trace:
        return Trace(self.source)

    @property
    def faults(self) -> tuple[str, ...]:
        return self.source.info().faults

    @property
    def steps(self) -> list[Step]:
        """All steps, the setup first where there is one."""
        return [self.trace.step(number) for number in sorted(self.source.step_numbers())]

    @property
    def kinds(self) -> list[str]:
        """The kinds of the steps proper."""
        return [step.kind.value for step in self.steps if step.kind is not StepKind.SETUP]

    def moments(self, kind: str) -> list[Moment]:
        """Every moment of that kind, in order."""
        return [moment for step in self.steps for moment in step.moments if moment.kind == kind]

    def ops(self) -> list[str]:
        return [moment.name for moment in self.moments("op")]

    def only(self, kind: str) -> Any:
        """The one moment of that kind."""
        (found,) = self.moments(kind)
        return found

    def only_in(self, step: int, kind: str) -> Any:
        """The one moment of that kind in the step."""
        (found,) = [moment for moment in self.trace.step(step).moments if moment.kind == kind]
        return found

    def site(self, moment: Moment) -> Site:
        """The innermost of the script's lines that made the moment."""
        assert moment.stack is not None
        return self.source.sites()[self.source.stacks()[moment.stack].sites[0]]

    def line(self, moment: Moment) -> int:
        return self.site(moment).line

    def tensor(self, name: str, step: int = 0) -> Tensor:
        """The last tensor of that name in the step."""
        found = [tensor for tensor in self.trace.step(step).tensors if tensor.name == name]
        assert found, f"no {name} among {[tensor.name for tensor in self.trace.step(step).tensors]}"
        return found[-1]

    def graph_of(self, backward: int = 0, step: int = 0) -> GradGraph:
        return self.trace.step(step).graphs[backward]


def new_recording(detail: str = "full", **options: Any) -> Recording:
    source = MemorySource(INFO)
    return Recording(Recorder(source, CaptureOptions(detail=detail, **options)), source)


@contextmanager
def recording(detail: str = "full", **options: Any) -> Iterator[Recording]:
    """Records the block; what leaves it is recorded as a failure and goes on."""
    made = new_recording(detail, **options)
    with made.recorder:
        yield made


def run_plain(path: Path, prepare: Callable[[], None] | None = None) -> dict[str, Any]:
    """Runs a script without recording; `__error__` is what left it."""
    source = path.read_text()
    linecache.checkcache(str(path))
    namespace: dict[str, Any] = {"__name__": "__main__", "__file__": str(path)}
    code = compile(source, str(path), "exec")
    if prepare is not None:
        prepare()
    try:
        exec(code, namespace)
        namespace["__error__"] = None
    except BaseException as error:
        namespace["__error__"] = error
    return namespace


def record_script(path: Path, detail: str = "full", **options: Any) -> Recording:
    """Runs a script under a recording that ends as `gradscope trace` would end it."""
    made = new_recording(detail, **options)
    made.recorder.start()
    try:
        made.namespace = run_plain(path)
        made.error = made.namespace["__error__"]
    finally:
        made.recorder.stop(made.error)
    return made


def record_text(folder: Path, text: str, detail: str = "full", name: str = "script.py", **options: Any) -> Recording:
    """Writes a script into `folder` and records it."""
    path = folder / name
    path.write_text(text)
    return record_script(path, detail, **options)


# -- comparing ----------------------------------------------------------------------------------------


def bits(tensor: torch.Tensor) -> tuple[Any, ...]:
    """Everything there is to a tensor's value, comparable: NaNs and signs of zero count."""
    with torch.no_grad(), torch._C.DisableTorchFunction():
        tensor = tensor.detach()
        head = (tuple(tensor.shape) if not tensor.is_nested else None, tensor.dtype, tensor.device, tensor.layout)
        if tensor.is_nested:
            return (*head, *(bits(part) for part in tensor.unbind()))
        if tensor.layout is torch.sparse_coo:
            return (*head, bits(tensor._indices()), bits(tensor._values()))
        if tensor.layout in (torch.sparse_csr, torch.sparse_bsr):
            return (*head, bits(tensor.crow_indices()), bits(tensor.col_indices()), bits(tensor.values()))
        if tensor.layout in (torch.sparse_csc, torch.sparse_bsc):
            return (*head, bits(tensor.ccol_indices()), bits(tensor.row_indices()), bits(tensor.values()))
        if tensor.is_quantized:
            return (*head, bits(tensor.int_repr()), str(tensor.qscheme()))
        if tensor.device.type == "meta":
            return head
        plain = tensor.resolve_conj().resolve_neg().cpu().reshape(-1).clone(memory_format=torch.contiguous_format)
        return (*head, plain.view(torch.uint8).numpy().tobytes())


def next_functions(node: Any) -> Sequence[tuple[Any, int]]:
    return node.next_functions if node is not None else ()


def matches_walk(graph: GradGraph, roots: Sequence[Any]) -> str:
    """How `graph` differs from what hangs under the grad nodes `roots`; "" when it does not.

    Both are walked at once, edge by edge, and each node of one must be met by exactly one of the other.
    """
    outgoing: dict[int, dict[int, tuple[int, int]]] = {}
    for edge in graph.edges:
        outgoing.setdefault(edge.source, {})[edge.index] = (edge.target, edge.input_nr)
    if len(graph.roots) != len(roots):
        return f"{len(graph.roots)} roots, not {len(roots)}"
    pairs: dict[Any, int] = {}
    waiting = list(zip(roots, graph.roots, strict=True))
    edges = 0
    while waiting:
        node, index = waiting.pop()
        if node in pairs:
            if pairs[node] != index:
                return f"one {node.name()} is two nodes, {pairs[node]} and {index}"
            continue
        pairs[node] = index
        if type(node).__name__ != graph.nodes[index].name:
            return f"node {index} is called {graph.nodes[index].name}, not {type(node).__name__}"
        real = {i: target for i, target in enumerate(node.next_functions) if target[0] is not None}
        noted = outgoing.get(index, {})
        if real.keys() != noted.keys():
            return f"the edges of node {index} leave at {sorted(noted)}, not {sorted(real)}"
        for position, (target, input_nr) in real.items():
            if noted[position][1] != input_nr:
                return f"edge {position} of node {index} enters at {noted[position][1]}, not {input_nr}"
            waiting.append((target, noted[position][0]))
            edges += 1
    if len(set(pairs.values())) != len(pairs) or len(pairs) != len(graph.nodes):
        return f"{len(graph.nodes)} nodes, not {len(pairs)}"
    if edges != len(graph.edges):
        return f"{len(graph.edges)} edges, not {edges}"
    return ""
