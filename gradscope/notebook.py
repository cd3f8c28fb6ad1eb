"""Notebooks: `%load_ext gradscope`, then `%%gradscope` on a cell records it and shows what autograd did.

A `Diagram` and a `Recording` show themselves without the extension; it adds the cell magic and the
display of single steps.
"""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Mapping
from typing import Any, NoReturn

from . import api
from .errors import GradscopeError, NothingToDraw, UsageError
from .model.trace import Step
from .options import CaptureOptions, ViewOptions, option_fields

_MAGIC_OPTIONS = {CaptureOptions: ("detail",), ViewOptions: ("kind", "depth", "focus", "theme", "engine")}


class _MagicParser(argparse.ArgumentParser):
    """An argparse parser whose errors are exceptions: a wrong option must not end the kernel."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"%%gradscope: {message}; try %%gradscope --help")

    def exit(self, status: int = 0, message: str | None = None) -> NoReturn:  # noqa: ARG002 - argparse's signature
        raise _HelpShown


class _HelpShown(Exception):
    """`--help` was asked for and printed."""


def magic_parser() -> argparse.ArgumentParser:
    """The options of `%%gradscope`, made from the fields that make the command line's."""
    parser = _MagicParser(prog="%%gradscope", description="Record this cell and show what autograd did.")
    parser.add_argument("name", nargs="?", metavar="NAME", help="the variable that gets the trace")
    for options, names in _MAGIC_OPTIONS.items():
        known = option_fields(options)
        for name in names:
            field = known[name]
            kind = int if name == "depth" else str
            parser.add_argument(
                field.metadata["flag"],
                dest=name,
                type=kind,
                default=field.default,
                metavar=field.metadata["metavar"],
                help=field.metadata["help"],
            )
    return parser


def record_cell(shell: Any, line: str, cell: str) -> None:
    """Run `cell` under a recorder, then show its summary and the graph of its last backward.

    Raises UsageError for an unknown option. An exception in the cell shows as always; what was
    recorded up to it is shown too.
    """
    from IPython.display import display

    try:
        chosen = vars(magic_parser().parse_args(shlex.split(line)))
    except _HelpShown:
        return
    name = chosen.pop("name")
    if name is not None and not name.isidentifier():
        raise UsageError(f"%%gradscope: {name!r} cannot be a variable's name")
    trace = _record(shell, cell, chosen.pop("detail"))
    if name is not None:
        shell.push({name: trace})
    print(trace.summary())
    try:
        display(api.draw(trace, **chosen))  # type: ignore[no-untyped-call]
    except NothingToDraw as nothing:
        print(nothing)


def _record(shell: Any, cell: str, detail: str) -> api.Recording:
    """Run `cell`, which shows its own errors; the recording ends with the error that ended the cell."""
    failed: BaseException | None = None
    try:
        with api.record(detail=detail) as trace:
            result = shell.run_cell(cell)
            failed = result.error_before_exec or result.error_in_exec
            if failed is not None:
                shown = failed.__traceback__
                raise failed
    except BaseException as error:
        if error is not failed:
            raise
        error.__traceback__ = shown
    return trace


def show_step(step: Step, **_: Any) -> Mapping[str, str]:
    """The mime bundle of one step: its picture, or a line that says why there is none."""
    try:
        return api.draw(step)._repr_mimebundle_()
    except GradscopeError as error:
        return {"text/plain": str(error)}


def load_ipython_extension(ipython: Any) -> None:
    """Add the cell magic and the display of steps to a running IPython."""

    def gradscope(line: str, cell: str) -> None:
        """Record this cell and show what autograd did; `%%gradscope --help` has the options."""
        record_cell(ipython, line, cell)

    ipython.register_magic_function(gradscope, magic_kind="cell", magic_name="gradscope")
    ipython.display_formatter.mimebundle_formatter.for_type(Step, show_step)


def unload_ipython_extension(ipython: Any) -> None:
    """Take both away again."""
    ipython.magics_manager.magics["cell"].pop("gradscope", None)
    ipython.display_formatter.mimebundle_formatter.pop(Step, None)
