"""Files that are something else, broken, newer, older, or made to harm: one clear line of the right kind."""

from __future__ import annotations

import hashlib
import random
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from gradscope.errors import DamagedTrace, NewerTrace, NoSuchFile, NotATrace, OlderTrace, TraceFileError
from gradscope.model.trace import Trace
from gradscope.store import is_trace, open_trace, schema
from gradscope.store.schema import TABLES
from tests import builders

from .helpers import sql, write


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write(builders.mlp_trace(), tmp_path / "t.gradscope")


def read_all(path: Path) -> Trace:
    """Open a trace and ask for everything in it, graphs and states included."""
    with open_trace(path) as trace:
        source = trace.source
        for table in (source.sites, source.stacks, source.modules, source.parameters, source.optimizers):
            table()
        list(source.step_rows())
        for parameter in source.parameters():
            source.series(parameter)
        list(source.curve())
        for number in source.step_numbers():
            step = trace.step(number)
            for kind in ("forward", "backward", "both"):
                step.graph(kind)
            trace.at(number, len(step.moments) - 1)
            assert step.samples is not None
    return trace


def outcome(path: Path) -> str:
    """How reading everything ended: "read", or the error's kind and text. Any other error is a failure."""
    try:
        read_all(path)
    except TraceFileError as error:
        return f"{type(error).__name__}: {error}"
    return "read"


def refused(path: Path, kind: type[TraceFileError], *words: str) -> None:
    with pytest.raises(TraceFileError) as error:
        read_all(path)
    text = str(error.value)
    assert type(error.value) is kind, text
    assert "\n" not in text
    assert str(path) in text
    for word in words:
        assert word in text, text


def test_what_is_no_trace_is_refused_in_one_line(tmp_path: Path) -> None:
    refused(tmp_path / "absent.gradscope", NoSuchFile, "there is no file")
    refused(tmp_path / "no" / "t.gradscope", NoSuchFile, "there is no folder")
    refused(tmp_path, TraceFileError, "is a folder")
    (tmp_path / "empty").write_bytes(b"")
    refused(tmp_path / "empty", NotATrace, "is empty")
    (tmp_path / "text.py").write_text("import torch\n" * 500)
    refused(tmp_path / "text.py", NotATrace)
    with closing(sqlite3.connect(tmp_path / "other.db")) as other:
        other.execute("CREATE TABLE steps (number)")
        other.commit()
    refused(tmp_path / "other.db", NotATrace, "another program")
    refused(Path("/dev/zero"), NotATrace, "not a regular file")


def test_a_near_name_is_offered(path: Path) -> None:
    refused(path.with_name("u.gradscope"), NoSuchFile, f"did you mean {path}")
    refused(path.parent, TraceFileError, f"it holds {path}")


def test_a_newer_trace_says_what_to_install(path: Path) -> None:
    sql(path, "PRAGMA user_version = 99")
    refused(path, NewerTrace, "newer gradscope", "pip install")


@pytest.mark.parametrize("version", range(schema.OLDEST))
def test_a_trace_of_an_older_schema_says_what_made_it_not_that_it_is_damaged(version: int, path: Path) -> None:
    sql(path, f"PRAGMA user_version = {version}", "DROP TABLE optimizers", "CREATE TABLE optimizers (id, name)")
    refused(path, OlderTrace, "another version", f"schema {version}", "record it again")
    assert is_trace(path)


def test_tables_that_change_take_a_new_version() -> None:
    told = "\n".join((*schema.TABLES.values(), *schema.INDEXES.values()))
    assert (schema.VERSION, hashlib.sha256(told.encode()).hexdigest()[:16]) == (8, "fa9e6b5eb946b344")


def test_a_truncated_trace_says_so(path: Path) -> None:
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    refused(path, DamagedTrace, "truncated")
    path.write_bytes(whole[:60])
    refused(path, DamagedTrace)


@pytest.mark.parametrize("table", TABLES)
def test_a_table_that_is_missing_or_foreign_is_damage(table: str, path: Path) -> None:
    sql(path, f"DROP TABLE {table}")
    refused(path, DamagedTrace, table)
    sql(path, f"CREATE VIEW {table} AS SELECT 1 AS number")
    refused(path, DamagedTrace, table)


def test_a_view_in_a_table_s_place_is_never_run(path: Path) -> None:
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i AS key, i AS value FROM n"
    sql(path, "DROP TABLE info", f"CREATE VIEW info AS {endless}")
    refused(path, DamagedTrace, "info")


BAD_VALUES = ("NULL", "'x'", "-5", "9e99", "x'00ff'", "'[1'", "'{\"a\":1}'", "'[[[1]]]'", "9223372036854775807", "''")
COLUMNS = {
    "info": ("key", "value"),
    "sites": ("file", "line", "code"),
    "stacks": ("sites",),
    "modules": ("path", "parent"),
    "parameters": ("name", "shape", "requires_grad", "nbytes", "optimizers"),
    "optimizers": ("groups",),
    "templates": ("id", "tensors", "version_bumps"),
    "tensors": ("idx", "name", "role", "shape", "is_leaf", "version", "made_by", "parameter", "data"),
    "moments": ("idx", "kind", "phase", "name", "stack", "data"),
    "grad_graphs": ("nodes", "roots"),
    "grad_nodes": ("idx", "name", "op", "tensor", "data"),
    "grad_edges": ("source", "target", "slot"),
    "layouts": ("id", "phases", "rates", "norms"),
    "steps": ("number", "kind", "detail", "template", "layout", "start", "loss", "phase_times", "norms", "versions"),
    "sample_layouts": ("id", "entries"),
    "samples": ("step", "part", "layout", "stats", '"values"'),
    "writer": ("pid", "token", "host", "heartbeat"),
}  # fmt: skip


