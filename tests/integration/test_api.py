"""The verbs of the Python API, on live tensors, recordings and files."""

from __future__ import annotations

import gc
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import gradscope
from gradscope.capture.recorder import active_recorders
from gradscope.errors import CannotWrite, NoSuchStep, NothingToDraw, UnknownName, UsageError
from gradscope.model.moments import Failure
from gradscope.model.records import StepKind


def a_b_2() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    A = torch.tensor([10.0], requires_grad=True)
    B = torch.tensor([20.0], requires_grad=True)
    F = A * B
    G = F * 2
    return A, B, F, G


def recorded(**options: object) -> gradscope.Recording:
    with gradscope.record(**options) as trace:
        a_b_2()[3].backward()
    return trace


# -- draw ------------------------------------------------------------------------------------------------


def test_draw_a_live_tensor_names_the_callers_variables() -> None:
    A, B, F, G = a_b_2()
    picture = gradscope.draw(G)
    assert {"A", "B", "F", "G"} <= {node.name for node in picture.graph.nodes}
    assert "MulBackward0" in str(picture)
    assert A.grad is None, "drawing runs no backward"
    assert all(tensor.grad is None for tensor in (A, B))
    assert F.grad_fn is not None


def test_draw_takes_names_and_a_kind() -> None:
    A, _, _, G = a_b_2()
    graph = gradscope.draw(G, kind="backward", names={"my input": A}).graph
    assert "AccumulateGrad" in {node.label for node in graph.nodes}
    assert any("my input" in (node.name or "") or "my input" in " ".join(node.notes) for node in graph.nodes)
    forward = gradscope.draw(G, kind="forward").graph
    assert not any("Backward" in node.label for node in forward.nodes)


def test_draw_saves_what_the_suffix_says(tmp_path: Path) -> None:
    G = a_b_2()[3]
    for suffix in ("svg", "dot", "json", "mmd", "graphml"):
        path = gradscope.draw(G).save(tmp_path / f"g.{suffix}")
        assert path.stat().st_size > 100
    with pytest.raises(UnknownName, match=r"\.svg"):
        gradscope.draw(G).save(tmp_path / "g.svgg")


def test_draw_a_trace_a_step_a_graph_and_a_path(tmp_path: Path) -> None:
    trace = recorded()
    path = trace.save(tmp_path / "ab2.gradscope")
    step = trace.last_backward()
    assert step is not None
    drawn = [gradscope.draw(target).graph for target in (trace, step, step.graph("both"), path, str(path))]
    assert all(graph.nodes == drawn[0].nodes for graph in drawn)
    with pytest.raises(NoSuchStep):
        gradscope.draw(trace, step=99)


def test_draw_says_why_there_is_nothing_to_draw() -> None:
    with pytest.raises(NothingToDraw, match="requires_grad_"):
        gradscope.draw(torch.ones(2))
    with gradscope.record() as nothing:
        pass
    with pytest.raises(NothingToDraw, match="nothing of torch ran"):
        gradscope.draw(nothing)
    with pytest.raises(NothingToDraw, match="its ops were not recorded"):
        gradscope.draw(recorded(detail="steps"))


def test_a_trace_without_a_backward_shows_its_forward() -> None:
    with gradscope.record() as trace:
        (torch.ones(2) * 3).sum()
    assert {node.label for node in gradscope.draw(trace, kind="forward").graph.nodes} >= {"mul", "sum"}


@pytest.mark.parametrize("kind", ["backwards", ""])
def test_draw_names_the_nearest_kind(kind: str) -> None:
    with pytest.raises(UnknownName, match="known are backward, both, forward"):
        gradscope.draw(a_b_2()[3], kind=kind)


def test_draw_wants_something_drawable() -> None:
    with pytest.raises(UsageError, match="not int"):
        gradscope.draw(3)  # type: ignore[arg-type]


# -- inspect ---------------------------------------------------------------------------------------------


def test_inspect_tells_the_four_cases() -> None:
    A, _, F, G = a_b_2()
    F.retain_grad()
    G.backward()
    rows = [gradscope.inspect(tensor) for tensor in (A, F, G, torch.ones(2))]
    assert [row.case for row in rows] == [1, 2, 2, 3]
    assert [row.grad for row in rows] == ["[40.0]", "[2.0]", None, None]
    assert [row.retains_grad for row in rows] == [False, True, False, False]
    assert gradscope.inspect(F).name == "F"


def test_inspect_knows_inference_tensors() -> None:
    with torch.inference_mode():
        row = gradscope.inspect(torch.ones(2))
    assert row.version is None


def test_inspect_wants_a_tensor() -> None:
    with pytest.raises(UsageError, match="not list"):
        gradscope.inspect([1.0])  # type: ignore[arg-type]


# -- record ----------------------------------------------------------------------------------------------


def test_a_recording_can_be_read_during_and_after_the_block() -> None:
    with gradscope.record() as trace:
        A, _, _, G = a_b_2()
        G.backward()
        gradscope.step()
        assert trace.steps == [0]
        assert trace.last_backward() is not None
        a_b_2()[3].backward()
    assert trace.steps == [0, 1]
    assert trace.info.status == "done"
    assert "2 train" in trace.summary() or "2 other" in trace.summary()
    assert A.grad is not None
    assert A.grad.item() == 40


