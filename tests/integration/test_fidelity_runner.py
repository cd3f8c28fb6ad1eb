"""A traced script sees, prints and ends exactly as under `python`: small scripts, each run both ways."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

import gradscope
from tests.scripts import Ran, environment, run, started


@pytest.fixture(autouse=True)
def files(tmp_path: Path) -> None:
    """A package, a module, a folder and an archive with a `__main__`, a script behind a link."""
    for name, text in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with zipfile.ZipFile(tmp_path / "archive.zip", "w") as archive:
        archive.write(tmp_path / "folder" / "__main__.py", "__main__.py")
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / "link.py").symlink_to(tmp_path / "facts.py")


FACTS = """\
'''the script's docstring'''
import sys
print({name: value for name, value in globals().items() if name != 'sys'})
print(sys.argv, sys.path[0], sys.modules['__main__'] is sys.modules[__name__], sys.orig_argv[1:])
import atexit
atexit.register(lambda: print(list(globals())))
"""
RECURSION = """\
import sys
print(sys.getrecursionlimit())
def down(n):
    global deepest
    deepest = n
    down(n + 1)
try: down(1)
except RecursionError: print(deepest)
import traceback, inspect, warnings
traceback.print_stack()
print([info.function for info in inspect.stack()], inspect.currentframe().f_lineno)
def warn(): warnings.warn('from the caller', stacklevel=2)
for limit in (300, 3000, 2**31 - 1, 1000):
    sys.setrecursionlimit(limit)
    print(sys.getrecursionlimit())
    if limit > 3000: continue
    try: down(1)
    except RecursionError: print(deepest)
for wrong in (0, -1, 'x', 2**40):
    try: sys.setrecursionlimit(wrong)
    except Exception as error: print(type(error), error)
for level in range(5): warnings.warn('here', stacklevel=level)
for i in range(2): warn()
down(1)
"""
CHAINED = """\
class Mine(Exception): pass
def fail():
    try: 1 / 0
    except ZeroDivisionError as error: raise Mine('x') from error
try: fail()
except Mine as error:
    if hasattr(error, 'add_note'): error.add_note('a note')
    raise KeyError('last')
"""
GROUP = "raise ExceptionGroup('several', [ValueError(1), ExceptionGroup('more', [TypeError(2)])])\n"
AT_EXIT = """\
import atexit, threading, time
atexit.register(lambda: print('at exit', '__file__' in globals()))
threading.Thread(target=lambda: (time.sleep(0.2), print('thread'))).start()
print('end')
"""
THREADS = """\
import sys, threading
for work in (lambda: sys.exit(5), lambda: 1 / 0):
    thread = threading.Thread(target=work, name='worker')
    thread.start()
    thread.join()
print('on')
"""
PICKLES = """\
import copy, io, multiprocessing, pickle
class Mine:
    def __init__(self): self.x = 1
def work(x): return x * 2, __name__, __file__.endswith('pickles.py')
if __name__ == '__main__':
    print(pickle.loads(pickle.dumps(Mine())).x, Mine.__module__)
    for how in ('spawn', 'fork', 'forkserver'):
        with multiprocessing.get_context(how).Pool(1) as pool: print(pool.map(work, [1, 2]))
"""
FORK = """\
import os, sys
if os.fork() == 0:
    print('child')
    sys.exit(4)
