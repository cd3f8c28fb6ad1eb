"""The trace file: `TraceWriter` writes it, `open_trace` reads it, `schema` documents it."""

from .connect import being_written, is_trace
from .reader import SqliteSource, open_trace
from .writer import TraceWriter

__all__ = ["SqliteSource", "TraceWriter", "being_written", "is_trace", "open_trace"]
