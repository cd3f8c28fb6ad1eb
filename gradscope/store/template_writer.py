"""Templates as rows: of one that grows, only what is new is written."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache

from ..model.codec import dumps
from ..model.growth import Growth
from ..model.moments import Moment, Note
from ..model.records import GradGraph, GradNode, Tensor
from . import rows
from .faults import Faults
from .schema import TEMPLATE_TABLES

_HEAD = """INSERT INTO templates VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET tensors = excluded.tensors,
    moments = excluded.moments, graphs = excluded.graphs, version_bumps = excluded.version_bumps,
    calls = coalesce(excluded.calls, calls)"""
_TENSOR, _GRAD_NODE = rows.TENSORS.insert(), rows.GRAD_NODES.insert()

AT_ONCE = 64  # rows inserted by one statement, at most
Execute = Callable[..., object]  # of the connection


def write_growth(execute: Execute, faults: Faults, growth: Growth) -> None:
    """Write what a template has more than before, or in place of what was there."""
    number = growth.template
    if growth.fresh:
        _clear(execute, number)
    calls = None if growth.calls is None else rows.calls_text(growth.calls)
    bumps = dumps([list(bump) for bump in growth.version_bumps])
    execute(_HEAD, (number, *growth.size, bumps, calls))
    _fill(
        execute,
        _TENSOR,
        [(number, *faults.row(rows.TENSORS.to_row, tensor, _spare_tensor)) for tensor in growth.tensors],
    )
    _fill(
        execute,
        rows.INSERT_MOMENT,
        [(number, place, *faults.row(rows.moment_row, moment, _spare_moment)) for place, moment in growth.moments],
    )
    for place, graph in growth.graphs:
        if not growth.fresh:
            _clear(execute, number, place)
        _graph(execute, faults, (number, place), graph)


def _graph(execute: Execute, faults: Faults, key: tuple[int, int], graph: GradGraph) -> None:
    execute(
        "INSERT INTO grad_graphs VALUES (?, ?, ?, ?, ?)",
        (*key, len(graph.nodes), len(graph.edges), dumps(list(graph.roots))),
    )
    _fill(execute, _GRAD_NODE, [(*key, *faults.row(rows.GRAD_NODES.to_row, node, _spare_node)) for node in graph.nodes])
    _fill(
        execute,
        rows.INSERT_EDGE,
        [(*key, place, edge.source, edge.target, edge.index, edge.input_nr) for place, edge in enumerate(graph.edges)],
    )


def _fill(execute: Execute, statement: str, found: Sequence[rows.Row]) -> None:
    """Insert rows by this statement, many at once: each statement hands the interpreter to the program."""
    for first in range(0, len(found), AT_ONCE):
        some = found[first : first + AT_ONCE]
        execute(_of_many(statement, len(some)), [value for row in some for value in row])


def _clear(execute: Execute, number: int, graph: int | None = None) -> None:
    """Delete the rows of a template, or of one graph of it."""
    if graph is None:
        for name in TEMPLATE_TABLES:
            execute(f"DELETE FROM {name} WHERE template = ?", (number,))  # noqa: S608
        execute("DELETE FROM templates WHERE id = ?", (number,))
        return
    for name in ("grad_graphs", "grad_nodes", "grad_edges"):
        execute(f"DELETE FROM {name} WHERE template = ? AND graph = ?", (number, graph))  # noqa: S608


@lru_cache(maxsize=4 * AT_ONCE)
def _of_many(statement: str, count: int) -> str:
    """A statement that inserts one row, made one that inserts so many."""
    head, _, values = statement.rpartition("VALUES ")
    return f"{head}VALUES {', '.join([values] * count)}"


def _spare_tensor(tensor: Tensor) -> Tensor:
    return replace(tensor, name="", shape=(), dtype="", device="", layout="", nbytes=0, version=None)


def _spare_moment(moment: Moment) -> Moment:
    return Note(moment.phase, moment.stack, f"what is here could not be written: {moment.kind}")


def _spare_node(node: GradNode) -> GradNode:
    return GradNode(node.index, node.name, node.op, node.tensor)
