"""Modules: which one is running, what they are called, and whether they train or evaluate.

`nn.Module.__call__`, `train`, `zero_grad` and `_apply` are patched on the class. Global module hooks are
not used: torch warns about them when a module is compiled, and they miss exceptions.
"""

from __future__ import annotations

import sys
import weakref
from collections.abc import Callable
from functools import partial
from threading import get_ident
from typing import Any

import torch
from torch import nn
from torch.nn.modules.module import (
    register_module_module_registration_hook,
    register_module_parameter_registration_hook,
)

from ...model.records import Module, Parameter
from ..hiding.hook_numbers import own_numbers
from ..hiding.no_torch_function import Unseen
from ..hiding.patch_set import HookSet
from ..hiding.recursion_depth import LEAF, add_frames
from ..hiding.torch_private import COMPILED_MODULE, DYNAMO_MODULES, UNPATCHED_CALL
from ..hiding.torch_state import transforming
from ..journal.journal import Journal
from ..journal.station_facts import Tree, arguments_facts, versions_rose
from ..journal.stations import CALL, CHANGE, MODE, RETURNED
from ..measure.tensor_facts import bytes_of, device_of, dtype_of
from ..step.phases import is_loss_module
from ..step.raw import RawCall
from .creation_sites import Births
from .pause import Pause
from .zero_grad import zero_grad

_SETATTR = nn.Module.__setattr__.__code__
_new_tuple = tuple.__new__  # a named tuple's own constructor is a Python call
_FRAMES = 2  # of ours, below each call of a module
_Was = tuple[str, str, int, "Parameter | None"]  # a parameter before its module moves


class Known:
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


