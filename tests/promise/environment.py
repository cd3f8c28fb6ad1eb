"""The environment of the frameworks' runs: `python -m tests.promise.environment` makes it, or brings it up to date.

A virtual environment beside the tests' own, with pinned releases and torch's CPU build, and gradscope itself as it is
in this checkout.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
FOLDER = Path(os.environ.get("GRADSCOPE_FRAMEWORKS", ROOT / ".venv-frameworks"))
PYTHON = FOLDER / "bin" / "python"
REQUIREMENTS = HERE / "frameworks" / "requirements.txt"
OFFLINE = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false", "MPLBACKEND": "agg"}


def is_ready() -> bool:
    stamp = FOLDER / "made-of"
    return stamp.is_file() and stamp.read_text() == _digest()


def make() -> None:
    if is_ready():
        return
    subprocess.run([sys.executable, "-m", "venv", "--clear", FOLDER], check=True)
    pip = [
        str(PYTHON),
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "-c",
        str(ROOT / "constraints.txt"),
    ]
    subprocess.run([*pip, "-r", str(REQUIREMENTS), "-e", str(ROOT)], check=True)
    (FOLDER / "made-of").write_text(_digest())


def _digest() -> str:
    texts = [path.read_bytes() for path in (REQUIREMENTS, ROOT / "constraints.txt")]
    return hashlib.sha256(b"".join(texts)).hexdigest()


if __name__ == "__main__":
    make()
    print(PYTHON)
