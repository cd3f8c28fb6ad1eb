"""Numbers of hooks that are ours: torch counts the hooks it registers, and scripts print the numbers of theirs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch.utils.hooks import RemovableHandle

_next = 1 << 60  # beyond any number of the script's: both may lie in one dict


@contextmanager
def own_numbers() -> Iterator[None]:
    """Hooks that are registered in this block leave the script's count as it is."""
    global _next
    scripts, RemovableHandle.next_id = RemovableHandle.next_id, _next
    try:
        yield
    finally:
        _next, RemovableHandle.next_id = RemovableHandle.next_id, scripts
