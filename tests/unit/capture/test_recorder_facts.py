"""What is recorded of small scripts: names, lines, graphs, phases, steps."""

from __future__ import annotations

from pathlib import Path

import pytest

from gradscope.model.records import GradGraph
from tests.capturing import Recording, record_text


@pytest.fixture
def record(tmp_path: Path):  # type: ignore[no-untyped-def]
    def run(text: str, detail: str = "full") -> Recording:
        recorded = record_text(tmp_path, "import torch\n" + text, detail)
        assert recorded.error is None
        assert recorded.faults == ()
        return recorded

    return run


def names(graph: GradGraph) -> list[str]:
    return [node.name for node in graph.nodes]


def targets(graph: GradGraph, node: int) -> list[int]:
    return [edge.target for edge in sorted(graph.edges, key=lambda edge: edge.index) if edge.source == node]


# -- graphs --------------------------------------------------------------------------------------------------


def test_the_tutorial(record) -> None:  # type: ignore[no-untyped-def]
    recorded = record(
        """
A = torch.tensor([10.0], requires_grad=True)
B = torch.tensor([20.0], requires_grad=True)
F = A * B
G = F * 2
G.backward()
"""
    )
    assert [tensor.name for tensor in recorded.trace.step(0).tensors] == ["A", "B", "F", "G"]
    graph = recorded.graph_of()
    assert names(graph) == ["MulBackward0", "MulBackward0", "AccumulateGrad", "AccumulateGrad"]
    assert [node.tensor for node in graph.nodes[2:]] == [recorded.tensor("A").number, recorded.tensor("B").number]
    assert [recorded.line(moment) for moment in recorded.moments("op")] == [3, 4, 5, 6]
    made = [recorded.trace.step(0).moments[node.op] for node in graph.nodes[:2]]
    assert [recorded.site(moment).code for moment in made] == ["G = F * 2", "F = A * B"]
    values = {sample.subject: sample.values for sample in recorded.trace.step(0).samples if sample.what == "value"}
    assert values[recorded.tensor("G").number] == (400.0,)
    grads = {sample.subject: sample.values for sample in recorded.trace.step(0).samples if sample.what == "grad"}
    assert grads == {recorded.tensor("A").number: (40.0,), recorded.tensor("B").number: (20.0,)}
    chain = {
        (step.node, sample.what): sample.values
        for index, step in enumerate(recorded.trace.step(0).moments)
        if step.kind == "node"
        for sample in recorded.trace.step(0).samples
        if sample.moment == index and sample.subject == 0
    }
    assert chain[0, "grad_in"] == (1.0,)
    assert chain[0, "grad_out"] == chain[1, "grad_in"] == (2.0,)
    assert chain[1, "grad_out"] == (40.0,)


def test_a_custom_function(record) -> None:  # type: ignore[no-untyped-def]
    recorded = record(
        """
class Cube(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * x * x

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return 3 * x * x * g

x = torch.tensor([2.0], requires_grad=True)
y = Cube.apply(x)
y.backward()
"""
    )
    assert recorded.ops() == ["tensor", "Cube", "mul", "mul", "mul"]  # its forward's inside is its own
    assert [moment.phase.value for moment in recorded.moments("op")[2:]] == ["backward"] * 3
    graph = recorded.graph_of()
    assert names(graph) == ["CubeBackward", "AccumulateGrad"]
    assert recorded.trace.step(0).moments[graph.nodes[0].op].name == "Cube"
    assert recorded.tensor("y").grad_fn == "CubeBackward"
    assert recorded.line(recorded.only("backward")) == 16


def test_double_backward(record) -> None:  # type: ignore[no-untyped-def]
    recorded = record(
        """
x = torch.tensor([3.0], requires_grad=True)
y = x ** 3
(g,) = torch.autograd.grad(y, x, create_graph=True)
g.backward()
"""
    )
    first, second = recorded.moments("backward")
    assert (first.call, first.create_graph, first.inputs) == ("grad", True, (recorded.tensor("x").number,))
    assert (second.call, second.create_graph) == ("backward", False)
    assert recorded.tensor("g").requires_grad
    assert not recorded.tensor("g").is_leaf
    assert second.roots == (recorded.tensor("g").number,)
    graph = recorded.graph_of(1)
    assert names(graph)[graph.roots[0]] == recorded.tensor("g").grad_fn
    leaves = [node.tensor for node in graph.nodes if node.name == "AccumulateGrad"]
    assert leaves == [recorded.tensor("x").number]