print(os.waitstatus_to_exitcode(os.wait()[1]))
"""

FILES: dict[str, str | bytes] = {
    "facts.py": FACTS,
    "folder/__main__.py": FACTS,
    "raising/__main__.py": "raise ValueError(5)\n",
    "package/__init__.py": "",
    "package/__main__.py": "from . import inner\nraise ValueError(__name__)\n",
    "package/inner.py": "import sys\nprint(__name__, __spec__.name, __package__, sys.argv, sys.path[0])\n",
    "recursion.py": RECURSION,
    "chained.py": CHAINED,
    "group.py": GROUP,
    "at_exit.py": AT_EXIT,
    "threads.py": THREADS,
    "pickles.py": PICKLES,
    "fork.py": FORK,
    "empty.py": "",
    "imports.py": "import neighbour\n",
    "neighbour.py": "print(__file__)\nraise ImportError('from the neighbour')\n",
    "missing_import.py": "import nothing_of_that_name\n",
    "annotations.py": "x: int = 1\nprint(__annotations__ if '__annotations__' in globals() else None)\n",
    "future.py": "def f(x: undefined): pass\n",
    "input.py": "import sys\nprint(input(), sys.stdin.read())\n",
    "hook.py": "import sys\nsys.excepthook = lambda *a: print('mine', a[0], a[2].tb_lineno, a[2].tb_next)\n1 / 0\n",
    "hook_raises.py": "import sys\ndef hook(*a): raise ValueError('hook')\nsys.excepthook = hook\n1 / 0\n",
    "hook_exits.py": "import sys\nsys.excepthook = lambda *a: sys.exit(7)\n1 / 0\n",
    "hook_gone.py": "import sys\ndel sys.excepthook\n1 / 0\n",
    "last.py": "import atexit, sys\natexit.register(lambda: print(sys.last_value, sys.last_traceback))\n1 / 0\n",
    "os_exit.py": "import os\nprint('x', flush=True)\nos._exit(9)\n",
    "both.py": "import sys\nsys.stdout.write('out')\nsys.stderr.write('err')\nprint()\n1 / 0\n",
    "no_stderr.py": "import sys\nsys.stderr = None\n1 / 0\n",
    "interrupt.py": "import atexit\natexit.register(print, 'at exit')\nprint('x')\nraise KeyboardInterrupt\n",
    "indent.py": "x = 1\n  y = 2\n",
    "syntax.py": "def f(:\n  pass\n",
    "return.py": "x = 1\nreturn 5\n",
    "latin.py": b"# coding: latin-1\nprint(ascii('\xe9'))\n",
    "bom.py": b"\xef\xbb\xbfprint(1)\n",
    "crlf.py": b"print(1)\r\nif 1:\r\n    1 / 0\r\n",
    "no_cookie.py": b"x = 1\ny = '\xe9'\n",
    "wrong_cookie.py": b"# coding: ascii\ny = '\xe9'\n",
    "unknown_cookie.py": b"# coding: nonsense\n",
    "warn.py": "import warnings\nwarnings.warn('dep', DeprecationWarning)\nimport neighbour_warns\n",
    "neighbour_warns.py": "import warnings\nwarnings.warn('dep', DeprecationWarning)\n",
}
EXITS = ("None", "0", "3", "-1", "256", "300", "True", "'msg'", "''", "(1, 2)", "10**30", "2**40 + 3", "1.5")
for number, code in enumerate(EXITS):
    FILES[f"exit_{number}.py"] = f"import sys\nprint('out')\nsys.exit({code})\n"

CALLS = [
    *([name] for name in FILES if "/" not in name and not name.startswith("neighbour")),
    ["facts.py", "a", "-o", "--", "--force"],
    ["./facts.py"],
    ["folder/../facts.py"],
    ["links/link.py"],
    ["folder"],
    ["folder/", "a"],
    ["./folder"],
    ["raising"],
    ["archive.zip"],
    ["-m", "facts", "a", "-x"],
    ["-m", "chained"],
    ["-m", "recursion"],
    ["-m", "package", "a"],
    ["-m", "package.inner", "--quiet"],
    ["-m", "package.nothing"],
    ["-m", "interrupt"],
    ["-m", "syntax"],
]


def same(ran: Ran) -> Ran:
    """Without what differs between any two processes."""
    clean = [re.sub(r"0x[0-9a-f]+", "0x", re.sub(r"Thread-\d+", "Thread", text)) for text in (ran.stdout, ran.stderr)]
    return Ran(ran.status, *clean)


def trace(folder: Path) -> list[str]:
    return ["-m", "gradscope", "trace", "--quiet", "--force", "-o", str(folder / "it.gradscope")]


@pytest.mark.parametrize("call", CALLS, ids=" ".join)
def test_a_script_is_run_as_python_runs_it(call: list[str], tmp_path: Path) -> None:
    if call == ["group.py"] and sys.version_info < (3, 11):
        pytest.skip("exception groups came with Python 3.11")
    plain = run(call, tmp_path, stdin="line\nrest\n")
    traced = run([*trace(tmp_path), *call], tmp_path, stdin="line\nrest\n")
    if call == [f"exit_{EXITS.index('10**30')}.py"] and sys.version_info >= (3, 12):
        plain = replace(plain, stderr="")  # the interpreter stumbles over its own OverflowError
    assert same(traced) == same(plain)
    assert (tmp_path / "it.gradscope").is_file()


@pytest.mark.parametrize("name", ["both.py", "chained.py", "exit_7.py", "threads.py"])
def test_both_streams_in_one_pipe_have_the_same_order(name: str, tmp_path: Path) -> None:
    texts = []
    for command in ([name], [*trace(tmp_path), name]):
        done = subprocess.run(
            [sys.executable, *command],
            cwd=tmp_path,
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=60,
            check=False,
        )
        texts.append(re.sub(r"0x[0-9a-f]+", "0x", done.stdout))
    assert texts[0] == texts[1]


@pytest.mark.parametrize("variable", [{"PYTHONWARNINGS": "error"}, {"PYTHONSAFEPATH": "1"}, {"PYTHONOPTIMIZE": "1"}])
@pytest.mark.parametrize("name", ["warn.py", "facts.py"])
def test_pythons_own_settings_work(variable: dict[str, str], name: str, tmp_path: Path) -> None:
    plain = run([name], tmp_path, **variable)
    assert same(run([*trace(tmp_path), name], tmp_path, **variable)) == same(plain)


def test_a_compiled_script(tmp_path: Path) -> None:
    import py_compile

    py_compile.compile(str(tmp_path / "chained.py"), str(tmp_path / "compiled.pyc"))
    assert run([*trace(tmp_path), "compiled.pyc"], tmp_path) == run(["compiled.pyc"], tmp_path)


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
def test_ctrl_c_ends_it_by_the_signal(tmp_path: Path) -> None:
    script = tmp_path / "sleep.py"
    script.write_text("import time\nprint('ready', flush=True)\ntry: time.sleep(30)\nfinally: print('finally')\n")
    results = []
    for command in (["sleep.py"], [*trace(tmp_path), "sleep.py"]):
        with started(command, tmp_path) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            time.sleep(0.3)  # until it sleeps
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=30)
            results.append((process.returncode, out, re.sub(r"line [23], .*\n.*\n", "", err)))
    assert results[0][0] == -signal.SIGINT
    assert results[0] == results[1]


@pytest.mark.parametrize("text", ["print('x' * 100000)\n", "print('x')\n"])
def test_a_broken_pipe_is_the_scripts_own(text: str, tmp_path: Path) -> None:
    (tmp_path / "prints.py").write_text("import time\ntime.sleep(0.2)\n" + text)
    results = []
    for command in (["prints.py"], [*trace(tmp_path), "prints.py"]):
        with started(command, tmp_path) as process:
            assert process.stdout is not None
            assert process.stderr is not None
            process.stdout.close()
            results.append((process.stderr.read(), process.wait(30)))
    assert results[0] == results[1]
    assert "Broken pipe" in results[0][0]


TORCH = """\
import sys, os, warnings
print([name for name in sys.modules if name.startswith('torch')][:3])
warnings.filterwarnings('error')
os.environ['OMP_NUM_THREADS'] = '1'
import torch
print(torch.__spec__.loader.__dict__.keys(), torch.get_num_threads(), len(sys.meta_path))
class Mine: pass
import io
buffer = io.BytesIO()
torch.save(Mine(), buffer)
buffer.seek(0)
print(type(torch.load(buffer, weights_only=False)) is Mine)
from torch.utils.data import DataLoader, TensorDataset
if __name__ == '__main__':
    data = TensorDataset(torch.arange(4.0))
    for context in ('fork', 'spawn'):
        print([len(batch[0]) for batch in DataLoader(data, 2, num_workers=1, multiprocessing_context=context)])
    x = torch.ones(2, requires_grad=True)
    (x * torch.rand(2)).sum().backward()
    print(x.grad, torch.initial_seed())
    x.view(7)
