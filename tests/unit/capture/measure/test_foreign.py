"""Tensors of any class and kind: a program with them has the same outcome, and none is asked what it may not be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from gradscope.capture.journal.shared_memory import checksum
from gradscope.capture.live_tensors import tensor_facts
from gradscope.capture.measure.askable import (
    all_in_memory,
    computes,
    fits,
    in_memory,
    lies_at,
    readable,
    readable_storage,
)
from gradscope.capture.measure.stats import number_of, values
from gradscope.capture.measure.tensor_facts import bytes_of, count_of, device_of, read_facts, storage_key
from gradscope.model.records import Optimizer
from tests.capturing import Recording, record_script, record_text, run_plain

CLASSES = """
import re
import torch
from torch.masked import masked_tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch._subclasses.functional_tensor import FunctionalTensor, FunctionalTensorMode
from torch.testing._internal.two_tensor import TwoTensor

calls = []
torch.manual_seed(0)

class Logging(torch.Tensor):
    "A wrapper whose class computes for itself, as much as its policy has it do."
    @staticmethod
    def __new__(cls, inner, policy=None, everything=False):
        return torch.Tensor._make_wrapper_subclass(
            cls, inner.shape, dtype=inner.dtype, device=inner.device, dispatch_sizes_strides_policy=policy,
            dispatch_device=everything, dispatch_layout=everything)
    def __init__(self, inner, policy=None, everything=False):
        self.inner = inner
    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        calls.append(str(func))
        bare = [a.inner if isinstance(a, Logging) else a for a in args]
        made = func(*bare, **(kwargs or {}))
        return Logging(made) if isinstance(made, torch.Tensor) else made

def asked(name):
    def ask(*args):
        calls.append(name)
        raise AttributeError(name)
    return ask

class Answering(torch.Tensor):
    "A class with answers of its own, each of which is noticed."
    shape, dtype, device, layout = (property(asked(name)) for name in ("shape", "dtype", "device", "layout"))
    numel, untyped_storage, detach, tolist, item = map(asked, ("numel", "untyped_storage", "detach", "tolist", "item"))

def shrunk(tensor, nbytes=0):
    tensor.untyped_storage().resize_(nbytes)
    return tensor

def transformed(transform):
    kept = []
    transform(lambda x: (kept.append(x), x.sum())[1])(torch.randn(3, 4))
    return kept[0]

def functional():
    with FunctionalTensorMode():
        return FunctionalTensor.to_functional(torch.randn(3, 4))
