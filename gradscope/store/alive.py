"""Who writes a trace file, and whether that process still lives."""

from __future__ import annotations

import os
import socket
import time
from pathlib import Path

SILENT = 60.0  # seconds without a heartbeat after which a writer on another machine counts as gone
HEARTBEAT = 5.0  # seconds between a writer's heartbeats


def token(pid: int) -> str | None:
    """When the process started, in the system's own unit: tells a reused pid. None where it cannot be told."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return None
    fields = stat.rpartition(")")[2].split()
    return fields[19] if len(fields) > 19 else None


def this_writer() -> tuple[int, str | None, str, float]:
    """The running process as a row of the table `writer`."""
    pid = os.getpid()
    return pid, token(pid), socket.gethostname(), time.time()


def lives(pid: object, started: object, host: object, heartbeat: object) -> bool:
    """Whether the writer with this row still writes. On another machine its heartbeat decides."""
    if type(pid) is not int or pid <= 0:
        return False
    if host != socket.gethostname():
        return isinstance(heartbeat, float) and abs(time.time() - heartbeat) < SILENT
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass  # it lives, and is another user's
    now = token(pid)
    return now is None or started is None or now == started