def test_a_vector_backward_and_several_roots(record) -> None:  # type: ignore[no-untyped-def]
    recorded = record(
        """
x = torch.tensor([1.0, 2.0], requires_grad=True)
y = x * 2
z = x.exp()
y.backward(torch.ones(2))
torch.autograd.backward([(x * 3).sum(), z], [None, torch.ones(2)])
"""
    )
    vector, several = recorded.moments("backward")
    assert vector.roots == (recorded.tensor("y").number,)
    assert len(several.roots) == 2
    assert several.roots[1] == recorded.tensor("z").number
    graph = recorded.graph_of(1)
    assert [names(graph)[root] for root in graph.roots] == ["SumBackward0", "ExpBackward0"]
    assert [moment.change for moment in recorded.moments("grad")] == ["created", "accumulated"]


def test_a_backward_from_one_root_twice(record) -> None:  # type: ignore[no-untyped-def]
    recorded = record(
        """
x = torch.tensor([1.0], requires_grad=True)
y = x * 2
torch.autograd.backward([y, y], [torch.ones(1), torch.ones(1)])
"""
    )
    graph = recorded.graph_of()
    assert names(graph) == ["MulBackward0", "AccumulateGrad"]
    assert graph.roots == (0, 0)
    assert recorded.namespace["x"].grad.item() == 4


def test_nodes_with_several_outputs(record) -> None:  # type: ignore[no-untyped-def]
    recorded = record(
        """
x = torch.arange(6.0).view(2, 3).requires_grad_()
first, second = x.unbind(0)
values, places = x.max(1)
w = torch.randn(3, 3, requires_grad=True)
U, S, V = torch.linalg.svd(w)
(first * second.sum() * values.sum() + S.sum()).sum().backward()
"""
    )
    one, two = recorded.tensor("first"), recorded.tensor("second")
    assert (one.output, two.output, one.made_by) == (0, 1, two.made_by)
    assert recorded.tensor("places").dtype == "int64"
    assert not recorded.tensor("places").requires_grad
    assert [recorded.tensor(name).output for name in "USV"] == [0, 1, 2]
    graph = recorded.graph_of()
    unbind = names(graph).index("UnbindBackward0")
    assert set(graph.nodes[unbind].output_tensors) == {one.number, two.number}
    entered = {edge.input_nr for edge in graph.edges if edge.target == unbind}
    assert entered == {0, 1}
    svd = names(graph).index("LinalgSvdBackward0")
    assert {edge.input_nr for edge in graph.edges if edge.target == svd} == {1}


def test_writes_into_views_are_copy_slices(record) -> None:  # type: ignore[no-untyped-def]
    recorded = record(
        """
a = torch.zeros(2, 2)
w = torch.tensor([2.0, 3.0], requires_grad=True)
v = a[0]
v.add_(w)
loss = a.sum()
loss.backward()
"""
    )
    graph = recorded.graph_of()
    assert names(graph)[:2] == ["SumBackward0", "CopySlices"]
    view = recorded.tensor("v")
    assert view.is_view
    assert view.base == recorded.tensor("a").number
    assert view.storage == recorded.tensor("a").storage
    (write,) = [moment for moment in recorded.moments("mutation") if moment.tensor == view.number]
    assert (write.before, write.after, write.cause, recorded.line(write)) == (0, 1, "add_", 6)


# -- leaves ----------------------------------------------------------------------------------------------------


def test_changes_of_leaf_status(record) -> None:  # type: ignore[no-untyped-def]
    recorded = record(
        """
x = torch.ones(2)
x.requires_grad_()
y = x * 2
y.retain_grad()
d = y.detach()
p = torch.nn.Parameter(torch.zeros(2))
p.requires_grad = False
e = x.data
y.sum().backward()
"""
    )
    changes = {(moment.cause, recorded.line(moment)): moment for moment in recorded.moments("leaf")}
    wanted = changes["requires_grad_", 4]
    assert (wanted.requires_grad, wanted.is_leaf, wanted.tensor) == (True, True, recorded.tensor("x").number)
    kept = changes["retain_grad", 6]
    assert (kept.retains_grad, kept.is_leaf, kept.grad_fn) == (True, False, "MulBackward0")
    frozen = changes["requires_grad_", 9]
    assert (frozen.requires_grad, frozen.is_leaf) == (False, True)
    assert ("Parameter", 8) in changes
    assert not recorded.tensor("d").requires_grad
    assert recorded.tensor("d").storage == recorded.tensor("y").storage
    assert recorded.tensor("e").storage == recorded.tensor("x").storage
    filled = {tensor for moment in recorded.moments("grad") for tensor in moment.tensors}
    assert filled == {recorded.tensor("x").number, recorded.tensor("y").number}


