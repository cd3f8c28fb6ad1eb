"""Random programs do the same with and without recording, and what is recorded of them is true."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gradscope.model.state import State
from tests.capturing import Recording, bits, record_script, run_plain
from tests.properties.random_scripts import scripts


def version(tensor: torch.Tensor) -> int | None:
    return None if tensor.is_inference() else tensor._version


def grad_of(tensor: torch.Tensor) -> torch.Tensor | None:
    return tensor.grad if tensor.is_leaf or tensor.retains_grad else None


def tensors_of(namespace: dict[str, Any]) -> dict[str, torch.Tensor]:
    return {name: value for name, value in namespace.items() if isinstance(value, torch.Tensor)}


def seen(namespace: dict[str, Any]) -> dict[str, Any]:
    """Everything that a program can see of itself at its end."""
    facts: dict[str, Any] = {}
    tensors = tensors_of(namespace)
    for name, tensor in tensors.items():
        grad = grad_of(tensor)
        node = tensor.grad_fn
        facts[name] = (
            type(tensor), tensor.requires_grad, tensor.is_leaf, tensor.retains_grad, version(tensor),
            None if node is None else [node.name(), [n.name() for n, _ in node.next_functions if n is not None]],
            bits(tensor), None if grad is None else (bits(grad), version(grad), grad.requires_grad),
            tensor._is_view(), tensor.is_inference(),
        )  # fmt: skip
    facts["aliases"] = [
        (one, other) for one in tensors for other in tensors if tensors[one].data_ptr() == tensors[other].data_ptr()
    ]
    facts["others"] = {name: value for name, value in namespace.items() if isinstance(value, (str, float, int))}
    facts["errors"] = namespace["errors"]
    facts["rng"] = torch.get_rng_state().numpy().tobytes()
    facts["error"] = repr(namespace["__error__"])
    return facts


@contextmanager
def warned() -> Iterator[list[tuple[Any, ...]]]:
    """The warnings of the block: text, category, file and line."""
    found: list[tuple[Any, ...]] = []
    always = torch.is_warn_always_enabled()
    torch.set_warn_always(True)
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            yield found
    finally:
        torch.set_warn_always(always)
    found += [(str(w.message), w.category, w.filename, w.lineno) for w in caught]


def both(text: str, detail: str) -> tuple[dict[str, Any], list[Any], Recording, dict[str, Any], list[Any]]:
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "program.py"
        script.write_text(text)
        with warned() as plain_warnings:
            plain = seen(run_plain(script))
        with warned() as recorded_warnings:
            recorded = record_script(script, detail)
        return plain, plain_warnings, recorded, seen(recorded.namespace), recorded_warnings


@pytest.mark.slow
@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True, print_blob=False)
@given(scripts(), st.sampled_from(("full", "graph", "steps")))
def test_a_program_cannot_tell(text: str, detail: str) -> None:
    plain, plain_warnings, recorded, watched, recorded_warnings = both(text, detail)
    for name in plain:
        assert watched[name] == plain[name], name
    assert recorded_warnings == plain_warnings
    assert recorded.faults == ()


@pytest.mark.slow
@settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True, print_blob=False)
@given(scripts())
def test_what_is_recorded_is_what_the_program_saw(text: str) -> None:
    with tempfile.TemporaryDirectory() as folder, warned():
        script = Path(folder) / "program.py"
        script.write_text(text)
        recorded = record_script(script, "full")
    assert recorded.faults == ()
    step = recorded.steps[-1]
    state = State.at(step, len(step.moments) - 1)
    numbers = {tensor.name: tensor.number for tensor in step.tensors}
    live = tensors_of(recorded.namespace)
    if len(recorded.steps) == 1:
        assert live.keys() <= numbers.keys()
    for name, tensor in live.items():
        if name in numbers:
            told = state.tensors[numbers[name]]
            assert told.version == version(tensor), name
            if not tensor._is_view():  # torch itself settles a view's status when it is used next
                assert (told.requires_grad, told.is_leaf) == (tensor.requires_grad, tensor.is_leaf), name
                assert told.grad_fn == (type(tensor.grad_fn).__name__ if tensor.grad_fn is not None else None), name