"""


def test_torch_is_imported_when_the_script_imports_it(tmp_path: Path) -> None:
    source = TORCH.replace("print(x.grad", "torch.manual_seed(0)\n    print(torch.rand(1)").replace(
        "torch.initial_seed()", "1"
    )
    (tmp_path / "torch_script.py").write_text(source)
    plain = run(["torch_script.py"], tmp_path, OMP_NUM_THREADS="2")
    traced = run([*trace(tmp_path), "torch_script.py"], tmp_path, OMP_NUM_THREADS="2")
    assert plain.status == 1, plain
    assert "invalid for input of size 2" in plain.stderr
    assert traced == plain


RECORDS = """\
import gradscope
with gradscope.record(detail='graph') as trace:
    import torch
    layer = torch.nn.Linear(2, 1)
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)
    for _ in range(2):
        with gradscope.record() as inmost:
            optimizer.zero_grad()
            layer(torch.ones(1, 2)).sum().backward()
        optimizer.step()
        gradscope.step()
for seen in (trace, inmost):
    for step in map(seen.step, seen.steps):
        print([(m.kind, seen.source_lines(m.stack)[0].line) for m in step.moments])
print(gradscope.draw(trace, kind='backward'))
print(gradscope.inspect(layer.weight))
trace.save('inner.gradscope')
"""


def test_a_script_that_records_itself(tmp_path: Path) -> None:
    (tmp_path / "records.py").write_text(RECORDS)
    plain = run(["records.py"], tmp_path)
    assert plain.status == 0, plain.stderr
    assert run([*trace(tmp_path), "records.py"], tmp_path) == plain
    with gradscope.load(tmp_path / "it.gradscope") as outer, gradscope.load(tmp_path / "inner.gradscope") as inner:
        assert outer.info.faults == inner.info.faults == ()
        assert outer.info.detail is not inner.info.detail
        assert len(outer.steps) == len(inner.steps) == 2
        assert outer.last_backward() is not None


DEEP = """\
import sys, torch
def down(n):
    global deepest
    deepest = n
    down(n + 1)