def test_a_retained_gradient_is_told_only_of_its_own_backward(record) -> None:  # type: ignore[no-untyped-def]
    recorded = record(
        """
x = torch.ones(2, requires_grad=True)
k = x * 2
k.retain_grad()
k.sum().backward()
z = torch.ones(2, requires_grad=True)
(z * 3).sum().backward()
"""
    )
    first, second = recorded.moments("grad")
    assert set(first.tensors) == {recorded.tensor("x").number, recorded.tensor("k").number}
    assert second.tensors == (recorded.tensor("z").number,)


def test_gradients_that_a_hook_changed(record) -> None:  # type: ignore[no-untyped-def]
    recorded = record(
        """
x = torch.ones(2, requires_grad=True)
x.register_hook(lambda g: g * 10)
(x * 3).sum().backward()
"""
    )
    (sample,) = [sample for sample in recorded.trace.step(0).samples if sample.what == "grad"]
    assert sample.values == (30.0, 30.0)


# -- training ----------------------------------------------------------------------------------------------------

NET = """
torch.manual_seed(0)
model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4), torch.nn.ReLU(), torch.nn.Linear(4, 2))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
data = [(torch.randn(5, 3), torch.randint(0, 2, (5,))) for _ in range(6)]
"""


def phases(recorded: Recording, step: int = 0) -> list[str]:
    return [span.phase.value for span in recorded.trace.step(step).row.phases if span.phase.value != "other"]


def test_a_plain_loop(record) -> None:  # type: ignore[no-untyped-def]
    recorded = record(
        NET
        + """
criterion = torch.nn.CrossEntropyLoss()
losses = []
for x, y in data:
    optimizer.zero_grad()
    out = model(x)
    loss = criterion(out, y)
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
"""
    )
    assert recorded.kinds == ["train"] * 6
    rows = [step.row for step in recorded.steps if step.number >= 0]
    assert [row.loss for row in rows] == pytest.approx(recorded.namespace["losses"])
    assert [row.learning_rates for row in rows] == [((0, 0, 0.1),)] * 6
    assert phases(recorded, 2) == ["zero_grad", "forward", "loss", "backward", "optimizer_step"]
    known = {parameter.name: parameter.role for parameter in recorded.source.parameters().values()}
    assert known["0.weight"] == known["3.bias"] == "parameter"
    assert known["1.running_mean"] == known["1.running_var"] == known["1.num_batches_tracked"] == "buffer"
    for name in ("out", "loss"):
        assert recorded.tensor(name, 3).requires_grad
    assert recorded.line(recorded.only_in(2, "backward")) == 14
    bumped = {
        recorded.source.parameters()[parameter].name: rise
        for parameter, rise in recorded.trace.step(3).template.version_bumps
    }
    assert bumped["0.weight"] == 1
    assert bumped["1.num_batches_tracked"] == 1


def test_versions_across_steps_are_those_of_torch(record) -> None:  # type: ignore[no-untyped-def]
    recorded = record(
        NET
        + """
seen = []
for x, y in data:
    seen.append({name: p._version for name, p in model.named_parameters()})
    loss = torch.nn.functional.cross_entropy(model(x), y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    with torch.no_grad():
        model[0].weight.clamp_(-1, 1)
"""
    )
    by_name = {parameter.name: parameter.id for parameter in recorded.source.parameters().values()}
    assert recorded.kinds == ["train"] * 6
    for step, seen in enumerate(recorded.namespace["seen"]):
        versions = recorded.trace.step(step).versions
        assert {name: versions[by_name[name]] for name in seen} == seen, step


def test_gradient_accumulation_is_one_step(record) -> None:  # type: ignore[no-untyped-def]
    recorded = record(
        NET
        + """
for i, (x, y) in enumerate(data):
    loss = torch.nn.functional.cross_entropy(model(x), y) / 2
    loss.backward()
    if i % 2 == 1:
        optimizer.step()
        optimizer.zero_grad()
"""
    )
    assert recorded.kinds == ["train"] * 3
    for number in range(3):
        kinds = [moment.kind for moment in recorded.trace.step(number).moments]
        assert (kinds.count("backward"), kinds.count("optimizer")) == (2, 1), number


