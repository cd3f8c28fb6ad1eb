"""The guard around every test can fail: it sees a hook, a mode and a patch."""

from __future__ import annotations

import warnings

import pytest
import torch
from torch.overrides import TorchFunctionMode

from tests.conftest import leftovers, snapshot, torch_state


def test_the_guard_is_quiet_when_nothing_is_left() -> None:
    before, state = snapshot(), torch_state()
    with torch.no_grad():
        torch.ones(2) + 1
    assert leftovers(before, state) == []


def test_the_guard_sees_a_hook() -> None:
    before, state = snapshot(), torch_state()
    handle = torch.nn.modules.module.register_module_forward_hook(lambda *args: None)
    try:
        assert any("_global_forward_hooks" in found for found in leftovers(before, state))
    finally:
        handle.remove()


def test_the_guard_sees_a_mode() -> None:
    before, state = snapshot(), torch_state()
    with TorchFunctionMode():
        assert leftovers(before, state) == ["function modes: 0 before, 1 after"]
    with torch.autograd.graph.save_on_cpu():
        assert leftovers(before, state) == ["saved tensor hooks: False before, True after"]
    with torch.autocast("cpu", dtype=torch.float16, cache_enabled=False):
        assert leftovers(before, state) == [
            "autocast on cpu: False before, True after",
            "autocast's dtype on cpu: torch.bfloat16 before, torch.float16 after",
            "autocast cache: True before, False after",
        ]


@pytest.mark.parametrize(("owner", "name"), [(torch.Tensor, "backward"), (warnings, "showwarning"), (torch, "compile")])
def test_the_guard_sees_a_patch(owner: object, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before, state = snapshot(), torch_state()
    with monkeypatch.context() as patch:
        patch.setattr(owner, name, lambda *args: None)
        assert any(name in found for found in leftovers(before, state))
