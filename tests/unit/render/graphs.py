"""Hand-built graphs for tests and pictures of `render` and `transforms`. No torch, no trace."""

from __future__ import annotations

from dataclasses import replace

from gradscope.model.graph import EdgeKind, Graph, GraphEdge, GraphKind, GraphNode, NodeKind, SourceLine
from gradscope.model.leaf import AutogradStatus
from gradscope.transforms import is_backward

Row = dict[str, object]
STATUS: Row = {"requires_grad": True, "is_leaf": True, "grad_fn": None, "retains_grad": False}


def status(**facts: object) -> AutogradStatus:
    """The autograd status of a tensor: that of a leaf unless `facts` say otherwise."""
    return AutogradStatus(**{key: facts.get(key, fact) for key, fact in STATUS.items()})  # type: ignore[arg-type]


class Sketch:
    """Writes the graph that a small program makes: tensors, ops, and their grad nodes alongside.

    Node numbers: tensors and ops in program order, then grad nodes, so ids do not depend on the kind.
    """

    def __init__(self, title: str = "", step: int | None = 0, file: str = "script.py") -> None:
        self.title, self.step, self.file = title, step, file
        self.nodes: list[GraphNode] = []
        self.edges: list[GraphEdge] = []
        self.modules: dict[str, str] = {}
        self.made_by: dict[int, int] = {}  # tensor -> its grad node
        self.line = 0

    def _add(self, node: GraphNode) -> int:
        self.nodes.append(node)
        return node.id

    def _next(self) -> int:
        return len(self.nodes)

    def tensor(self, name: str | None, shape: tuple[int, ...] = (1,), **facts: object) -> int:
        """A tensor without history: a leaf unless `facts` say otherwise."""
        self.line += 1
        row: Row = {
            "status": status(**facts),
            "has_grad": False,
            "version": 0,
            "dtype": "float32",
            "device": "cpu",
            "role": "leaf",
            "label": name or "",
            "source": SourceLine(self.file, self.line, f"{name} = ..."),
            **{key: fact for key, fact in facts.items() if key not in STATUS},
        }
        node = GraphNode(id=self._next(), kind=NodeKind.TENSOR, name=name, shape=shape, **row)  # type: ignore[arg-type]
        self._add(node)
        if node.requires_grad and node.is_leaf:
            grad = GraphNode(
                self._next(), NodeKind.ACCUMULATE_GRAD, "AccumulateGrad", name=name, module=node.module, shape=shape
            )
            self.made_by[node.id] = self._add(grad)
            self.edges.append(GraphEdge(node.id, grad.id, EdgeKind.MADE))
        return node.id

    def param(self, name: str, shape: tuple[int, ...], *, frozen: bool = False) -> int:
        module = name.rpartition(".")[0] or None
        return self.tensor(
            name,
            shape,
            role="parameter",
            module=module,
            requires_grad=not frozen,
            has_grad=not frozen,
            marks=frozenset({"frozen"} if frozen else ()),
        )

    def op(
        self,
        op: str,
        *inputs: int,
        name: str | None = None,
        code: str = "",
        shape: tuple[int, ...] | None = None,
        module: str | None = None,
        grad_fn: str | None = None,
        no_grad: bool = False,
        **facts: object,
    ) -> int:
        """One call: the op, its result, and its grad node unless nothing requires grad."""
        self.line += 1
        source = SourceLine(self.file, self.line, code or f"{name or '_'} = {op}(...)")
        sources = [self.nodes[number] for number in inputs]
        needs = not no_grad and any(node.requires_grad for node in sources)
        called = grad_fn or op.title().replace("_", "") + "Backward0"
        call = self._add(
            GraphNode(self._next(), NodeKind.OP, op, op=op, module=module, source=source, moment=self.line)
        )
        made_at = self.line
        for index, number in enumerate(inputs):
            kind = EdgeKind.CUT if no_grad and self.nodes[number].requires_grad else EdgeKind.DATA
            self.edges.append(GraphEdge(number, call, kind, index))
        result = self.tensor(
            name,
            shape if shape is not None else (sources[0].shape or ()),
            **{
                "label": name or code or op,
                "module": module,
                "requires_grad": needs,
                "is_leaf": not needs,
                "grad_fn": called if needs else None,
                "role": "result",
                "op": op,
                "source": source,
                "moment": made_at,
                **facts,
            },
        )
        stale = self.made_by.pop(result, None)
        assert stale is None or not needs
        self.edges.append(GraphEdge(call, result, EdgeKind.DATA))
        if needs:
            grad = self._add(
                GraphNode(self._next(), NodeKind.GRAD_FN, called, module=module, source=source, made_at=made_at)
            )
            self.made_by[result] = grad
            self.edges.append(GraphEdge(result, grad, EdgeKind.MADE))
            targets = [self.made_by[number] for number in inputs if number in self.made_by]
            self.edges += [GraphEdge(grad, target, EdgeKind.GRAD, index) for index, target in enumerate(targets)]
        return result

    def mark(self, node: int, *marks: str, **facts: object) -> None:
        old = self.nodes[node]
        self.nodes[node] = replace(old, marks=old.marks | set(marks), **facts)  # type: ignore[arg-type]

    def graph(self, kind: GraphKind | str = GraphKind.BOTH) -> Graph:
        """As `build_graph` draws: `both` pairs each tensor with its grad node and has no op boxes."""
        kind = GraphKind(kind)
        whole = Graph(kind, tuple(self.nodes), tuple(self.edges), self.step, self.title, self.modules)
        if kind is not GraphKind.BOTH:
            backward = kind is GraphKind.BACKWARD
            return whole.subgraph(node.id for node in self.nodes if is_backward(node) == backward)
        calls = {node.id for node in self.nodes if node.kind is NodeKind.OP}
        paired = [edge for edge in self.edges if not {edge.source, edge.target} & calls]
        for call in sorted(calls):
            (result,) = whole.successors(call)
            paired += [replace(edge, target=result) for edge in whole.incoming.get(call, ())]
        nodes = tuple(node for node in self.nodes if node.id not in calls)
        return replace(whole, nodes=nodes, edges=tuple(paired))


