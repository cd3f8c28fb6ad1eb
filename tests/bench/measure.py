"""How things are measured: interleaved blocks in one process, medians, ratios of neighbours."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median

from torch import Tensor

import gradscope
from tests.terminal import Terminal

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


def cpu_seconds(loop: workloads.Loop, steps: int) -> float:
    """Of all threads: what a recording adds in its own, too."""
    begin = time.process_time()
    loop(steps)
    return (time.process_time() - begin) / steps


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


STEADY: dict[str, tuple[str, Callable[[], workloads.Loop], int, str, str]] = {
    "mlp": ("tiny MLP step (32-64-64-10, Adam), default detail, steady state", workloads.mlp, 300, "≤ 1.35x", "≤ 1.2x"),
    "cnn": ("the same of a small CNN", workloads.cnn, 100, "≤ 1.35x", "≤ 1.2x"),
    "attention": ("of one attention block", workloads.attention, 80, "≤ 1.35x", "≤ 1.2x"),
    "lstm": ("of `nn.LSTM` over 20 steps", workloads.lstm, 100, "≤ 1.35x", "≤ 1.2x"),
    "functional": ("of a network with `view`, `F.relu`, `F.nll_loss`", workloads.functional, 300, "≤ 1.35x", "≤ 1.2x"),
    "small-gpt": ("of a small GPT (2 layers, width 128)", workloads.small_gpt, 12, "≤ 1.10x", "≤ 1.05x"),
    "gpt": ("of a GPT-like model (4 layers, width 256)", workloads.gpt, 4, "≤ 1.03x", "≤ 1.02x"),
}


def steady_row(name: str, quick: bool) -> Row:
    """Most steps are matched by then; each block has one that is watched."""
    work, loop, steps, must, aim = STEADY[name]
    counts = (1, 2, 8) if quick else (7 if steps > 20 else 5, steps, 5 * steps if steps > 20 else 4 * steps)
    return step_row(work, loop(), must, aim, counts)


EXACT: dict[str, tuple[str, Callable[[], workloads.Loop], str, int, str, str]] = {
    "mlp-graph": ("tiny MLP step, `--detail graph`", workloads.mlp, "graph", 200, "≤ 2.6x", "≤ 2.2x"),
    "small-gpt-graph": ("small GPT, `--detail graph`", workloads.small_gpt, "graph", 10, "≤ 1.8x", "≤ 1.5x"),
    "mlp-full": ("tiny MLP step, `--detail full`", workloads.mlp, "full", 200, "≤ 4.5x", "≤ 3.5x"),
}


def exact_row(name: str, quick: bool) -> Row:
    work, loop, detail, steps, must, aim = EXACT[name]
    counts = (1, 2, 4) if quick else (9 if steps > 20 else 5, steps, steps // 4)
    return step_row(work, loop(), must, aim, counts, detail=detail)


UNEQUAL: dict[str, tuple[str, Callable[[], workloads.Loop]]] = {
    "neural-ode": ("neural ODE with an adjoint", workloads.neural_ode),
    "dqn": ("DQN with a replay buffer", workloads.dqn),
    "reinforce": ("REINFORCE, episodes of 10 to 200", workloads.reinforce),
}


def unequal_row(name: str, quick: bool) -> Row:
    """Steps that equal none, from the first on: CPU of the whole recording, its end included."""
    work, made = UNEQUAL[name]
    steps, pairs = 10 if quick else 200, []
    for _ in range(1 if quick else 3):
        loop = made()
        loop(5)
        plain = cpu_seconds(loop, steps)
        begin = time.process_time()
        with gradscope.record() as trace:
            loop(steps)
        pairs.append((plain, (time.process_time() - begin) / steps))
        trace.close()
    times = median(recorded / plain for plain, recorded in pairs)
    plain, recorded = (median(one[at] for one in pairs) for at in (0, 1))
    told = f"CPU, {plain * 1e3:.1f} ms plain, {recorded * 1e3:.1f} ms recorded"
    return Row(f"{steps} steps of {work}, default detail", f"{times:.2f}x", "≤ 1.5x", "≤ 1.3x", told)


def unrolled_row(quick: bool) -> Row:
    """A step of thousands of ops, recorded exactly (CPU of the step), then drawn and judged by commands."""
    passes = 50 if quick else 1000
    loop = workloads.unrolled(passes)
    loop(1)
    plain = cpu_seconds(loop, 1)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "unrolled.gradscope"
        with gradscope.record(detail="graph") as trace:
            recorded = cpu_seconds(loop, 1)
        trace.save(path)
        trace.close()
        commands = (["graph", str(path), "-o", str(Path(folder) / "g.svg")], ["check", str(path)])
        drawn, judged = (start_time(command, 1) for command in commands)
        size = path.stat().st_size / 1e6
    measured = f"{recorded / plain:.1f}x, {drawn:.1f} s, {judged:.1f} s, {size:.1f} MB"
    work = f"LBFGS around {passes:,} LSTMCell passes, exact: trace, `graph`, `check`, file"
    return Row(work, measured, "≤ 3x, ≤ 5 s, ≤ 10 s, ≤ 5 MB", "", f"CPU, {plain:.2f} s plain")


def matched_row(quick: bool) -> Row:
    """The file of very many matched steps, and what the process needs more than a plain one."""
    steps = 2_000 if quick else 100_000
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "steps.gradscope"
        needed = [memory_of(steps, None), memory_of(steps, path)]
        size = path.stat().st_size / 1e6
    measured = f"{size:.1f} MB, {(needed[1] - needed[0]) / 1e6:.0f} MB"
    work = f"{steps:,} matched steps: file, memory above plain"
    return Row(work, measured, "≤ 15 MB, ≤ 40 MB", "", "peak of the process")


def memory_of(steps: int, path: Path | None) -> int:
    """The peak memory of a process that trains the tiny MLP, recorded to `path` or plain, in bytes."""
    lines = ["import resource", "from tests.bench import workloads", "loop = workloads.mlp()"]
    if path is None:
        lines += [f"loop({steps})"]
    else:
        lines += ["import gradscope", "with gradscope.record() as trace:", f"    loop({steps})"]
        lines += [f"trace.save({str(path)!r})"]
    lines += ["print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"]
    done = subprocess.run([sys.executable, "-c", "\n".join(lines)], check=True, stdout=subprocess.PIPE, text=True)
    return int(done.stdout) * 1024


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
    return Row(work, measured, "≤ 0.6 s, ≤ 25 ms", "≤ 0.4 s, ≤ 15 ms", detail)


def view_graph_row(quick: bool) -> Row:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "graph.gradscope"
        nodes = traces.large_graph(path, 1_000 if quick else 10_000)
        found = in_the_terminal_ui(path)
    measured = f"{found['key_p95_ms']:.0f} ms, {found['memory_mb']:.0f} MB"
    work = f"`gradscope view`, a graph of {nodes:,} nodes: CPU of a key at p95, memory"
    return Row(work, measured, "≤ 25 ms, ≤ 150 MB", "≤ 15 ms", f"a key's median {found['key_p50_ms']:.0f} ms")


def view_step_row(quick: bool) -> Row:
    """One step of very many moments: to open it, all of it is read."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "step.gradscope"
        moments = traces.large_step(path, 3_000 if quick else 300_000)
        found = in_the_terminal_ui(path)
    measured = f"{found['first_frame_s']:.1f} s, {found['key_p95_ms']:.0f} ms, {found['memory_mb']:,.0f} MB"
    work = f"`gradscope view`, one step of {moments:,} moments: CPU to the first frame, a key at p95, memory"
    return Row(work, measured, "≤ 2 s", "≤ 1 s", f"a key's median {found['key_p50_ms']:.0f} ms")


