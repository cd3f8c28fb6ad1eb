"""Name the lines that are wrong, and say why and what to change.

A SCRIPT is traced first, at full detail; what it prints goes to stderr, so that stdout holds the findings alone.
Exit status: 0 nothing at or above --fail-on, 1 findings, 2 bad input.

  gradscope check train.py
  gradscope check train.gradscope --format json
  gradscope check --select GS1,GS2 --fail-on error train.py --epochs 1
  gradscope check --verify train.py           runs it again with each patch
  gradscope check --fix train.py              writes the patches that work, after asking
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ...errors import UsageError
from ...model.findings import Finding, Severity
from ..arguments import one_of, seconds, split_script
from ..exit_codes import DONE, FOUND, INTERRUPTED
from ..terminal import ascii_only, colour, put, tell, width
from .graph import is_script, trace_script

if TYPE_CHECKING:
    from ...model.trace import Trace


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
    parser.add_argument("--verify", action="store_true", help="run SCRIPT again with each patch, and tell what it does")
    parser.add_argument("--fix", action="store_true", help="try the patches, and write those that work after asking")
    parser.add_argument("--yes", action="store_true", help="with --fix: write without asking")
    parser.add_argument(
        "--timeout",
        metavar="SECONDS",
        type=seconds,
        help="of each such run (default: five times the first run)",
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
    runs = is_script(namespace.target)
    _refuse_what_cannot_be_done(namespace, runs)
    checks = all_checks()

    def judged(trace: Trace) -> list[Finding]:
        return judge(trace, select=namespace.select, ignore=namespace.ignore, checks=checks)

    with tempfile.TemporaryDirectory(prefix="gradscope-") as folder:
        path = namespace.target
        if runs:
            status, path = trace_script(namespace.target, folder, namespace.arguments, detail="full")
            if path is None or status == INTERRUPTED:
                return status
        with open_trace(path) as trace:
            found = judged(trace)
            if runs and (namespace.verify or namespace.fix):
                from ..trials import Trials

                script = namespace.target, namespace.arguments
                found = Trials.after(trace, found, *script, judged, namespace.timeout).tried(found)
    look = Look(width=width(), ascii=ascii_only(), colour=colour())
    titles = {code: rule.title for code, rule in rules_of(checks).items()}
    write = tell if namespace.format == "text" else put
    write(report(namespace.target, found, namespace.format, look, titles))
    if namespace.fix:
        from ..fixing import write_fixes

        found = write_fixes(found, ask=not namespace.yes)
    threshold = Severity(namespace.fail_on)
    return FOUND if any(finding.severity.reaches(threshold) for finding in found) else DONE


def _refuse_what_cannot_be_done(namespace: argparse.Namespace, runs: bool) -> None:
    """Raises UsageError before anything is run."""
    if namespace.verify and not runs:
        raise UsageError("--verify runs the script again: give the SCRIPT in place of its trace")
    if namespace.timeout is not None and not (namespace.verify or namespace.fix):
        raise UsageError("--timeout is for the runs that --verify and --fix make")
    if namespace.yes and not namespace.fix:
        raise UsageError("--yes answers what --fix asks")
    if namespace.fix and not namespace.yes and not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise UsageError("--fix asks before it writes, and this is no terminal: add --yes to write without being asked")


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
