"""Live tensors, by identity: which number each has in the step, without keeping any of them alive.

The number of a tensor is given when a step first meets it; its facts are read then.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch

from ...model.records import Parameter
from ..measure.tensor_facts import Facts, is_leaf, read_facts, storage_key, version_of
from .draft import TENSOR, Draft
from .entry import Entry, key_of, outlives_steps
from .raw import RawTensor

SWEEP_AT = 256  # dead tensors' entries are let go of when there are so many, and twice as many as were alive
_new_tuple = tuple.__new__  # a named tuple's own constructor is a Python call


class TensorTable:
    """All tensors that capture has met and that still live."""

    def __init__(
        self, on_parameter: Callable[[Parameter], None], name_of_operand: Callable[[int | None, int, bool, bool], str]
    ) -> None:
        self._name_of_operand = name_of_operand
        self.entries: dict[int, Entry] = {}
        self._owners: list[Entry] = []  # of the parameters
        self.parameters: dict[int, Parameter] = {}
        self.unnamed: set[int] = set()  # parameters that nothing has named yet, not even a use
        self.nameless = False  # a parameter was met that no module has named yet
        self._on_parameter = on_parameter
        self._sweep_at = SWEEP_AT

    def find(self, tensor: torch.Tensor) -> Entry | None:
        entry = self.entries.get(id(tensor))
        return entry if entry is not None and entry() is tensor else None

    def entry(self, tensor: torch.Tensor) -> Entry:
        entry = self.entries.get(id(tensor))
        if entry is None or entry() is not tensor:
            entry = self.entries[id(tensor)] = Entry(tensor)
        return entry

    def number(
        self,
        draft: Draft,
        tensor: torch.Tensor,
        stack: int | None = None,
        position: int = 0,
        method: bool = False,
        direct: bool = True,
    ) -> int:
        """The tensor's number in `draft`; met now as the operand at `position` of the call at `stack`."""
        entry = self.entries.get(id(tensor))
        if entry is None or entry() is not tensor:
            entry = self.entries[id(tensor)] = Entry(tensor)
        if entry.mark is draft.mark:
            return entry.number
        return self._enter(draft, entry, tensor, None, 0, 1, stack, position, method, direct, ())

    def numbers(self, draft: Draft, tensors: Sequence[torch.Tensor], stack: int | None) -> tuple[int, ...]:
        """The numbers of tensors that outlive steps, as operands of the call at `stack`."""
        return tuple([self.number(draft, tensor, stack) for tensor in tensors])

    def made(
        self,
        draft: Draft,
        tensor: torch.Tensor,
        moment: int,
        output: int,
        outputs: int,
        stack: int | None,
        direct: bool,
        sources: tuple[torch.Tensor, ...],
        uncounted: bool = False,
        shares: bool = False,
    ) -> int:
        """The number of a tensor that the call at `moment` returned.

        `shares`: it may share memory with a source without being a view (detach).
        """
        entry = self.entries.get(id(tensor))
        if entry is None or entry() is not tensor:
            entry = self.entries[id(tensor)] = Entry(tensor)
        elif entry.mark is draft.mark:
            for source in sources:
                if tensor is source:
                    return entry.number  # an in-place call returns what it was given
        if entry.stack is None:
            entry.stack = stack
        if uncounted:
            entry.uncounted = True
        elif entry.mark is None and not shares and type(tensor) is torch.Tensor:
            facts = read_facts(tensor)
            if not (facts.is_view or facts.is_inference):  # memory of its own
                return self._fresh(draft, entry, tensor, facts, moment, output, outputs, stack, direct)
        return self._enter(draft, entry, tensor, moment, output, outputs, stack, 0, False, direct, sources)

    @staticmethod
    def _fresh(
        draft: Draft,
        entry: Entry,
        tensor: torch.Tensor,
        facts: Facts,
        moment: int,
        output: int,
        outputs: int,
        stack: int | None,
        direct: bool,
    ) -> int:
        """A result that was never met before and shares no memory: the usual case, kept short."""
        number, storage = len(draft.tensors), draft.storage_count
        draft.storage_count = storage + 1
        version = entry.version = tensor._version
        entry.mark, entry.number, entry.storage = draft.mark, number, storage
        raw = (facts, version, storage, None, None, moment, output, outputs, stack, 0, False, direct, False, None)
        draft.tensors.append(_new_tuple(RawTensor, raw))
        draft.met.append(entry)
        return number

    def _enter(
        self,
        draft: Draft,
        entry: Entry,
        tensor: torch.Tensor,
        moment: int | None,
        output: int,
        outputs: int,
        stack: int | None,
        position: int,
        method: bool,
        direct: bool,
        sources: tuple[torch.Tensor, ...],
    ) -> int:
        if entry.prototype is not None and moment is None:
            number = self.enter_again(draft, entry, tensor)
            if number is not None:
                return number
        number = len(draft.tensors)
        if entry.parameter is None and outlives_steps(entry, tensor, moment, draft.mark):
            role = "parameter" if isinstance(tensor, torch.nn.Parameter) else "leaf"
            self.adopt(tensor, self._name_of_operand(stack, position, method, direct), "", role)
        parameter = entry.parameter
        if parameter is not None and entry.facts is not None and entry.facts.requires_grad == tensor.requires_grad:
            facts = entry.facts
        else:
            facts = read_facts(tensor)
            if parameter is not None:
                entry.facts = facts
        version = version_of(tensor) if not facts.is_inference else None
        if moment is None and entry.version is None:
            entry.version = version
        carried = False
        if parameter is not None:
            entry.base_version = version or 0
            draft.versions[parameter] = entry.base_version
            relative: int | None = None if version is None else 0
        else:
            relative = version
            if moment is None and entry.mark is not None:
                draft.carry(number, entry, entry.mark)
                carried = True
        entry.version = version
        storage = self._storage(draft, entry, tensor, sources)
        base = self.base(draft, tensor) if facts.is_view else None
        entry.mark = draft.mark
        entry.number = number
        entry.storage = storage
        leaf = entry.gradient_of
        gradient_of = leaf.number if leaf is not None and leaf.mark is draft.mark else None
        raw = RawTensor(
            facts, relative, storage, base, parameter, moment, output, outputs, stack, position, method, direct,
            carried, gradient_of,
        )  # fmt: skip
        draft.tensors.append(raw)
        draft.met.append(entry)
        if parameter is not None and moment is None and base is None:
            entry.prototype, entry.key = raw, storage_key(tensor)
        return number

    def base(self, draft: Draft, view: torch.Tensor) -> int | None:
        """The number of the tensor that it is a view of, if the step has met that."""
        owner = view._base
        known = self.find(owner) if owner is not None else None
        return known.number if known is not None and known.mark is draft.mark else None

    def name_by_use(self, tensor: torch.Tensor, stack: int, position: int, method: bool, direct: bool) -> None:
        """Call a parameter that nothing has named what the script calls it here, as the operand of a call."""
        entry = self.find(tensor)
        if entry is not None and entry.parameter is not None and entry.parameter in self.unnamed:
            name = self._name_of_operand(stack, position, method, direct)
            if name:
                known = self.parameters[entry.parameter]
                self.adopt(tensor, name, known.root, known.role, model=known.model)

    @staticmethod
    def enter_again(draft: Draft, entry: Entry, tensor: torch.Tensor) -> int | None:
        """A parameter of earlier steps, met again: only what can have changed is read."""
        raw, facts = entry.prototype, entry.facts
        if raw is None or facts is None or facts.requires_grad is not tensor.requires_grad or raw.version is None:
            return None
        number, storage = len(draft.tensors), draft.storage_count
        draft.storage_count = storage + 1
        if entry.key is not None:
            draft.storages[entry.key] = id(tensor)
        if raw.storage != storage:
            raw = entry.prototype = raw._replace(storage=storage)
        version = entry.version = entry.base_version = tensor._version
        assert entry.parameter is not None
        draft.versions[entry.parameter] = version
        entry.mark, entry.number, entry.storage = draft.mark, number, storage
        draft.tensors.append(raw)
        draft.met.append(entry)
        return number

    def _storage(self, draft: Draft, entry: Entry, tensor: torch.Tensor, sources: tuple[torch.Tensor, ...]) -> int:
        """The storage's number in the step. Keys are addresses, so a key counts only while its owner lives."""
        known = self.source(draft, tensor, sources)
        if known is not None:
            self.share(draft, entry, known)
            return known.storage
        key = storage_key(tensor)
        if key is not None and not sources:
            owner = draft.storages.get(key)
            if owner is not None:
                live = self._live(owner)
                if live is not None and live.mark is draft.mark and key_of(live) == key:
                    draft.sharing.setdefault(live.storage, [live]).append(entry)
                    return live.storage
            draft.storages[key] = id(tensor)
        draft.storage_count += 1
        return draft.storage_count - 1

    def source(self, draft: Draft, tensor: torch.Tensor, sources: Sequence[torch.Tensor]) -> Entry | None:
        """The first of a call's operands whose memory the `tensor` that it returned shares."""
        key = storage_key(tensor) if sources else None
        if key is not None:
            for source in sources:
                if storage_key(source) == key:
                    known = self.find(source)
                    if known is not None and known.mark is draft.mark:
                        return known
        return None

    @staticmethod
    def share(draft: Draft, entry: Entry, source: Entry) -> None:
        """Both share their memory."""
        entry.uncounted = entry.uncounted or source.uncounted
        draft.sharing.setdefault(source.storage, [source]).append(entry)

    @staticmethod
    def aliases(draft: Draft, written: Entry) -> list[tuple[Entry, torch.Tensor]]:
        """Other live tensors of the step whose version rose with `written`'s: they share memory and counter."""
        sharing: list[Entry] = draft.sharing.get(written.storage, [])
        found = [(entry, entry()) for entry in sharing if entry.mark is draft.mark]
        living = [(entry, tensor) for entry, tensor in found if tensor is not None]
        if sharing:
            draft.sharing[written.storage] = [entry for entry, _ in living]
        return [
            (entry, tensor)
            for entry, tensor in living
            if entry is not written and entry.version is not None and version_of(tensor) != entry.version
        ]

    def _live(self, identity: int) -> Entry | None:
        entry = self.entries.get(identity)
        return entry if entry is not None and entry() is not None else None

    def read_as_gradient(self, draft: Draft, gradient: torch.Tensor, leaf: Entry) -> None:
        """The script read `gradient` as the leaf's `.grad`."""
        entry = self.entry(gradient)
        entry.gradient_of = leaf
        if entry.mark is draft.mark and leaf.mark is draft.mark:
            raw = draft.tensors[entry.number]._replace(gradient_of=leaf.number)
            draft.change(TENSOR, entry.number, raw)

    def leaves(self, draft: Draft) -> Iterator[tuple[int, torch.Tensor]]:
        """(number, tensor) of each tensor of the step that may hold a gradient."""
        for entry in dict.fromkeys(draft.met):
            tensor = entry() if entry.mark is draft.mark else None
            if tensor is not None and tensor.requires_grad and (tensor.retains_grad or is_leaf(tensor)):
                yield entry.number, tensor

    # -- parameters ------------------------------------------------------------------------------

    def adopt(
        self,
        tensor: torch.Tensor,
        name: str,
        root: str,
        role: str,
        draft: Draft | None = None,
        model: int | None = None,
    ) -> int:
        """Make the tensor one that outlives steps, or rename it. Returns its parameter id.

        `draft`: the step in progress, where the tensor may have been met before it was known for what it is.
        `model` is the number of the module that calls it so, `root` what the script calls that.
        """
        entry = self.entry(tensor)
        if entry.parameter is None:
            entry.parameter = len(self.parameters)
            self._owners.append(entry)
            self.nameless = self.nameless or (role == "parameter" and not root)
            if draft is not None and entry.mark is draft.mark:
                self._known_since(draft, entry)
        facts = read_facts(tensor)
        entry.facts, entry.prototype = facts, None
        known = self.parameters.get(entry.parameter)
        record = Parameter(
            id=entry.parameter,
            name=name,
            root=root,
            role=role,
            shape=facts.shape,
            dtype=facts.dtype,
            device=facts.device,
            requires_grad=facts.requires_grad,
            nbytes=facts.nbytes,
            optimizers=known.optimizers if known else (),
            stack=entry.stack,
            model=model,
        )
        if name:
            self.unnamed.discard(entry.parameter)
        else:
            self.unnamed.add(entry.parameter)
        if record != known:
            self.parameters[entry.parameter] = record
            self._on_parameter(record)
        return entry.parameter

    @staticmethod
    def _known_since(draft: Draft, entry: Entry) -> None:
        """A tensor that `draft` has met outlives steps: there it is that from its beginning, where versions are 0."""
        raw = draft.tensors[entry.number]
        if raw.version != 0 or entry.parameter is None:
            return
        draft.change(TENSOR, entry.number, raw._replace(parameter=entry.parameter))
        draft.versions[entry.parameter] = entry.base_version = 0
        if entry.version:
            draft.bumps[entry.parameter] = entry.version

    def update(self, record: Parameter) -> None:
        self.parameters[record.id] = record
        self._on_parameter(record)

    def live_parameters(self) -> Iterator[tuple[int, torch.Tensor, Entry]]:
        """(id, tensor, entry) of every parameter, buffer and hand-updated leaf that still lives."""
        for entry in list(self.entries.values()):
            if entry.parameter is not None:
                tensor = entry()
                if tensor is not None:
                    yield entry.parameter, tensor, entry

    def storages_of(self, draft: Draft) -> dict[int, list[tuple[Entry, torch.Tensor]]]:
        """The live tensors met in `draft`, by storage; those of one storage with rising numbers."""
        found: dict[int, list[tuple[Entry, torch.Tensor]]] = {}
        for entry in dict.fromkeys(draft.met):
            tensor = entry() if entry.mark is draft.mark else None
            key = storage_key(tensor) if tensor is not None else None
            if key is not None and tensor is not None:
                found.setdefault(key, []).append((entry, tensor))
        for sharing in found.values():
            if len(sharing) > 1:
                sharing.sort(key=lambda one: one[0].number)
        return found

    def look_again(self) -> None:
        """Ops were not seen for a while: what is known of parameters may not hold any more."""
        for entry in self._owners:
            entry.facts = entry.prototype = None

    def count_unseen(self, draft: Draft) -> None:
        """Ops of this step were not seen: how far they raised the versions of what outlives steps."""
        for entry in self._owners:
            tensor = entry() if entry.version is not None else None
            version = None if tensor is None else version_of(tensor)
            if version is not None and entry.version is not None and entry.parameter is not None:
                if version != entry.version:
                    rise = version - entry.version
                    draft.bumps[entry.parameter] = draft.bumps.get(entry.parameter, 0) + rise
                entry.version = version

    # -- upkeep ----------------------------------------------------------------------------------

    def sweep(self) -> None:
        """Forget dead tensors, now and then: cost stays proportional to what was met."""
        if len(self.entries) < self._sweep_at:
            return
        self.entries = {key: entry for key, entry in self.entries.items() if entry() is not None}
        self._owners = [entry for entry in self._owners if entry() is not None]
        self._sweep_at = max(SWEEP_AT, 2 * len(self.entries))
