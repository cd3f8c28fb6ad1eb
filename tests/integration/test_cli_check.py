"""`gradscope check` and `explain`, and what `trace` says after an autograd error, as a user meets them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gradscope.diagnose import rule
from tests.scripts import ScriptServer, run

BUG = """\
import sys
import torch

print("the script's own output")
x = torch.ones(3, requires_grad=True)
y = torch.exp(x)
y += 1
y.sum().backward()
"""
HEALTHY = BUG.replace("y += 1", "y = y + 1")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "bug.py").write_text(BUG)
    (tmp_path / "healthy.py").write_text(HEALTHY)
    return tmp_path


def check(folder: Path, *arguments: str) -> tuple[int, str, str]:
    ran = run(["-m", "gradscope", "check", *arguments], folder)
    return ran.status, ran.stdout, ran.stderr


def test_a_script_is_traced_and_judged(folder: Path) -> None:
    status, out, err = check(folder, "bug.py")
    assert status == 1
    assert out.startswith("bug.py:7: error GS101 saved-tensor-modified")
    assert "y += 1" in out
    assert "the script's own output" in err
    assert "the script's own output" not in out
    assert sorted(path.name for path in folder.iterdir()) == ["bug.py", "healthy.py"]


def test_a_healthy_script_exits_with_0(folder: Path) -> None:
    assert check(folder, "healthy.py")[:2] == (0, "healthy.py: nothing found\n")


def test_a_trace_is_judged_without_torch(server: ScriptServer, folder: Path) -> None:
    server.traced("--quiet", "bug.py", folder=folder)
    code = "import sys; from gradscope.cli.main import main; s = main(['check', 'bug.gradscope', '--format', 'json']); "
    ran = run(["-c", code + "assert 'torch' not in sys.modules; sys.exit(s)"], folder)
    assert ran.status == 1, ran.stderr
    (first, *_) = json.loads(ran.stdout)["findings"]
    assert (first["code"], first["culprit"]["file"], first["culprit"]["line"]) == ("GS101", "bug.py", 7)


def test_options_select_and_fail(server: ScriptServer, folder: Path) -> None:
    server.traced("--quiet", "bug.py", folder=folder)
    assert check(folder, "--select", "GS9", "bug.gradscope")[0] == 0
    assert check(folder, "bug.gradscope", "--ignore", "GS101,GS001")[0] == 0
    assert check(folder, "bug.gradscope", "--fail-on", "error")[0] == 1
    assert check(folder, "bug.gradscope", "--format", "github")[1].startswith("::error file=bug.py,line=7")
    sarif = json.loads(check(folder, "bug.gradscope", "--format=sarif")[1])
    (told,) = sarif["runs"][0]["tool"]["driver"]["rules"]
    assert told["shortDescription"] == {"text": rule(told["id"]).title}


ROOTS = """\
import torch
w = torch.zeros(3, requires_grad=True)
opt = torch.optim.SGD([w], lr=0.0)
for step in range(3):
    loss = w.sqrt().sum() + step
    opt.zero_grad()
    loss.backward()