def reached():
    try: down(1)
    except RecursionError: return deepest
class Nest(torch.nn.Module):
    def __init__(self, inner):
        super().__init__()
        object.__setattr__(self, 'inner', inner)
        self.w = torch.nn.Parameter(torch.ones(1))
    def forward(self, x):
        return x * self.w if self.inner is None else self.inner(x) * self.w
class Asks(torch.nn.Module):
    def forward(self, x):
        print(sys.getrecursionlimit())
        sys.setrecursionlimit(sys.getrecursionlimit() + 50)
        return x
def nest(depths):
    model = None
    for depth in range(1, depths[-1] + 1):
        model = Nest(model)
        if depth < depths[0]: continue
        try: model(torch.ones(1)).sum().backward()
        except RecursionError: break
        deepest = depth
    return deepest
print(reached(), reached(), sys.getrecursionlimit())
sys.setrecursionlimit(600)
print(reached())
Asks()(torch.ones(1))
print(reached(), sys.getrecursionlimit())
print('nest', nest(range(150, 180)))
"""


def test_modules_nest_as_deep_as_without_recording(tmp_path: Path) -> None:
    """The limit that the script sees is the same to the frame; a nest of modules is, to one module."""
    (tmp_path / "deep.py").write_text(DEEP)
    plain, traced = run(["deep.py"], tmp_path), run([*trace(tmp_path), "deep.py"], tmp_path)
    (limits, _, nest), (traced_limits, _, traced_nest) = (ran.stdout.partition("nest") for ran in (plain, traced))
    assert plain.status == traced.status == 0, traced.stderr
    assert traced_limits == limits
    assert abs(int(traced_nest) - int(nest)) <= 1


NAMES = """\
import torch, warnings
first = torch.nn.Linear(2, 2)
handles = [first.register_forward_pre_hook(lambda *a: None), first.register_forward_hook(lambda *a: None)]
optimizer = torch.optim.Adam(first.parameters())  # imports a good part of torch, which takes names meanwhile
for _ in range(2):
    first(torch.ones(1, 2)).sum().backward()
    optimizer.step()
