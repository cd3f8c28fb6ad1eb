"""One training program under options of `python`, variables, streams, places, names, and tools that trace."""

from __future__ import annotations

import io
import os
import sys
import zipfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from .comparing import CHILDREN, COUNTERS
from .program import Program
from .running import QUIET, Outcome
from .snippets import snippets

KIND = "settings"
TRAIN = snippets("common")["train"]
HERE = Path(__file__).parent


def programs() -> Iterator[Program]:
    for found in (_options, _variables, _streams, _places, _names, _tools, _tests, _others):
        yield from found()


def _one(name: str, source: str = TRAIN, **more: Any) -> Program:
    target = more.pop("target", ("train.py",))
    return Program(KIND, name, {"train.py": source, **more.pop("files", {})}, target, **more)


def _options() -> Iterator[Program]:
    lines = (
        "-W error", "-W always", "-O", "-OO", "-u", "-B", "-E", "-s", "-I", "-bb",
        "-X dev", "-X faulthandler", "-X utf8=0", "-X tracemalloc=2",
    )  # fmt: skip
    for words in (*lines, "-P") if sys.version_info >= (3, 11) else lines:
        yield _one(f"python {words}", python=tuple(words.split()))
    yield _one("python -X importtime", python=("-X", "importtime"), judge=_but_import_times)


def _but_import_times(plain: Outcome, traced: Outcome) -> list[str]:
    """Each import is told with its time, ours too; all other words on stderr are compared, and the output."""
    one, two = (
        [line for line in outcome.stderr.splitlines() if not line.startswith("import time:")]
        for outcome in (plain, traced)
    )
    two = [line for line in two if not line.startswith(("gradscope: ", "  "))]
    same = (plain.status, plain.stdout, one) == (traced.status, traced.stdout, two)
    return [] if same else [f"{plain.status} {one} became {traced.status} {two}"]


def _variables() -> Iterator[Program]:
    settings = (
        "PYTHONUNBUFFERED=1", "PYTHONHASHSEED=42", "PYTHONWARNINGS=error", "PYTHONWARNINGS=default", "PYTHONOPTIMIZE=2",
        "PYTHONFAULTHANDLER=1", "PYTHONDEVMODE=1", "PYTHONSAFEPATH=1", "PYTHONBREAKPOINT=0",
        "PYTHONIOENCODING=latin-1:replace", "LC_ALL=C", "LC_ALL=POSIX", "LANG=de_DE.ISO-8859-1", "COLUMNS=0",
        "COLUMNS=12", "TERM=dumb", "NO_COLOR=1", "FORCE_COLOR=1", "TORCH_SHOW_CPP_STACKTRACES=1",
        "ATEN_CPU_CAPABILITY=default",
    )  # fmt: skip
    for setting in settings:
        name, _, value = setting.partition("=")
        yield _one(setting, TRAIN + "    breakpoint\n", environment={name: value})
    latin = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    yield _one("no UTF-8 anywhere", TRAIN + "    print('\\xfc', sys.stdout.encoding)\n", environment=latin)


def _streams() -> Iterator[Program]:
    other: dict[str, dict[str, Any]] = {
        "stdin closed": {"stdin": None},
        "stdin read": {"stdin": b"one\ntwo\nthree"},
        "both streams in one file": {"prepare": partial(os.dup2, 1, 2), "hows": (QUIET,)},
        "| head -1": {"wrapper": ("sh", "-c", '"$@" | head -1', "sh"), "trace_kept": False},
    }
    for name, source in snippets("streams").items():
        if name == "terminal":
            for size in ("24 80", "5 20", "0 0"):
                terminal = (sys.executable, "-I", str(HERE / "terminal.py"), *size.split())
                yield _one(f"a terminal of {size}", source, wrapper=terminal, hows=(QUIET,))
        elif "STREAM" in name or "NUMBER" in name:
            for number, stream in ((1, "stdout"), (2, "stderr")):
                name_, source_ = (t.replace("NUMBER", str(number)).replace("STREAM", stream) for t in (name, source))
                closed = partial(os.close, number) if name.endswith("from the start") else None
                yield _one(name_, source_, prepare=closed)
        else:
            yield _one(name, source, **other.get(name, {}))