"""


def test_a_terminal_without_unicode_gets_plain_signs(folder: Path) -> None:
    (folder / "roots.py").write_text(ROOTS)
    summed_up = run(["-m", "gradscope", "trace", "roots.py"], folder, PYTHONIOENCODING="ascii").stderr
    assert "  loss         0 -> 2\n" in summed_up
    told = " ".join(run(["-m", "gradscope", "check", "roots.py"], folder, PYTHONIOENCODING="ascii").stdout.split())
    assert "1 / (2*sqrt(x))" in told
    assert "0 * inf is NaN" in told


def test_a_comment_silences_a_line(folder: Path) -> None:
    silenced = BUG.replace("y += 1", "y += 1  # gradscope: ignore[GS101]")
    (folder / "bug.py").write_text(
        silenced.replace("y.sum()", "import contextlib\nwith contextlib.suppress(RuntimeError):\n    y.sum()")
    )
    assert check(folder, "bug.py")[:2] == (0, "bug.py: nothing found\n")


def test_the_scripts_own_arguments_are_its_own(folder: Path) -> None:
    (folder / "args.py").write_text(
        "import sys\nimport torch\nsys.exit(sys.argv[1:] != ['--lr', '1', '--format', 'x'])\n"
    )
    assert check(folder, "args.py", "--lr", "1", "--format", "x")[0] == 0
    assert "exit status" not in check(folder, "args.py", "--", "--lr", "1", "--format", "x")[2]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["nothing.py"], "there is no file nothing.py"),
        ([], "there is no TRACE or SCRIPT"),
        (["bug.py", "--format", "xml"], "no format is called 'xml'"),
        (["bug.py", "--select", "GS7777"], "no finding is called 'GS7777'"),
        (["bug.py", "--fail-on", "eror"], "did you mean 'error'"),
        (["foreign.gradscope"], "foreign.gradscope"),
    ],
)
def test_bad_input_is_one_line_and_exit_2(folder: Path, arguments: list[str], says: str) -> None:
    (folder / "foreign.gradscope").write_text("no trace")
    status, out, err = check(folder, *arguments)
    assert (status, out) == (2, "")
    last = err.strip().splitlines()[-1]
    assert last.startswith("gradscope: ")
    assert says in last
    assert "Traceback" not in err.replace("Traceback (most recent call last)", "", "bug.py" in arguments)


def test_trace_explains_an_autograd_error_after_the_traceback(server: ScriptServer, folder: Path) -> None:
    plain = run(["bug.py"], folder)
    traced = run(["-m", "gradscope", "trace", "bug.py"], folder)
    assert (traced.status, traced.stdout) == (plain.status, plain.stdout)
    assert traced.stderr.startswith(plain.stderr)
    assert "bug.py:7: error GS101 saved-tensor-modified" in traced.stderr[len(plain.stderr) :]
    assert server.traced("--quiet", "--force", "bug.py", folder=folder).stderr == plain.stderr


def test_an_error_of_another_kind_is_not_explained(server: ScriptServer, folder: Path) -> None:
    (folder / "other.py").write_text(
        "import torch\nx = torch.ones(2, requires_grad=True) * 2\nraise ValueError('mine')\n"
    )
    told = server.traced("other.py", folder=folder).stderr
    assert "GS" not in told
    assert "possible cause" not in told


def test_trace_says_what_it_knows_and_is_not_certain_of(server: ScriptServer, folder: Path) -> None:
    (folder / "numbers.py").write_text(
        "import torch\n"
        "net = torch.nn.Linear(3, 1)\n"
        "losses = [net(torch.randn(1, 3)).pow(2).mean().item() for _ in range(3)]\n"
        "torch.tensor(losses).mean().backward()\n"
    )
    told = server.traced("--force", "numbers.py", folder=folder).stderr
    assert "GS201" not in told
    assert "1 possible cause: gradscope check numbers.py" in told


def test_a_crash_never_passes(folder: Path) -> None:
    status, out, _ = check(folder, "bug.py", "--ignore", "GS1")
    assert status == 1
    assert "GS001 unexplained-failure" in out


def test_explain_prints_the_page(folder: Path) -> None:
    ran = run(["-m", "gradscope", "explain", "gs101"], folder)
    assert ran.status == 0
    assert ran.stdout.startswith("# GS101 saved-tensor-modified\n")
    assert run(["-m", "gradscope", "explain", "saved-tensor-modified"], folder).stdout == ran.stdout
    every = run(["-m", "gradscope", "explain"], folder).stdout.splitlines()
    assert any(line.startswith("GS101  error") for line in every)
    wrong = run(["-m", "gradscope", "explain", "GS10l"], folder)
    assert (wrong.status, wrong.stdout) == (2, "")
    assert "did you mean" in wrong.stderr
