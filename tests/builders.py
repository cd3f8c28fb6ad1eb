"""Hand-built traces, for tests of everything that reads a trace. No torch, no file.

`TraceBuilder` and `StepBuilder` write records the way a recorder would; `MemorySource` holds them.
Ready-made: `ab2_trace()`, `mlp_trace()`, `gan_trace()`, `deep_trace(n)`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from gradscope.model.memory import MemorySource
from gradscope.model.moments import (
    Backward,
    GradChange,
    LeafChange,
    ModeChange,
    Moment,
    Move,
    Mutation,
    NodeRun,
    OpCall,
    OptimizerStep,
    Template,
    ZeroGrad,
)
from gradscope.model.records import (
    Detail,
    GradEdge,
    GradGraph,
    GradNode,
    Module,
    Optimizer,
    Parameter,
    Phase,
    PhaseSpan,
    Sample,
    SavedTensor,
    Site,
    Stack,
    Stats,
    StepKind,
    StepRow,
    Tensor,
    TraceInfo,
)
from gradscope.model.trace import Trace

INFO = TraceInfo(
    script="script.py",
    arguments=(),
    gradscope="0.1.0",
    python="3.11.7",
    torch="2.13.0",
    started="2026-11-21T09:00:00+00:00",
    detail=Detail.FULL,
    status="done",
    exit_status=0,
    duration=1.5,
)


def stats(numel: int = 1, scale: float = 1.0) -> Stats:
    """Statistics of `numel` elements that are all `scale`."""
    return Stats(numel, numel * scale, scale, math.sqrt(numel) * abs(scale), scale, scale, 0 if scale else numel, 0, 0)


def stats_of(values: Sequence[float]) -> Stats:
    """The statistics of these values."""
    numel = len(values)
    total = math.fsum(values) if all(map(math.isfinite, values)) else sum(values)
    return Stats(
        numel,
        total,
        total / max(numel, 1),
        math.sqrt(sum(value * value for value in values)),
        min(values, default=math.nan),
        max(values, default=math.nan),
        sum(value == 0 for value in values),
        sum(math.isnan(value) for value in values),
        sum(math.isinf(value) for value in values),
    )


@dataclass
class TraceBuilder:
    """Collects what steps share. `code` is the script's text; `line` makes a stack for one of its lines."""

    code: str
    file: str = "script.py"
    info: TraceInfo = INFO

    def __post_init__(self) -> None:
        self.source = MemorySource(replace(self.info, script=self.file))
        self.lines = self.code.splitlines()
        self._sites: dict[int, int] = {}
        self._stacks: dict[tuple[int, ...], int] = {}
        self._templates: dict[tuple[object, ...], int] = {}

    def line(self, *lines: int, function: str = "<module>") -> int:
        """The stack of these lines of the script, innermost first."""
        sites = []
        for number in lines:
            if number not in self._sites:
                self._sites[number] = len(self._sites)
                code = self.lines[number - 1].strip()
                site = Site(self._sites[number], self.file, number, number, 0, function, code)
                self.source.put_site(site)
            sites.append(self._sites[number])
        key = tuple(sites)
        if key not in self._stacks:
            self._stacks[key] = len(self._stacks)
            self.source.put_stack(Stack(self._stacks[key], key))
        return self._stacks[key]

    def module(self, path: str, type: str, parent: int | None = None, root: str = "model") -> int:
        number = len(self.source.modules())
        self.source.put_module(Module(number, root, path, type, parent))
        return number

    def parameter(
        self,
        name: str,
        shape: tuple[int, ...],
        *,
        role: str = "parameter",
        requires_grad: bool = True,
        root: str = "model",
    ) -> int:
        number = len(self.source.parameters())
        nbytes = 4 * math.prod(shape)
        self.source.put_parameter(
            Parameter(
                number, name, root, role, shape, "float32", "cpu", requires_grad, nbytes, (0,) if requires_grad else ()
            )
        )
        return number

    def optimizer(self, type: str, *groups: Iterable[int]) -> int:
        number = len(self.source.optimizers())
        self.source.put_optimizer(Optimizer(number, "optimizer", type, tuple(tuple(group) for group in groups)))
        return number

    def step(self, number: int = 0, kind: StepKind = StepKind.TRAIN, detail: Detail = Detail.FULL) -> StepBuilder:
        return StepBuilder(self, number, kind, detail)

    def template(
        self, key: tuple[tuple[Tensor, ...], tuple[Moment, ...], tuple[GradGraph, ...], tuple[tuple[int, int], ...]]
    ) -> int:
        """The id of the template with these contents, stored once."""
        if key not in self._templates:
            self._templates[key] = len(self._templates)
            self.source.put_template(Template(self._templates[key], *key))
        return self._templates[key]

    def trace(self) -> Trace:
        return Trace(self.source)


