"""Memory that something outside torch can write: numpy arrays and buffers that share it with a tensor.

Such a write leaves no trace: no call of torch makes it and no version counts it. At detail `full` the storages
that were exposed are watched: a checksum after each call of torch that uses one, compared before the next
that does and before each backward. Where it differs, something else wrote in between.
"""

from __future__ import annotations

import ctypes
import weakref
import zlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch

from ...model.records import Phase
from ..hiding.torch_private import dispatch_modes
from ..measure.askable import fits, readable_storage
from ..measure.tensor_facts import storage_key
from ..step.entry import Entry
from ..step.raw import Written
from .here import Here
from .measurements import Measurements

EXPOSING = frozenset({"numpy", "array", "dlpack", "as_tensor", "asarray"})
_WHOLE_UP_TO = 1 << 20  # bytes; of larger storages, as many bytes at even distances


class Sum(NamedTuple):
    """How many bytes a storage had, and a number that tells whether they have changed."""

    nbytes: int
    crc: int

    def written(self, before: Sum) -> bool:
        """Whether the bytes changed since `before`. Of a storage that was freed or resized nothing is told."""
        return self.nbytes == before.nbytes and self.crc != before.crc


def checksum(storage: torch.UntypedStorage) -> Sum:
    """What is compared of the bytes of a CPU storage.

    They are read where they lie: as a numpy array the storage could not be resized any more.
    """
    nbytes, address = storage.nbytes(), storage.data_ptr()
    if not nbytes or not address:
        return Sum(0, 0)
    data: Any = (ctypes.c_ubyte * nbytes).from_address(address)
    if nbytes > _WHOLE_UP_TO:
        data = np.ascontiguousarray(np.frombuffer(data, np.uint8)[:: nbytes // _WHOLE_UP_TO + 1])
    return Sum(nbytes, zlib.crc32(data))


class _Watched(NamedTuple):
    """One exposed storage: while it lives, its key is its own."""

    storage: weakref.ref[torch.UntypedStorage]
    entry: Entry
    tensor: weakref.ref[torch.Tensor]
    dtype: torch.dtype
    layout: tuple[int, tuple[int, ...], tuple[int, ...]]  # offset, size, stride
    stack: int  # where it was exposed
    how: str
    sum: Sum


class Exposed:
    """The exposed storages of the recording's thread."""

    def __init__(self, here: Here, measurements: Measurements) -> None:
        self.here, self.measurements = here, measurements
        self.watched: dict[int, _Watched] = {}

    def expose(self, tensors: Sequence[torch.Tensor], how: str, stack: int) -> None:
        """From now on, code outside torch may write these tensors' memory."""
        if not self.here.draft.full:
            return
        for tensor in tensors:
            entry, storage, key = self.here.table.find(tensor), readable_storage(tensor), storage_key(tensor)
            if entry is None or storage is None or key is None:
                continue
            known = self.watched.get(key)
            if known is None or known.storage() is not storage:
                layout = (int(tensor.storage_offset()), tuple(tensor.shape), tensor.stride())
                self.watched[key] = _Watched(
                    weakref.ref(storage),
                    entry,
                    weakref.ref(tensor),
                    tensor.dtype,
                    layout,
                    stack,
                    how,
                    checksum(storage),
                )

    def of_call(self, name: str, inputs: Sequence[torch.Tensor], outputs: Sequence[torch.Tensor], stack: int) -> None:
        """A call of torch is over: what it exposed, and what it wrote itself."""
        if self.watched:
            self.refresh((*inputs, *outputs))
        if name in EXPOSING:
            self.expose(inputs or outputs, name, stack)

    def refresh(self, tensors: Sequence[torch.Tensor] | None = None) -> None:
        """What the storages of `tensors` (of all that are watched) hold now was written by torch."""
        for key in self._keys(tensors):
            known = self.watched[key]
            storage = known.storage()
            if storage is None:
                del self.watched[key]
            else:
                self.watched[key] = known._replace(sum=checksum(storage))

    def look(self, tensors: Sequence[torch.Tensor] | None = None) -> None:
        """Record the writes from outside to the storages of `tensors`, or of all that are watched."""
        if not self.here.draft.full:
            self.watched.clear()
            return
        for key in self._keys(tensors):
            known = self.watched[key]
            storage = known.storage()
            if storage is None:
                del self.watched[key]
                continue
            now = checksum(storage)
            self.watched[key] = known._replace(sum=now)
            if now.written(known.sum):
                self._written(known, storage)

    def _keys(self, tensors: Sequence[torch.Tensor] | None) -> list[int]:
        if tensors is None:
            return list(self.watched)
        keys = dict.fromkeys(storage_key(tensor) for tensor in tensors)
        return [key for key in keys if key is not None and key in self.watched]

    def _written(self, known: _Watched, storage: torch.UntypedStorage) -> None:
        here = self.here
        draft, entry, tensor = here.draft, known.entry, known.tensor()
        if entry.mark is not draft.mark:
            if tensor is None:
                return  # this step has nothing that the storage could be called by
            here.table.number(draft, tensor)
        version = None if entry.version is None else entry.version - entry.base_version
        written = Written(version, version, known.how, counted=False)
        moment = draft.add("mutation", draft.timing.phase or Phase.OTHER, known.stack, (entry.number,), (), written)
        if not dispatch_modes() and fits(storage, *known.layout, known.dtype.itemsize):
            now = torch.empty(0, dtype=known.dtype).set_(storage, *known.layout)  # which would enlarge a smaller one
            self.measurements.sample(now, moment, entry.number, False, "value")
