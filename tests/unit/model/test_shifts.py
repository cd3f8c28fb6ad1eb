"""Counters that were counting before a step began: the template has them relative, the step absolute."""

from __future__ import annotations

from dataclasses import replace

from gradscope.model.moments import Mutation, OptimizerStep
from gradscope.model.records import Phase, SavedTensor
from gradscope.model.shifts import shifted
from gradscope.model.state import State
from gradscope.model.trace import Step
from tests.builders import ab2_trace


def test_without_shifts_a_template_is_itself() -> None:
    template = ab2_trace().step(0).template
    assert shifted(template, ()) is template


def test_tensors_writes_updates_and_what_is_saved_are_raised() -> None:
    template = ab2_trace().step(0).template
    moments = (
        Mutation(Phase.OTHER, None, 0, 1, 2, "add_"),
        Mutation(Phase.OTHER, None, 0, None, None, "data ="),
        Mutation(Phase.OTHER, None, 1, 0, 1, "add_"),
        OptimizerStep(Phase.OPTIMIZER_STEP, None, 0, (0, 1), ((2, 3), (1, 2))),
    )
    saved = (SavedTensor("self", 0, 1, 4), SavedTensor("other", 1, 1, 4), SavedTensor("mask", None, None, 4))
    graph = replace(template.graphs[0], nodes=(replace(template.graphs[0].nodes[0], saved=saved),))
    raised = shifted(replace(template, moments=moments, graphs=(graph,)), ((0, 10),))
    assert raised.tensors[0].version == (template.tensors[0].version or 0) + 10
    assert raised.tensors[1:] == template.tensors[1:]
    assert [(m.before, m.after) for m in raised.moments if isinstance(m, Mutation)] == [(11, 12), (None, None), (0, 1)]
    assert raised.moments[3] == replace(moments[3], versions=((12, 13), (1, 2)))
    assert [one.version for one in raised.graphs[0].nodes[0].saved] == [11, 1, None]


def test_a_step_tells_versions_absolute() -> None:
    step = ab2_trace().step(0)
    before = State.at(step, len(step.moments) - 1).tensors[0].version
    later = Step(step.trace, step.row._replace(shifts=((0, 7),)))
    assert before is not None
    assert State.at(later, len(step.moments) - 1).tensors[0].version == before + 7
