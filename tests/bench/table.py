"""The table, as markdown: rows, and the machine they were measured on."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable
from pathlib import Path

from .measure import Row


def machine() -> str:
    """Processor, cores, system, Python and torch in one line."""
    import torch

    cpuinfo = Path("/proc/cpuinfo")
    names = (
        [line.partition(":")[2].strip() for line in cpuinfo.read_text().splitlines() if line.startswith("model name")]
        if cpuinfo.exists()
        else []
    )
    processor = names[0] if names else platform.processor() or platform.machine()
    return (
        f"{processor}, {os.cpu_count()} cores, {platform.system()}, "
        f"Python {platform.python_version()}, torch {torch.__version__}"
    )


def markdown(rows: Iterable[Row], where: str) -> str:
    """The rows as a markdown table with the machine named beneath."""
    lines = ["| work | measured | must | aim |", "|---|---|---|---|"]
    for row in rows:
        detail = f" ({row.detail})" if row.detail else ""
        lines.append(f"| {row.work} | **{row.measured}**{detail} | {row.must} | {row.aim} |")
    return "\n".join([*lines, "", f"Measured on: {where}."])