def test_a_gan_is_one_step(record) -> None:  # type: ignore[no-untyped-def]
    recorded = record(
        """
G, D = torch.nn.Linear(2, 3), torch.nn.Linear(3, 1)
optimizer_g = torch.optim.Adam(G.parameters())
optimizer_d = torch.optim.SGD(D.parameters(), lr=0.1)
for _ in range(4):
    fake = G(torch.randn(5, 2))
    optimizer_d.zero_grad()
    loss_d = D(fake.detach()).mean() - D(torch.randn(5, 3)).mean()
    loss_d.backward()
    optimizer_d.step()
    optimizer_g.zero_grad()
    loss_g = -D(fake).mean()
    loss_g.backward()
    optimizer_g.step()
"""
    )
    assert recorded.kinds == ["train"] * 4
    for number in range(4):
        step = recorded.trace.step(number)
        kinds = [moment.kind for moment in step.moments]
        assert (kinds.count("backward"), kinds.count("optimizer")) == (2, 2)
    assert {optimizer.type for optimizer in recorded.source.optimizers().values()} == {"Adam", "SGD"}


def test_a_closure_is_one_step(record) -> None:  # type: ignore[no-untyped-def]
    recorded = record(
        """
w = torch.nn.Parameter(torch.tensor([3.0]))
optimizer = torch.optim.LBFGS([w], max_iter=3)
for _ in range(3):
    def closure():
        optimizer.zero_grad()
        loss = (w ** 2).sum()
        loss.backward()
        return loss
    optimizer.step(closure)
"""
    )
    assert recorded.kinds == ["train"] * 3
    assert [moment.kind for moment in recorded.trace.step(0).moments].count("optimizer") == 1
    assert len(recorded.trace.step(0).graphs) >= 2


def test_evaluation_steps(record) -> None:  # type: ignore[no-untyped-def]
    recorded = record(
        NET
        + """
for epoch in range(2):
    model.train()
    for x, y in data[:4]:
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        for x, y in data[4:]:
            correct = (model(x).argmax(1) == y).sum()
"""
    )
    assert recorded.kinds == (["train"] * 4 + ["eval"] * 2) * 2
    switches = [moment.value for moment in recorded.moments("mode") if moment.mode == "training"]
    assert switches == ["train", "eval"] * 2 or switches == ["eval", "train", "eval"]
    assert phases(recorded, 4) == ["eval"]


def test_an_update_by_hand(record) -> None:  # type: ignore[no-untyped-def]
    recorded = record(
        """
w = torch.tensor([5.0], requires_grad=True)
for _ in range(4):
    loss = (w ** 2).sum()
    loss.backward()
    with torch.no_grad():
        w -= 0.1 * w.grad
    w.grad.zero_()
"""
    )
    assert recorded.kinds == ["train"] * 4
    for number in range(4):
        (write,) = [m for m in recorded.trace.step(number).moments if m.kind == "mutation" and m.cause == "sub_"]
        assert recorded.trace.step(number).tensors[write.tensor].name == "w"
        assert recorded.line(write) == 8
    changes = [moment.change for moment in recorded.moments("grad")]
    assert changes == ["created", "zeroed"] + ["accumulated", "zeroed"] * 3


def test_an_update_past_the_counter(record) -> None:  # type: ignore[no-untyped-def]
    recorded = record(
        """
w = torch.tensor([5.0], requires_grad=True)
for _ in range(4):
    (w ** 2).sum().backward()
    w.data.add_(-0.1 * w.grad.data)
    w.grad.data.zero_()
"""
    )
    assert recorded.kinds == ["train"] * 4
    write = next(moment for moment in recorded.moments("mutation") if moment.cause == "add_")
    assert write.counted is False
    assert recorded.line(write) == 6


def test_a_backward_without_an_update(record) -> None:  # type: ignore[no-untyped-def]
    recorded = record("x = torch.ones(2, requires_grad=True)\n(x * 2).sum().backward()\n")
    assert recorded.kinds == ["train"]
    assert recorded.only("grad").change == "created"


def test_no_backward_at_all(record) -> None:  # type: ignore[no-untyped-def]
    recorded = record("x = torch.ones(2)\ny = x + 1\n")
    assert recorded.kinds == ["other"]
    assert recorded.ops() == ["ones", "add"]
    assert record("print(1)\n").kinds == []


