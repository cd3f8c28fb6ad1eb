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
    from ...diagnose import RULES, page, rule

    if namespace.code is None:
        tell("".join(f"{one.code}  {one.severity.value:7}  {one.name:32} {one.title}\n" for one in RULES.values()))
        return DONE
    text = page(rule(namespace.code))
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
