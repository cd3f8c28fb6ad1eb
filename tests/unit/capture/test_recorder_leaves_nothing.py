"""However a recording ends, the process is as it was; whatever fails in it, the script does not notice."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.overrides import TorchFunctionMode

from gradscope.capture import recorder
from gradscope.capture.emit import progress, step_rows, step_writer
from gradscope.capture.hooks import (
    backward_run,
    custom_functions,
    function_mode,
    module_calls,
    module_changes,
    module_names,
    optimizer_groups,
    optimizers,
    regions,
)
from gradscope.capture.journal import (
    gradients,
    here,
    journal,
    leaves,
    measurements,
    mode_switches,
    ops,
    updates,
    writes,
)
from gradscope.capture.measure import stats, stats_batch
from gradscope.capture.recorder import active_recorders
from gradscope.capture.step import draft, loop_detection, patterns, ready_gradients, segmenter, tensor_registry
from gradscope.errors import AlreadyRecording
from gradscope.render.summary import summary
from tests.capturing import bits, new_recording, record_text, recording, run_plain
from tests.conftest import leftovers, snapshot, torch_state

TRAIN = """\
import torch

torch.manual_seed(0)
model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4), torch.nn.ReLU(), torch.nn.Linear(4, 1))
optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 2)
caught = []
for step in range(4):
    x = torch.randn(8, 3)
    with torch.autocast("cpu", torch.bfloat16, enabled=step == 2):
        loss = model(x).float().pow(2).mean()
    optimizer.zero_grad()
    loss.backward()
    y = x.clone()
    y[0] = 1
    y.data.mul_(2)
    with torch.no_grad():
        model.eval()
        model(y)
        model.train()
    try:
        torch.ones(2) @ torch.ones(3)
    except RuntimeError as error:
        caught.append(str(error))
    z = (model[0].weight * 2).requires_grad_()
    z.retain_grad()
    z.sum().backward()
    optimizer.step()
    scheduler.step()
model.double()
"""


# -- the ends of a recording -----------------------------------------------------------------------------------


@pytest.mark.parametrize("detail", ["auto", "steps", "graph", "full"])
def test_after_stop(tmp_path: Path, detail: str) -> None:
    before, state = snapshot(), torch_state()
    recorded = record_text(tmp_path, TRAIN, detail)
    assert recorded.error is None
    assert recorded.faults == ()
    assert leftovers(before, state) == []
    assert not active_recorders()


@pytest.mark.parametrize("kind", [ValueError, KeyboardInterrupt, SystemExit, GeneratorExit])
@pytest.mark.parametrize("where", ["", "    ", "with torch.no_grad():", "with torch.autocast('cpu'):", "model(x):"])
def test_after_an_exception(tmp_path: Path, kind: type[BaseException], where: str) -> None:
    before, state = snapshot(), torch_state()
    lines = [
        "import torch",
        "w = torch.ones(2, requires_grad=True)",
        "class Net(torch.nn.Module):",
        "    def forward(self, x):",
        f"        raise {kind.__name__}('inside')",
        "x = w * 2",
    ]
    if where == "model(x):":
        lines.append("Net()(x)")
    elif where == "    ":
        lines += ["for _ in range(2):", "    w.sum().backward()", f"    raise {kind.__name__}('inside')"]
    elif where:
        lines += [where, "    y = x * 2", f"    raise {kind.__name__}('inside')"]
    else:
        lines.append(f"raise {kind.__name__}('inside')")
    recorded = record_text(tmp_path, "\n".join(lines) + "\n")
    assert type(recorded.error) is kind
    assert recorded.faults == ()
    assert leftovers(before, state) == []
    if kind is not SystemExit:
        failure = recorded.moments("failure")[-1]
        assert (failure.type, failure.message, failure.caught) == (kind.__name__, "inside", False)
        assert recorded.site(failure).code == f"raise {kind.__name__}('inside')"
        assert recorded.trace.info.status == "failed"
        assert "inside" in (recorded.trace.info.traceback or "")
        assert "gradscope" not in (recorded.trace.info.traceback or "").replace(str(tmp_path), "")


def test_after_an_interrupt_inside_a_backward(tmp_path: Path) -> None:
    before, state = snapshot(), torch_state()
    text = """\
