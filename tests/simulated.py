"""A second device, "sim", on the CPU: device moves without a GPU.

Registering a backend holds for a whole process, so scripts that use it run in a process of their own:
`record_on_sim(folder, text)` runs one there and brings its trace back.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from gradscope.model import codec
from gradscope.model.memory import MemorySource
from gradscope.model.moments import Template
from gradscope.model.records import Module, Optimizer, Parameter, Sample, Site, Stack, StepRow, TraceInfo

from .capturing import Recording, new_recording, record_script

_PARTS: dict[str, tuple[type, str]] = {
    "sites": (Site, "put_site"),
    "stacks": (Stack, "put_stack"),
    "modules": (Module, "put_module"),
    "parameters": (Parameter, "put_parameter"),
    "optimizers": (Optimizer, "put_optimizer"),
}


def register() -> None:
    """Make "sim" a device of this process."""
    from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

    _setup_privateuseone_for_python_backend("sim")
    for name in _FACTORIES:
        torch.library.impl(f"aten::{name}", "privateuseone")(_FACTORIES[name])
    for name in _COPIED:
        torch.library.impl(f"aten::{name}", "privateuseone")(_computed(_overload(name)))


def _overload(name: str) -> Callable[..., Any]:
    base, _, overload = name.partition(".")
    found: Callable[..., Any] = getattr(getattr(torch.ops.aten, base), overload or "default")
    return found


_numbers: dict[int, torch.Tensor] = {}  # by storage, so that `detach` and Parameter share them


def _wrapped(raw: torch.Tensor) -> torch.Tensor:
    tensor: torch.Tensor = torch._C._acc.create_empty_tensor(raw.shape, raw.dtype)
    _numbers[tensor.untyped_storage()._cdata] = raw
    return tensor


def _raw(value: Any) -> Any:
    if isinstance(value, torch.Tensor) and value.device.type == "sim":
        return _numbers[value.untyped_storage()._cdata]
    return value


def _computed(op: Callable[..., Any]) -> Callable[..., Any]:
    """The op on the device: the CPU's, on the raw numbers; in-place ops return what they were given."""

    def run(*args: Any, **kwargs: Any) -> Any:
        kwargs.pop("device", None)
        result = op(*map(_raw, args), **{key: _raw(value) for key, value in kwargs.items()})
        if args and result is _raw(args[0]):
            return args[0]
        return _wrapped(result) if isinstance(result, torch.Tensor) else result

    return run


def _empty(size: Any, *, dtype: Any = None, **_: Any) -> torch.Tensor:
    return _wrapped(torch.empty(size, dtype=dtype or torch.get_default_dtype()))


def _empty_strided(size: Any, stride: Any, *, dtype: Any = None, **_: Any) -> torch.Tensor:
    return _wrapped(torch.empty(size, dtype=dtype or torch.get_default_dtype()))


def _copy_from(source: torch.Tensor, target: torch.Tensor, non_blocking: bool = False) -> torch.Tensor:
    _raw(target).copy_(_raw(source))
    return target


_FACTORIES: dict[str, Callable[..., Any]] = {
    "empty.memory_format": _empty,
    "empty_strided": _empty_strided,
    "_copy_from": _copy_from,
}
_COPIED = """
    mul.Tensor add.Tensor add_.Tensor mul_.Tensor sub.Tensor neg pow.Tensor_Scalar addcmul_ addcdiv_ mm addmm sum
    sum.dim_IntList relu threshold_backward ones_like zeros_like fill_.Scalar zero_ view t expand as_strided
    _local_scalar_dense
""".split()  # noqa: SIM905  # a list of words reads better than a list of literals


# -- the way back to the tests' process ------------------------------------------------------------------


def dump(recording: Recording) -> str:
    """A recording as JSON text."""
    source = recording.source
    parts: dict[str, Any] = {
        name: [codec.to_json(record) for record in getattr(source, name)().values()] for name in _PARTS
    }
    rows = list(source.step_rows())
    parts["rows"] = [codec.to_json(row) for row in rows]
    parts["templates"] = [codec.to_json(source.template(number)) for number in {row.template for row in rows}]
    parts["samples"] = [codec.to_json(sample) for row in rows for sample in source.samples(row.number)]
    parts["info"] = codec.to_json(source.info())
    parts["error"] = repr(recording.error) if recording.error else None
    return json.dumps(parts)


def load(text: str) -> Recording:
    """The recording that `dump` wrote; `error` is the text of what left the script."""
    parts = json.loads(text)
    recording = new_recording()
    source = recording.source = MemorySource(codec.from_json(TraceInfo, parts["info"]))
    for name, (kind, put) in _PARTS.items():
        for record in parts[name]:
            getattr(source, put)(codec.from_json(kind, record))
    for record in parts["templates"]:
        source.put_template(codec.from_json(Template, record))
    for record in parts["rows"]:
        source.put_step(codec.from_json(StepRow, record))
    source.put_samples([codec.from_json(Sample, record) for record in parts["samples"]])
    recording.error = RuntimeError(parts["error"]) if parts["error"] else None
    return recording


def record_apart(folder: Path, text: str, *, detail: str = "full", sim: bool = False) -> Recording:
    """Records a script in a process of its own."""
    script = folder / "script.py"
    script.write_text(text)
    command = [sys.executable, "-m", "tests.simulated", str(script), detail, "sim" if sim else ""]
    root = Path(__file__).parent.parent
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=root, check=False)
    assert done.returncode == 0, done.stderr
    return load(done.stdout.rpartition("\n@@@")[2])


def record_on_sim(folder: Path, text: str, *, detail: str = "full") -> Recording:
    """Records a script in a process that has the device "sim"."""
    return record_apart(folder, text, detail=detail, sim=True)


if __name__ == "__main__":
    if sys.argv[3]:
        register()
    print("\n@@@" + dump(record_script(Path(sys.argv[1]), sys.argv[2])))
