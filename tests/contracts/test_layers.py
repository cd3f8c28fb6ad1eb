"""The layers hold, and the contract that says so can fail."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def lint_imports(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    program = "import sys; from importlinter.cli import lint_imports_command; lint_imports_command()"
    return subprocess.run(
        [sys.executable, "-c", program, "--no-cache", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_the_layers_hold() -> None:
    done = lint_imports(ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "8 kept, 0 broken" in done.stdout


def test_the_contract_can_fail(tmp_path: Path) -> None:
    package = tmp_path / "house"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "model.py").write_text("def f():\n    import torch\n    return torch\n")
    (tmp_path / "rules.toml").write_text(
        '[tool.importlinter]\nroot_package = "house"\ninclude_external_packages = true\n'
        '[[tool.importlinter.contracts]]\nname = "no torch"\ntype = "forbidden"\n'
        'source_modules = ["house.model"]\nforbidden_modules = ["torch"]\n'
    )
    done = lint_imports(tmp_path, "--config", "rules.toml")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "house.model -> torch" in done.stdout
