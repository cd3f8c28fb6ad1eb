"""Calls of modules: which one is running, and where the script called it.

`nn.Module.__call__` is patched on the class. Global module hooks are not used: torch warns about them when a
module is compiled, and they miss exceptions.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from threading import get_ident
from typing import Any

import torch
from torch import nn

from ..hiding.no_torch_function import Unseen
from ..hiding.patch_set import HookSet
from ..hiding.recursion_depth import LEAF, add_frames
from ..hiding.torch_private import DYNAMO_MODULES, UNPATCHED_CALL
from ..hiding.torch_state import transforming
from ..journal.journal import Journal
from ..journal.station_facts import Tree, arguments_facts, versions_rose
from ..journal.stations import CALL, RETURNED
from ..step.raw import RawCall
from .module_names import KnownModule, ModuleNames
from .pause import Pause

_new_tuple = tuple.__new__  # a named tuple's own constructor is a Python call
_FRAMES = 2  # of ours, below each call of a module


class ModuleCallWatch:
    """Records the calls of modules."""

    def __init__(self, journal: Journal, pause: Pause, names: ModuleNames) -> None:
        self.journal, self.pause, self.names = journal, pause, names
        self._known = names.known
        self._agreed = False

    def install(self, hooks: HookSet) -> None:
        self._call: Callable[..., Any] = nn.Module.__call__
        watch = self

        original, journal, clock = self._call, self.journal, self.journal.clock
        matching, here, thread = journal.matching, journal.here, journal.thread
        is_dynamo_compiling, caller = torch.compiler.is_dynamo_compiling, sys._getframe

        def call(module: nn.Module, *args: Any, **kwargs: Any) -> Any:
            if is_dynamo_compiling():
                return original(module, *args, **kwargs)
            if matching.aside and (clock.depth or matching.inside or here.backwards) and get_ident() == thread:
                return original(module, *args, **kwargs)  # a part of a call whose ops are not seen
            frames = _FRAMES if clock.depth else _FRAMES + LEAF
            add_frames(frames)
            try:
                return watch._called(caller(1), module, args, kwargs)
            finally:
                add_frames(-frames)

        call.__doc__ = nn.Module.__call__.__doc__
        hooks.patch(nn.Module, "__call__", call)
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

    def _called(self, frame: Any, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        journal = self.journal
        known = self._wanted(module)
        if known is None:
            return self._call(module, *args, **kwargs)
        here, clock, sites, loss = journal.here, journal.clock, journal.sites, known.loss
        if journal.matching.aside and not journal.matching.on and self._begins_lightly(frame, module, known):
            return self._call_lightly(module, known, args, kwargs)
        if not clock.depth and journal.matching.listening and self._passed(frame, module, known, args, kwargs):
            return self._call_matched(module, known, args, kwargs)
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

    def _begins_lightly(self, frame: Any, module: nn.Module, known: KnownModule) -> bool:
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

    def _call_lightly(
        self, module: nn.Module, known: KnownModule, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
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
        self, frame: Any, module: nn.Module, known: KnownModule, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> bool:
        """A root is called, which is a station. Whether nothing else is recorded of it."""
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
                known.versions = tree.versions() if tree.with_buffers else []
                return matching.passes(CALL, frame, facts)
        except Exception as error:
            journal.fault("a module call", error)
            return False

    def _call_matched(
        self, module: nn.Module, known: KnownModule, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        matching = self.journal.matching
        depth = known.tree.depth if known.tree is not None else 0
        matching.inside += 1
        add_frames(depth)
        try:
            result = self._call(module, *args, **kwargs)
        except BaseException:
            add_frames(-depth)
            matching.inside -= 1
            self._failed()
            raise
        add_frames(-depth)
        matching.inside -= 1
        self._passed_end(known, result)
        return result

    def _failed(self) -> None:
        with self.journal.guard("a failing module call"):
            self.journal.matching.fails()

    def _passed_end(self, known: KnownModule, result: Any) -> None:
        tree = known.tree
        rises: tuple[Any, ...] = ()
        try:
            if tree is not None and tree.with_buffers:
                with Unseen():
                    rises = versions_rose(known.versions, tree.versions())
        except Exception as error:
            self.journal.fault("a module's result", error)
        self.journal.matching.ends(RETURNED, rises, result)

    def _wanted(self, module: nn.Module) -> KnownModule | None:
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
            return self.names.meet(module)
        except Exception as error:
            journal.fault("a module", error)
            return None

    def _located(
        self, frame: Any, module: nn.Module, known: KnownModule, root: bool, args: tuple[Any, ...]
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

    def _begins(self, module: nn.Module, known: KnownModule, stack: int) -> None:
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
                        self.names.scan_all()
        except Exception as error:
            journal.fault("a module's result", error)

    def _root_begins(self, frame: Any, module: nn.Module, known: KnownModule) -> tuple[int, bool]:
        journal = self.journal
        stack, direct = journal.here.locate(frame)
        journal.tracker.root_called(stack, known.id)
        if (
            not known.scanned and not self.names.records[known.id].path
        ):  # else it has a name in the model that it is a part of
            known.scanned = True
            callee = journal.sites.callee_name(stack).rpartition(".")[2] if direct else ""
            self.names.scan(module, callee if callee not in ("", "self", "super") else type(module).__name__)
        if module.training is not known.training:
            known.training = module.training
            journal.switches.switched("training", "train" if module.training else "eval", known.id, frame)
        return stack, direct
