"""Modules: which were met, and what they, their parameters and their buffers are called."""

from __future__ import annotations

import weakref
from collections.abc import Callable

from torch import nn

from ...model.records import MODULE_FLAG, Module
from ..hiding.torch_private import COMPILED_MODULE
from ..journal.journal import Journal
from ..journal.station_facts import Tree
from ..step.phases import is_loss_module
from .creation_sites import Births


class KnownModule:
    """One module that was met."""

    __slots__ = ("compiled", "id", "loss", "reference", "scanned", "stack", "training", "tree", "versions")

    def __init__(self, module: nn.Module, number: int) -> None:
        self.reference = weakref.ref(module)
        self.id = number
        self.loss = is_loss_module(module)
        self.compiled = COMPILED_MODULE in module._modules
        self.scanned = False
        self.training = module.training
        self.stack = -1  # of a root whose call is only told
        self.tree: Tree | None = None  # of a root
        self.versions: list[int | None] = []  # of its buffers, when its call began


class ModuleNames:
    """Knows the modules that were met, by the names that a root gives them."""

    def __init__(self, journal: Journal, births: Births, on_module: Callable[[Module], None]) -> None:
        self.journal, self.births = journal, births
        self._on_module = on_module
        self.known: dict[int, KnownModule] = {}
        self.records: dict[int, Module] = {}

    def meet(self, module: nn.Module) -> KnownModule:
        """Take in a module that was not met before."""
        known = KnownModule(module, len(self.records))
        self.known[id(module)] = known
        kind = type(module).__name__
        if vars(module).get("requires_grad") is False and any(p.requires_grad for p in module.parameters()):
            self.journal.note(f"{MODULE_FLAG}: {kind}")
        self._record(Module(known.id, kind, "", kind, None, self.births.of(module)))
        return known

    def number(self, module: nn.Module) -> int:
        """The module's number, which it has from now on."""
        known = self.known.get(id(module))
        return (known if known is not None and known.reference() is module else self.meet(module)).id

    def _record(self, record: Module) -> None:
        if self.records.get(record.id) != record:
            self.records[record.id] = record
            self._on_module(record)

    def scan(self, root: nn.Module, name: str) -> None:
        """Name every module, parameter and buffer under `root`."""
        table = self.journal.table
        numbers: dict[str, int] = {}
        for path, module in root.named_modules():
            number = numbers[path] = self.number(module)
            parent = numbers.get(path.rpartition(".")[0]) if path else None
            self._record(Module(number, name, path, type(module).__name__, parent, self.births.of(module)))
            known = self.known[id(module)]
            known.training = module.training
        model = self.number(root)
        for path, parameter in root.named_parameters():
            table.adopt(parameter, path, name, "parameter", model=model)
        for path, buffer in root.named_buffers():
            table.adopt(buffer, path, name, "buffer", self.journal.draft, model)

    def scan_all(self) -> None:
        """A parameter without a name turned up: look for it under every root."""
        self.journal.table.nameless = False
        for known in list(self.known.values()):
            module = known.reference()
            if module is not None and known.scanned and not self.records[known.id].path:
                self.scan(module, self.records[known.id].root)

    def look_again(self) -> None:
        """Ops are seen again: what modes the modules are in now."""
        for known in self.known.values():
            module = known.reference()
            if module is not None:
                known.training = module.training
