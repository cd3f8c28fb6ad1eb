"""The commands as a user types them: what they print, write, replace and return."""

from __future__ import annotations

import json
import os
import re
import signal
import time
from pathlib import Path

import pytest

from gradscope.model.records import Detail
from gradscope.store import open_trace
from tests.scripts import Ran, ScriptServer, environment, run, started

TRAIN = """\
import sys
import torch
torch.manual_seed(0)
model = torch.nn.Linear(3, 1)
unused = torch.nn.Linear(2, 2)
optimizer = torch.optim.SGD([*model.parameters(), *unused.parameters()], lr=0.1)
x, y = torch.randn(8, 3), torch.randn(8, 1)
for epoch in range(6):
    optimizer.zero_grad()
    loss = torch.nn.functional.mse_loss(model(x), y)
    loss.backward()
    optimizer.step()
print('arguments', sys.argv[1:])
"""
FAILS = TRAIN + "model(torch.ones(4))\n"


@pytest.fixture(autouse=True)
def scripts(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(TRAIN)
    (tmp_path / "fails.py").write_text(FAILS)
    (tmp_path / "plain.py").write_text("print('no torch')\n")
    (tmp_path / "elsewhere.py").write_text(
        "import os, sys, warnings\nos.makedirs('sub')\nos.chdir('sub')\nwarnings.simplefilter('error')\n"
        "sys.stdout = sys.stderr = open(os.devnull, 'w')\n"
    )


def gradscope(folder: Path, *arguments: str, **variables: str) -> Ran:
    return run(["-m", "gradscope", *arguments], folder, **variables)


# -- trace -----------------------------------------------------------------------------------------


def test_trace_leaves_a_file_and_a_summary(server: ScriptServer, tmp_path: Path) -> None:
    done = server.traced("train.py", "--lr", "-o", "--quiet", folder=tmp_path)
    assert (done.status, done.stdout) == (0, "arguments ['--lr', '-o', '--quiet']\n")
    lines = done.stderr.splitlines()
    assert lines[0].startswith("gradscope: train.py --lr -o --quiet ran to its end after ")
    facts = {line[:14].strip(): line[15:] for line in lines[1:]}
    assert facts["steps"].startswith("6 train; ")
    assert "backward" in facts["phases"]
    assert "→" in facts["loss"]
    assert facts["graph"].endswith("in the last backward (step 5)")
    assert facts["parameters"].startswith("4 (10 elements, 40 B)")
    assert facts["gradients"] == "2 of 4 got one, 2 never did"
    assert facts["optimizer"] == "SGD"
    assert facts["file"].startswith("train.gradscope (")
    assert facts["next"] == "gradscope graph train.gradscope -o graph.svg"
    with open_trace(tmp_path / "train.gradscope") as trace:
        assert list(trace.steps) == [0, 1, 2, 3, 4, 5]
        assert (trace.info.status, trace.info.exit_status, trace.info.arguments[0]) == ("done", 0, "--lr")


def test_trace_replaces_an_earlier_trace_and_says_so(server: ScriptServer, tmp_path: Path) -> None:
    first = server.traced("train.py", folder=tmp_path)
    second = server.traced("train.py", folder=tmp_path)
    assert "replaces an earlier one" not in first.stderr
    assert ", replaces an earlier one)" in second.stderr
    assert second.status == 0


def test_two_traces_of_one_script_at_once_lose_nothing(tmp_path: Path) -> None:
    """The first waits inside its script until the second has ended; each has its own whole file."""
    (tmp_path / "train.py").write_text(
        "import sys, pathlib, time, torch\n"
        "(torch.ones(2, requires_grad=True) * 2).sum().backward()\n"
        "if sys.argv[1] == 'first':\n"
        "    pathlib.Path('started').touch()\n"
        "    while not pathlib.Path('go').exists():\n"
        "        time.sleep(0.05)\n"
    )
    with started(["-m", "gradscope", "trace", "train.py", "first"], tmp_path) as first:
        try:
            while not (tmp_path / "started").exists():
                assert first.poll() is None
                time.sleep(0.05)
            second = run(["-m", "gradscope", "trace", "train.py", "second"], tmp_path)
            forced = run(
                ["-m", "gradscope", "trace", "--force", "-o", "train.gradscope", "train.py", "third"], tmp_path
            )
        finally:
            (tmp_path / "go").touch()
        assert first.wait() == 0
    assert "train-2.gradscope" in second.stderr
    assert "another run was writing train.gradscope" in second.stderr
    assert forced.status == 2
    assert "train.gradscope is being written by another run" in forced.stderr
    for name, argument in (("train.gradscope", "first"), ("train-2.gradscope", "second")):
        with open_trace(tmp_path / name) as trace:
            assert trace.info.arguments == (argument,)
            assert trace.info.status == "done"
            assert trace.last_backward() is not None
    assert "replaces an earlier one" in run(["-m", "gradscope", "trace", "train.py", "fourth"], tmp_path).stderr


def test_trace_quiet_says_nothing(server: ScriptServer, tmp_path: Path) -> None:
    assert server.traced("-q", "train.py", folder=tmp_path) == Ran(0, "arguments []\n", "")


def test_trace_keeps_a_failing_script(server: ScriptServer, tmp_path: Path) -> None:
    done = server.traced("fails.py", folder=tmp_path)
    assert done.status == 1
    traceback, _, summary = done.stderr.partition("gradscope: ")
    assert traceback == server.plain("fails.py", folder=tmp_path).stderr
    assert re.match(r"fails.py failed with RuntimeError: (addmm: )?mat1 and mat2 shapes cannot be multiplied", summary)
    assert "RuntimeError at " in summary
    assert "fails.py:14" in summary
    with open_trace(tmp_path / "fails.gradscope") as trace:
        assert (trace.info.status, trace.info.exit_status) == ("failed", 1)
        assert trace.info.traceback == traceback


@pytest.mark.parametrize(
    ("options", "kept"),
    [
        (["--steps", "2:4"], [2, 3]),
        (["--steps", ":2"], [0, 1]),
        (["--every", "2"], [0, 2, 4]),
        (["--last", "2"], [4, 5]),
    ],
    ids=str,
)
def test_trace_keeps_the_chosen_steps(
    options: list[str], kept: list[int], server: ScriptServer, tmp_path: Path
) -> None:
    assert server.traced("-q", *options, "-o", "it.gradscope", "train.py", folder=tmp_path).status == 0
    with open_trace(tmp_path / "it.gradscope") as trace:
        assert list(trace.steps) == kept


@pytest.mark.parametrize("level", [level.value for level in Detail if level is not Detail.MATCHED])
def test_trace_records_at_the_chosen_detail(level: str, server: ScriptServer, tmp_path: Path) -> None:
    assert server.traced("-q", "--detail", level, "train.py", folder=tmp_path).status == 0
    with open_trace(tmp_path / "train.gradscope") as trace:
        details = [trace.step(number).detail.value for number in trace.steps]
    assert details == (["full"] * 3 + ["graph"] * 3 if level == "auto" else [level] * 6)


def test_trace_draws_a_graph(server: ScriptServer, tmp_path: Path) -> None:
    done = server.traced("--graph", "last.svg", "train.py", folder=tmp_path)
    assert done.status == 0
    assert (tmp_path / "last.svg").read_text().count("<svg") == 1
    assert "picture      last.svg" in done.stderr


def test_trace_says_when_there_is_nothing_to_draw(tmp_path: Path) -> None:
    done = gradscope(tmp_path, "trace", "--graph", "last.svg", "plain.py")
    assert (done.status, done.stdout) == (0, "no torch\n")
    assert "gradscope: no picture was drawn: " in done.stderr
    assert "picture  " not in done.stderr
    assert "next         gradscope info plain.gradscope" in done.stderr
    assert not (tmp_path / "last.svg").exists()


def test_trace_finishes_where_it_began(tmp_path: Path) -> None:
    """The script may change its folder, its streams and its warnings."""
    done = gradscope(tmp_path, "trace", "elsewhere.py")
    assert done.status == 0
    assert "file         elsewhere.gradscope" in done.stderr
    assert (tmp_path / "elsewhere.gradscope").is_file()


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        (["./sub/../plain.py"], "plain.gradscope"),
        (["-m", "plain"], "plain.gradscope"),
        (["-mplain"], "plain.gradscope"),
        (["--", "plain.py", "--"], "plain.gradscope"),
        (["-o", "named", "plain.py"], "named"),
        (["--output=named.gradscope", "plain.py"], "named.gradscope"),
        (["app"], "app.gradscope"),
        (["-m", "app.inner"], "inner.gradscope"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_trace_names_its_file_after_the_script(arguments: list[str], name: str, tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "__main__.py").write_text("print('no torch')\n")
    (tmp_path / "app" / "inner.py").write_text("print('no torch')\n")
    before = {path.name for path in tmp_path.iterdir()}
    assert gradscope(tmp_path, "trace", "-q", *arguments) == Ran(0, "no torch\n", "")
    assert {path.name for path in tmp_path.iterdir()} - before - {"__pycache__"} == {name}


def test_a_module_is_called_as_it_was_run(tmp_path: Path) -> None:
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "__main__.py").write_text("import torch\n")
    done = gradscope(tmp_path, "trace", "-m", "app", "--flag")
    assert done.stderr.startswith("gradscope: -m app --flag ran to its end")


def test_an_unknown_module_or_focus_is_one_line_that_names_the_nearest(server: ScriptServer, tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(
        "import torch\nfrom torch import nn\n"
        "model = nn.Sequential(nn.Linear(2, 2))\nmodel(torch.ones(1, 2)).sum().backward()\n"
    )
    assert server.traced("net.py", folder=tmp_path).status == 0
    for option, name in (("--expand", "00"), ("--focus", "0.wieght")):
        done = gradscope(tmp_path, "graph", "net.gradscope", option, name)
        assert (done.status, done.stdout, done.stderr.count("\n")) == (2, "", 1)
        assert f"is called '{name}': did you mean '0" in done.stderr


def test_a_forked_child_leaves_the_trace_to_its_parent(server: ScriptServer, tmp_path: Path) -> None:
    (tmp_path / "forks.py").write_text(
        "import os, sys, torch\nx = torch.ones(1, requires_grad=True)\n(x * 2).backward()\nsys.stdout.flush()\n"
        "if os.fork() == 0:\n    (x * 3).backward()\n    print('child', x.grad)\n    sys.exit(5)\n"
        "print(os.waitstatus_to_exitcode(os.wait()[1]), x.grad)\n"
    )
    done = server.traced("forks.py", folder=tmp_path)
    assert (done.status, done.stdout) == (0, "child tensor([5.])\n5 tensor([2.])\n")
    assert done.stderr.count("gradscope: ") == 1
    with open_trace(tmp_path / "forks.gradscope") as trace:
        assert trace.info.exit_status == 0


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
@pytest.mark.parametrize(("kind", "status"), [(signal.SIGINT, "failed"), (signal.SIGKILL, "killed")])
def test_an_ended_run_is_readable(kind: signal.Signals, status: str, tmp_path: Path) -> None:
    (tmp_path / "waits.py").write_text(TRAIN + "print('ready', flush=True)\nimport time\ntime.sleep(60)\n")
    with started(["-m", "gradscope", "trace", "waits.py"], tmp_path) as process:
        assert process.stdout is not None
        while process.stdout.readline() != "ready\n":
            assert process.poll() is None
        time.sleep(1)
        process.send_signal(kind)
        _, err = process.communicate(timeout=60)
    assert process.returncode == -kind
    assert ("KeyboardInterrupt" in err and "gradscope: waits.py" in err) == (kind is signal.SIGINT)
    with open_trace(tmp_path / "waits.gradscope") as trace:
        assert trace.info.status == status
        assert len(trace.steps) >= 5


HANGS = """
    if step == 4:
        print("ready", flush=True)
        time.sleep(60)
    loss.backward()
    optimizer.step()
"""


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
def test_a_run_that_hangs_leaves_what_it_did_before(tmp_path: Path) -> None:
    lines = ["import time, torch", "weight = torch.ones(2, requires_grad=True)"]
    lines += ["optimizer = torch.optim.SGD([weight], 0.1)", "for step in range(6):", "    optimizer.zero_grad()"]
    (tmp_path / "hangs.py").write_text("\n".join([*lines, "    loss = (weight * step).sum()"]) + HANGS)
    with started(["-m", "gradscope", "trace", "hangs.py"], tmp_path) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        time.sleep(1)
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=60)
    with open_trace(tmp_path / "hangs.gradscope") as trace:
        assert trace.info.status == "killed"
        assert trace.steps == list(range(5))
        last = trace.step(4)
        assert last.row.open
        assert [moment.name for moment in last.moments if moment.kind == "op"] == ["mul", "sum"]  # type: ignore[union-attr]


# -- graph -----------------------------------------------------------------------------------------


def test_graph_in_the_terminal_and_in_files(server: ScriptServer, tmp_path: Path) -> None:
    server.traced("-q", "train.py", folder=tmp_path)
    text = gradscope(tmp_path, "graph", "train.gradscope")
    assert text.status == 0
    assert text.stderr == ""
    assert "AddmmBackward0" in text.stdout
    assert "\x1b" not in text.stdout
    assert gradscope(tmp_path, "graph", "train.gradscope", PYTHONIOENCODING="ascii").stdout.isascii()
    for name in ("g.svg", "g.dot", "g.json", "g.graphml", "g.mmd", "g.txt"):
        done = gradscope(tmp_path, "graph", "train.gradscope", "--step", "1", "--kind", "backward", "-o", name)
        assert done == Ran(0, "", ""), name
        assert (tmp_path / name).stat().st_size > 100
    data = json.loads((tmp_path / "g.json").read_text())
    assert (data["schema"], data["kind"], data["step"]) == ("gradscope.graph/1", "backward", 1)


def test_graph_fits_the_terminal(server: ScriptServer, tmp_path: Path) -> None:
    server.traced("-q", "train.py", folder=tmp_path)
    narrow = gradscope(tmp_path, "graph", "train.gradscope", COLUMNS="60").stdout
    assert max(map(len, narrow.splitlines())) <= 60


def test_graph_of_a_script_keeps_stdout_for_the_drawing(tmp_path: Path) -> None:
    done = gradscope(tmp_path, "graph", "train.py")
    assert done.status == 0
    assert "arguments []" not in done.stdout
    assert "arguments []" in done.stderr
    assert "AddmmBackward0" in done.stdout
    assert not list(tmp_path.glob("*.gradscope"))


def test_graph_of_a_failing_script_draws_what_there_was(tmp_path: Path) -> None:
    done = gradscope(tmp_path, "graph", "fails.py", "-o", "g.json")
    assert done.status == 0
    assert re.search("RuntimeError: (addmm: )?mat1 and mat2", done.stderr)
    assert "gradscope: fails.py ended with exit status 1; this is what it recorded" in done.stderr
    assert json.loads((tmp_path / "g.json").read_text())["nodes"]


# -- info, export, doctor --------------------------------------------------------------------------


def test_info_shows_and_tells_programs(server: ScriptServer, tmp_path: Path) -> None:
    server.traced("-q", "fails.py", folder=tmp_path)
    text = gradscope(tmp_path, "info", "fails.gradscope")
    assert text.status == 0
    assert text.stdout.startswith("fails.py failed with RuntimeError")
    assert "recorded" in text.stdout
    data = json.loads(gradscope(tmp_path, "info", "fails.gradscope", "--json").stdout)
    assert data["schema"] == "gradscope.info/1"
    assert data["steps"]["train"] == 6
    assert data["without_gradient"]
    assert data["info"]["status"] == "failed"
    assert data["failures"][-1]["line"] == 14


def test_export_writes_every_record(server: ScriptServer, tmp_path: Path) -> None:
    server.traced("-q", "train.py", folder=tmp_path)
    assert gradscope(tmp_path, "export", "train.gradscope", "t.json") == Ran(0, "", "")
    data = json.loads((tmp_path / "t.json").read_text())
    assert data["schema"] == "gradscope.trace/1"
    assert [step["number"] for step in data["steps"] if step["number"] >= 0] == [0, 1, 2, 3, 4, 5]
    assert {parameter["name"] for parameter in data["parameters"]} >= {"weight", "bias"}
    assert data["samples"]
    assert data["templates"]
    assert gradscope(tmp_path, "export", "train.gradscope", "-").stdout == (tmp_path / "t.json").read_text()


def test_doctor_names_what_it_finds(tmp_path: Path) -> None:
    done = gradscope(tmp_path, "doctor", NO_COLOR="1", COLUMNS="77")
    assert (done.status, done.stderr) == (0, "")
    for fact in ("gradscope", "python", "torch", "devices", "layout", "77 columns", "no colours"):
        assert fact in done.stdout


def test_doctor_survives_a_broken_torch(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\n"
        "class Broken:\n"
        "    def find_spec(self, name, *_):\n"
        "        if name == 'torch': raise OSError('libtorch is missing')\n"
        "sys.meta_path.insert(0, Broken())\n"
    )
    done = gradscope(tmp_path, "doctor", PYTHONPATH=os.pathsep.join([str(tmp_path), environment()["PYTHONPATH"]]))
    assert done.status == 0
    assert "cannot be imported: OSError: libtorch is missing" in done.stdout


@pytest.mark.parametrize("verb", ["trace", "graph", "info", "export", "doctor"])
def test_every_verb_has_help(verb: str, tmp_path: Path) -> None:
    done = gradscope(tmp_path, verb, "--help")
    assert (done.status, done.stderr) == (0, "")
    assert f"gradscope {verb}" in done.stdout


def test_the_version(tmp_path: Path) -> None:
    import gradscope as package

    assert gradscope(tmp_path, "--version") == Ran(0, f"gradscope {package.__version__}\n", "")


def test_a_fault_of_ours_is_reported_in_a_file(tmp_path: Path) -> None:
    program = (
        "import sys\nimport gradscope.store as store\ndef broken(path): raise KeyError('inner')\n"
        "store.open_trace = broken\nfrom gradscope.cli.main import main\nsys.exit(main(['info', 'x']))\n"
    )
    done = run(["-c", program], tmp_path, TMPDIR=str(tmp_path))
    assert (done.status, done.stdout) == (3, "")
    assert done.stderr.startswith("gradscope: internal error: KeyError: 'inner'; please report it")
    assert done.stderr.count("\n") == 1
    (report,) = tmp_path.glob("gradscope-*.txt")
    assert str(report) in done.stderr
    assert "KeyError: 'inner'" in report.read_text()
