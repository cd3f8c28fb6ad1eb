"""Steps that differ in numbers only share a row of `repeats`; every question finds them there."""

from __future__ import annotations

import sqlite3
from array import array
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

import pytest

from gradscope.errors import DamagedTrace, NoSuchStep
from gradscope.model.records import StepRow
from gradscope.model.repeats import Repeats, step_like
from gradscope.store import TraceWriter, open_trace
from gradscope.store.blocks import LARGEST, pack_block, runs, unpack_block
from tests import builders

TRACE = builders.mlp_trace()
LIKE = TRACE.step(1).row
WIDTH = Repeats(LIKE).width


def numbers_of(number: int) -> list[float]:
    """The numbers of a step, all of them such as four bytes hold."""
    return [float(number), *[number + place / 8 for place in range(1, WIDTH)]]


def expected(number: int) -> StepRow:
    return step_like(LIKE, number, numbers_of(number)[1:])


def written(path: Path, numbers: Sequence[int], then: Callable[[TraceWriter], object] = lambda _: None) -> Path:
    """A trace of two steps, and of others that are like the second one."""
    writer = TraceWriter(path)
    writer.put_info(TRACE.info)
    for number in (0, 1):
        row = TRACE.step(number).row
        writer.put_template(TRACE.source.template(row.template))
        writer.put_step(row)
    repeats = Repeats(LIKE)
    writer.put_repeats(repeats)
    for number in numbers:
        repeats.add(numbers_of(number))
    then(writer)
    writer.close()
    assert writer.failed is None
    return path


def count(path: Path, table: str) -> int:
    with closing(sqlite3.connect(path)) as connection:
        found: int = connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
        return found


def test_all_questions_find_the_steps_of_a_block(tmp_path: Path) -> None:
    path = written(tmp_path / "t.gradscope", range(2, 200))
    assert (count(path, "steps"), count(path, "repeats")) == (2, 1)
    with open_trace(path) as trace:
        source = trace.source
        assert list(source.step_numbers()) == list(range(200))
        assert list(source.step_rows())[2:] == [expected(number) for number in range(2, 200)]
        assert source.step_row(117) == expected(117)
        with pytest.raises(NoSuchStep):
            source.step_row(200)
        assert [one[:2] for one in source.curve(150)] == [(n, expected(n).loss) for n in range(151, 200)]
        for parameter, norm, grad in LIKE.norms:
            places = [(norm, grad) for owner, norm, grad in expected(42).norms if owner == parameter]
            assert source.series(parameter)[42] == (42, *places[0])
            assert len(source.series(parameter)) == 200
            assert None not in (norm, grad)


def test_versions_count_the_steps_of_blocks(tmp_path: Path) -> None:
    bumps = dict(TRACE.source.template(LIKE.template).version_bumps)
    assert any(bumps.values())
    with open_trace(written(tmp_path / "t.gradscope", range(2, 200))) as trace:
        early, late = trace.source.versions(10), trace.source.versions(150)
        assert {parameter: late[parameter] - early[parameter] for parameter in bumps} == {
            parameter: 140 * rise for parameter, rise in bumps.items()
        }


def test_steps_that_are_left_out_split_a_block(tmp_path: Path) -> None:
    numbers = [2, 3, 4, 7, 8, 20]
    path = written(tmp_path / "t.gradscope", numbers)
    assert count(path, "repeats") == 3
    with open_trace(path) as trace:
        assert list(trace.source.step_numbers()) == [0, 1, *numbers]
        assert [row.number for row in trace.source.step_rows()] == [0, 1, *numbers]
        assert trace.source.step_row(8) == expected(8)


def test_a_step_that_was_written_while_it_went_on_is_the_blocks(tmp_path: Path) -> None:
    def going_on(writer: TraceWriter) -> None:
        assert writer.flush()
        writer.put_step(LIKE._replace(number=3, open=True))
        repeats = Repeats(LIKE)
        writer.put_repeats(repeats)
        repeats.add(numbers_of(3))

    with open_trace(written(tmp_path / "t.gradscope", [2], going_on)) as trace:
        assert list(trace.source.step_rows())[2:] == [expected(2), expected(3)]


def test_where_steps_are_deleted_each_has_a_row_of_its_own(tmp_path: Path) -> None:
    def delete(writer: TraceWriter) -> None:
        assert writer.flush()
        writer.delete_steps([0, 1, 5, 6])
        repeats = Repeats(LIKE)
        writer.put_repeats(repeats)
        repeats.add(numbers_of(60))

    path = written(tmp_path / "t.gradscope", range(2, 50), delete)
    assert count(path, "repeats") == 0
    with open_trace(path) as trace, open_trace(written(tmp_path / "all.gradscope", range(2, 50))) as whole:
        kept = [2, 3, 4, *range(7, 50)]
        assert list(trace.source.step_numbers()) == [*kept, 60]
        assert [trace.source.step_row(n)._replace(versions=()) for n in kept] == [expected(n) for n in kept]
        assert trace.source.versions(30) == whole.source.versions(30)


def test_a_file_from_before_there_were_blocks_is_read(tmp_path: Path) -> None:
    path = written(tmp_path / "t.gradscope", [])
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("DROP TABLE repeats")
        connection.execute("PRAGMA user_version = 6")
        connection.commit()
    with open_trace(path) as trace:
        assert list(trace.source.step_numbers()) == [0, 1]
        assert trace.source.step_row(1) == LIKE
        assert len(list(trace.source.curve())) == 2
        assert trace.source.versions(1) is not None


@pytest.mark.parametrize(
    "damage",
    [
        "numbers = x'00'",
        "numbers = NULL",
        "numbers = substr(numbers, 1, length(numbers) - 8)",
        "count = 3",
        "count = 1 << 40",
        "count = 'many'",
        "layout = 77",
        "template = 77",
    ],
)
def test_a_damaged_block_is_told_as_damage(damage: str, tmp_path: Path) -> None:
    path = written(tmp_path / "t.gradscope", range(2, 20))
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"UPDATE repeats SET {damage}")
        connection.commit()
    with open_trace(path) as trace:
        with pytest.raises(DamagedTrace):
            list(trace.source.step_rows())
        with pytest.raises(DamagedTrace):
            trace.source.step_row(3)


def test_blocks_have_a_largest_size() -> None:
    numbers = array("d")
    for number in range(2 * LARGEST + 5):
        numbers.extend(numbers_of(number))
    found = [(first, len(some) // WIDTH) for first, some in runs(numbers, WIDTH)]
    assert found == [(0, LARGEST), (LARGEST, LARGEST), (2 * LARGEST, 5)]


def test_numbers_of_every_kind_come_back() -> None:
    odd = [5.0, float("inf"), float("nan"), -0.0, *[1e300, 1e-300] * WIDTH][:WIDTH]
    count, packed = pack_block(LIKE, array("d", [*odd, *numbers_of(6)]))
    columns = unpack_block(LIKE, count, packed)
    assert count == 2
    assert columns.starts[0] == float("inf")
    assert columns.durations[0] != columns.durations[0]
    assert str(columns.losses[0]) == "-0.0"
    assert columns.of(1) == numbers_of(6)[1:]