handles.append(torch.ones(1, requires_grad=True).register_hook(lambda g: g))
print([handle.id for handle in handles], torch.utils.hooks.RemovableHandle.next_id)
def f(x):
    if bool(x.sum() > 100): return x
    y = torch.nn.functional.relu(x)
    return torch.abs(y * 2)
print(torch.jit.trace(f, torch.ones(1, 2)).graph)
print(torch.jit.trace(torch.nn.Sequential(torch.nn.Linear(2, 2)), torch.ones(1, 2)).inlined_graph)
import logging, sys, torch.profiler
logging.basicConfig(format='%(filename)s:%(lineno)d %(message)s', stream=sys.stdout)
class Says(torch.nn.Module):
    def forward(self, x):
        for level in range(1, 5):
            logging.warning('here', stacklevel=level)
            warnings.warn('here', stacklevel=level)
        torch.profiler.profiler.warn('by a name of its own', stacklevel=4)
        return x
Says()(torch.ones(1))
"""


def test_numbers_of_hooks_places_and_names_are_the_scripts(tmp_path: Path) -> None:
    (tmp_path / "names.py").write_text(NAMES)
    plain = run(["names.py"], tmp_path)
    assert plain.status == 0, plain.stderr
    assert run([*trace(tmp_path), "names.py"], tmp_path) == plain


AT_THE_END = """\
import atexit, random, sys, torch
w = torch.ones(2, requires_grad=True)
(w * 2).sum().backward()
random.seed(3)
def tell():
    print(random.random(), '__file__' in globals(), sys.excepthook is sys.__excepthook__, sys.getrecursionlimit())
atexit.register(tell)
%s
"""


@pytest.mark.parametrize(
    "end", ["", "sys.exit(3)", "raise KeyboardInterrupt", "1 / 0", "w.exp().add_(1).mul(w).backward()"]
)
def test_what_runs_at_exit_sees_what_it_would(end: str, tmp_path: Path) -> None:
    """With the summary, and the explanation of an error of autograd's."""
    (tmp_path / "ends.py").write_text(AT_THE_END % end)
    plain = run(["ends.py"], tmp_path)
    traced = run(["-m", "gradscope", "trace", "--force", "ends.py"], tmp_path)
    assert (traced.status, traced.stdout) == (plain.status, plain.stdout)
    assert "gradscope" in traced.stderr or plain.status < 0


@pytest.mark.parametrize("level", ["-O", "-OO"])
def test_an_optimizing_interpreter(level: str, tmp_path: Path) -> None:
    (tmp_path / "plain.py").write_text("import torch\nassert 0\nprint(torch.ones(2).sum(), __doc__)\n")
    plain = run([level, "plain.py"], tmp_path)
    assert plain.status == 0
    assert run([level, *trace(tmp_path), "plain.py"], tmp_path) == plain


def test_a_script_without_torch_does_not_import_it(tmp_path: Path) -> None:
    (tmp_path / "light.py").write_text(
        "import atexit, sys\nprint('torch' in sys.modules, 'numpy' in sys.modules)\n"
        "atexit.register(lambda: print(sys.getrecursionlimit()))\n"
    )
    assert run([*trace(tmp_path), "light.py"], tmp_path) == Ran(0, "False False\n1000\n", "")


