"""The judgement: reads a trace, names the lines that are wrong, says why and what to change.

`judge(trace)` is the whole of it for a reader. Each family of mistakes is one module of checks; `registry` lists
them; `runner` runs them apart from each other; `case` is the evidence that they share.
"""

from .registry import RULES, page, rule
from .runner import judge

__all__ = ["RULES", "judge", "page", "rule"]