def ab2(kind: GraphKind | str = GraphKind.BOTH) -> Graph:
    """The seeds' example: A and B are leaves, F = A * B, G = F * 2, G.backward()."""
    sketch = Sketch("A * B * 2", file="ab2.py")
    a = sketch.tensor("A", value=(10.0,), grad=(40.0,), has_grad=True)
    b = sketch.tensor("B", value=(20.0,), grad=(20.0,), has_grad=True)
    f = sketch.op("mul", a, b, name="F", code="F = A * B", value=(200.0,))
    g = sketch.op("mul", f, name="G", code="G = F * 2", value=(400.0,))
    sketch.mark(sketch.made_by[g], "root", order=0)
    sketch.mark(sketch.made_by[f], order=1)
    return sketch.graph(kind)


def moved(kind: GraphKind | str = GraphKind.BOTH) -> Graph:
    """The seeds' GPU case: the copies on the device are no leaves, and their .grad stays None."""
    sketch = Sketch("the device move", file="gpu.py")
    a = sketch.tensor("a", value=(10.0,), grad=(40.0,), has_grad=True)
    b = sketch.tensor("b", value=(20.0,), grad=(20.0,), has_grad=True)
    copies = [
        sketch.op(
            "to",
            leaf,
            name=f"{name}_cuda",
            code=f"{name}_cuda = {name}.to('cuda')",
            device="cuda:0",
            grad_fn="ToCopyBackward0",
            marks=frozenset({"moved"}),
            notes=("moved cpu → cuda:0, 4 B",),
        )
        for leaf, name in ((a, "a"), (b, "b"))
    ]
    f = sketch.op("mul", *copies, name="F", code="F = a_cuda * b_cuda", device="cuda:0", value=(200.0,))
    g = sketch.op("mul", f, name="G", code="G = F * 2", device="cuda:0", value=(400.0,))
    sketch.mark(sketch.made_by[g], "root")
    return sketch.graph(kind)


