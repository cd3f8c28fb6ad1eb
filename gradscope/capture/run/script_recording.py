"""`ScriptRecording`: the recording of one script, which begins when the script imports torch."""

from __future__ import annotations

import sys
import time
import traceback
from collections.abc import Sequence
from dataclasses import replace
from importlib import metadata
from typing import TYPE_CHECKING

from ...model.records import Detail, TraceInfo
from ...model.source import TraceSink
from ...options import CaptureOptions
from ...text import raised
from ..environment.launch import Rank
from ..environment.program import about
from .worlds import own_imports

if TYPE_CHECKING:
    from ..recorder import Recorder


class ScriptRecording:
    """What `script_runner` starts and stops. Neither call raises: `fault` says in one line what went wrong.

    The sink has the trace's facts from the beginning, so that the file of a killed script says what it was.
    """

    def __init__(
        self, sink: TraceSink, options: CaptureOptions, script: str, arguments: Sequence[str], rank: Rank | None = None
    ) -> None:
        self.sink = sink
        self.options = options
        self.fault: str | None = None
        self._rank = rank
        self._recorder: Recorder | None = None
        self._begun = time.perf_counter()
        self._info = about(script, arguments, _version_of("torch"), Detail(options.detail), rank)
        sink.put_info(self._info)

    def start(self) -> None:
        """Called when torch has just been imported."""
        try:
            with own_imports():
                from ..recorder import Recorder

            torch = str(sys.modules["torch"].__version__)
            info = about(self._info.script, self._info.arguments, torch, self._info.detail, self._rank)
            recorder = Recorder(self.sink, self.options, info)
            recorder.start()
            self._recorder = recorder
        except Exception as error:  # the script goes on without being recorded
            self.fault = f"the recording could not start: {raised(type(error).__name__, error)}"

    def stop(self, error: BaseException | None, status: int) -> None:
        """Called when the script's main thread has ended."""
        try:
            if self._recorder is not None:
                self._recorder.stop(error, status)
            else:
                self.sink.put_info(self._ended(error, status))
        except Exception as fault:  # the script's own end goes on
            self.fault = f"the recording could not be finished: {type(fault).__name__}: {fault}"
        self.sink.close()

    def _ended(self, error: BaseException | None, status: int) -> TraceInfo:
        """The facts of a script that was not recorded, most often because it does not use torch."""
        info = replace(
            self._info, status="done", exit_status=status, duration=time.perf_counter() - self._begun,
            faults=(self.fault,) if self.fault else (),
        )  # fmt: skip
        if error is None or isinstance(error, SystemExit):
            return info
        text = "".join(traceback.format_exception(type(error), error, error.__traceback__))
        return replace(info, status="failed", error=raised(type(error).__name__, error), traceback=text)


class Unrecorded:
    """Runs beside a script of which no trace can be written: it records nothing."""

    fault: str | None = None

    def start(self) -> None:
        """Called when torch has just been imported."""

    def stop(self, error: BaseException | None, status: int) -> None:
        """Called when the script's main thread has ended."""


def _version_of(distribution: str) -> str:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return ""
