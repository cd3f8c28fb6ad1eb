"""Explain one finding: what it means, why it is wrong, an example, the fix.

gradscope explain GS101
gradscope explain saved-tensor-modified
gradscope explain                          all codes, a line each
"""

from __future__ import annotations

import argparse

from ..exit_codes import DONE
from ..terminal import colour, tell, width


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("code", metavar="CODE", nargs="?", help="a code such as GS101, or its name")


def run(namespace: argparse.Namespace) -> int:
    from ...diagnose import RULES, all_rules, page, rule
    from ...errors import UnknownName

    if namespace.code is None:
        rules = all_rules().values()
        tell("".join(f"{one.code}  {one.severity.value:7}  {one.name:32} {one.title}\n" for one in rules))
        return DONE
    try:
        known = rule(namespace.code, RULES)
    except UnknownName:  # only then are other packages asked
        known = rule(namespace.code, all_rules())
    text = page(known)
    tell(_on_terminal(text) if colour() else text)
    return DONE


def _on_terminal(text: str) -> str:
    """Markdown with headings, bold words and a coloured example."""
    import io

    from rich.console import Console
    from rich.markdown import Markdown

    console = Console(file=io.StringIO(), width=min(width(), 100), force_terminal=True, emoji=False)
    console.print(Markdown(text))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()
