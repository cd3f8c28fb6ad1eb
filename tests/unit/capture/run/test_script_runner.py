"""What is refused before a script runs, and how torch's import starts a recording."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

from gradscope.capture.run.excepthook import exit_status
from gradscope.capture.run.import_hook import when_imported
from gradscope.capture.run.script_recording import ScriptRecording
from gradscope.capture.run.script_runner import check_module, check_script
from gradscope.errors import ScriptNotFound
from gradscope.model.memory import MemorySource
from gradscope.model.records import TraceInfo
from gradscope.options import CaptureOptions
from tests.builders import INFO


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A current folder that is also on the path; what is imported from it is forgotten."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]


def test_scripts_that_can_be_run(folder: Path) -> None:
    (folder / "script.py").write_text("raise SystemExit\n")
    (folder / "no_suffix").write_text("")
    (folder / "app").mkdir()
    (folder / "app" / "__main__.py").write_text("")
    for name in ("script.py", "no_suffix", "app", str(folder / "script.py")):
        check_script(name)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("gone.py", None, "there is no script gone.py"),
        ("-", None, "a script must be a file: standard input has no lines that could be shown later"),
        ("data.bin", b"a\0b", "holds binary data"),
        ("t.gradscope", b"SQLite format 3\0rest", "try: gradscope info t.gradscope"),
    ],
)
def test_what_is_no_script(name: str, content: bytes | None, words: str, folder: Path) -> None:
    if content is not None:
        (folder / name).write_bytes(content)
    with pytest.raises(ScriptNotFound, match=words):
        check_script(name)


def test_a_folder_without_main(folder: Path) -> None:
    with pytest.raises(ScriptNotFound, match=r"folder without a __main__\.py"):
        check_script(str(folder))


def test_modules(folder: Path) -> None:
    (folder / "module.py").write_text("raise AssertionError('a check runs nothing')\n")
    (folder / "package").mkdir()
    (folder / "package" / "__init__.py").write_text("raise AssertionError('a check runs nothing')\n")
    path = list(sys.path)
    for name in ("module", "package", "package.inner", "json.tool"):
        check_module(name)
    for name in ("module.py", "nothing", "", ".x", "nothing.inner"):
        with pytest.raises(ScriptNotFound, match="there is no module"):
            check_module(name)
    assert sys.path == path
    assert "module" not in sys.modules


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (None, 0),
        (ValueError(), 1),
        (SystemExit(), 0),
        (SystemExit(3), 3),
        (SystemExit(-1), 255),
        (SystemExit(256), 0),
        (SystemExit(True), 1),
        (SystemExit("text"), 1),
        (SystemExit(10**30), 255),
    ],
)
def test_exit_status(error: BaseException | None, status: int) -> None:
    assert exit_status(error) == status


# -- waking ----------------------------------------------------------------------------------------


def test_it_wakes_right_after_the_import(folder: Path) -> None:
    (folder / "sleeper.py").write_text("import sys\nname = __name__\n")
    seen: list[object] = []
    finders = list(sys.meta_path)
    with when_imported("sleeper", lambda: seen.append(sys.modules["sleeper"].name)):
        import json  # noqa: F401  # another module wakes nothing

        assert seen == []
        import sleeper  # type: ignore[import-not-found]

        assert seen == ["sleeper"]
        assert sys.meta_path == finders
        assert "exec_module" not in vars(sleeper.__spec__.loader)
        assert sleeper.__loader__ is sleeper.__spec__.loader
    assert seen == ["sleeper"]


def test_it_wakes_at_once_for_what_is_there() -> None:
    seen: list[int] = []
    with when_imported("sys", lambda: seen.append(1)):
        assert seen == [1]


def test_an_import_that_fails_is_tried_again(folder: Path) -> None:
    script = folder / "twice.py"
    script.write_text("raise OSError('not yet')\n")
    seen: list[int] = []
    with when_imported("twice", lambda: seen.append(1)):
        with pytest.raises(OSError, match="not yet"):
            import twice  # type: ignore[import-not-found]
        assert seen == []
        script.write_text("x = 123456\n")
        import twice

        assert seen == [1]
        assert twice.x == 123456


def test_nothing_is_left_when_it_was_never_imported(folder: Path) -> None:
    finders = list(sys.meta_path)
    with when_imported("never_imported", lambda: None):
        assert len(sys.meta_path) == len(finders) + 1
        with pytest.raises(ModuleNotFoundError):
            import never_imported  # type: ignore[import-not-found]  # noqa: F401
    assert sys.meta_path == finders


# -- the recording of a script ---------------------------------------------------------------------


class Sink(MemorySource):
    closed = False

    def close(self) -> None:
        self.closed = True


def recording() -> tuple[Sink, ScriptRecording]:
    sink = Sink(INFO)
    return sink, ScriptRecording(sink, CaptureOptions(), "script.py", ["--x"])


def test_a_script_that_uses_no_torch_leaves_its_facts() -> None:
    sink, session = recording()
    assert (sink.info().script, sink.info().arguments, sink.info().status) == ("script.py", ("--x",), "running")
    session.stop(None, 0)
    assert (sink.info().status, sink.info().exit_status, sink.closed) == ("done", 0, True)
    assert sink.info().duration is not None


def test_a_script_that_fails_without_torch() -> None:
    sink, session = recording()
    session.stop(ValueError("no"), 1)
    info: TraceInfo = sink.info()
    assert (info.status, info.exit_status, info.error) == ("failed", 1, "ValueError: no")
    assert info.traceback == "ValueError: no\n"


def test_sys_exit_is_no_failure() -> None:
    sink, session = recording()
    session.stop(SystemExit(3), 3)
    assert (sink.info().status, sink.info().exit_status, sink.info().error) == ("done", 3, None)


def test_a_recorder_that_cannot_start_costs_the_recording_only(monkeypatch: pytest.MonkeyPatch) -> None:
    import gradscope.capture.recorder as module

    def broken(*args: object, **kwargs: object) -> None:
        raise ZeroDivisionError("inside")

    monkeypatch.setattr(module, "Recorder", broken)
    sink, session = recording()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        session.start()
    assert session.fault == "the recording could not start: ZeroDivisionError: inside"
    session.stop(None, 0)
    assert sink.info().faults == (session.fault,)


def test_a_recorder_that_cannot_stop_costs_its_last_words_only() -> None:
    sink, session = recording()
    session.start()
    recorder = session._recorder
    assert recorder is not None

    def broken(*args: object) -> None:
        type(recorder).stop(recorder)
        raise ZeroDivisionError("inside")

    recorder.stop = broken  # type: ignore[method-assign]
    session.stop(None, 0)
    assert session.fault == "the recording could not be finished: ZeroDivisionError: inside"
    assert sink.closed
