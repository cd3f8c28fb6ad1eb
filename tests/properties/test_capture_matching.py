"""A matched step is what an exact recording has; what changes a graph, a mode or a hook is never matched."""

from __future__ import annotations

import tempfile
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from gradscope.capture.journal import schedule
from gradscope.model.records import Detail, StepKind
from tests.capturing import Recording, bits, new_recording, run_plain
from tests.properties.changing_loops import LOOPS
from tests.properties.random_scripts import loops
from tests.properties.test_capture_programs import warned

# What no station shows: writes that no counter counts, values and settings of modules, ops that leave no graph.
UNSEEN = {
    "modules: a version",
    "modules: another input",
    "modules: other memory",
    "modules: in place",
    "modules: weights of the loss",
    "modules: a write by hand",
    "modules: a view as input",
    "modules: a result made a leaf",
    "modules: a tensor from before",
    "modules: a gradient read",
    "modules: labels written to",
    "functions: labels written to",
    "epochs: a batch moved",
    "epochs: another loader",
    "epochs: a batch written to",
    "epochs: a batch clipped in place",
    "epochs: a weight written to",
    "epochs: a gradient written to",
    "epochs: a value read",
}


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Short runs, too, have steps that are not watched."""
    monkeypatch.setattr(schedule, "FREE_SECONDS", 0.0)


def longer(text: str) -> str:
    """The loop with so many more steps that those that differ come while others are matched."""
    return text.replace("for step in range(8):", "for step in range(-12, 24):").replace("range(3):", "range(12):")


def recorded(text: str, detail: str) -> Recording:
    with tempfile.TemporaryDirectory() as folder, warned():
        script = Path(folder) / "program.py"
        script.write_text(text)
        made = new_recording(detail)
        made.recorder.start()
        try:
            made.namespace = run_plain(script)
        finally:
            made.recorder.stop(made.namespace.get("__error__"))
    return made


def outcome(namespace: dict[str, Any]) -> dict[str, Any]:
    """What a program leaves behind: its tensors, gradients, versions, and the next random and grad node numbers."""
    found: dict[str, Any] = {}
    for name, value in namespace.items():
        tensors = list(value.parameters()) if isinstance(value, torch.nn.Module) else [value]
        for place, tensor in enumerate(one for one in tensors if isinstance(one, torch.Tensor)):
            grad = bits(tensor.grad) if tensor.is_leaf and tensor.grad is not None else None
            version = None if tensor.is_inference() else tensor._version
            found[f"{name}.{place}"] = (
                bits(tensor),
                grad,
                version,
                tensor.requires_grad,
                type(tensor.grad_fn).__name__,
            )
    found["random"] = bits(torch.random.get_rng_state())
    return found


def numbers_of(made: Recording, number: int) -> tuple[Any, ...]:
    """What is measured in each step, whichever way it is recorded."""
    row = made.source.step_row(number)
    rates = row.learning_rates if row.kind is StepKind.TRAIN else ()  # a cut leaves them to what is evaluated after it
    return (row.kind, row.loss, rates, row.norms, made.source.versions(number))


def did(made: Recording, number: int) -> Any:
    row = made.source.step_row(number)
    return (replace(made.source.template(row.template), id=0), row.shifts)


def differences(text: str) -> tuple[list[int], Counter[str]]:
    """The matched steps that did something else than the exact recording tells, and how steps were recorded."""
    exact, auto = recorded(text, "graph"), recorded(text, "auto")
    assert auto.faults == exact.faults == ()
    steps = [number for number in auto.source.step_numbers() if number >= 0]
    assert steps == [number for number in exact.source.step_numbers() if number >= 0]
    ways = Counter(auto.source.step_row(number).detail.value for number in steps)
    rows = [auto.source.step_row(number) for number in steps]
    # Where an op was not seen, what comes after may be known by another name, or as less old: in watched steps, too.
    apart = {
        row.template for row in rows if row.detail is Detail.GRAPH and did(auto, row.number) != did(exact, row.number)
    }
    wrong = []
    for row in rows[:-1]:  # what comes after the last loop is told of its last step, or is not seen
        if row.detail is Detail.MATCHED:
            assert numbers_of(auto, row.number) == numbers_of(exact, row.number), row.number
            if row.template not in apart and did(auto, row.number) != did(exact, row.number):
                wrong.append(row.number)
    return wrong, ways


@pytest.mark.parametrize("loop", LOOPS)
def test_a_step_that_differs_in_one_thing_is_not_matched(loop: str) -> None:
    wrong, _ = differences(longer(LOOPS[loop]))
    assert not wrong or loop in UNSEEN


@pytest.mark.parametrize("loop", sorted(LOOPS)[::4])
def test_matching_changes_nothing(loop: str, tmp_path: Path) -> None:
    script = tmp_path / "program.py"
    script.write_text(longer(LOOPS[loop]))
    with warned():
        plain = run_plain(script)
        before = outcome(plain)
        made = new_recording("auto")
        with made.recorder:
            made.namespace = run_plain(script)
    assert outcome(made.namespace) == before
    assert str(made.namespace["__error__"]) == str(plain["__error__"])


@pytest.mark.parametrize("loop", ["modules: nothing", "functions: nothing", "epochs: nothing"])
def test_usual_loops_are_matched(loop: str) -> None:
    _, ways = differences(longer(LOOPS[loop]))
    assert ways["matched"] > sum(ways.values()) / 2


@pytest.mark.slow
@settings(
    max_examples=60, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True, print_blob=False,
    phases=(Phase.explicit, Phase.generate),
)  # fmt: skip
@given(loops(), st.just("auto"))
def test_matched_steps_of_random_loops_are_those_of_an_exact_recording(text: str, detail: str) -> None:
    wrong, _ = differences(text)
    assert wrong == []
    assert detail
