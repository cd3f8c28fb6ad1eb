"""The harness can fail: each fact that it compares is changed on purpose, and it says so."""

from __future__ import annotations

import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from .comparing import differences
from .expected import unforeseen
from .judging import Verdict, judge, sample
from .kinds import KINDS
from .normal import normal, struck
from .program import Program
from .resources import can_mount
from .running import QUIET, Outcome, run
from .table import markdown

MEDDLING = (str(Path(__file__).with_name("meddling.py")),)
LIGHT = "import atexit\nkept = [1, {'a': 2}]\natexit.register(lambda: print(kept))\n"
HEAVY = """\
import torch
w = torch.ones(2, requires_grad=True)
net = torch.nn.Linear(2, 1)
(w * 2).sum().backward()
old = torch.zeros(3)
"""
# What is done behind the script's back, and the words by which it is told.
SEEN_LIGHT = {
    "print('x')": "stdout",
    "print('x', file=sys.stderr)": "stderr",
    "os._exit(3)": "exit status 0 became 3",
    "os.kill(os.getpid(), 9)": f"exit status 0 became {-signal.SIGKILL}",
    "open('left', 'w').close()": "file left",
    "import tempfile; tempfile.mkstemp()": "file tmp: tmpNAME",
    "sys.modules['__main__'].kept[1]['a'] = 3": "main kept[1]['a']: 2 became 3",
    "import threading, time; threading.Thread(target=time.sleep, args=(9,), daemon=True).start()": "process threads",
    "kept.append(open(os.devnull))": "process open files",
    "sys.path.append('/nowhere')": "process path",
    "import xml.dom; sys.modules['pip_'] = xml": "module pip_ is imported, too",
    "del sys.modules['atexit']": "module atexit is missing",
    "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)": "process handler of SIGTERM",
    "sys.setrecursionlimit(500)": "process recursion",
    "sys.settrace(lambda *_: None)": "process trace function",
    "sys.excepthook = print": "process excepthook",
    "import warnings; warnings.simplefilter('error')": "process warning filters",
    "import gc; gc.disable()": "process gc",
    "os.umask(0o123)": "process umask",
    "os.mkdir('d'); os.chdir('d')": "process folder",
    "os.environ['NEW'] = '1'": "process environment",
    "import builtins; builtins.new = 1": "process builtins",
    "import random; random.seed(5)": "process random",
    "import atexit, time; atexit.register(lambda: setattr(time, 'run', script_runner.run_script))": "patches time.run",
    "sys.stdout.reconfigure(errors='replace')": "process stdout",
}
SEEN_HEAVY = {
    "import torch; torch.rand(1)": "torch random state",
    "import torch; torch.set_grad_enabled(False)": "torch is_grad_enabled",
    "import torch; torch.set_num_threads(2)": "torch get_num_threads",
    "import torch; torch.overrides.BaseTorchFunctionMode().__enter__()": "torch function modes",
    "import torch; torch.nn.modules.module.register_module_forward_hook(print)": "torch hooks of all modules",
    "import torch; sys.modules['__main__'].old.add_(0)": "main old: ",
    "sys.modules['__main__'].w.grad *= 2": "main w.grad",
    "sys.modules['__main__'].w.note = 5": "main w.note",
    "import torch; kept.append(torch.ones(7))": "alive torch.Tensor",
    "sys.modules['__main__'].net.register_forward_hook(print)": "main net._forward_hooks",
    "import torch; torch.ones(1, requires_grad=True) * 2": "torch nodes made",
}


def program(source: str, meddle: str) -> Program:
    return Program("programs", "x", {"x.py": source}, ("x.py",), gradscope=(*MEDDLING, meddle), trace_kept=False)


Seen = Callable[[str, str], list[str]]


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Seen:
    """The differences that a meddling makes. A source runs plain once: its environment is not what is meddled with."""
    area = tmp_path_factory.mktemp("harness") / "area"
    plain: dict[str, Outcome] = {}

    def differences_of(source: str, meddle: str) -> list[str]:
        if source not in plain:
            plain[source] = run(program(source, ""), area)
        return differences(program(source, ""), plain[source], run(program(source, meddle), area, QUIET), QUIET)

    return differences_of


@pytest.mark.parametrize("source", [LIGHT, HEAVY], ids=["light", "heavy"])
def test_a_run_that_changes_nothing_holds(source: str, seen: Seen) -> None:
    assert unforeseen(seen(source, "")) == []


