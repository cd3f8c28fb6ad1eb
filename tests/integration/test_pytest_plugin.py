"""The plug-in in the real pytest, on a project of its own."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import gradscope
from gradscope.errors import FindingsError, UnknownName
from tests.scripts import run

# Loaded by name, whether or not the package is installed with its entry point.
ALONE = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}

PROJECT = """
import gradscope
import pytest
import torch
from torch import nn


def train(forget=False, steps=3):
    net = nn.Linear(2, 1)
    opt = torch.optim.SGD(net.parameters(), lr=0.1)
    for _ in range(steps):
        opt.zero_grad()
        out = net(torch.ones(4, 2)).tanh()
        if forget:
            out += 1  # the culprit
        out.sum().backward()
        opt.step()


def test_healthy(gradscope_clean):
    train()


def test_buggy(gradscope_clean):
    with pytest.raises(RuntimeError):
        train(forget=True)


@pytest.mark.gradscope
def test_marked():
    with pytest.raises(RuntimeError):
        train(forget=True)


@pytest.mark.gradscope(ignore=["GS101"])
def test_silenced():
    with pytest.raises(RuntimeError):
        train(forget=True)


def test_block():
    with gradscope.expect_clean() as trace:
        train()
    gradscope.expect_gradients(trace)


def test_a_parameter_without_gradient():
    with gradscope.expect_clean(ignore=["GS"]) as trace:
        used, unused = nn.Linear(2, 1), nn.Linear(2, 1)
        model = nn.ModuleDict({"used": used, "unused": unused})
        opt = torch.optim.SGD(model.parameters(), lr=0.1)
        used(torch.ones(1, 2)).sum().backward()
        unused(torch.ones(1, 2)).sum()
        opt.step()
    gradscope.expect_gradients(trace, ignore=["unused.*", "weight", "bias"])
    gradscope.expect_gradients(trace)


@pytest.mark.gradscope(colour="red")
def test_wrong_setting():
    pass
"""


def test_the_plugin_fails_what_is_wrong_and_passes_what_is_not(tmp_path: Path) -> None:
    (tmp_path / "test_project.py").write_text(PROJECT)
    ran = run(
        ["-m", "pytest", "-p", "gradscope.pytest_plugin", "-q", "-rA", "--strict-markers", "-p", "no:cacheprovider"],
        tmp_path,
        **ALONE,
    )
    outcome = set(re.findall(r"^(PASSED|FAILED|ERROR) test_project\.py::(\w+)", ran.stdout, re.MULTILINE))
    assert outcome == {
        ("PASSED", "test_healthy"),
        ("PASSED", "test_block"),
        ("PASSED", "test_silenced"),
        ("PASSED", "test_buggy"),  # its own part
        ("ERROR", "test_buggy"),  # what was recorded of it
        ("PASSED", "test_marked"),
        ("ERROR", "test_marked"),
        ("FAILED", "test_a_parameter_without_gradient"),
        ("ERROR", "test_wrong_setting"),
    }
    assert "error GS101 saved-tensor-modified" in ran.stdout
    assert "out += 1  # the culprit" in ran.stdout
    assert "parameters got no gradient" in ran.stdout
    assert "takes fail_on, ignore, select by name, not colour" in ran.stdout


def test_loading_the_plugin_imports_no_torch(tmp_path: Path) -> None:
    code = "import sys, gradscope.pytest_plugin; sys.exit('torch' in sys.modules)"
    assert run(["-c", code], tmp_path).status == 0


def test_expect_clean_lets_exceptions_of_the_block_pass() -> None:
    with pytest.raises(ZeroDivisionError), gradscope.expect_clean():
        raise ZeroDivisionError


def test_expect_clean_refuses_what_it_does_not_know() -> None:
    with pytest.raises(UnknownName, match="did you mean 'error'"), gradscope.expect_clean(fail_on="eror"):
        pass


def test_expect_gradients_needs_parameters() -> None:
    with gradscope.record() as trace:
        pass
    with pytest.raises(FindingsError, match="no parameter"):
        gradscope.expect_gradients(trace)
