"""A trace in a few lines of text: the end of `gradscope trace`, `gradscope info`, and a notebook's fallback."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from ..model.overview import Fault, GraphSize, Moves, Overview, overview
from ..model.records import Detail, TraceInfo
from ..model.trace import Trace
from ..model.watching import recorded_exactly
from ..text import byte_count, duration, elide, elide_list, number, plural, printable

NAMES_SHOWN = 4
LABEL = 12  # columns


def summary(trace: Trace) -> str:
    """What `trace` holds, one fact a line."""
    return "\n".join(summary_lines(overview(trace)))


def summary_lines(facts: Overview) -> Iterator[str]:
    """The lines of `summary`: a headline, then a label and a fact each. Facts that are not there have no line."""
    yield headline(facts)
    for label, fact in _facts(facts):
        yield line(label, fact)


def line(label: str, fact: str) -> str:
    """One fact as `summary` shows it."""
    return f"  {label:<{LABEL}} {fact}"


def headline(facts: Overview) -> str:
    """How the program went: `train.py ran 1.5 s and ended by itself`."""
    info = facts.info
    name = printable(" ".join((info.script, *info.arguments))) or "a recording"
    after = f" after {duration(info.duration)}" if info.duration is not None else ""
    return f"{name} {ended(info)}{after}"


def ended(info: TraceInfo) -> str:
    """How the program ended, without naming it: `ran to its end`, `failed with ValueError: no rows`."""
    if info.interrupted:
        return "was interrupted (Ctrl-C)"
    return {
        "running": "is still running, or was killed",
        "killed": "was killed",
        "failed": f"failed with {elide(printable(info.error or 'an exception'), 100)}",
        "done": f"exited with status {info.exit_status}" if info.exit_status else "ran to its end",
    }.get(info.status, info.status)


def _facts(facts: Overview) -> Iterator[tuple[str, str]]:
    if facts.info.rank is not None:
        yield "rank", f"{facts.info.rank} of the ranks 0 to {(facts.info.world_size or 1) - 1}"
    yield "steps", _steps(facts)
    if facts.watched.matched or (facts.watched.light and facts.info.detail is Detail.AUTO):
        yield "watched", _watched(facts)
    if facts.phases:
        yield "phases", _phases(facts.phases)
    if facts.loss is not None:
        first, last = facts.loss
        yield "loss", f"{number(first)} → {number(last)}" if first != last else number(first)
    if facts.update_ratio is not None or facts.unmeasured_updates:
        yield "updates", _updates(facts)
    yield "graph", _graph(facts)
    yield from _parameter_facts(facts)
    for moves in facts.moves[:3]:
        yield "moves", _moves(moves)
    if facts.mutations.count:
        unseen = f"; autograd did not see {facts.mutations.uncounted:,} of them (through .data, numpy or set_)"
        writes = plural(facts.mutations.count, "in-place write")
        yield "mutations", writes + unseen * bool(facts.mutations.uncounted)
    for failure in _shown(facts.failures):
        yield "caught" if failure.caught else "failure", _failure(failure)
    if facts.died:
        yield "died in", printable(facts.died)
    for damage in facts.damaged[:3]:
        yield "damaged", f"{_steps_of(damage.steps)}: {damage.why}; the rest can be read"
    for text in facts.info.faults[:3]:
        yield "not recorded", elide(printable(text), 100)


def _parameter_facts(facts: Overview) -> Iterator[tuple[str, str]]:
    if facts.parameters or facts.leaves:
        yield "parameters", _parameters(facts)
    if facts.with_gradient or facts.without_gradient or facts.filled:
        yield "gradients", _gradients(facts)
    if facts.without_gradient:
        yield "without", _names(facts.without_gradient)
    if facts.evaluated:
        yield "evaluated", f"{plural(len(facts.evaluated), 'parameter')} of models that were not trained"
    if facts.frozen:
        yield "frozen", _names(facts.frozen)
    if facts.optimizers:
        yield "optimizer", _names(facts.optimizers)


def _steps(facts: Overview) -> str:
    early = f"{plural(facts.early_backwards, 'backward')} ran before the first step" * bool(facts.early_backwards)
    if not facts.steps:
        return "; ".join(["none: no loop was seen", *([early.replace("the first", "any")] if early else [])])
    kinds = ", ".join(f"{count:,} {kind}" for kind, count in facts.steps.items())
    again = facts.repeats
    same = f"{again:,} {'repeat' if again > 1 else 'repeats'} an earlier one op by op" * (again > 0)
    return "; ".join(part for part in (kinds, same, early) if part)


def _watched(facts: Overview) -> str:
    """How many steps have all their ops, and what the others have instead."""
    exact, matched, light = facts.watched
    parts = [f"{exact:,} op by op"]
    if matched:
        parts.append(f"{matched:,} {'was' if matched == 1 else 'were'} matched with one of these")
    if light:
        parts.append(f"{light:,} {'is' if light == 1 else 'are'} light: numbers, no ops")
    return f"{'; '.join(parts)} (--budget none: all op by op)"


def _phases(phases: Mapping[str, float]) -> str:
    total = sum(phases.values())
    if not total:
        return ", ".join(phases)
    shares = [(name, round(100 * spent / total)) for name, spent in phases.items()]
    return ", ".join(f"{name} {share} %" for name, share in shares if share) or ", ".join(phases)


def _updates(facts: Overview) -> str:
    """How far updates moved the parameters, by their norm, and what measures those that were not."""
    parts = []
    if facts.update_ratio is not None:
        first, last = (number(ratio, 2) for ratio in facts.update_ratio)
        parts.append(f"Δ/|p| {first}" + f" → {last}" * (first != last))
    if facts.unmeasured_updates:
        command = recorded_exactly(facts.info)
        parts.append(
            f"not measured in {plural(facts.unmeasured_updates, 'step')} ({command}: up to 1 GiB of parameters)"
        )
    return "; ".join(parts)


def _graph(facts: Overview) -> str:
    if facts.last_graph is None:
        return f"no backward; {plural(facts.ops, 'op')} recorded" if facts.ops else "no backward, no ops"
    calls, step = facts.last_graph.backwards, facts.last_graph.step
    where = f"the last backward ({_step(step)})" if calls == 1 else f"the last {calls:,} backwards ({_step(step)})"
    text = f"{_size(facts.last_graph)} in {where}"
    largest = facts.largest_graph
    if largest is not None and largest.nodes > facts.last_graph.nodes:
        text += f"; {_size(largest)} in the largest ({_step(largest.step)})"
    return text


def _size(size: GraphSize) -> str:
    return f"{plural(size.nodes, 'node')}, {plural(size.edges, 'edge')}"


def _step(step: int) -> str:
    return "before the first step" if step < 0 else f"step {step}"


def _steps_of(numbers: Sequence[int]) -> str:
    first = _step(numbers[0])
    return first if len(numbers) == 1 else f"{first} and {plural(len(numbers) - 1, 'step')} like it"


def _parameters(facts: Overview) -> str:
    parts = []
    if facts.parameters:
        size = f"{plural(facts.elements, 'element')}, {byte_count(facts.nbytes)}"
        parts.append(f"{len(facts.parameters):,} ({size})")
    if facts.buffers:
        parts.append(plural(facts.buffers, "buffer"))
    if facts.leaves:
        parts.append(plural(facts.leaves, "leaf", "leaves") + (" outside a module" if facts.parameters else ""))
    return ", ".join(parts)


def _gradients(facts: Overview) -> str:
    """How many parameters got a gradient, and which other leaves the last backward filled."""
    got, lacking = len(facts.with_gradient), len(facts.without_gradient)
    parts = []
    if lacking:
        parts.append(f"{got:,} of {got + lacking:,} got one, {lacking:,} never did")
    elif got:
        parts.append(f"all {got:,} got one" if got > 1 else "it got one")
    named = {*facts.with_gradient, *facts.without_gradient, *facts.parameters}
    others = [name for name in facts.filled if name not in named]
    if others:
        parts.append(_names(others) + (" too" if got else ""))
    return "; ".join(parts) or "none in the last backward"


def _names(names: Iterable[str]) -> str:
    """The names, as many as fit, and how many have none."""
    every = list(names)
    named = [printable(name) for name in every if name]
    nameless = len(every) - len(named)
    return ", ".join([elide_list(named, NAMES_SHOWN)] * bool(named) + [f"{nameless:,} without a name"] * bool(nameless))


def _moves(moves: Moves) -> str:
    change = moves.to_device if moves.from_device == moves.to_device else f"{moves.from_device} → {moves.to_device}"
    if moves.from_dtype != moves.to_dtype:
        change += f", {moves.from_dtype} → {moves.to_dtype}"
    return f"{moves.count:,} × {change}, {byte_count(moves.nbytes)}; {_leaves(moves.leaves, moves.count)}"


def _leaves(leaves: int, count: int) -> str:
    if leaves == count:
        return "the result is a leaf" if count == 1 else "the results are leaves"
    if not leaves:
        return "the result is not a leaf" if count == 1 else "the results are not leaves"
    return f"{leaves:,} of the results are leaves"


def _shown(failures: tuple[Fault, ...]) -> tuple[Fault, ...]:
    """The exception that left the script, if one did, else the last that it caught."""
    left = tuple(failure for failure in failures if not failure.caught)
    return left[-1:] or failures[-1:]


def _failure(failure: Fault) -> str:
    where = f" at {printable(failure.file)}:{failure.line}" if failure.file is not None else ""
    message = f": {elide(printable(failure.message), 80)}" if failure.message else ""
    return f"{printable(failure.type)}{where} ({_step(failure.step)}){message}"