def test_an_exception_is_recorded_and_goes_on() -> None:
    with pytest.raises(ZeroDivisionError), gradscope.record() as trace:  # noqa: PT012 - the block is what is recorded
        a_b_2()[3].backward()
        1 / 0  # noqa: B018 - raising is the test
    assert trace.info.status == "failed"
    assert trace.info.error is not None
    assert "ZeroDivisionError" in trace.info.error
    failures = [
        moment for number in trace.steps for moment in trace.step(number).moments if isinstance(moment, Failure)
    ]
    assert [failure.type for failure in failures] == ["ZeroDivisionError"]
    assert trace.last_backward() is not None
    assert not active_recorders()


def test_a_recording_inside_another() -> None:
    with gradscope.record() as outer:
        a_b_2()
        with gradscope.record() as inner:
            a_b_2()[3].backward()
        torch.ones(1)
    assert outer.last_backward() is not None
    assert inner.last_backward() is not None
    assert not active_recorders()


def test_a_recordings_file_goes_with_it() -> None:
    trace = recorded()
    assert trace.path is not None
    folder = Path(trace.path).parent
    assert folder.is_dir()
    trace.close()
    assert not folder.exists()
    with pytest.raises(UsageError, match="was closed"):
        trace.steps  # noqa: B018 - reading is the test

    forgotten = recorded()
    assert forgotten.path is not None
    folder = Path(forgotten.path).parent
    forgotten.summary()
    del forgotten
    gc.collect()
    assert not folder.exists()


def test_save_and_load(tmp_path: Path) -> None:
    trace = recorded()
    path = trace.save(tmp_path / "x.gradscope")
    trace.close()
    with gradscope.load(path) as loaded:
        assert loaded.steps == [0]
        assert loaded.step(0).kind in (StepKind.TRAIN, StepKind.OTHER)
        assert str(loaded) == loaded.summary()
        with pytest.raises(CannotWrite):
            loaded.save(tmp_path / "x.gradscope")
        copy = loaded.save(tmp_path / "y.gradscope")
        with pytest.raises(CannotWrite):
            loaded.save(copy, overwrite=False)
    assert sorted(item.name for item in tmp_path.iterdir()) == ["x.gradscope", "y.gradscope"]


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"detial": "full"}, UnknownName, "did you mean 'detail'"),
        ({"detail": "ful"}, UnknownName, "did you mean 'full'"),
        ({"every": 0}, UsageError, "1 or more"),
        ({"last": 0}, UsageError, "1 or more"),
    ],
)
def test_a_wrong_option_is_said_before_anything_starts(
    options: dict[str, object], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message), gradscope.record(**options):
        pytest.fail("the block must not run")
    assert not active_recorders()


def test_options_choose_what_is_kept() -> None:
    with gradscope.record(every=2) as trace:
        for _ in range(5):
            a_b_2()[3].backward()
            gradscope.step()
    assert trace.steps == [0, 2, 4]


def test_step_does_nothing_where_nothing_records() -> None:
    gradscope.step()
    assert not active_recorders()


def test_load_says_what_is_wrong(tmp_path: Path) -> None:
    path = tmp_path / "x.gradscope"
    path.write_text("hello")
    with pytest.raises(gradscope.GradscopeError, match=r"x\.gradscope"):
        gradscope.load(path)


def test_several_tensors_have_one_picture() -> None:
    w = torch.ones(2, requires_grad=True)
    a, b = (w * 2).sum(), (w * 3).sum()
    for several in ([a, b], (a, b), {"a": a, "b": {"deeper": b}}):
        graph = gradscope.draw(several).graph
        assert {node.name for node in graph.nodes if "root" in node.marks and node.name} == {"a", "b"}
        assert sum(node.name == "w" for node in graph.nodes if node.kind.value == "tensor") == 1


def test_a_model_is_drawn_with_its_inputs_and_folds_by_its_modules() -> None:
    model = nn.Sequential(*(nn.Linear(4, 4) for _ in range(30)))
    diagram = gradscope.draw(model, torch.ones(1, 4))
    assert {node.module for node in diagram.graph.nodes if node.op == "addmm"} == {str(n) for n in range(30)}
    assert "one of 28 equal blocks" in diagram.text(), "the first reads no result, the last is the root"


def _holds_itself() -> list[object]:
    found: list[object] = []
    found.append(found)
    return found


@pytest.mark.parametrize(
    ("target", "said"),
    [
        (nn.Linear(1, 1), r"draw\(model, x\) runs it on x"),
        ([], "there is no tensor in this list"),
        (_holds_itself(), "there is no tensor in this list"),
        ([1.0], "a tensor, a list, tuple or dict of tensors, a model with its inputs .* not float"),
    ],
)
def test_what_cannot_be_drawn_says_what_can(target: object, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        gradscope.draw(target)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="Tensor is no model"):
        gradscope.draw(torch.ones(1), torch.ones(1))


def test_in_a_method_the_models_of_its_object_are_known() -> None:
    class Trainer:
        def __init__(self) -> None:
            self.model = nn.Conv2d(1, 1, 3)

        def step(self) -> set[str | None]:
            drawn = gradscope.draw(nn.functional.max_pool2d(self.model(torch.ones(1, 1, 8, 8)), 2).sum())
            return {node.name or node.op for node in drawn.graph.nodes if node.kind.value == "tensor"}

    assert Trainer().step() == {"weight", "bias", "convolution", "max_pool2d_with_indices", "sum"}
