"""Finds the verb of a command, and is the one place where errors become a line and an exit status."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence
from types import ModuleType

from ..capture.run.worlds import own_imports
from ..errors import GradscopeError, UnknownName
from ..version import __version__
from . import exit_codes
from .arguments import Parser
from .exit_codes import ScriptInterrupted
from .terminal import complain, quiet, tell

VERBS = ("trace", "view", "graph", "check", "explain", "info", "export", "doctor")

_ABOUT = """\
Records what PyTorch's autograd does while an unmodified script runs, and shows it.

  gradscope trace train.py            record a run into train.gradscope
  gradscope graph train.gradscope     draw the graph of its last backward
  gradscope check train.py            name the lines that are wrong
"""


def run(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit status. Raises KeyboardInterrupt where `python` would for a script."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        return _run(given)
    except GradscopeError as error:
        complain(str(error))
        return exit_codes.USAGE
    except BrokenPipeError:
        quiet(sys.stdout)
        return exit_codes.DONE
    except KeyboardInterrupt:
        return exit_codes.INTERRUPTED
    except ScriptInterrupted:
        pass
    except Exception as error:  # noqa: BLE001  # the boundary: whatever is left is a fault of ours
        with own_imports():
            from .faults import describe_fault
        complain(describe_fault(error))
        return exit_codes.INTERNAL
    # The interpreter runs what must run at exit and then dies of the signal, as it would for the script.
    hook = sys.excepthook

    def silent(*_: object) -> None:
        sys.excepthook = hook  # what runs at exit sees the script's

    sys.excepthook = silent
    raise KeyboardInterrupt


def _run(arguments: list[str]) -> int:
    parser = _parser()
    if not arguments:
        tell(parser.format_help())
        return exit_codes.USAGE
    verb = arguments[0]
    if verb.startswith("-"):
        parser.parse_args(arguments)
        return exit_codes.DONE
    if verb not in VERBS:
        raise UnknownName("command", verb, VERBS)
    module = command(verb)
    verb_parser = Parser(prog=f"gradscope {verb}", description=_text(module))
    module.configure(verb_parser)
    if hasattr(module, "parse"):
        namespace: argparse.Namespace = module.parse(verb_parser, arguments[1:])
    else:
        namespace = verb_parser.parse_args(arguments[1:])
    status: int = module.run(namespace)
    return status


def command(verb: str) -> ModuleType:
    """The module of one verb."""
    return importlib.import_module(f".commands.{verb}", __package__)


def _parser() -> Parser:
    verbs = "\n".join(f"  {verb:<8} {_first_line(command(verb))}" for verb in VERBS)
    about = f"{_ABOUT}\ncommands:\n{verbs}\n\n`gradscope COMMAND --help` has the options of one."
    parser = Parser(prog="gradscope", usage="gradscope COMMAND [OPTIONS] …", description=about)
    parser.add_argument("--version", action="version", version=f"gradscope {__version__}")
    return parser


def _first_line(module: ModuleType) -> str:
    """What the verb does; nothing under `python -OO`, which strips it."""
    return _text(module).partition("\n")[0]


def _text(module: ModuleType) -> str:
    return (module.__doc__ or "").strip()