import torch
w = torch.ones(2, requires_grad=True)
y = w * 2
def stop(grad):
    raise KeyboardInterrupt
y.register_hook(stop)
y.sum().backward()
"""
    recorded = record_text(tmp_path, text)
    assert isinstance(recorded.error, KeyboardInterrupt)
    assert leftovers(before, state) == []
    (backward,) = recorded.moments("backward")
    assert backward.error == "KeyboardInterrupt", "no colon without a message"
    assert recorded.trace.info.error == "KeyboardInterrupt"
    assert recorded.trace.info.interrupted


def test_after_an_optimizer_step_that_raised(tmp_path: Path) -> None:
    text = """\
import torch
class Bad(torch.optim.SGD):
    def step(self, closure=None):
        super().step()
        raise RuntimeError("in the step")
w = torch.nn.Parameter(torch.ones(2))
bad = Bad([w], lr=1.0)
good = torch.optim.SGD([w], lr=1.0)
(w * 2).sum().backward()
try:
    bad.step()
except RuntimeError:
    pass
after = w * 3
w.grad = None
(w * w).sum().backward()
good.step()
"""
    before, state = snapshot(), torch_state()
    recorded = record_text(tmp_path, text)
    assert recorded.error is None
    assert recorded.faults == ()
    assert leftovers(before, state) == []
    assert "after" in [tensor.name for step in recorded.steps for tensor in step.tensors]
    assert len(recorded.moments("optimizer")) >= 1


class Marking(TorchFunctionMode):
    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return func(*args, **(kwargs or {}))


def test_modes_of_the_script_that_are_left_on() -> None:
    made = new_recording()
    made.recorder.start()
    first, second = Marking(), Marking()
    first.__enter__()
    torch.ones(2)
    second.__enter__()
    torch.ones(3)
    made.recorder.stop()
    try:
        assert torch.overrides._get_current_function_mode_stack() == [first, second]
        assert made.recorder.mode not in torch.overrides._get_current_function_mode_stack()
    finally:
        second.__exit__(None, None, None)
        first.__exit__(None, None, None)
    assert made.ops() == ["ones", "ones"]
    assert made.faults == ()


def test_patches_of_the_script_stay_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    original = torch.nn.Module.train
    with recording() as recorded:
        ours = torch.nn.Module.train

        def mine(module: torch.nn.Module, mode: bool = True) -> torch.nn.Module:
            return ours(module, mode)

        torch.nn.Module.train = mine  # type: ignore[method-assign]
        torch.nn.Linear(1, 1).eval()
    assert torch.nn.Module.train is mine
    torch.nn.Linear(1, 1).eval()  # through ours, which is idle now
    torch.nn.Module.train = original  # type: ignore[method-assign]
    assert len(recorded.moments("mode")) == 1


def test_a_recorder_that_runs_is_not_started_again() -> None:
    with recording() as recorded:
        with pytest.raises(AlreadyRecording):
            recorded.recorder.start()
        torch.ones(1)
    assert recorded.ops() == ["ones"]


# -- other threads and processes -----------------------------------------------------------------------------


def test_a_child_that_another_thread_forked_meanwhile_collects_garbage(tmp_path: Path) -> None:
    """Python's collector waits while a backward's graph is walked: here the walk lasts until the child has ended."""
    code = """
import gc, os, threading, warnings
import torch
from gradscope.capture.hooks import backward_run

asked, ended, seen = threading.Event(), threading.Event(), []


def fork():
    asked.wait()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Python 3.12 warns of any fork where there are threads
        child = os.fork()
    if not child:
        os._exit(0 if gc.isenabled() else 3)
    seen.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    ended.set()


def walking(roots):
    seen.append(gc.isenabled())
    asked.set()
    ended.wait()
    return walk(roots)


walk, backward_run.walk = backward_run.walk, walking
other = threading.Thread(target=fork)
other.start()
try:
    torch.ones(2, requires_grad=True).sum().backward()
finally:
    backward_run.walk = walk
    other.join()
"""
    made = record_text(tmp_path, code, "graph")
    assert (made.error, made.faults) == (None, ())
    assert made.namespace["seen"] == [False, 0]


def test_a_forked_child_records_nothing(tmp_path: Path) -> None:
    text = """\
