"""The public names: few, listed, documented, and each where it says it is."""

from __future__ import annotations

import importlib
import importlib.metadata
import inspect
import re

import pytest

import gradscope


def test_every_listed_name_is_there() -> None:
    assert {name: getattr(gradscope, name) for name in gradscope.__all__}
    assert set(gradscope.__all__) == set(gradscope._HOMES)
    assert set(gradscope.__all__) <= set(dir(gradscope))


def test_the_list_is_sorted_and_short() -> None:
    assert gradscope.__all__ == sorted(gradscope.__all__)
    assert len(gradscope.__all__) <= 20


@pytest.mark.parametrize("name", sorted(gradscope._HOMES))
def test_a_name_is_documented_at_home(name: str) -> None:
    home = importlib.import_module(f"gradscope.{gradscope._HOMES[name]}")
    value = getattr(home, name)
    assert getattr(gradscope, name) is value
    assert inspect.getdoc(value)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'drow'"):
        gradscope.drow  # noqa: B018 - reading it is the test


def test_the_version_is_the_distributions() -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+", gradscope.__version__)
    assert importlib.metadata.version("torch-gradscope") == gradscope.__version__


def test_the_verbs_of_the_contract_are_there() -> None:
    for verb in ("draw", "inspect", "record", "step", "load"):
        assert callable(getattr(gradscope, verb))
