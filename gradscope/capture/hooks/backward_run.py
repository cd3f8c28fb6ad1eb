"""One backward: the graph that it walks, the gradients that its nodes hand on, and the leaves that it fills.

Node wrappers are held only while the engine runs, when the roots keep the graph alive anyway.
"""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from functools import lru_cache, partial
from typing import Any

import torch

from ...model.collector import collector_waits
from ...model.records import Phase
from ...text import raised
from ..hiding.hook_numbers import own_numbers
from ..hiding.no_torch_function import Unseen
from ..journal.journal import Journal
from ..measure.function_slope import Probe
from ..measure.grad_graph import root_node, walk
from ..measure.reading import Reading, of_triples
from ..measure.tensor_facts import node_of, version_of
from ..step.draft import GRAPH, MOMENT, Draft
from ..step.raw import BackwardRan, NodeRan, RawGraph, RawMoment, RawNode, RawSample
from ..step.saved_tensors import SavedReader, names_stale

_new_tuple = tuple.__new__  # a named tuple's own constructor is a Python call
NOT_GIVEN: tuple[Any, ...] = (None,) * 6  # what the engine is called with, at most


@lru_cache(maxsize=4096)
def _filling(leaf: int) -> RawNode:
    """The node that fills a leaf: the same object each time, which is quickly found to be equal."""
    return RawNode("AccumulateGrad", None, leaf, (), (), 0, carried=False)


@lru_cache(maxsize=4096)
def _node_moment(stack: int, graph: int | None, node: int) -> RawMoment:
    """That a node ran: the same object each time, too."""
    return RawMoment("node", Phase.BACKWARD, stack, (), (), NodeRan(graph, node))


