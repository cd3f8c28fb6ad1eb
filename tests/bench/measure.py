"""How things are measured: interleaved blocks in one process, medians, ratios of neighbours."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from torch import Tensor

import gradscope

from . import traces, workloads


@dataclass(frozen=True)
class Row:
    """One line of the table. `measured` has the number with its unit; lower is better."""

    work: str
    measured: str
    must: str
    aim: str
    detail: str = ""


def seconds(loop: workloads.Loop, steps: int) -> float:
    begin = time.perf_counter()
    loop(steps)
    return (time.perf_counter() - begin) / steps


def ratio(loop: workloads.Loop, blocks: int, steps: int, warm: int, **options: object) -> tuple[float, float, float]:
    """(median ratio, plain, recorded), the last two in seconds a step; plain and recorded blocks take turns.

    Each recorded block is one recording whose first `warm` steps are not timed: steady state is what a long
    run pays. Closing the file is left out too, for it happens once.
    """
    loop(warm)
    pairs = []
    for _ in range(blocks):
        plain = seconds(loop, steps)
        with gradscope.record(**options) as trace:
            loop(warm)
            recorded = seconds(loop, steps)
        trace.close()
        pairs.append((plain, recorded))
    return (
        median(recorded / plain for plain, recorded in pairs),
        median(plain for plain, _ in pairs),
        median(recorded for _, recorded in pairs),
    )


def step_row(
    work: str, loop: workloads.Loop, must: str, aim: str, counts: tuple[int, int, int], **options: object
) -> Row:
    blocks, steps, warm = counts
    times, plain, recorded = ratio(loop, blocks, steps, warm, **options)
    return Row(work, f"{times:.2f}x", must, aim, f"{plain * 1e3:.2f} ms plain, {recorded * 1e3:.2f} ms recorded")


def mlp_row(quick: bool) -> Row:
    counts = (3, 50, 20) if quick else (15, 300, 50)
    return step_row("tiny MLP step, default detail, steady state", workloads.mlp(), "≤ 2.0x", "≤ 1.5x", counts)


def mlp_full_row(quick: bool) -> Row:
    counts = (3, 50, 20) if quick else (15, 200, 50)
    return step_row("the same, `--detail full`", workloads.mlp(), "≤ 4x", "≤ 3x", counts, detail="full")


def gpt_row(quick: bool) -> Row:
    counts = (1, 1, 4) if quick else (9, 5, 5)
    return step_row("GPT-like step, default detail", workloads.gpt(), "≤ 1.08x", "≤ 1.03x", counts)


def chain_row(quick: bool) -> Row:
    """What the walk adds to a recorded backward, and what a reader needs to build the graph from the trace."""
    length, runs = (5_000, 1) if quick else (50_000, 5)
    walks, builds = [], []
    for _ in range(runs):
        plain = backward_time(workloads.chain(length))
        with gradscope.record(detail="graph") as trace:
            recorded = backward_time(workloads.chain(length))
        step = trace.last_backward()
        assert step is not None
        assert len(step.template.graphs[0].nodes) > length  # reading the file is not building
        begin = time.perf_counter()
        nodes = len(step.graph("backward").nodes)
        builds.append((time.perf_counter() - begin) / nodes)
        walks.append((recorded - plain) / nodes)
        trace.close()
    walk, build = median(walks) * 1e6, median(builds) * 1e6
    work = f"graph of a {length:,}-op chain: walk and build"
    return Row(work, f"{walk + build:.1f} µs a node", "≤ 10 µs", "≤ 5 µs", f"walk {walk:.1f}, build {build:.1f}")


def backward_time(tensor: Tensor) -> float:
    begin = time.perf_counter()
    tensor.backward()
    return time.perf_counter() - begin


def size_row(quick: bool) -> Row:
    steps = 500 if quick else 10_000
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "steps.gradscope"
        loop = workloads.mlp()
        with gradscope.record() as trace:
            loop(steps)
        trace.save(path)
        assert len(trace.steps) == steps, len(trace.steps)
        trace.close()
        size = path.stat().st_size
    return Row(f"trace of {steps:,} equal MLP steps", f"{size / 1e6:.1f} MB", "≤ 10 MB", "≤ 4 MB")


def start_row(quick: bool) -> Row:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "few.gradscope"
        loop = workloads.mlp()
        with gradscope.record() as trace:
            loop(10)
        trace.save(path)
        trace.close()
        commands = {"--help": ["--help"], "info": ["info", str(path)]}
        times = {name: start_time(arguments, 3 if quick else 11) for name, arguments in commands.items()}
    measured = ", ".join(f"{name} {spent:.2f} s" for name, spent in times.items())
    return Row("`gradscope --help`, `info` (no torch import)", measured, "≤ 0.4 s", "≤ 0.2 s")


def start_time(arguments: list[str], runs: int) -> float:
    """Median seconds from start to end of one gradscope command."""
    spent = []
    for _ in range(runs):
        begin = time.perf_counter()
        subprocess.run([sys.executable, "-m", "gradscope", *arguments], check=True, capture_output=True, timeout=60)
        spent.append(time.perf_counter() - begin)
    return median(spent)


def check_row(quick: bool) -> Row:
    """CPU of judging a trace in which nearly every step differs from the others, opened anew each time."""
    moments_wanted = 5_000 if quick else 100_000
    with gradscope.record(detail="full") as trace:
        loop = workloads.changing()
        while True:
            loop(20)
            if len(trace.steps) * 56 >= moments_wanted:
                break
    moments = sum(len(trace.step(number).moments) for number in trace.source.step_numbers())
    with tempfile.TemporaryDirectory() as folder:
        path = trace.save(Path(folder) / "changing.gradscope")
        trace.close()
        spent = []
        for _ in range(1 if quick else 3):
            begin = time.process_time()
            with gradscope.load(path) as again:
                assert not again.findings()
            spent.append(time.process_time() - begin)
    each = 1e6 * median(spent) / moments
    return Row(
        f"`check` of a trace of {moments:,} moments", f"{median(spent):.1f} s", "≤ 5 s", "", f"{each:.0f} µs each"
    )


def view_row(quick: bool) -> Row:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "steps.gradscope"
        moments = traces.many_steps(path, 10_000 if quick else 1_000_000)
        found = in_the_terminal_ui(path)
    measured = f"{found['first_frame_s']:.2f} s, {found['key_p95_ms']:.0f} ms, {found['memory_mb']:.0f} MB"
    work = f"`gradscope view`, {moments:,} moments: CPU to the first frame, a key at p95, memory"
    detail = f"a key's median {found['key_p50_ms']:.0f} ms"
    return Row(work, measured, "≤ 1 s, ≤ 50 ms, ≤ 300 MB", "≤ 0.5 s, ≤ 20 ms", detail)


def view_graph_row(quick: bool) -> Row:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "graph.gradscope"
        nodes = traces.large_graph(path, 1_000 if quick else 10_000)
        found = in_the_terminal_ui(path)
    measured = f"{found['key_p95_ms']:.0f} ms, {found['memory_mb']:.0f} MB"
    work = f"`gradscope view`, a graph of {nodes:,} nodes: CPU of a key at p95, memory"
    return Row(work, measured, "≤ 50 ms, ≤ 300 MB", "≤ 20 ms", f"a key's median {found['key_p50_ms']:.0f} ms")


def in_the_terminal_ui(path: Path) -> dict[str, float]:
    command = [sys.executable, "-m", "tests.bench.tui", str(path)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, timeout=600)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


ROWS = {
    "mlp": mlp_row,
    "mlp-full": mlp_full_row,
    "gpt": gpt_row,
    "chain": chain_row,
    "size": size_row,
    "start": start_row,
    "check": check_row,
    "view": view_row,
    "view-graph": view_graph_row,
}
