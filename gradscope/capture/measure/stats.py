"""Statistics of tensors, without a synchronization of our own.

On the CPU they are read at once, those of small tensors from copies, many at a time. On an accelerator
the kernels are queued like any other and their results copied to pinned memory; `Pending.ready` tells,
without waiting, whether they have arrived.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch

from ...model.packed_samples import Form, pack_stats, pack_values
from ...model.records import Stats
from ..hiding.no_torch_function import Unseen
from ..hiding.torch_private import foreach_norm, foreach_subtract, set_grad_enabled
from .askable import address_of, capturing, dense, lies_at, readable
from .norms import SmallNorms
from .reading import Reading
from .stats_batch import Slab

Figures = tuple[int, float, float, float, float, float, int, int, int]  # the fields of `Stats`
VALUES_UP_TO = 16
MAX_FORMS = 4096


def values(tensor: torch.Tensor) -> tuple[float, ...] | None:
    """All elements, flat, of a real CPU tensor of at most 16; None for others."""
    if not readable(tensor):
        return None
    tensor = dense(tensor)
    if tensor.numel() > VALUES_UP_TO or not tensor.is_cpu or tensor.is_complex():
        return None
    return tuple(map(float, tensor.reshape(-1).tolist()))


def number_of(tensor: torch.Tensor) -> float | None:
    """The value of a real CPU tensor of one element; None for others."""
    found = values(tensor)
    return found[0] if found is not None and len(found) == 1 else None


def of_values(numbers: Sequence[float]) -> Stats:
    """Statistics of numbers that were already read."""
    return Stats(*_figures_of(numbers))


def _figures_of(numbers: Sequence[float]) -> Figures:
    count, total = len(numbers), sum(numbers)
    if math.isfinite(total) and count:  # then so is each of them
        total = math.fsum(numbers)
        return count, total, total / count, math.hypot(*numbers), min(numbers), max(numbers), _zeros(numbers), 0, 0
    finite = all(map(math.isfinite, numbers))
    total = math.fsum(numbers) if finite else total
    nans = sum(map(math.isnan, numbers))
    low = math.nan if nans else min(numbers, default=math.nan)
    high = math.nan if nans else max(numbers, default=math.nan)
    mean, norm = (total / count, math.hypot(*numbers)) if count else (math.nan, 0.0)
    return count, total, mean, norm, low, high, _zeros(numbers), nans, sum(map(math.isinf, numbers))


def _zeros(numbers: Sequence[float]) -> int:
    return sum(number == 0 for number in numbers) if 0.0 in numbers else 0


class Pending:
    """Statistics on their way from the device. `finish` hands them over."""

    __slots__ = ("_event", "_host", "finish")

    def __init__(self, numbers: torch.Tensor, finish: Callable[[list[Any]], None]) -> None:
        self.finish = finish
        if numbers.is_cuda:
            self._host = torch.empty(numbers.shape, dtype=numbers.dtype, pin_memory=True)
            self._host.copy_(numbers, non_blocking=True)
            self._event: Any = torch.cuda.Event()
            self._event.record()
        else:
            self._host, self._event = numbers.to("cpu"), None

    def ready(self) -> bool:
        return self._event is None or bool(self._event.query())

    def deliver(self) -> None:
        with Unseen():
            numbers = self._host.tolist()
        self.finish(numbers)


def _kernels(tensor: torch.Tensor) -> list[torch.Tensor]:
    """Scalars on the tensor's own device: sum, 2-norm, min, max, count of non-zeros."""
    if tensor.is_complex():
        tensor = torch.view_as_real(tensor.resolve_conj())
    if not tensor.is_floating_point():
        tensor = tensor.to(torch.float64)
    low, high = torch.aminmax(tensor)
    return [
        tensor.sum(dtype=torch.float64),
        torch.linalg.vector_norm(tensor, dtype=torch.promote_types(tensor.dtype, torch.float32)),
        low,
        high,
        torch.count_nonzero(tensor),
    ]


def _figures(numel: int, numbers: Sequence[float], nans: int = 0, infs: int = 0) -> Figures:
    total, norm, low, high, nonzero = numbers[:5]
    return numel, total, total / numel, norm, low, high, numel - int(nonzero), nans, infs