def frozen(kind: GraphKind | str = GraphKind.BOTH) -> Graph:
    """A frozen branch, a detach that cuts, an in-place change, a NaN and a result without grad."""
    sketch = Sketch("a frozen branch and a detach", file="frozen.py")
    sketch.modules = {"head": "Linear", "backbone": "Linear"}
    x = sketch.tensor("x", (4, 3), requires_grad=False, role="input")
    w = sketch.param("backbone.weight", (3, 3), frozen=True)
    h = sketch.op("linear", x, w, name="h", module="backbone", shape=(4, 3))
    w2 = sketch.param("head.weight", (2, 3))
    y = sketch.op("linear", h, w2, name="y", module="head", shape=(4, 2), grad_fn="AddmmBackward0")
    target = sketch.op("detach", y, name="target", shape=(4, 2), no_grad=True, marks=frozenset({"cut"}))
    z = sketch.op("exp", y, name="z", shape=(4, 2))
    sketch.mark(z, "mutated", version=1, notes=("z.mul_(2): version 0 → 1, frozen.py:9",))
    loss = sketch.op("mse_loss", z, target, name="loss", shape=(), value=(float("nan"),), marks=frozenset({"nan"}))
    sketch.mark(sketch.made_by[loss], "root")
    return sketch.graph(kind)


def mlp(kind: GraphKind | str = GraphKind.BOTH) -> Graph:
    sketch = Sketch("train.py", step=3, file="train.py")
    sketch.modules = {"fc1": "Linear", "fc2": "Linear", "act": "ReLU"}
    x = sketch.tensor("x", (32, 64), requires_grad=False, role="input")
    h = _linear(sketch, x, "fc1", 64, 128)
    h = sketch.op("relu", h, module="act", shape=(32, 128))
    out = _linear(sketch, h, "fc2", 128, 10)
    labels = sketch.tensor("labels", (32,), dtype="int64", requires_grad=False, role="input")
    loss = sketch.op("cross_entropy", out, labels, name="loss", shape=(), value=(2.3026,), grad_fn="NllLossBackward0")
    sketch.mark(sketch.made_by[loss], "root")
    return sketch.graph(kind)


def _linear(sketch: Sketch, x: int, path: str, wide: int, out: int, name: str | None = None) -> int:
    sketch.modules.setdefault(path, "Linear")
    shape = (*(sketch.nodes[x].shape or ())[:-1], out)
    weight = sketch.param(f"{path}.weight", (out, wide))
    bias = sketch.param(f"{path}.bias", (out,))
    return sketch.op("linear", x, weight, bias, name=name, module=path, shape=shape, grad_fn="AddmmBackward0")


def _norm(sketch: Sketch, x: int, path: str, kind: str, size: int) -> int:
    sketch.modules.setdefault(path, kind)
    weight, bias = sketch.param(f"{path}.weight", (size,)), sketch.param(f"{path}.bias", (size,))
    return sketch.op("layer_norm" if kind == "LayerNorm" else "batch_norm", x, weight, bias, module=path)


def resnet(blocks: int = 8, kind: GraphKind | str = GraphKind.FORWARD) -> Graph:
    """Three layers of `blocks` residual blocks each."""
    sketch = Sketch(f"ResNet, 3 × {blocks} blocks", file="resnet.py")
    x = sketch.tensor("images", (8, 3, 32, 32), requires_grad=False, role="input")
    x = _conv(sketch, x, "conv1", 3, 16)
    sketch.modules["relu"] = "ReLU"
    x = sketch.op("relu", _norm(sketch, x, "bn1", "BatchNorm2d", 16), module="relu")
    for layer in (1, 2, 3):
        sketch.modules[f"layer{layer}"] = "Sequential"
        for block in range(blocks):
            path = f"layer{layer}.{block}"
            sketch.modules[path] = "BasicBlock"
            y = _norm(sketch, _conv(sketch, x, f"{path}.conv1", 16, 16), f"{path}.bn1", "BatchNorm2d", 16)
            sketch.modules[f"{path}.relu"] = "ReLU"
            y = sketch.op("relu", y, module=f"{path}.relu")
            y = _norm(sketch, _conv(sketch, y, f"{path}.conv2", 16, 16), f"{path}.bn2", "BatchNorm2d", 16)
            x = sketch.op("relu", sketch.op("add", y, x, module=path), module=path)
    x = sketch.op("mean", x, shape=(8, 16))
    out = _linear(sketch, x, "fc", 16, 10, name="logits")
    labels = sketch.tensor("labels", (8,), dtype="int64", requires_grad=False, role="input")
    loss = sketch.op("cross_entropy", out, labels, name="loss", shape=(), grad_fn="NllLossBackward0")
    sketch.mark(sketch.made_by[loss], "root")
    return sketch.graph(kind)