def view_bytes_row(quick: bool) -> Row:
    """What a terminal is sent for one moment forward, in a step of a hundred moments."""
    told = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "steps.gradscope"
        traces.many_steps(path, 1)
        for size in ((120, 40), (200, 60)):
            sent = bytes_sent(path, size, 2 if quick else 8)
            told.append(f"{median(sent) / 1e3:.1f} and {max(sent) / 1e3:.1f} KB")
    work = "`gradscope view`, bytes of a key, median and most of 8: at 120x40, at 200x60"
    return Row(work, ", ".join(told), "≤ 6 KB, ≤ 10 KB", "≤ 3 KB")


def bytes_sent(path: Path, size: tuple[int, int], keys: int) -> list[int]:
    terminal = Terminal(["view", path.name, "--step", "1:1"], path.parent, size)
    terminal.until("moment 1/")
    terminal.rest()
    sent = []
    for _ in range(keys):
        before = len(terminal.written.encode())
        terminal.type("\x1b[C")
        terminal.rest()
        sent.append(len(terminal.written.encode()) - before)
    terminal.type("q")
    terminal.wait()
    return sent


def in_the_terminal_ui(path: Path) -> dict[str, float]:
    command = [sys.executable, "-m", "tests.bench.tui", str(path)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, timeout=600)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


ROWS: dict[str, Callable[[bool], Row]] = {
    **{name: partial(steady_row, name) for name in STEADY},
    **{name: partial(exact_row, name) for name in EXACT},
    **{name: partial(unequal_row, name) for name in UNEQUAL},
    "unrolled": unrolled_row,
    "matched": matched_row,
    "chain": chain_row,
    "size": size_row,
    "start": start_row,
    "check": check_row,
    "view": view_row,
    "view-graph": view_graph_row,
    "view-step": view_step_row,
    "view-bytes": view_bytes_row,
}
