"""The trace file: one SQLite database, suffix `.gradscope`, that any SQL tool can read.

`PRAGMA application_id` is 0x47524144 ("GRAD") and `PRAGMA user_version` the schema's number. Text that
is JSON is made by `gradscope.model.codec`: one object a record, with fields at their default left out.
Floats that SQLite cannot hold are the texts 'NaN', 'Infinity' and '-Infinity'; text that UTF-8
cannot hold is a BLOB. Packed BLOBs are little-endian: f4 is a 4-byte float, f8 an 8-byte float, i8 an 8-byte integer.

| table | a row is | columns worth a word |
|---|---|---|
| info | one fact of the trace | `key` is a field of `TraceInfo`, `value` its JSON |
| writer | who writes the file | `token`: when `pid` started; `heartbeat`: Unix time; `pid` is NULL once closed |
| sites | one expression of the user's source | `line` from 1, `start` is the column from 0; `targets`: JSON list |
| stacks | one call stack | `sites`: JSON list of site ids, innermost first |
| modules | one nn.Module | `path` is its qualified name in its `root`; `stack` is where it was made |
| parameters | a tensor that outlives steps | `shape`, `optimizers`: JSON lists; further fields in `data` |
| optimizers | one optimizer | `groups`: JSON, parameter ids by group; further fields in `data` |
| templates | what one or more steps did | how many tensors… it has; `version_bumps`, `calls`: see below |
| tensors | one tensor of a template | `made_by` is a moment's `idx`; further fields in `data` |
| moments | one thing that happened | `name` is the op, or what the moment's kind is about; further fields in `data` |
| grad_graphs | one backward's graph | `roots`: JSON list of node `idx` |
| grad_nodes | one grad_fn | `op` is the moment that made it, `tensor` the leaf that an AccumulateGrad fills |
| grad_edges | `next_functions[slot]` of `source` | `target` is a node's `idx`, `input_nr` its input |
| steps | one step | see below |
| layouts | what rows of `steps` are packed like | see below |
| repeats | steps in a row that are like the one before them | see below |
| samples | the samples of one step | see below |
| sample_layouts | what rows of `samples` are packed like | see below |

A row of `steps` holds what differs between steps that did the same, packed as its `layout` says:
`phase_times` has two f4 (seconds from the step's start, duration) for each [phase, moment] in
`layouts.phases`; `rates` has one f8 for each [optimizer, group] in `layouts.rates`; `norms` has f4
for each [parameter, has_norm, has_grad_norm] in `layouts.norms`, those present, in that order, then for
each [parameter] there how far the step's last update moved it, the 2-norm of the difference.
`versions` (JSON [[parameter, version]]) are the versions at the step's start that counting the
templates' bumps on from the step before would get wrong. `shifts` (JSON [[tensor, version]]) are to be
added to the template's versions of these tensors, which are relative to the step's start, too. `kept` is a
JSON list of `Kept` records, `alive` JSON [tensors, grad nodes].

A row of `repeats` stands for the steps `first` to `first` + `count` - 1. They are as the last row of `steps` before
them, but for their numbers; what that one carried from so many steps before, they did, too. `numbers` is made by zlib:
f8 for each step's start, then each one's duration, loss, and learning rates, then f4 for phases (start, duration),
norms and distances, one kind after the other; of the f8, and of the f4, first each one's first byte, then each one's
second.

A row of `samples` holds the statistics of tensors, packed as its `layout` says: `sample_layouts.entries` is a
JSON list of [moment, what, of_parameter, subject, shape, has_stats, how many values or null]. `stats` has 72
bytes for each entry with statistics, the fields of `Stats` in order: i8 numel, f8 sum, mean, norm, min, max,
i8 zeros, nans, infs. `values` has the f8 of tiny tensors one after the other, row-major. A step has one row,
`part` 0, and further ones for what arrived late from a device; an entry in a later part replaces an equal one's.

In `templates`, `version_bumps` is JSON [[parameter, rise]] and `calls` JSON [[module, call, stack,
training (0 or 1), moment, parent]].

A row of `steps` whose `open` is 1 is of a step that goes on, or that was going on when the program was killed. Rows
are added to its template while it goes on, and rows that are there may be replaced. Each commit leaves it whole, but
its `calls` may lack the last fifth, its layout has the first 256 phases, and samples come when the step has closed.
"""

from __future__ import annotations

import sqlite3

APPLICATION_ID = 0x47524144
VERSION = 8
# Read, too: without the tables of `SINCE`; records lack `op` of a mutation, `given` of an op, `model` of a parameter,
# and distances.
OLDEST = 5

