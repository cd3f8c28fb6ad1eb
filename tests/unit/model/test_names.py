"""Shown names: short while they tell things apart, with the model's own name where they do not."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gradscope.model.codec import loads
from gradscope.model.document import trace_json
from gradscope.model.memory import MemorySource
from gradscope.model.moments import OpCall, Template
from gradscope.model.names import Names, sharing
from gradscope.model.overview import overview
from gradscope.model.records import Module, Optimizer, Parameter, Phase, Site, Stack
from gradscope.model.trace import Trace
from tests.builders import INFO, TraceBuilder, gan_trace, mlp_trace


def shown(trace: Trace) -> list[str]:
    return [parameter.name for parameter in trace.parameters()]


def models(*roots: str, layers: tuple[str, ...] = ("0", "2")) -> dict[int, Module]:
    """A model for each root, with these layers."""
    found: dict[int, Module] = {}
    for root in roots:
        head = len(found)
        found[head] = Module(head, root, "", "Sequential", None)
        for path in layers:
            found[len(found)] = Module(len(found), root, path, "Linear", head)
    return found


def parameter(number: int, name: str, root: str) -> Parameter:
    return Parameter(number, name, root, "parameter", (1,), "float32", "cpu", True, 4)


def reads(*pairs: tuple[int, int]) -> Template:
    """A template in which each module's op reads a parameter."""
    step = TraceBuilder("y = f(x)\n").step(0)
    for _, key in pairs:
        step.tensor("p", parameter=key)
    calls = [OpCall(Phase.FORWARD, None, "linear", (at,), (), module) for at, (module, _) in enumerate(pairs)]
    return Template(0, tuple(step.tensors), tuple(calls), ())


# -- which names are qualified ---------------------------------------------------------------------


def test_one_model_has_its_names_as_they_are() -> None:
    trace = mlp_trace()
    assert shown(trace) == ["fc1.weight", "fc1.bias", "fc2.weight", "fc2.bias"]
    assert trace.names.qualified == frozenset()
    assert [trace.names.module(key) for key in trace.names.modules] == ["model", "fc1", "fc2", "criterion"]
    step = trace.step(0)
    assert step.template is trace.source.template(step.row.template), "nothing was renamed, so nothing is made anew"


def test_two_models_that_share_a_name_have_theirs_before_all_their_names() -> None:
    names = Names(
        models("G", "D", layers=("0",)) | {9: Module(9, "head", "", "Linear", None)},
        {0: parameter(0, "0.weight", "G"), 1: parameter(1, "own", "G"), 2: parameter(2, "0.weight", "D")}
        | {3: parameter(3, "weight", "head")},
    )
    assert [one.name for one in names.parameters.values()] == ["G.0.weight", "G.own", "D.0.weight", "weight"]
    assert [names.path(key) for key in names.parameters] == ["0.weight", "own", "0.weight", "weight"]
    assert [names.module(key) for key in names.modules] == ["G", "G.0", "D", "D.0", "head"]
    assert [names.box_of(key) for key in names.parameters] == ["G.0", "G", "D.0", "head"]
    assert names.types == {"G": "Sequential", "G.0": "Linear", "D": "Sequential", "D.0": "Linear", "head": "Linear"}


def test_a_bare_layer_is_told_from_another_one() -> None:
    modules = {0: Module(0, "encoder", "", "Linear", None), 1: Module(1, "decoder", "", "Linear", None)}
    names = Names(modules, {0: parameter(0, "weight", "encoder"), 1: parameter(1, "weight", "decoder")})
    assert [one.name for one in names.parameters.values()] == ["encoder.weight", "decoder.weight"]
    assert [names.box_of(key) for key in names.parameters] == ["encoder", "decoder"]


def test_a_long_name_is_not_another_models_short_one() -> None:
    modules = models("G", "D", layers=("0",)) | {
        9: Module(9, "gan", "", "Gan", None),
        10: Module(10, "gan", "G", "G", 9),
    }
    modules[11] = Module(11, "gan", "G.0", "Linear", 10)
    names = Names(modules, {})
    assert [names.box(key) for key in modules] == ["G", "G.0", "D", "D.0", "gan", "gan.G", "gan.G.0"]


def test_a_bare_layer_is_not_another_models_module_of_that_name() -> None:
    modules = models("net", layers=("head",)) | {9: Module(9, "head", "", "Linear", None)}
    names = Names(modules, {0: parameter(0, "head.weight", "net"), 1: parameter(1, "weight", "head")})
    assert [names.box(key) for key in modules] == ["net", "net.head", "head"]
    assert [one.name for one in names.parameters.values()] == ["net.head.weight", "head.weight"]


