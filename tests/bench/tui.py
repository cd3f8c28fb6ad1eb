"""The terminal UI under load, in a process of its own: CPU seconds to the first frame and for each key, and memory.

`python -m tests.bench.tui TRACE` prints one JSON object. CPU time is of all threads, start-up included.
"""

from __future__ import annotations

import asyncio
import json
import resource
import sys
import time
from collections.abc import Sequence
from pathlib import Path

KEYS = (
    *["right"] * 30, *["left"] * 30, *["right_square_bracket"] * 8, *["left_square_bracket"] * 8,
    *["right_curly_bracket"] * 20, *["left_curly_bracket"] * 20, "end", "home", "end", *["left"] * 30,
)  # fmt: skip


async def measure(path: str, keys: Sequence[str], size: tuple[int, int]) -> dict[str, float]:
    from gradscope.store import open_trace
    from gradscope.tui.app import GradscopeApp
    from gradscope.tui.screenshot import at_rest

    with open_trace(path) as trace:
        app = GradscopeApp(trace)
        spent = []
        async with app.run_test(size=size) as pilot:
            while app.instrument.scene is None:
                await pilot.pause()
            await pilot.pause()
            first = time.process_time()
            await at_rest(app, pilot)
            full = time.process_time()
            for key in keys:
                begin = time.process_time()
                await pilot.press(key)
                await pilot.pause()
                while app.instrument.reading:
                    await pilot.pause(0.001)
                await pilot.pause()
                spent.append(time.process_time() - begin)
    spent.sort()
    return {
        "first_frame_s": first,
        "at_rest_s": full,
        "key_p50_ms": 1e3 * spent[len(spent) // 2],
        "key_p95_ms": 1e3 * spent[int(len(spent) * 0.95)],
        "key_worst_ms": 1e3 * spent[-1],
        "memory_mb": peak_memory(),
    }


def peak_memory() -> float:
    """The most memory this process has held, in MB. `getrusage` would count the parent it was forked from too."""
    status = Path("/proc/self/status")
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 1024)
    line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def main() -> None:
    path, *rest = sys.argv[1:]
    size = tuple(int(part) for part in rest[0].split("x")) if rest else (120, 40)
    print(json.dumps(asyncio.run(measure(path, KEYS, (size[0], size[1])))))


if __name__ == "__main__":
    main()
