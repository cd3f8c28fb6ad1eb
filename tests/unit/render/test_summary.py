"""A trace in a few lines of text."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gradscope.model.overview import Fault, GraphSize, Moves, Mutations, Overview, overview
from gradscope.model.trace import Trace
from gradscope.render.summary import summary, summary_lines
from tests.builders import INFO, MemorySource, ab2_trace, mlp_trace


def lines(facts: Overview) -> dict[str, str]:
    """Label -> fact of all lines after the headline; of several with one label the first."""
    found: dict[str, str] = {}
    for line in list(summary_lines(facts))[1:]:
        found.setdefault(line[:14].strip(), line[15:])
    return found


@pytest.fixture
def facts() -> Overview:
    return overview(mlp_trace(3))


def test_a_training_loop() -> None:
    assert summary(mlp_trace(3, frozen=True)).splitlines() == [
        "train.py ran to its end after 1.5 s",
        "  steps        3 train (2 different)",
        "  phases       other 17 %, zero_grad 17 %, forward 17 %, loss 17 %, backward 17 %, optimizer_step 17 %",
        "  loss         1.25 → 0.4167",
        "  graph        6 nodes, 5 edges in the last backward (step 2)",
        "  parameters   4 (67 elements, 268 B)",
        "  gradients    all 2 got one",
        "  frozen       fc1.weight, fc1.bias",
        "  optimizer    Adam",
    ]


def test_leaves_without_modules() -> None:
    gradients = lines(overview(ab2_trace()))["gradients"]
    assert sorted(gradients.split(", ")) == ["A", "B"]


def test_an_empty_trace_says_so() -> None:
    found = lines(overview(Trace(MemorySource(INFO))))
    assert found == {"steps": "none: no loop was seen", "graph": "no backward, no ops"}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"status": "done", "exit_status": 0}, "ran to its end after 1.5 s"),
        ({"status": "done", "exit_status": 3}, "exited with status 3 after"),
        ({"status": "failed", "error": "ValueError: no\nreally"}, "failed with ValueError: no\\nreally after"),
        ({"status": "killed", "duration": None}, "was killed"),
        ({"status": "running", "duration": None}, "is still running"),
    ],
)
def test_how_it_ended(changes: dict[str, object], words: str, facts: Overview) -> None:
    info = replace(facts.info, **changes)  # type: ignore[arg-type]
    assert words in next(summary_lines(replace(facts, info=info)))


def test_gradients_that_never_came(facts: Overview) -> None:
    found = lines(
        replace(facts, with_gradient=("a",), without_gradient=tuple(f"w{number}" for number in range(9)), filled=("x",))
    )
    assert found["gradients"] == "1 of 10 got one, 9 never did; x too"
    assert found["without"] == "w0, w1, w2, w3 and 5 more"


def test_the_exception_that_left_the_script_is_shown_before_a_caught_one(facts: Overview) -> None:
    left = Fault(2, "ValueError", "bad\x1b[31m", False, "train.py", 7)
    caught = Fault(1, "IndexError", "also bad", True, None, None)
    assert lines(replace(facts, failures=(left, caught)))["failure"] == (
        "ValueError at train.py:7 (step 2): bad\\x1b[31m"
    )
    assert lines(replace(facts, failures=(caught,)))["caught"] == "IndexError (step 1): also bad"


def test_moves_writes_and_faults(facts: Overview) -> None:
    moves = Moves("cpu", "cuda:0", "float32", "float16", 3, 3 * 2048, 1)
    found = lines(
        replace(
            facts,
            moves=(moves, Moves("cpu", "cpu", "float32", "float64", 1, 8, 1)),
            mutations=Mutations(4, 2),
            largest_graph=GraphSize(0, 500, 600),
            info=replace(facts.info, faults=("a fact",)),
        )
    )
    assert found["moves"] == "3 × cpu → cuda:0, float32 → float16, 6 KiB; 1 of the results are leaves"
    assert found["mutations"] == "4 in-place writes, 2 of them past the version counter"
    assert found["graph"].endswith("; 500 nodes, 600 edges in the largest (step 0)")
    assert found["not recorded"] == "a fact"


def test_hostile_names_stay_on_their_line(facts: Overview) -> None:
    hostile = replace(facts, frozen=("a\nb\x1b[2J",), info=replace(facts.info, script="x\n.py", arguments=("\r",)))
    for line in summary_lines(hostile):
        assert line.isprintable()