def test_leaves_of_the_script_stay_as_they_are() -> None:
    names = Names({}, {0: parameter(0, "w", ""), 1: parameter(1, "w", "")})
    assert [one.name for one in names.parameters.values()] == ["w", "w"]
    head = {2: Module(2, "head", "", "Linear", None)}
    beside = Names(head, {0: parameter(0, "weight", ""), 1: parameter(1, "weight", "head")})
    assert [one.name for one in beside.parameters.values()] == ["weight", "head.weight"]


def test_every_reader_has_the_shown_names() -> None:
    trace = gan_trace()
    assert shown(trace) == ["G.0.weight", "D.0.weight"]
    step = trace.step(0)
    assert [tensor.name for tensor in step.tensors if tensor.parameter is not None] == ["G.0.weight", "D.0.weight"]
    assert step.template is trace.step(0).template, "a renamed template is kept"
    assert overview(trace).parameters == ("G.0.weight", "D.0.weight")
    document = loads("".join(trace_json(trace)))
    assert isinstance(document, dict)
    assert [(one["root"], one["name"]) for one in document["parameters"]] == [  # type: ignore[union-attr,index,call-overload]
        ("G", "G.0.weight"),
        ("D", "D.0.weight"),
    ]


def test_names_grow_with_the_trace_and_only_then() -> None:
    trace = mlp_trace()
    before = trace.names
    assert trace.names is before
    source = trace.source
    source.put_module(Module(9, "teacher", "", "MLP", None))  # type: ignore[attr-defined]
    source.put_parameter(parameter(9, "fc1.weight", "teacher"))  # type: ignore[attr-defined]
    assert shown(trace)[:2] == ["model.fc1.weight", "model.fc1.bias"]
    assert shown(trace)[-1] == "teacher.fc1.weight"


def test_names_that_only_had_more_added_are_kept() -> None:
    parameters = {0: parameter(0, "0.weight", "G"), 1: parameter(1, "", "")}
    before = Names(models("G"), parameters)
    more = models("G") | {9: Module(9, "head", "", "Linear", None)}
    assert Names(more, {**parameters, 2: parameter(2, "weight", "head")}).keeps(before)
    assert not Names(models("G", "D"), parameters).keeps(before), "its names are long now"
    assert not Names(models("G"), {**parameters, 1: parameter(1, "2.weight", "G")}).keeps(before), "it has a name now"


# -- several models of one root --------------------------------------------------------------------


def test_models_of_one_root_are_numbered_and_told_apart_by_who_reads() -> None:
    """The parameters were met in another order than the modules, as an optimizer meets them."""
    modules = models("net", "net", layers=("0",))
    parameters = {0: parameter(0, "0.weight", "net"), 1: parameter(1, "0.weight", "net")}
    names = Names(modules, parameters, lambda: [reads((1, 1), (3, 0))])
    assert [one.name for one in names.parameters.values()] == ["net (2).0.weight", "net.0.weight"]
    assert [one.root for one in names.parameters.values()] == ["net (2)", "net"]
    assert [names.box_of(key) for key in names.parameters] == ["net (2).0", "net.0"]
    assert [names.module(key) for key in modules] == ["net", "net.0", "net (2)", "net (2).0"]


def test_what_no_op_read_goes_with_the_parameter_before_it() -> None:
    modules = models("net", "net", layers=("0",))
    parameters = {key: parameter(key, name, "net") for key, name in enumerate(["0.weight", "0.bias"] * 2)}
    names = Names(modules, parameters, lambda: [reads((3, 0), (1, 2))])
    assert [one.root for one in names.parameters.values()] == ["net (2)", "net (2)", "net", "net"]
    unread = Names(modules, parameters)
    assert [one.root for one in unread.parameters.values()] == ["net", "net", "net (2)", "net (2)"]


def test_a_parameter_that_tells_its_model_is_that_ones_whatever_read_it() -> None:
    modules = models("net", "net", layers=("0",))
    told = {key: replace(parameter(key, "0.weight", "net"), model=model) for key, model in enumerate((2, 0))}
    names = Names(modules, told, lambda: [reads((1, 0), (3, 1))])
    assert [one.root for one in names.parameters.values()] == ["net (2)", "net"]
    one_is_old = Names(modules, told | {1: parameter(1, "0.weight", "net")}, lambda: [reads((1, 1))])
    assert [one.root for one in one_is_old.parameters.values()] == ["net (2)", "net"]
    nowhere = Names(modules, told | {1: replace(told[1], model=99)}, lambda: [reads((1, 1))])
    assert [one.root for one in nowhere.parameters.values()] == ["net (2)", "net"]


def test_losses_made_anew_are_one() -> None:
    modules = {key: Module(key, "MSELoss", "", "MSELoss", None) for key in range(3)}
    names = Names(modules, {0: parameter(0, "w", "")}, lambda: [reads((9, 0))])
    assert {names.module(key) for key in modules} == {"MSELoss"}


