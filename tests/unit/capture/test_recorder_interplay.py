"""Beside torch's other machinery, recording changes neither results nor how often a script's own code runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.capturing import Recording, bits, record_script, recording, run_plain

# Each script leaves what it saw in `seen` (numbers, counts, texts, tensors).
HEAD = """\
import torch
import torch.nn.functional as F

torch.manual_seed(0)
seen = []
"""

SCRIPTS: dict[str, str] = {
    "a function mode": """
from torch.overrides import TorchFunctionMode

class Count(TorchFunctionMode):
    calls = []
    def __torch_function__(self, func, types, args=(), kwargs=None):
        self.calls.append(getattr(func, "__name__", "?"))
        return func(*args, **(kwargs or {}))

model = torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.BatchNorm1d(3))
optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
with Count() as mode:
    for _ in range(5):
        loss = model(torch.randn(4, 3)).pow(2).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        x = torch.zeros(3)
        x[0] = 1
        x.data.mul_(2)
        with torch.no_grad():
            x.add_(1)
    outside = loss.item()
seen = [mode.calls, outside]
""",
    "a function mode around everything": """
from torch.overrides import TorchFunctionMode, BaseTorchFunctionMode

class Double(TorchFunctionMode):
    calls = []
    def __torch_function__(self, func, types, args=(), kwargs=None):
        self.calls.append(getattr(func, "__name__", "?"))
        result = func(*args, **(kwargs or {}))
        return result * 2 if func is torch.relu else result

with Double():
    with BaseTorchFunctionMode():
        with torch.device("cpu"):
            x = torch.randn(3, requires_grad=True)
            y = torch.relu(x)
            y.sum().backward()
seen = [Double.calls, y.detach(), x.grad]
""",
    "a dispatch mode": """
from torch.utils._python_dispatch import TorchDispatchMode

class Count(TorchDispatchMode):
    calls = []
    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.calls.append(str(func))
        return func(*args, **(kwargs or {}))

model = torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.ReLU(), torch.nn.Linear(3, 1))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
with Count():
    for _ in range(4):
        optimizer.zero_grad()
        loss = model(torch.randn(4, 3)).pow(2).sum()
        loss.backward()
        optimizer.step()
        v = model[0].weight.detach()[0]
        v.mul_(1.5)
        leaf = torch.ones(3, requires_grad=True)
        leaf.backward(torch.ones(3))
    model.double()
seen = [Count.calls, loss.detach()]
""",
    "a subclass": """
class Counting(torch.Tensor):
    calls = []
    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        cls.calls.append(getattr(func, "__name__", "?"))
        return super().__torch_function__(func, types, args, kwargs)

w = torch.randn(3, requires_grad=True)
x = torch.randn(3).as_subclass(Counting)
for i in range(4):
    y = (w * x).exp()
    z = y[1:].sum()
    z.retain_grad()
    z.backward()
    x[0] = 2
    x.data.mul_(2)
    x.requires_grad
    x.shape
    d = y.detach().requires_grad_()
    d.grad = torch.ones(3)
    d.grad = None
    with torch.no_grad():
        x.add_(1)
    F.relu(x, inplace=True)
    x.numpy()
    str(x)
seen = [Counting.calls, w.grad, type(y).__name__]
""",
    "a subclass that is a parameter": """
class Weight(torch.nn.Parameter):
    calls = []
    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        cls.calls.append(getattr(func, "__name__", "?"))
        with torch._C.DisableTorchFunctionSubclass():
            return func(*args, **(kwargs or {}))

class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.w = Weight(torch.randn(3, 3))
        self.register_buffer("seen", torch.zeros(1))
    def forward(self, x):
        self.seen += 1
        return x @ self.w

net = Net()
optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
for _ in range(5):
    loss = net(torch.randn(2, 3)).pow(2).sum()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    net.zero_grad()
net.double()
net.eval()
seen = [Weight.calls, net.w.detach().as_subclass(torch.Tensor), net.seen]
""",
    "a wrapper subclass with a dispatcher": """
from torch.utils._pytree import tree_map

