"""Each demo runs the same plain and traced, and its trace holds the fact that the demo teaches."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import pytest

import gradscope
from gradscope.model.graph import GraphNode, NodeKind
from gradscope.model.moments import (
    Backward,
    Failure,
    LeafChange,
    ModeChange,
    Moment,
    Move,
    Mutation,
    OpCall,
    SchedulerStep,
)
from gradscope.model.records import Phase, StepKind, Tensor
from gradscope.model.trace import Step, Trace
from tests.scripts import ROOT, Ran, ScriptServer

DEMOS = sorted((ROOT / "demos").glob("*.py"))

Traced = Callable[[str], Trace]
M = TypeVar("M", bound=Moment)


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ScriptServer]:
    """Warnings are errors, and there is no GPU."""
    with ScriptServer(tmp_path_factory.mktemp("strict"), PYTHONWARNINGS="error", CUDA_VISIBLE_DEVICES="") as server:
        yield server


@dataclass(frozen=True)
class Run:
    """One demo, traced: how the process ended, and what it left in the folder it ran in."""

    done: Ran
    left: list[str]
    trace: Trace


@pytest.fixture(scope="module")
def runs(strict: ScriptServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Run]]:
    """Traces a demo the first time it is asked for."""
    found: dict[str, Run] = {}

    def run_of(name: str) -> Run:
        if name not in found:
            folder = tmp_path_factory.mktemp(name)
            done = strict.traced("--quiet", str(ROOT / "demos" / f"{name}.py"), folder=folder)
            left = sorted(path.name for path in folder.iterdir())
            found[name] = Run(done, left, gradscope.load(folder / f"{name}.gradscope"))
        return found[name]

    yield run_of
    for one in found.values():
        one.trace.close()


@pytest.fixture
def traces(runs: Callable[[str], Run]) -> Traced:
    """The trace of a demo."""
    return lambda name: runs(name).trace


def steps(trace: Trace) -> list[Step]:
    """Every step, what ran before the first one included."""
    return [step for step in [trace.setup, *map(trace.step, trace.steps)] if step is not None]


def moments(trace: Trace, kind: type[M]) -> list[M]:
    return [moment for step in steps(trace) for moment in step.moments if isinstance(moment, kind)]


def tensor(trace: Trace, name: str) -> Tensor:
    """The first tensor of that name."""
    return next(item for step in steps(trace) for item in step.tensors if item.name == name)


def node(trace: Trace, name: str) -> GraphNode:
    """The tensor of that name in the picture of the last backward."""
    step = trace.last_backward()
    assert step is not None
    return next(item for item in step.graph("both").nodes if item.name == name and item.kind is NodeKind.TENSOR)


@pytest.mark.parametrize("demo", DEMOS, ids=[demo.stem for demo in DEMOS])
def test_plain_and_traced_are_the_same(
    demo: Path, strict: ScriptServer, tmp_path: Path, runs: Callable[[str], Run]
) -> None:
    plain = strict.plain(str(demo), folder=tmp_path)
    assert plain.status == 0, plain.stderr
    assert plain.stdout
    assert plain.stderr == ""
    assert list(tmp_path.iterdir()) == [], "a demo writes nothing where it runs"

    traced = runs(demo.stem)
    assert (traced.done.status, traced.done.stdout, traced.done.stderr) == (0, plain.stdout, "")
    assert traced.left == [f"{demo.stem}.gradscope"]


@pytest.mark.parametrize("demo", DEMOS, ids=[demo.stem for demo in DEMOS])
def test_the_command_in_a_demos_comment_works(demo: Path, tmp_path: Path) -> None:
    shutil.copytree(ROOT / "demos", tmp_path / "demos", ignore=shutil.ignore_patterns("__pycache__"))
    (command,) = re.findall(r"^#   (gradscope .+)$", demo.read_text(encoding="utf-8"), re.M)
    path = str(Path(sys.executable).parent) + os.pathsep + os.environ["PATH"]
    done = subprocess.run(
        ["bash", "-c", command],
        cwd=tmp_path,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    pictures = re.findall(r"\S+\.svg", command)
    assert all((tmp_path / picture).read_text(encoding="utf-8").rstrip().endswith("</svg>") for picture in pictures)
    assert pictures or (tmp_path / f"{demo.stem}.gradscope").is_file()


def test_01_the_leaf_table(traces: Traced) -> None:
    trace = traces("01_a_b_2")
    for name, grad in (("A", 40.0), ("B", 20.0)):
        leaf = node(trace, name)
        assert (leaf.requires_grad, leaf.is_leaf, leaf.grad_fn, leaf.grad) == (True, True, None, (grad,))
    for name in ("F", "G"):
        result = node(trace, name)
        assert (result.requires_grad, result.is_leaf, result.grad_fn, result.grad) == (
            True,
            False,
            "MulBackward0",
            None,
        )
    made, computed = tensor(trace, "C"), tensor(trace, "D")
    assert (made.requires_grad, made.is_leaf) == (False, True)
    assert (computed.requires_grad, computed.is_leaf) == (False, True)
    assert computed.made_by is not None


def test_02_requires_grad_spreads_and_a_frozen_branch_does_not(traces: Traced) -> None:
    trace = traces("02_requires_grad")
    assert tensor(trace, "spread").requires_grad
    assert not tensor(trace, "hidden").requires_grad
    assert (
        sorted(item.requires_grad for item in trace.parameters() if item.role == "parameter")
        == [False] * 2 + [True] * 2
    )
    step = trace.last_backward()
    assert step is not None
    filled = [item for item in step.graph("backward").nodes if item.kind is NodeKind.ACCUMULATE_GRAD]
    assert len(filled) == 2


def test_03_three_ways_to_stop_autograd(traces: Traced) -> None:
    trace = traces("03_no_grad")
    assert {change.mode for change in moments(trace, ModeChange)} >= {"grad", "inference"}
    (detach,) = (call for call in moments(trace, OpCall) if call.name == "detach")
    assert trace.source_lines(detach.stack)[0].code.strip() == "b = y.detach()"
    assert (tensor(trace, "y").requires_grad, tensor(trace, "b").requires_grad) == (True, False)
    assert not tensor(trace, "a").requires_grad
    untracked = tensor(trace, "c")
    assert untracked.is_inference
    assert untracked.version is None
    assert node(trace, "x").grad == (6.0, 6.0, 6.0)


def test_04_eval_is_a_mode_of_modules(traces: Traced) -> None:
    trace = traces("04_train_eval")
    assert "training" in {change.mode for change in moments(trace, ModeChange)}
    buffers = {item.name for item in trace.parameters() if item.role == "buffer"}
    assert {"1.running_mean", "1.running_var"} <= buffers
    assert trace.last_backward() is not None


def test_05_the_version_counter(traces: Traced) -> None:
    trace = traces("05_version_counter")
    number = tensor(trace, "y").number
    (bump,) = (change for change in moments(trace, Mutation) if change.tensor == number)
    assert (bump.before, bump.after, bump.counted) == (0, 1, True)
    assert trace.source_lines(bump.stack)[0].code.strip() == "y.mul_(2)"
    errors = [call.error for call in moments(trace, Backward) if call.error]
    errors += [failure.message for failure in moments(trace, Failure) if failure.caught]
    assert any("modified by an inplace operation" in error for error in errors)


def test_06_retain_grad(traces: Traced) -> None:
    trace = traces("06_retain_grad")
    assert "retain_grad" in {change.cause for change in moments(trace, LeafChange)}
    kept, lost = node(trace, "F"), node(trace, "G")
    assert (kept.is_leaf, kept.retains_grad, kept.grad) == (False, True, (2.0,))
    assert (lost.is_leaf, lost.retains_grad, lost.grad) == (False, False, None)


def test_07_vector_backward(traces: Traced) -> None:
    trace = traces("07_vector_backward")
    calls = [(call.call, call.error is None) for call in moments(trace, Backward)]
    assert ("backward", True) in calls
    assert calls[-1] == ("grad", True)


def test_08_a_moved_tensor_is_a_result(traces: Traced) -> None:
    trace = traces("08_device_move")
    moves = [move for move in moments(trace, Move) if move.from_dtype == "float32" and move.to_dtype == "float64"]
    assert [move.is_leaf for move in moves[:2]] == [False, False]
    assert tensor(trace, "a_moved").grad_fn == "ToCopyBackward0"
    assert node(trace, "a").grad == (40.0,)
    assert tensor(trace, "a_there").is_leaf


def test_09_the_five_lines(traces: Traced) -> None:
    trace = traces("09_training_step")
    assert [trace.step(number).kind for number in trace.steps] == [StepKind.TRAIN] * 3
    phases = [Phase.ZERO_GRAD, Phase.FORWARD, Phase.LOSS, Phase.BACKWARD, Phase.OPTIMIZER_STEP]
    seen = [span.phase for span in trace.step(1).row.phases if span.phase in phases]
    assert list(dict.fromkeys(seen)) == phases
    losses = [trace.step(number).row.loss for number in trace.steps]
    assert losses == pytest.approx([1.035430, 1.020517, 1.006748], abs=1e-4)


def test_10_training_and_validation_are_told_apart(traces: Traced) -> None:
    trace = traces("10_classifier")
    rows = [trace.step(number).row for number in trace.steps]
    assert [row.kind for row in rows].count(StepKind.TRAIN) == 5 * 4
    assert [row.kind for row in rows].count(StepKind.EVAL) == 5 * 2
    assert all(not trace.step(row.number).graphs for row in rows if row.kind is StepKind.EVAL)
    assert all(trace.step(row.number).graphs for row in rows if row.kind is StepKind.TRAIN)
    assert len({row.template for row in rows}) < len(rows) / 2, "equal steps are stored once"
    assert {"fc1.weight", "fc3.bias"} <= {item.name for item in trace.parameters()}


def test_11_a_resnet_with_schedule_and_checkpoint(traces: Traced) -> None:
    trace = traces("11_resnet")
    rows = [trace.step(number).row for number in trace.steps]
    training = [row for row in rows if row.kind is StepKind.TRAIN]
    assert len(training) == 3 * 8
    rates = [row.learning_rates[0][2] for row in training]
    assert rates == pytest.approx([1e-2] * 8 + [5e-3] * 16)
    assert len(moments(trace, SchedulerStep)) == 3
    assert training[-1].loss == training[15].loss, "the resumed run ends where the straight run ended"
    names = {item.name for item in trace.parameters() if item.role == "buffer"}
    assert {f"{model}.layer2.0.bn1.running_mean" for model in ("model", "model (2)")} <= names, "straight and resumed"
