"""All watches of one recording: they are made together, installed together, and let go of together."""

from __future__ import annotations

from ...model.source import TraceSink
from ..hiding.patch_set import HookSet
from ..hiding.torch_private import all_function_modes
from ..journal.journal import Journal
from .backward import BackwardWatch
from .backward_ops import BackwardMode
from .checkpoints import CheckpointWatch
from .clipping import ClipWatch
from .compiled import CompiledWatch
from .creation_sites import Births
from .custom_functions import FunctionWatch
from .function_mode import OpMode
from .jit_tracing import TracingWatch
from .module_backward_hooks import ModuleHookWatch
from .module_calls import ModuleCallWatch
from .module_changes import ModuleChangeWatch
from .module_names import ModuleNames
from .optimizer_groups import OptimizerGroups
from .optimizers import OptimizerWatch
from .pause import Pause, remove_mode
from .regions import ModeWatch
from .schedules import ScheduleWatch
from .shared_factories import FactoryWatch


class Watches:
    """What torch and the script call. `mode` sees single ops; None where these are not recorded."""

    def __init__(self, journal: Journal, sink: TraceSink, mode: OpMode | None) -> None:
        self.journal, self.mode = journal, mode
        self._pause = Pause(journal, mode)
        self._births = Births(journal)
        self._names = ModuleNames(journal, self._births, sink.put_module)
        self._groups = OptimizerGroups(journal, sink.put_optimizer)
        self._optimizers = OptimizerWatch(journal, self._pause, self._groups)
        journal.on_raised_step = self._optimizers.abandon
        journal.matching.on_return += (journal.table.look_again, journal.look_again, self._names.look_again)

    def install(self, hooks: HookSet) -> None:
        """Put the hooks of all in place."""
        journal, pause = self.journal, self._pause
        watches = (
            ModuleCallWatch(journal, pause, self._names),
            ModuleChangeWatch(journal, pause, self._names),
            self._optimizers,
            self._groups,
            ScheduleWatch(journal, pause, self._groups),
            self._births,
            ModuleHookWatch(journal, self._names),
            ClipWatch(journal, pause),
            CheckpointWatch(journal),
            ModeWatch(journal, pause, self._births),
            FunctionWatch(journal, pause),
            CompiledWatch(journal, pause),
            TracingWatch(journal, pause),
            BackwardWatch(journal, BackwardMode(journal, self.mode) if self.mode is not None else None),
            FactoryWatch(journal),
        )
        for watch in watches:
            watch.install(hooks)

    def let_go(self) -> None:
        """End what is under way, and see no more ops."""
        self._optimizers.abandon()
        self._pause.recover()
        if self.mode is not None and self.mode in all_function_modes():
            remove_mode(self.mode)
