"""What readers say of steps whose single ops were not watched."""

from __future__ import annotations

from dataclasses import replace

from gradscope.model.codec import to_json
from gradscope.model.memory import MemorySource
from gradscope.model.overview import overview, overview_json
from gradscope.model.records import Detail, TraceInfo
from gradscope.model.trace import Trace
from gradscope.model.watching import count_watched, recorded_exactly, recorded_in_full
from gradscope.render.json_ import graph_json
from gradscope.render.summary import summary
from tests.builders import INFO, mlp_trace

AUTO = replace(INFO, script="my run/train.py", arguments=("--lr", "1e-3"), detail=Detail.AUTO)
COMMAND = "gradscope trace --steps 4:5 --detail full 'my run/train.py' --lr 1e-3"


def mixed(info: TraceInfo = AUTO, last: Detail = Detail.MATCHED) -> Trace:
    """Five steps: the first two full, the third exact, the others as the third, the last in its own way."""
    source = mlp_trace(5).source
    assert isinstance(source, MemorySource)
    source.put_info(info)
    ways = (Detail.FULL, Detail.FULL, Detail.GRAPH, Detail.MATCHED, last)
    for row, detail in zip(list(source.step_rows()), ways):
        source.put_step(row._replace(detail=detail))
    return Trace(source)


def test_a_matched_step_names_the_nearest_exact_one_and_what_records_it() -> None:
    trace = mixed()
    assert trace.step(2).unwatched is None
    assert trace.step(2).same_as is None
    step = trace.step(4)
    assert step.same_as == 2
    assert str(step.unwatched) == f"as step 2; its single ops were not watched ({COMMAND} records them)"
    assert repr(step) == f"<Step 4: train, {step.unwatched}>"
    assert repr(trace.step(2)) == "<Step 2: train, recorded at graph>"


def test_a_light_step_has_no_ops_and_is_like_none() -> None:
    step = mixed(last=Detail.STEPS).step(4)
    assert step.same_as is None
    assert str(step.unwatched) == f"its ops were not recorded ({COMMAND} records them)"


def test_a_matched_step_whose_exact_one_was_not_kept_says_so() -> None:
    trace = mixed()
    assert isinstance(trace.source, MemorySource)
    trace.source.delete_steps([0, 1, 2])
    assert trace.step(4).same_as is None
    assert str(trace.step(4).unwatched).startswith("as an earlier step; its single ops were not watched")


def test_a_recording_is_recorded_again_by_record() -> None:
    info = replace(AUTO, script="", arguments=())
    assert recorded_in_full(info, 4) == 'record(steps=(4, 5), detail="full")'
    assert recorded_exactly(info) == 'record(detail="graph")'
    assert recorded_in_full(replace(AUTO, script="-m pkg.train"), 0) == (
        "gradscope trace --steps 0:1 --detail full -m pkg.train --lr 1e-3"
    )
    assert recorded_exactly(AUTO) == "gradscope trace --budget none 'my run/train.py' --lr 1e-3"


def test_an_overview_counts_steps_by_how_they_were_watched() -> None:
    facts = overview(mixed(last=Detail.STEPS))
    assert facts.watched == (3, 1, 1)
    assert facts.repeats == 1  # op by op
    assert overview_json(facts)["watched"] == {"exact": 3, "matched": 1, "light": 1}
    assert facts.detail == {"full": 2, "graph": 1, "matched": 1, "steps": 1}
    assert count_watched(mixed().source.step_rows()) == (3, 2, 0)


def test_a_summary_says_what_was_watched_and_what_is_known_of_the_last_step() -> None:
    lines = summary(mixed(last=Detail.STEPS)).splitlines()
    assert "  steps        5 train; 1 repeats an earlier one op by op" in lines
    assert (
        "  watched      3 op by op; 1 was matched with one of these; 1 is light: numbers, no ops "
        "(--budget none: all op by op)"
    ) in lines
    assert not [line for line in lines if "died in" in line]
    failed = replace(AUTO, status="failed", error="ValueError: no rows")
    lines = summary(mixed(failed)).splitlines()
    assert f"  died in      step 4: as step 2; its single ops were not watched ({COMMAND} records them)" in lines


def test_a_trace_that_is_exact_says_nothing_of_it() -> None:
    assert "watched" not in summary(mlp_trace(5))


def test_a_graph_says_how_its_step_was_watched() -> None:
    graph = mixed().step(4).graph()
    assert graph.detail == "matched"
    assert graph.notes == ("step 4: as step 2; its single ops were not watched",)
    document = graph_json(graph)
    assert (document["detail"], document["notes"]) == ("matched", list(graph.notes))
    assert mixed().step(2).graph().notes == ()


def test_an_export_has_how_each_step_was_recorded() -> None:
    assert [to_json(row)["detail"] for row in mixed().source.step_rows() if row.number > 2] == ["matched"] * 2