@dataclass
class _Node:
    """A grad node while its step is being built; `targets` are (node, index, input_nr)."""

    name: str
    op: int | None = None
    tensor: int | None = None
    stack: int | None = None
    module: int | None = None
    saved: tuple[SavedTensor, ...] = ()
    outputs: tuple[int, ...] = ()
    targets: list[tuple[int, int, int]] = field(default_factory=list)


class StepBuilder:
    """One step being written: tensors, ops, grad nodes, backward, update.

    `op` builds the grad nodes that torch would; `backward` walks them into a `GradGraph`. Values and
    gradients are samples that the caller gives.
    """

    def __init__(self, trace: TraceBuilder, number: int, kind: StepKind, detail: Detail) -> None:
        self.trace = trace
        self.number = number
        self.kind = kind
        self.detail = detail
        self.phase = Phase.FORWARD
        self.tensors: list[Tensor] = []
        self.moments: list[Moment] = []
        self.graphs: list[GradGraph] = []
        self.samples: list[Sample] = []
        self.spans: list[tuple[Phase, int]] = []
        self.grad_enabled = True
        self._nodes: list[_Node] = []
        self._grad_fn: dict[int, int] = {}  # tensor -> its grad node, or its AccumulateGrad
        self._has_grad: set[int] = set()

    # -- tensors -----------------------------------------------------------------------------------

    def tensor(self, name: str, shape: tuple[int, ...] = (1,), **facts: object) -> int:
        """A tensor that came from before the step unless `made_by` says otherwise."""
        number = len(self.tensors)
        requires_grad = bool(facts.get("requires_grad", False))
        given: dict[str, object] = {
            "dtype": "float32",
            "device": "cpu",
            "layout": "strided",
            "requires_grad": requires_grad,
            "is_leaf": True,
            "grad_fn": None,
            "retains_grad": False,
            "is_inference": False,
            "version": 0,
            "storage": number,
            "nbytes": 4 * math.prod(shape),
            "role": "leaf" if requires_grad else "input",
        }
        given.update(facts)
        self.tensors.append(Tensor(number=number, name=name, shape=shape, **given))  # type: ignore[arg-type]
        return number

    def parameter(self, parameter: int, **facts: object) -> int:
        """The step's tensor for a parameter of the trace."""
        found = self.trace.source.parameters()[parameter]
        number = self.tensor(
            found.name, found.shape, requires_grad=found.requires_grad, parameter=parameter, role=found.role, **facts
        )
        self.sample(number, "value", -1, scale=0.5 + parameter)
        return number

    def leaf(
        self,
        name: str,
        values: Sequence[float],
        line: int,
        *,
        requires_grad: bool = True,
        factory: str = "tensor",
        **facts: object,
    ) -> int:
        """A tensor that the script makes from numbers, and the call that made it."""
        moment = self.moment_count
        number = self.tensor(
            name, (len(values),), requires_grad=requires_grad, made_by=moment, first_use=self.trace.line(line), **facts
        )
        self.add(OpCall(self.phase, self.trace.line(line), factory, (), (number,), grad_enabled=self.grad_enabled))
        self.sample(number, "value", moment, values=values)
        return number

    def sample(
        self,
        subject: int,
        what: str,
        moment: int,
        *,
        values: Sequence[float] | None = None,
        scale: float = 1.0,
        shape: tuple[int, ...] | None = None,
        gradient: bool = False,
    ) -> None:
        """A sample of a tensor (its parameter, if it is one), or of a node's gradient when `gradient`."""
        tensor = None if gradient else self.tensors[subject]
        parameter = tensor.parameter if tensor else None
        size = shape if shape is not None else tensor.shape if tensor else (len(values or ()),)
        numel = math.prod(size)
        if values is None and numel <= 16:
            values = (scale,) * numel
        self.samples.append(
            Sample(
                self.number,
                moment,
                subject if parameter is None else parameter,
                parameter is not None,
                what,
                stats_of(values) if values is not None else stats(numel, scale),
                tuple(values) if values is not None else None,
                size,
            )
        )

    # -- moments -----------------------------------------------------------------------------------

    @property
    def moment_count(self) -> int:
        return len(self.moments)

    def add(self, moment: Moment) -> int:
        """Append a moment, whose phase is set to the step's; returns its index."""
        if not self.spans or self.spans[-1][0] is not self.phase:
            self.spans.append((self.phase, self.moment_count))
        self.moments.append(replace(moment, phase=self.phase))
        return self.moment_count - 1

    def op(
        self,
        name: str,
        inputs: Sequence[int],
        output: str,
        *,
        line: int | tuple[int, ...],
        shape: tuple[int, ...] = (1,),
        grad_fn: str | None = None,
        composite: Sequence[str] = (),
        through: Mapping[int, str] | None = None,
        saved: Sequence[int] = (),
        module: int | None = None,
        values: Sequence[float] | None = None,
        arguments: str = "",
        **facts: object,
    ) -> int:
        """One op with one result; returns the result's number.

        `grad_fn` names the grad node when an input needs a gradient; `composite` further nodes in a
        chain behind it; `through` puts a node between the last and the input at a position.
        """
        stack = self.trace.line(*((line,) if isinstance(line, int) else line))
        needs = self.grad_enabled and grad_fn is not None and any(self.tensors[item].requires_grad for item in inputs)
        moment = self.moment_count
        number = self.tensor(
            output,
            shape,
            **{
                "requires_grad": needs,
                "is_leaf": not needs,
                "grad_fn": grad_fn if needs else None,
                "made_by": moment,
                "first_use": stack,
                "role": "tensor",
                **facts,
            },
        )
        made = 0
        if needs and grad_fn is not None:
            keep = tuple(
                SavedTensor(f"saved_{index}", item, self.tensors[item].version, self.tensors[item].nbytes)
                for index, item in enumerate(saved)
            )
            first = self._node(_Node(grad_fn, moment, None, stack, module, keep, (number,)))
            last, made = first, 1
            for inner in composite:
                following = self._node(_Node(inner, moment, None, stack, module))
                self._nodes[last].targets.append((following, 0, 0))
                last, made = following, made + 1
            for index, item in enumerate(inputs):
                if not self.tensors[item].requires_grad:
                    continue
                target = self._function_of(item)
                if through and index in through:
                    between = self._node(_Node(through[index], moment, None, stack, module))
                    self._nodes[between].targets.append((target, 0, 0))
                    target, made = between, made + 1
                self._nodes[last].targets.append((target, index, 0))
            self._grad_fn[number] = first
        self.add(
            OpCall(
                self.phase, stack, name, tuple(inputs), (number,), module, None if module is None else 0, made,
                self.grad_enabled, None, arguments,
            )
        )  # fmt: skip
        if values is not None or math.prod(shape) > 16:
            self.sample(number, "value", moment, values=values)
        return number

    def mutate(self, tensor: int, name: str, inputs: Sequence[int] = (), *, line: int, before: int, after: int) -> int:
        """An in-place op on `tensor` and the version bump it causes; returns the op's moment."""
        stack = self.trace.line(line)
        moment = self.add(OpCall(self.phase, stack, name, (tensor, *inputs), (tensor,), grad_enabled=self.grad_enabled))
        self.add(Mutation(self.phase, stack, tensor, before, after, name, op=moment))
        return moment

    def backward(
        self,
        root: int,
        *,
        line: int,
        grads: Mapping[int, Sequence[float]] | None = None,
        gradient: Sequence[float] = (1.0,),
    ) -> int:
        """`root.backward()`: the graph, every node's run, the gradients of the leaves. Returns its moment.

        `grads` gives the gradients that arrive at tensors (tiny ones), by tensor number.
        """
        stack = self.trace.line(line)
        self.phase = Phase.BACKWARD
        graph, order = self._walk(root)
        number = len(self.graphs)
        self.graphs.append(graph)
        moment = self.add(Backward(self.phase, stack, "backward", number, (root,)))
        arriving = {root: gradient, **(grads or {})}
        for index, place in enumerate(order):
            node = self._nodes[place]
            if self.detail is Detail.FULL:
                run = self.add(NodeRun(self.phase, stack, number, index))
                owner = node.tensor if node.tensor is not None else node.outputs[0] if node.outputs else None
                if owner is not None:
                    self.sample(
                        0, "grad_in", run, values=arriving.get(owner), shape=self.tensors[owner].shape, gradient=True
                    )
                for target, position, _ in node.targets:
                    leaf = self._nodes[target].tensor
                    onto = leaf if leaf is not None else next(iter(self._nodes[target].outputs), None)
                    if onto is not None:
                        self.sample(
                            position,
                            "grad_out",
                            run,
                            values=arriving.get(onto),
                            shape=self.tensors[onto].shape,
                            gradient=True,
                        )
            if node.tensor is not None:
                change = "accumulated" if node.tensor in self._has_grad else "created"
                self._has_grad.add(node.tensor)
                changed = self.add(GradChange(self.phase, stack, (node.tensor,), change, True))
                self.sample(node.tensor, "grad", changed, values=arriving.get(node.tensor), scale=0.01)
        self.phase = Phase.OTHER
        return moment

    def zero_grad(self, *, line: int, owner: str = "optimizer", tensors: Sequence[int] = ()) -> None:
        """`zero_grad()`; `tensors` had a gradient, which becomes None."""
        self.phase = Phase.ZERO_GRAD
        stack = self.trace.line(line)
        self.add(ZeroGrad(self.phase, stack, owner, True))
        if tensors:
            self.add(GradChange(self.phase, stack, tuple(tensors), "cleared", False))
            self._has_grad.difference_update(tensors)
        self.phase = Phase.FORWARD

    def update(self, optimizer: int, tensors: Sequence[int], *, line: int) -> None:
        """`optimizer.step()`: every tensor of `tensors` rises by one version."""
        self.phase = Phase.OPTIMIZER_STEP
        versions = ((0, 1),) * len(tensors)
        self.add(OptimizerStep(self.phase, self.trace.line(line), optimizer, tuple(tensors), versions))
        self.phase = Phase.OTHER

    def done(
        self, *, loss: float | None = None, lr: float | None = None, versions: tuple[tuple[int, int], ...] = ()
    ) -> StepRow:
        """Write the step: its template (stored once), its row and its samples."""
        bumps: dict[int, int] = {}
        for moment in self.moments:
            if isinstance(moment, OptimizerStep):
                for tensor in moment.updated:
                    parameter = self.tensors[tensor].parameter
                    if parameter is not None:
                        bumps[parameter] = bumps.get(parameter, 0) + 1
        template = self.trace.template(
            (tuple(self.tensors), tuple(self.moments), tuple(self.graphs), tuple(sorted(bumps.items())))
        )
        norms = tuple(
            (parameter, 1.0 + parameter, 2.0 ** -(2 + self.number % 99)) for parameter in self.trace.source.parameters()
        )
        row = StepRow(
            self.number,
            self.kind,
            self.detail,
            template,
            start=0.25 * max(self.number, 0),
            duration=0.125,
            loss=loss,
            learning_rates=() if lr is None else ((0, 0, lr),),
            phases=tuple(
                PhaseSpan(phase, moment, index / 64, 1 / 64) for index, (phase, moment) in enumerate(self.spans)
            ),
            versions=versions,
            norms=norms,
            distances=tuple((parameter, (1.0 + parameter) / 4) for parameter in sorted(bumps)),
        )
        self.trace.source.put_step(row)
        self.trace.source.put_samples(self.samples)
        return row

    def _node(self, node: _Node) -> int:
        self._nodes.append(node)
        return len(self._nodes) - 1

    def _function_of(self, tensor: int) -> int:
        """The node that a gradient for `tensor` goes to: its grad_fn, or its AccumulateGrad."""
        if tensor not in self._grad_fn:
            self._grad_fn[tensor] = self._node(_Node("AccumulateGrad", tensor=tensor))
        return self._grad_fn[tensor]

    def _walk(self, root: int) -> tuple[GradGraph, list[int]]:
        """The grad graph below `root`, in an order in which the engine may run it."""
        start = self._function_of(root)
        waiting: dict[int, int] = {start: 0}
        stack = [start]
        while stack:
            for target, _, _ in self._nodes[stack.pop()].targets:
                if target not in waiting:
                    waiting[target] = 0
                    stack.append(target)
                waiting[target] += 1
        order: list[int] = []
        ready = [start]
        while ready:
            current = ready.pop()
            order.append(current)
            for target, _, _ in self._nodes[current].targets:
                waiting[target] -= 1
                if not waiting[target]:
                    ready.append(target)
        place = {node: index for index, node in enumerate(order)}
        nodes: list[GradNode] = []
        edges: list[GradEdge] = []
        for index, number in enumerate(order):
            node = self._nodes[number]
            nodes.append(
                GradNode(
                    index,
                    node.name,
                    node.op,
                    node.tensor,
                    node.stack,
                    node.module,
                    node.saved,
                    output_tensors=node.outputs,
                )
            )
            edges.extend(GradEdge(index, place[target], at, nr) for target, at, nr in node.targets)
        return GradGraph(tuple(nodes), tuple(edges), (0,)), order


