"""The table of what ops do names ops of torch, and asks of them what holds."""

from __future__ import annotations

import pytest
import torch

from gradscope.model import op_kinds
from gradscope.model.moments import OpCall
from gradscope.model.records import Phase

SETS = {name: value for name, value in vars(op_kinds).items() if isinstance(value, frozenset)}
# Operators as a trace has them, what `nn.functional` calls inside, and conversions that are Python's.
OTHER = {
    *("isub", "iadd", "imul", "idiv", "itruediv", "radd", "rsub", "rmul", "rdiv", "truediv", "rtruediv"),
    *("__getitem__", "__setitem__", "index", "array", "identity", "dropout1d", "_softmax", "rnn_relu", "constant_"),
    *("dlpack", "from_dlpack", "clip_grad_norm_", "clip_grad_value_", "data"),
}


@pytest.mark.parametrize("name", sorted(SETS))
def test_the_ops_are_torchs(name: str) -> None:
    owners = (torch, torch.Tensor, torch.nn.functional, torch.special)
    assert [op for op in SETS[name] - OTHER if not any(hasattr(owner, op) for owner in owners)] == []


@pytest.mark.parametrize("name", sorted(op_kinds.ZERO_DERIVATIVE - op_kinds.DRAWS - {"heaviside"}))
def test_the_derivative_is_zero(name: str) -> None:
    x = torch.tensor([-1.3, 0.4, 2.6], requires_grad=True)
    result = getattr(torch, name)(x)
    assert op_kinds.has_zero_derivative(result.grad_fn.name())
    result.sum().backward()
    assert x.grad is not None
    assert not x.grad.any()


@pytest.mark.parametrize("name", ["AddmmBackward0", "NormBackward0", "FloorDivideBackward0", "AccumulateGrad"])
def test_other_derivatives_are_not(name: str) -> None:
    assert not op_kinds.has_zero_derivative(name)


@pytest.mark.parametrize("name", sorted(op_kinds.KEEPS_RESULT - {"softmax", "log_softmax"}))
def test_the_result_is_kept(name: str) -> None:
    result = getattr(torch, name)(torch.tensor([0.5], requires_grad=True))
    assert result.grad_fn._saved_result.data_ptr() == result.data_ptr()


@pytest.mark.parametrize(
    ("name", "inputs", "read"),
    [("randn_like", (1,), ()), ("full_like", (1, 2), (2,)), ("to", (1, 2), (1,)), ("add", (1, 2), (1, 2))],
)
def test_what_is_read_only_for_its_shape_is_no_input(name: str, inputs: tuple[int, ...], read: tuple[int, ...]) -> None:
    assert op_kinds.read_inputs(OpCall(Phase.FORWARD, None, name, inputs, (3,))) == read