def _conv(sketch: Sketch, x: int, path: str, wide: int, out: int) -> int:
    sketch.modules.setdefault(path, "Conv2d")
    weight = sketch.param(f"{path}.weight", (out, wide, 3, 3))
    shape = (*(sketch.nodes[x].shape or (1,))[:1], out, 32, 32)
    return sketch.op("conv2d", x, weight, module=path, shape=shape, grad_fn="ConvolutionBackward0")


def transformer(blocks: int = 12, kind: GraphKind | str = GraphKind.FORWARD) -> Graph:
    """A GPT: embedding, `blocks` equal blocks, a head."""
    sketch = Sketch(f"GPT, {blocks} blocks", step=10, file="gpt.py")
    size, tokens = 64, 16
    sketch.modules |= {"wte": "Embedding", "h": "ModuleList"}
    idx = sketch.tensor("idx", (4, tokens), dtype="int64", requires_grad=False, role="input")
    table = sketch.param("wte.weight", (1000, size))
    x = sketch.op("embedding", idx, table, module="wte", shape=(4, tokens, size))
    for block in range(blocks):
        path = f"h.{block}"
        sketch.modules |= {path: "Block", f"{path}.attn": "Attention", f"{path}.mlp": "MLP", f"{path}.mlp.act": "GELU"}
        y = _norm(sketch, x, f"{path}.ln_1", "LayerNorm", size)
        q, k, v = (_linear(sketch, y, f"{path}.attn.{name}", size, size) for name in "qkv")
        y = sketch.op("scaled_dot_product_attention", q, k, v, module=f"{path}.attn")
        y = _linear(sketch, y, f"{path}.attn.proj", size, size)
        x = sketch.op("add", x, y, module=path)
        y = _norm(sketch, x, f"{path}.ln_2", "LayerNorm", size)
        y = _linear(sketch, y, f"{path}.mlp.fc", size, 4 * size)
        y = sketch.op("gelu", y, module=f"{path}.mlp.act")
        y = _linear(sketch, y, f"{path}.mlp.proj", 4 * size, size)
        x = sketch.op("add", x, y, module=path)
    x = _norm(sketch, x, "ln_f", "LayerNorm", size)
    out = _linear(sketch, x, "lm_head", size, 1000, name="logits")
    loss = sketch.op("cross_entropy", out, idx, name="loss", shape=(), grad_fn="NllLossBackward0")
    sketch.mark(sketch.made_by[loss], "root")
    return sketch.graph(kind)


def chain(length: int, kind: GraphKind | str = GraphKind.BOTH) -> Graph:
    sketch = Sketch(f"a chain of {length:,} ops")
    x = sketch.tensor("x", ())
    for _ in range(length):
        x = sketch.op("mul", x)
    return sketch.graph(kind)


def grid(side: int, kind: GraphKind | str = GraphKind.FORWARD) -> Graph:
    """A recurrence in two directions: every cell reads its upper and its left neighbour."""
    sketch = Sketch(f"a grid of {side} × {side} cells")
    first = sketch.tensor("x", ())
    above = [first] * side
    for _ in range(side):
        left = first
        for column in range(side):
            left = above[column] = sketch.op("add", above[column], left)
    return sketch.graph(kind)


def hostile(name: str, kind: GraphKind | str = GraphKind.BOTH) -> Graph:
    """A graph in which everything that a program can name is called `name`."""
    sketch = Sketch(name, file=name)
    sketch.modules[name.replace(".", "_")] = name
    a = sketch.tensor(name, value=(1.0,), module=name.replace(".", "_"), notes=(name,), marks=frozenset({name}))
    b = sketch.op(name, a, name=name, code=name, grad_fn=name, dtype=name, device=name)
    sketch.edges.append(GraphEdge(a, b, EdgeKind.CUT, label=name))
    return sketch.graph(kind)