AB2_CODE = """\
import torch

A = torch.tensor([10.0], requires_grad=True)
B = torch.tensor([20.0], requires_grad=True)
F = A * B
G = F * 2
G.backward()
"""


def ab2_trace(*, backward: bool = True, retain: bool = False) -> Trace:
    """A * B * 2, the first example of every autograd tutorial, at detail `full`; one step, number 0.

    Tensors 0 to 3 are A, B, F, G. `backward=False` leaves the last line out; `retain` retains F's gradient.
    """
    trace = TraceBuilder(AB2_CODE, "ab2.py")
    step = trace.step(0, StepKind.OTHER)
    a = step.leaf("A", [10.0], 3)
    b = step.leaf("B", [20.0], 4)
    f = step.op("mul", (a, b), "F", line=5, grad_fn="MulBackward0", saved=(a, b), values=[200.0])
    if retain:
        step.add(LeafChange(step.phase, trace.line(6), f, None, "retain_grad", True, False, "MulBackward0", True))
    g = step.op("mul", (f,), "G", line=6, grad_fn="MulBackward0", values=[400.0], arguments="2")
    if backward:
        step.backward(g, line=7, grads={f: [2.0], a: [40.0], b: [20.0]})
        if retain:
            step.phase = Phase.BACKWARD
            changed = step.add(GradChange(Phase.BACKWARD, trace.line(7), (f,), "created", True))
            step.sample(f, "grad", changed, values=[2.0])
    step.done()
    return trace.trace()


