"""No tensor, grad node or graph lives a line longer because it is recorded."""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.capturing import Recording, new_recording, run_plain

# Each script notes in `deaths` after which mark a watched object was gone. `watch(name, object)` holds it weakly.
PRELUDE = """\
import weakref
import torch

torch.manual_seed(0)
deaths = []
now = ["start"]


def watch(name, thing, deaths=deaths, now=now):
    weakref.finalize(thing, lambda: deaths.append((name, now[0])))


def mark(text):
    now[0] = text


class Noted(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        watch("ctx", ctx)
        ctx.save_for_backward(x)
        return x * 2

    @staticmethod
    def backward(ctx, grad):
        return grad * 2


"""

SCRIPTS = {
    "deleting a loss": """
w = torch.randn(4, 4, requires_grad=True)
h = (w * 2).tanh()
watch("h", h)
loss = h.sum()
watch("loss", loss)
mark("before backward")
loss.backward()
mark("after backward")
del h
mark("after del h")
del loss
mark("after del loss")
""",
    "a graph that no backward frees": """
w = torch.randn(4, 4, requires_grad=True)
x = w * 2
watch("x", x)
y = x.exp()
watch("y", y)
z = y.sum()
mark("all made")
del x, y
mark("only z is left")
del z
mark("nothing is left")
""",
    "rebinding in a loop": """
w = torch.randn(3, requires_grad=True)
for i in range(5):
    mark(f"top {i}")
    x = torch.randn(3)
    watch(f"x{i}", x)
    y = (w * x).exp()
    watch(f"y{i}", y)
    loss = y.sum()
    watch(f"loss{i}", loss)
    mark(f"backward {i}")
    loss.backward()
    mark(f"end {i}")
    watch(f"grad{i}", w.grad)
    w.grad = None
    mark(f"cleared {i}")
mark("over")
""",
    "a step of training": """
model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Tanh(), torch.nn.Linear(4, 1))
optimizer = torch.optim.Adam(model.parameters())
for i in range(5):
    mark(f"top {i}")
    x = torch.randn(8, 3)
    watch(f"x{i}", x)
    hidden = model[:2](x)
    watch(f"hidden{i}", hidden)
    loss = model[2](hidden).pow(2).mean()
    watch(f"loss{i}", loss)
    mark(f"zero {i}")
    optimizer.zero_grad()
    mark(f"backward {i}")
    loss.backward()
    watch(f"grad{i}", model[0].weight.grad)
    mark(f"step {i}")
    optimizer.step()
mark("over")
del model, optimizer
mark("no model")
""",
    "grad nodes": """
x = torch.randn(3, requires_grad=True)
y = Noted.apply(x)
mark("made")
z = y.sum()
del y
mark("only z")
z.backward()
mark("backward done")
del z
mark("gone")
""",
    "grad nodes without a backward": """
x = torch.randn(3, requires_grad=True)
y = Noted.apply(x).sin().sum()
mark("made")
del y
mark("gone")
""",
    "saved tensors": """
w = torch.randn(3, requires_grad=True)
k = torch.randn(3)
watch("k", k)
y = w * k
mark("saved")
del k
mark("k is only saved")
y.sum().backward()
mark("freed by the backward")
y = None
mark("y is gone")
""",
    "create_graph": """
x = torch.randn(3, requires_grad=True)
y = (x ** 3).sum()
(g,) = torch.autograd.grad(y, x, create_graph=True)
watch("g", g)
mark("grad")
del y
mark("no y")
g.sum().backward()
mark("second backward")
del g
mark("no g")
x.grad = None
mark("no grad")
""",
    "hooks and retained grads": """
x = torch.randn(3, requires_grad=True)
y = x * 2
watch("y", y)
y.retain_grad()
y.register_hook(lambda grad: watch("grad in hook", grad))
y.sum().backward()
watch("y.grad", y.grad)
mark("backward")
y.grad = None
mark("grad cleared")
del y
mark("y gone")
""",
    "views and in-place": """
a = torch.zeros(3, 3)
watch("a", a)
w = torch.randn(3, requires_grad=True)
v = a[0]
watch("v", v)
v.mul_(w)
mark("written")
del v
mark("no view")
s = a.sum()
del a
mark("no base")
s.backward()
mark("backward")
del s
mark("over")
""",
    "an exception": """
w = torch.randn(3, requires_grad=True)


def fail():
    inside = w * 3
    watch("inside", inside)
    return inside @ torch.randn(7)


try:
    fail()
except RuntimeError:
    mark("caught")
mark("after")
""",
    "an exception that is kept": """
w = torch.randn(3, requires_grad=True)


def fail():
    inside = w * 3
    watch("inside", inside)
    temporary = [torch.randn(7)]
    watch("temporary", temporary[0])
    return inside @ temporary.pop()


def fail_at_the_surface():
    temporary = [torch.randn(7, 7)]
    watch("logits", temporary[0])
    return torch.nn.functional.cross_entropy(temporary.pop(), torch.zeros(3, dtype=torch.long))


kept = []
for attempt in (fail, fail_at_the_surface, fail):
    try:
        attempt()
    except (RuntimeError, ValueError) as error:
        kept.append(error)
    mark("caught by " + attempt.__name__)
for _ in range(3):
    kept.pop()
    mark("dropped one")
""",
    "a failing backward that is kept": """
w = torch.randn(3, requires_grad=True)
y = w.exp()
watch("y", y)
k = torch.randn(3, requires_grad=True)
watch("k", k)
z = (y * k).sum()
del k
y.mul_(2)
try:
    z.backward()
except RuntimeError as error:
    kept = error
mark("kept")
del y
mark("no y")
del z
mark("no z")
kept = None
mark("no error")
""",
    "a failing backward": """
w = torch.randn(3, requires_grad=True)
y = w.exp()
watch("y", y)
y.mul_(2)
try:
    y.sum().backward()
except RuntimeError:
    mark("caught")
mark("after")
del y
mark("gone")
""",
    "modules and their results": """
class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = torch.nn.Linear(3, 3)

    def forward(self, x):
        inner = self.fc(x)
        watch("inner", inner)
        mark("inside")
        return inner.relu()


net = Net()
watch("net", net)
out = net(torch.randn(2, 3))
watch("out", out)
mark("called")
out = None
mark("out is gone")
del net
mark("net is gone")
""",
    "evaluation and moves": """
net = torch.nn.Linear(3, 3)
old = net.weight
with torch.no_grad():
    for i in range(3):
        mark(f"top {i}")
        out = net(torch.randn(2, 3))
        watch(f"out{i}", out)
net.double()
mark("moved")
copy = net.weight.to(torch.float16)
watch("copy", copy)
del copy
mark("over")
""",
    "torch.func": """
x = torch.randn(3)
watch("x", x)
g = torch.func.grad(lambda t: (t ** 2).sum())(x)
watch("g", g)
mark("made")
del g
mark("no g")
v = torch.func.vmap(lambda t: t * 2)(x)
watch("v", v)
del v, x
mark("over")
""",
}