import os
import torch
before = torch.ones(2, requires_grad=True)
read, write = os.pipe()
child = os.fork()
if child == 0:
    status = 1
    try:
        model = torch.nn.Linear(2, 2)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        model(torch.ones(1, 2)).sum().backward()
        optimizer.step()
        optimizer.zero_grad()
        model.eval()
        modes = torch._C._len_torch_function_stack()
        clean = "gradscope" not in torch.nn.Module.__call__.__code__.co_filename
        os.write(write, f"{modes} {clean}".encode())
        status = 0
    finally:
        os._exit(status)
os.close(write)
said = os.read(read, 100).decode()
status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
after = before * 2
"""
    recorded = record_text(tmp_path, text)
    assert recorded.error is None
    assert recorded.faults == ()
    assert (recorded.namespace["said"], recorded.namespace["status"]) == ("0 True", 0)
    assert recorded.ops() == ["ones", "mul"]


def test_workers_of_a_data_loader(tmp_path: Path) -> None:
    text = """\
import torch
from torch.utils.data import DataLoader, Dataset

class Squares(Dataset):
    def __len__(self):
        return 8
    def __getitem__(self, index):
        worker = torch.utils.data.get_worker_info()
        return torch.tensor([float(index)]) ** 2, torch._C._len_torch_function_stack() if worker else -1

loader = DataLoader(Squares(), batch_size=2, num_workers=2)
seen = [(batch.flatten().tolist(), modes.tolist()) for batch, modes in loader]
"""
    recorded = record_text(tmp_path, text)
    assert recorded.error is None
    assert recorded.faults == ()
    assert recorded.namespace["seen"] == [
        ([0.0, 1.0], [0, 0]), ([4.0, 9.0], [0, 0]), ([16.0, 25.0], [0, 0]), ([36.0, 49.0], [0, 0])
    ]  # fmt: skip


def test_other_threads_run_unseen(tmp_path: Path) -> None:
    text = """\
import threading
import torch

