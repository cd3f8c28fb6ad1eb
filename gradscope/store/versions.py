"""Absolute versions from a trace file, without reading every step.

A row of `steps` states a version only where counting on would be wrong. Between two such rows the rise is
(how many steps used a template) x (how far that template raises each version), which the index on
(number, template) answers; steps of `repeats` state none.
"""

from __future__ import annotations

import sqlite3

from ..model.codec import loads

_STATED = (
    "SELECT number, versions FROM steps WHERE versions IS NOT NULL AND number >= ? AND number <= ? ORDER BY number"
)
_USES = (
    "SELECT template, count(*) FROM steps WHERE number >= :start AND number < :end GROUP BY template UNION ALL "
    "SELECT template, sum(min(first + count, :end) - max(first, :start)) FROM repeats "
    "WHERE first + count > :start AND first < :end GROUP BY template"
)
_BEGIN = -(2**63)


class Versions:
    """Answers "which version had each parameter at the start of that step" and remembers some answers.

    Raises ValueError, or sqlite3.DatabaseError, for a damaged file.
    """

    def __init__(self) -> None:
        self._bumps: dict[int, list[tuple[int, int]]] = {}
        self._known: dict[int, dict[int, int]] = {}

    def at(self, connection: sqlite3.Connection, step: int) -> dict[int, int]:
        """Each parameter's version at the start of `step`."""
        base = max((number for number in self._known if number <= step), default=None)
        versions = dict(self._known[base]) if base is not None else {}
        at = base if base is not None else _BEGIN
        for number, stated in connection.execute(_STATED, (at, step)).fetchall():
            self._count(connection, versions, at, number)
            versions.update(pairs(stated))
            at = number
        self._count(connection, versions, at, step)
        if len(self._known) >= 64:
            self._known.pop(next(iter(self._known)))
        self._known[step] = versions
        return dict(versions)

    def _count(self, connection: sqlite3.Connection, versions: dict[int, int], start: int, end: int) -> None:
        for template, uses in connection.execute(_USES, {"start": start, "end": end}).fetchall():
            for parameter, rise in self._bumps_of(connection, template):
                versions[parameter] = versions.get(parameter, 0) + rise * uses

    def _bumps_of(self, connection: sqlite3.Connection, template: int) -> list[tuple[int, int]]:
        if template not in self._bumps:
            row = connection.execute("SELECT version_bumps FROM templates WHERE id = ?", (template,)).fetchone()
            self._bumps[template] = [] if row is None else _readable_pairs(row[0])
        return self._bumps[template]


def _readable_pairs(text: object) -> list[tuple[int, int]]:
    """The same as `pairs`, but none where the template is damaged."""
    try:
        return pairs(text)
    except (ValueError, TypeError):
        return []


def pairs(text: object) -> list[tuple[int, int]]:
    """A JSON list of two whole numbers each; NULL is empty. Raises ValueError for anything else."""
    found = loads(text) if text is not None else []
    if not isinstance(found, list):
        raise ValueError("expected a list of pairs")
    read: list[tuple[int, int]] = []
    for each in found:
        if not (isinstance(each, list) and len(each) == 2):
            raise ValueError("expected a list of pairs")
        first, second = each
        if type(first) is not int or type(second) is not int:
            raise ValueError("expected pairs of whole numbers")
        read.append((first, second))
    return read
