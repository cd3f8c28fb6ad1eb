from pathlib import Path

import pytest

from tests.judging import Judging
from tests.scripts import ScriptServer


@pytest.fixture
def judging(server: ScriptServer, tmp_path: Path) -> Judging:
    """Call it with a script's text: it is traced and judged in a folder of its own."""
    return Judging(server, tmp_path)
