"""Short scripts, several in one text: `## NAME`, and its lines up to the next. A line `<part>` stands for the part of
that name in `common.txt`. They are kept apart from the code that says how each is run.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

HERE = Path(__file__).parent


@cache
def snippets(group: str) -> dict[str, str]:
    """The scripts of `GROUP.txt` by name."""
    parts = {} if group == "common" else snippets("common")

    def part(found: re.Match[str]) -> str:
        return parts[found[1]]

    pieces = (HERE / f"{group}.txt").read_text(encoding="utf-8").split("## ")[1:]
    texts = {name: text.rstrip() + "\n" for name, _, text in (piece.partition("\n") for piece in pieces)}
    return {name: re.sub(r"^<([\w ]+)>\n", part, text, flags=re.M) for name, text in texts.items()}