"""
# How a tensor of each kind is made, and whether its numbers can be read.
KINDS: dict[str, tuple[str, bool]] = {
    "plain": ("torch.randn(3, 4)", True),
    "scalar": ("torch.tensor(2.0)", True),
    "empty": ("torch.empty(0, 3)", True),
    "expanded": ("torch.randn(3, 1).expand(3, 4)", True),
    "transposed": ("torch.randn(4, 3).t()", True),
    "bool": ("torch.ones(3, 4, dtype=torch.bool)", True),
    "int": ("torch.arange(12)", True),
    "bfloat16": ("torch.randn(3, 4).bfloat16()", True),
    "complex": ("torch.randn(3, 4, dtype=torch.cfloat)", True),
    "conjugate": ("torch.randn(3, 4, dtype=torch.cfloat).conj()", True),
    "negative": ("torch.randn(3, 4, dtype=torch.cfloat).conj().imag", True),
    "copy on write": ("torch._lazy_clone(torch.randn(3, 4))", True),
    "answering": ("torch.randn(3, 4).as_subclass(Answering)", True),
    "freed": ("shrunk(torch.randn(3, 4))", False),
    "freed double": ("shrunk(torch.randn(3, 4).double())", False),
    "shrunk": ("shrunk(torch.randn(30, 40), 4096)", False),
    "shrunk rows": ("shrunk(torch.randn(8)[::2], 16)", False),
    "shrunk end": ("shrunk(torch.randn(8)[4:], 16)", False),
    "half complex": ("torch.zeros(3, 4, dtype=torch.complex32)", False),
    **{
        name: (f"torch.zeros(3, 4, dtype=torch.uint8).view(torch.{name})", False)
        for name in ("float8_e4m3fn", "float8_e5m2", "float8_e8m0fnu", "float4_e2m1fn_x2", "bits8")
    },
    **{name: (f"torch.zeros(3, 4, dtype=torch.{name})", False) for name in ("uint16", "uint32", "uint64")},
    **{name: (f"torch.empty(3, 4, dtype=torch.{name})", False) for name in ("int4", "uint4", "int1", "bits16")},
    "meta": ("torch.empty(3, 4, device='meta')", False),
    "fake": ("FakeTensorMode().from_tensor(torch.randn(3, 4))", False),
    "functional": ("functional()", False),
    "functional in C++": ("torch._to_functional_tensor(torch.randn(3, 4))", False),
    "zero tensor": ("torch._efficientzerotensor((3, 4))", False),
    "zero tensor, transposed": ("torch._efficientzerotensor((3, 4)).t()", False),
    "batched, dead": ("transformed(torch.func.vmap)", False),
    "differentiated, dead": ("transformed(torch.func.grad)", False),
    "coo": ("torch.eye(4).to_sparse()", False),
    **{
        name: (f"torch.eye(4).to_sparse_{name}({'(2, 2)' if name[0] == 'b' else ''})", False)
        for name in ("csr", "csc", "bsr", "bsc")
    },
    "mkldnn": ("torch.randn(3, 4).to_mkldnn()", False),
    "quantized": ("torch.quantize_per_tensor(torch.randn(3, 4), 0.1, 0, torch.qint8)", False),
    "nested": ("torch.nested.nested_tensor([torch.randn(2, 3), torch.randn(4, 3)])", False),
    "jagged": ("torch.nested.nested_tensor([torch.randn(2, 3), torch.randn(4, 3)], layout=torch.jagged)", False),
    "masked": ("masked_tensor(torch.randn(3, 4), torch.randn(3, 4) > 0)", False),
    "two": ("TwoTensor(torch.randn(3, 4), torch.randn(3, 4))", False),
    "wrapper": ("Logging(torch.randn(3, 4))", False),
    "wrapper, own sizes": ("Logging(torch.randn(3, 4), 'sizes')", False),
    "wrapper, own strides": ("Logging(torch.randn(3, 4), 'strides', True)", False),
    "parameter to be made": ("torch.nn.LazyLinear(3).weight", True),  # there is no number in it
    "buffer to be made": ("torch.nn.LazyBatchNorm1d().running_mean", True),
}
NO_MEMORY = {name for name in KINDS if name.startswith(("freed", "shrunk"))}  # torch itself would crash on them
HOLDS = """
    t.detach()
    t.data
    t.view_as(t)
    t.requires_grad_()
    torch.nn.Parameter(make(), requires_grad=False)
    Passing.apply(t)
    Passing.apply(t, t)
    [tuple(one) for one in torch.utils._pytree.tree_flatten([t, {"a": t}])[:1]]
    optimizer.step()
    optimizer.zero_grad()
    t.grad
"""
READS = """
    t + 1
    t.sum()
    t * t
    torch.relu(t)
    t.clone().mul_(2)
    t.to(torch.float64)
    t.numpy()
    torch.nn.functional.linear(t, t)
    torch.nn.utils.clip_grad_norm_([t], 1.0)
    (t * t).sum().backward()
    Passing.apply(t).backward(make())
    t.sum().backward()
    torch.optim.SGD([t], lr=torch.tensor(0.1)).step()
    torch.autograd.backward([t], [make()])
"""
USES = """
class Passing(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, *others):
        ctx.save_for_backward(x)
        return x.view_as(x)
    @staticmethod
    def backward(ctx, g):
        ctx.saved_tensors
        return g, *[None] * (len(ctx.needs_input_grad) - 1)

class Idle(torch.optim.Optimizer):
    def step(self):
        pass