def test_layers_that_no_module_registers_are_told_apart_by_what_they_read() -> None:
    modules = {key: Module(key, "Linear", "", "Linear", None) for key in range(3)}
    names = Names(modules, {0: parameter(0, "", ""), 1: parameter(1, "", "")}, lambda: [reads((0, 0), (2, 1))])
    assert [names.box(key) for key in modules] == ["Linear", "Linear", "Linear (2)"]


def test_modules_that_are_their_own_ancestors_are_no_trap() -> None:
    names = Names({0: Module(0, "m", "a", "A", 1), 1: Module(1, "m", "b", "B", 0)}, {})
    assert {names.module(0), names.module(1)} <= {"a", "b", "m.a", "m.b", "m (2).a", "m (2).b"}


# -- laws ------------------------------------------------------------------------------------------

_WORDS = st.sampled_from(["0", "1", "fc", "h.0", "h.1", "h.0.fc", "A", "A.0", "B.fc"])


@given(st.lists(st.tuples(st.sampled_from("ABC"), st.frozensets(_WORDS, min_size=1)), min_size=1, max_size=5))
def test_no_two_parameters_of_models_are_shown_alike(made: list[tuple[str, frozenset[str]]]) -> None:
    modules: dict[int, Module] = {}
    parameters: dict[int, Parameter] = {}
    readers: list[tuple[int, int]] = []
    for root, paths in made:
        head = len(modules)
        modules[head] = Module(head, root, "", "Net", None)
        for path in sorted(paths):
            modules[len(modules)] = Module(len(modules), root, path, "Linear", head)
            key = len(parameters)
            parameters[key] = parameter(key, f"{path}.weight", root)
            readers.append((len(modules) - 1, key))
    for names in (Names(modules, parameters, lambda: [reads(*readers)]), Names(modules, parameters)):
        all_shown = [one.name for one in names.parameters.values()]
        assert len(set(all_shown)) == len(all_shown)
    told = Names(modules, parameters, lambda: [reads(*readers)])
    for module, key in readers:
        assert told.box_of(key) == told.box(module)
        assert told.parameters[key].name == f"{told.box(module)}.weight"
        assert told.path(key) == parameters[key].name


@given(st.dictionaries(st.sampled_from("ABCD"), st.frozensets(_WORDS)))
def test_a_model_is_qualified_if_and_only_if_another_has_one_of_its_names(has: dict[str, frozenset[str]]) -> None:
    expected = {one for one in has for other in has if one != other and has[one] & has[other]}
    assert sharing(has) == expected


# -- aliases ---------------------------------------------------------------------------------------


def test_a_name_may_be_given_with_its_model_or_without() -> None:
    aliases = gan_trace().names.aliases
    assert aliases["0.weight"] == ("G.0.weight", "D.0.weight")
    assert aliases["0"] == ("G.0", "D.0")
    assert "G.0" not in aliases
    assert mlp_trace().names.aliases["model.fc1.weight"] == ("fc1.weight",)


@pytest.mark.parametrize("renamed", ["", "old name"])
def test_tensors_of_a_model_are_called_as_it_was_known_at_last(renamed: str) -> None:
    """A tensor is named when its step ends; its module may have been seen later."""
    trace = mlp_trace(1)
    template = trace.source.template(0)
    old = replace(template, tensors=tuple(replace(one, name=renamed or one.name) for one in template.tensors))
    names = trace.names.shown(old)
    assert {one.name for one in names.tensors if one.parameter is not None} == set(shown(trace))


# -- optimizers ------------------------------------------------------------------------------------


def optimizers(*variables: str) -> Trace:
    """A trace with an optimizer for each variable, "" for one that no statement gives a name."""
    source = MemorySource(INFO)
    for key, variable in enumerate(variables):
        targets = (variable,) if variable else ()
        source.put_site(Site(key, "train.py", key + 1, key + 1, 0, "<module>", "", targets=targets))
        source.put_stack(Stack(key, (key,)))
        source.put_optimizer(Optimizer(key, "Adam" if key == 0 else f"Adam {key}", "Adam", (), key))
    return Trace(source)


@pytest.mark.parametrize(
    ("variables", "called"),
    [
        (["opt"], ["Adam"]),
        (["opt_g", "opt_d"], ["opt_g", "opt_d"]),
        (["opt", "opt"], ["Adam", "Adam 1"]),
        (["opt_g", ""], ["opt_g", "Adam 1"]),
    ],
)
def test_several_optimizers_go_by_their_variables(variables: list[str], called: list[str]) -> None:
    trace = optimizers(*variables)
    assert [trace.optimizer_name(key) for key in range(len(variables))] == called
    assert trace.optimizer_name(9) == trace.optimizer_name(None) == "an optimizer"
