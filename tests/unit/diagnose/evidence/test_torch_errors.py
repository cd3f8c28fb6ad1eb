"""Each kind of error, provoked from the installed torch."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from gradscope.diagnose.evidence.torch_errors import ErrorKind, torch_error

torch.optim.SGD([torch.ones(1)], lr=1.0)  # the first optimizer of a process brings more of torch along


def wanting(*shape: int) -> Tensor:
    return torch.ones(shape, requires_grad=True)


def modifies_what_was_saved() -> None:
    x = wanting(3, 2)
    y = x.exp()
    y.add_(1)
    y.sum().backward()


def goes_back_twice() -> None:
    loss = (wanting(3) ** 2).sum()
    loss.backward()
    loss.backward()


def has_an_unused_input() -> None:
    torch.autograd.grad(wanting(), [wanting()])


def has_an_input_that_wants_none() -> None:
    x = torch.ones(())
    torch.autograd.grad(wanting() * x, [x])


class Doubled(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, factor: float) -> Tensor:
        return x * factor

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        return grads[0]


class Passed(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.view(-1)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        return grads[0]


def saves_an_inference_tensor() -> None:
    with torch.inference_mode():
        x = torch.ones(3)
    wanting(3) * x


def writes_to_an_inference_tensor() -> None:
    with torch.inference_mode():
        x = torch.ones(3)
    x.add_(1)


def writes_to_a_view_made_without_grad() -> None:
    x = wanting(3) * 1
    with torch.no_grad():
        view = x[:2]
    view.mul_(2)


def writes_to_one_of_views() -> None:
    first, _ = (wanting(2) * 1).unbind()
    first.mul_(2)


def replaces_a_parameter() -> None:
    layer = nn.Linear(2, 2)
    layer.weight = layer.weight * 2  # type: ignore[assignment]


def sets_the_flag_of_a_result() -> None:
    (wanting(2) * 1).requires_grad = False


class Scaler:
    """A GradScaler on the CPU, with what it scales."""

    def __init__(self) -> None:
        self.weight = wanting(2)
        self.sgd = torch.optim.SGD([self.weight], lr=0.1)
        self.scaler = torch.amp.GradScaler("cpu")

    def backward(self) -> None:
        self.scaler.scale(self.weight.sum()).backward()

    def steps_twice(self) -> None:
        self.backward()
        self.scaler.step(self.sgd)
        self.scaler.step(self.sgd)

    def unscales_twice(self) -> None:
        self.backward()
        self.scaler.unscale_(self.sgd)
        self.scaler.unscale_(self.sgd)

    def unscales_late(self) -> None:
        self.backward()
        self.scaler.step(self.sgd)
        self.scaler.unscale_(self.sgd)

    def never_scales(self) -> None:
        self.weight.sum().backward()
        self.scaler.step(self.sgd)

    def finds_no_gradients(self) -> None:
        self.scaler.scale(wanting()).backward()
        self.scaler.step(self.sgd)


class Hasty(nn.Module):
    def __init__(self) -> None:
        self.layer = nn.Linear(2, 2)
        super().__init__()


def puts_a_parameter_in_two_groups() -> None:
    weight = wanting(2)
    torch.optim.SGD([{"params": [weight]}, {"params": [weight]}], lr=0.1)


def mixes_devices() -> None:
    torch.ones(3) + torch.ones(3, device="meta")


PROVOKED: list[tuple[ErrorKind, Callable[[], object], Mapping[str, str | None]]] = [
    (ErrorKind.SAVED_TENSOR_MODIFIED, modifies_what_was_saved, {"shape": "3, 2"}),
    (ErrorKind.GRAPH_FREED, goes_back_twice, {}),
    (ErrorKind.NO_GRAPH, lambda: torch.ones(()).backward(), {}),
    (ErrorKind.INPUT_UNUSED, has_an_unused_input, {}),
    (ErrorKind.INPUT_WANTS_NO_GRAD, has_an_input_that_wants_none, {}),
    (ErrorKind.WANTS_NO_GRAD, lambda: torch.ones(2).retain_grad(), {}),
    (ErrorKind.WANTS_NO_GRAD, lambda: torch.ones(2).register_hook(print), {}),
    (ErrorKind.NOT_SCALAR, lambda: (wanting(2) * 1).backward(), {}),
    (ErrorKind.NUMBER_HAS_NO_BACKWARD, lambda: wanting().item().backward(), {}),  # type: ignore[union-attr]
    (ErrorKind.NUMBER_HAS_NO_BACKWARD, lambda: wanting(2).detach().numpy().sum().backward(), {}),
    (ErrorKind.FUNCTION_RETURNED_WRONG, lambda: Doubled.apply(wanting(), 2.0).backward(), {"node": "DoubledBackward"}),
    (ErrorKind.INFERENCE_TENSOR, saves_an_inference_tensor, {}),
    (ErrorKind.INFERENCE_TENSOR, writes_to_an_inference_tensor, {}),
    (ErrorKind.LEAF_WRITTEN, lambda: wanting(2).add_(1), {"view": None}),
    (ErrorKind.LEAF_WRITTEN, lambda: wanting(2)[0].add_(1), {"view": "view of a "}),
    (ErrorKind.REPEATED_MEMORY_WRITTEN, lambda: torch.ones(1).expand(3).add_(torch.ones(3)), {}),
    (ErrorKind.VIEW_OF_NO_GRAD_WRITTEN, writes_to_a_view_made_without_grad, {}),
    (ErrorKind.VIEW_OF_FUNCTION_WRITTEN, lambda: Passed.apply(wanting(2) * 1).mul_(2), {}),
    (ErrorKind.ONE_OF_VIEWS_WRITTEN, writes_to_one_of_views, {}),
    (ErrorKind.INTEGER_WANTS_GRAD, lambda: torch.ones(2, dtype=torch.int64).requires_grad_(), {}),
    (ErrorKind.INTEGER_WANTS_GRAD, lambda: torch.tensor([1, 2], requires_grad=True), {}),
    (ErrorKind.PARAMETER_REPLACED, replaces_a_parameter, {"parameter": "weight"}),
    (ErrorKind.FLAG_OF_RESULT_SET, sets_the_flag_of_a_result, {}),
    (ErrorKind.RESULT_DEEP_COPIED, lambda: copy.deepcopy(wanting(2) * 1), {}),
    (ErrorKind.NOTHING_TO_CLIP, lambda: nn.utils.clip_grad_value_([wanting(2)], 1.0), {}),
    (ErrorKind.SCALER_STEPPED_TWICE, lambda: Scaler().steps_twice(), {}),
    (ErrorKind.SCALER_UNSCALED_TWICE, lambda: Scaler().unscales_twice(), {}),
    (ErrorKind.SCALER_UNSCALED_LATE, lambda: Scaler().unscales_late(), {}),
    (ErrorKind.SCALER_NEVER_SCALED, lambda: Scaler().never_scales(), {}),
    (ErrorKind.SCALER_FOUND_NO_GRADIENTS, lambda: Scaler().finds_no_gradients(), {}),
    (ErrorKind.OPTIMIZER_WITHOUT_PARAMETERS, lambda: torch.optim.SGD([], lr=0.1), {}),
    (ErrorKind.PARAMETER_IN_TWO_GROUPS, puts_a_parameter_in_two_groups, {}),
    (ErrorKind.MODULE_NOT_INITIALISED, Hasty, {}),
    (ErrorKind.BATCH_OF_ONE, lambda: nn.BatchNorm1d(3)(torch.ones(1, 3)), {}),
    (ErrorKind.DEVICES_MIXED, mixes_devices, {}),
    (ErrorKind.NONE_USED, lambda: 0.1 * wanting(2).grad, {}),  # type: ignore[operator]
    (ErrorKind.NONE_USED, lambda: torch.ones(2).sub_(wanting(2).grad), {}),  # type: ignore[arg-type]
    (ErrorKind.NONE_USED, lambda: wanting(2).grad.zero_(), {}),  # type: ignore[union-attr]
]


@pytest.mark.parametrize(("kind", "provoke", "parts"), PROVOKED, ids=lambda one: getattr(one, "name", None))
def test_torch_says_so(kind: ErrorKind, provoke: Callable[[], object], parts: Mapping[str, str | None]) -> None:
    with pytest.raises(Exception) as raised:
        provoke()
    assert torch_error(str(raised.value)) == (kind, parts), str(raised.value)


def test_every_kind_is_provoked() -> None:
    assert {kind for kind, _, _ in PROVOKED} == set(ErrorKind)


@pytest.mark.parametrize("message", [None, "", "division by zero", "CUDA out of memory"])
def test_other_messages_have_no_kind(message: str | None) -> None:
    assert torch_error(message).kind is None