def told(value):
    if isinstance(value, (list, tuple)):
        return [told(one) for one in value]
    return type(value).__name__, getattr(value, "requires_grad", None)

def use():
    t, other = make(), torch.nn.Parameter(torch.ones(2))
    try:
        t.requires_grad_(t.is_floating_point())
        optimizer = Idle([{"params": [t, other], "lr": 0.1}], {})
        t.grad = make()
    except Exception as error:
        yield type(error), re.sub("j[0-9]+", "j", str(error))[:60]
        optimizer = Idle([other], {"lr": make()})
    for line in filter(None, map(str.strip, LINES.splitlines())):
        try:
            yield told(eval(line, globals(), {"t": t, "optimizer": optimizer}))
        except Exception as error:
            yield type(error), re.sub("j[0-9]+", "j", str(error))[:60]  # symbols are counted
    optimizer.step()

LINES = '''LINES_HERE'''
outcome = []
for _ in range(3):
    outcome.append(list(use()))
loss = torch.nn.Linear(2, 1)(torch.ones(1, 2)).sum()
loss.backward()
"""


def script(name: str) -> str:
    lines = HOLDS if name in NO_MEMORY else HOLDS + READS
    return f"{CLASSES}\ndef make():\n    return {KINDS[name][0]}\n" + USES.replace("LINES_HERE", lines)


def made(name: str) -> tuple[torch.Tensor, list[str]]:
    """A tensor of the kind, and the list in which calls of its class's code turn up."""
    namespace: dict[str, Any] = {}
    exec(f"{CLASSES}\ntensor = {KINDS[name][0]}\ncalls.clear()", namespace)
    return namespace["tensor"], namespace["calls"]


def both(folder: Path, text: str, detail: str) -> tuple[dict[str, Any], Recording]:
    """The script without and with recording."""
    path = folder / "script.py"
    path.write_text(text)
    plain = run_plain(path)
    assert plain["__error__"] is None, plain["__error__"]
    recorded = record_text(folder, text, detail)
    assert recorded.error is None
    assert recorded.faults == ()
    return plain, recorded


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("detail", ["full", "auto"])
@pytest.mark.parametrize("name", KINDS)
def test_a_program_with_such_a_tensor_has_the_same_outcome(tmp_path: Path, name: str, detail: str) -> None:
    plain, recorded = both(tmp_path, script(name), detail)
    assert recorded.namespace["outcome"] == plain["outcome"]
    assert recorded.namespace["calls"] == plain["calls"]
    losses = [step.row.loss for step in recorded.steps if step.row.loss is not None]
    assert losses[-1:] == [pytest.approx(recorded.namespace["loss"].item())]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", KINDS)
def test_what_may_be_asked(name: str) -> None:
    tensor, calls = made(name)
    plain = type(tensor) in (torch.Tensor, torch.nn.Parameter)
    with torch._C.DisableTorchFunction():
        assert readable(tensor) is KINDS[name][1]
        assert computes(tensor) is (type(tensor).__torch_dispatch__ is not torch.Tensor.__torch_dispatch__)
        assert not (in_memory(tensor) and not plain)
        assert not (name in NO_MEMORY and (in_memory(tensor) or all_in_memory([tensor]) or lies_at(tensor)))
        for question in (read_facts, count_of, bytes_of, device_of, storage_key, values, number_of, readable_storage):
            question(tensor)
    assert calls == []


def test_unknown_facts_are_told_as_such() -> None:
    own_sizes, own_all = made("wrapper, own sizes")[0], made("wrapper, own strides")[0]
    assert (read_facts(own_sizes).shape, count_of(own_sizes), bytes_of(own_sizes)) == ((), None, 0)
    assert (read_facts(own_all).shape, read_facts(own_all).device, read_facts(own_all).layout) == ((3, 4), "", "")
    assert read_facts(made("answering")[0]).shape == (3, 4)
    assert read_facts(made("parameter to be made")[0]).shape == ()
    assert read_facts(made("fake")[0]).device == "cpu"