class ModuleWatch:
    """Records module calls and mode switches; names parameters, buffers and modules."""

    def __init__(self, journal: Journal, pause: Pause, births: Births, on_module: Callable[[Module], None]) -> None:
        self.journal, self.pause, self.births = journal, pause, births
        self._on_module = on_module
        self._known: dict[int, Known] = {}
        self.records: dict[int, Module] = {}
        self._applying = 0
        self._training = 0
        self._agreed = False

    def install(self, hooks: HookSet) -> None:
        self._call: Callable[..., Any] = nn.Module.__call__
        self._train: Callable[..., nn.Module] = nn.Module.train
        self._zero_grad: Callable[..., None] = nn.Module.zero_grad
        self._apply: Callable[..., nn.Module] = nn.Module._apply
        watch = self

        original, journal, clock = self._call, self.journal, self.journal.clock
        matching = journal.matching
        matching.on_return.append(self._look_again)
        is_dynamo_compiling, caller = torch.compiler.is_dynamo_compiling, sys._getframe

        def call(module: nn.Module, *args: Any, **kwargs: Any) -> Any:
            if is_dynamo_compiling():
                return original(module, *args, **kwargs)
            if matching.aside and (clock.depth or matching.inside) and get_ident() == journal.thread:
                return original(module, *args, **kwargs)  # a part of a root whose ops are not seen
            frames = _FRAMES if clock.depth else _FRAMES + LEAF
            add_frames(frames)
            try:
                return watch._called(caller(1), module, args, kwargs)
            finally:
                add_frames(-frames)

        def train(module: nn.Module, mode: bool = True) -> nn.Module:
            return watch._trained(sys._getframe(1), module, mode)

        def zero_grad(module: nn.Module, set_to_none: bool = True) -> None:
            watch.zeroed(sys._getframe(1), module, set_to_none)

        def _apply(module: nn.Module, *args: Any, **kwargs: Any) -> nn.Module:
            return watch._applied(sys._getframe(1), module, args, kwargs)

        for name, replacement in (("__call__", call), ("train", train), ("zero_grad", zero_grad), ("_apply", _apply)):
            replacement.__doc__ = getattr(nn.Module, name).__doc__
            hooks.patch(nn.Module, name, replacement)

        self._install_parameter(hooks)
        with own_numbers():
            hooks.add(register_module_parameter_registration_hook(self._parameter_registered).remove)
            hooks.add(register_module_module_registration_hook(self._module_registered).remove)

        self._hooks, self._replacement = hooks, call
        self.journal.on_compiled = self._agree_with_dynamo

    def _agree_with_dynamo(self) -> None:
        """Dynamo goes straight to a module's forward where `__call__` is torch's own: now it is ours that counts."""
        compiler: Any = sys.modules.get(DYNAMO_MODULES)
        if compiler is None or self._agreed:
            return
        self._agreed = True
        if hasattr(compiler, UNPATCHED_CALL):
            before = getattr(compiler, UNPATCHED_CALL)
            setattr(compiler, UNPATCHED_CALL, self._replacement)
            self._hooks.add(lambda: setattr(compiler, UNPATCHED_CALL, before))

    def _install_parameter(self, hooks: HookSet) -> None:
        original: Callable[..., Any] = nn.Parameter.__new__
        journal = self.journal

        def new(kind: type, data: Any = None, requires_grad: bool = True) -> Any:
            matching = self.journal.matching
            if matching.on:
                matching.passes(CHANGE, sys._getframe(1), ("parameter",))
            made = original(kind, data, requires_grad)
            if data is not None and self._mine():
                try:
                    with Unseen():
                        journal.leaves.parameter_made(made, data, sys._getframe(1))
                except Exception as error:
                    journal.fault("a new parameter", error)
            return made

        hooks.patch(nn.Parameter, "__new__", staticmethod(new))

    def _mine(self) -> bool:
        return self.journal.recording() and get_ident() == self.journal.thread

    def _changes(self) -> None:
        """Something is registered: what is known of the modules of a root holds no more."""
        matching = self.journal.matching
        matching.generation += 1
        if matching.on:
            matching.passes(CHANGE, sys._getframe(3), ("registration",))

    def _parameter_registered(self, module: nn.Module, name: str, parameter: Any) -> None:
        self._changes()
        if parameter is None or not self._mine():
            return
        frame = sys._getframe(2)
        if frame.f_code is _SETATTR and frame.f_back is not None:
            frame = frame.f_back
        if self.journal.with_optimizer or self.journal.frames.users(frame.f_code):
            self._registered(module, name, [parameter], frame)

    def _module_registered(self, module: nn.Module, name: str, added: Any) -> None:
        self._changes()
        if self.journal.with_optimizer and added is not None and self._mine():
            self._registered(module, name, list(added.parameters()), sys._getframe(2))

    def _registered(self, module: nn.Module, name: str, parameters: list[torch.Tensor], frame: Any) -> None:
        try:
            with Unseen():
                self.journal.leaves.registered(type(module).__name__, name, parameters, frame)
        except Exception as error:
            self.journal.fault("a registration", error)

    # -- calls -----------------------------------------------------------------------------------

    def _called(self, frame: Any, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        journal = self.journal
        known = self._wanted(module)
        if known is None:
            return self._call(module, *args, **kwargs)
        here, clock, sites, loss = journal.here, journal.clock, journal.sites, known.loss
        if journal.matching.aside and not journal.matching.on and self._begins_lightly(frame, module, known):
            return self._call_lightly(module, known, args, kwargs)
        if not clock.depth and journal.matching.listening:
            matched = self._passed(frame, module, known, args, kwargs)
            if matched is not None:
                return matched()
        root = not (clock.depth or loss)
        stack, users = self._located(frame, module, known, root, args)
        draft = journal.tracker.draft
        outer = (here.module, here.module_call, draft.calling, sites.anchor, sites.anchor_stack)
        self._begins(module, known, stack)
        clock.enter(loss)
        sites.anchor, sites.anchor_stack = frame, stack
        try:
            if known.compiled or module._compiled_call_impl is not None:
                journal.compiled(frame)
                with self.pause:
                    result = self._call(module, *args, **kwargs)
            else:
                result = self._call(module, *args, **kwargs)
        finally:
            here.module, here.module_call, calling, sites.anchor, sites.anchor_stack = outer
            journal.tracker.draft.call_left(draft, calling)
            clock.leave(loss)
            if not clock.depth:
                journal.tracker.draft.returned_to_script()
        if users or root:
            self._ends(stack, users, root, result)
        if not clock.depth and journal.matching.listening:
            self._passed_end(known, result)
        return result

    def _begins_lightly(self, frame: Any, module: nn.Module, known: Known) -> bool:
        """A root is called. Whether that is in a step whose ops are not recorded; then it is told."""
        journal = self.journal
        try:
            with Unseen():
                stack, _ = self._root_begins(frame, module, known)
                if journal.draft.with_graph:
                    return False
                journal.here.module, journal.here.module_call = known.id, None
                journal.root_begins(type(module).__name__, stack, known.loss)
                known.stack = stack
                return True
        except Exception as error:
            journal.fault("a module call", error)
            return False

    def _call_lightly(self, module: nn.Module, known: Known, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        journal, clock = self.journal, self.journal.clock
        clock.enter(known.loss)
        try:
            result = self._call(module, *args, **kwargs)
        finally:
            clock.leave(known.loss)
            journal.here.module = None
            journal.draft.returned_to_script()
        try:
            journal.tracker.root_left(known.stack)
        except Exception as error:
            journal.fault("a module's result", error)
        return result

    def _passed(
        self, frame: Any, module: nn.Module, known: Known, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Callable[[], Any] | None:
        """A root is called, which is a station. The call to make where nothing else is recorded of it, else None."""
        journal = self.journal
        matching = journal.matching
        try:
            with Unseen():
                tree = known.tree
                if tree is None or not tree.of(matching.generation):
                    tree = known.tree = Tree(module, matching.generation)
                facts = (
                    known.id, type(module).__name__, known.loss, torch.is_grad_enabled(), journal.here.autocast,
                    torch.is_inference_mode_enabled(), tree.state(), arguments_facts(args, kwargs),
                )  # fmt: skip
                known.versions = tree.versions()
                if not matching.passes(CALL, frame, facts):
                    return None
        except Exception as error:
            journal.fault("a module call", error)
            return None
        return partial(self._call_matched, module, known, tree.depth, args, kwargs)

    def _call_matched(
        self, module: nn.Module, known: Known, depth: int, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        matching = self.journal.matching
        matching.inside += 1
        add_frames(depth)
        try:
            result = self._call(module, *args, **kwargs)
        except BaseException:
            matching.inside -= 1
            self._failed()
            matching.inside += 1
            raise
        finally:
            add_frames(-depth)
            matching.inside -= 1
        self._passed_end(known, result)
        return result

    def _failed(self) -> None:
        try:
            with Unseen():
                self.journal.matching.fails()
        except Exception as error:
            self.journal.fault("a failing module call", error)

    def _passed_end(self, known: Known, result: Any) -> None:
        try:
            with Unseen():
                if known.tree is not None:
                    rises = versions_rose(known.versions, known.tree.versions())
                    self.journal.matching.ends(RETURNED, rises, result)
        except Exception as error:
            self.journal.fault("a module's result", error)

    def _look_again(self) -> None:
        """Ops are seen again: what modes the modules are in now."""
        for known in self._known.values():
            module = known.reference()
            if module is not None:
                known.training = module.training

    def _wanted(self, module: nn.Module) -> Known | None:
        """What is known of a module whose call is recorded; None for a call that is not."""
        journal, here = self.journal, self.journal.here
        if not here.active or here.backwards or get_ident() != here.thread or transforming():
            return None  # inside a backward, a checkpoint runs its part again
        if torch.compiler.is_compiling():  # an export that traces without Dynamo
            return None
        if here.quiet:
            journal.forget_raised_step()
            if here.quiet:
                return None
        known = self._known.get(id(module))
        if known is not None and known.reference() is module:
            return known
        try:
            return self._meet(module)
        except Exception as error:
            journal.fault("a module", error)
            return None

    def _located(
        self, frame: Any, module: nn.Module, known: Known, root: bool, args: tuple[Any, ...]
    ) -> tuple[int, bool]:
        """(stack, whether the user's own line makes the call) of a module call that is about to begin."""
        journal = self.journal
        stack, users = -1, False
        try:
            if root:
                with Unseen():
                    stack, users = self._root_begins(frame, module, known)
            else:
                stack, users = journal.here.locate(frame)
            if users:
                journal.name_arguments(stack, args)
        except Exception as error:
            journal.fault("where a module is called", error)
        return stack, users

    def _begins(self, module: nn.Module, known: Known, stack: int) -> None:
        """A module call begins."""
        journal = self.journal
        try:
            draft, number = journal.tracker.draft, known.id
            counts = draft.module_calls
            call = counts[number] = counts.get(number, -1) + 1
            if draft.with_graph:
                told = (number, call, stack, module.training, len(draft.moments), draft.calling)
                draft.calls.append(_new_tuple(RawCall, told))
                draft.calling = len(draft.calls) - 1
            journal.here.module, journal.here.module_call = number, call
            if not journal.clock.depth:
                journal.root_begins(type(module).__name__, stack, known.loss)
        except Exception as error:
            journal.fault("a module call", error)

    def _ends(self, stack: int, users: bool, root: bool, result: Any) -> None:
        journal = self.journal
        try:
            if users:
                journal.name_results(stack, result)
            if root:
                journal.tracker.root_left(stack)
                if journal.table.nameless:
                    with Unseen():
                        self._scan_all()
        except Exception as error:
            journal.fault("a module's result", error)

    def _root_begins(self, frame: Any, module: nn.Module, known: Known) -> tuple[int, bool]:
        journal = self.journal
        stack, direct = journal.here.locate(frame)
        journal.tracker.root_called(stack, known.id)
        if (
            not known.scanned and not self.records[known.id].path
        ):  # else it has a name in the model that it is a part of
            known.scanned = True
            callee = journal.sites.callee_name(stack).rpartition(".")[2] if direct else ""
            self.scan(module, callee if callee not in ("", "self", "super") else type(module).__name__)
        if module.training is not known.training:
            known.training = module.training
            journal.switches.switched("training", "train" if module.training else "eval", known.id, frame)
        return stack, direct

    # -- names -----------------------------------------------------------------------------------

    def _meet(self, module: nn.Module) -> Known:
        known = Known(module, len(self.records))
        self._known[id(module)] = known
        kind = type(module).__name__
        self._record(Module(known.id, kind, "", kind, None, self.births.of(module)))
        return known

    def number(self, module: nn.Module) -> int:
        known = self._known.get(id(module))
        return (known if known is not None and known.reference() is module else self._meet(module)).id

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
            known = self._known[id(module)]
            known.training = module.training
        for path, parameter in root.named_parameters():
            table.adopt(parameter, path, name, "parameter")
        for path, buffer in root.named_buffers():
            table.adopt(buffer, path, name, "buffer", self.journal.draft)

    def _scan_all(self) -> None:
        """A parameter without a name turned up: look for it under every root."""
        self.journal.table.nameless = False
        for known in list(self._known.values()):
            module = known.reference()
            if module is not None and known.scanned and not self.records[known.id].path:
                self.scan(module, self.records[known.id].root)

    # -- modes, moves, zero_grad -----------------------------------------------------------------

    def _trained(self, frame: Any, module: nn.Module, mode: bool) -> nn.Module:
        journal = self.journal
        if not self._training and journal.matching.passes(MODE, frame, (id(module), mode)):
            return self._train(module, mode)
        if self._training or not self._mine():
            return self._train(module, mode)
        self._training += 1
        try:
            result = self._train(module, mode)
        finally:
            self._training -= 1
        try:
            number = self.number(module)
            self._known[id(module)].training = module.training
            journal.switches.switched("training", "train" if mode else "eval", number, frame)
        except Exception as error:
            journal.fault("a train()/eval() call", error)
        return result

    def _applied(self, frame: Any, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> nn.Module:
        journal = self.journal
        journal.matching.generation += 1  # torch may put new parameters in the place of the old
        if not self._applying and journal.matching.passes(CHANGE, frame, ("apply", id(module))):
            return self._apply(module, *args, **kwargs)
        if self._applying or not self._mine():
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
        try:
            with Unseen():
                for tensor in module.parameters():
                    entry = table.find(tensor)
                    known = table.parameters.get(entry.parameter) if entry and entry.parameter is not None else None
                    found.append((device_of(tensor), dtype_of(tensor), id(tensor), known))
        except Exception as error:
            self.journal.fault("a module before its move", error)
        return found

    def _moved(self, frame: Any, module: nn.Module, was: list[_Was]) -> None:
        table = self.journal.table
        groups: dict[tuple[str, str, str, str], int] = {}
        tensors: list[torch.Tensor] = list(module.parameters())
        for (device, dtype, identity, known), tensor in zip(was, tensors):
            if identity != id(tensor):  # torch put a new parameter in its place
                self.journal.leaves.parameter_made(tensor, None, frame)
                if known is not None:
                    table.adopt(tensor, known.name, known.root, known.role)
            if (device, dtype) != (device_of(tensor), dtype_of(tensor)):
                key = (device, device_of(tensor), dtype, dtype_of(tensor))
                groups[key] = groups.get(key, 0) + bytes_of(tensor)
        for tensor in (*tensors, *module.buffers()):
            entry = table.find(tensor)
            if entry is not None and entry.parameter is not None:
                known = table.parameters[entry.parameter]
                table.adopt(tensor, known.name, known.root, known.role)
        if groups:
            number = self.number(module)
            for key, nbytes in groups.items():
                self.journal.module_moved(frame, number, key, nbytes)

    def zeroed(self, frame: Any, owner: Any, set_to_none: bool) -> None:
        journal = self.journal
        if not journal.matching.on and not self._mine():
            self._zero_grad(owner, set_to_none)
            return

        def name() -> str:
            record = self.records[self.number(owner)]
            return record.path or record.root

        call = partial(self._zero_grad, owner, set_to_none)
        zero_grad(journal, self.pause, frame, owner.parameters, lambda: (name(), None), call)
