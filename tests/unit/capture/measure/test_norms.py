"""The norms of small tensors, which are computed for many steps at once."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from gradscope.capture.hiding.torch_private import sequence_number
from gradscope.capture.measure.norms import ROOM, SMALL, SmallNorms


def test_norms_are_those_of_torch_as_the_tensors_were() -> None:
    torch.manual_seed(0)
    tensors = [nn.Parameter(torch.randn(7, 5)), torch.randn(3), torch.randn(1000), torch.zeros(4), torch.randn(5, 7).T]
    wanted = [float(tensor.detach().norm()) for tensor in tensors]
    versions, number = [tensor._version for tensor in tensors], sequence_number()
    norms, found = SmallNorms(), list[list[float]]()
    assert norms.take(tensors, found.append)
    assert [tensor._version for tensor in tensors] == versions
    assert sequence_number() == number
    assert torch.is_grad_enabled()
    with torch.no_grad():
        tensors[0].fill_(99.0)
    assert found == []
    norms.settle()
    assert found == [pytest.approx(wanted, rel=1e-6)]
    assert float(tensors[0].detach().max()) == 99.0
    norms.settle()
    assert len(found) == 1


def test_numbers_that_are_not_finite_or_overflow_are_told_without_a_warning() -> None:
    norms, found = SmallNorms(), list[list[float]]()
    assert norms.take([torch.tensor([float("inf")]), torch.tensor([1e30]), torch.tensor([3.0, 4.0])], found.append)
    assert norms.take([torch.tensor([float("nan"), 1.0]), torch.tensor([2.0])], found.append)
    norms.settle()
    assert found[0] == [float("inf"), float("inf"), 5.0]
    assert str(found[1]) == "[nan, 2.0]"


def freed() -> torch.Tensor:
    tensor = torch.ones(3)
    tensor.untyped_storage().resize_(0)
    return tensor


class Own(torch.Tensor):
    pass


@pytest.mark.parametrize(
    "odd",
    [
        lambda: torch.ones(3 * SMALL),
        lambda: torch.ones(0),
        lambda: torch.ones(3).to_sparse(),
        lambda: torch.ones(3).as_subclass(Own),
        lambda: None,
        freed,
    ],
)
def test_what_is_not_small_or_no_usual_tensor_is_left_to_others(odd: Callable[[], torch.Tensor]) -> None:
    norms, found = SmallNorms(), list[list[float]]()
    assert not norms.take([torch.ones(2), odd()], found.append)
    norms.settle()
    assert found == []


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.complex64])
def test_types_that_numpy_has_not_are_left_to_others(kind: torch.dtype) -> None:
    assert not SmallNorms().take([torch.ones(2, dtype=kind), torch.ones(2, dtype=kind)], print)


def test_one_tensor_alone_is_never_written_to() -> None:
    alone, norms, found = torch.full((3,), 2.0), SmallNorms(), list[list[float]]()
    assert norms.take([alone], found.append)
    alone.fill_(5.0)
    norms.settle()
    assert alone.tolist() == [5.0, 5.0, 5.0]
    assert found == [pytest.approx([12**0.5])]


def test_distances_are_from_what_the_tensors_were() -> None:
    torch.manual_seed(0)
    tensors = [nn.Parameter(torch.randn(7, 5)), nn.Parameter(torch.randn(3)), nn.Parameter(torch.zeros(4))]
    gradients = [torch.full_like(tensor, 1e3) for tensor in tensors]
    for count in (1, 3):
        norms, found = SmallNorms(), list[list[float]]()
        before = norms.take([*tensors[:count], *gradients[:count]], lambda _: None)
        assert before is not None
        norms.settle()  # which leaves what is still needed
        moves = [torch.randn_like(tensor) for tensor in tensors[:count]]
        with torch.no_grad():
            for tensor, move in zip(tensors, moves):
                tensor.add_(move)
        assert norms.take_distance(before, tensors[:count], found.append)
        with torch.no_grad():
            tensors[0].fill_(99.0)
        norms.settle()
        assert found == [pytest.approx([float(move.norm()) for move in moves], rel=1e-5)]


def test_what_became_another_tensor_has_no_distance() -> None:
    norms, found = SmallNorms(), list[list[float]]()
    before = norms.take([torch.ones(2), torch.ones(3)], lambda _: None)
    assert before is not None
    for other in (torch.ones(3), torch.ones(2, dtype=torch.float64), torch.ones(3 * SMALL), torch.ones(2).to_sparse()):
        assert not norms.take_distance(before, [other], found.append)
    norms.settle()
    assert found == []


def test_what_waits_is_bounded() -> None:
    norms, found = SmallNorms(), list[list[float]]()
    for _ in range(ROOM // (2 * SMALL)):
        assert norms.take([torch.ones(SMALL), torch.ones(SMALL)], found.append)
    assert found == []
    assert norms.take([torch.ones(SMALL), torch.ones(SMALL)], found.append)
    assert len(found) == ROOM // (2 * SMALL) + 1