@pytest.fixture
def no_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def deaths(script: Path, detail: str | None) -> list[tuple[str, str]]:
    """What died where; the recording outlives the script's last line."""
    if detail is None:
        return list(run_plain(script)["deaths"])
    made: Recording = new_recording(detail)
    made.recorder.start()
    namespace = run_plain(script)
    found = list(namespace["deaths"])
    error = namespace["__error__"]
    namespace.clear()
    made.recorder.stop()
    assert error is None
    assert made.faults == ()
    return found


@pytest.mark.usefixtures("no_collector")
@pytest.mark.filterwarnings("ignore:Using backward:UserWarning")
@pytest.mark.parametrize("detail", ["auto", "full", "graph", "steps"])
@pytest.mark.parametrize("name", SCRIPTS)
def test_everything_dies_where_it_would(tmp_path: Path, name: str, detail: str) -> None:
    script = tmp_path / "script.py"
    script.write_text(PRELUDE + SCRIPTS[name])
    plain = deaths(script, None)
    assert len(plain) > 0
    assert deaths(script, detail) == plain


MEMORY = """\
import sys
import threading
import torch

torch.set_num_threads(1)
torch.manual_seed(0)
SIZE = 1_000_000


def alive():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096


weights = [torch.randn(SIZE, requires_grad=True) for _ in range(3)]
optimizer = torch.optim.SGD(weights, lr=1e-3)
peak = after = 0
for step in range(5):
    x = torch.ones(SIZE)
    for weight in weights:
        for _ in range(4):
            x = torch.sin(x * weight)
            peak = max(peak, alive())
    loss = x.mean()
    optimizer.zero_grad()
    loss.backward()
    peak = max(peak, alive())
    optimizer.step()
    del x, loss
    after = max(after, alive())
"""

MEASURE = """\
import json, sys
from pathlib import Path
from tests.capturing import new_recording, run_plain

made = None
if sys.argv[2] != "plain":
    made = new_recording(sys.argv[2])
    made.recorder.start()
found = run_plain(Path(sys.argv[1]))
if made is not None:
    made.recorder.stop()
    assert made.faults == (), made.faults
assert found["__error__"] is None, found["__error__"]
print(json.dumps([found["peak"], found["after"]]))
"""


def measured(folder: Path, how: str) -> tuple[int, int]:
    """Resident bytes of the memory script: the peak, and the most that was left after a step."""
    script = folder / "memory.py"
    script.write_text(MEMORY)
    command = [sys.executable, "-c", MEASURE, str(script), how]
    environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536"}  # freed tensors leave the process at once
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[2],
        env=environment,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    peak, after = json.loads(done.stdout)
    return peak, after


@pytest.fixture(scope="module")
def plain_memory(tmp_path_factory: pytest.TempPathFactory) -> tuple[int, int]:
    return measured(tmp_path_factory.mktemp("plain"), "plain")


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads the resident memory from /proc")
@pytest.mark.parametrize("detail", ["full", "graph", "steps"])
def test_the_peak_of_memory_is_the_same(tmp_path: Path, plain_memory: tuple[int, int], detail: str) -> None:
    peak, after = plain_memory
    tensor = 4_000_000
    assert peak - after > 20 * tensor  # the peak is mostly the script's graph
    recorded_peak, recorded_after = measured(tmp_path, detail)
    assert recorded_peak < peak + 2 * tensor  # the trace, and a temporary of a statistic; no graph, no batch
    assert recorded_after < after + 2 * tensor
