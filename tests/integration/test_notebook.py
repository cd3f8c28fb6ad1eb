"""In a real kernel: what a cell shows, as it is saved in the notebook's file."""

from __future__ import annotations

import os
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import nbformat
import pytest

SETUP = """\
import torch
import gradscope
A = torch.tensor([10.0], requires_grad=True)
B = torch.tensor([20.0], requires_grad=True)
F = A * B
G = F * 2"""


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Runs cells in a fresh kernel and returns each cell's outputs, read back from the saved file."""
    from nbclient import NotebookClient

    for name in ("HOME", "IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR"):
        monkeypatch.setenv(name, str(tmp_path / name.lower()))
    monkeypatch.setenv(
        "PYTHONPATH", os.pathsep.join([str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")])
    )

    def run_cells(*cells: str, allow_errors: bool = False) -> list[list[Any]]:
        notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
        client = NotebookClient(
            notebook,
            timeout=120,
            kernel_name="python3",
            allow_errors=allow_errors,
            resources={"metadata": {"path": str(tmp_path)}},
        )
        client.execute()
        saved = tmp_path / "saved.ipynb"
        nbformat.write(notebook, saved)
        return [cell.outputs for cell in nbformat.read(saved, as_version=4).cells]

    return run_cells


def shown(outputs: list[Any]) -> dict[str, str]:
    """The one rich output of a cell."""
    (data,) = (output["data"] for output in outputs if output["output_type"] in ("execute_result", "display_data"))
    return dict(data)


def printed(outputs: list[Any]) -> str:
    return "".join(
        output["text"] for output in outputs if output["output_type"] == "stream" and output["name"] == "stdout"
    )


def check_picture(data: dict[str, str]) -> str:
    """The SVG is one element, scales down to the cell and keeps its proportions; returns its text."""
    root = ET.fromstring(data["image/svg+xml"])
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert root.get("viewBox")
    rules = root.findtext("{http://www.w3.org/2000/svg}style") or ""
    own = [f".{name}{{max-width:100%;height:auto}}" for name in root.get("class", "").split()]
    assert any(rule in rules for rule in own)
    return " ".join("".join(root.itertext()).split())


def test_a_tensors_graph_is_a_cells_result(run: Any) -> None:
    data = shown(run(SETUP, "gradscope.draw(G)")[1])
    picture = check_picture(data)
    for name in ("A", "B", "F", "G", "MulBackward0", "AccumulateGrad"):
        assert name in picture
    assert "MulBackward0" in data["text/plain"]
    assert "object at 0x" not in data["text/plain"]


def test_a_trace_is_a_cells_result(run: Any) -> None:
    outputs = run(SETUP, "with gradscope.record() as trace:\n    F = A * B\n    G = F * 2\n    G.backward()", "trace")
    data = shown(outputs[2])
    picture = check_picture(data)
    assert "MulBackward0" in picture
    assert "40" in picture, "A's gradient"
    assert "MulBackward0" in data["text/plain"]


def test_a_loaded_trace_and_a_step_are_cell_results(run: Any) -> None:
    outputs = run(
        SETUP,
        "%load_ext gradscope",
        "with gradscope.record() as trace:\n    F = A * B\n    G = F * 2\n    G.backward()\ntrace.save('x.gradscope')",
        "loaded = gradscope.load('x.gradscope')\nloaded",
        "loaded.last_backward()",
    )
    check_picture(shown(outputs[3]))
    check_picture(shown(outputs[4]))


def test_a_row_of_the_leaf_table(run: Any) -> None:
    data = shown(run(SETUP, "gradscope.inspect(F)")[1])
    assert "case 2 of 4" in data["text/plain"]
    assert "<td>MulBackward0</td>" in data["text/html"]


def test_the_cell_magic_records_the_cell(run: Any) -> None:
    outputs = run(
        SETUP,
        "%load_ext gradscope",
        "%%gradscope mine --kind backward\nF = A * B\nG = F * 2\nG.backward()\nprint('A.grad', A.grad.item())",
        "print(type(mine).__name__, A.grad.item(), G.item())",
    )
    text = printed(outputs[2])
    assert "A.grad 40.0" in text
    assert "backward" in text
    assert "MulBackward0" in check_picture(shown(outputs[2]))
    assert printed(outputs[3]) == "Recording 40.0 400.0\n", "the cell ran in the notebook's own namespace"


def test_the_cell_magic_keeps_what_came_before_an_exception(run: Any) -> None:
    outputs = run(
        SETUP, "%load_ext gradscope", "%%gradscope\nG.backward()\nraise ValueError('mine')", allow_errors=True
    )
    kinds = [output["output_type"] for output in outputs[2]]
    assert "error" in kinds
    assert "MulBackward0" in check_picture(shown(outputs[2]))


def test_the_cell_magic_says_how_a_failed_cell_ended(run: Any) -> None:
    cells = [
        "%load_ext gradscope",
        f"%%gradscope run\n{SETUP}\nG.backward()\n1 / 0",
        "import traceback, sys\nprint(run.info.status, run.info.error)\n"
        "print([frame.name for frame in traceback.extract_tb(sys.last_traceback)][-1])",
        "%%gradscope late\nthis is no Python",
        "print(late.info.status, late.info.error)",
        "%%gradscope fine\nx = 1",
        "print(fine.info.status)",
    ]
    outputs = run(*cells, allow_errors=True)
    assert any(output["output_type"] == "error" and output["ename"] == "ZeroDivisionError" for output in outputs[1])
    assert "failed with ZeroDivisionError: division by zero" in printed(outputs[1])
    assert "ran to its end" not in printed(outputs[1])
    assert printed(outputs[2]) == "failed ZeroDivisionError: division by zero\n<module>\n"
    assert printed(outputs[4]).startswith("failed SyntaxError")
    assert printed(outputs[6]) == "done\n"


def test_a_wrong_option_is_one_clear_line(run: Any) -> None:
    outputs = run("%load_ext gradscope", "%%gradscope --detial full\n1", "%%gradscope --help\n1", allow_errors=True)
    (error,) = (output for output in outputs[1] if output["output_type"] == "error")
    assert error["ename"] == "UsageError"
    assert "--detial" in error["evalue"]
    assert "--detail LEVEL" in printed(outputs[2])
