"""Command-line options, made from the fields of `gradscope.options`; parsers whose errors are ours."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn

from ..errors import UnknownName, UsageError
from ..model.graph import GraphKind
from ..model.records import Detail
from ..options import CaptureOptions, ViewOptions, option_fields
from .terminal import tell


class Parser(argparse.ArgumentParser):
    """A parser that raises UsageError, so that one place words and numbers all errors."""

    def __init__(self, **settings: Any) -> None:
        settings.setdefault("allow_abbrev", False)
        settings.setdefault("formatter_class", argparse.RawDescriptionHelpFormatter)
        super().__init__(**settings)

    def _print_message(self, message: str, file: object = None) -> None:  # noqa: ARG002  # errors are raised
        tell(message)

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message.replace(chr(10), ' ')} (try: {self.prog} --help)")


def span(text: str) -> tuple[int | None, int | None]:
    """`A:B`, where either may be left out: steps A to B-1."""
    first, colon, end = text.partition(":")
    try:
        bounds = (int(first) if first else None, int(end) if end else None)
    except ValueError:
        bounds = (-1, -1)
    if not colon or any(bound is not None and bound < 0 for bound in bounds):
        raise argparse.ArgumentTypeError(f"{text!r} is not a range of steps A:B, such as 10:20, 10: or :20")
    if None not in bounds and not bounds[0] < bounds[1]:  # type: ignore[operator]
        raise argparse.ArgumentTypeError(f"{text!r} is empty: B must be greater than A")
    return bounds


def at_least(least: int) -> Callable[[str], int]:
    """A converter for whole numbers from `least` on."""

    def convert(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            number = least - 1
        if number < least:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from {least} on")
        return number

    return convert


def one_of(what: str, known: Sequence[str]) -> Callable[[str], str]:
    """A converter for one of `known`; another name is UnknownName, which names the nearest."""

    def convert(text: str) -> str:
        if text not in known:
            raise UnknownName(what, text, known)
        return text

    return convert


def percent(text: str) -> float:
    """A share in percent; `none`, which is infinite: there is no limit."""
    try:
        share = math.inf if text == "none" else float(text)
    except ValueError:
        share = -1.0
    if not share > 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a share in percent, such as 25, or none")
    return share


def seconds(text: str) -> float:
    """A length of time in seconds."""
    try:
        length = float(text)
    except ValueError:
        length = -1.0
    if not 0 < length < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds, such as 60")
    return length


def on_or_off(text: str) -> bool:
    """A switch."""
    return one_of("setting of --legend", ["on", "off"])(text) == "on"


_CONVERTERS: Mapping[str, Callable[[str], Any]] = {
    "detail": one_of("detail level", [level.value for level in Detail if level is not Detail.MATCHED]),
    "budget": percent,
    "steps": span,
    "every": at_least(1),
    "last": at_least(1),
    "step": int,
    "kind": one_of("kind of graph", [kind.value for kind in GraphKind]),
    "depth": at_least(0),
    "theme": one_of("theme", ["auto", "light", "dark"]),
    "legend": on_or_off,
    "engine": one_of("layout engine", ["graphviz-pure", "dot"]),
}


def add_options(parser: argparse.ArgumentParser, options: type[CaptureOptions] | type[ViewOptions]) -> None:
    """Declare every field of `options`, with its flag, metavar, help and default."""
    for name, field in option_fields(options).items():
        about = field.metadata
        settings: dict[str, Any] = {"metavar": about["metavar"], "help": about["help"], "default": field.default}
        if field.default == ():
            settings |= {"nargs": "+", "action": "extend", "default": None}
        parser.add_argument(about["flag"], dest=name, type=_CONVERTERS.get(name, str), **settings)


def chosen(namespace: argparse.Namespace, options: type[CaptureOptions] | type[ViewOptions]) -> dict[str, Any]:
    """The values that `namespace` has for the fields of `options`."""
    values = {name: getattr(namespace, name) for name in option_fields(options)}
    values = {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
    return {name: value for name, value in values.items() if value is not None}


def split_script(parser: argparse.ArgumentParser, arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Our own options, and from the script (or `-m MODULE`) on everything else, which is the script's.

    `--` before the script ends our options.
    """
    takes_value = {
        flag: action.nargs != 0 and not isinstance(action, argparse._HelpAction)
        for action in parser._actions
        for flag in action.option_strings
    }
    position = 0
    while position < len(arguments):
        argument = arguments[position]
        if argument == "--":
            return list(arguments[:position]), list(arguments[position + 1 :])
        if not argument.startswith("-") or argument == "-" or argument.startswith("-m"):
            break
        position += 2 if takes_value.get(argument) else 1
    return list(arguments[:position]), list(arguments[position:])
