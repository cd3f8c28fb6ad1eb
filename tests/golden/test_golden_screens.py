"""The terminal UI on traces of the demos, frozen as pictures. `UPDATE_GOLDEN=1 pytest tests/golden` rewrites them.

Textual and rich decide where cells go: the pictures are of the versions in constraints.txt.
"""

from __future__ import annotations

import os
import re
import shutil
from importlib.metadata import version
from pathlib import Path

import pytest

from gradscope.diagnose import judge
from gradscope.store import open_trace
from gradscope.tui.app import GradscopeApp
from gradscope.tui.cursor import Place
from gradscope.tui.screenshot import screenshot
from tests.scripts import ROOT, run

HERE = Path(__file__).parent
SCREENS = {
    "view.ab2": ("01_a_b_2", Place(0, 3), (120, 40), {}),
    "view.version": ("05_version_counter", Place(0, 4), (100, 30), {"theme": "light"}),
    "view.retain": ("06_retain_grad", Place(0, 9), (80, 24), {"ascii": True}),
}


def pinned(package: str) -> str:
    found = re.search(rf"^{package}==(\S+)", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    assert found is not None
    return found[1]


@pytest.mark.skipif(
    any(version(package) != pinned(package) for package in ("textual", "rich", "pygments")),
    reason="the pictures are of other versions of Textual, rich and Pygments",
)
@pytest.mark.parametrize("name", SCREENS)
def test_the_screen_is_as_it_was(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    demo, place, size, options = SCREENS[name]
    shutil.copy(ROOT / "demos" / f"{demo}.py", tmp_path)
    done = run(["-m", "gradscope", "trace", "-q", "--detail", "full", f"{demo}.py"], tmp_path)
    assert done.status == 0 or name == "view.version", done.stderr
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("NO_COLOR", raising=False)
    with open_trace(f"{demo}.gradscope") as trace:
        app = GradscopeApp(trace, place, findings=judge, **options)  # type: ignore[arg-type]
        drawn = screenshot(app, size)
    frozen = HERE / f"{name}.svg"
    if os.environ.get("UPDATE_GOLDEN"):
        frozen.write_text(drawn, encoding="utf-8")
    assert cells(drawn) == cells(frozen.read_text(encoding="utf-8"))


def cells(svg: str) -> list[str]:
    """A line for each run of cells, without the picture's own number, which changes with any of them."""
    return re.sub(r"terminal-\d+", "terminal", svg).replace("<text", "\n<text").replace("<rect", "\n<rect").splitlines()