@pytest.mark.filterwarnings("ignore")
def test_the_size_of_jagged_rows_is_unknown(tmp_path: Path) -> None:
    text = """
import torch
linear = torch.nn.Linear(4, 6)
rows = [torch.randn(n, 4) for n in (3, 5, 2)]
for _ in range(3):
    out = torch.relu(linear(torch.nested.nested_tensor(rows, layout=torch.jagged)))
    loss = out.values().pow(2).mean()
    loss.backward()
"""
    for detail in ("full", "auto"):
        _, recorded = both(tmp_path, text, detail)
        assert recorded.tensor("out", 2).shape == (3, -1, 6)
        assert len(recorded.graph_of(step=2).nodes) == 7
        sizes = {type(saved.nbytes) for node in recorded.graph_of(step=2).nodes for saved in node.saved}
        assert sizes <= {int}
    row = tensor_facts(recorded.namespace["out"])
    assert row.shape == (3, -1, 6)
    assert dict(row.items())["shape"] == "(3, ?, 6)"


@pytest.mark.parametrize("detail", ["full", "auto"])
def test_gradients_and_saved_tensors_whose_memory_is_gone(tmp_path: Path, detail: str) -> None:
    text = """
import torch

class Freeing(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.clone()
    @staticmethod
    def backward(ctx, g):
        gone = torch.ones_like(g)
        gone.untyped_storage().resize_(0)
        return gone

class Filling(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.clone()
    @staticmethod
    def backward(ctx, g):
        return torch.ones(g.shape)

w, grads = torch.nn.Parameter(torch.ones(64)), []
optimizer = torch.optim.SGD([w], lr=0.1)
for _ in range(3):
    optimizer.zero_grad()
    kept = torch.full((64,), 2.0)
    y = Filling.apply(w) * kept
    kept.untyped_storage().resize_(0)
    loss = Freeing.apply(y).sum()
    kept.untyped_storage().resize_(256)
    with torch.no_grad():
        kept.fill_(3.0)
    kept = None
    try:
        loss.backward()
    except RuntimeError as error:
        grads.append(str(error)[:40])
    optimizer.step()
"""
    plain, recorded = both(tmp_path, text, detail)
    assert recorded.namespace["grads"] == plain["grads"]
    assert torch.equal(recorded.namespace["w"], plain["w"])


def test_memory_that_is_watched_can_be_freed_and_resized(tmp_path: Path) -> None:
    text = """
import numpy, torch

class Own(torch.optim.Optimizer):
    def step(self):
        for group in self.param_groups:
            for p in group["params"]:
                p.data.add_(p.grad, alpha=-group["lr"])

w = torch.nn.Parameter(torch.ones(8))
optimizer = Own([w], {"lr": 0.1})
sizes = []
for _ in range(2):
    w.sum().backward()
    optimizer.step()
    storage = w.untyped_storage()
    storage.resize_(0)
    sizes.append(w.untyped_storage().nbytes())
    storage.resize_(32)
    w.data.fill_(1.0)
x = torch.ones(8)
capsule = torch.utils.dlpack.to_dlpack(x)
x.untyped_storage().resize_(0)
y = x.view(8)
sizes.append(x.untyped_storage().nbytes())
"""
    plain, recorded = both(tmp_path, text, "full")
    assert recorded.namespace["sizes"] == plain["sizes"] == [0, 0, 0]


def test_a_checksum_tells_of_written_bytes_only() -> None:
    tensor = torch.ones(300_000)
    storage = tensor.untyped_storage()
    before = checksum(storage)
    assert not checksum(storage).written(before)
    tensor.fill_(2)
    assert checksum(storage).written(before)
    storage.resize_(0)
    assert not checksum(storage).written(before)
    assert not fits(storage, 0, (3,), (1,), 4)
    storage.resize_(8)  # it still can be
    assert fits(storage, 0, (2, 0), (1, 1), 4)
    assert not fits(storage, 1, (2,), (1,), 4)