class Wrapped(torch.Tensor):
    calls = []
    @staticmethod
    def __new__(cls, inner):
        return torch.Tensor._make_wrapper_subclass(cls, inner.shape, requires_grad=inner.requires_grad)
    def __init__(self, inner):
        self.inner = inner
    __torch_function__ = torch._C._disabled_torch_function_impl
    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        cls.calls.append(str(func))
        unwrap = lambda t: t.inner if isinstance(t, Wrapped) else t
        out = func(*tree_map(unwrap, args), **tree_map(unwrap, kwargs or {}))
        return tree_map(lambda t: Wrapped(t) if isinstance(t, torch.Tensor) else t, out)

x = Wrapped(torch.randn(3, 3)).requires_grad_()
y = (x * 2).sin()
y.sum().backward()
x.detach().mul_(2)
seen = [Wrapped.calls, x.grad.inner, x.inner]
""",
    "torch.func": """
from torch.func import functional_call, grad, hessian, jacrev, vmap
model = torch.nn.Linear(3, 1)
x = torch.randn(5, 3)

def loss(parameters, row):
    return functional_call(model, parameters, (row,)).pow(2).sum()

parameters = dict(model.named_parameters())
seen = [
    grad(loss)(parameters, x)["weight"],
    vmap(grad(loss), in_dims=(None, 0))(parameters, x)["bias"],
    vmap(lambda row: row.sin())(x),
    jacrev(lambda t: t.exp())(x[0]),
    hessian(lambda t: (t ** 3).sum())(x[0]),
    torch.func.jvp(lambda t: t.sin(), (x,), (torch.ones_like(x),))[1],
    functional_call(model, parameters, (x,)).detach(),
    torch.autograd.functional.jacobian(lambda t: t ** 2, x[0]),
]
""",
    "checkpoints": """
from torch.utils.checkpoint import checkpoint, checkpoint_sequential
runs = []
class Block(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = torch.nn.Linear(3, 3)
    def forward(self, x):
        runs.append(x.requires_grad)
        return F.dropout(self.fc(x).tanh(), 0.5)

blocks = torch.nn.Sequential(*[Block() for _ in range(4)])
x = torch.randn(2, 3, requires_grad=True)
for reentrant in (False, True):
    y = x
    for block in blocks:
        y = checkpoint(block, y, use_reentrant=reentrant)
    y.sum().backward()
    z = checkpoint_sequential(blocks, 2, x, use_reentrant=reentrant)
    z.pow(2).sum().backward()
seen = [runs, x.grad, blocks[0].fc.weight.grad]
""",
    "jit": """
import warnings
model = torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.ReLU())
x = torch.randn(2, 3)
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    traced = torch.jit.trace(model, x)
    scripted = torch.jit.script(model)

    @torch.jit.script
    def twice(t: torch.Tensor) -> torch.Tensor:
        if bool(t.sum() > 0):
            return t * 2
        return t

a = traced(x)
b = scripted(x)
c = twice(x)
a.sum().backward()
b.sum().backward()
kinds = [[node.kind() for node in graph.nodes()] for graph in (traced.graph, scripted.graph)]
seen = [a.detach(), b.detach(), c, model[0].weight.grad, kinds, traced.code, scripted.code]
""",
    "saved tensor hooks": """
packed, unpacked = [], []

def pack(t):
    packed.append(tuple(t.shape))
    return t

def unpack(t):
    unpacked.append(tuple(t.shape))
    return t

w = torch.randn(3, 3, requires_grad=True)
for i in range(4):
    with torch.autograd.graph.saved_tensors_hooks(pack, unpack):
        y = (w @ w).exp() * w.sin()
        z = torch.nn.functional.linear(y, w).relu()
    z.sum().backward()
with torch.autograd.graph.save_on_cpu():
    (w ** 2).sum().backward()
with torch.autograd.graph.allow_mutation_on_saved_tensors():
    v = w.exp()
    u = v * v
    v.mul_(2)
    u.sum().backward()
seen = [packed, unpacked, w.grad]
""",
    "autocast": """