def _places() -> Iterator[Program]:
    files = {
        "package/__init__.py": "print('package', __name__)\n",
        "package/__main__.py": "from . import train\nfrom .train import main\nmain()\n",
        "package/train.py": TRAIN.replace("import sys\n", "import sys\nfrom .inner import deep\n", 1),
        "package/inner/__init__.py": "from .. import __name__ as above\n",
        "package/inner/deep.py": "print(__name__, __spec__.parent)\n",
        "namespace/train.py": TRAIN,
        "folder/__main__.py": TRAIN,
        "space/in it/tr ä in.py": TRAIN,
        "app.pyz": _archive(),
        "latin.py": ("# coding: latin-1\nprint(ascii('\xe9'))\n" + TRAIN).encode("latin-1"),
    }
    calls = (
        "-m package", "-m package.train a -b", "-m train", "-m namespace.train", "-m package.nothing",
        "./train.py x", "package/../train.py", "folder", "folder/ a", "app.pyz a", "latin.py", "links/link.py",
    )  # fmt: skip
    for call in calls:
        yield _one(f"python {call}", target=tuple(call.split()), files=files, before=_link)
    yield _one("a path with spaces and umlauts", target=("space/in it/tr ä in.py", "a b", ""), files=files)
    for name, source in snippets("places").items():
        yield _one(name, source)


def _archive() -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as file:
        for name, text in (("__main__.py", "from helper import number\n" + TRAIN), ("helper.py", "number = 5\n")):
            file.writestr(zipfile.ZipInfo(name), text)
    return b"#!/usr/bin/env python3\n" + data.getvalue()


def _link(folder: Path, traces: Path) -> None:
    (folder / "links").mkdir()
    (folder / "links" / "link.py").symlink_to("../train.py")


def _names() -> Iterator[Program]:
    """Files that bear the names of modules that gradscope needs: the script's own, and never run by us."""
    ours = ("rich", "executing", "graphviz", "textual", "sqlite3", "gradscope", "asttokens")
    failing = snippets("names")["failing"]
    for module in ours:
        yield _one(f"a script called {module}.py", target=(f"{module}.py",), files={f"{module}.py": failing})
    for module in (*ours, "typing_extensions", "numpy", "sympy", "json"):
        neighbour = {f"{module}.py": "print('executed', __name__)\n"}
        yield _one(f"a neighbour called {module}.py", failing, files=neighbour)


def _tools() -> Iterator[Program]:
    tools = snippets("tools")
    for kind in ("trace", "profile"):
        yield _one(f"sys.set{kind}", tools["tracing"].replace("IT", kind))
    yield _one("a debugger of bdb", tools["a debugger of bdb"])
    quiet = {"PYDEVD_DISABLE_FILE_VALIDATION": "1"}
    by_chance = frozenset({CHILDREN, COUNTERS})
    yield _one("debugpy listens", tools["debugpy listens"], environment=quiet, aside=by_chance)
    yield _one("coverage's API", tools["coverage's API"], files={"helper.py": TRAIN})
    for name in ("runpy", "exec and eval"):
        yield _one(name, tools[name], files={"inner.py": TRAIN})
    steps = b"b train.py:10\nc\np step\nn\nn\np loss.item()\nw\ntbreak 13\nc\nu\np step\nd\nc\nq\n"
    yield _one("python -m pdb", target=("-m", "pdb", "train.py"), stdin=steps)
    yield _one("coverage run", target=("-m", "coverage", "run", "--data-file=../coverage", "train.py"))
    launcher = (str(Path(sys.executable).parent / "torchrun"), "--nproc-per-node=2", "--standalone", "--no-python")
    yield _one("two ranks by torchrun", tools["two ranks by torchrun"], wrapper=launcher, hows=(QUIET,))


def _tests() -> Iterator[Program]:
    for tool, options in (("unittest", "-v test_it"), ("pytest", "-q -p no:cacheprovider -p no:gradscope test_it.py")):
        files = {"test_it.py": snippets("tools")[f"test_it.py of {tool}"]}
        yield _one(f"python -m {tool}", target=("-m", tool, *options.split()), files=files)


def _others() -> Iterator[Program]:
    collector, deep = snippets("collector"), snippets("depths")["how deep calls go"]
    for call in ("disable()", "set_threshold(1, 1, 1)", "freeze()", "set_debug(gc.DEBUG_UNCOLLECTABLE)"):
        yield _one(f"gc.{call}", collector["gc.CALL"].replace("CALL", call))
    yield _one("gc.callbacks", collector["gc.callbacks"])
    usual = deep.replace("LIMIT\n", "").replace("LOW, HIGH", "100, 1000")
    yield _one("how deep calls go", usual)
    low = deep.replace("LIMIT", "sys.setrecursionlimit(400)").replace("LOW, HIGH", "20, 400")
    yield _one("how deep calls go with a limit of 400", low)
