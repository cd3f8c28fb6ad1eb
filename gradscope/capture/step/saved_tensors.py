"""What a grad node keeps for its backward: which tensor of the step, at which version, and whether it is stale.

Reading `_saved_x` makes torch compare versions: a stale tensor raises an error that tells the version at which
it was saved. For a list of tensors it tells the first only; the others' come from the writes since the node was made.
"""

from __future__ import annotations

import re
import weakref
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch

from ..hiding.torch_private import RAW_SAVED, SAVED, DisableTorchDispatch
from ..measure.askable import is_strided
from ..measure.tensor_facts import bytes_of, storage_key
from .draft import Draft
from .raw import RawSaved, Updated, Written
from .tensor_registry import TensorTable

_new_tuple = tuple.__new__  # a named tuple's own constructor is a Python call
_PACKED: Any = object()  # in the place of a tensor that code of the script's would have to unpack
_TELLING = re.compile(r"is at version (\d+); expected version (\d+)")
# of each kind of grad node: (x, _raw_saved_x, _saved_x where there is such); a custom Function's class may go
_Names = tuple[tuple[str, str, "str | None"], ...]
_NAMES: weakref.WeakKeyDictionary[type, _Names] = weakref.WeakKeyDictionary()
_NAMES_OF_TORCH: dict[type, _Names] = {}
_MAY_GO = 1 << 9  # a type's flag: it was made while the program runs
_Met = tuple[int, int]  # a tensor of the step: its number, and what its versions are told relative to


class _Stale(NamedTuple):
    """Torch's words about a stale tensor: its version, and the one it was saved at."""

    now: int
    saved: int


class SavedReader:
    """Reads the saved tensors of the nodes of one backward."""

    def __init__(self, draft: Draft, table: TensorTable) -> None:
        self._draft, self._table = draft, table
        self._storages = table.storages_of(draft)

    def read(self, node: Any, op: int | None, results: Sequence[int]) -> tuple[RawSaved, ...]:
        """What `node` keeps; nothing once torch has freed it.

        `op` is the moment that made the node, `results` are the numbers of the tensors whose grad_fn it is.
        """
        kind = type(node)
        names = _NAMES_OF_TORCH.get(kind)
        found: list[RawSaved] = []
        for name, raw_name, plain_name in _names(kind) if names is None else names:
            try:
                raw = getattr(node, raw_name)
            except RuntimeError:
                continue  # already freed
            if plain_name is None or isinstance(raw, (tuple, list)):
                self._read_listed(found, node, name, raw, op, results)
                continue
            data, told = _unpacked(node, raw, plain_name)
            if data is _PACKED:
                found.append(RawSaved(name, None, None, 0, stale=False))
            elif data is not None:
                met = self._met(data, op, results if name == "result" else ())
                if told is None and met is not None and not data.is_inference():
                    saved = (name, met[0], data._version - met[1], bytes_of(data), False)
                    found.append(_new_tuple(RawSaved, saved))
                    continue
                if met is None and told is not None:
                    met = self._met_before(data)
                found.append(RawSaved(name, *self._of(data, met, op, told, False)))
        return tuple(found)

    def _read_listed(
        self, found: list[RawSaved], node: Any, name: str, raw: Any, op: int | None, results: Sequence[int]
    ) -> None:
        """The tensors of a list that a node keeps, or of a custom Function's `saved_tensors`."""
        listed = isinstance(raw, (tuple, list))
        kept = [_data(item) for item in (raw if listed else (raw,))]
        told = _staleness(node, name) if not any(data is _PACKED for data in kept) else None
        for position, data in enumerate(kept):
            if data is _PACKED:
                found.append(RawSaved(name, None, None, 0, stale=False))
            elif isinstance(data, torch.Tensor):
                met = self._met(data, op, results if name == "result" else ())
                met = met or (self._met_before(data) if told is not None else None)
                label = f"{name}[{position}]" if listed else name
                found.append(RawSaved(label, *self._of(data, met, op, told, listed)))

    def _of(
        self, data: torch.Tensor, met: _Met | None, op: int | None, told: _Stale | None, listed: bool
    ) -> tuple[int | None, int | None, int, bool]:
        """(number, version, bytes, whether stale) of a saved tensor."""
        version, stale = self._version(data, met, op, told, listed)
        return (None if met is None else met[0], version, bytes_of(data), stale)

    def _version(
        self, data: torch.Tensor, met: _Met | None, op: int | None, told: _Stale | None, listed: bool
    ) -> tuple[int | None, bool]:
        """(the version at which the tensor was saved, whether it is stale)."""
        if data.is_inference():
            return None, False
        now = saved = data._version
        if told is not None:
            saved = self._saved_at(met, op, now, told) if listed else told.saved
        return saved - (met[1] if met is not None else 0), saved != now

    def _met(self, data: torch.Tensor, op: int | None, results: Sequence[int]) -> _Met | None:
        """The tensor of the step that was saved: of those that share its memory, the one that looks the same."""
        key = storage_key(data)
        sharing = self._storages.get(key) if key is not None else None
        if sharing is None:  # the script holds it no longer
            return (results[0], 0) if len(results) == 1 else None
        best = sharing[0]
        if len(sharing) > 1:
            moment = self._draft.moments[op] if op is not None else None
            used = (*moment.inputs, *moment.outputs) if moment is not None else ()
            best = min(sharing, key=lambda one: (not _alike(one[1], data), one[0].number not in used, one[0].number))
        entry = best[0]
        return entry.number, entry.base_version if entry.parameter is not None else 0

    def _met_before(self, data: torch.Tensor) -> _Met | None:
        """A tensor of an earlier step, which this step has not used yet: now it is a tensor of this step too."""
        key, table = storage_key(data), self._table
        for entry in list(table.entries.values()):
            tensor = entry()
            if tensor is not None and key is not None and storage_key(tensor) == key:
                number = table.number(self._draft, tensor)
                return number, entry.base_version if entry.parameter is not None else 0
        return None

    def _saved_at(self, met: _Met | None, op: int | None, version: int, told: _Stale) -> int:
        """The version at which a tensor of a list was saved: its version now, less the writes since `op`."""
        if met is None or op is None:
            return told.saved if version == told.now else version
        number = met[0]
        moments = self._draft.moments
        made_at, at = moments[op].stack, op + 1
        while at < len(moments) and moments[at].stack == made_at and moments[at].kind in ("mutation", "leaf"):
            at += 1  # the op's own writes came before it saved
        for moment in moments[at:]:
            done, rise = moment.payload, None
            if isinstance(done, Written) and number in (*moment.inputs, *moment.outputs):
                rise = done.known
            elif isinstance(done, Updated) and number in moment.inputs:
                rise = done.versions[moment.inputs.index(number)]
            if rise is not None:
                before, after = rise
                version -= after - before
        return version


