"""A program that is killed in one long step leaves what the step did."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gradscope.store import open_trace
from tests.scripts import environment

LONG = """
import os
import torch
x = torch.ones(3)
for i in range(10**9):
    x = x * 1.0001
    if i % 50 == 0:
        os.write(1, b"%d\\n" % i)
"""
LONG_AND_AGAIN = """
import os
import torch
w = torch.ones(3, requires_grad=True)
for step in range(10**6):
    y = w
    for i in range(4_000 if step < 2 else 10**9):
        y = y * 1.0001
        if step == 2 and i % 50 == 0:
            os.write(1, b"%d\\n" % i)
    y.sum().backward()
"""


@pytest.mark.slow
@pytest.mark.parametrize("text", [LONG, LONG_AND_AGAIN], ids=["new", "repeating"])
def test_most_of_a_long_step_is_there(text: str, tmp_path: Path) -> None:
    (tmp_path / "long.py").write_text(text)
    path, said = tmp_path / "t.gradscope", tmp_path / "said"
    with said.open("w") as out:
        command = [sys.executable, "-m", "gradscope", "trace", "-o", str(path), "long.py"]
        process = subprocess.Popen(command, cwd=tmp_path, env=environment(), stdout=out, stderr=subprocess.DEVNULL)
        try:
            while not said.stat().st_size and process.poll() is None:
                time.sleep(0.05)
            time.sleep(4)
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait()
    ran = int(said.read_text().rpartition("\n")[0].splitlines()[-1])
    with open_trace(path) as trace:
        assert trace.info.status == "killed"
        last = trace.step(trace.steps[-1])
        assert last.row.open
        assert last.broken is None
        assert len(last.moments) > ran // 2  # all but the last half second, where nothing else uses the processor
