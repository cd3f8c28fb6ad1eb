"""What holds around every test: gradscope leaves the process as it found it."""

from __future__ import annotations

import builtins
import logging
import os
import random
import signal
import sys
import threading
import traceback
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from tests.scripts import ScriptServer


def pytest_configure(config: pytest.Config) -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever started us may have ignored it
    # The threads of a second worker would wait for a core by spinning, which costs ten times what they compute.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    settings.register_profile("on a busy machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
    settings.load_profile("on a busy machine")
    os.environ.setdefault("PROMISE_SEED", str(random.SystemRandom().randrange(10**6)))  # workers inherit it


def pytest_report_header(config: pytest.Config) -> str:
    return f"PROMISE_SEED={os.environ['PROMISE_SEED']} chooses the sample of tests/promise"


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("gpu") is None:
        return
    import torch

    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device, and this machine has none")


def patchable() -> list[Any]:
    """Everything whose attributes a recorder could be tempted to replace."""
    owners: list[Any] = [warnings, traceback, builtins, logging, threading]
    if "torch" in sys.modules:
        import torch
        from torch.optim import lr_scheduler

        owners += [
            torch,
            torch.Tensor,
            torch.autograd,
            torch.autograd.Function,
            torch.autograd.graph,
            torch.inference_mode,
            torch.no_grad,
            torch.enable_grad,
            torch.set_grad_enabled,
            torch.autocast,
            torch.nn.Module,
            torch.nn.Parameter,
            torch.nn.functional,
            torch.optim.Optimizer,
            torch.optim.SGD,
            torch.optim.Adam,
            torch.optim.LBFGS,
            lr_scheduler.LRScheduler,
            lr_scheduler.StepLR,
            lr_scheduler.ReduceLROnPlateau,
            torch.amp.GradScaler,
            torch.utils.data.DataLoader,
        ]
    return owners


def snapshot() -> dict[tuple[str, str], object]:
    """Each callable attribute of each patchable owner, and the interpreter's own hooks."""
    seen: dict[tuple[str, str], object] = {
        ("sys", "excepthook"): sys.excepthook,
        ("sys", "displayhook"): sys.displayhook,
        ("sys", "trace"): sys.gettrace(),
        ("sys", "argv"): sys.argv,
        ("sys", "__main__"): sys.modules.get("__main__"),
    }
    for owner in patchable():
        for name, value in vars(owner).items():
            if callable(value) or isinstance(value, (classmethod, staticmethod, property)):
                seen[owner.__name__, name] = value
    return seen


def torch_state() -> dict[str, object]:
    """How many hooks and modes torch carries, and its switches; empty while torch is not imported."""
    if "torch" not in sys.modules:
        return {}
    import torch
    from torch.optim import optimizer
    from torch.utils import _python_dispatch as dispatch

    module = torch.nn.modules.module
    state: dict[str, object] = {
        name: len(getattr(module, name))
        for name in vars(module)
        if name.startswith("_global_") and name.endswith("hooks")
    }
    state |= {name: len(getattr(optimizer, name)) for name in vars(optimizer) if name.startswith("_global_optimizer_")}
    state["function modes"] = torch._C._len_torch_function_stack()
    state["dispatch modes"] = len(dispatch._get_current_dispatch_mode_stack())
    state["saved tensor hooks"] = torch._C._autograd._top_saved_tensors_default_hooks(True) is not None
    state["grad mode"] = torch.is_grad_enabled()
    state["inference mode"] = torch.is_inference_mode_enabled()
    state["anomaly mode"] = torch.is_anomaly_enabled()
    state["default dtype"] = torch.get_default_dtype()
    for device in ("cpu", "cuda"):
        state[f"autocast on {device}"] = torch.is_autocast_enabled(device)
        state[f"autocast's dtype on {device}"] = torch.get_autocast_dtype(device)
    state["autocast cache"] = torch.is_autocast_cache_enabled()
    return state


CLEAN = {
    "function modes": 0,
    "dispatch modes": 0,
    "saved tensor hooks": False,
    "grad mode": True,
    "inference mode": False,
    "autocast on cpu": False,
    "autocast on cuda": False,
}


def leftovers(before: dict[tuple[str, str], object], state: dict[str, object]) -> list[str]:
    """What differs from `before` and `state`, in words."""
    after = snapshot()
    found = [
        f"{owner}.{name} was replaced"
        for (owner, name), value in before.items()
        if after.get((owner, name)) is not value
    ]
    for name, value in torch_state().items():
        expected = state.get(name, CLEAN.get(name, 0 if name.startswith("_global_") else value))
        if value != expected:
            found.append(f"{name}: {expected} before, {value} after")
    return found


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ScriptServer]:
    """Runs scripts in forks of one process that has imported torch, one for each worker."""
    with ScriptServer(tmp_path_factory.mktemp("server")) as server:
        yield server


@pytest.fixture(autouse=True)
def nothing_left_behind() -> Iterator[None]:
    """No hook, mode or patch outlives a test."""
    before, state = snapshot(), torch_state()
    dirty = [f"{name} is {state[name]}" for name, clean in CLEAN.items() if name in state and state[name] != clean]
    assert not dirty, f"the test began in a process that was not clean: {dirty}"
    yield
    found = leftovers(before, state)
    assert not found, f"left behind: {found}"
