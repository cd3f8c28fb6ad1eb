"""What a loop binds is what its tensors are called, however it unpacks them; never what counts its turns."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.capturing import record_script

START = """\
import itertools
import torch
from torch.utils.data import DataLoader, TensorDataset
pairs = DataLoader(TensorDataset(torch.randn(8, 3), torch.randn(8, 2)), batch_size=4)
dicts = DataLoader([{"x": torch.randn(3), "y": torch.randn(2)} for _ in range(8)], batch_size=4)
nested = DataLoader([((torch.randn(3), torch.randn(1)), torch.randn(2)) for _ in range(8)], batch_size=4)
model = torch.nn.Linear(3, 2)
def bar(iterable):
    for obj in iterable:
        yield obj
def step(x, y):
    (model(x) - y).square().mean().backward()
    with torch.no_grad():
        model.weight -= 0.1 * model.weight.grad
    model.zero_grad()
"""


@pytest.mark.parametrize(
    ("loop", "names"),
    [
        ("for data, target in pairs: step(data, target)", ["data", "target"]),
        ("for i, (data, target) in enumerate(pairs): step(data, target)", ["data", "target"]),
        ("for i, [data, target] in enumerate(pairs, 1): step(data, target)", ["data", "target"]),
        ("for epoch, (i, (data, target)) in enumerate(enumerate(pairs)): step(data, target)", ["data", "target"]),
        ("for pair in enumerate(pairs): step(*pair[1])", ["pair[1][0]", "pair[1][1]"]),
        ("for i, (data, target) in bar(enumerate(pairs)): step(data, target)", ["data", "target"]),
        ("for i, (data, target) in enumerate(bar(pairs)): step(data, target)", ["data", "target"]),
        ("for data, target in bar(bar(pairs)): step(data, target)", ["data", "target"]),
        ("for data, target in itertools.islice(pairs, 2): step(data, target)", ["data", "target"]),
        ("for batch in dicts: step(batch['x'], batch['y'])", ['batch["x"]', 'batch["y"]']),
        ("for n, batch in enumerate(dicts): step(batch['x'], batch['y'])", ['batch["x"]', 'batch["y"]']),
        ("for i, ((a, b), c) in enumerate(nested): step(a * b, c)", ["a", "b", "c"]),
        ("for inputs, c in nested: step(inputs[0], c)", ["inputs[0]", "inputs[1]", "c"]),
        ("for (a, b), (c, d) in zip(pairs, pairs): step(a + c, b + d)", ["", "", "", ""]),
        ("[step(x, y) for i, (x, y) in enumerate(pairs)]", ["x", "y"]),
        ("it = iter(nested)\nfor i in range(2):\n    (a, b), c = next(it)\n    step(a, c)", ["a", "b", "c"]),
    ],
)
def test_the_tensors_of_a_batch_are_called_what_the_loop_binds(loop: str, names: list[str], tmp_path: Path) -> None:
    script = tmp_path / "train.py"
    script.write_text(START + loop)
    recorded = record_script(script, "full")
    assert recorded.namespace["__error__"] is None
    assert recorded.faults == ()
    for number in recorded.trace.steps:
        step = recorded.trace.step(number)
        loaded = [moment for moment in step.moments if moment.kind == "op" and moment.name == "DataLoader"]  # type: ignore[union-attr]
        told = [step.tensors[tensor].name for moment in loaded for tensor in moment.outputs]  # type: ignore[union-attr]
        assert told == names
        labels = {node.label for node in step.graph("forward").nodes if node.kind.value == "tensor"}
        assert labels.isdisjoint({"i", "n", "epoch", "DataLoader"})


def test_what_iterates_over_a_tensor_is_named_alike(tmp_path: Path) -> None:
    script = tmp_path / "rows.py"
    script.write_text(
        "import torch\nx = torch.randn(3, 2, requires_grad=True)\n"
        "for i, row in enumerate(x): pass\nfor part in x.chunk(3): pass\n(row * part).sum().backward()\n"
    )
    recorded = record_script(script, "full")
    names = [tensor.name for step in recorded.steps for tensor in step.tensors]
    assert "i" not in names
    assert names.count("part") == 3
