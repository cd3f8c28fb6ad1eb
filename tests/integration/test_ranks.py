"""Ranks of a job: each has its own file and says who it is, and the script always runs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from gradscope.store import open_trace
from tests.scripts import Ran, environment, run

PLAIN = "print('ran')\n"
LOOP = """\
import torch
w = torch.ones(3, requires_grad=True)
(w * 2).sum().backward()
print('ran')
"""


@pytest.fixture(autouse=True)
def script(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(PLAIN)


def traced(folder: Path, *arguments: str, rank: int = 1, of: int = 2, **variables: str) -> Ran:
    variables = {"RANK": str(rank), "WORLD_SIZE": str(of), **variables}
    done = run(["-m", "gradscope", "trace", *arguments, "train.py"], folder, **variables)
    assert (done.status, done.stdout) == (0, "ran\n"), done.stderr
    return done


def traces(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("*.gradscope"))


@pytest.mark.parametrize(
    "variables",
    [
        {"OMPI_COMM_WORLD_RANK": "3", "OMPI_COMM_WORLD_SIZE": "12"},
        {"PMI_RANK": "3", "PMI_SIZE": "12"},
        {"SLURM_PROCID": "3", "SLURM_NTASKS": "12"},
        {"RANK": "3", "WORLD_SIZE": "12", "SLURM_PROCID": "0", "SLURM_NTASKS": "2"},
    ],
    ids=str,
)
def test_each_launcher_tells_the_rank(variables: dict[str, str], tmp_path: Path) -> None:
    done = run(["-m", "gradscope", "trace", "train.py"], tmp_path, **variables)
    assert (done.status, done.stdout) == (0, "ran\n")
    assert all(line.startswith("[rank03]: ") for line in done.stderr.splitlines())
    assert traces(tmp_path) == ["train.rank03.gradscope"]
    told = run(["-m", "gradscope", "info", "--json", "train.rank03.gradscope"], tmp_path)
    info = json.loads(told.stdout)["info"]
    assert (info["rank"], info["world_size"]) == (3, 12)
    words = run(["-m", "gradscope", "info", "train.rank03.gradscope"], tmp_path).stdout
    assert "  rank         3 of the ranks 0 to 11\n" in words


def test_a_single_process_is_no_rank(tmp_path: Path) -> None:
    done = traced(tmp_path, rank=0, of=1)
    assert done.stderr.startswith("gradscope: train.py ran")
    assert traces(tmp_path) == ["train.gradscope"]
    with open_trace(tmp_path / "train.gradscope") as trace:
        assert (trace.info.rank, trace.info.world_size) == (None, None)


def test_ranks_at_once_have_a_file_each(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(LOOP)
    (tmp_path / "out.rank1.gradscope").write_text("in the way")
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "gradscope", "trace", "-o", "out.gradscope", "--graph", "last.dot", "train.py"],
            cwd=tmp_path, env=environment(RANK=str(rank), WORLD_SIZE="2"), stdout=subprocess.PIPE,
        )
        for rank in (0, 1)
    ]  # fmt: skip
    for process in processes:
        assert process.communicate()[0] == b"ran\n"
        assert process.returncode == 0
    assert traces(tmp_path) == ["out.rank0.gradscope", "out.rank1-2.gradscope", "out.rank1.gradscope"]
    assert (tmp_path / "out.rank1.gradscope").read_text() == "in the way"
    assert {path.name for path in tmp_path.glob("*.dot")} == {"last.rank0.dot", "last.rank1.dot"}
    with open_trace(tmp_path / "out.rank1-2.gradscope") as trace:
        assert (trace.info.rank, trace.info.world_size) == (1, 2)
        assert trace.last_backward() is not None


def test_nothing_is_replaced_but_by_force_and_never_by_a_restarted_rank(tmp_path: Path) -> None:
    first = tmp_path / "train.rank1.gradscope"
    traced(tmp_path)
    kept = first.read_bytes()
    assert "train.rank1-2.gradscope" in traced(tmp_path).stderr
    traced(tmp_path, "--force", "-o", "train.gradscope", TORCHELASTIC_RESTART_COUNT="1")
    assert traces(tmp_path) == ["train.rank1-2.gradscope", "train.rank1-3.gradscope", "train.rank1.gradscope"]
    assert first.read_bytes() == kept
    assert "replaces an earlier one" in traced(tmp_path, "--force", "-o", "train.gradscope").stderr
    assert first.read_bytes() != kept
    assert len(traces(tmp_path)) == 3


def test_a_name_that_cannot_be_had_stops_no_rank(tmp_path: Path) -> None:
    (tmp_path / "folder.rank1.gradscope").mkdir()
    done = traced(tmp_path, "-o", "nowhere/t.gradscope", "--graph", "nowhere/g.svg")
    assert "no picture will be drawn: cannot write nowhere/g.rank1.svg: there is no folder nowhere" in done.stderr
    assert "t.rank1.gradscope (" in done.stderr
    assert "since cannot write nowhere/t.rank1.gradscope" in done.stderr
    assert "folder.rank1-2.gradscope" in traced(tmp_path, "--force", "-o", "folder.gradscope").stderr
    assert "picture" in traced(tmp_path, "--graph", "g.xyz").stderr


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs a folder in which nobody can write")
def test_where_nothing_can_be_written_the_script_runs_unrecorded(tmp_path: Path) -> None:
    script = tmp_path / "train.py"
    done = run(["-m", "gradscope", "trace", str(script)], Path("/proc/self"), RANK="0", WORLD_SIZE="2")
    assert (done.status, done.stdout) == (0, "ran\n")
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith(f"[rank0]: gradscope: {script} runs without being recorded: cannot write ")


def test_alone_a_wrong_name_stops_before_the_script(tmp_path: Path) -> None:
    done = run(["-m", "gradscope", "trace", "-o", "nowhere/t.gradscope", "train.py"], tmp_path)
    assert (done.status, done.stdout) == (2, "")


def test_check_and_graph_read_what_a_rank_left(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(LOOP)
    drawn = run(["-m", "gradscope", "graph", "train.py"], tmp_path, RANK="1", WORLD_SIZE="2")
    assert drawn.status == 0
    assert "backward" in drawn.stdout
    assert run(["-m", "gradscope", "check", "train.py"], tmp_path, RANK="1", WORLD_SIZE="2").status == 0