model = torch.nn.Linear(3, 3)
x = torch.randn(2, 3)
with torch.autocast("cpu", dtype=torch.bfloat16):
    y = model(x)
    with torch.autocast("cpu", enabled=False):
        z = model(x)
    w = y @ y.t()
(y.float().sum() + z.sum() + w.float().sum()).backward()
seen = [y.detach().float(), z.detach(), w.detach().float(), model.weight.grad, torch.is_autocast_enabled("cpu")]
""",
    "sparse": """
e = torch.nn.Embedding(10, 3, sparse=True)
optimizer = torch.optim.SparseAdam(e.parameters())
for _ in range(4):
    out = e(torch.tensor([1, 2, 2]))
    optimizer.zero_grad()
    out.pow(2).sum().backward()
    optimizer.step()
s = torch.eye(3).to_sparse().requires_grad_()
d = torch.randn(3, 3, requires_grad=True)
r = torch.sparse.mm(s, d)
r.sum().backward()
c = torch.eye(3).to_sparse_csr()
v = c @ torch.randn(3, 3)
seen = [e.weight.detach(), e.weight.grad, s.grad, d.grad, v]
""",
    "nested": """
import warnings
warnings.simplefilter("ignore")
a, b = torch.randn(2, 3, requires_grad=True), torch.randn(4, 3, requires_grad=True)
for layout in (torch.strided, torch.jagged):
    n = torch.nested.as_nested_tensor([a, b], layout=layout)
    m = (n * 2).sin()
    flat = torch.cat([t.reshape(-1) for t in m.unbind()])
    flat.sum().backward()
seen = [a.grad, b.grad]
""",
    "complex": """
z = torch.randn(3, dtype=torch.complex64, requires_grad=True)
w = (z * z.conj()).real.sum()
w.backward()
f = torch.fft.fft(torch.randn(8, requires_grad=True))
f.abs().sum().backward()
v = torch.view_as_real(z.detach())
v.mul_(2)
seen = [z.grad, z.detach(), f.detach(), z.detach().H if z.dim() == 2 else z.detach().conj().imag]
""",
    "quantized": """
import warnings
warnings.simplefilter("ignore")
q = torch.quantize_per_tensor(torch.randn(3, 3), 0.1, 0, torch.qint8)
d = q.dequantize()
plain = torch.nn.Sequential(torch.nn.Linear(3, 3))
model = torch.ao.quantization.quantize_dynamic(plain, {torch.nn.Linear}, dtype=torch.qint8)
fake = torch.fake_quantize_per_tensor_affine(torch.randn(3, requires_grad=True), 0.1, 0, 0, 255)
fake.sum().backward()
seen = [d, q.int_repr(), model(torch.randn(2, 3)), fake.detach()]
""",
    "meta and fake": """
from torch._subclasses.fake_tensor import FakeTensorMode
with torch.device("meta"):
    model = torch.nn.Linear(10, 10)
    y = model(torch.randn(2, 10))
    y.sum().backward()
with FakeTensorMode():
    f = torch.nn.Linear(4, 4)(torch.randn(2, 4))
    f.sum().backward()
seen = [str(y.device), str(model.weight.grad.shape), str(f.shape), type(f).__name__]
""",
    "saving, copying, pickling": """
import copy, io, pickle
model = torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.BatchNorm1d(3))
optimizer = torch.optim.Adam(model.parameters())
model(torch.randn(4, 3)).sum().backward()
optimizer.step()
buffer = io.BytesIO()
torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, buffer)
buffer.seek(0)
loaded = torch.load(buffer)
other = copy.deepcopy(model)
other.load_state_dict(loaded["model"])
whole = pickle.loads(pickle.dumps(model))
second = torch.optim.Adam(other.parameters())
second.load_state_dict(loaded["optimizer"])
x = torch.randn(3, requires_grad=True)
y = copy.deepcopy(x)
z = copy.copy(x)
buffer.seek(0)
torch.save(x * 2, buffer)
seen = [
    list(loaded["model"].values()), whole[0].weight.detach(), y.detach(), z is x, y.requires_grad,
    len(buffer.getvalue()),
    pickle.loads(pickle.dumps(x)).detach(), [name for name, _ in whole.named_parameters()], type(whole).__module__,
]
""",
    "anomaly mode": """