def test_norms_of_what_can_be_read(tmp_path: Path) -> None:
    text = """
import torch
a, b = (torch.nn.Parameter(torch.full((4,), value)) for value in (1.0, 2.0))

class Idle(torch.optim.Optimizer):
    def step(self):
        pass

optimizer = Idle([a, b], {"lr": 0.1})
(a.sum() + b.sum()).backward()
b.untyped_storage().resize_(0)
optimizer.step()
"""
    for detail in ("full", "auto"):
        _, recorded = both(tmp_path, text, detail)
        (norms,) = [step.row.norms for step in recorded.steps if step.row.norms]
        optimizers = list(recorded.source.optimizers().values())
        assert all(isinstance(one, Optimizer) for one in optimizers)
        assert norms == ((optimizers[0].groups[0][0], 2.0, 2.0),)


ADDED = """
import torch
torch.manual_seed(7)
versions = []
def show(*leaves): versions.append([leaf.grad._version for leaf in leaves])
for dtype in (torch.float32, torch.float64, torch.bfloat16, torch.complex64):
    for hook in (None, lambda g: g * 2, lambda g: None):
        x = torch.randn(4, 4, requires_grad=True, dtype=dtype)
        w = torch.randn(4, 4, requires_grad=True, dtype=dtype)
        y = x @ w + x.t() * 2 + x[:2].repeat(2, 1) + torch.cat([x[2:], x[:2]])
        for tensor in (x, y):
            if hook: tensor.register_hook(hook)
        z = torch.tanh(y) @ x
        for _ in range(2):
            z.abs().sum().backward(retain_graph=True)
            show(x, w)
class Twice(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x): return x * 2
    @staticmethod
    def backward(ctx, g): return g + g
x, big = torch.randn(6, 10, requires_grad=True), torch.randn(300, 300, requires_grad=True)
(Twice.apply(x) + Twice.apply(x) * x + x.sum(1, keepdim=True)).sum().backward()
(big @ big.t() + big).sum().backward()
show(x, big)
"""


@pytest.mark.parametrize("detail", ["graph", "full"])
def test_gradients_are_added_to_in_place_as_without_us(tmp_path: Path, detail: str) -> None:
    """torch does so only where nothing else holds a gradient's storage, and no Python object stands for it."""
    script = tmp_path / "script.py"
    script.write_text(ADDED)
    plain, recorded = run_plain(script)["versions"], record_script(script, detail)
    assert recorded.faults == ()
    assert recorded.namespace["versions"] == plain
    assert [1] in [list(set(versions)) for versions in plain]


def test_memory_that_is_gone_is_told_without_its_storage() -> None:
    whole = torch.ones(10)
    part, odd = whole[3:], whole[3::2]
    assert lies_at(part, passing=True) == part.data_ptr() != 0
    assert lies_at(part) == part.data_ptr()
    assert readable(part, passing=True)
    assert readable(odd, passing=True)
    whole.untyped_storage().resize_(0)
    assert lies_at(whole, passing=True) == lies_at(part, passing=True) == 0
    assert not readable(whole, passing=True)
    assert not readable(odd, passing=True)


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16", "int64"])
def test_the_values_of_a_view_are_its_own(tmp_path: Path, dtype: str) -> None:
    text = f"""
import torch
x = torch.arange(10, dtype=torch.{dtype})
views = [x[3:7], x.view(2, 5)[1], x[1::3], x.flip(0), x.view(5, 2).t()[1], x[9:], x[2:6].view(2, 2).t()]
"""
    recorded = record_text(tmp_path, text)
    step = recorded.trace.step(0)
    numbers = {sample.subject: sample.values for sample in step.samples if sample.what == "value"}
    results = [op.outputs[0] for op in step.moments if op.kind == "op" and op.outputs]
    told = [numbers[number] for number in results]
    for view in recorded.namespace["views"]:
        assert tuple(float(value) for value in view.reshape(-1).tolist()) in told
    assert recorded.faults == ()
