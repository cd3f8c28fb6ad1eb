"""Custom `autograd.Function`s: each call is one op, whatever its forward runs."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Sequence
from typing import Any

import torch

from ..hiding.patch_set import HookSet
from ..hiding.torch_private import sequence_number
from ..journal.journal import Journal
from ..measure.function_slope import Probe
from ..measure.tensor_facts import tensors_in, version_of
from .pause import Pause

_PROBES = 256  # calls whose values wait for their backward


class FunctionWatch:
    """Records `Function.apply`."""

    def __init__(self, journal: Journal, pause: Pause) -> None:
        self.journal, self.pause = journal, pause

    def install(self, hooks: HookSet) -> None:
        function = torch.autograd.Function
        bound_to = vars(function)["apply"].__get__  # a classmethod, since torch 2.15 one written in C

        def apply(kind: type, *args: Any, **kwargs: Any) -> Any:
            journal = self.journal
            if journal.matching.aside and threading.get_ident() == journal.thread:
                return self._unwatched(bound_to(None, kind), args, kwargs)
            if not self.journal.mine():
                return bound_to(None, kind)(*args, **kwargs)
            frame = sys._getframe(1)
            with self.pause:
                numbers = None
                with journal.guard(f"the inputs of {kind.__name__}"):
                    inputs = tensors_in((*args, *kwargs.values()))
                    stack, direct = journal.here.locate(frame)
                    versions = [version_of(t) for t in inputs]
                    numbers = journal.ops.enter_inputs(inputs, stack, False, direct, versions, args)
                if numbers is None:
                    return bound_to(None, kind)(*args, **kwargs)
                first = sequence_number()
                result = bound_to(None, kind)(*args, **kwargs)
                last = sequence_number()
                with journal.guard(f"the result of {kind.__name__}"):
                    self._returned(
                        kind.__name__,
                        stack,
                        direct,
                        inputs,
                        versions,
                        numbers,
                        first,
                        last,
                        result,
                        getattr(kind, "backward", None),
                    )
                return result

        apply.__doc__ = function.apply.__doc__
        hooks.patch(function, "apply", classmethod(apply))

    def _unwatched(self, call: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """A call in a step whose ops are not seen: nothing that runs in it is a call of the script's."""
        matching = self.journal.matching
        matching.inside += 1
        try:
            return call(*args, **kwargs)
        finally:
            matching.inside -= 1

    def _returned(
        self,
        name: str,
        stack: int,
        direct: bool,
        inputs: Sequence[torch.Tensor],
        versions: Sequence[int | None],
        numbers: tuple[int, ...],
        first: int,
        last: int,
        result: Any,
        backward: object,
    ) -> None:
        """A Function gave `result`; it made the grad nodes `first`..`last`-1."""
        journal = self.journal
        outputs = [result] if isinstance(result, torch.Tensor) else tensors_in((result,))
        behind = journal.sites.behind(backward, stack)
        moment = journal.ops.add(name, stack, direct, inputs, numbers, outputs, first, last, behind=behind)
        probe = Probe.of(inputs, outputs) if journal.tracker.draft.full and moment >= 0 else None
        if probe is not None:
            journal.probes[last - 1] = probe
            while len(journal.probes) > _PROBES:
                del journal.probes[next(iter(journal.probes))]
        journal.versions.call_writes(moment)
        for tensor, before in zip(inputs, versions):
            after = version_of(tensor)
            if after != before:
                journal.versions.mutated(tensor, before, after, name, stack)