import warnings
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    with torch.autograd.set_detect_anomaly(True):
        x = torch.tensor([-1.0, 2.0], requires_grad=True)
        y = torch.sqrt(x)
        try:
            y.sum().backward()
        except RuntimeError as error:
            seen.append(str(error))
for w in caught:  # the forward's stack, as far as the script's own
    seen += [line for line in str(w.message).splitlines() if "Error" in line]
    seen += [line for line in str(w.message).splitlines() if "script.py" in line or "gradscope/" in line]
""",
    "hooks": """
order = []
w = torch.randn(3, requires_grad=True)
k = torch.randn(3, requires_grad=True)
w.register_hook(lambda g: order.append("tensor") or g * 2)
w.register_post_accumulate_grad_hook(lambda p: order.append(("post", p.grad.sum().item())))
model = torch.nn.Linear(3, 3)
model.register_forward_pre_hook(lambda m, a: order.append("pre"))
model.register_forward_hook(lambda m, a, o: order.append("forward"))
model.register_full_backward_pre_hook(lambda m, g: order.append("backward pre"))
model.register_full_backward_hook(lambda m, i, o: order.append("backward"))
y = model(w * k)
y.grad_fn.register_hook(lambda i, o: order.append("node"))
y.grad_fn.register_prehook(lambda o: order.append("node pre"))
torch.autograd.graph.register_multi_grad_hook((w, k), lambda grads: order.append("multi"))
y.register_hook(lambda g: order.append("y"))
y.sum().backward()

def step(p):
    with torch.no_grad():
        p -= 0.1 * p.grad
        p.grad = None

fused = torch.nn.Linear(2, 2)
for p in fused.parameters():
    p.register_post_accumulate_grad_hook(step)
for _ in range(3):
    fused(torch.ones(1, 2)).sum().backward()
seen = [order, w.grad, k.grad, model.weight.grad, fused.weight.detach(), fused.weight.grad]
""",
    "a profiler": """
from torch.profiler import ProfilerActivity, profile, record_function
model = torch.nn.Linear(3, 3)
with profile(activities=[ProfilerActivity.CPU]) as prof:
    with record_function("mine"):
        y = model(torch.randn(2, 3))
        y.sum().backward()
names = {e.key for e in prof.key_averages()}
wanted = {"mine", "aten::linear", "aten::addmm", "autograd::engine::evaluate_function: AddmmBackward0"}
seen = [sorted(names & wanted), y.detach()]
""",
    "vmapped and custom functions": """
class Square(torch.autograd.Function):
    generate_vmap_rule = True
    @staticmethod
    def forward(x):
        return x * x
    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.save_for_backward(inputs[0])
    @staticmethod
    def backward(ctx, g):
        return 2 * ctx.saved_tensors[0] * g

x = torch.randn(4, requires_grad=True)
Square.apply(x).sum().backward()
v = torch.func.vmap(torch.func.grad(lambda t: Square.apply(t)))(x.detach())
seen = [x.grad, v]
""",
    "parametrizations and weight norm": """
from torch.nn.utils import parametrizations, parametrize, clip_grad_norm_, parameters_to_vector
first, second = torch.nn.Linear(3, 3), torch.nn.Linear(3, 3)
model = torch.nn.Sequential(parametrizations.weight_norm(first), parametrizations.spectral_norm(second))
optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
norms = []
for _ in range(3):
    optimizer.zero_grad()
    model(torch.randn(4, 3)).pow(2).sum().backward()
    norms.append(clip_grad_norm_(model.parameters(), 0.5).item())
    optimizer.step()
seen = [norms, parameters_to_vector(model.parameters()).detach()]
""",
    "swa, ema and the functional optimizers": """
from torch.optim.swa_utils import AveragedModel
model = torch.nn.Linear(3, 3)
average = AveragedModel(model)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1, foreach=True)
for _ in range(4):
    optimizer.zero_grad()
    model(torch.randn(2, 3)).sum().backward()
    optimizer.step()
    average.update_parameters(model)