class Statistics:
    """Reads tensors for the recorder; results of device tensors come later."""

    def __init__(self) -> None:
        self.pending: list[Pending] = []
        self.small_norms = SmallNorms()
        self._forms: dict[tuple[int, ...], Form] = {}  # by shape
        self._slabs = {torch.float32: Slab("f4"), torch.float64: Slab("f8")}

    def read(self, tensor: torch.Tensor, passing: bool = False) -> Reading | None:
        """Measure a tensor as it is now. Its statistics are there after `settle`, a device's after `collect`.

        None for empty and unreadable tensors. `passing`: see `askable`.
        """
        address, slab = lies_at(tensor, passing), None
        if address:
            slab = self._slabs.get(tensor.dtype)
        if slab is None:
            if not readable(tensor, passing):
                return None
            tensor = dense(tensor)
            slab = self._slabs.get(tensor.dtype) if tensor.is_cpu and tensor.numel() <= Slab.ROOM else None
            if slab is not None:
                tensor = tensor.resolve_neg().contiguous()
                address = address_of(tensor)
        if slab is not None and address:
            form = self._forms.get(tensor.shape) or self._form(tensor)
            if form is not None:
                reading = Reading(form)
                slab.take(reading, form, address, tensor.numel())
                return reading
        return self._measured(dense(tensor))

    def _measured(self, tensor: torch.Tensor) -> Reading | None:
        """The same by calls of torch, of a dense tensor that is large, of another type or on a device."""
        numel, on_cpu = tensor.numel(), tensor.is_cpu
        if not numel:
            return None
        shape = tuple(tensor.shape)
        if numel <= VALUES_UP_TO and on_cpu and not tensor.is_complex():
            numbers = list(map(float, tensor.reshape(-1).tolist()))
            return Reading((shape, True, numel), pack_stats(*_figures_of(numbers)), pack_values(numbers))
        reading = Reading((shape, True, None))
        scalars = _kernels(tensor)
        if on_cpu:
            read = [float(scalar.item()) for scalar in scalars]
            nans, infs = _non_finite(tensor) if not math.isfinite(read[0] + read[2] + read[3]) else (0, 0)
            reading.stats = pack_stats(*_figures(numel, read, nans, infs))
            return reading
        scalars += [torch.isnan(tensor).sum(), torch.isinf(tensor).sum()]

        def deliver(got: list[Any]) -> None:
            reading.stats = pack_stats(*_figures(numel, got, int(got[5]), int(got[6])))

        self.pending.append(Pending(torch.stack([scalar.to(torch.float64) for scalar in scalars]), deliver))
        return reading

    def _form(self, tensor: torch.Tensor) -> Form | None:
        """The form of what a slab reads of tensors like this one; None where a slab takes none such."""
        numel = tensor.numel()
        if not 0 < numel <= Slab.ROOM:
            return None
        if len(self._forms) >= MAX_FORMS:
            self._forms.clear()
        shape = tuple(tensor.shape)
        form = self._forms[shape] = (shape, True, numel if numel <= VALUES_UP_TO else None)
        return form

    def settle(self) -> None:
        """Compute the statistics of what was read on the CPU."""
        self.small_norms.settle()
        for slab in self._slabs.values():
            slab.settle()

    def norms(self, tensors: list[torch.Tensor], deliver: Callable[[list[float]], None]) -> None:
        """The 2-norms of `tensors` (readable floats, all on one device), in one fused call."""
        grad_mode = torch.is_grad_enabled()
        set_grad_enabled(False)
        try:
            norms = foreach_norm(tensors)
            if tensors[0].device.type == "cpu":
                deliver([norm.item() for norm in norms])
            else:
                self.pending.append(Pending(torch.stack(norms), deliver))
        finally:
            set_grad_enabled(grad_mode)

    def copies(self, tensors: list[torch.Tensor]) -> list[torch.Tensor]:
        """The same numbers, of `tensors` (readable floats, all on one device, of torch's own class)."""
        return [tensor.clone() for tensor in tensors]

    def distances(
        self, before: list[torch.Tensor], tensors: list[torch.Tensor], deliver: Callable[[list[float]], None]
    ) -> None:
        """The 2-norms of what `tensors` are more than `before`, their copies, which are used up."""
        foreach_subtract(before, tensors)
        self.norms(before, deliver)

    def scalar(self, tensor: torch.Tensor, deliver: Callable[[float], None]) -> None:
        """The value of a readable tensor of one element, of torch's own class."""
        if tensor.is_cpu:
            deliver(float(tensor.item()))
        else:
            tensor = tensor.detach()
            self.pending.append(Pending(tensor.reshape(1).to(torch.float64), lambda got: deliver(float(got[0]))))

    def collect(self, wait: bool = False) -> None:
        """Deliver what has arrived. `wait` at the end of the recording, when nothing can be slowed."""
        if not self.pending or capturing():
            return
        if wait and torch.cuda.is_initialized():
            torch.cuda.synchronize()
        still = []
        for pending in self.pending:
            if wait or pending.ready():
                pending.deliver()
            else:
                still.append(pending)
        self.pending = still


def _non_finite(tensor: torch.Tensor) -> tuple[int, int]:
    return int(torch.isnan(tensor).sum().item()), int(torch.isinf(tensor).sum().item())