class BackwardRun:
    """One backward: what was there before, what it did."""

    def __init__(self, journal: Journal, frame: Any, outputs: Sequence[Any], args: Sequence[Any], kwargs: Any) -> None:
        self.journal = journal
        self.stack, _ = journal.here.locate(frame)  # a new step may begin here
        draft = journal.tracker.draft
        _, retain_graph, create_graph, wanted, _, accumulate, *_ = (*args, *NOT_GIVEN)
        self.retain_graph, self.create_graph = bool(retain_graph), bool(create_graph)
        self.accumulates = bool(kwargs.get("accumulate_grad", accumulate))
        self.watches_ops = draft.with_graph
        self.handles: list[Any] = []
        tensors = [output for output in outputs if isinstance(output, torch.Tensor)]
        self.roots = tuple([journal.table.number(draft, t, self.stack) for t in tensors])
        named = [t for t in wanted or () if isinstance(t, torch.Tensor)]
        inputs = tuple([journal.table.number(draft, t, self.stack) for t in named])
        self.wanted = {id(t) for t in wanted} if wanted else None  # None: the gradients of all leaves
        self.call = "backward" if self.accumulates else "grad"
        self.leaves: list[tuple[torch.Tensor, int, bool]] = []
        self.retained: list[tuple[torch.Tensor, int, bool]] = []
        self.kept: list[tuple[torch.Tensor, int, bool, bool]] = []  # results named as inputs, which keep their gradient
        if self.accumulates:
            for t, number in zip(named, inputs):
                if t.requires_grad and t.grad_fn is not None:
                    self.kept.append((t, number, t.retains_grad, t.retains_grad and t.grad is not None))
        self.probes: dict[int, Probe] = {}  # node of a custom Function -> the values of its call
        self.leaf_of: dict[int, int] = {}  # AccumulateGrad node -> the number of the leaf it fills
        self.measured: dict[int, tuple[Any, int | None, Reading]] = {}  # gradients, at a version, by identity
        self.received: dict[int, Reading] = {}  # what was sent to each leaf, by the leaf's number
        self.graph: int | None = None
        if journal.exposed.watched:
            journal.exposed.look()
        if draft.with_graph:
            with collector_waits():
                self._walk(outputs)
        ran = BackwardRan(self.graph, self.call, self.retain_graph, self.create_graph, None)
        self.moment: int | None = draft.add("backward", Phase.BACKWARD, self.stack, self.roots, inputs, ran)
        self.mark = draft.mark  # the step whose numbers these are
        self.begun = draft.before + self.moment  # among all moments
        if self.accumulates and tensors:
            journal.measurements.loss(tensors[0])
        journal.here.backward_called(self.stack, self.accumulates or not self.create_graph)
        self._follow()

    def _follow(self) -> Draft:
        """The step in progress, by whose numbers the backward is told.

        A step may be found to have ended: before this backward, which showed it, or in a hook that this one ran.
        """
        draft = self.journal.tracker.draft
        if draft.mark is not self.mark:
            draft = self.journal.draft
            self.mark = draft.mark
            self._renumber(draft)
        return draft

    def _renumber(self, draft: Draft) -> None:
        """Take the numbers of this step. `moment` and `graph` are None where the backward began in one that is over."""
        table = self.journal.table
        moment = self.begun - draft.before
        self.moment = moment if moment >= 0 else None
        ran = draft.moments[moment].payload if moment >= 0 else None
        self.graph = ran.graph if isinstance(ran, BackwardRan) else None
        old = {number: leaf for leaf, number, _ in self.leaves}
        self.leaves = [(leaf, table.number(draft, leaf), had) for leaf, _, had in self.leaves]
        self.leaf_of = {node: table.number(draft, old[number]) for node, number in self.leaf_of.items()}
        self.received = {table.number(draft, old[number]): reading for number, reading in self.received.items()}
        self.retained = [(t, table.number(draft, t), had) for t, _, had in self.retained]
        self.kept = [(t, table.number(draft, t), retained, had) for t, _, retained, had in self.kept]

    # -- before ----------------------------------------------------------------------------------

    def _watch(self, nodes: Sequence[Any]) -> None:
        """See each node run, but in graphs too large for that."""
        if len(nodes) <= 20_000:
            with own_numbers():
                for index, node in enumerate(nodes):
                    self.handles.append(node.register_hook(partial(self._node_ran, index)))

    def _walk(self, outputs: Sequence[Any]) -> None:
        journal = self.journal
        draft = journal.draft
        roots = [root_node(output) for output in outputs]
        nodes, edges, count = walk(roots)
        by_sequence, outputs_of = draft.nodes_by_sequence, draft.outputs_by_sequence
        reader = SavedReader(draft, journal.table) if draft.full else None
        raw: list[RawNode] = []
        entries, mark, probes = journal.table.entries, draft.mark, journal.probes
        for node in nodes:
            name = type(node).__name__
            if name == "AccumulateGrad":
                leaf = node.variable
                entry = entries.get(id(leaf))
                if entry is not None and entry.mark is mark and entry() is leaf:
                    number = entry.number
                else:
                    number = journal.table.number(draft, leaf, self.stack)
                self.leaves.append((leaf, number, leaf.grad is not None))
                self.leaf_of[len(raw)] = number
                raw.append(_filling(number))
                continue
            sequence = node._sequence_nr()
            op = by_sequence.get(sequence)
            if probes and sequence in probes:
                self.probes[len(raw)] = probes[sequence]
            results = outputs_of.get(sequence, ())
            saved = reader.read(node, op, results) if reader is not None else ()
            raw.append(_new_tuple(RawNode, (name, op, None, results, saved, 0, op is None)))
        places: tuple[int, ...] = (0,) if count == len(roots) == 1 else ()
        if not places:
            positions = {node: position for position, node in enumerate(nodes[:count])}
            places = tuple(positions[root] for root in roots if root is not None)
        self.graph = len(draft.graphs)
        draft.graphs.append(RawGraph(tuple(raw), tuple(edges), places))
        if draft.full:
            self._watch(nodes)
        retained = journal.leaves.retained()
        reached = set(nodes) if retained else set()
        for tensor in retained:
            if node_of(tensor) in reached:
                self.retained.append((tensor, journal.table.number(draft, tensor), tensor.grad is not None))

    # -- while it runs ---------------------------------------------------------------------------

    def _node_ran(self, node: int, grads_out: Any, grads_in: Any) -> None:
        """Post hook of one node. Torch's names: `grad_outputs` come in, `grad_inputs` go out."""
        journal = self.journal
        try:
            with Unseen():
                draft = self._follow()
                if self.graph is None:
                    return
                moment = draft.append(_node_moment(self.stack, self.graph, node), Phase.BACKWARD)
                self._measure(draft.samples, moment, grads_in, grads_out)
                leaf = self.leaf_of.get(node)
                if leaf is not None and isinstance(grads_in[0], torch.Tensor):
                    self._arrived(leaf, grads_in[0])
                probe = self.probes.get(node)
                if probe is not None:
                    self._compare(probe, moment, grads_in[0], grads_out[0])
        except Exception as error:
            journal.fault("a grad node's gradients", error)

    def _measure(self, samples: list[RawSample], moment: int, grads_in: Any, grads_out: Any) -> None:
        """Read gradients; one that leaves a node and enters the next is read once, unless others were added to it."""
        measured, read = self.measured, self.journal.measurements.statistics.read
        what = "grad_in"
        for grads in (grads_in, grads_out):
            for position, grad in enumerate(grads[:8]):
                if grad is None:
                    continue
                known, version = measured.get(id(grad)), version_of(grad)
                same = known is not None and known[0]() is grad and known[1] == version
                reading = known[2] if known is not None and same else read(grad, True)  # passing
                if reading is None:
                    continue
                if not same:
                    measured[id(grad)] = (weakref.ref(grad), version, reading)
                samples.append((moment, position, False, what, reading))
            what = "grad_out"

    def _arrived(self, leaf: int, grad: torch.Tensor) -> None:
        known = self.measured.get(id(grad))
        if known is not None and known[0]() is grad:
            self.received[leaf] = known[2]

    def _compare(self, probe: Probe, moment: int, came: Any, left: Any) -> None:
        """The gradients of a custom Function's backward beside the slope of its forward."""
        if isinstance(came, torch.Tensor) and isinstance(left, torch.Tensor):
            triples = probe.compare(came, left)
            if triples is not None:
                self.journal.tracker.draft.samples.append((moment, 0, False, "derivative", of_triples(triples)))

    def remove_hooks(self) -> None:
        for handle in self.handles:
            handle.remove()
        self.handles.clear()
        self.measured.clear()

    # -- after -----------------------------------------------------------------------------------

    def failed(self, outputs: Sequence[Any], error: BaseException) -> None:
        journal = self.journal
        self._follow()
        draft = journal.draft
        if self.moment is not None:
            moment = draft.moments[self.moment]
            ran = moment.payload
            assert isinstance(ran, BackwardRan)
            text = raised(type(error).__name__, error)
            draft.change(MOMENT, self.moment, moment._replace(payload=ran._replace(error=text)))
        if self.graph is not None and not draft.full and names_stale(error):
            self._tell_saved(draft, outputs)
        created = [(leaf, number) for leaf, number, had in self.leaves if not had and leaf.grad is not None]
        if created and self.accumulates:
            journal.gradients.arrived(created, "created", self.stack, self.received)

    def _tell_saved(self, draft: Draft, outputs: Sequence[Any]) -> None:
        """The graph as it was walked before, with what its nodes still keep: one of them is stale."""
        assert self.graph is not None
        graph = draft.graphs[self.graph]
        nodes, _, _ = walk([root_node(output) for output in outputs])
        if [type(node).__name__ for node in nodes] != [raw.name for raw in graph.nodes]:
            return  # the script's hooks changed the graph
        reader = SavedReader(draft, self.journal.table)
        told = [raw._replace(saved=reader.read(node, raw.op, raw.outputs)) for node, raw in zip(nodes, graph.nodes)]
        draft.change(GRAPH, self.graph, graph._replace(nodes=tuple(told)))

    def finished(self) -> None:
        journal = self.journal
        self._follow()
        if self.accumulates:
            created: list[tuple[torch.Tensor, int]] = []
            accumulated: list[tuple[torch.Tensor, int]] = []
            for leaf, number, had in self.leaves:
                if leaf.grad is not None and (self.wanted is None or id(leaf) in self.wanted):
                    (accumulated if had else created).append((leaf, number))
            for tensor, number, retained, had in self.kept:
                if not retained and tensor.retains_grad:
                    journal.leaves.retained_by_backward(tensor, number, self.stack)
                if not retained and tensor.retains_grad and tensor.grad is not None:
                    (accumulated if had else created).append((tensor, number))
            for tensor, number, had in self.retained:
                if tensor.grad is not None:
                    (accumulated if had else created).append((tensor, number))
            for filled, change in ((created, "created"), (accumulated, "accumulated")):
                if filled:
                    journal.gradients.arrived(filled, change, self.stack, self.received)
        journal.backward_done([leaf for leaf, _, _ in self.leaves] if self.accumulates else [])
