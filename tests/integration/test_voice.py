"""A script that closes or replaces stderr ends as under python, and what gradscope says goes where stderr was."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.scripts import run

SCRIPTS = {
    "closes fd 2": "import os; os.close(2)",
    "closes fd 1": "import os; os.close(1)",
    "closes both, and prints": "import os; os.close(1); os.close(2); print('lost')",
    "closes sys.stderr": "import sys; sys.stderr.close()",
    "has no sys.stderr": "import sys; sys.stderr = None",
    "a file takes the number": "import os; os.close(2); f = open('log', 'w'); f.write(str(f.fileno())); f.flush()",
    "a file is put in its place": "import os; f = open('log', 'w'); os.dup2(f.fileno(), 2); os.write(2, b'mine')",
    "sys.stderr becomes a file": "import sys; sys.stderr = open('log', 'w'); print('mine', file=sys.stderr)",
    "sys.stderr fails": "import sys; sys.stderr = open('/dev/full', 'w'); print('mine', file=sys.stderr)",
    "closes fd 2 and fails": "import os; os.close(2); 1 / 0",
    "leaves with a status": "import os, sys; os.close(2); sys.exit(7)",
}


@pytest.mark.parametrize("script", SCRIPTS.values(), ids=SCRIPTS)
def test_the_status_is_the_scripts_and_no_word_is_lost(script: str, tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(script)
    log = tmp_path / "log"
    plain = run(["script.py"], tmp_path)
    expected = log.read_text() if log.exists() else None
    traced = run(["-m", "gradscope", "trace", "script.py"], tmp_path)
    assert (traced.status, traced.stdout) == (plain.status, plain.stdout)
    assert (log.read_text() if log.exists() else None) == expected
    assert plain.stderr in traced.stderr
    assert "gradscope: script.py " in traced.stderr
    quiet = run(["-m", "gradscope", "trace", "-q", "script.py"], tmp_path)
    assert (quiet.status, quiet.stdout, quiet.stderr) == (plain.status, plain.stdout, plain.stderr)


def test_a_daemon_lets_go_of_stderr(tmp_path: Path) -> None:
    """Whoever waits for the end of its output waits no longer than without gradscope."""
    (tmp_path / "daemon.py").write_text(
        "import os, time\n"
        "if os.fork(): os._exit(0)\n"
        "for number in (0, 1, 2): os.close(number)\n"
        "while not os.path.exists('seen'): time.sleep(0.05)\n"
    )
    try:
        assert run(["-m", "gradscope", "trace", "daemon.py"], tmp_path).status == 0
    finally:
        (tmp_path / "seen").touch()


def test_a_complaint_that_cannot_be_written_costs_no_status(tmp_path: Path) -> None:
    code = (
        "import os, sys\nos.dup2(os.open('/dev/full', os.O_WRONLY), 2)\n"
        "from gradscope.cli.main import main\nsys.exit(main(['info', 'missing.gradscope']))\n"
    )
    assert run(["-c", code], tmp_path).status == 2