TABLES: dict[str, str] = {
    "info": "CREATE TABLE info (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
    "writer": "CREATE TABLE writer (pid INTEGER, token TEXT, host TEXT, heartbeat REAL)",
    "sites": """CREATE TABLE sites (
    id INTEGER PRIMARY KEY, file TEXT, line INTEGER, end_line INTEGER, start INTEGER, function TEXT, code TEXT,
    expression TEXT, targets TEXT)""",
    "stacks": "CREATE TABLE stacks (id INTEGER PRIMARY KEY, sites TEXT)",
    "modules": """CREATE TABLE modules (
    id INTEGER PRIMARY KEY, root TEXT, path TEXT, type TEXT, parent INTEGER, stack INTEGER)""",
    "parameters": """CREATE TABLE parameters (
    id INTEGER PRIMARY KEY, name TEXT, root TEXT, role TEXT, shape TEXT, dtype TEXT, device TEXT,
    requires_grad INTEGER, nbytes INTEGER, optimizers TEXT, data TEXT)""",
    "optimizers": "CREATE TABLE optimizers (id INTEGER PRIMARY KEY, name TEXT, type TEXT, groups TEXT, data TEXT)",
    "templates": """CREATE TABLE templates (
    id INTEGER PRIMARY KEY, tensors INTEGER, moments INTEGER, graphs INTEGER, version_bumps TEXT, calls TEXT)""",
    "tensors": """CREATE TABLE tensors (
    template INTEGER, idx INTEGER, name TEXT, role TEXT, shape TEXT, dtype TEXT, device TEXT, requires_grad INTEGER,
    is_leaf INTEGER, grad_fn TEXT, version INTEGER, made_by INTEGER, parameter INTEGER, data TEXT,
    PRIMARY KEY (template, idx)) WITHOUT ROWID""",
    "moments": """CREATE TABLE moments (
    template INTEGER, idx INTEGER, kind TEXT, phase TEXT, name TEXT, stack INTEGER, data TEXT,
    PRIMARY KEY (template, idx)) WITHOUT ROWID""",
    "grad_graphs": """CREATE TABLE grad_graphs (
    template INTEGER, graph INTEGER, nodes INTEGER, edges INTEGER, roots TEXT,
    PRIMARY KEY (template, graph)) WITHOUT ROWID""",
    "grad_nodes": """CREATE TABLE grad_nodes (
    template INTEGER, graph INTEGER, idx INTEGER, name TEXT, op INTEGER, tensor INTEGER, data TEXT,
    PRIMARY KEY (template, graph, idx)) WITHOUT ROWID""",
    "grad_edges": """CREATE TABLE grad_edges (
    template INTEGER, graph INTEGER, idx INTEGER, source INTEGER, target INTEGER, slot INTEGER, input_nr INTEGER,
    PRIMARY KEY (template, graph, idx)) WITHOUT ROWID""",
    "layouts": """CREATE TABLE layouts (
    id INTEGER PRIMARY KEY, phases TEXT NOT NULL, rates TEXT NOT NULL, norms TEXT NOT NULL)""",
    "steps": """CREATE TABLE steps (
    number INTEGER PRIMARY KEY, kind TEXT, detail TEXT, template INTEGER, layout INTEGER, start REAL, duration REAL,
    loss REAL, phase_times BLOB, rates BLOB, norms BLOB, versions TEXT, carried TEXT, memory TEXT, open INTEGER,
    kept TEXT, alive TEXT, shifts TEXT)""",
    "repeats": """CREATE TABLE repeats (
    first INTEGER PRIMARY KEY, count INTEGER, template INTEGER, layout INTEGER, numbers BLOB)""",
    "sample_layouts": "CREATE TABLE sample_layouts (id INTEGER PRIMARY KEY, entries TEXT NOT NULL)",
    "samples": """CREATE TABLE samples (
    step INTEGER, part INTEGER, layout INTEGER, stats BLOB, "values" BLOB, PRIMARY KEY (step, part))""",
}

SINCE = {"repeats": 7}  # the versions that tables came with

INDEXES: dict[str, str] = {
    # What absolute versions are counted from: see `versions.py`.
    "steps_by_template": "CREATE INDEX steps_by_template ON steps (number, template)",
    "steps_with_versions": "CREATE INDEX steps_with_versions ON steps (number) WHERE versions IS NOT NULL",
}

TEMPLATE_TABLES = ("tensors", "moments", "grad_graphs", "grad_nodes", "grad_edges")


def create(connection: sqlite3.Connection) -> None:
    """Make the tables in an empty database."""
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {VERSION}")
    for statement in (*TABLES.values(), *INDEXES.values()):
        connection.execute(statement)


def complete(connection: sqlite3.Connection, version: int) -> None:
    """Add, empty and for this connection only, the tables that a file of that version has not got."""
    for name, since in SINCE.items():
        if version < since:
            connection.execute(TABLES[name].replace("CREATE TABLE", "CREATE TEMP TABLE"))


def defects(connection: sqlite3.Connection, version: int = VERSION) -> list[str]:
    """The tables of a file of that version that are missing or not as `create` makes them.

    A file from elsewhere could put a view with a query of its own in a table's place; reading only
    what has our own definition runs nothing that the file brought along.
    """
    found: dict[object, tuple[object, object]] = {
        name: (kind, sql) for kind, name, sql in connection.execute("SELECT type, name, sql FROM sqlite_master")
    }
    known = {name: sql for name, sql in TABLES.items() if SINCE.get(name, OLDEST) <= version}
    return [name for name, sql in known.items() if found.get(name) != ("table", sql)]
