from __future__ import annotations

import inspect

import pytest
import torch
from torch.nn import functional

from gradscope.model.arguments import Given, Ref
from gradscope.model.signatures import _SIGNATURES, told

BY_PYTHON = [name for name in _SIGNATURES if inspect.isfunction(getattr(functional, name, None))]
BY_SCHEMA = [name for name in _SIGNATURES if name.startswith("conv") and hasattr(torch.ops.aten, name)]


@pytest.mark.parametrize("name", BY_PYTHON)
def test_the_names_are_those_of_the_functions(name: str) -> None:
    try:
        parameters = inspect.signature(getattr(functional, name)).parameters
    except ValueError:
        pytest.skip("torch tells no signature")
    if "args" in parameters:
        pytest.skip("behind a dispatcher, which tells no names")
    ours = dict(part.partition("=")[::2] for part in _SIGNATURES[name].split())
    assert list(ours) == list(parameters)[: len(ours)]
    for argument, default in ours.items():
        assert not default or repr(parameters[argument].default) == default


@pytest.mark.parametrize("name", BY_SCHEMA)
def test_the_names_are_those_of_the_schemas(name: str) -> None:
    overload = getattr(getattr(torch.ops.aten, name), "default", None) or getattr(torch.ops.aten, name).input
    schema = [argument.name for argument in overload._schema.arguments]
    assert [part.partition("=")[0] for part in _SIGNATURES[name].split()] == schema


def test_arguments_have_their_names_and_defaults_go_unsaid() -> None:
    given = Given((Ref(0), Ref(1), None, (2, 2), (3, 3), (1, 1), 1))
    assert told("conv2d", given) == "stride=(2, 2), padding=(3, 3)"
    assert told("relu", Given((Ref(0),), (("inplace", False),))) == ""
    assert told("relu", Given((Ref(0),), (("inplace", True),))) == "inplace=True"
    assert told("mul", Given((Ref(0), 2))) == "2", "an op that is not listed says what it was given"
