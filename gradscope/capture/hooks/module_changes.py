"""Changes of modules: what they register, whether they train or evaluate, where they move, and `zero_grad`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.nn.modules.module import (
    register_module_module_registration_hook,
    register_module_parameter_registration_hook,
)

from ...model.records import Parameter
from ..hiding.hook_numbers import own_numbers
from ..hiding.no_torch_function import Unseen
from ..hiding.patch_set import HookSet
from ..journal.journal import Journal
from ..journal.stations import CHANGE, MODE
from ..measure.tensor_facts import bytes_of, device_of, dtype_of
from .module_names import ModuleNames
from .pause import Pause
from .zero_grad import zero_grad

_SETATTR = nn.Module.__setattr__.__code__
_Was = tuple[str, str, int, "Parameter | None"]  # a parameter before its module moves


class ModuleChangeWatch:
    """Records registrations, mode switches, moves and `zero_grad` of modules."""

    def __init__(self, journal: Journal, pause: Pause, names: ModuleNames) -> None:
        self.journal, self.pause, self.names = journal, pause, names
        self._applying = 0
        self._training = 0

    def install(self, hooks: HookSet) -> None:
        self._train: Callable[..., nn.Module] = nn.Module.train
        self._zero_grad: Callable[..., None] = nn.Module.zero_grad
        self._apply: Callable[..., nn.Module] = nn.Module._apply
        watch = self

        def train(module: nn.Module, mode: bool = True) -> nn.Module:
            return watch._trained(sys._getframe(1), module, mode)

        def zero_grad(module: nn.Module, set_to_none: bool = True) -> None:
            watch.zeroed(sys._getframe(1), module, set_to_none)

        def _apply(module: nn.Module, *args: Any, **kwargs: Any) -> nn.Module:
            return watch._applied(sys._getframe(1), module, args, kwargs)

        for name, replacement in (("train", train), ("zero_grad", zero_grad), ("_apply", _apply)):
            replacement.__doc__ = getattr(nn.Module, name).__doc__
            hooks.patch(nn.Module, name, replacement)

        self._install_parameter(hooks)
        with own_numbers():
            hooks.add(register_module_parameter_registration_hook(self._parameter_registered).remove)
            hooks.add(register_module_module_registration_hook(self._module_registered).remove)

    def _install_parameter(self, hooks: HookSet) -> None:
        original: Callable[..., Any] = nn.Parameter.__new__
        journal = self.journal

        def new(kind: type, data: Any = None, requires_grad: bool = True) -> Any:
            matching = self.journal.matching
            if matching.on:
                matching.passes(CHANGE, sys._getframe(1), ("parameter",))
            made = original(kind, data, requires_grad)
            if data is not None and self.journal.mine():
                with journal.guard("a new parameter"):
                    journal.leaves.parameter_made(made, data, sys._getframe(1))
            return made

        hooks.patch(nn.Parameter, "__new__", staticmethod(new))

    def _changes(self) -> None:
        """Something is registered: what is known of the modules of a root holds no more."""
        matching = self.journal.matching
        matching.generation += 1
        if matching.on:
            matching.passes(CHANGE, sys._getframe(3), ("registration",))

    def _parameter_registered(self, module: nn.Module, name: str, parameter: Any) -> None:
        self._changes()
        if parameter is None or not self.journal.mine():
            return
        frame = sys._getframe(2)
        if frame.f_code is _SETATTR and frame.f_back is not None:
            frame = frame.f_back
        if self.journal.with_optimizer or self.journal.frames.users(frame.f_code):
            self._registered(module, name, [parameter], frame)

    def _module_registered(self, module: nn.Module, name: str, added: Any) -> None:
        self._changes()
        if self.journal.with_optimizer and added is not None and self.journal.mine():
            self._registered(module, name, list(added.parameters()), sys._getframe(2))

    def _registered(self, module: nn.Module, name: str, parameters: list[torch.Tensor], frame: Any) -> None:
        with self.journal.guard("a registration"):
            self.journal.leaves.registered(type(module).__name__, name, parameters, frame)

    # -- modes, moves, zero_grad -----------------------------------------------------------------

    def _trained(self, frame: Any, module: nn.Module, mode: bool) -> nn.Module:
        journal = self.journal
        if not self._training and journal.matching.passes(MODE, frame, (id(module), mode)):
            self._training += 1  # of its parts, too
            try:
                return self._train(module, mode)
            finally:
                self._training -= 1
        if self._training or not self.journal.mine():
            return self._train(module, mode)
        self._training += 1
        try:
            result = self._train(module, mode)
        finally:
            self._training -= 1
        with journal.guard("a train()/eval() call"):
            number = self.names.number(module)
            self.names.known[id(module)].training = module.training
            journal.switches.switched("training", "train" if mode else "eval", number, frame)
        return result

    def _applied(self, frame: Any, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> nn.Module:
        journal = self.journal
        journal.matching.generation += 1  # torch may put new parameters in the place of the old
        if not self._applying and journal.matching.passes(CHANGE, frame, ("apply", id(module))):
            self._applying += 1  # to its parts, too
            try:
                return self._apply(module, *args, **kwargs)
            finally:
                self._applying -= 1
        if self._applying or not self.journal.mine():
            return self._apply(module, *args, **kwargs)
        self._applying += 1
        try:
            with self.pause:
                was = self._before_a_move(module)
                result = self._apply(module, *args, **kwargs)
                try:
                    with Unseen():
                        self._moved(frame, module, was)
                except Exception as error:
                    journal.fault("a module's move", error)
        finally:
            self._applying -= 1
        return result

    def _before_a_move(self, module: nn.Module) -> list[_Was]:
        found: list[_Was] = []
        table = self.journal.table
        with self.journal.guard("a module before its move"):
            for tensor in module.parameters():
                entry = table.find(tensor)
                known = table.parameters.get(entry.parameter) if entry and entry.parameter is not None else None
                found.append((device_of(tensor), dtype_of(tensor), id(tensor), known))
        return found

    def _moved(self, frame: Any, module: nn.Module, was: list[_Was]) -> None:
        table = self.journal.table
        groups: dict[tuple[str, str, str, str], int] = {}
        tensors: list[torch.Tensor] = list(module.parameters())
        for (device, dtype, identity, known), tensor in zip(was, tensors):
            if identity != id(tensor):  # torch put a new parameter in its place
                self.journal.leaves.parameter_made(tensor, None, frame)
                if known is not None:
                    table.adopt(tensor, known.name, known.root, known.role, model=known.model)
            if (device, dtype) != (device_of(tensor), dtype_of(tensor)):
                key = (device, device_of(tensor), dtype, dtype_of(tensor))
                groups[key] = groups.get(key, 0) + bytes_of(tensor)
        for tensor in (*tensors, *module.buffers()):
            entry = table.find(tensor)
            if entry is not None and entry.parameter is not None:
                known = table.parameters[entry.parameter]
                table.adopt(tensor, known.name, known.root, known.role, model=known.model)
        if groups:
            number = self.names.number(module)
            for key, nbytes in groups.items():
                self.journal.module_moved(frame, number, key, nbytes)

    def zeroed(self, frame: Any, owner: Any, set_to_none: bool) -> None:
        journal = self.journal
        if not journal.follows():
            self._zero_grad(owner, set_to_none)
            return

        def name() -> str:
            record = self.names.records[self.names.number(owner)]
            return record.path or record.root

        call = partial(self._zero_grad, owner)
        zero_grad(journal, self.pause, frame, owner.parameters, lambda: (name(), None), call, set_to_none)
