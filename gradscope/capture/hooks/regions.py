"""Modes that the function mode cannot see begin: autocast; and calls that are one op to the script,
whatever runs inside: custom `autograd.Function`s, a DataLoader's next batch.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import nullcontext
from types import FrameType
from typing import Any

import torch

from ...model.records import LOADER, Phase
from ..hiding.no_torch_function import Unseen
from ..hiding.patch_set import HookSet
from ..hiding.torch_private import LoaderIterator, function_mode_at, function_modes
from ..journal.journal import Journal
from ..measure.tensor_facts import dtype_name, paths_in, tensors_in
from .creation_sites import Births
from .pause import Pause

_NOTHING = nullcontext()


class ModeWatch:
    """Records autocast and inference regions, shows opaque calls as one op."""

    def __init__(self, journal: Journal, pause: Pause, births: Births) -> None:
        self.journal, self.pause, self.births = journal, pause, births
        self._outer: list[str | None] = []

    def install(self, hooks: HookSet) -> None:
        self._install_inference(hooks)
        self._install_autocast(hooks)
        self._install_loader(hooks)
        self._install_ranges(hooks)
        self._install_overrides(hooks)

    def _install_inference(self, hooks: HookSet) -> None:
        enter: Callable[..., None] = torch.inference_mode.__enter__
        leave: Callable[..., None] = torch.inference_mode.__exit__

        def enter_(region: Any) -> None:
            enter(region)
            self._inference(sys._getframe(1))

        def exit_(region: Any, *exc: Any) -> None:
            leave(region, *exc)
            self._inference(sys._getframe(1))

        hooks.patch(torch.inference_mode, "__enter__", enter_)
        hooks.patch(torch.inference_mode, "__exit__", exit_)

    def _inference(self, frame: FrameType) -> None:
        with self.journal.guard("a switch of inference mode"):
            if self.journal.mine():
                self.journal.switches.inference_mode(frame)

    def _install_autocast(self, hooks: HookSet) -> None:
        enter: Callable[..., Any] = torch.autocast.__enter__
        leave: Callable[..., Any] = torch.autocast.__exit__

        def enter_(region: Any) -> Any:
            result = enter(region)
            with self.journal.guard("autocast's beginning"):
                if self.journal.follows():
                    self._outer.append(self.journal.here.autocast)
                    on = f"{region.device}:{dtype_name(region.fast_dtype)}" if region._enabled else None
                    self._switch(on, sys._getframe(1))
            return result

        def exit_(region: Any, *exc: Any) -> Any:
            result = leave(region, *exc)
            with self.journal.guard("autocast's end"):
                if self.journal.follows() and self._outer:
                    self._switch(self._outer.pop(), sys._getframe(1))
            return result

        hooks.patch(torch.autocast, "__enter__", enter_)
        hooks.patch(torch.autocast, "__exit__", exit_)

    def _switch(self, on: str | None, frame: Any) -> None:
        if on != self.journal.here.autocast:
            self.journal.here.autocast = on
            if self.journal.matching.on:
                return
            self.journal.switches.switched("autocast", on or "off", None, frame)

    def _install_loader(self, hooks: HookSet) -> None:
        loader = LoaderIterator
        original = loader.__next__

        def next_(batches: Any) -> Any:
            journal = self.journal
            if not self.journal.mine():
                return original(batches)
            frame = sys._getframe(1)
            journal.tracker.draft.begins(Phase.OTHER)
            with self.pause:
                batch = original(batches)
                with journal.guard("a batch of a DataLoader"):
                    self._loaded(frame, self.births.of(batches), batch, tensors_in((batch,)))
                return batch

        hooks.patch(loader, "__next__", next_)
        begin = torch.utils.data.DataLoader.__iter__

        def iter_(loader: Any) -> Any:
            if not self.journal.mine():
                return begin(loader)
            with self.pause:
                batches = begin(loader)
            made = self.births.of(loader)
            if made is not None:
                self.births.put(batches, made)
            return batches

        hooks.patch(torch.utils.data.DataLoader, "__iter__", iter_)

    def _loaded(self, frame: FrameType, made: int | None, whole: Any, batch: list[torch.Tensor]) -> None:
        """A DataLoader, made at the stack `made`, gave the next batch."""
        journal = self.journal
        stack, direct = journal.here.locate(frame)
        layout = journal.sites.layouts.get(stack)
        if layout is None or len(layout) != len(batch):
            journal.sites.layouts[stack] = paths_in(whole)
        journal.ops.add(LOADER, stack, direct, [], (), batch, 0, 0, behind=made)

    def _install_ranges(self, hooks: HookSet) -> None:
        """Profiler ranges call torch ops to begin and end: nothing of the script's."""
        ranges = torch.autograd.profiler.record_function
        enter: Callable[..., Any] = ranges.__enter__
        leave: Callable[..., Any] = ranges.__exit__

        def enter_(region: Any) -> Any:
            if not function_modes():
                return enter(region)
            with self._aside_of_a_range():
                return enter(region)

        def exit_(region: Any, *exc: Any) -> Any:
            if not function_modes():
                return leave(region, *exc)
            with self._aside_of_a_range():
                return leave(region, *exc)

        hooks.patch(ranges, "__enter__", enter_)
        hooks.patch(ranges, "__exit__", exit_)

    def _aside_of_a_range(self) -> Any:
        """Where no function mode but ours could see the range's calls, hiding them from all is enough."""
        if function_modes() == 1 and function_mode_at(0) is self.pause.mode:
            return Unseen()
        return self.pause if self.journal.mine() else _NOTHING

    def _install_overrides(self, hooks: HookSet) -> None:
        """`has_torch_function` decides between fast and slow paths (attention): our mode must not count.

        Torch's own dispatch uses names bound at import, which stay as they are.
        """
        original: Callable[..., bool] = torch.overrides.has_torch_function

        def has_torch_function(arguments: Any) -> bool:
            if not self.journal.mine():
                return original(arguments)
            with self.pause:
                return original(arguments)

        hooks.patch(torch.overrides, "has_torch_function", has_torch_function)