w = torch.ones(2, requires_grad=True)
model = torch.nn.Linear(2, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
results = []

def work():
    for _ in range(20):
        optimizer.zero_grad()
        with torch.no_grad():
            model.eval()
        loss = (model(torch.ones(3, 2)) * w.detach()).sum()
        loss.backward()
        optimizer.step()
    results.append(loss.item())

workers = [threading.Thread(target=work) for _ in range(1)]
for worker in workers:
    worker.start()
here = [(w * i).sum() for i in range(50)]
torch.stack(here).sum().backward()
for worker in workers:
    worker.join()
"""
    script = tmp_path / "plain.py"
    script.write_text(text)
    plain = run_plain(script)
    recorded = record_text(tmp_path, text)
    assert recorded.error is None
    assert recorded.faults == ("training in another thread: only the thread that starts a recording is recorded",)
    assert "  not recorded training in another thread" in summary(recorded.trace)
    assert len(recorded.namespace["results"]) == 1
    assert bits(recorded.namespace["w"].grad) == bits(plain["w"].grad)
    assert len(recorded.moments("backward")) == 1
    assert recorded.moments("optimizer") == []
    assert len([name for name in recorded.ops() if name == "mul"]) == 50


def test_memory_that_was_measured_can_still_grow(tmp_path: Path) -> None:
    recorded = record_text(tmp_path, "import torch\nx = torch.ones(4) * 2\nx.resize_(100).zero_()\n", "full")
    assert recorded.error is None
    assert recorded.ops() == ["ones", "mul", "resize_", "zero_"]


def test_stopped_from_another_thread() -> None:
    made = new_recording()
    made.recorder.start()
    torch.ones(2)
    errors: list[BaseException] = []

    def stop() -> None:
        try:
            made.recorder.stop()
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=stop)
    thread.start()
    thread.join()
    try:
        assert errors == []
        torch.ones(3)
        assert made.ops() == ["ones"]
    finally:
        while torch._C._len_torch_function_stack():
            torch.overrides._pop_mode()


# -- errors of the recorder's own -------------------------------------------------------------------------------


def _methods(owner: type) -> list[tuple[type, str]]:
    return [
        (owner, name)
        for name, value in vars(owner).items()
        if callable(value) and not isinstance(value, type) and not name.startswith("__")
    ]


def _these(owner: Any, *names: str) -> list[tuple[Any, str]]:
    return [(owner, name) for name in names]


BROKEN: list[tuple[Any, str]] = [
    *_methods(journal.Journal),
    *_methods(here.Here),
    *_methods(measurements.Measurements),
    *_methods(ops.Ops),
    *_methods(writes.Versions),
    *_methods(leaves.Leaves),
    *_methods(gradients.Gradients),
    *_methods(mode_switches.Switches),
    *_methods(updates.Updates),
    (custom_functions.FunctionWatch, "_returned"),
    *_methods(tensor_registry.TensorTable),
    *_methods(stats.Statistics),
    *_methods(stats_batch.Slab),
    *_methods(segmenter.StepTracker),
    *_these(segmenter, "builds_graph", "first_walked", "kind_of", "pieces"),
    *_methods(ready_gradients.ReadyGradients),
    *_methods(loop_detection.Loops),
    *_these(function_mode.OpMode, "told", "written", "_moved"),
    *_methods(patterns.Patterns),
    *_methods(draft.Draft),
    *_these(backward_run.BackwardRun, "__init__", "_walk", "finished", "failed"),
    *_these(module_calls.ModuleCallWatch, "_root_begins"),
    *_these(module_names.ModuleNames, "meet", "scan"),
    *_these(module_changes.ModuleChangeWatch, "_moved"),
    *_these(optimizer_groups.OptimizerGroups, "met", "number", "current", "remember"),
    *_these(optimizers.OptimizerWatch, "_measure"),
    (regions.ModeWatch, "_switch"),
    *_these(recorder.Recorder, "_close_step", "_open_draft", "_record_failure"),
    *_methods(step_rows.Rows),
    *_methods(step_writer.StepWriter),
    *_these(function_mode, "tensors_in", "describe", "read_given"),
    (tensor_registry, "read_facts"),
    (progress, "template_of"),
    *_methods(progress.Progress),
]
# Called where nothing is caught: an attribute read, a phase noted, or what notes the fault itself.
NOT_BROKEN = {
    "recording", "follows", "mine", "fault", "guard", "call_failed", "call_ends", "call_left", "detail_has_graph",
    "begins", "returned_to_script",
}  # fmt: skip


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    return outcome(trained(tmp_path_factory.mktemp("plain")))


def trained(folder: Path) -> dict[str, Any]:
    """What TRAIN leaves in its namespace."""
    script = folder / "script.py"
    script.write_text(TRAIN)
    return run_plain(script)


def outcome(namespace: dict[str, Any]) -> list[Any]:
    state = [bits(tensor) for tensor in namespace["model"].state_dict().values()]
    return [state, namespace["caught"], bits(namespace["z"].grad), torch.get_rng_state().numpy().tobytes()]


@pytest.mark.parametrize(("owner", "name"), [item for item in BROKEN if item[1] not in NOT_BROKEN])
def test_a_fault_of_the_recorder_never_reaches_the_script(
    owner: Any, name: str, tmp_path: Path, expected: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []

    def broken(*args: Any, **kwargs: Any) -> Any:
        calls.append(name)
        raise LookupError(f"{name} is broken")

    before, state = snapshot(), torch_state()
    made = new_recording("full")
    made.recorder.start()
    with monkeypatch.context() as patch:
        patch.setattr(owner, name, staticmethod(broken) if isinstance(vars(owner)[name], staticmethod) else broken)
        namespace = trained(tmp_path)
        made.recorder.stop(namespace["__error__"])
    assert namespace["__error__"] is None
    assert outcome(namespace) == expected
    assert leftovers(before, state) == []
    assert not torch.is_autocast_enabled("cpu")
    if calls:
        assert any("is broken" in fault for fault in made.faults)


def test_a_sink_that_fails_never_reaches_the_script(tmp_path: Path, expected: list[Any]) -> None:
    made = new_recording("full")

    def broken(*args: Any) -> None:
        raise OSError("disk full")

    made.recorder.start()
    for name in (
        "put_site",
        "put_stack",
        "put_module",
        "put_parameter",
        "put_optimizer",
        "put_template",
        "put_growth",
        "put_step",
    ):
        setattr(made.source, name, broken)
    namespace = trained(tmp_path)
    made.recorder.stop()
    assert namespace["__error__"] is None
    assert outcome(namespace) == expected
    assert made.faults