seen = [average.module.weight.detach(), average.n_averaged]
""",
    "rnn, attention and embedding bags": """
torch.manual_seed(1)
lstm = torch.nn.LSTM(3, 4, 2, batch_first=True)
attention = torch.nn.TransformerEncoderLayer(4, 2, 8, batch_first=True)
bag = torch.nn.EmbeddingBag(5, 4)
out, (h, c) = lstm(torch.randn(2, 5, 3))
y = attention(out) + bag(torch.tensor([[0, 1], [2, 3]])).unsqueeze(1)
y.pow(2).sum().backward()
seen = [y.detach(), lstm.weight_hh_l0.grad, attention.linear1.weight.grad, bag.weight.grad]
""",
}

COMPILED = """
import torch._dynamo
from torch._dynamo.utils import counters
torch._dynamo.reset()
counters.clear()

model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ReLU(), torch.nn.Linear(4, 1))

@torch.compile(backend={backend!r})
def scaled(x, k):
    return (x * k).sin().sum()

def plain(x):
    return x.cos() * 2

compiled_plain = torch.compile(plain, backend={backend!r}, fullgraph=True)
compiled = torch.compile(model, backend={backend!r})
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for _ in range(4):
    x = torch.randn(2, 3)
    optimizer.zero_grad()
    loss = compiled(x).pow(2).sum() + scaled(x, 2.0) + compiled_plain(x).sum()
    loss.backward()
    optimizer.step()
inside = torch.nn.Linear(3, 3)
inside.compile(backend={backend!r})
out = inside(torch.ones(1, 3))
stats = dict(counters["stats"])
assert stats["unique_graphs"] >= 3  # it was compiled indeed
seen = [stats, dict(counters["graph_break"]), dict(counters["frames"]), loss.detach(), out.detach(), scaled.__name__]
torch._dynamo.reset()
"""
for _backend in ("eager", "aot_eager"):
    SCRIPTS[f"compile with {_backend}"] = COMPILED.format(backend=_backend)


SCRIPTS["export of a model whose steps repeat"] = """
torch.manual_seed(1)
model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ReLU(), torch.nn.Linear(4, 1))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
x, graphs = torch.randn(2, 3), []
for step in range(8):
    optimizer.zero_grad()
    loss = model(x).pow(2).sum()
    loss.backward()
    optimizer.step()
    if step > 4:
        for strict in (False, True):
            exported = torch.export.export(model, (x,), strict=strict)
            graphs.append([str(node.target) for node in exported.graph.nodes])
            assert "aten.relu.default" in graphs[-1]
seen = [graphs, loss.detach(), exported.module()(x).detach()]
"""


WRAPPED = """
import functools
calls = []

def counted(owner, name):
    original = getattr(owner, name)
    @functools.wraps(original)
    def wrapper(*args, **kwargs):
        calls.append(name)
        return original(*args, **kwargs)
    setattr(owner, name, wrapper)
    return lambda: setattr(owner, name, original)

undo = [
    counted(torch.Tensor, "backward"), counted(torch.Tensor, "norm"), counted(torch.Tensor, "add"),
    counted(torch.autograd, "grad"), counted(torch.nn.functional, "relu"), counted(torch.Tensor, "__repr__"),
]
try:
    x = torch.ones(2, requires_grad=True)
    y = torch.nn.ReLU()(x.add(1)) * torch.nn.functional.relu(x)
    y.norm().backward()
    z = torch.autograd.grad((x * x).sum(), x)
    shown = repr(x)
finally:
    for each in undo:
        each()
seen = [calls, y.detach(), x.grad, z, shown]
"""
SCRIPTS["wrapped torch functions"] = WRAPPED


def plainly(value: Any) -> Any:
    """A script's `seen`, comparable to the bit."""
    if isinstance(value, torch.Tensor):
        return bits(value)
    if isinstance(value, (list, tuple)):
        return [plainly(item) for item in value]
    return value