MLP_CODE = """\
import torch
from torch import nn


class MLP(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1 = nn.Linear(4, 8)
        self.fc2 = nn.Linear(8, 3)

    def forward(self, x):
        h = torch.relu(self.fc1(x))
        return self.fc2(h)


model = MLP()
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
criterion = nn.CrossEntropyLoss()
for step in range(3):
    x, y = torch.randn(16, 4), torch.randint(0, 3, (16,))
    optimizer.zero_grad()
    logits = model(x)
    loss = criterion(logits, y)
    loss.backward()
    optimizer.step()
"""


def mlp_trace(steps: int = 3, *, frozen: bool = False, detail: Detail = Detail.FULL) -> Trace:
    """A two-layer classifier trained with Adam: phases, modules, parameters, samples, norms.

    The first step has no gradient to clear, so it has a template of its own; all later ones share one.
    `frozen` freezes fc1 (its parameters need no gradient).
    """
    trace = TraceBuilder(MLP_CODE, "train.py")
    trace.module("", "MLP")
    fc1 = trace.module("fc1", "Linear", 0)
    fc2 = trace.module("fc2", "Linear", 0)
    loss_module = len(trace.source.modules())
    trace.source.put_module(Module(loss_module, "criterion", "", "CrossEntropyLoss", None))
    weights = [
        trace.parameter("fc1.weight", (8, 4), requires_grad=not frozen),
        trace.parameter("fc1.bias", (8,), requires_grad=not frozen),
        trace.parameter("fc2.weight", (3, 8)),
        trace.parameter("fc2.bias", (3,)),
    ]
    trained = [weight for weight in weights if trace.source.parameters()[weight].requires_grad]
    trace.optimizer("Adam", trained)
    for number in range(steps):
        _mlp_step(trace, number, weights, (fc1, fc2, loss_module), detail)
    return trace.trace()