def test_an_exception_in_a_step(tmp_path: Path) -> None:
    recorded = record_text(
        tmp_path,
        "import torch\n"
        + NET
        + """
for i, (x, y) in enumerate(data):
    optimizer.zero_grad()
    loss = torch.nn.functional.cross_entropy(model(x), y)
    loss.backward()
    if i == 2:
        model(torch.randn(5, 7))
    optimizer.step()
""",
    )
    assert isinstance(recorded.error, RuntimeError)
    assert recorded.faults == ()
    assert recorded.kinds == ["train"] * 3
    failures = [moment for moment in recorded.trace.step(2).moments if moment.kind == "failure"]
    assert failures[-1].type == "RuntimeError"
    assert "mat1 and mat2" in failures[-1].message
    assert recorded.line(failures[-1]) == 13
    assert recorded.trace.info.status == "failed"
    assert "model(torch.randn(5, 7))" in (recorded.trace.info.traceback or "")


def test_steps_marked_by_hand(tmp_path: Path) -> None:
    text = """\
import torch
import gradscope
w = torch.ones(1, requires_grad=True)
for _ in range(3):
    for _ in range(2):
        (w * 2).sum().backward()
    gradscope.step()
"""
    recorded = record_text(tmp_path, text)
    assert recorded.error is None
    assert recorded.faults == ()
    assert recorded.kinds == ["train"] * 3
    assert [len(step.graphs) for step in recorded.steps if step.number >= 0] == [2, 2, 2]


def test_schedulers_and_scalers(record) -> None:  # type: ignore[no-untyped-def]
    recorded = record(
        NET
        + """
scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=2, gamma=0.5)
scaler = torch.amp.GradScaler("cpu", enabled=True)
for x, y in data:
    optimizer.zero_grad()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = torch.nn.functional.cross_entropy(model(x), y)
    scaler.scale(loss).backward()
    scaler.step(optimizer)
    scaler.update()
    scheduler.step()
"""
    )
    assert recorded.kinds == ["train"] * 6
    rates = [step.row.learning_rates[0][2] for step in recorded.steps if step.number >= 0]
    assert rates == pytest.approx([0.1, 0.1, 0.05, 0.05, 0.025, 0.025])
    assert {moment.name for moment in recorded.moments("scheduler")} == {"StepLR"}
    calls = [moment.call for moment in recorded.trace.step(3).moments if moment.kind == "scaler"]
    assert calls == ["scale", "step", "update"]
    modes = [
        moment.value for moment in recorded.trace.step(3).moments if moment.kind == "mode" and moment.mode == "autocast"
    ]
    assert modes == ["cpu:bfloat16", "off"]
    assert phases(recorded, 3)[-2:] == ["optimizer_step", "scheduler_step"]


def test_modes(record) -> None:  # type: ignore[no-untyped-def]
    recorded = record(
        """
x = torch.ones(2, requires_grad=True)
with torch.no_grad():
    y = x * 2
    with torch.enable_grad():
        z = x * 3
with torch.inference_mode():
    i = x * 4
after = x * 5
"""
    )
    changes = [(moment.mode, moment.value, recorded.line(moment)) for moment in recorded.moments("mode")]
    assert changes == [
        ("grad", "off", 4), ("grad", "on", 6), ("grad", "off", 6), ("grad", "on", 4),
        ("inference", "on", 8), ("inference", "off", 8),
    ]  # fmt: skip
    assert [recorded.tensor(name).requires_grad for name in ("y", "z", "i", "after")] == [False, True, False, True]
    assert recorded.tensor("i").is_inference
    assert recorded.tensor("i").version is None


def test_full_detail_only_for_the_first_steps(record) -> None:  # type: ignore[no-untyped-def]
    recorded = record(
        NET
        + """
for x, y in data:
    optimizer.zero_grad()
    torch.nn.functional.cross_entropy(model(x), y).backward()
    optimizer.step()
""",
        "auto",
    )
    details = [step.row.detail.value for step in recorded.steps if step.number >= 0]
    assert details == ["full"] * 3 + ["graph"] * 3
    assert len(recorded.trace.step(4).graphs) == 1
    templates = {step.row.template for step in recorded.steps if step.number >= 3}
    assert len(templates) == 1


