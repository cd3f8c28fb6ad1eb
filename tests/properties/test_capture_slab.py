"""Statistics of small tensors, which are copied and computed many at a time, are those of each tensor alone."""

from __future__ import annotations

import math
import warnings
import weakref
from typing import Any

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from gradscope.capture.emit.to_records import samples_of
from gradscope.capture.measure.reading import Reading
from gradscope.capture.measure.stats import VALUES_UP_TO, Statistics
from gradscope.capture.measure.stats_batch import Slab
from gradscope.model.records import Sample

_ODD = (0.0, -0.0, math.nan, math.inf, -math.inf, 1.0, -3.5)
_EXTREME = {32: (1e-45, 3.4e38, -3.4e38, 1e-20), 64: (5e-324, 1e-200, 1.7e308, -1.7e308, 1e200, 1e154)}


@st.composite
def tensors(draw: st.DrawFn) -> torch.Tensor:
    """Tensors of any numbers, in any layout of memory, with or without gradients."""
    width = draw(st.sampled_from((32, 64)))
    elements = st.floats(width=width) | st.sampled_from(_ODD + _EXTREME[width])  # type: ignore[arg-type]
    shape = draw(arrays.array_shapes(min_dims=0, max_dims=3, max_side=7))
    array = draw(arrays.arrays(f"f{width // 8}", shape, elements=elements, fill=elements))
    tensor = torch.from_numpy(array)
    kind = draw(st.sampled_from(("plain", "turned", "every second", "expanded", "wanted", "negative")))
    if kind == "turned":
        tensor = tensor.permute(list(range(tensor.dim()))[::-1])
    elif kind == "every second" and tensor.dim():
        tensor = tensor[::2]
    elif kind == "expanded":
        tensor = tensor.expand(3, *tensor.shape)
    elif kind == "wanted":
        tensor.requires_grad_()
    elif kind == "negative":
        tensor = torch.view_as_complex(torch.stack((tensor, tensor), -1)).conj().imag
    return tensor


def records(readings: list[Reading]) -> list[Sample]:
    return list(samples_of(0, [(0, number, False, "value", reading) for number, reading in enumerate(readings)]))


def expected_norm(numbers: Any) -> float:
    return math.nan if np.isnan(numbers).any() else math.hypot(*numbers)


def close(found: float, expected: float, size: float = 0.0) -> bool:
    """Equal up to the rounding of additions whose terms sum up to `size`."""
    if not math.isfinite(expected) or not math.isfinite(found):
        return repr(found) == repr(expected) or not math.isfinite(size)
    return abs(found - expected) <= 1e-13 * (abs(expected) + size) + 5e-324


@given(st.lists(tensors(), min_size=1, max_size=12))
@settings(deadline=None, max_examples=150)
def test_each_tensor_has_the_statistics_that_it_has_alone(measured: list[torch.Tensor]) -> None:
    statistics = Statistics()
    before = [tensor.detach().clone() for tensor in measured]
    state = torch.get_rng_state()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        readings = [statistics.read(tensor) for tensor in measured]
        statistics.settle()
    assert torch.equal(torch.get_rng_state(), state)
    for tensor, sample in zip(before, records([each for each in readings if each is not None]), strict=True):
        found = sample.stats
        assert found is not None
        numbers = tensor.double().flatten().tolist()
        assert sample.shape == tuple(tensor.shape)
        assert (found.numel, found.zeros) == (len(numbers), numbers.count(0))
        assert (found.nans, found.infs) == (sum(map(math.isnan, numbers)), sum(map(math.isinf, numbers)))
        finite = [number for number in numbers if math.isfinite(number)]
        with np.errstate(all="ignore"):
            size = float(np.sum(np.abs(finite)))
            assert close(found.sum, float(np.sum(numbers)), size)
            assert close(found.mean, float(np.mean(numbers)), size)
            assert close(found.norm, expected_norm(numbers))
        if found.nans:
            assert math.isnan(found.min)
            assert math.isnan(found.max)
        else:
            assert (found.min, found.max) == (min(numbers), max(numbers))
        wanted = repr(tuple(numbers)) if len(numbers) <= VALUES_UP_TO else "None"
        assert repr(sample.values) == wanted


@given(st.lists(st.integers(1, Slab.ROOM), min_size=1, max_size=6), st.integers(0, 1 << 30))
@settings(deadline=None, max_examples=20)
def test_what_no_longer_fits_is_computed_before_the_next_is_taken(sizes: list[int], seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    statistics = Statistics()
    readings, sums = [], []
    for size in sizes:
        tensor = torch.randint(-9, 9, (size,), generator=generator).float()
        reading = statistics.read(tensor)
        assert reading is not None
        readings.append(reading)
        sums.append((float(tensor.sum()), float(tensor.min()), int((tensor == 0).sum())))
        tensor.zero_()  # what is measured is the tensor as it was
    statistics.settle()
    found = [sample.stats for sample in records(readings)]
    assert [(each.sum, each.min, each.zeros) for each in found if each is not None] == sums


def test_nothing_that_was_measured_is_kept_alive() -> None:
    statistics = Statistics()
    tensor = torch.ones(100)
    gone = weakref.ref(tensor)
    reading = statistics.read(tensor)
    del tensor
    assert gone() is None
    assert reading is not None
    assert reading.stats is None
    statistics.settle()
    assert reading.stats is not None


def test_a_signalling_nan_is_counted_without_a_warning() -> None:
    tensor = torch.tensor([0x7F800001, 0x3F800000], dtype=torch.int32).view(torch.float32)
    statistics = Statistics()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        reading = statistics.read(tensor)
        statistics.settle()
    assert reading is not None
    (sample,) = records([reading])
    assert sample.stats is not None
    assert (sample.stats.nans, sample.values is not None and sample.values[1]) == (1, 1.0)


def test_tensors_of_other_types_are_measured_as_ever() -> None:
    statistics = Statistics()
    given = [torch.arange(100), torch.ones(3, dtype=torch.bool), torch.full((40,), 2.0).half(), torch.tensor([3 + 4j])]
    readings = [statistics.read(tensor) for tensor in given]
    found = [sample.stats for sample in records([each for each in readings if each is not None])]
    assert [(each.numel, each.sum) for each in found if each is not None] == [(100, 4950), (3, 3), (40, 80), (1, 7)]
    assert [each.norm for each in found if each is not None][-1] == 5.0