@pytest.mark.parametrize("meddle", SEEN_LIGHT)
def test_what_changes_in_the_process_is_seen(meddle: str, seen: Seen) -> None:
    assert any(line.startswith(SEEN_LIGHT[meddle]) for line in seen(LIGHT, meddle))


@pytest.mark.parametrize("meddle", SEEN_HEAVY)
def test_what_changes_in_torch_is_seen(meddle: str, seen: Seen) -> None:
    assert any(line.startswith(SEEN_HEAVY[meddle]) for line in seen(HEAVY, meddle))


def test_a_trace_that_is_missing_or_broken_is_seen(tmp_path: Path) -> None:
    one = replace(program(LIGHT, ""), trace_kept=True)
    plain = run(one, tmp_path / "area")
    assert differences(one, plain, run(one, tmp_path / "area", QUIET), QUIET) == ["there is no trace"]
    broken = program(LIGHT, "open(os.environ['PROMISE_TRACES'] + '/it.gradscope', 'w').write('no')")
    (line,) = differences(broken, plain, run(broken, tmp_path / "area", QUIET), QUIET)
    assert line.startswith("the trace cannot be read")


def test_what_two_plain_runs_do_not_share_is_said(tmp_path: Path) -> None:
    found = judge(program("import os\nprint(os.urandom(4).hex())\nimport time\nstart = time.time()\n", ""), (QUIET,))
    assert [line.partition(":")[0] for line in found.differences] == ["quiet", "(two plain runs differ, too"]


@pytest.mark.parametrize(("loses", "held"), [("len(runs) == 1", True), ("'gradscope' in sys.modules", False)])
def test_a_race_that_the_first_plain_run_lost_is_no_difference(tmp_path: Path, loses: str, held: bool) -> None:
    told = tmp_path / "runs"
    source = (
        f"import pathlib, sys\ntold = pathlib.Path({str(told)!r})\n"
        "runs = (told.read_text() if told.exists() else '') + '.'\ntold.write_text(runs)\n"
        f"print('lost' if {loses} else 'won')\n"
    )
    assert judge(program(source, ""), (QUIET,)).held is held


def test_times_addresses_and_names_are_made_equal() -> None:
    text = "<f at 0x7f3a1b2c3d4e> 12.5 ms, 3 s 2024-05-06 07:08:09,123 /tmp/tmpab12cd34/x"
    assert normal(text) == "<f at 0xADDRESS> DURATION, DURATION TIME /tmp/tmpNAME/x"
    text = "pid 4711 Thread-12 127.0.0.1:45678 (77)"
    assert normal(text, 77) == "pid NUMBER Thread-NUMBER 127.0.0.1:PORT (PROCESS)"
    assert normal("5 steps, 12 samples, line 3, 0x10") == "5 steps, 12 samples, line 3, 0x10"
    told = 'Traceback (most recent call last):\n  File "x", line 3\n    y\n    ^\n\nKeyboardInterrupt\n'
    assert struck(told) == "Traceback (most recent call last):\n  WHERE\nKeyboardInterrupt\n"


def test_a_sample_has_every_kind_and_is_the_same_for_a_seed() -> None:
    programs = [program for kind in KINDS.values() for program in kind()]
    names = [program.id for program in programs]
    assert len(names) == len(set(names))
    chosen = sample(programs, 5)
    assert {one.kind for one, _ in chosen} == {one.kind for one in programs}
    assert [one.id for one, _ in chosen] == [one.id for one, _ in sample(programs, 5)]
    assert [one.id for one, _ in chosen] != [one.id for one, _ in sample(programs, 6)]


def test_the_table_counts_by_kind() -> None:
    one = program(LIGHT, "")
    assert "| programs | programs in the style of published examples | 2 | 1 |" in markdown(
        [Verdict(one, []), Verdict(one, ["stdout differs"])]
    )


def test_this_machine_can_mount_or_the_size_of_files_is_limited_instead() -> None:
    names = [one.name for one in KINDS["faults"]()]
    assert "files of at most 400 kB" in names
    assert ("a disk of 120 KiB" in names) is can_mount()


def test_an_outcome_without_a_report_is_compared(tmp_path: Path) -> None:
    bare = Outcome(0, "", "", {}, None, [], None)
    assert differences(program(LIGHT, ""), bare, bare, QUIET) == []