def test_names_of_values_in_literals(tmp_path: Path) -> None:
    recorded = record_text(
        tmp_path,
        """import torch
a, b = torch.ones(2, requires_grad=True), torch.zeros(3)
first, (second, third) = torch.ones(1), (torch.ones(1), torch.ones(1))
params = {"w": torch.randn(2, requires_grad=True), "b": [torch.zeros(2), torch.ones(2)]}
weights = [torch.nn.Parameter(torch.ones(2)), torch.ones(2)]
class Holder:
    def __init__(self):
        self.w, self.b = torch.ones(2), torch.nn.Parameter(torch.zeros(2))
holder = Holder()
known = torch.ones(1)
rest, *others = torch.ones(1), known, known
(both := (torch.ones(4), known))
out = a * params["w"]
""",
    )
    ops = [moment for moment in recorded.moments("op") if moment.name in ("ones", "zeros", "randn")]  # type: ignore[union-attr]
    tensors = recorded.trace.step(0).tensors
    named = [tensors[moment.outputs[0]].name for moment in ops]  # type: ignore[union-attr]
    data = ["torch.ones(2)", "torch.zeros(2)"]  # what a parameter is made from
    assert [name for name in named if name not in data] == [
        "a", "b", "first", "second", "third", 'params["w"]', 'params["b"][0]', 'params["b"][1]', "weights[1]",
        "self.w", "known", "torch.ones(1)", "both[0]",
    ]  # fmt: skip
    assert {parameter.name for parameter in recorded.trace.parameters()} == {"weights[0]", "b"}


def test_a_parameter_that_nothing_names_is_called_what_it_is_used_as(tmp_path: Path) -> None:
    recorded = record_text(
        tmp_path,
        """import torch
weights = [torch.nn.Parameter(torch.ones(2)) for _ in range(2)]
optimizer = torch.optim.SGD(weights, lr=0.1)
for _ in range(3):
    optimizer.zero_grad()
    (weights[0] * weights[1]).sum().backward()
    optimizer.step()
""",
    )
    assert [parameter.name for parameter in recorded.trace.parameters()] == ["weights[0]", "weights[1]"]
    step = recorded.trace.step(2)
    assert [tensor.name for tensor in step.tensors if tensor.parameter is not None] == ["weights[0]", "weights[1]"]


INSIDE = """import torch
from torch.utils.checkpoint import checkpoint
class Double(torch.autograd.Function):
    @staticmethod
    def forward(ctx, a):
        return a * 2
    @staticmethod
    def backward(ctx, g):
        return g * 2
layer = torch.nn.Linear(2, 2)
def halved(module, inside, outside):
    return (inside[0] / 2,)
layer.register_full_backward_hook(halved)
x = torch.ones(2, requires_grad=True)
y = Double.apply(x * 1)
y.register_hook(lambda g: g.clamp(max=0.5))
part = lambda v: v.sin() * 2
z = layer(y).sum() + checkpoint(part, y, use_reentrant=False).sum() + checkpoint(part, y, use_reentrant=True).sum()
z.backward()
after = x + 1
"""


@pytest.mark.parametrize("detail", ["full", "graph"])
def test_ops_of_hooks_and_custom_functions_inside_a_backward(tmp_path: Path, detail: str) -> None:
    recorded = record_text(tmp_path, INSIDE, detail)
    assert recorded.faults == ()
    inside = [moment for moment in recorded.moments("op") if moment.phase.value == "backward"]
    told = [(moment.name, recorded.line(moment)) for moment in inside]  # type: ignore[union-attr]
    assert sorted(told) == [("clamp", 16), ("div", 12), ("mul", 9)]
    assert all(moment.inputs and moment.outputs for moment in inside)  # type: ignore[union-attr]
    assert recorded.ops()[-1] == "add"
    assert recorded.moments("op")[-1].phase.value != "backward"


def test_a_hook_that_fails_inside_a_backward(tmp_path: Path) -> None:
    recorded = record_text(
        tmp_path,
        """import torch
x = torch.ones(2, requires_grad=True)
y = x * 2
y.register_hook(lambda g: g @ torch.ones(3))
try:
    y.sum().backward()
except RuntimeError:
    after = x + 1
""",
    )
    assert recorded.faults == ()
    assert "RuntimeError" in recorded.only("backward").error
    assert [(moment.call, recorded.line(moment)) for moment in recorded.moments("failure")] == [("matmul", 4)]  # type: ignore[union-attr]
    assert recorded.ops() == ["ones", "mul", "register_hook", "sum", "ones", "add"]
