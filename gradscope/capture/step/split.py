"""A draft being cut, where a step is found to have ended earlier than was thought."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from .draft import Draft, bumps_in
from .raw import (
    MADE_BEFORE,
    BackwardRan,
    Called,
    LeafChanged,
    NodeRan,
    RawMoment,
    RawNode,
    RawSample,
    RawTensor,
    Updated,
    Written,
)


def split(draft: Draft, at: int, wanted: Iterable[int] = ()) -> tuple[Draft, Draft, dict[int, int]]:
    """The moments before `at`, those from it on, and the second part's new tensor numbers by old ones.

    Tensors that the second part took over from the first become carried ones there. Numbers that are `wanted` are
    there after the cut, in either part. Live tensors that the second part has met get its numbers.
    """
    cut = _Split(draft, at, wanted)
    head, tail, numbers = cut.parts()
    for entry in dict.fromkeys(draft.met):
        if entry.mark is not draft.mark:
            continue
        if entry.number not in numbers:
            head.met.append(entry)
            continue
        entry.mark, entry.number = tail.mark, numbers[entry.number]
        entry.storage = tail.tensors[entry.number].storage
        tail.met.append(entry)
        if entry.parameter is not None:
            entry.base_version = tail.versions.get(entry.parameter, entry.base_version)
    return head, tail, numbers


def pieces(draft: Draft, cuts: Sequence[int]) -> list[Draft]:
    """The draft cut at all these moments, each of which lies inside it.

    In halves, and those in halves: each moment is copied as often as the pieces can be halved.
    """
    done: list[Draft] = []
    waiting = [(draft, cuts)]  # the first of them last
    while waiting:
        part, inside = waiting.pop()
        if not inside:
            done.append(part)
            continue
        middle = len(inside) // 2
        at = inside[middle]
        later = [other for other, _ in waiting]
        wanted = {old for other in later for _, mark, old in other.carried if mark is part.mark}
        head, tail, numbers = split(part, at, sorted(wanted))
        for other in later:  # what they carried from `part` may be its second half's
            other.carried = [
                (number, tail.mark, numbers[old]) if mark is part.mark and old in numbers else (number, mark, old)
                for number, mark, old in other.carried
            ]
        waiting.append((tail, [cut - at for cut in inside[middle + 1 :]]))
        waiting.append((head, inside[:middle]))
    return done


_OF_NODES = ("grad_in", "grad_out", "derivative")  # samples whose subject is a place among a grad node's gradients


class _Split:
    """A draft being cut in two."""

    def __init__(self, draft: Draft, at: int, wanted: Iterable[int]) -> None:
        self.draft, self.at, self.wanted = draft, at, wanted
        self.head = Draft(draft.full, with_graph=draft.with_graph)
        self.tail = Draft(draft.full, draft.flush, with_graph=draft.with_graph)
        first = draft.moments[:at]
        ran = [done.graph for done in (moment.payload for moment in first) if isinstance(done, (BackwardRan, NodeRan))]
        self.graph_count = max((graph for graph in ran if graph is not None), default=-1) + 1
        used = [number for moment in first for number in (*moment.inputs, *moment.outputs)]
        used += [number for graph in draft.graphs[: self.graph_count] for number in graph.tensors()]
        self.count = max(used, default=-1) + 1  # tensors are numbered as they are met
        self.numbers: dict[int, int] = {}
        self.storages: dict[int, int] = {}
        self.graphs: dict[int, int] = {}
        self.called: dict[int, int] = {}  # module -> how often the first part calls it
        for call in draft.calls:
            if call.moment < at:
                self.called[call.module] = call.call + 1
        self.current = self._at_the_cut()

    def _at_the_cut(self) -> dict[int, RawTensor]:
        """What the first part changed of the tensors it met: leaf status and versions."""
        found: dict[int, RawTensor] = {}
        for moment in self.draft.moments[: self.at]:
            done = moment.payload
            if not isinstance(done, (LeafChanged, Written)):
                continue
            tensor = moment.inputs[0]
            raw = found.get(tensor, self.draft.tensors[tensor])
            if isinstance(done, LeafChanged):
                found[tensor] = raw._replace(facts=raw.facts.after(done.status))
            elif done.after is not None and raw.parameter is None:
                found[tensor] = raw._replace(version=done.after)
        return found

    def parts(self) -> tuple[Draft, Draft, dict[int, int]]:
        draft, head, tail, at = self.draft, self.head, self.tail, self.at
        head.mark = draft.mark
        head.before, tail.before = draft.before, draft.before + at
        head.hooked = tail.hooked = draft.hooked
        head.timing, tail.timing = draft.timing.cut(at)
        head.progress, tail.progress = draft.progress.cut(at)
        head.learning_rates, tail.learning_rates = dict(draft.learning_rates), dict(draft.learning_rates)
        head.bumps, tail.bumps = bumps_in(draft, 0, at), bumps_in(draft, at, len(draft.moments))
        head.versions, tail.versions = dict(draft.versions), dict(draft.versions)
        for parameter, rise in head.bumps.items():
            tail.versions[parameter] = tail.versions.get(parameter, 0) + rise
        head.moments = draft.moments[:at]
        head.tensors = [self._left_behind(raw) for raw in draft.tensors[: self.count]]
        tail.moments += [self._moved(moment) for moment in draft.moments[at:]]
        head.graphs = draft.graphs[: self.graph_count]
        self._share_out()
        head.carried = [entry for entry in draft.carried if entry[0] < self.count]
        later = [entry for entry in draft.carried if entry[0] >= self.count and entry[0] in self.numbers]
        tail.carried += [(self.numbers[number], mark, made_as) for number, mark, made_as in later]
        return head, tail, self.numbers

    def _share_out(self) -> None:
        """What is kept beside the moments, to the part it belongs to."""
        draft, head, tail, at = self.draft, self.head, self.tail, self.at
        for stack, outputs in draft.returns:
            if max(outputs, default=0) < self.count:
                head.returns.append((stack, outputs))
            else:
                tail.returns.append((stack, self._renumbered(outputs)))
        for name in ("losses", "scaled", "factors", "norms", "distances"):
            for index, *measured in getattr(draft, name):
                part, start = (head, 0) if index < at else (tail, at)
                getattr(part, name).append((index - start, *measured))
        self._share_out_samples()
        self._take_along()
        tail.nodes_by_sequence = {s: index - at for s, index in draft.nodes_by_sequence.items() if index >= at}
        for sequence, numbers in draft.outputs_by_sequence.items():
            kept = tuple([self.numbers[number] for number in numbers if number in self.numbers])
            if kept:
                tail.outputs_by_sequence[sequence] = kept
        self._share_out_calls()
        tail.memory = draft.memory
        tail.storages, tail.storage_count = dict(draft.storages), len(self.storages)
        tail.sharing = {self.storages[old]: sharing for old, sharing in draft.sharing.items() if old in self.storages}

    def _share_out_samples(self) -> None:
        draft, head, tail = self.draft, self.head, self.tail
        known: dict[int, RawSample] = {}
        for sample in draft.samples:
            moment, subject, of_parameter, what, _ = sample
            if moment >= self.at:
                tail.samples.append(self._moved_sample(sample))
                continue
            of_tensor = not of_parameter and what not in _OF_NODES
            if of_tensor and what == "value":
                known[subject] = sample
            if not of_tensor or subject < self.count:  # else it had its value before, and is first met after
                head.samples.append(sample)
        written = self._last_writes()
        for number, (moment, _, _, what, reading) in known.items():
            if number in self.numbers and written.get(draft.tensors[number].storage, -1) <= moment:
                tail.samples.append((-1, self.numbers[number], False, what, reading))  # still the same

    def _left_behind(self, raw: RawTensor) -> RawTensor:
        """A tensor of the first part, which knows nothing of what came later."""
        made_by = raw.made_by if raw.made_by is None or raw.made_by < self.at else None
        base = raw.base if raw.base is None or raw.base < self.count else None
        owner = raw.gradient_of if raw.gradient_of is None or raw.gradient_of < self.count else None
        if (made_by, base, owner) == (raw.made_by, raw.base, raw.gradient_of):
            return raw
        return raw._replace(made_by=made_by, base=base, gradient_of=owner)

    def _take_along(self) -> None:
        """Tensors that were met after the first part for something that is still to be told."""
        met = {entry.number for entry in self.draft.met if entry.mark is self.draft.mark and entry() is not None}
        met.update(self.wanted)
        self._renumbered(tuple(sorted(number for number in met if number >= self.count)))

    def _share_out_calls(self) -> None:
        draft, head, tail, at = self.draft, self.head, self.tail, self.at
        positions: dict[int | None, int] = {}
        for position, call in enumerate(draft.calls):
            if call.moment < at:
                head.calls.append(call)
            else:
                positions[position] = len(tail.calls)
                number = call.call - self.called.get(call.module, 0)
                moved = call._replace(call=number, moment=call.moment - at, parent=positions.get(call.parent))
                tail.calls.append(moved)
        tail.calling = positions.get(draft.calling)
        tail.module_calls = {module: count - self.called.get(module, 0) for module, count in draft.module_calls.items()}

    def _last_writes(self) -> dict[int, int]:
        """The last moment of the first part that wrote to each storage: the op, where one that was seen did."""
        written: dict[int, int] = {}
        for index, moment in enumerate(self.draft.moments[: self.at]):
            done = moment.payload
            if isinstance(done, (Written, Updated)):
                op = done.op if isinstance(done, Written) else None
                for number in moment.inputs:
                    written[self.draft.tensors[number].storage] = index if op is None else op
        return written

    def _moved(self, moment: RawMoment) -> RawMoment:
        inputs, outputs = self._renumbered(moment.inputs), self._renumbered(moment.outputs)
        done = moment.payload
        if isinstance(done, Called):
            if done.module in self.called and done.module_call is not None:
                done = done._replace(module_call=max(done.module_call - self.called[done.module], 0))
        elif isinstance(done, (BackwardRan, NodeRan)):
            done = done._replace(graph=self._moved_graph(done.graph))
        elif isinstance(done, Written):
            number = moment.inputs[0]
            done = done._replace(
                before=self._shifted(number, done.before),
                after=self._shifted(number, done.after),
                op=done.op - self.at if done.op is not None and done.op >= self.at else None,
            )
        elif isinstance(done, Updated):
            shifts = [self._shift_of(number) for number in moment.inputs]
            pairs = [(old - shift, new - shift) for shift, (old, new) in zip(shifts, done.versions)]
            done = done._replace(versions=tuple(pairs))
        return moment._replace(inputs=inputs, outputs=outputs, payload=done)

    def _renumbered(self, numbers: tuple[int, ...]) -> tuple[int, ...]:
        for number in numbers:
            if number not in self.numbers:
                self.numbers[number] = self._taken_over(number)
        return tuple(self.numbers[number] for number in numbers)

    def _taken_over(self, number: int) -> int:
        raw = self.current.get(number, self.draft.tensors[number])
        new = len(self.tail.tensors)
        made_by = raw.made_by - self.at if raw.made_by is not None and raw.made_by >= self.at else None
        if made_by is None and raw.parameter is None and number < self.count:
            self.tail.carried.append((new, self.head.mark, number))
            raw = raw._replace(carried=True, position=MADE_BEFORE if raw.made_by is not None else raw.position)
        base = self.numbers.get(raw.base) if raw.base is not None else None
        owner = self.numbers.get(raw.gradient_of) if raw.gradient_of is not None else None
        storage = self.storages.setdefault(raw.storage, len(self.storages))
        self.tail.tensors.append(raw._replace(storage=storage, made_by=made_by, base=base, gradient_of=owner))
        return new

    def _shifted(self, number: int | None, version: int | None) -> int | None:
        """A version relative to the draft's start, made relative to the tail's."""
        return version if version is None or number is None else version - self._shift_of(number)

    def _shift_of(self, number: int) -> int:
        """How far the head raises the version of a tensor that outlives steps."""
        parameter = self.draft.tensors[number].parameter
        return 0 if parameter is None else self.head.bumps.get(parameter, 0)

    def _moved_graph(self, graph: int | None) -> int | None:
        if graph is not None and graph not in self.graphs:
            raw = self.draft.graphs[graph]
            nodes = tuple(self._moved_node(node) for node in raw.nodes)
            self.graphs[graph] = len(self.tail.graphs)
            self.tail.graphs.append(raw._replace(nodes=nodes))
        return None if graph is None else self.graphs[graph]

    def _moved_node(self, node: RawNode) -> RawNode:
        here = node.op is not None and node.op >= self.at
        saved = [
            one._replace(
                tensor=None if one.tensor is None else self._renumbered((one.tensor,))[0],
                version=self._shifted(one.tensor, one.version),
            )
            for one in node.saved
        ]
        return node._replace(
            op=node.op - self.at if here and node.op is not None else None,
            leaf=None if node.leaf is None else self._renumbered((node.leaf,))[0],
            outputs=self._renumbered(node.outputs),
            saved=tuple(saved),
            carried=node.carried or (node.op is not None and not here),
        )

    def _moved_sample(self, sample: RawSample) -> RawSample:
        moment, subject, of_parameter, what, reading = sample
        if not of_parameter and what not in _OF_NODES:
            (subject,) = self._renumbered((subject,))
        return (moment - self.at, subject, of_parameter, what, reading)