@pytest.mark.parametrize("table", COLUMNS)
def test_any_value_in_any_column_is_read_or_refused(table: str, path: Path) -> None:
    whole = path.read_bytes()
    for column in COLUMNS[table]:
        for value in BAD_VALUES:
            path.write_bytes(whole)
            try:
                sql(path, f"UPDATE OR IGNORE {table} SET {column} = {value}")
            except sqlite3.IntegrityError:
                continue  # SQLite itself keeps such a value out of a primary key
            assert "\n" not in outcome(path)


def test_rows_that_are_gone_are_noticed(path: Path) -> None:
    whole = path.read_bytes()
    for statement in (
        "DELETE FROM layouts",
        "UPDATE steps SET norms = NULL",
        "UPDATE steps SET phase_times = x'0011'",
        "UPDATE samples SET \"values\" = x'0011'",
        "UPDATE samples SET stats = x'0011'",
        "UPDATE samples SET stats = stats || x'00'",
        "UPDATE samples SET stats = NULL",
        "UPDATE samples SET layout = 9",
        "DELETE FROM sample_layouts",
    ):
        path.write_bytes(whole)
        sql(path, statement)
        refused(path, DamagedTrace)


@pytest.mark.parametrize(
    ("statement", "why"),
    [
        ("DELETE FROM moments WHERE idx = 3", "some of its rows are missing"),
        ("DELETE FROM tensors WHERE idx = 0", "some of its rows are missing"),
        ("DELETE FROM templates", "not in the file"),
        ("DELETE FROM grad_nodes WHERE idx = 4", "some rows of a grad graph are missing"),
        ("DELETE FROM grad_edges WHERE idx = 1", "some rows of a grad graph are missing"),
        ("DELETE FROM grad_graphs", "some of its rows are missing"),
        ("UPDATE grad_edges SET target = 0 WHERE idx = 2", "a grad graph has no cycle"),
        ("UPDATE grad_edges SET target = 999", "name nodes of their graph"),
        ("UPDATE tensors SET made_by = 999 WHERE made_by IS NOT NULL", "a tensor's maker and base are of the step"),
        ("UPDATE moments SET data = '[' WHERE idx = 2", "Expecting value"),
    ],
)
def test_what_a_step_did_is_told_as_damaged_where_it_is(statement: str, why: str, path: Path) -> None:
    with open_trace(path) as trace:
        rows = list(trace.source.step_rows())
    sql(path, statement)
    read_all(path)
    with open_trace(path) as trace:
        assert list(trace.source.step_rows()) == rows
        found = [trace.step(row.number) for row in rows]
        assert any(step.broken is not None and why in step.broken for step in found), [one.broken for one in found]
        assert all(step.samples == () for step in found if step.broken is not None)


@pytest.mark.parametrize(
    "text",
    ["[" * 100_000, "1" * 5_000, '{"a": NaN}', '{"a": 1e999}', '"\\ud800"', "[1, 2", '{"__class__": "os.system"}'],
    ids=["deep", "long", "nan", "huge", "surrogate", "cut", "class"],
)
def test_json_of_any_kind_is_read_or_refused(text: str, path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        for statement in (
            "UPDATE moments SET data = ? WHERE idx = 2",
            "UPDATE stacks SET sites = ?",
            "UPDATE info SET value = ? WHERE key = 'script'",
        ):
            connection.execute("BEGIN")
            connection.execute(statement, (text,))
            connection.commit()
    with pytest.raises(DamagedTrace) as error:
        read_all(path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "entry",
    [
        "[]",
        '[0,"value",0,0,[2],1]',
        '[0,"value",0,0,[2],1,null,null]',
        "[0,7,0,0,[2],1,null]",
        '["0","value",0,0,[2],1,null]',
        '[0,"value",2,0,[2],1,null]',
        '[0,"value",0,0,2,1,null]',
        '[0,"value",0,0,["2"],1,null]',
        '[0,"value",0,0,[2],7,null]',
        '[0,"value",0,0,[2],1,-1]',
        '[0,"value",0,0,[2],1,4611686018427387904]',
        '[0,"value",0,0,[2],1,[]]',
        '[0,"value",0,0,[2],1,1e300]',
    ],
)
def test_a_layout_of_samples_that_is_none_is_refused(entry: str, path: Path) -> None:
    sql(path, f"UPDATE sample_layouts SET entries = '[{entry}]'")
    refused(path, DamagedTrace, "samples of step")


def test_random_damage_never_ends_in_another_error(path: Path) -> None:
    whole = path.read_bytes()
    chance = random.Random(7)
    outcomes = set()
    for _ in range(150):
        broken = bytearray(whole)
        for _ in range(chance.choice((1, 4, 40))):
            broken[chance.randrange(100, len(broken))] = chance.randrange(256)
        path.write_bytes(broken)
        said = outcome(path)
        assert "\n" not in said
        outcomes.add(said.partition(":")[0])
    assert {"read", "DamagedTrace"} <= outcomes
