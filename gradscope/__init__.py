"""gradscope: records what PyTorch's autograd does while a script runs, and shows it.

Importing gradscope does no work: each name below is fetched from its module when it is first used. It imports nothing
either, for the program has yet to make the module path its own: see `capture.run.module_path`.
"""

TYPE_CHECKING = False  # type checkers take it for true
if TYPE_CHECKING:
    from typing import Any

    from .api import Recording, draw, expect_clean, expect_gradients, explain, inspect, load, record, step
    from .errors import FindingsError, GradscopeError
    from .model.findings import Finding
    from .model.graph import Graph, GraphKind
    from .model.leaf import TensorRow
    from .model.trace import Step, Trace
    from .options import CaptureOptions
    from .render.diagram import Diagram
    from .version import __version__

_HOMES = {
    "CaptureOptions": "options",
    "Diagram": "render.diagram",
    "Finding": "model.findings",
    "FindingsError": "errors",
    "GradscopeError": "errors",
    "Graph": "model.graph",
    "GraphKind": "model.graph",
    "Recording": "api",
    "Step": "model.trace",
    "TensorRow": "model.leaf",
    "Trace": "model.trace",
    "__version__": "version",
    "draw": "api",
    "expect_clean": "api",
    "expect_gradients": "api",
    "explain": "api",
    "inspect": "api",
    "load": "api",
    "record": "api",
    "step": "api",
}

__all__ = [
    "CaptureOptions",
    "Diagram",
    "Finding",
    "FindingsError",
    "GradscopeError",
    "Graph",
    "GraphKind",
    "Recording",
    "Step",
    "TensorRow",
    "Trace",
    "__version__",
    "draw",
    "expect_clean",
    "expect_gradients",
    "explain",
    "inspect",
    "load",
    "record",
    "step",
]


def __getattr__(name: str) -> "Any":
    import importlib

    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> "list[str]":
    return sorted({*globals(), *__all__})


def load_ipython_extension(ipython: "Any") -> None:
    """`%load_ext gradscope`: adds the `%%gradscope` cell magic and the display of steps."""
    import importlib

    importlib.import_module(f"{__name__}.notebook").load_ipython_extension(ipython)


def unload_ipython_extension(ipython: "Any") -> None:
    """`%unload_ext gradscope`: takes them away again."""
    import importlib

    importlib.import_module(f"{__name__}.notebook").unload_ipython_extension(ipython)
