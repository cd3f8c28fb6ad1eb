"""Backward: that one is called, and by which way.

The engine's one Python entry, `torch.autograd.graph._engine_run_backward`, is patched in the two
modules that name it: `backward()`, `torch.autograd.grad` and checkpoints all pass through it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from functools import partial, wraps
from threading import get_ident
from typing import Any

import torch
import torch.autograd.graph as graph_module

from ...text import raised
from ..hiding.frames import release
from ..hiding.no_torch_function import Unseen
from ..hiding.patch_set import HookSet
from ..hiding.torch_private import (
    ENGINE_ENTRY,
    TENSOR_FILE,
    function_mode_at,
    function_modes,
    pop_function_mode,
    push_function_mode,
)
from ..journal.graph_facts import GraphFacts
from ..journal.journal import Journal
from ..journal.stations import BACKWARD, DONE
from ..measure.grad_graph import root_node
from ..step.draft import MOMENT
from ..step.raw import BackwardRan
from .backward_ops import BackwardMode
from .backward_run import NOT_GIVEN, BackwardRun
from .function_mode import OpMode
from .pause import remove_mode
from .torch_calls import QUIET


class BackwardWatch:
    """Records every backward that runs while it is installed."""

    def __init__(self, journal: Journal, inside: BackwardMode | None) -> None:
        self.journal, self.inside = journal, inside

    def install(self, hooks: HookSet) -> None:
        original = getattr(graph_module, ENGINE_ENTRY)

        def _engine_run_backward(t_outputs: Sequence[Any], *args: Any, **kwargs: Any) -> Any:
            journal = self.journal
            if journal.matching.aside and journal.here.backwards and get_ident() == journal.thread:
                return original(t_outputs, *args, **kwargs)  # a part of one whose graph is not recorded
            if journal.matching.listening and self._passed(sys._getframe(1), t_outputs, args, kwargs):
                return self._run_matched(original, t_outputs, args, kwargs)
            if not journal.mine():
                return original(t_outputs, *args, **kwargs)
            try:
                return self._run(original, sys._getframe(1), t_outputs, args, kwargs)
            except BaseException as error:
                release(error)
                raise

        hooks.patch(graph_module, ENGINE_ENTRY, _engine_run_backward)
        hooks.patch(torch.autograd, ENGINE_ENTRY, _engine_run_backward)
        if self.inside is not None and torch.Tensor.backward.__code__.co_filename == TENSOR_FILE:
            self._install_method(hooks, self.inside.ops)

    def _install_method(self, hooks: HookSet, mode: OpMode) -> None:
        """`Tensor.backward` takes our mode off the stack itself, which is less than half the way through the mode."""
        original: Any = torch.Tensor.backward

        @wraps(original)
        def backward(tensor: torch.Tensor, *args: Any, **kwargs: Any) -> None:
            if self.journal.matching.begins_at(sys._getframe(1)):
                original(tensor, *args, **kwargs)
                return
            if torch.compiler.is_compiling() or function_modes() != 1 or function_mode_at(0) is not mode or mode.quiet:
                original(tensor, *args, **kwargs)
                return
            pop_function_mode()
            try:
                original(tensor, *args, **kwargs)
            except BaseException as error:
                release(error)
                del tensor, args, kwargs  # this frame lives as long as the traceback does, its tensors must not
                raise
            finally:
                push_function_mode(mode)

        mode.actions[backward] = QUIET
        hooks.patch(torch.Tensor, "backward", backward)

    def _passed(self, frame: Any, outputs: Sequence[Any], args: Sequence[Any], kwargs: Any) -> bool:
        """A backward begins, which is a station. Whether only its loss is recorded, and where it is."""
        journal = self.journal
        matching = journal.matching
        if matching.inside or journal.here.backwards or journal.clock.depth:
            return False  # a part of a call that is a station
        try:
            with Unseen():
                _, retain_graph, create_graph, wanted, _, accumulate, *_ = (*args, *NOT_GIVEN)
                accumulates = bool(kwargs.get("accumulate_grad", accumulate))
                graph = self._graph([root_node(output) for output in outputs])
                facts = (
                    "backward" if accumulates else "grad", bool(retain_graph), bool(create_graph), accumulates,
                    0 if wanted is None else len(wanted), matching.results.state(), graph,
                )  # fmt: skip
                if not matching.passes(BACKWARD, frame, facts):
                    return False
                if accumulates and outputs and isinstance(outputs[0], torch.Tensor):
                    journal.measurements.loss(outputs[0])
                return True
        except Exception as error:
            journal.fault("the graph of a backward", error)
            return False

    def _graph(self, roots: Sequence[Any]) -> GraphFacts:
        """The facts of the graph behind `roots`: those that are expected, where they are the same."""
        entries, expected = self.journal.table.entries, self.journal.matching.expects(BACKWARD)
        if expected is not None and expected[-1].hold_of(roots, entries):
            facts: GraphFacts = expected[-1]
            return facts
        return GraphFacts(roots, entries)

    def _run_matched(
        self, original: Callable[..., Any], outputs: Sequence[Any], args: Sequence[Any], kwargs: Any
    ) -> Any:
        matching = self.journal.matching
        matching.inside += 1
        try:
            result = original(outputs, *args, **kwargs)
        except BaseException as error:
            matching.inside -= 1
            self._failed_matched(error)
            release(error)
            raise
        matching.inside -= 1
        matching.ends(DONE)
        return result

    def _failed_matched(self, error: BaseException) -> None:
        """A backward of a step that was being matched raised: its moment, told now, says so."""
        journal = self.journal
        with journal.guard("a failing backward"):
            journal.matching.fails()
            draft = journal.draft
            place = len(draft.moments) - 1
            ran = draft.moments[place].payload if draft.moments else None
            if isinstance(ran, BackwardRan):
                text = raised(type(error).__name__, error)
                draft.change(MOMENT, place, draft.moments[place]._replace(payload=ran._replace(error=text)))

    def _run(
        self, original: Callable[..., Any], frame: Any, outputs: Sequence[Any], args: tuple[Any, ...], kwargs: Any
    ) -> Any:
        journal = self.journal
        run: BackwardRun | None = None
        with journal.guard("the graph of a backward"):
            run = BackwardRun(journal, frame, outputs, args, kwargs)
        if run is None:
            return original(outputs, *args, **kwargs)
        journal.here.backwards += 1
        inside = self.inside if self.inside is not None and run.watches_ops and self.inside.take_over() else None
        try:
            result = original(outputs, *args, **kwargs)
        except BaseException as error:
            self._ended(run, inside, partial(run.failed, outputs, error))
            raise
        self._ended(run, inside, run.finished)
        if journal.matching.listening:
            journal.matching.ends(DONE)
        return result

    def _ended(self, run: BackwardRun, inside: BackwardMode | None, tell: Callable[[], None]) -> None:
        journal = self.journal
        journal.here.backwards -= 1
        if inside is not None:
            remove_mode(inside)
        with journal.guard("what a backward did"):
            run.remove_hooks()
            if journal.exposed.watched:
                journal.exposed.refresh()  # gradients were added to
            tell()
        journal.call_ends()