def _mlp_step(
    trace: TraceBuilder, number: int, weights: Sequence[int], modules: tuple[int, int, int], detail: Detail
) -> None:
    step = trace.step(number, detail=detail)
    fc1, fc2, loss_module = modules
    w1, b1, w2, b2 = (step.parameter(weight) for weight in weights)
    trained = [tensor for tensor in (w1, b1, w2, b2) if step.tensors[tensor].requires_grad]
    step.phase = Phase.OTHER
    x = step.op("randn", (), "x", line=20, shape=(16, 4), role="input")
    y = step.op("randint", (), "y", line=20, shape=(16,), dtype="int64", nbytes=128, role="input", arguments="0, 3")
    step.zero_grad(line=21, tensors=trained if number else ())
    inside = {"grad_fn": "AddmmBackward0", "through": {1: "TBackward0"}}
    h1 = step.op(
        "linear",
        (x, w1, b1),
        "self.fc1(x)",
        line=(12, 22),
        shape=(16, 8),
        module=fc1,
        saved=(x, w1),
        **inside,  # type: ignore[arg-type]
    )
    h = step.op("relu", (h1,), "h", line=(12, 22), shape=(16, 8), grad_fn="ReluBackward0", module=0)
    logits = step.op(
        "linear",
        (h, w2, b2),
        "logits",
        line=(13, 22),
        shape=(16, 3),
        module=fc2,
        saved=(h, w2),
        **inside,  # type: ignore[arg-type]
    )
    step.phase = Phase.LOSS
    value = 1.25 / (number + 1)
    loss = step.op(
        "cross_entropy", (logits, y), "loss", line=23, shape=(), module=loss_module, values=[value],
        grad_fn="NllLossBackward0", composite=("LogSoftmaxBackward0",), saved=(logits, y),
    )  # fmt: skip
    step.backward(loss, line=24)
    step.update(0, trained, line=25)
    step.done(loss=value, lr=1e-3)


