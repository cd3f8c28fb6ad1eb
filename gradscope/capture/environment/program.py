"""What a trace says of its program at the start of a recording."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from datetime import datetime, timezone

from ...model.records import Detail, TraceInfo
from ...version import __version__
from .launch import Rank


def about(script: str, arguments: Sequence[str], torch: str, detail: Detail, rank: Rank | None) -> TraceInfo:
    """The facts of a trace that has just begun."""
    return TraceInfo(
        script=script,
        arguments=tuple(arguments),
        gradscope=__version__,
        python=platform.python_version(),
        torch=torch,
        started=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        detail=detail,
        rank=rank.number if rank is not None else None,
        world_size=rank.world_size if rank is not None else None,
    )
