"""The one error boundary: every error becomes a line and an exit status."""

from __future__ import annotations

import sys
import types
from pathlib import Path

import pytest

from gradscope.cli import boundary, exit_codes
from gradscope.cli.exit_codes import ScriptInterrupted
from gradscope.errors import GradscopeError, MissingEngine


@pytest.fixture
def verb(monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    """The verb `info`, to be given a `run`."""
    module = types.ModuleType("stand_in", "A stand-in.")
    module.configure = lambda parser: None  # type: ignore[attr-defined]
    monkeypatch.setattr(boundary, "command", lambda name: module)
    return module


def raising(error: BaseException) -> object:
    def run(namespace: object) -> int:
        raise error

    return run


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (GradscopeError("a wrong thing"), exit_codes.USAGE, "gradscope: a wrong thing\n"),
        (MissingEngine("two\nlines"), exit_codes.USAGE, "gradscope: two\\nlines\n"),
        (KeyboardInterrupt(), exit_codes.INTERRUPTED, ""),
    ],
)
def test_errors(
    error: BaseException, status: int, said: str, verb: types.ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    verb.run = raising(error)  # type: ignore[attr-defined]
    assert boundary.run(["info"]) == status
    assert capsys.readouterr() == ("", said)


def test_a_fault_of_ours(
    verb: types.ModuleType, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    verb.run = raising(ZeroDivisionError("oops"))  # type: ignore[attr-defined]
    assert boundary.run(["info"]) == exit_codes.INTERNAL
    (report,) = tmp_path.iterdir()
    assert "ZeroDivisionError: oops" in report.read_text()
    assert capsys.readouterr().err.startswith("gradscope: internal error: ZeroDivisionError: oops; please report it")


def test_a_fault_that_cannot_be_written_down(
    verb: types.ModuleType, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "gone"))
    verb.run = raising(ZeroDivisionError("oops"))  # type: ignore[attr-defined]
    assert boundary.run(["info"]) == exit_codes.INTERNAL
    assert "the details could not be written" in capsys.readouterr().err


def test_a_script_ended_by_ctrl_c_ends_the_program_so(verb: types.ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    verb.run = raising(ScriptInterrupted())  # type: ignore[attr-defined]
    with pytest.raises(KeyboardInterrupt):
        boundary.run(["info"])
    assert sys.excepthook is not sys.__excepthook__, "the report was made already"


def test_the_status_is_the_verbs(verb: types.ModuleType) -> None:
    verb.run = lambda namespace: 17  # type: ignore[attr-defined]
    assert boundary.run(["info"]) == 17


@pytest.mark.parametrize("name", boundary.VERBS)
def test_every_verb_has_a_docstring_and_the_two_functions(name: str) -> None:
    module = boundary.command(name)
    assert module.__doc__
    assert module.__doc__.splitlines()[0].endswith(".")
    assert callable(module.configure)
    assert callable(module.run)