def both(folder: Path, name: str, detail: str) -> tuple[dict[str, Any], Recording]:
    script = folder / "script.py"
    script.write_text(HEAD + SCRIPTS[name])
    plain = run_plain(script)
    plain["rng"] = torch.get_rng_state()
    recorded = record_script(script, detail)
    recorded.namespace["rng"] = torch.get_rng_state()
    return plain, recorded


@pytest.fixture(scope="module", autouse=True)
def _torch_has_patched_itself() -> None:
    """At the first compilation torch replaces methods of its own, which the leak guard would report."""
    torch.compile(lambda x: x + 1, backend="eager")(torch.ones(1))


@pytest.mark.filterwarnings("ignore:.torch.jit", "ignore:Sparse CSR:UserWarning")
@pytest.mark.filterwarnings("ignore:Warning. Profiler clears events:UserWarning")  # torch 2.11
@pytest.mark.filterwarnings("ignore:Guards may run slower:RuntimeWarning")  # Python 3.13.0
@pytest.mark.parametrize("detail", ["full", "graph", "steps"])
@pytest.mark.parametrize("name", SCRIPTS)
def test_the_same_with_and_without(tmp_path: Path, name: str, detail: str) -> None:
    plain, recorded = both(tmp_path, name, detail)
    assert plain["__error__"] is None, plain["__error__"]
    assert recorded.error is None
    assert recorded.faults == ()
    assert len(plain["seen"]) > 0
    for position, (ours, theirs) in enumerate(
        zip(plainly(recorded.namespace["seen"]), plainly(plain["seen"]), strict=True)
    ):
        assert ours == theirs, position
    assert torch.equal(recorded.namespace["rng"], plain["rng"])


@pytest.mark.parametrize("warm", [False, True], ids=["not yet run", "run before"])
@pytest.mark.parametrize("detail", ["full", "steps"])
def test_a_function_compiled_before_the_recording_stays_compiled(detail: str, warm: bool) -> None:
    from torch._dynamo.utils import counters

    torch._dynamo.reset()
    counters.clear()
    ran: list[str] = []

    def backend(module: torch.fx.GraphModule, _: Any) -> Any:
        def run(*inputs: Any) -> Any:
            ran.append("compiled")
            return module(*inputs)

        return run

    @torch.compile(backend=backend)
    def scaled(x: torch.Tensor) -> torch.Tensor:
        return x.sin() * 2

    @torch.compile(backend=backend)
    def fails(x: torch.Tensor) -> torch.Tensor:
        return scaled(x) @ torch.ones(3)

    x = torch.ones(2, requires_grad=True)
    if warm:
        scaled(x)
    ran.clear()
    with recording(detail) as recorded:
        for _ in range(2):
            scaled(x).sum().backward()
        with pytest.raises(Exception, match=r"size|shape"):
            fails(x)
        after = x * 3
    assert ran.count("compiled") >= 2
    assert counters["stats"]["unique_graphs"] >= 1
    graphs = counters["stats"]["unique_graphs"]
    scaled(x)
    assert counters["stats"]["unique_graphs"] == graphs  # the recording was no reason to compile again
    assert recorded.faults == ()
    assert "sin" not in recorded.ops()
    assert len(recorded.moments("backward")) == 2
    if detail == "full":
        assert recorded.ops()[-1] == "mul"
        assert recorded.tensor("after", recorded.steps[-1].number).shape == after.shape
    assert [moment.text for moment in recorded.moments("note")] == [  # type: ignore[union-attr]
        "a compiled region ran here: its ops were not recorded"
    ] * 3
    torch._dynamo.reset()


def test_what_wrapped_functions_do_is_recorded_once(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(HEAD + WRAPPED)
    recorded = record_script(script)
    assert recorded.faults == ()
    assert recorded.namespace["calls"] == ["add", "relu", "relu", "norm", "backward", "grad", "__repr__"]
    assert recorded.ops() == ["ones", "add", "relu", "relu", "mul", "norm", "mul", "sum", "grad", "detach"]
    assert len(recorded.moments("backward")) == 2
