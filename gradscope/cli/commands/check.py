"""Name the lines that are wrong, and say why and what to change.

A SCRIPT is traced first, at full detail; what it prints goes to stderr, so that stdout holds the findings alone.
Exit status: 0 nothing at or above --fail-on, 1 findings, 2 bad input.

  gradscope check train.py
  gradscope check train.gradscope --format json
  gradscope check --select GS1,GS2 --fail-on error train.py --epochs 1
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence

from ...model.findings import Severity
from ..arguments import one_of, split_script
from ..exit_codes import DONE, FOUND, INTERRUPTED
from ..terminal import ascii_only, colour, put, tell, width
from .graph import is_script, trace_script


def configure(parser: argparse.ArgumentParser) -> None:
    parser.usage = "gradscope check [OPTIONS] TRACE|SCRIPT [ARGS…]"
    parser.add_argument("--format", metavar="NAME", default="text", help="text (default), json, sarif or github")
    parser.add_argument("--select", metavar="CODES", type=_codes, default=(), help="only these, such as GS101,GS2")
    parser.add_argument("--ignore", metavar="CODES", type=_codes, default=(), help="all but these")
    parser.add_argument(
        "--fail-on",
        metavar="SEVERITY",
        type=one_of("severity", [one.value for one in Severity]),
        default=Severity.WARNING.value,
        help="exit with 1 from this severity on: error, warning (default) or note",
    )


def parse(parser: argparse.ArgumentParser, arguments: Sequence[str]) -> argparse.Namespace:
    """Our options up to the target and, for a trace, also after it; a script's arguments are its own."""
    ours, target = split_script(parser, arguments)
    if not target:
        parser.parse_args(ours)
        parser.error("there is no TRACE or SCRIPT to check")
    if is_script(target[0]):
        own, rest = _own_options(parser, target[1:])
    else:
        own, rest = list(target[1:]), []
    namespace = parser.parse_args([*ours, *own])
    namespace.target, namespace.arguments = target[0], rest
    return namespace


def run(namespace: argparse.Namespace) -> int:
    from ...diagnose import all_checks, judge
    from ...diagnose.registry import rules_of
    from ...render.findings import FORMATS, Look, report
    from ...store import open_trace

    one_of("format", FORMATS)(namespace.format)

    with tempfile.TemporaryDirectory(prefix="gradscope-") as folder:
        path = namespace.target
        if is_script(path):
            status, path = trace_script(namespace.target, folder, namespace.arguments, detail="full")
            if path is None or status == INTERRUPTED:
                return status
        checks = all_checks()
        with open_trace(path) as trace:
            found = judge(trace, select=namespace.select, ignore=namespace.ignore, checks=checks)
        look = Look(width=width(), ascii=ascii_only(), colour=colour())
        titles = {code: rule.title for code, rule in rules_of(checks).items()}
        write = tell if namespace.format == "text" else put
        write(report(namespace.target, found, namespace.format, look, titles))
    threshold = Severity(namespace.fail_on)
    return FOUND if any(finding.severity.reaches(threshold) for finding in found) else DONE


def _codes(text: str) -> tuple[str, ...]:
    return tuple(code.strip().upper() for code in text.split(",") if code.strip())


def _own_options(parser: argparse.ArgumentParser, after: Sequence[str]) -> tuple[list[str], list[str]]:
    """What follows a script is the script's, except our own options right behind it: `check train.py --format json`."""
    takes = {flag: action for action in parser._actions for flag in action.option_strings}
    position = 0
    while position < len(after) and after[position].partition("=")[0] in takes:
        alone = "=" in after[position] or takes[after[position]].nargs == 0
        position += 1 if alone else 2
    rest = after[position:]
    return list(after[:position]), list(rest[1:] if rest[:1] == ["--"] else rest)
