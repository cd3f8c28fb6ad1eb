"""A trace in a few lines of text."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from gradscope.model.overview import Fault, GraphSize, Moves, Mutations, Overview, overview
from gradscope.model.trace import Trace
from gradscope.render.colour import summary_in_colour
from gradscope.render.summary import LABEL, summary, summary_lines
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
        "  steps        3 train; 1 repeats an earlier one op by op",
        "  phases       other 17 %, zero_grad 17 %, forward 17 %, loss 17 %, backward 17 %, optimizer_step 17 %",
        "  loss         1.25 → 0.4167",
        "  updates      Δ/|p| 0.25",
        "  graph        6 nodes, 5 edges in the last backward (step 2)",
        "  parameters   4 (67 elements, 268 B)",
        "  gradients    all 2 got one",
        "  frozen       fc1.weight, fc1.bias",
        "  optimizer    Adam",
    ]


def test_updates_that_were_not_measured_name_the_command_that_measures_them() -> None:
    trace = mlp_trace(3)
    for number in (0, 1):
        row = trace.step(number).row
        trace.source.put_step(row._replace(distances=row.distances[:number]))  # type: ignore[attr-defined]
    told = lines(overview(trace))["updates"]
    assert told.startswith("Δ/|p| 0.25; not measured in 2 steps (gradscope trace --budget none train.py")


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
        ({"status": "failed", "error": "KeyboardInterrupt"}, "was interrupted (Ctrl-C) after 1.5 s"),
        ({"status": "failed", "error": "StopIteration"}, "failed with StopIteration after 1.5 s"),
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


def test_parameters_without_a_name_are_counted(facts: Overview) -> None:
    assert lines(replace(facts, without_gradient=("", "w", "")))["without"] == "w, 2 without a name"
    assert lines(replace(facts, without_gradient=("",) * 1_200))["without"] == "1,200 without a name"


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
    assert found["mutations"] == "4 in-place writes; autograd did not see 2 of them (through .data, numpy or set_)"
    assert found["graph"].endswith("; 500 nodes, 600 edges in the largest (step 0)")
    assert found["not recorded"] == "a fact"


def test_hostile_names_stay_on_their_line(facts: Overview) -> None:
    hostile = replace(facts, frozen=("a\nb\x1b[2J",), info=replace(facts.info, script="x\n.py", arguments=("\r",)))
    for line in summary_lines(hostile):
        assert line.isprintable()


def test_backwards_before_the_first_step_and_several_in_one_are_told(facts: Overview) -> None:
    assert lines(replace(facts, early_backwards=2))["steps"].endswith("; 2 backwards ran before the first step")
    assert facts.last_graph is not None
    several = lines(replace(facts, last_graph=replace(facts.last_graph, backwards=4)))
    assert several["graph"] == "11 nodes, 10 edges in the last 4 backwards (step 2)"
    lone = replace(facts, steps={}, early_backwards=1)
    assert lines(lone)["steps"] == "none: no loop was seen; 1 backward ran before any step"


def test_an_exception_without_a_message_ends_without_a_colon(facts: Overview) -> None:
    fault = Fault(0, "KeyboardInterrupt", "", False, "train.py", 3)
    assert lines(replace(facts, failures=(fault,)))["failure"] == "KeyboardInterrupt at train.py:3 (step 0)"


def test_colour_changes_no_word_of_a_summary(facts: Overview) -> None:
    plain = [*summary_lines(facts), "  failure      at train.py:3 [bold]x[/bold] :smile:"]
    painted = summary_in_colour(plain, LABEL)
    assert "\x1b[1m" in painted
    assert re.sub(r"\x1b\[[0-9;]*m", "", painted).splitlines() == plain
