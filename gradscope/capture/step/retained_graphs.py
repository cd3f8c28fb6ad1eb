"""Results that outlive their step with a graph behind them: which, how many, and what in the script holds them.

Looked for when a step closes, at detail `full` only. Nothing is kept alive: entries hold weak references, and
what is looked at is let go of before the script goes on.
"""

from __future__ import annotations

import gc
import sys
from collections import deque
from collections.abc import Iterator, Sequence
from types import FrameType, ModuleType
from typing import Any

import torch

from ...model.records import Kept
from ..hiding.no_torch_function import Unseen
from ..measure.grad_graph import walk
from ..measure.tensor_facts import is_leaf, node_of
from ..sites.assignments import function_of, statements
from ..sites.call_sites import Sites
from .draft import Draft
from .entry import Entry
from .tensor_registry import TensorTable

MAX_LOOKUPS = 12  # of what holds a tensor: each reads all objects there are
_LEVELS = 4  # from a tensor up to a name: self.history["loss"][3]
_PARTS_OF_A_FUNCTION = frozenset({"<listcomp>", "<genexpr>", "<dictcomp>", "<setcomp>", "<lambda>"})
_CONTAINERS = (list, tuple, dict, set, deque)
_REGISTERED = frozenset({"_buffers", "_parameters"})  # where a module keeps what is under an attribute's name
COUNTED_STEPS = 8  # grad nodes are counted after each of the first steps, then ever more seldom


class Survivors:
    """Looks, as each step closes, for results of earlier steps that live on with their graph."""

    def __init__(self, sites: Sites, table: TensorTable) -> None:
        self._sites, self._table = sites, table
        self._holders: dict[int, tuple[str, int | None]] = {}  # by the stack that made the tensor
        self._looked = 0
        self._next_count, self._closed = 0, 0

    def look(self, draft: Draft) -> tuple[tuple[Kept, ...], tuple[int, int]]:
        """What `StepRow.kept` and `StepRow.alive` are for the step that closes."""
        with Unseen():
            own, earlier = self._living(draft)
            kept = [*self._carriers(draft)]
            for entry in earlier:
                if not entry.outlived and entry.mark is not None and entry.mark.number is not None:
                    entry.outlived = True
                    kept.append(Kept(entry.mark.number, entry.number, *self._holder_of(entry)))
            return tuple(kept), (len(earlier), self._count([*own, *earlier]))

    def _carriers(self, draft: Draft) -> Iterator[Kept]:
        """Results that brought their graph into this step from a lasting place: the statements that put them there."""
        for number, entry, mark, old in draft.carriers:
            if entry.outlived or mark.number is None:
                continue
            raw = draft.tensor(number)
            if raw.facts.grad_fn is None:
                continue
            name = self._sites.operand_name(raw.stack, raw.position, raw.method) if raw.stack is not None else ""
            stem, _, attribute = name.rpartition(".")
            found = self._put_away(entry.made_at, attribute) if stem else self._holder_of(entry)
            if found is not None and found[1] is not None:
                entry.outlived = True
                yield Kept(mark.number, old, *found)

    def _living(self, draft: Draft) -> tuple[list[Entry], list[Entry]]:
        """Results with a graph that live: those that this step made, and those of earlier steps."""
        own: list[Entry] = []
        earlier: list[Entry] = []
        for entry in list(self._table.entries.values()):
            tensor = entry()  # most are gone
            if tensor is None or entry.parameter is not None or entry.mark is None:
                continue
            if not tensor.requires_grad or is_leaf(tensor):
                continue
            if entry.mark is draft.mark:
                raw = draft.tensor(entry.number)
                if raw.made_by is not None:
                    entry.made_at = -1 if raw.stack is None else raw.stack
                    own.append(entry)
                    continue
            elif entry.mark.number is None:
                continue  # of the step that comes: this one was cut off before it
            earlier.append(entry)
        earlier.sort(key=_age)
        return own, earlier

    def _count(self, living: Sequence[Entry]) -> int:
        """Grad nodes behind the results; -1 at steps where they are not counted."""
        self._closed += 1
        if self._closed > COUNTED_STEPS and self._closed < self._next_count:
            return -1
        self._next_count = self._closed * 3 // 2
        roots = []
        for entry in living:
            tensor = entry()
            if tensor is not None:
                roots.append(node_of(tensor))
        return len(walk(roots)[0])

    # -- what holds them -----------------------------------------------------------------------------

    def _holder_of(self, entry: Entry) -> tuple[str, int | None]:
        """The holder of a tensor, which is looked for once for all that one stack made."""
        known = self._holders.get(entry.made_at)
        if known is not None:
            return known
        tensor = entry()
        if tensor is None or entry.made_at < 0 or self._looked >= MAX_LOOKUPS:
            return "", None
        self._looked += 1
        found = self._holders[entry.made_at] = self._holder(tensor, entry.made_at)
        return found

    def _holder(self, tensor: torch.Tensor, made_at: int) -> tuple[str, int | None]:
        name, contained, owner = _owner_of(tensor)
        if not name and not contained:
            return "", None  # a variable of a running function, as far as can be told
        found = self._put_away(made_at, name)
        if found is not None or not name:
            return found or ("", None)
        files = dict.fromkeys([*_files_of(owner), *(code.co_filename for code, _ in self._sites.positions[made_at])])
        for file in files:
            for storing in statements(file).storings:
                if storing.last_name == name and storing.names:
                    return storing.receiver, self._sites.statement(file, storing.line)
        inner = self._put_away(made_at, "") if contained else None  # a container that has another name where it grew
        return inner or (name, None)

    def _put_away(self, made_at: int, name: str) -> tuple[str, int | None] | None:
        """The statement that put the value away, from the line that made it outwards as far as it is returned.

        `name` is the attribute or global that holds it, "" for a container that has none.
        """
        sites = self._sites
        places = zip(sites.positions[made_at], sites.stack_sites[made_at])
        for depth, ((code, _), site) in enumerate(places):
            reading = sites.readings[site]
            if reading.stored:  # losses.append(step())
                return reading.stored, sites.outer(made_at, depth)
            known, function = statements(code.co_filename), function_of(code)
            for target in reading.targets:
                if name and "." in target and target.rpartition(".")[2] == name:  # self.h = cell(x)
                    return target, sites.outer(made_at, depth)
            bound = {target for target in reading.targets if target.isidentifier()}
            for storing in known.storings:
                fits = storing.last_name == name if name else storing.inside
                if fits and storing.function == function and storing.names & bound:
                    return storing.receiver, sites.statement(code.co_filename, storing.line)
            passed_on = reading.returned or known.returned.get(function, frozenset()) & bound
            if not passed_on and code.co_name not in _PARTS_OF_A_FUNCTION:
                return None
        return None