def names_stale(error: BaseException) -> bool:
    """Whether a backward failed because of a stale tensor."""
    return isinstance(error, RuntimeError) and _TELLING.search(str(error)) is not None


def _names(kind: type) -> _Names:
    found = _NAMES.get(kind)
    if found is None:
        names = [name[len(RAW_SAVED) :] for name in dir(kind) if name.startswith(RAW_SAVED)]
        plain = (SAVED + name if hasattr(kind, SAVED + name) else None for name in names)
        found = tuple([(name, RAW_SAVED + name, own) for name, own in zip(names, plain)])
        if kind.__flags__ & _MAY_GO:
            _NAMES[kind] = found
        else:
            _NAMES_OF_TORCH[kind] = found
    return found


def _unpacked(node: Any, raw: Any, name: str) -> tuple[Any, _Stale | None]:
    """A node's one saved tensor and, if it is stale, what torch says of that; see `_data`."""
    try:
        if raw.unpack_hook is not None:
            return _PACKED, None
        with DisableTorchDispatch():
            return getattr(node, name), None
    except RuntimeError as error:
        return _data(raw), _told(error)


def _staleness(node: Any, name: str) -> _Stale | None:
    """What torch says when the node's saved tensor (or list of them) is looked at: nothing unless one is stale."""
    custom = name == "tensors" and not hasattr(type(node), "_saved_tensors")  # an autograd.Function's
    try:
        with DisableTorchDispatch():
            getattr(node, "saved_tensors" if custom else SAVED + name, None)
    except RuntimeError as error:
        return _told(error)
    return None


def _told(error: RuntimeError) -> _Stale | None:
    words = _TELLING.search(str(error))
    return _Stale(int(words[1]), int(words[2])) if words else None


def _data(saved: Any) -> Any:
    """The saved tensor, None where there is none, `_PACKED` where the script's own code would unpack it."""
    try:
        if saved.unpack_hook is not None:
            return _PACKED
        with DisableTorchDispatch():
            return saved.data
    except RuntimeError:
        return None


def _alike(one: torch.Tensor, other: torch.Tensor) -> bool:
    """Whether two tensors of one storage show the same part of it in the same way."""
    if not (is_strided(one) and is_strided(other)):
        return one is other
    return (
        one.shape == other.shape
        and one.dtype == other.dtype
        and one.stride() == other.stride()
        and one.storage_offset() == other.storage_offset()
    )