EVERYTHING = """\
import inspect, logging, sys, traceback, warnings
warnings.simplefilter(sys.argv[1])
import torch, torch.nn as nn, torch.nn.functional as F
torch.manual_seed(0)
def attempt(act):
    try: act()
    except Exception:
        traceback.print_exc()
        logging.exception('again')
        print(traceback.format_exc())
x = torch.ones(3, requires_grad=True)
y = x * 2
for i in range(3): attempt(lambda: y.grad)
attempt(lambda: F.softmax(x))
for i in range(2): attempt(lambda: nn.Softmax()(x))
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(3, 3), nn.ReLU(), nn.BatchNorm1d(3))
    def forward(self, x):
        warnings.warn('from forward', stacklevel=2)
        return self.body(x)
net = Net()
optimizer = torch.optim.Adam(net.parameters())
scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 1)
attempt(scheduler.step)
attempt(lambda: F.softmax(x, dim=7))
attempt(lambda: F.max_pool2d(x, 2))
attempt(lambda: y.backward())
attempt(lambda: torch.autograd.grad(y, torch.ones(1)))
attempt(lambda: net(torch.ones(2, 4)))
attempt(lambda: net(torch.ones(1, 3)))
attempt(lambda: 3 - x.view(4))
attempt(lambda: setattr(x, 'grad', 3))
attempt(lambda: torch.optim.SGD([y], lr=1))
attempt(lambda: optimizer.load_state_dict({}))
attempt(lambda: torch.tensor([1], requires_grad=True))
attempt(lambda: y.numpy())
attempt(lambda: nn.init.eye_(x))
attempt(lambda: x.add_(1))
attempt(lambda: torch.utils.checkpoint.checkpoint(lambda z: z.view(9), x, use_reentrant=False))
class Double(torch.autograd.Function):
    @staticmethod
    def forward(ctx, z): return z * 2
    @staticmethod
    def backward(ctx, g):
        traceback.print_stack()
        warnings.warn('in backward', stacklevel=1)
        raise ValueError('in backward')
attempt(lambda: Double.apply(x).sum().backward())
def hook(g):
    for level in range(9): warnings.warn(f'at {level}', stacklevel=level)
    print([info.function for info in inspect.stack()])
x.register_hook(hook)
attempt(lambda: y.sum().backward())
with torch.no_grad(), torch.autocast('cpu', torch.bfloat16): attempt(lambda: print(net.eval()(torch.ones(2, 3)).dtype))
try: torch.randn(2, 3).view(7)
except RuntimeError as error:
    raise ValueError('at the end') from error
"""


@pytest.mark.parametrize("level", ["auto", "steps"])
@pytest.mark.parametrize("action", ["default", "error"])
def test_warnings_and_tracebacks_of_torch_are_the_same(action: str, level: str, tmp_path: Path) -> None:
    (tmp_path / "everything.py").write_text(EVERYTHING)
    plain = run(["everything.py", action], tmp_path)
    assert plain.stderr.count("Traceback") > 20
    assert "ValueError: at the end" in plain.stderr
    traced = run([*trace(tmp_path)[:-2], "--detail", level, *trace(tmp_path)[-2:], "everything.py", action], tmp_path)
    assert traced.stdout == plain.stdout
    assert traced.stderr == plain.stderr
    assert traced.status == plain.status == 1


COMPILED = """\
import warnings
import torch
def warns(x):
    warnings.warn('in compiled code')
    return x.sin() * 2
x = torch.ones(3, requires_grad=True)
print(torch.compile(lambda x: x.cos() + 1, backend='eager', fullgraph=True)(x))
for i in range(2): print(torch.compile(warns, backend='eager')(x).sum())
from torch._dynamo.utils import counters
print(counters['stats'])
"""


def test_compiled_code_warns_and_stays_compiled(tmp_path: Path) -> None:
    (tmp_path / "compiled.py").write_text(COMPILED)
    plain = run(["compiled.py"], tmp_path)
    assert "in compiled code" in plain.stderr
    assert run([*trace(tmp_path), "compiled.py"], tmp_path) == plain