def _age(entry: Entry) -> tuple[int, int]:
    """Older results first."""
    made_in = entry.mark.number if entry.mark is not None else None
    return (-1 if made_in is None else made_in, entry.number)


def _owner_of(tensor: torch.Tensor) -> tuple[str, bool, Any]:
    """(name, whether a container holds it, the owner) of what holds the tensor: the attribute or global it is under.

    Locals of running functions cannot be seen; what only they hold has no name.
    """
    found: list[Any] = [tensor]
    keys, inside = [""], [False]
    contained = False
    for _ in range(_LEVELS):
        parents = gc.get_referrers(*found)
        place = {id(child): index for index, child in enumerate(found)}
        upper: list[Any] = []
        upper_keys: list[str] = []
        upper_inside: list[bool] = []
        for parent in parents:
            if parent is found or parent is upper or isinstance(parent, (FrameType, ModuleType, Entry)):
                continue
            if isinstance(parent, dict):
                key, child = _key_in(parent, place)
                if "__name__" in parent and "__builtins__" in parent:  # a module's globals
                    return key, inside[child] or keys[child] != "", parent
            elif isinstance(parent, _CONTAINERS):
                held = gc.get_referents(parent)  # which runs no `__iter__` of the script's
                key, child = "", place.get(id(next((item for item in held if id(item) in place), None)), 0)
                held.clear()
                contained = contained or not isinstance(parent, tuple)
            else:
                own = _attributes(parent)
                if id(own) in place:
                    return keys[place[id(own)]], inside[place[id(own)]], parent
                key, child = _key_in(own, place)
                if key:
                    return key, inside[child] or keys[child] != "", parent
                continue
            upper.append(parent)
            upper_keys.append(keys[child] if key in _REGISTERED else key)
            upper_inside.append(inside[child] or (not isinstance(parent, (dict, tuple))) or keys[child] != "")
        parents.clear()  # it would be found to hold what it lists
        if not upper:
            break
        found, keys, inside = upper, upper_keys, upper_inside
    return "", contained or any(inside), None


def _key_in(parent: dict[Any, Any], place: dict[int, int]) -> tuple[str, int]:
    """The name under which a mapping holds one of the children, and the child's place."""
    for name, value in list(dict.items(parent)):
        if id(value) in place and isinstance(name, str):
            return name, place[id(value)]
    return "", 0


def _attributes(thing: Any) -> dict[str, Any]:
    """An instance's own attributes, without running any code of its class."""
    try:
        found = object.__getattribute__(thing, "__dict__")
    except (AttributeError, TypeError):
        return {}
    return found if type(found) is dict else {}


def _files_of(owner: Any) -> list[str]:
    """The source file of the class that an object is of."""
    module = sys.modules.get(type(owner).__module__)
    file = getattr(module, "__file__", None)
    return [file] if isinstance(file, str) else []