GAN_CODE = """\
fake = G(z)
d_loss = D(fake.detach()).mean()
d_loss.backward()
g_loss = D(fake).mean()
g_loss.backward()
"""


def gan_trace(roots: tuple[str, str] = ("G", "D")) -> Trace:
    """A generator and a discriminator with parameters of equal names, and a backward for the loss of each."""
    trace = TraceBuilder(GAN_CODE, "gan.py")
    layers, weights = [], []
    for root in roots:
        model = trace.module("", "Sequential", root=root)
        layers.append(trace.module("0", "Linear", model, root))
        weights.append(trace.parameter("0.weight", (2, 2), root=root))
    step = trace.step(0)
    inner, outer = (step.parameter(weight) for weight in weights)
    z = step.tensor("z", (4, 2))
    linear: dict[str, Any] = {"shape": (4, 2), "grad_fn": "MmBackward0"}
    fake = step.op("linear", (z, inner), "fake", line=1, module=layers[0], saved=(inner,), **linear)
    cut = step.op("detach", (fake,), "fake.detach()", line=2, shape=(4, 2))
    judged = step.op("linear", (cut, outer), "", line=2, module=layers[1], **linear)
    step.backward(step.op("mean", (judged,), "d_loss", line=2, shape=(), grad_fn="MeanBackward0"), line=3)
    step.phase = Phase.FORWARD
    judged = step.op("linear", (fake, outer), "", line=4, module=layers[1], **linear)
    step.backward(step.op("mean", (judged,), "g_loss", line=4, shape=(), grad_fn="MeanBackward0"), line=5)
    step.done()
    return trace.trace()


def deep_trace(n: int = 50_000, *, detail: Detail = Detail.GRAPH) -> Trace:
    """A chain of `n` additions below one backward: as deep as a graph gets."""
    trace = TraceBuilder("x = torch.ones(1, requires_grad=True)\nx = x + 1\nx.backward()\n", "deep.py")
    step = trace.step(0, StepKind.OTHER, detail)
    last = step.leaf("x", [1.0], 1)
    for _ in range(n):
        last = step.op("add", (last,), "x", line=2, grad_fn="AddBackward0", arguments="1")
    step.backward(last, line=3)
    step.done()
    return trace.trace()


CUT_CODE = """\
import torch

w = torch.tensor([2.0], requires_grad=True)
v = torch.tensor([3.0], requires_grad=True)
k = torch.tensor([5.0])
h = w * k
d = h.detach()
with torch.no_grad():
    n = v * 2
out = d * n * w
out.backward()
"""


def cut_trace() -> Trace:
    """Paths that are cut: `h.detach()` (line 7) and a product under `no_grad` (line 9). `v` gets no gradient."""
    trace = TraceBuilder(CUT_CODE, "cut.py")
    step = trace.step(0, StepKind.OTHER)
    w = step.leaf("w", [2.0], 3)
    v = step.leaf("v", [3.0], 4)
    k = step.leaf("k", [5.0], 5, requires_grad=False)
    h = step.op("mul", (w, k), "h", line=6, grad_fn="MulBackward0", saved=(k,), values=[10.0])
    d = step.op("detach", (h,), "d", line=7, storage=h, values=[10.0])
    step.add(LeafChange(step.phase, trace.line(7), d, h, "detach", False, True, None, False))
    step.add(ModeChange(step.phase, trace.line(8), "grad", "False"))
    step.grad_enabled = False
    n = step.op("mul", (v,), "n", line=9, values=[6.0], arguments="2")
    step.grad_enabled = True
    step.add(ModeChange(step.phase, trace.line(10), "grad", "True"))
    dn = step.op("mul", (d, n), "d * n", line=10, values=[60.0])
    out = step.op("mul", (dn, w), "out", line=10, grad_fn="MulBackward0", saved=(dn,), values=[120.0])
    step.backward(out, line=11, grads={w: [60.0]})
    step.done()
    return trace.trace()


MOVE_CODE = """\
import torch

a = torch.tensor([10.0], requires_grad=True)
b = torch.tensor([20.0], requires_grad=True)
a_cuda = a.to("cuda")
b_cuda = b.to("cuda")
F = a_cuda * b_cuda
G = F * 2
G.backward()
"""


def move_trace() -> Trace:
    """The device case of the tutorials: the copies on the device are results, the leaves stay on the CPU."""
    trace = TraceBuilder(MOVE_CODE, "move.py")
    step = trace.step(0, StepKind.OTHER)
    leaves = [step.leaf("a", [10.0], 3), step.leaf("b", [20.0], 4)]
    copies = []
    for leaf, name, line in zip(leaves, ("a_cuda", "b_cuda"), (5, 6), strict=True):
        copy = step.op("to", (leaf,), name, line=line, grad_fn="ToCopyBackward0", device="cuda:0", arguments="'cuda'")
        step.add(Move(step.phase, trace.line(line), leaf, copy, "cpu", "cuda:0", "float32", "float32", 4, False))
        copies.append(copy)
    f = step.op("mul", copies, "F", line=7, grad_fn="MulBackward0", saved=copies, device="cuda:0", values=[200.0])
    g = step.op("mul", (f,), "G", line=8, grad_fn="MulBackward0", device="cuda:0", values=[400.0], arguments="2")
    step.backward(
        g, line=9, grads={f: [2.0], leaves[0]: [40.0], leaves[1]: [20.0], copies[0]: [40.0], copies[1]: [20.0]}
    )
    step.done()
    return trace.trace()


INPLACE_CODE = """\
import torch

x = torch.tensor([1.0], requires_grad=True)
y = x * 2
z = y ** 2
y.mul_(2)
z.backward()
"""


def inplace_trace() -> Trace:
    """`y` is changed in place after `pow` saved it at version 0: the backward fails."""
    trace = TraceBuilder(INPLACE_CODE, "inplace.py")
    step = trace.step(0, StepKind.OTHER)
    x = step.leaf("x", [1.0], 3)
    y = step.op("mul", (x,), "y", line=4, grad_fn="MulBackward0", values=[2.0], arguments="2")
    z = step.op("pow", (y,), "z", line=5, grad_fn="PowBackward0", saved=(y,), values=[4.0], arguments="2")
    moment = step.mutate(y, "mul_", line=6, before=0, after=1)
    step.sample(y, "value", moment, values=[4.0])
    graph, _ = step._walk(z)
    nodes = tuple(
        replace(node, saved=tuple(replace(kept, stale=kept.tensor == y) for kept in node.saved)) for node in graph.nodes
    )
    step.graphs.append(replace(graph, nodes=nodes))
    step.phase = Phase.BACKWARD
    step.add(
        Backward(
            step.phase,
            trace.line(7),
            "backward",
            0,
            (z,),
            error="one of the variables needed for gradient computation has been modified by an inplace operation",
        )
    )
    step.done()
    return trace.trace()
